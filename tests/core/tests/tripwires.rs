//! Tripwires: in this program the clock and the source of random numbers of the operating system
//! are ours, and know when a thread that simulates calls them. So nothing that a run follows from
//! comes from outside of its choices.
#![cfg(not(any(core_loom, core_shuttle)))]
#![allow(clippy::unwrap_used)]

use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Instant, SystemTime};

use vellum_sim::choice::Choices;
use vellum_sim::play::GAMES;

/// Runs of each game.
const SEEDS: u64 = 20;

thread_local! {
    static IS_ARMED: Cell<bool> = const { Cell::new(false) };
    /// What was called first, and from where.
    static TRIPPED: RefCell<Option<(&'static str, String)>> = const { RefCell::new(None) };
}

/// Nothing can unwind from here: the standard library thinks that these never panic.
fn trip(name: &'static str) {
    // What tells of it may call them too.
    if IS_ARMED.replace(false) {
        let place = Backtrace::force_capture().to_string();
        TRIPPED.set(Some((name, place)));
    }
}

/// Found before the C library's by everything in this program.
// SAFETY: name and signature are those of the function that it stands for, which is called.
#[unsafe(no_mangle)]
extern "C" fn clock_gettime(clock: libc::clockid_t, at: *mut libc::timespec) -> libc::c_int {
    trip("clock_gettime");
    // SAFETY: the system call writes one timespec to where the caller wants it.
    unsafe { libc::syscall(libc::SYS_clock_gettime, clock, at) as libc::c_int }
}

/// Found before the C library's by everything in this program.
// SAFETY: name and signature are those of the function that it stands for, which is called.
#[unsafe(no_mangle)]
extern "C" fn getrandom(
    to: *mut libc::c_void,
    len: libc::size_t,
    flags: libc::c_uint,
) -> libc::ssize_t {
    trip("getrandom");
    // SAFETY: the system call writes at most `len` bytes to where the caller wants them.
    unsafe { libc::syscall(libc::SYS_getrandom, to, len, flags) as libc::ssize_t }
}

/// Does something on a fresh thread where the tripwires are armed; what it called, and from where.
fn tripped(act: impl FnOnce() + Send + 'static) -> Option<(&'static str, String)> {
    let thread = std::thread::spawn(|| {
        IS_ARMED.set(true);
        act();
        IS_ARMED.set(false);
        TRIPPED.take()
    });
    thread.join().unwrap()
}

#[test]
fn the_tripwires_trip() {
    let name = |act: fn()| tripped(act).map(|(name, _)| name);
    assert_eq!(name(|| _ = black_box(Instant::now())), Some("clock_gettime"));
    assert_eq!(name(|| _ = black_box(SystemTime::now())), Some("clock_gettime"));
    assert_eq!(name(|| _ = black_box(HashMap::<u8, u8>::new())), Some("getrandom"));
    assert_eq!(name(|| _ = black_box(7)), None);
}

#[test]
fn no_game_asks_for_the_time_or_for_random_numbers() {
    for game in GAMES {
        let tripped = tripped(move || {
            for seed in 0..SEEDS {
                let ran = game.run(&Choices::seeded(seed));
                ran.unwrap_or_else(|red| panic!("{}, seed {seed}: {}", game.name, red.why));
            }
        });
        assert!(tripped.is_none(), "{}: {tripped:#?}", game.name);
    }
}
