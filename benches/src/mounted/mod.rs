//! Overwrites through a mount: what a daemon adds to the transport.

mod client;
mod control;
mod daemon;
pub(crate) mod product;
mod server;
mod stuck;

pub(crate) use client::Mounted;
pub(crate) use control::Control;
pub(crate) use daemon::{Command, Daemon};
pub(crate) use server::{ServeArgs, serve};
pub(crate) use stuck::{StuckArgs, over_a_stuck_store, stuck};

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::failure::Failure;
use crate::offsets;
use crate::placement::{Cpus, Placement};
use crate::process::calibrate;
use crate::report::{Case, Series, put_json};

/// Bytes of the file that is overwritten.
pub(crate) const FILE_BYTES: usize = 64 << 20;
/// How long one batch should take.
const BATCH: Duration = Duration::from_millis(40);

/// How a handle was opened, as far as the kernel's page cache is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Past the page cache (FOPEN_DIRECT_IO).
    Direct,
    /// Into the page cache and through it, in one go.
    Buffered,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Buffered => "buffered",
        }
    }
}

/// Size and order of the writes of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Load {
    write_bytes: usize,
    random: bool,
}

impl std::str::FromStr for Load {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let wrong = || Failure::new("a load is 4k, 128k or 1m, then -random or -sequential");
        let (size, order) = text.split_once('-').ok_or_else(wrong)?;
        let write_bytes = match size {
            "4k" => 4 << 10,
            "128k" => 128 << 10,
            "1m" => 1 << 20,
            _ => return Err(wrong()),
        };
        let random = match order {
            "random" => true,
            "sequential" => false,
            _ => return Err(wrong()),
        };
        Ok(Self { write_bytes, random })
    }
}

impl fmt::Display for Load {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = if self.random { "random" } else { "sequential" };
        write!(out, "{} KiB {order}", self.write_bytes >> 10)
    }
}

impl std::error::Error for Failure {}

/// Options of `mounted`.
#[derive(Args)]
pub(crate) struct MountedArgs {
    /// Rounds; in each, every server has one turn.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How the file is opened.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["direct", "buffered"])]
    mode: Vec<Mode>,
    /// Size and order of the writes, such as `4k-random`.
    #[arg(long, value_delimiter = ',',
          default_values = ["4k-random", "128k-sequential", "1m-sequential"])]
    load: Vec<Load>,
    /// Where client and servers run.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["pinned", "free"])]
    place: Vec<Placement>,
    /// The product and the controls to run; the ratios are taken to `floor`.
    #[arg(long, value_enum, value_delimiter = ',',
          default_values = ["null", "floor", "vellum", "improved", "naive"])]
    server: Vec<Control>,
    /// One more server, as NAME=COMMAND. `{mnt}` in the command stands for the mount point and
    /// `{mode}` for direct or buffered; it must stay in the foreground. May be given again.
    #[arg(long)]
    external: Vec<Command>,
    /// CPU for pinned runs; the last one when not given.
    #[arg(long)]
    cpu: Option<usize>,
    /// Also write the figures to this file; `-` is standard output, in place of the tables.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Runs every combination of the options.
pub(crate) fn run(args: &MountedArgs) -> Result<(), Failure> {
    let cpus = Cpus::find(args.cpu)?;
    let quiet = args.json.as_deref() == Some("-".as_ref());
    let mut told = Vec::new();
    for &mode in &args.mode {
        for &place in &args.place {
            // Before the servers start: they inherit the place.
            cpus.enter(place)?;
            let mut servers = start(&args.server, &args.external, mode)?;
            for &load in &args.load {
                let case = measure(title(load, mode, place), load, &mut servers, args.rounds)?;
                if !quiet {
                    println!("{}", case.table());
                }
                told.push(case.json());
            }
            stop(servers);
        }
    }
    match &args.json {
        Some(path) => put_json(path, &json!({ "mounted": told })),
        None => Ok(()),
    }
}

/// Measures these servers on one CPU, one case for small writes and one for large ones.
pub(crate) fn pinned(
    cpus: &Cpus,
    servers: &[Control],
    mode: Mode,
    rounds: u32,
) -> Result<Vec<Case>, Failure> {
    let place = Placement::Pinned;
    cpus.enter(place)?;
    let mut servers = start(servers, &[], mode)?;
    let small = Load { write_bytes: 4 << 10, random: true };
    let large = Load { write_bytes: 1 << 20, random: false };
    let cases = [small, large]
        .map(|load| measure(title(load, mode, place), load, &mut servers, rounds))
        .into_iter()
        .collect();
    stop(servers);
    cpus.enter(Placement::Free)?;
    cases
}

fn title(load: Load, mode: Mode, place: Placement) -> String {
    format!("mounted, {load}, {}, {}", mode.name(), place.name())
}

type Servers = Vec<(String, Mounted)>;

fn start(controls: &[Control], others: &[Command], mode: Mode) -> Result<Servers, Failure> {
    let mut servers = Vec::new();
    for &control in controls {
        let mounted = Mounted::warm(Daemon::control(control, mode)?)?;
        servers.push((control.name().to_owned(), mounted));
    }
    for command in others {
        let mounted = Mounted::warm(Daemon::external(command, mode)?)?;
        servers.push((command.name.clone(), mounted));
    }
    Ok(servers)
}

fn stop(servers: Servers) {
    for (_, server) in servers {
        server.stop();
    }
}

fn measure(title: String, load: Load, servers: &mut Servers, rounds: u32) -> Result<Case, Failure> {
    let places = if load.random {
        offsets::random(FILE_BYTES, load.write_bytes)
    } else {
        offsets::sequential(FILE_BYTES, load.write_bytes)
    };
    let data = vec![0xa5; load.write_bytes];
    let mut series = Vec::new();
    let mut writes = Vec::new();
    for (name, server) in servers.iter_mut() {
        let mut failed = None;
        writes.push(calibrate(BATCH, |writes| {
            server.overwrite(&places, &data, writes).unwrap_or_else(|failure| {
                failed = Some(failure);
                // Ends the calibration; the failure is returned below.
                BATCH
            })
        }));
        if let Some(failure) = failed {
            return Err(failure);
        }
        series.push(Series { name: name.clone(), ns_per_write: Vec::new() });
    }
    for _ in 0..rounds {
        for (index, (_, server)) in servers.iter_mut().enumerate() {
            let took = server.overwrite(&places, &data, writes[index])?;
            series[index].ns_per_write.push(took.as_nanos() as f64 / writes[index] as f64);
        }
    }
    Ok(Case { title, write_bytes: load.write_bytes, series, base: "floor" })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_load_is_read_as_size_and_order() {
        let load: Load = "128k-sequential".parse().unwrap();
        assert_eq!(load, Load { write_bytes: 131_072, random: false });
        assert_eq!(load.to_string(), "128 KiB sequential");
    }

    #[test]
    fn a_load_that_is_neither_is_refused_with_the_choices() {
        for wrong in ["4k", "5k-random", "4k-sideways"] {
            assert!(wrong.parse::<Load>().unwrap_err().to_string().contains("4k, 128k or 1m"));
        }
    }
}
