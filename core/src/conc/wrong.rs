//! Seeded bugs that take more than a line.

use std::ops::Range;

use super::file::Around;
use super::state::State;
use crate::sync::AtomicU64;
use crate::words::Epoch;

/// Takes from a budget what somebody else may take in between.
pub(super) fn take_in_two_steps(free: &AtomicU64, len_bytes: u64, floor: u64) -> bool {
    let left = free.load().checked_sub(len_bytes).filter(|left| *left >= floor);
    left.into_iter().for_each(|left| free.store(left));
    left.is_some()
}

/// A range that ends a byte before it does, if that is the bug.
pub(super) fn shortened(range: Range<u64>) -> Range<u64> {
    let missed = u64::from(seeded!(SplitMissesOne) && range.end > 1);
    range.start..range.end - missed
}

impl State {
    /// Credits what a block gives back, and does not charge what it takes.
    pub(super) fn wrong_recharge(&mut self, before: u64, after: u64) {
        self.credit += before.saturating_sub(after);
    }

    /// Carries a write out up to the largest size, if it goes past that and that is the bug.
    pub(super) fn wrong_write_what_fits(
        &mut self,
        around: Around<'_>,
        epoch: Epoch,
        offset: u64,
        data: &[u8],
    ) {
        let most = around.limits.file_bytes;
        let len = most.saturating_sub(offset) as usize;
        if !seeded!(HalfOfAWrite) || self.epoch != epoch || len == 0 || len >= data.len() {
            return;
        }
        if self.write_planned(around, offset..most, &data[..len]).is_ok() {
            self.size = most;
        }
    }
}
