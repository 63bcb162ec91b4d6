//! The command that checks a repository.

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Args;
use serde_json::{Map, Value, json};

use super::running::{LAST_WORDS, finish, only_read, runtime};
use super::text::{SHORT_HASH, count, number, path_json, quoted, size};
use super::{CliError, Exit, print, print_json, progress};
use crate::repo::{Address, Bad, NeededBy, Percent, Repo, Report, Sample, Verify};
use crate::store::StoreOptions;

#[derive(Args, Debug)]
pub(super) struct VerifyArgs {
    /// Repository, and what of it, if not all that its refs reach: a branch, a tag, or a snapshot
    /// by four digits or more
    #[arg(value_name = "REPO[@REF]")]
    repo: OsString,
    /// Read only so much of the data objects, chosen by chance, such as 1%; of the others, see that
    /// they exist and are long enough. Trees are checked whole
    #[arg(long, value_name = "PERCENT")]
    sample: Option<Percent>,
    /// Choose the same objects as the run that told this seed
    #[arg(long, value_name = "NUMBER", requires = "sample")]
    seed: Option<u64>,
    /// Print the report as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    store: StoreOptions,
}

pub(super) fn verify(args: VerifyArgs) -> Result<Exit, CliError> {
    let address = Address::parse(&args.repo);
    let started = Instant::now();
    let sample = match (args.sample, args.seed) {
        (Some(percent), Some(seed)) => Some(Sample { percent, seed }),
        (Some(percent), None) => Some(Sample::by_chance(percent)?),
        (None, _) => None,
    };
    let runtime = runtime()?;
    let repo = finish(&runtime, Repo::open(address.location(&args.store)), || true);
    let repo = repo.map_err(only_read)?;
    let verify = Arc::new(Verify::new(Arc::clone(&repo), sample));
    let say = || progress_text(&verify);
    let work = progress::shown(args.json, say, verify.run(address.name.as_deref()));
    let done = finish(&runtime, work, || true).map_err(only_read);
    runtime.shutdown_timeout(LAST_WORDS);
    let report = verify.report();
    let seconds = started.elapsed().as_secs_f64();
    let nothing_done = report.snapshots + report.nodes == 0 && report.bad.is_empty();
    if done.is_ok() || !nothing_done {
        if args.json {
            let mut json = report_json(&report);
            json["requests"] = json!(repo.store().counts());
            json["seconds"] = json!(seconds);
            print_json(&json)?;
        } else {
            print(&report_text(&report, seconds))?;
        }
    }
    done?;
    let exit = report.exit();
    if exit == Exit::Ok {
        return Ok(exit);
    }
    let bad = report.bad.len() as u64;
    let what = format!("{} not as {} must be", are(bad), if bad == 1 { "it" } else { "they" });
    let remedy = match exit == Exit::Integrity {
        true => {
            "restore them from a copy of the repository; where the content is at hand, `vellum \
             import --read-back` of it, into another branch, writes anew the chunks of large \
             files, and all that an import of the same made"
        }
        false => "check that the store can be read, then run it again",
    };
    Err(CliError::new(exit, what, remedy))
}

fn are(objects: u64) -> String {
    format!("{} {}", count(objects, "object"), if objects == 1 { "is" } else { "are" })
}

fn progress_text(verify: &Verify) -> String {
    let read = |at: &AtomicU64| at.load(Ordering::Relaxed);
    let data = read(&verify.data_read) + read(&verify.data_seen);
    format!(
        "verifying: {}, {}; {} of {}, {}",
        count(read(&verify.snapshots), "snapshot"),
        count(read(&verify.nodes), "tree node"),
        number(data),
        count(read(&verify.data), "data object"),
        size(read(&verify.bytes)),
    )
}

fn report_json(report: &Report) -> Value {
    json!({
        "complete": report.complete,
        "snapshots": report.snapshots,
        "nodes": report.nodes,
        "data_read": report.data_read,
        "data_seen": report.data_seen,
        "bytes": report.bytes,
        "sample": report.sample.map(|sample| sample.percent.to_string()),
        "seed": report.sample.map(|sample| sample.seed),
        "bad": report.bad.iter().map(bad_json).collect::<Vec<_>>(),
    })
}

fn bad_json(bad: &Bad) -> Value {
    json!({
        "key": bad.key,
        "what": bad.what.word(),
        "detail": bad.detail,
        "needed_by": bad.needed_by.iter().map(needed_json).collect::<Vec<_>>(),
    })
}

fn needed_json(by: &NeededBy) -> Value {
    match by {
        NeededBy::Name(name) => json!({"ref": name}),
        NeededBy::Child(hash) => json!({"child": hash.to_string()}),
        NeededBy::LinkTable(hash) => json!({"link_table_of": hash.to_string()}),
        NeededBy::Path { snapshot, path } => {
            let mut object = Map::new();
            object.insert("snapshot".into(), snapshot.to_string().into());
            path_json(path, &mut object);
            object.into()
        }
    }
}

fn report_text(report: &Report, seconds: f64) -> String {
    let mut text = String::new();
    for bad in &report.bad {
        let detail = if bad.detail.is_empty() { "" } else { ": " };
        text.push_str(&format!("{} {}{detail}{}\n", bad.what.word(), bad.key, bad.detail));
        for by in &bad.needed_by {
            text.push_str(&format!("  needed by {}\n", needed_text(by)));
        }
    }
    let what = match (report.complete, report.bad.is_empty()) {
        (true, true) => "all is as it must be".to_owned(),
        (true, false) => format!("{} bad", are(report.bad.len() as u64)),
        (false, _) => format!("not finished; {} bad so far", are(report.bad.len() as u64)),
    };
    text.push_str(&format!(
        "{what}: checked {}, {}, {}; read {} in {seconds:.1} s\n",
        count(report.snapshots, "snapshot"),
        count(report.nodes, "tree node"),
        count(report.data_read, "data object"),
        size(report.bytes),
    ));
    if let Some(Sample { percent, seed }) = report.sample {
        text.push_str(&format!(
            "a sample of {percent} of the data (--seed {seed}); {} only looked for\n",
            count(report.data_seen, "other data object"),
        ));
    }
    text
}

fn needed_text(by: &NeededBy) -> String {
    let short = |hash: &vellum_core::format::Hash| hash.to_string()[..SHORT_HASH].to_owned();
    match by {
        NeededBy::Name(name) => name.clone(),
        NeededBy::Child(hash) => format!("{}, whose parent it is", short(hash)),
        NeededBy::LinkTable(hash) => format!("{}, for its link table", short(hash)),
        NeededBy::Path { snapshot, path } if path.as_os_str().is_empty() => {
            format!("{}: .", short(snapshot))
        }
        NeededBy::Path { snapshot, path } => format!("{}: {}", short(snapshot), quoted(path)),
    }
}
