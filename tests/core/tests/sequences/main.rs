//! Random games: the machine does what the model does, errno exact, under every fault.
#![allow(clippy::unwrap_used)]

use std::ops::Range;

use vellum_sim::choice::{Choices, Exhaustive};
use vellum_sim::play::{CANARY, CASE, GAMES, Game, Ran, SMALL};
use vellum_sim::sites::Sites;

#[cfg(core_bugs)]
mod bugs;

/// How many times as many seeds the long tier takes, and how many times fewer a look at a mutant.
const LONG: u64 = 20;
const SHORT: u64 = 20;

/// Most runs that making a failure short may take.
const TRIES: usize = 3_000;

/// The seeds of a run: more of them if the tests are to be long, fewer if short.
fn all_of(seeds: Range<u64>) -> Range<u64> {
    let count = (seeds.end - seeds.start) * if is_set("VELLUM_LONG") { LONG } else { 1 };
    let count = if is_set("VELLUM_SHORT") { count.div_ceil(SHORT) } else { count };
    seeds.start..seeds.start + count
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| value == "1")
}

/// The most that `count` times can be asked for: what is rare may be missing from short runs.
fn at_least(count: u64) -> u64 {
    if is_set("VELLUM_SHORT") { 0 } else { count }
}

/// Plays a game from each seed, on two threads, until one ends badly; what the runs reached.
#[track_caller]
fn holds(name: &str, seeds: Range<u64>) -> Sites {
    let game = Game::named(name).unwrap();
    let seeds = all_of(seeds);
    let share = (seeds.end - seeds.start).div_ceil(2);
    let play = |seeds: Range<u64>| {
        let mut sites = Sites::default();
        for seed in seeds {
            let ran = game.run_seed(seed, TRIES).map_err(|(tape, red)| {
                let history = red.history.join("\n");
                format!("seed {seed}, {tape:?}\n{history}\n{}", red.why)
            })?;
            sites.add(&ran.sites);
        }
        Ok::<_, String>(sites)
    };
    let play = &play;
    std::thread::scope(|scope| {
        let middle = seeds.start + share;
        let both = [seeds.start..middle, middle..seeds.end].map(|s| scope.spawn(move || play(s)));
        let mut all = Sites::default();
        for outcome in both.map(|one| one.join().unwrap()) {
            all.add(&outcome.unwrap_or_else(|why| panic!("{why}")));
        }
        all
    })
}

#[test]
fn the_machine_does_what_the_model_does() {
    holds("plain", 0..8_000);
}

#[test]
fn with_faults_only_eio_is_added() {
    holds("faults", 100_000..103_000);
}

#[test]
fn files_up_to_the_largest_offset_are_right() {
    holds("far", 200_000..200_500);
}

#[test]
fn blocks_of_64_kib_are_right() {
    holds("blocks", 300_000..300_060);
}

#[test]
fn with_little_memory_all_is_right() {
    holds("tight", 500_000..501_500);
}

#[test]
fn with_little_memory_and_faults_only_eio_and_enospc_are_added() {
    holds("tight-faults", 600_000..601_000);
}

#[test]
fn files_of_many_chunks_are_stored_as_an_import_would() {
    holds("chunks", 1_000_000..1_000_080);
}

#[test]
fn other_bytes_under_the_names_of_objects_do_not_stay() {
    holds("squatted", 1_300_000..1_300_500);
}

#[test]
fn requests_that_overlap_have_an_order() {
    holds("overlap", 900_000..900_500);
}

/// How commits end while something is changed.
const CHANGED: [&str; 4] = [
    "a commit is published that something changed beside",
    "a commit fails that something changed beside",
    "a commit loses to somebody else, and something changed beside",
    "a commit's outcome stays unknown, and something changed beside",
];

/// What happens to mounts of one branch; the last three only where the store fails.
const TURNS: [&str; 9] = [
    "a commit is published while another mount has one under way",
    "a commit loses to another mount's",
    "a mount dies with a commit under way that is published",
    "a mount dies with a commit under way that is not",
    "all mounts die at once",
    "a commit says that nothing has changed",
    "a commit's outcome stays unknown, and it was published",
    "a commit's outcome stays unknown, and it was not",
    "a commit fails, and the mount goes on",
];

/// These were all reached so often.
#[track_caller]
fn reaches(reached: &Sites, count: u64, names: impl Iterator<Item = &'static str>) {
    for name in names {
        let reached = reached.named(name).expect("it is listed");
        assert!(reached >= at_least(count), "{reached} times: {name}");
    }
}

#[test]
fn commits_take_what_was_there_at_the_cut_and_lose_nothing() {
    let reached = holds("during", 1_000_000..1_001_000);
    // Each way to end, often, with changes since the cut.
    reaches(&reached, 100, CHANGED.into_iter());
}

#[test]
fn of_two_mounts_that_commit_one_wins() {
    holds("race", 700_000..700_500);
}

#[test]
fn of_two_mounts_that_commit_one_wins_whatever_the_store_loses() {
    holds("race-faults", 800_000..800_500);
}

#[test]
fn up_to_four_mounts_lose_nothing_of_each_other() {
    let reached = holds("many", 1_100_000..1_102_000);
    // Nothing fails here: outcomes are known.
    reaches(&reached, 5, TURNS[..6].iter().copied());
    assert_eq!(TURNS[6..].iter().filter_map(|turn| reached.named(turn)).sum::<u64>(), 0);
}

#[test]
fn up_to_four_mounts_lose_nothing_of_each_other_whatever_the_store_loses() {
    let reached = holds("many-faults", 1_200_000..1_202_000);
    reaches(&reached, 5, TURNS.into_iter());
}

/// All of them, unless the run is to be short.
#[test]
fn small_cases_end_well() {
    let mut all = Exhaustive::new(CASE);
    let most = if is_set("VELLUM_SHORT") { 2_000 } else { u64::MAX };
    let (mut count, mut died) = (0, 0);
    while count < most {
        let Some(end) = all.play(|choices| SMALL.run(choices)) else { break };
        count += 1;
        let ran = end.unwrap_or_else(|red| panic!("case {count}: {}", red.why));
        died += ran.sites.named("a mount dies with a commit under way that is published").unwrap();
    }
    assert!(count >= at_least(60_000) && died >= at_least(10_000), "{count}, {died}");
}

/// What is lost is seen, and told in few steps.
#[test]
fn a_store_that_loses_what_it_acknowledged_is_found_out() {
    let red = |seed| CANARY.run_seed(seed, TRIES).err();
    let found: Vec<_> = (0..40).filter_map(red).collect();
    assert!(found.len() >= 10, "{} of 40", found.len());
    for (tape, red) in &found {
        assert!(red.why.contains("a reader of the store sees"), "{}", red.why);
        assert!(red.why.ends_with("is not there"), "{}", red.why);
        assert_eq!(CANARY.tell(tape), Err(red.clone()));
    }
    let mut units: Vec<usize> = found.iter().map(|(tape, _)| tape.units()).collect();
    units.sort_unstable();
    assert!(units[units.len() / 2] <= 8, "{units:?}");
}

#[test]
fn the_same_choices_are_the_same_run() {
    for game in GAMES {
        for seed in 400_000..400_010 {
            let choices = Choices::seeded(seed);
            let first = game.run(&choices).unwrap();
            let tape = choices.tape();
            let again: [Ran; 2] =
                [Choices::seeded(seed), Choices::replay(&tape)].map(|c| game.run(&c).unwrap());
            assert_eq!([&again[0], &again[1]], [&first; 2]);
            let told = game.tell(&tape).unwrap();
            assert!(!told.history.is_empty());
            let told = Ran { history: Vec::new(), timeline: Box::default(), ..told };
            assert_eq!(told, Ran { timeline: Box::default(), ..first });
        }
    }
}
