//! The clocks, read where an input arrives.

use rustix::time::{ClockId, Timespec, clock_gettime};
use vellum_core::words::{Now, Time};

/// Wall-clock time to the kernel's tick, as the kernel's own file systems use it: 5 ns to read
/// where the exact clock takes 31.
pub(super) fn wall() -> Time {
    let at = clock_gettime(ClockId::RealtimeCoarse);
    Time::from_parts(at.tv_sec, u32::try_from(at.tv_nsec).unwrap_or(0))
}

/// Nanoseconds of the clock that timers run on.
pub(super) fn mono_ns() -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Monotonic);
    let secs = u64::try_from(tv_sec).unwrap_or(0);
    secs.saturating_mul(1_000_000_000).saturating_add(u64::try_from(tv_nsec).unwrap_or(0))
}

/// Both clocks.
pub(super) fn now() -> Now {
    Now { mono_ns: mono_ns(), wall: wall() }
}
