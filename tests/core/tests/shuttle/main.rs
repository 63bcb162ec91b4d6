//! The whole core with threads, under shuttle: `--cfg core_shuttle` builds only. Each schedule runs
//! a program of its own, drawn at random: what a mount is like at first, and which verbs each
//! thread carries out. What the threads were told, and what is there in the end, must be what one
//! thread would have seen in some order (linearizability).
#![cfg(core_shuttle)]
#![allow(clippy::unwrap_used)]

#[cfg(core_bugs)]
mod bugs;
mod history;

use std::cell::Cell;
use std::sync::Mutex;

use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{
    PctScheduler, RandomScheduler, Scheduler, UncontrolledNondeterminismCheckScheduler,
    UrwRandomScheduler,
};
use shuttle::{Config, Runner};
use vellum_core::sync::Arc;
use vellum_tests_core::threads::start::Start;
use vellum_tests_core::threads::verbs::{FORGET, OF_DATA, PRESS, VERBS, Verb};

use history::History;

const STARTS: [Start; 5] =
    [Start::Cold, Start::Clean, Start::Dirty, Start::TightCold, Start::TightDirty];
const THREADS: usize = 4;
/// Verbs of a program, all threads together.
const VERBS_MAX: usize = 8;
/// Verbs that a program is made of: few, so that they meet.
const ALPHABET: usize = 4;

/// Schedules of each test.
fn schedules() -> usize {
    let long = std::env::var_os("VELLUM_LONG").is_some_and(|value| value == "1");
    if long { 600_000 } else { 30_000 }
}

thread_local! {
    /// Schedules that ran on this thread.
    static RUN: Cell<u64> = const { Cell::new(0) };
}

/// What each thread does.
fn program(verbs: &[Verb]) -> Vec<Vec<Verb>> {
    let alphabet = [(); ALPHABET].map(|()| verbs[thread_rng().gen_range(0..verbs.len())]);
    let threads = thread_rng().gen_range(2..=THREADS);
    let verbs = |_| {
        let count = thread_rng().gen_range(1..=VERBS_MAX / threads);
        (0..count).map(|_| alphabet[thread_rng().gen_range(0..ALPHABET)]).collect()
    };
    (0..threads).map(verbs).collect()
}

fn scenario() {
    RUN.set(RUN.get() + 1);
    let start = STARTS[thread_rng().gen_range(0..STARTS.len())];
    let program = match start {
        Start::TightCold | Start::TightDirty => program(&OF_DATA),
        // The kernel gives a look-up back when it asks nothing of the inode any more.
        _ => program(&VERBS.map(|verb| if verb.name == FORGET.name { PRESS } else { verb })),
    };
    #[cfg(core_bugs)]
    let mut world = vellum_core::bugs::without(|| start.world());
    #[cfg(not(core_bugs))]
    let mut world = start.world();
    world.stepwise = true;
    let world = Arc::new(world);
    // Not a lock of the core: no point at which threads may be switched.
    let history = Arc::new(Mutex::new(History::of(program.len())));
    let spawn = |(thread, verbs): (usize, Vec<Verb>)| {
        let (world, history) = (Arc::clone(&world), Arc::clone(&history));
        shuttle::thread::spawn(move || {
            for verb in verbs {
                let begun = history.lock().unwrap().start();
                let said = verb.run(&world);
                history.lock().unwrap().end(thread, verb, begun, said);
            }
        })
    };
    let threads: Vec<_> = program.into_iter().enumerate().map(spawn).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let look = world.look();
    history.lock().unwrap().check(&start.spec(), &look);
}

/// The seed of a test: each runs programs of its own.
fn seed(test: u64) -> u64 {
    let first = std::env::var("VELLUM_SEED").map_or(1, |seed| seed.parse().unwrap());
    first * 100 + test
}

fn run(scheduler: impl Scheduler + 'static) {
    Runner::new(scheduler, Config::new()).run(scenario);
}

#[test]
fn programs_are_linearizable_in_random_schedules() {
    run(RandomScheduler::new_from_seed(seed(0), schedules()));
}

#[test]
fn programs_are_linearizable_in_schedules_drawn_evenly() {
    run(UrwRandomScheduler::new_from_seed(seed(1), schedules()));
}

#[test]
fn programs_are_linearizable_in_schedules_of_2_switches() {
    run(PctScheduler::new_from_seed(seed(2), 2, schedules()));
}

#[test]
fn programs_are_linearizable_in_schedules_of_3_switches() {
    run(PctScheduler::new_from_seed(seed(3), 3, schedules()));
}

#[test]
fn programs_are_linearizable_in_schedules_of_4_switches() {
    run(PctScheduler::new_from_seed(seed(4), 4, schedules()));
}

#[test]
fn programs_are_linearizable_in_schedules_of_5_switches() {
    run(PctScheduler::new_from_seed(seed(5), 5, schedules()));
}

/// The same schedule, the same run: what shuttle does not control would show as a difference.
#[test]
fn nothing_depends_on_what_the_scheduler_does_not_control() {
    let random = RandomScheduler::new_from_seed(seed(6), schedules() / 20);
    run(UncontrolledNondeterminismCheckScheduler::new(random));
}
