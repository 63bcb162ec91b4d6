//! What can be played, and how a run ends.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::player::{Player, Setting};
use super::step::Steps;
use super::{chunks, during, many, overlap, race, small};
use crate::choice::{Choices, Tape, shrink};
use crate::sites::Sites;
use crate::store::Faults;
use crate::world::timeline::Timeline;

/// Steps of a game of one mount.
const STEPS: usize = 60;

/// Requests in flight, where these are enough.
const IN_FLIGHT: usize = 16;

/// Bytes of the longest file in a tight world.
const TIGHT_FILE_BYTES: u64 = 96;

/// A kind of run.
#[derive(Clone, Copy, Debug)]
pub struct Game {
    /// What it is called.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// Steps of a run from a seed, in games that are made of as many as one likes.
    steps: Option<usize>,
    play: fn(&Run) -> Result<Ran, Red>,
}

/// One run: what it follows from, and whether its history is kept, which takes longer.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) choices: Choices,
    /// See [`Game`].
    pub(super) steps: usize,
    pub(super) is_told: bool,
}

/// What was done in a run, if it is kept.
#[derive(Debug)]
pub(super) struct History {
    pub(super) lines: Vec<String>,
    pub(super) is_kept: bool,
}

impl History {
    pub(super) fn new(run: &Run) -> Self {
        Self { lines: Vec::new(), is_kept: run.is_told }
    }

    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        if self.is_kept {
            self.lines.push(text());
        }
    }
}

/// A run that ended well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// Hash of everything that happened.
    pub trace: u64,
    /// Requests to the core.
    pub requests: u64,
    /// Of these, those that changed something.
    pub changes: u64,
    /// Of these, those that were refused.
    pub refused: u64,
    /// Virtual nanoseconds.
    pub time_ns: u64,
    /// How often each rare thing happened that runs are to reach.
    pub sites: Sites,
    /// Everything that was done, if it was kept.
    pub history: Vec<String>,
    /// The same for a picture.
    pub timeline: Box<Timeline>,
}

/// A run that ended badly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Red {
    /// What went wrong.
    pub why: String,
    /// Everything that was done until then, if it was kept.
    pub history: Vec<String>,
    /// The same for a picture.
    pub timeline: Box<Timeline>,
}

/// Every game.
pub const GAMES: [Game; 14] = [
    Game {
        name: "plain",
        about: "one mount, and a store that works",
        steps: Some(STEPS),
        play: |run| steps(tiny(Faults::none()), run),
    },
    Game {
        name: "faults",
        about: "one mount, and a store where everything goes wrong: only EIO is added",
        steps: Some(STEPS),
        play: |run| steps(tiny(rough(run)), run),
    },
    Game {
        name: "far",
        about: "files up to the largest offset",
        steps: Some(STEPS),
        play: |run| {
            let setting = Setting { file_bytes: i64::MAX as u64, ..tiny(Faults::none()) };
            steps(setting, run)
        },
    },
    Game {
        name: "blocks",
        about: "blocks of 64 KiB, and odd offsets and lengths",
        steps: Some(STEPS),
        play: |run| steps(blocks(run), run),
    },
    Game {
        name: "tight",
        about: "memory for a few dozen blocks: data is sent early, and goes",
        steps: Some(STEPS),
        play: |run| steps(tight(&run.choices, Faults::none()), run),
    },
    Game {
        name: "tight-faults",
        about: "the same, and faults: only EIO and ENOSPC are added",
        steps: Some(STEPS),
        play: |run| steps(tight(&run.choices, rough(run)), run),
    },
    Game {
        name: "chunks",
        about: "files of many chunks are stored as an import would",
        steps: None,
        play: chunks::play,
    },
    Game {
        name: "squatted",
        about: "one mount, and a store with other bytes under the names of objects: none stay",
        steps: Some(STEPS),
        play: |run| {
            on(tiny(Faults::squatted()), run, |player, choices| {
                // All of it is found out and set right.
                player.strict = true;
                player.play(Steps::new(choices, "steps", 1, run.steps))
            })
        },
    },
    Game {
        name: "overlap",
        about: "requests that overlap have an order",
        steps: None,
        play: |run| on(tiny(Faults::none()), run, overlap::play),
    },
    Game {
        name: "during",
        about: "commits that end in every way while the mount is worked on",
        steps: None,
        play: |run| on(narrow(run, Faults::none()), run, during::play),
    },
    Game {
        name: "many",
        about: "one to four mounts of a branch that edit, commit, lose, die and come back",
        steps: Some(many::STEPS),
        play: |run| town(Faults::none(), run),
    },
    Game {
        name: "many-faults",
        about: "the same, whatever the store loses",
        steps: Some(many::STEPS),
        play: |run| town(rough(run), run),
    },
    Game {
        name: "race",
        about: "two mounts commit: one wins, the other is refused and keeps its edits",
        steps: None,
        play: |run| on(tiny(Faults::none()), run, race::play),
    },
    Game {
        name: "race-faults",
        about: "the same, whatever the store loses",
        steps: None,
        play: |run| on(tiny(rough(run)), run, race::play),
    },
];

/// A game that is to end badly: what it looks like if something is lost. None of [`GAMES`].
pub const CANARY: Game = Game {
    name: "forgetful",
    about: "a store that loses what it has acknowledged: this is to end badly",
    steps: Some(many::STEPS),
    play: |run| town(Faults::forgetful(), run),
};

/// The game whose cases are to be gone through one and all; see [`super::CASE`].
pub const SMALL: Game = Game {
    name: "small",
    about: "two mounts, three operations, one fault at any put, one death at any event",
    steps: None,
    play: |run| on(tiny(Faults::none()), run, small::play),
};

impl Game {
    /// The game of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        GAMES.into_iter().chain([CANARY, SMALL]).find(|game| game.name == name)
    }

    /// Plays one run.
    ///
    /// # Errors
    /// It ended badly.
    pub fn run(&self, choices: &Choices) -> Result<Ran, Red> {
        (self.play)(&self.of(choices.clone(), false))
    }

    /// Plays a run again and keeps its history.
    ///
    /// # Errors
    /// It ended badly.
    pub fn tell(&self, tape: &Tape) -> Result<Ran, Red> {
        (self.play)(&self.of(Choices::replay(tape), true))
    }

    fn of(&self, choices: Choices, is_told: bool) -> Run {
        Run { choices, steps: self.steps.unwrap_or_default(), is_told }
    }

    /// The same with so many steps in each run from a seed; none if its runs have no such number.
    #[must_use]
    pub fn of_steps(self, steps: usize) -> Option<Self> {
        self.steps.map(|_| Self { steps: Some(steps), ..self })
    }

    /// Plays the run of `seed`; if it ends badly, the shortest and plainest tape found that does,
    /// and how.
    ///
    /// # Errors
    /// It ended badly.
    pub fn run_seed(&self, seed: u64, tries: usize) -> Result<Ran, (Tape, Red)> {
        let choices = Choices::seeded(seed);
        self.run(&choices).map_err(|red| {
            self.shrink(&choices.tape(), tries).unwrap_or_else(|_| (choices.tape(), red))
        })
    }

    /// The shortest and plainest tape found that ends badly, as this one does, and how, with its
    /// history; with about `tries` runs at most.
    ///
    /// # Errors
    /// It ends well.
    pub fn shrink(&self, tape: &Tape, tries: usize) -> Result<(Tape, Red), Ran> {
        // What it draws, and no more: a tape from elsewhere may hold anything.
        let red_of = |tape: &Tape| {
            let choices = Choices::replay(tape);
            match self.run(&choices) {
                Ok(ran) => Err(ran),
                Err(red) => Ok((choices.tape(), red)),
            }
        };
        let (tape, red) = shrink(red_of(tape)?, tries, |tape| red_of(tape).ok());
        let red = self.tell(&tape).err().unwrap_or(red);
        Ok((tape, red))
    }
}

/// A game with a player. A panic ends it badly, and what was done before it is known.
fn on(
    setting: Setting,
    run: &Run,
    game: impl FnOnce(&mut Player, &Choices) -> Result<(), String>,
) -> Result<Ran, Red> {
    let mut player = Player::new(&setting, run);
    let end = catch(|| game(&mut player, &run.choices));
    match player.nothing_seen_wrong().and(end) {
        Ok(()) => Ok(player.ran()),
        Err(why) => Err(player.red(why)),
    }
}

/// What a panic says is an error like any other.
pub(super) fn catch<T>(play: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(play)).unwrap_or_else(|panic| Err(said(panic.as_ref())))
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panicked: {}", text.unwrap_or_default())
}

fn steps(setting: Setting, run: &Run) -> Result<Ran, Red> {
    on(setting, run, |player, choices| {
        let needed_times = player.setting.needed_times;
        player.play(Steps::new(choices, "steps", needed_times, run.steps))
    })
}

fn town(faults: Faults, run: &Run) -> Result<Ran, Red> {
    on(narrow(run, faults), run, |player, choices| many::play(player, choices, run.steps))
}

/// A tiny world: blocks of 8 bytes, chunks of 64, and room for everything.
fn tiny(faults: Faults) -> Setting {
    Setting {
        block_bytes: 8,
        chunk_bytes: 64,
        unit: 1,
        file_bytes: 1 << 40,
        memory_bytes: 1 << 20,
        reserve_bytes: 1 << 17,
        in_flight: IN_FLIGHT,
        needed_times: 1,
        faults,
    }
}

/// A store where some things go wrong.
fn rough(run: &Run) -> Faults {
    Faults::rough().swarm(&run.choices)
}

/// A tiny world in which a commit may have to wait for its own requests, with files that it has not
/// looked at.
fn narrow(run: &Run, faults: Faults) -> Setting {
    Setting { in_flight: run.choices.pick(&[IN_FLIGHT, 1, 2]), ..tiny(faults) }
}

fn blocks(run: &Run) -> Setting {
    let faults = if run.choices.chance(500) { rough(run) } else { Faults::none() };
    Setting {
        block_bytes: 64 << 10,
        chunk_bytes: 64 << 10,
        unit: 10_007,
        memory_bytes: 64 << 20,
        reserve_bytes: 8 << 20,
        ..tiny(faults)
    }
}

/// A world with memory for a few dozen blocks: data is sent early, and goes. Any one write fits,
/// and any one file can be loaded.
fn tight(choices: &Choices, faults: Faults) -> Setting {
    let block_bytes = choices.pick(&[8, 32]);
    let (file_bytes, reserve_bytes) = (TIGHT_FILE_BYTES, TIGHT_FILE_BYTES + choices.below(3) * 40);
    let memory_bytes = reserve_bytes + 330 + choices.below(7) * 80;
    let needed_times = 4;
    Setting { block_bytes, file_bytes, memory_bytes, reserve_bytes, needed_times, ..tiny(faults) }
}
