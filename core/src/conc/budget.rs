//! Memory for file data, charged before it is taken.

use crate::sync::AtomicU64;

/// Bytes of memory that file data may still take. Shared by all files; asked in big pieces.
#[derive(Debug)]
pub struct Budget {
    free: AtomicU64,
    /// Free bytes below which writes say that memory runs short: half, less after a look that found
    /// nothing to send, 0 while data is sent early.
    pressed_below: AtomicU64,
    total_bytes: u64,
    reserve_bytes: u64,
}

impl Budget {
    /// A budget of `total_bytes`, of which writes may not use the last `reserve_bytes`.
    #[must_use]
    pub fn new(total_bytes: u64, reserve_bytes: u64) -> Self {
        let pressed_below = AtomicU64::new((total_bytes - reserve_bytes) / 2);
        Self { free: AtomicU64::new(total_bytes), pressed_below, total_bytes, reserve_bytes }
    }

    /// Takes `len_bytes` for a write; whether there was room above the reserve.
    #[must_use]
    pub fn take(&self, len_bytes: u64) -> bool {
        let floor = self.reserve_bytes;
        #[cfg(core_bugs)]
        if seeded!(BudgetInTwoSteps) {
            return super::wrong::take_in_two_steps(&self.free, len_bytes, floor);
        }
        self.free.update(|free| free.checked_sub(len_bytes).filter(|left| *left >= floor))
    }

    /// Takes `len_bytes` for a load or a commit, which may use the reserve.
    #[must_use]
    pub fn take_reserved(&self, len_bytes: u64) -> bool {
        self.free.update(|free| free.checked_sub(len_bytes))
    }

    /// Gives `len_bytes` back.
    ///
    /// # Panics
    /// When more is given back than was taken: a charge was lost or counted twice.
    pub fn give(&self, len_bytes: u64) {
        let total = self.total_bytes;
        let given =
            self.free.update(|free| free.checked_add(len_bytes).filter(|free| *free <= total));
        assert!(given, "budget: {len_bytes} bytes given back that were never taken");
    }

    /// Whether it is time to send data early: less than half is free, and nobody does yet.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        let free = self.free_bytes();
        free < self.half_bytes() && free < self.pressed_below.load()
    }

    /// Whether less is free than it takes not to send data early.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.free_bytes() < self.half_bytes()
    }

    /// Data is being sent early: it is not time for that again before [`Self::rest`].
    pub fn sends(&self) {
        self.pressed_below.store(0);
    }

    /// There was nothing to send. It is time to look again when an eighth more is taken, or after
    /// [`Self::rest`].
    pub fn has_nothing_to_send(&self) {
        self.pressed_below.store(self.free_bytes().saturating_sub(self.half_bytes() / 4));
    }

    /// Nothing is sent early now, or what could not be sent is gone.
    pub fn rest(&self) {
        self.pressed_below.store(self.half_bytes());
    }

    fn half_bytes(&self) -> u64 {
        (self.total_bytes - self.reserve_bytes) / 2
    }

    /// Bytes that must be given back before a write can take `len_bytes`.
    #[must_use]
    pub fn short_bytes(&self, len_bytes: u64) -> u64 {
        (self.reserve_bytes + len_bytes).saturating_sub(self.free.load())
    }

    /// Bytes in use.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.total_bytes - self.free.load()
    }

    /// Bytes that writes may still take.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.free.load().saturating_sub(self.reserve_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 120 bytes, of which writes may use 100: half of these is 50.
    fn budget() -> Budget {
        Budget::new(120, 20)
    }

    #[test]
    fn writes_leave_the_reserve_to_loads_and_commits() {
        let budget = budget();
        assert!(!budget.take(101));
        assert!(budget.take(100));
        assert!(!budget.take(1));
        assert_eq!((budget.free_bytes(), budget.used_bytes()), (0, 100));
        assert!(!budget.take_reserved(21));
        assert!(budget.take_reserved(20));
        assert_eq!((budget.free_bytes(), budget.used_bytes()), (0, 120));
        budget.give(30);
        assert_eq!((budget.free_bytes(), budget.used_bytes()), (10, 90));
        assert_eq!([10, 11, 15].map(|len| budget.short_bytes(len)), [0, 1, 5]);
        budget.give(90);
        assert_eq!((budget.free_bytes(), budget.used_bytes()), (100, 0));
    }

    #[test]
    #[should_panic(expected = "1 bytes given back that were never taken")]
    fn what_was_never_taken_can_t_be_given_back() {
        budget().give(1);
    }

    /// Whether it is time to send data, and whether memory is low.
    fn looks(budget: &Budget) -> (bool, bool) {
        (budget.is_pressed(), budget.is_low())
    }

    #[test]
    fn it_is_time_to_send_when_less_than_half_is_free() {
        let budget = budget();
        assert!(budget.take(50));
        assert_eq!(looks(&budget), (false, false));
        assert!(budget.take(1));
        assert_eq!(looks(&budget), (true, true));
        budget.sends();
        assert_eq!(looks(&budget), (false, true), "it is being done");
        budget.rest();
        assert_eq!(looks(&budget), (true, true));
    }

    #[test]
    fn after_a_look_that_found_nothing_an_eighth_more_is_taken_first() {
        let budget = budget();
        assert!(budget.take(60));
        budget.has_nothing_to_send();
        assert!(!budget.is_pressed());
        assert!(budget.take(12));
        assert!(!budget.is_pressed());
        assert!(budget.take(1));
        assert!(budget.is_pressed(), "an eighth of 100 bytes, rounded down, and one more");
        budget.has_nothing_to_send();
        assert!(!budget.is_pressed());
        budget.rest();
        assert!(budget.is_pressed());
    }

    #[test]
    fn nothing_to_send_counts_for_nothing_once_half_is_free_again() {
        let budget = budget();
        assert!(budget.take(10));
        budget.has_nothing_to_send();
        assert!(budget.take(40));
        assert_eq!(looks(&budget), (false, false), "half is free");
    }
}
