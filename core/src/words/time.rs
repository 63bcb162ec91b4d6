//! Time as an argument: the core never asks for it.

/// A point in wall-clock time, in nanoseconds since 1970 (years 1677 to 2262).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time {
    /// Nanoseconds since 1970-01-01T00:00:00Z; negative before.
    pub ns: i64,
}

impl Time {
    /// The time `secs` seconds and `nanos` nanoseconds after 1970, clamped to what can be said.
    #[must_use]
    pub fn from_parts(secs: i64, nanos: u32) -> Self {
        let ns = i128::from(secs) * 1_000_000_000 + i128::from(nanos);
        let ns = ns.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        Self { ns: i64::try_from(ns).unwrap_or(i64::MAX) }
    }

    /// Whole seconds, rounded down.
    #[must_use]
    pub fn secs(self) -> i64 {
        self.ns.div_euclid(1_000_000_000)
    }

    /// Nanoseconds past the whole second: 0 to 999,999,999.
    #[must_use]
    pub fn nanos(self) -> u32 {
        u32::try_from(self.ns.rem_euclid(1_000_000_000)).unwrap_or(0)
    }
}

/// What the clocks say as an input arrives. Deadlines use `mono_ns`; file times use `wall`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Now {
    /// Nanoseconds of a clock that never goes back.
    pub mono_ns: u64,
    /// Wall-clock time.
    pub wall: Time,
}
