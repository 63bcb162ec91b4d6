//! Random sequences of operations, played to the machine and to the model at once.

mod check;
mod commits;
mod during;
mod figures;
mod overlap;
mod player;
mod race;
mod shrink;
mod step;
mod streams;
mod verbs;

use vellum_sim::choice::Choices;
use vellum_sim::store::Faults;

pub use during::{Tally, during};
pub use overlap::overlap;
pub use player::{Player, Setting};
pub use race::race;
pub use shrink::shrink;
pub use step::{Bigger, OnFiles, OnNames, Step, Verb, draw, swarm};

/// A sequence that ended badly.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Seed of the run.
    pub seed: u64,
    /// The fewest steps found that still fail.
    pub steps: Vec<Step>,
    /// What went wrong, after everything that was done.
    pub why: String,
}

/// Plays `steps` in a world made from `seed`; the trace of the run, or what went wrong.
///
/// # Errors
/// The history of the run, and how model and machine differ at its end.
pub fn play(setting: &Setting, seed: u64, steps: &[Step]) -> Result<u64, String> {
    caught(setting, seed, |player| player.play(steps))
}

/// Runs `game` in a fresh world; what went wrong, after everything that was done.
fn caught<T>(
    setting: &Setting,
    seed: u64,
    game: impl FnOnce(&mut Player) -> Result<T, String>,
) -> Result<T, String> {
    let run = || {
        let mut player = Player::new(setting, seed);
        let outcome = game(&mut player);
        outcome.map_err(|why| format!("{}\n{why}", player.history().join("\n")))
    };
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}

/// The steps of a run.
#[must_use]
pub fn steps_of(setting: &Setting, seed: u64, len: usize) -> Vec<Step> {
    let mut choices = Choices::seeded(seed);
    let weights = swarm(&mut choices, setting.needed_times);
    (0..len).map(|_| draw(&mut choices, &weights)).collect()
}

/// Most failures that are looked at closely in one go.
const FAILURES_MAX: usize = 8;

/// Plays one run for each seed. The failures, each as short as it could be made; those that end
/// with the same verb once.
#[must_use]
pub fn play_all(
    settings: impl Fn(u64) -> Setting,
    seeds: std::ops::Range<u64>,
    len: usize,
) -> Vec<Failure> {
    let mut failures: Vec<Failure> = Vec::new();
    let mut looked_at = 0;
    for seed in seeds {
        let setting = settings(seed);
        let steps = steps_of(&setting, seed, len);
        let Err(why) = play(&setting, seed, &steps) else { continue };
        let (steps, why) = shrink(&steps, why, |steps| play(&setting, seed, steps).err());
        let last = steps.last().map(|step| step.verb);
        if !failures.iter().any(|known| known.steps.last().map(|step| step.verb) == last) {
            failures.push(Failure { seed, steps, why });
        }
        looked_at += 1;
        if looked_at == FAILURES_MAX {
            break;
        }
    }
    failures
}

/// A tiny world: 8-byte blocks, and room for everything.
#[must_use]
pub fn tiny(faults: Faults) -> Setting {
    Setting {
        block_bytes: 8,
        unit: 1,
        file_bytes: 1 << 40,
        memory_bytes: 1 << 20,
        reserve_bytes: 1 << 17,
        needed_times: 1,
        faults,
    }
}

/// Bytes of the longest file in a tight world.
const TIGHT_FILE_BYTES: u64 = 96;

/// A world with memory for a few dozen blocks: data is sent early, and goes. Any one write fits,
/// and any one file can be loaded.
#[must_use]
pub fn tight(seed: u64, faults: Faults) -> Setting {
    let block_bytes = [8, 32][(seed % 2) as usize];
    let (file_bytes, reserve_bytes) = (TIGHT_FILE_BYTES, TIGHT_FILE_BYTES + seed % 3 * 40);
    let memory_bytes = reserve_bytes + 330 + seed % 7 * 80;
    let needed_times = 4;
    Setting { block_bytes, file_bytes, memory_bytes, reserve_bytes, needed_times, ..tiny(faults) }
}
