//! The games in two processes: what follows from their choices alone is the same in both, which
//! have other addresses and other keys of hash tables.

use std::fs::File;
use std::process::Command;

use vellum_tests_core::setup::shown;

use crate::run::{self, Place};

/// How long the first process plays, in seconds. The second takes as long for the same runs.
const SECONDS: &str = "60";

/// Steps of each run: some 2,000 requests.
const STEPS: &str = "1300";

/// Games that have steps.
const GAMES: [&str; 7] = ["many-faults", "many", "tight-faults", "faults", "tight", "far", "plain"];

/// How long the long tier plays, in seconds: more than a thousand million requests.
const LONG_SECONDS: &str = "3600";

/// Plays as many runs as there is time for, and the same ones again in another process.
pub(crate) fn twice(place: &Place) -> Result<(), String> {
    let path = place.target.join("simulated.json");
    let report = File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut first = Command::new(place.vellum());
    first.args(["sim", "run"]).args(GAMES).args(["--seconds", SECONDS, "--steps", STEPS]);
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
    command.args(["--seconds", LONG_SECONDS, "--keep"]).arg(place.target.join("tapes"));
    command
}
