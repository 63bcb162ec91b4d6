//! What one write costs in system calls, futexes, context switches, allocations and copies.

mod perf;
mod probes;
mod spin;

pub(crate) use spin::{SpinArgs, spin};

use std::path::PathBuf;

use clap::{Args, ValueEnum as _};
use serde_json::{Value, json};

use self::perf::{Counter, Counts};
use self::probes::Probes;
use self::spin::{Spinner, Subject};
use crate::failure::Failure;
use crate::mounted::{Command, Control, Daemon, FILE_BYTES, Mode, Mounted};
use crate::offsets;
use crate::placement::{Cpus, Placement};
use crate::process::WRITE_BYTES;
use crate::report::put_json;

/// Options of `counters`.
#[derive(Args)]
pub(crate) struct CountersArgs {
    /// Writes that are counted.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    writes: u64,
    /// How the mounted file is opened.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["direct", "buffered"])]
    mode: Vec<Mode>,
    /// Where client and server run.
    #[arg(long, value_enum, default_value = "pinned")]
    place: Placement,
    /// One more server, as NAME=COMMAND; see `mounted --help`. May be given again.
    #[arg(long)]
    external: Vec<Command>,
    /// CPU for pinned runs; the last one when not given.
    #[arg(long)]
    cpu: Option<usize>,
    /// Also write the figures to this file; `-` is standard output, in place of the table.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Counts every candidate in process, then every server in every mode.
pub(crate) fn run(args: &CountersArgs) -> Result<(), Failure> {
    let cpus = Cpus::find(args.cpu)?;
    let probes = Probes::place()?;
    cpus.enter(args.place)?;
    let quiet = args.json.as_deref() == Some("-".as_ref());
    let mut told = Vec::new();
    if !quiet {
        println!("per write of 4 KiB, {} ({} writes)", args.place.name(), args.writes);
        println!(
            "{}",
            line(
                "",
                ["syscalls", "futexes", "switches", "allocations", "copies"].map(String::from)
            )
        );
    }
    let mut tell = |title: String, counts: Counts| {
        if !quiet {
            println!("{}", line(&title, counts.per_write(args.writes).map(|n| format!("{n:.3}"))));
        }
        told.push(entry(&title, counts, args.writes));
    };
    for subject in Subject::ALL {
        let mut spinner = Spinner::start(subject)?;
        let counter = Counter::attach(spinner.pid(), &probes, WRITE_BYTES)?;
        spinner.write(args.writes)?;
        tell(format!("in process, {}", subject.name()), counter.finish()?);
    }
    let places = offsets::random(FILE_BYTES, WRITE_BYTES);
    let data = vec![0xa5; WRITE_BYTES];
    for &mode in &args.mode {
        let starts =
            Control::value_variants().iter().map(|&control| Daemon::control(control, mode));
        for daemon in starts.chain(args.external.iter().map(|other| Daemon::external(other, mode)))
        {
            let daemon = daemon?;
            let title = format!("{}, {}", mode.name(), daemon.name());
            let mut server = Mounted::warm(daemon)?;
            // A first batch, so that what happens once is not counted.
            server.overwrite(&places, &data, args.writes.min(1_000))?;
            let counter = Counter::attach(server.pid(), &probes, WRITE_BYTES)?;
            server.overwrite(&places, &data, args.writes)?;
            tell(title, counter.finish()?);
            server.stop();
        }
    }
    match &args.json {
        Some(path) => put_json(path, &json!({ "counters": told })),
        None => Ok(()),
    }
}

fn line(title: &str, cells: [String; 5]) -> String {
    cells.iter().fold(format!("  {title:<22}"), |line, cell| format!("{line} {cell:>11}"))
}

fn entry(title: &str, counts: Counts, writes: u64) -> Value {
    let [syscalls, futexes, switches, allocations, copies] = counts.per_write(writes);
    json!({
        "subject": title,
        "writes": writes,
        "syscalls": syscalls,
        "futexes": futexes,
        "context_switches": switches,
        "allocations": allocations,
        "copies": copies,
    })
}
