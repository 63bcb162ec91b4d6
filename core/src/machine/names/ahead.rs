//! Whether a file is read in order, and how far to load ahead of that.

use std::ops::Range;

/// How many times as long a window is as the one before: a store that is far away is reached in
/// few steps, for the price of what is loaded in vain when reading stops.
const GROWTH: u64 = 4;

/// How far the reading of a file has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ahead {
    /// Where loading goes on if reading does: the end of what was loaded last. 0 before that.
    pub(crate) next: u64,
    /// Bytes of the newest window, which ends at `next`. 0: no window yet.
    pub(crate) window: u64,
}

impl Ahead {
    /// A read from `start` on wanted what goes to `to`. What to load beside that, at most `most`
    /// bytes of it.
    pub(crate) fn follow(&mut self, start: u64, to: u64, most: u64) -> Range<u64> {
        let reach = (to - start).saturating_add(self.window.saturating_mul(2));
        let in_order = self.next > 0 && start <= self.next && self.next - start <= reach;
        if !in_order {
            *self = Self { next: to, window: 0 };
            return to..to;
        }
        if to < self.mark() {
            return self.next..self.next;
        }
        let from = self.next.max(to);
        self.window = self.window.max(to - start).saturating_mul(GROWTH).min(most);
        self.next = from.saturating_add(self.window);
        from..self.next
    }

    /// The first byte of the newest window.
    pub(crate) fn mark(&self) -> u64 {
        self.next - self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_grow_while_reading_goes_on() {
        let mut ahead = Ahead::default();
        assert_eq!(ahead.follow(0, 4, 100), 4..4);
        assert_eq!(ahead.follow(4, 8, 100), 8..24);
        assert_eq!(ahead.mark(), 8);
        // The read that passes the mark, then the next: 64, and no more than 100.
        assert_eq!(ahead.follow(8, 9, 100), 24..88);
        assert_eq!(ahead.mark(), 24);
        assert_eq!(ahead.follow(9, 10, 100), 88..88);
        assert_eq!(ahead.follow(24, 25, 100), 88..188);
        assert_eq!(ahead.follow(88, 89, 100), 188..288);
    }

    #[test]
    fn a_read_out_of_order_ends_it() {
        let mut ahead = Ahead { next: 52, window: 16 };
        assert_eq!(ahead.follow(1000, 1004, 16), 1004..1004);
        assert_eq!(ahead.mark(), 1004);
        assert_eq!(ahead.follow(400, 404, 16), 404..404);
        assert_eq!(ahead.follow(404, 408, 16), 408..424);
    }

    #[test]
    fn a_reader_that_catches_up_with_its_loads_begins_none() {
        let mut ahead = Ahead { next: 36, window: 8 };
        assert_eq!(ahead.follow(20, 24, 16), 36..36);
        assert_eq!(ahead, Ahead { next: 36, window: 8 });
    }
}
