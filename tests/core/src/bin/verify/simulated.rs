//! The games in two processes: what follows from their choices alone is the same in both, which
//! have other addresses and other keys of hash tables.

use std::fs::File;
use std::process::Command;

use vellum_tests_core::setup::shown;

use crate::run::{self, Place};

/// Seeds of each game: a minute's, on two CPUs. The other process takes as long.
const SEEDS: &str = "1000";

/// Steps of each run: some 2,000 requests.
const STEPS: &str = "1300";

/// Games that have steps.
const GAMES: [&str; 7] = ["many-faults", "many", "tight-faults", "faults", "tight", "far", "plain"];

/// Others in which the long tier plays. In those that are left out one request takes as long as a
/// thousand here.
const LONG_GAMES: [&str; 5] = ["squatted", "overlap", "during", "race", "race-faults"];

/// How long the long tier plays, in seconds: more than a thousand million requests.
const LONG_SECONDS: &str = "3600";

/// Plays all runs, and all of them again in another process.
pub(crate) fn twice(place: &Place) -> Result<(), String> {
    let path = place.target.join("simulated.json");
    let report = File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut first = Command::new(place.vellum());
    first.args(["sim", "run"]).args(GAMES).args(["--seeds", SEEDS, "--steps", STEPS]);
    first.arg("--json").arg("--keep").arg(place.target.join("tapes")).stdout(report);
    println!("$ {} > {}", shown(&first), path.display());
    match first.status() {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(format!("`{}` ended with {status}", shown(&first))),
        Err(error) => return Err(format!("{}: {error}", shown(&first))),
    }
    let mut again = Command::new(place.vellum());
    again.args(["sim", "run", "--like"]).arg(&path);
    run::run(&mut again).1
}

/// Plays for long, in the build that is the product: everything rare has to happen.
pub(crate) fn long(place: &Place) -> Command {
    let mut command = place.cargo("run --release --bin vellum -- sim run --every-site");
    command.args(GAMES).args(LONG_GAMES).args(["--seconds", LONG_SECONDS]);
    command.arg("--keep").arg(place.target.join("tapes"));
    command
}
