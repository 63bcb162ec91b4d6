//! Seeded bugs that take more than a line.

use crate::sync::AtomicU64;

/// Takes from a budget what somebody else may take in between.
pub(super) fn take_in_two_steps(free: &AtomicU64, len_bytes: u64, floor: u64) -> bool {
    let left = free.load().checked_sub(len_bytes).filter(|left| *left >= floor);
    left.into_iter().for_each(|left| free.store(left));
    left.is_some()
}
