//! Teeth: each seeded bug that sequences are to find is found, by the game and by the oracle that
//! it is assigned to, within so many runs, and can be told in few steps.

use std::time::Instant;

use vellum_core::bugs::{Bug, LoneBug, SharedBug, switch};
use vellum_sim::choice::Choices;
use vellum_sim::play::{Game, Red};

use crate::TRIES;
use Oracle::{Chain, Commits, Liveness, Memory, Model, Reader};

/// Most runs of the game that a bug is assigned to, until it is found.
const BUDGET: u64 = 2_000;
/// Runs of each of the other games, to know what else finds it.
const LOOK: u64 = 50;
/// How many times fewer runs of `chunks`, where one takes as long as many of the others.
const LONG: u64 = 20;
/// Most units of the shortest tape found, in the middle of all bugs.
const UNITS: usize = 8;

/// The games that look.
const GAMES: [&str; 11] = [
    "plain",
    "faults",
    "far",
    "tight",
    "tight-faults",
    "squatted",
    "overlap",
    "during",
    "race",
    "many-faults",
    "chunks",
];

/// Who sees that something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Oracle {
    /// The model file system; or the core itself, by an assertion.
    Model,
    /// What a commit says of itself is not what has become of it.
    Commits,
    /// A reader of the store: what a snapshot reaches is missing or wrong.
    Reader,
    /// The same, of the heads of the branch: each is made from the one before.
    Chain,
    /// Memory is held for nothing, or given back twice.
    Memory,
    /// Something has no end, or no pause, or two ends.
    Liveness,
}

impl Oracle {
    /// Who says this of a run.
    fn of(why: &str) -> Self {
        let has = |all: &[&str]| all.iter().any(|words| why.contains(words));
        if why.starts_with("a reader of the store sees") {
            return if has(&["is made from", "follows", "names nothing"]) { Chain } else { Reader };
        }
        if has(&["no reply to", "no end", "in vain", "a second reply"]) {
            Liveness
        } else if has(&["budget: ", "held for nothing", "memory for a change is reserved"]) {
            Memory
        } else if why.starts_with("commit")
            || has(&["the commit says", "lost to", "not one winner", "without faults: "])
            || has(&["the branch shows nothing that was committed", "the loser hears"])
        {
            Commits
        } else {
            Model
        }
    }
}

/// The game that must find a bug, and who must see it there. None for what takes two threads, or a
/// rare course: it is assigned to loom and shuttle.
fn assigned(bug: Bug) -> Option<(&'static str, Oracle)> {
    match bug {
        Bug::Shared(bug) => assigned_shared(bug),
        Bug::Lone(bug) => Some(assigned_lone(bug)),
    }
}

fn assigned_shared(bug: SharedBug) -> Option<(&'static str, Oracle)> {
    Some(match bug {
        SharedBug::ForgetsRegister => ("plain", Commits),
        SharedBug::EvictsDirty => ("tight-faults", Model),
        SharedBug::LoadOverWrite | SharedBug::TruncateKeepsTail => ("overlap", Model),
        SharedBug::CleanAtAdopt | SharedBug::UnsealForgetsDirty => ("during", Model),
        SharedBug::CutWithoutEpoch => ("during", Reader),
        SharedBug::EpochBeforeLock
        | SharedBug::TornWrite
        | SharedBug::TornRead
        | SharedBug::SizeAfterData
        | SharedBug::GuardOutsideLock
        | SharedBug::StatAfterUnlock
        | SharedBug::SlotWithoutGeneration
        | SharedBug::StaleLoad
        | SharedBug::EvictsSealed
        | SharedBug::LostWakeUp
        | SharedBug::BudgetInTwoSteps
        | SharedBug::FreesOpenFile => return None,
    })
}

fn assigned_lone(bug: LoneBug) -> (&'static str, Oracle) {
    match bug {
        LoneBug::HalfOfAWrite
        | LoneBug::EmptyWrite
        | LoneBug::EndWraps
        | LoneBug::HoleShowsLayout
        | LoneBug::ReadMissesLast
        | LoneBug::SplitMissesOne
        | LoneBug::SetIdStays
        | LoneBug::WriteKeepsMtime
        | LoneBug::ReadChangesMtime
        | LoneBug::RenameLosesTarget
        | LoneBug::UnlinkFreesOpen
        | LoneBug::PageRepeats
        | LoneBug::PageSkips
        | LoneBug::LinkNotCounted
        | LoneBug::ChunkTailLost
        | LoneBug::StaleLayout => ("plain", Model),
        LoneBug::PlacesSwapped | LoneBug::ExistsIsFailure => ("plain", Commits),
        LoneBug::GrowthUncharged => ("plain", Memory),
        LoneBug::NameOfOtherBytes
        | LoneBug::NamesBeforeObjects
        | LoneBug::ForgetsRemovedName
        | LoneBug::LinkStaysInTable
        | LoneBug::NextInoKept
        | LoneBug::StaleDirectory => ("plain", Reader),
        LoneBug::WrongBytesAccepted | LoneBug::ShortBodyAccepted => ("tight-faults", Model),
        LoneBug::EndMovesUnseen => ("chunks", Reader),
        LoneBug::PutsNeverEnd => ("chunks", Liveness),
        LoneBug::ExistsIsSuccess | LoneBug::LengthIsEnough => ("squatted", Reader),
        LoneBug::UnknownIsDone | LoneBug::OwnRefIsConflict => ("faults", Commits),
        LoneBug::MismatchIsFailure | LoneBug::ConflictIsSuccess => ("race", Commits),
        LoneBug::HoleLostAtAdopt => ("during", Model),
        LoneBug::SealsEveryOther
        | LoneBug::PutErrorSwallowed
        | LoneBug::FailedCommitForgetsNames => ("during", Reader),
        LoneBug::RetriesAtOnce | LoneBug::RetriesForEver => ("during", Liveness),
        LoneBug::FailedLoadKeepsMemory => ("during", Memory),
        LoneBug::UnknownIsFailure => ("many-faults", Commits),
        LoneBug::ErrorUnanswered | LoneBug::ErrorAnsweredTwice => ("many-faults", Liveness),
        LoneBug::SnapshotWithoutParent
        | LoneBug::GenerationStays
        | LoneBug::HeadOverwritten
        | LoneBug::RefRetriedBlindly => ("many-faults", Chain),
    }
}

/// Of so many runs of a game, those that there is time for.
fn time_for(name: &str, runs: u64) -> u64 {
    if name == "chunks" { runs / LONG } else { runs }
}

/// The first run of a game that is red as wanted, of so many.
fn first_red(name: &str, most: u64, is_wanted: impl Fn(&Red) -> bool) -> Option<u64> {
    let game = Game::named(name).unwrap();
    let is_red = |seed: &u64| game.run(&Choices::seeded(*seed)).is_err_and(|red| is_wanted(&red));
    (0..time_for(name, most)).find(is_red).map(|seed| seed + 1)
}

/// A bug as the game that it is assigned to finds it.
struct Kill {
    run: u64,
    millis: u128,
    units: usize,
}

/// The first run of a game in which this oracle sees the bug that is switched on.
fn kill(name: &str, by: Oracle) -> Option<Kill> {
    let began = Instant::now();
    let run = first_red(name, BUDGET, |red| Oracle::of(&red.why) == by)?;
    let millis = began.elapsed().as_millis();
    let tries = time_for(name, TRIES as u64) as usize;
    let (tape, _) = Game::named(name).unwrap().run_seed(run - 1, tries).expect_err("it is red");
    Some(Kill { run, millis, units: tape.units() })
}

/// The games but for one that find the bug that is switched on, and at which run.
fn found_elsewhere(but: &str) -> String {
    let others = GAMES.iter().filter(|name| **name != but);
    let runs =
        others.filter_map(|name| Some(format!("{name} {}", first_red(name, LOOK, |_| true)?)));
    runs.collect::<Vec<_>>().join(", ")
}

/// The one in the middle.
fn median<T: Ord + Copy>(mut all: Vec<T>) -> T {
    all.sort_unstable();
    all[all.len() / 2]
}

#[test]
fn every_bug_that_is_assigned_to_sequences_is_found() {
    // Thousands of runs panic here, and are told of in another way.
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let red: Vec<_> =
        GAMES.iter().filter(|name| first_red(name, LOOK, |_| true).is_some()).collect();
    let (mut kills, mut alive) = (Vec::new(), Vec::new());
    for bug in Bug::all() {
        let Some((name, by)) = assigned(bug) else { continue };
        switch(Some(bug));
        let (kill, others) = (kill(name, by), found_elsewhere(name));
        switch(None);
        match kill {
            Some(kill) => {
                let Kill { run, millis, units } = kill;
                println!("{bug:?}\t{name} {run}\t{by:?}\t{millis} ms\t{units} units\t{others}");
                kills.push(kill);
            }
            None => alive.push((bug, name, by, others)),
        }
    }
    std::panic::set_hook(say);
    assert!(red.is_empty(), "red without a bug: {red:?}");
    assert!(alive.is_empty(), "not found as they are to be: {alive:?}");
    let units = median(kills.iter().map(|kill| kill.units).collect());
    let millis = median(kills.iter().map(|kill| kill.millis).collect());
    println!("{} bugs; in the middle: {millis} ms, {units} units", kills.len());
    assert!(units <= UNITS, "{units} units");
}
