//! Writes into files whose data was never read, over a store that answers and one that does not.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde_json::json;
use tempfile::TempDir;

use super::daemon::Command;
use super::{Daemon, Mode};
use crate::failure::{Doing, Failure};
use crate::report::{Case, Series, put_json};
use crate::stats::quantile;

/// Bytes of every write.
const WRITE_BYTES: usize = 4096;
/// Bytes of every file: some blocks.
const FILE_BYTES: usize = 200_000;
/// Writes into each file.
const WRITES: u64 = 100;
/// Files per round, each written in that round alone.
const FILES: u32 = 20;

/// Options of `stuck`.
#[derive(Args)]
pub(crate) struct StuckArgs {
    /// Rounds; in each, every place has one turn, on files of its own.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Also write the figures to this file; `-` is standard output, in place of the table.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Measures and tells.
pub(crate) fn stuck(args: &StuckArgs) -> Result<(), Failure> {
    let case = over_a_stuck_store(args.rounds)?;
    if args.json.as_deref() != Some("-".as_ref()) {
        println!("{}", case.table());
    }
    match &args.json {
        Some(path) => put_json(path, &json!({ "stuck": case.json() })),
        None => Ok(()),
    }
}

/// The 99th percentile of the time of a write, round by round: on the local file system, through a
/// mount over a store that answers, and through one over a store that never sends data.
pub(crate) fn over_a_stuck_store(rounds: u32) -> Result<Case, Failure> {
    let home = TempDir::with_prefix("vellum-bench-").doing(|| "make a directory".into())?;
    let (source, local) = (home.path().join("source"), home.path().join("local"));
    for dir in [&source, &local] {
        fs::create_dir(dir).doing(|| format!("make {}", dir.display()))?;
        for file in 0..rounds * FILES {
            let path = dir.join(file.to_string());
            // No two alike: the same data would be one object.
            let data = file.to_le_bytes().repeat(FILE_BYTES / 4);
            fs::write(&path, data).doing(|| format!("write {}", path.display()))?;
        }
    }
    let control = home.path().join("control");
    fs::write(&control, b"").doing(|| format!("write {}", control.display()))?;
    let hook = format!("stuck=chunks/@{}", control.display());
    let free = Daemon::product(&Command::over(&source, None), Mode::Direct)?;
    let stuck = Daemon::product(&Command::over(&source, Some(hook)), Mode::Direct)?;
    let places = [("local", &*local), ("free", free.mount_point()), ("stuck", stuck.mount_point())];
    let mut series = places.map(|(name, _)| Series { name: name.into(), ns_per_write: Vec::new() });
    for round in 0..rounds {
        for (series, (_, dir)) in series.iter_mut().zip(places) {
            series.ns_per_write.push(p99(dir, round)?);
        }
    }
    // Lets the requests go that wait: the daemon can end.
    fs::remove_file(&control).doing(|| format!("remove {}", control.display()))?;
    Ok(Case {
        title: "p99 of 4 KiB writes into files never read; `stuck`: their data can't be had".into(),
        write_bytes: WRITE_BYTES,
        series: series.into(),
        base: "free",
    })
}

/// What the slowest write but one in a hundred took, in nanoseconds, over a round's files.
fn p99(dir: &Path, round: u32) -> Result<f64, Failure> {
    let mut took = Vec::new();
    for file in round * FILES..(round + 1) * FILES {
        let path = dir.join(file.to_string());
        let doing = || format!("write into {}", path.display());
        let file = OpenOptions::new().write(true).open(&path).doing(doing)?;
        for write in 0..WRITES {
            let at = (write * 7919) % (FILE_BYTES - WRITE_BYTES) as u64;
            let begun = Instant::now();
            file.write_all_at(&[1; WRITE_BYTES], at).doing(doing)?;
            took.push(begun.elapsed().as_nanos() as f64);
        }
    }
    took.sort_by(f64::total_cmp);
    Ok(quantile(&took, 0.99))
}
