//! The promises about speed, held to bounds that a busy machine does not break.

use clap::Args;

use crate::failure::Failure;
use crate::mounted::{self, Control, Mode};
use crate::placement::{Cpus, Placement};
use crate::process::{Conditions, Form, WorkingSet};
use crate::report::Case;

/// In process, a write through the product takes at most so many times that of the plan's form.
const PROCESS_MAX: f64 = 1.0;
/// Mounted, a write through the product takes at most so many times that of the floor: a rate of
/// 0.8. The goal, 1.05, is inside what a busy machine adds by chance.
const MOUNTED_MAX: f64 = 1.25;
/// Over a store that is stuck, the slowest write but one in a hundred takes at most so many times
/// what it takes over one that answers.
const STUCK_MAX: f64 = 2.0;

/// Options of `check`.
#[derive(Args)]
pub(crate) struct CheckArgs {
    /// Rounds; in each, every candidate has one turn.
    #[arg(long, default_value_t = 31, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// CPU to run on; the last one when not given.
    #[arg(long)]
    cpu: Option<usize>,
    /// Leave out what needs a mount.
    #[arg(long)]
    no_mount: bool,
}

/// Measures, tells every ratio with its bound, and fails when one is past it.
pub(crate) fn run(args: &CheckArgs) -> Result<(), Failure> {
    let cpus = Cpus::find(args.cpu)?;
    let mut broken = Vec::new();
    let mut tell = |case: &Case, name: &str, base: &str, bound: f64| {
        let ratio = case.paired_ratio(name, base);
        let line = format!("{}: {ratio:.2} of {base}, at most {bound:.2}", case.title);
        println!("{line}");
        // What is no number is past its bound too.
        let held = ratio <= bound;
        if !held {
            broken.push(line);
        }
    };
    for form in [Form::Single, Form::Multi, Form::Crossing] {
        let (set, place) = (WorkingSet::L2, Placement::Pinned);
        let case = Conditions { set, form, place, threads: 1 }.measure(&cpus, args.rounds)?;
        tell(&case, Control::Vellum.name(), Control::Improved.name(), PROCESS_MAX);
    }
    if !args.no_mount {
        let servers = [Control::Floor, Control::Vellum];
        // As the product mounts unless asked otherwise.
        for case in mounted::pinned(&cpus, &servers, Mode::Direct, args.rounds)? {
            tell(&case, Control::Vellum.name(), Control::Floor.name(), MOUNTED_MAX);
        }
        let case = mounted::over_a_stuck_store(args.rounds)?;
        tell(&case, "stuck", "free", STUCK_MAX);
    }
    if broken.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "slower than promised; run it again when the machine has less to do, and if it stays so, \
         see what made it slower:\n{}",
        broken.join("\n")
    )))
}
