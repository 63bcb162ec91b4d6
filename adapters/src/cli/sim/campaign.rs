//! Many runs on several threads, and what came of them.

use std::cell::Cell;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use vellum_sim::choice::{Choices, Tape};
use vellum_sim::play::{Game, Ran, Red};
use vellum_sim::sites::Sites;

use super::TRIES;

/// Runs that ended badly after which no more are looked for.
const FOUND_MAX: usize = 8;

/// Which runs are to be played.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) games: Vec<Game>,
    /// The first seed.
    pub(super) first: u64,
    /// Runs of each game, if that is known beforehand.
    pub(super) seeds: Option<u64>,
    /// Steps of each run, in games that have steps.
    pub(super) steps: Option<u32>,
}

/// What the runs of one game came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) name: String,
    pub(super) runs: u64,
    pub(super) requests: u64,
    pub(super) changes: u64,
    pub(super) refused: u64,
    /// Virtual nanoseconds.
    #[serde(rename = "virtual_ns")]
    pub(super) time_ns: u64,
    /// Sum of the traces of all runs: the same for the same runs, whatever their order.
    #[serde(with = "hex")]
    pub(super) trace: u64,
}

/// Numbers of 64 bits are more than what reads JSON elsewhere can hold.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(number: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{number:016x}"))
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        u64::from_str_radix(&text, 16).map_err(de::Error::custom)
    }
}

impl Tally {
    /// Virtual seconds.
    pub(super) fn seconds(&self) -> f64 {
        self.time_ns as f64 / 1e9
    }

    fn add(&mut self, ran: &Ran) {
        self.runs += 1;
        self.requests += ran.requests;
        self.changes += ran.changes;
        self.refused += ran.refused;
        self.trace = self.trace.wrapping_add(ran.trace);
        self.time_ns = self.time_ns.saturating_add(ran.time_ns);
    }
}

/// A run that ended badly, made short.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) game: Game,
    pub(super) seed: u64,
    pub(super) tape: Tape,
    pub(super) red: Red,
}

impl Found {
    /// Steps that are left.
    pub(super) fn units(&self) -> usize {
        self.tape.units()
    }
}

/// Runs of games, one seed of each after the other.
pub(super) struct Campaign {
    games: Vec<Game>,
    first: u64,
    /// How many of each game.
    seeds: AtomicU64,
    is_twice: bool,
    next: AtomicU64,
    is_stopped: AtomicBool,
    pub(super) runs: AtomicU64,
    pub(super) requests: AtomicU64,
    tallies: Mutex<Vec<Tally>>,
    sites: Mutex<Sites>,
    found: Mutex<Vec<Found>>,
}

impl Campaign {
    pub(super) fn new(plan: &Plan, is_twice: bool) -> Arc<Self> {
        let of_steps = |game: &Game| {
            plan.steps.and_then(|steps| game.of_steps(steps as usize)).unwrap_or(*game)
        };
        let games: Vec<Game> = plan.games.iter().map(of_steps).collect();
        let name = |game: &Game| Tally { name: game.name.into(), ..Tally::default() };
        let tallies = Mutex::new(games.iter().map(name).collect());
        Arc::new(Self {
            first: plan.first,
            seeds: AtomicU64::new(plan.seeds.unwrap_or(u64::MAX)),
            is_twice,
            next: AtomicU64::new(0),
            is_stopped: AtomicBool::new(false),
            runs: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            tallies,
            sites: Mutex::default(),
            found: Mutex::new(Vec::new()),
            games,
        })
    }

    /// Begins to play on one more thread.
    pub(super) fn start(self: &Arc<Self>, runtime: &Runtime) -> JoinHandle<()> {
        let campaign = Arc::clone(self);
        runtime.spawn_blocking(move || while campaign.play_one() {})
    }

    /// Plays as many runs of each game as of the one that has most, and no more.
    pub(super) fn round_off(&self) {
        let begun = self.next.load(Ordering::Relaxed).div_ceil(self.games.len() as u64);
        self.seeds.fetch_min(begun, Ordering::Relaxed);
    }

    /// How many runs of each game were to be played.
    pub(super) fn seeds(&self) -> u64 {
        self.seeds.load(Ordering::Relaxed)
    }

    /// Lets the runs that are played end, and no other begin.
    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn tallies(&self) -> Vec<Tally> {
        self.tallies.lock().clone()
    }

    /// How often rare things were reached.
    pub(super) fn sites(&self) -> Sites {
        self.sites.lock().clone()
    }

    pub(super) fn found(&self) -> Vec<Found> {
        self.found.lock().clone()
    }

    /// Plays the next run; whether there may be another.
    fn play_one(&self) -> bool {
        if self.is_stopped.load(Ordering::Relaxed) {
            return false;
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let games = self.games.len() as u64;
        let (at, round) = ((turn % games) as usize, turn / games);
        if round >= self.seeds() {
            return false;
        }
        let (game, seed) = (self.games[at], self.first.wrapping_add(round));
        match quietly(|| self.play(game, seed)) {
            Ok(ran) => {
                self.runs.fetch_add(1, Ordering::Relaxed);
                self.requests.fetch_add(ran.requests, Ordering::Relaxed);
                self.tallies.lock()[at].add(&ran);
                self.sites.lock().add(&ran.sites);
            }
            Err((tape, red)) => {
                let mut found = self.found.lock();
                found.push(Found { game, seed, tape, red });
                if found.len() >= FOUND_MAX {
                    self.stop();
                }
            }
        }
        true
    }

    fn play(&self, game: Game, seed: u64) -> Result<Ran, (Tape, Red)> {
        let ran = game.run_seed(seed, TRIES)?;
        if self.is_twice {
            let choices = Choices::seeded(seed);
            if game.run(&choices).ok().as_ref() != Some(&ran) {
                let why = "played again, other things happen".to_owned();
                return Err((choices.tape(), Red { why, ..Red::default() }));
            }
        }
        Ok(ran)
    }
}

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Plays something on this thread: a run that panics has ended badly, and says so in its report.
pub(super) fn quietly<T>(play: impl FnOnce() -> T) -> T {
    IS_QUIET.set(true);
    let outcome = play();
    IS_QUIET.set(false);
    outcome
}

/// Lets panics go unsaid where [`quietly`] something is played; any other is one of this program.
pub(super) fn panics_are_outcomes() {
    let say = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !IS_QUIET.get() {
            say(panic);
        }
    }));
}
