//! Memory for file data, charged before it is taken.

use crate::sync::AtomicU64;

/// Bytes of memory that file data may still take. Shared by all files; asked in big pieces.
#[derive(Debug)]
pub struct Budget {
    free: AtomicU64,
    /// 1 while data is sent early to make room, or when there was none that could be.
    spilling: AtomicU64,
    total_bytes: u64,
    reserve_bytes: u64,
}

impl Budget {
    /// A budget of `total_bytes`, of which writes may not use the last `reserve_bytes`.
    #[must_use]
    pub fn new(total_bytes: u64, reserve_bytes: u64) -> Self {
        let (free, spilling) = (AtomicU64::new(total_bytes), AtomicU64::new(0));
        Self { free, spilling, total_bytes, reserve_bytes }
    }

    /// Takes `len_bytes` for a write; whether there was room above the reserve.
    #[must_use]
    pub fn take(&self, len_bytes: u64) -> bool {
        let floor = self.reserve_bytes;
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

    /// Whether it is time to send data early: less than half is free, and nobody does yet or found
    /// nothing to send.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.free_bytes() < (self.total_bytes - self.reserve_bytes) / 2 && self.spilling.load() == 0
    }

    /// Notes that data is sent early, or may be again.
    pub fn set_spilling(&self, spilling: bool) {
        self.spilling.store(u64::from(spilling));
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
