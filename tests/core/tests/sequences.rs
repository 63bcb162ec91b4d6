//! Random sequences of operations: the machine does what the model does, errno exact.
#![allow(clippy::unwrap_used)]

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use vellum_sim::store::Faults;
use vellum_tests_core::play::{
    Setting, chunks, during, overlap, play, play_all, race, steps_of, tight, tiny,
};

/// Steps of one sequence.
const STEPS: usize = 60;

/// How many times as many seeds the long tier takes.
const LONG: u64 = 20;

/// The seeds of a run, and more of them if the tests are to be long.
fn all_of(seeds: Range<u64>) -> Range<u64> {
    let long = std::env::var_os("VELLUM_LONG").is_some_and(|value| value == "1");
    let count = (seeds.end - seeds.start) * if long { LONG } else { 1 };
    seeds.start..seeds.start + count
}

/// Runs `run` on the seeds, spread over the processors.
fn spread<T: Send>(seeds: Range<u64>, run: impl Fn(Range<u64>) -> Vec<T> + Sync) -> Vec<T> {
    let seeds = all_of(seeds);
    let workers = 2;
    let share = (seeds.end - seeds.start).div_ceil(workers);
    let run = &run;
    std::thread::scope(|scope| {
        let start = |worker: u64| {
            let from = seeds.start + worker * share;
            let seeds = from..(from + share).min(seeds.end);
            scope.spawn(move || run(seeds))
        };
        let workers: Vec<_> = (0..workers).map(start).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

#[track_caller]
fn all_hold(settings: fn(u64) -> Setting, seeds: Range<u64>, steps: usize) {
    let failures = spread(seeds, |seeds| play_all(settings, seeds, steps));
    for failure in &failures {
        println!("seed {}: {}", failure.seed, failure.why);
        failure.steps.iter().for_each(|step| println!("    {step:?},"));
    }
    assert!(failures.is_empty());
}

/// The same for games that are not sequences of steps: the first that fails.
#[track_caller]
fn all_games_hold(seeds: Range<u64>, game: impl Fn(u64) -> Result<(), String> + Sync) {
    let failed = |seed| game(seed).err().map(|why| format!("seed {seed}: {why}"));
    let failures = spread(seeds, |mut seeds| seeds.find_map(failed).into_iter().collect());
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn the_machine_does_what_the_model_does() {
    all_hold(|_| tiny(Faults::none()), 0..8_000, STEPS);
}

#[test]
fn with_faults_only_eio_is_added() {
    all_hold(|_| tiny(Faults::rough()), 100_000..103_000, STEPS);
}

#[test]
fn files_up_to_the_largest_offset_are_right() {
    let setting = |_| Setting { file_bytes: i64::MAX as u64, ..tiny(Faults::none()) };
    all_hold(setting, 200_000..200_500, STEPS);
}

#[test]
fn blocks_of_64_kib_are_right() {
    let setting = |seed| Setting {
        block_bytes: 64 << 10,
        unit: 10_007,
        memory_bytes: 64 << 20,
        reserve_bytes: 8 << 20,
        ..tiny(if seed % 2 == 0 { Faults::none() } else { Faults::rough() })
    };
    all_hold(setting, 300_000..300_060, STEPS);
}

#[test]
fn with_little_memory_all_is_right() {
    all_hold(|seed| tight(seed, Faults::none()), 500_000..501_500, STEPS);
}

#[test]
fn with_little_memory_and_faults_only_eio_and_enospc_are_added() {
    all_hold(|seed| tight(seed, Faults::rough()), 600_000..601_000, STEPS);
}

#[test]
fn files_of_many_chunks_are_stored_as_an_import_would() {
    all_games_hold(1_000_000..1_000_080, |seed| chunks(seed, if seed % 3 == 0 { 512 } else { 3 }));
}

#[test]
fn requests_that_overlap_have_an_order() {
    all_games_hold(900_000..900_500, |seed| overlap(&tiny(Faults::none()), seed));
}

#[test]
fn commits_take_what_was_there_at_the_cut_and_lose_nothing() {
    let [committed, failed, unknown, conflicts] = std::array::from_fn(|_| AtomicU64::new(0));
    all_games_hold(1_000_000..1_001_000, |seed| {
        let tally = during(&tiny(Faults::none()), seed)?;
        committed.fetch_add(tally.committed, Relaxed);
        failed.fetch_add(tally.failed, Relaxed);
        unknown.fetch_add(tally.unknown, Relaxed);
        conflicts.fetch_add(tally.conflicts, Relaxed);
        Ok(())
    });
    // Each way to end, often, with changes since the cut.
    for count in [committed, failed, unknown, conflicts] {
        assert!(count.into_inner() > 100);
    }
}

#[test]
fn of_two_mounts_that_commit_one_wins() {
    all_games_hold(700_000..700_500, |seed| race(&tiny(Faults::none()), seed));
}

#[test]
fn of_two_mounts_that_commit_one_wins_whatever_the_store_loses() {
    all_games_hold(800_000..800_500, |seed| race(&tiny(Faults::rough()), seed));
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 400_000..400_020 {
        let setting = tiny(Faults::rough());
        let steps = steps_of(&setting, seed, STEPS);
        let traces = [(); 2].map(|()| play(&setting, seed, &steps));
        assert_eq!(traces[0], traces[1]);
        assert!(traces[0].is_ok());
    }
}

/// Teeth: the seeded bugs that sequences are to find.
#[cfg(core_bugs)]
mod bugs {
    use vellum_core::bugs::{Bug, switch};
    use vellum_sim::store::Faults;
    use vellum_tests_core::play::{Setting, during, overlap, play_all, tight, tiny};

    use super::STEPS;

    /// Most runs of each kind until a bug is found.
    const BUDGET: u64 = 500;

    type Game = (&'static str, fn(u64) -> bool);

    fn is_red(setting: fn(u64) -> Setting, seed: u64) -> bool {
        !play_all(setting, seed..seed + 1, STEPS).is_empty()
    }

    const GAMES: [Game; 5] = [
        ("plain", |seed| is_red(|_| tiny(Faults::none()), seed)),
        ("faults", |seed| is_red(|_| tiny(Faults::rough()), seed)),
        ("tight", |seed| is_red(|seed| tight(seed, Faults::rough()), seed)),
        ("overlap", |seed| overlap(&tiny(Faults::none()), seed).is_err()),
        ("during", |seed| during(&tiny(Faults::none()), seed).is_err()),
    ];

    /// Whether sequences are to find it: those that take two threads, or a rare course, they can't.
    fn is_assigned(bug: Bug) -> bool {
        match bug {
            Bug::LoadOverWrite
            | Bug::EvictsDirty
            | Bug::CleanAtAdopt
            | Bug::UnsealForgetsDirty
            | Bug::ForgetsRegister
            | Bug::CutWithoutEpoch
            | Bug::TruncateKeepsTail => true,
            Bug::EpochBeforeLock
            | Bug::TornWrite
            | Bug::TornRead
            | Bug::SizeAfterData
            | Bug::GuardOutsideLock
            | Bug::StatAfterUnlock
            | Bug::SlotWithoutGeneration
            | Bug::StaleLoad
            | Bug::EvictsSealed
            | Bug::LostWakeUp
            | Bug::BudgetInTwoSteps
            | Bug::FreesOpenFile => false,
        }
    }

    #[test]
    fn every_bug_that_is_assigned_to_sequences_is_found() {
        let until_red = || {
            GAMES.map(|(name, is_red)| {
                let run = (0..BUDGET).find(|seed| is_red(*seed));
                (name, run.map(|run| run + 1))
            })
        };
        let found = until_red();
        assert!(found.iter().all(|(_, run)| run.is_none()), "red without a bug: {found:?}");
        let mut alive = Vec::new();
        for bug in Bug::ALL.iter().copied() {
            switch(Some(bug));
            let found = until_red();
            switch(None);
            println!("{bug:?}\tsequences\t{found:?}");
            if is_assigned(bug) && found.iter().all(|(_, run)| run.is_none()) {
                alive.push(bug);
            }
        }
        assert!(alive.is_empty(), "{alive:?}");
    }
}
