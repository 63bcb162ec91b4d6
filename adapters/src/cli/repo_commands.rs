//! The commands that need no mount: init, import, export, log.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use serde_json::{Value, json};

use super::args::{ExportArgs, ImportArgs, InitArgs, LogArgs};
use super::running::{LAST_WORDS, finish, perform, raise_open_files, runtime};
use super::text::{SHORT_HASH, author, count, number, one_line, rfc3339, size, time};
use super::{CliError, Exit, print, print_json, progress};
use crate::repo::{Address, Export, Import, LogEntry, NewRepo, Repo, RepoError, log as history};
use crate::store::Location;

pub(super) fn init(args: InitArgs) -> Result<Exit, CliError> {
    let location = Location::new(&args.repo, args.store);
    let (chunk_bytes, single_writer) = (Some(args.chunk_size), args.single_writer);
    let kind = NewRepo { chunk_bytes, single_writer };
    let repo = perform(Repo::init(location, kind), || true)?;
    let chunk_bytes = repo.header().chunk_bytes;
    if args.json {
        print_json(&json!({
            "repository": path_text(&args.repo),
            "chunk_bytes": chunk_bytes,
            "requests": repo.store().counts(),
        }))?;
    } else {
        let chunk = size(u64::from(chunk_bytes));
        print(&format!("made repository {} (chunks of {chunk})\n", args.repo.display()))?;
    }
    Ok(Exit::Ok)
}

pub(super) fn import(args: ImportArgs) -> Result<Exit, CliError> {
    let address = Address::parse(&args.repo);
    let branch = branch_name(&address)?;
    let started = Instant::now();
    let message = args.message.unwrap_or_else(|| format!("Import of {}", args.source.display()));
    let author = args.author.unwrap_or_else(author);
    raise_open_files();
    let runtime = runtime()?;
    // What the branch has is compared with. What is sent is often more than the cache holds.
    let location = address.location(&args.store).cached(&args.cache).without_written();
    let repo = finish(&runtime, Repo::open(location), || true)?;
    let import = Import::new(Arc::clone(&repo), &args.source, &branch, author, message);
    let import = Arc::new(if args.read_back { import.reading_back() } else { import });
    let say = || {
        let read = |at: &std::sync::atomic::AtomicU64| at.load(Ordering::Relaxed);
        format!(
            "importing: {}, {}; sent {}, {}",
            count(read(&import.files), "inode"),
            size(read(&import.bytes)),
            count(read(&import.objects_put), "object"),
            size(read(&import.bytes_put)),
        )
    };
    let work = progress::shown(args.json, say, import.run());
    let done = finish(&runtime, work, || !import.publishing.load(Ordering::Acquire))?;
    runtime.shutdown_timeout(LAST_WORDS);
    let seconds = started.elapsed().as_secs_f64();
    let hash = done.snapshot.to_string();
    if args.json {
        print_json(&json!({
            "snapshot": hash,
            "branch": branch,
            "unchanged": done.unchanged,
            "inodes": done.files,
            "bytes": done.bytes,
            "objects_put": done.objects_put,
            "bytes_put": done.bytes_put,
            "objects_present": done.objects_present,
            "requests": repo.store().counts(),
            "seconds": seconds,
        }))?;
        return Ok(Exit::Ok);
    }
    let what = format!("{}, {}", count(done.files, "inode"), size(done.bytes));
    if done.unchanged {
        print(&format!("unchanged: {what}; {branch} stays at {}\n", &hash[..SHORT_HASH]))?;
        return Ok(Exit::Ok);
    }
    print(&format!(
        "imported {what}: {branch} is now {}\n\
         sent {}, {} ({} there before) in {seconds:.1} s\n",
        &hash[..SHORT_HASH],
        count(done.objects_put, "object"),
        size(done.bytes_put),
        number(done.objects_present),
    ))?;
    Ok(Exit::Ok)
}

pub(super) fn export(args: ExportArgs) -> Result<Exit, CliError> {
    let address = Address::parse(&args.repo);
    let started = Instant::now();
    let mut paths = args.paths.into_iter();
    let (first, second) = (paths.next().unwrap_or_default(), paths.next());
    let (path, to): (Option<PathBuf>, PathBuf) = match second {
        Some(to) => (Some(first), to),
        None => (None, first),
    };
    raise_open_files();
    let runtime = runtime()?;
    let repo =
        finish(&runtime, Repo::open(address.location(&args.store).cached(&args.cache)), || true)?;
    let export = Arc::new(Export::new(Arc::clone(&repo)));
    let say = || {
        let files = count(export.files.load(Ordering::Relaxed), "inode");
        format!("exporting: {files}, {}", size(export.bytes.load(Ordering::Relaxed)))
    };
    let work = async {
        let hash = repo.snapshot_of(address.name()).await?;
        let done = export.run(hash, path.as_deref(), &to).await;
        repo.store().settle().await;
        done
    };
    let done = finish(&runtime, progress::shown(args.json, say, work), || true);
    runtime.shutdown_timeout(LAST_WORDS);
    let done = done.map_err(|error| half_done(error, &to, &export))?;
    let seconds = started.elapsed().as_secs_f64();
    let hash = done.snapshot.to_string();
    if args.json {
        print_json(&json!({
            "snapshot": hash,
            "inodes": done.files,
            "bytes": done.bytes,
            "skipped_xattrs": done.skipped_xattrs,
            "requests": repo.store().counts(),
            "seconds": seconds,
        }))?;
        return Ok(Exit::Ok);
    }
    print(&format!(
        "exported {}, {} of {} to {} in {seconds:.1} s\n",
        count(done.files, "inode"),
        size(done.bytes),
        &hash[..SHORT_HASH],
        to.display(),
    ))?;
    if done.skipped_xattrs > 0 {
        let skipped = number(done.skipped_xattrs);
        tracing::warn!("left out {skipped} extended attributes that only root may set");
    }
    Ok(Exit::Ok)
}

/// What is to be done about an export that failed on its way.
fn half_done(error: CliError, to: &std::path::Path, export: &Export) -> CliError {
    if export.files.load(Ordering::Relaxed) == 0 {
        return error;
    }
    let to = to.display();
    let again = format!("{to} holds a part of it: remove that, then export again");
    let remedy =
        if error.exit == Exit::Interrupted { again } else { format!("{}\n{again}", error.remedy) };
    CliError { remedy, ..error }
}

pub(super) fn log(args: LogArgs) -> Result<Exit, CliError> {
    let address = Address::parse(&args.repo);
    let max = args.max.unwrap_or(usize::MAX);
    let work = async {
        let repo = Repo::open(address.location(&args.store).cached(&args.cache)).await?;
        let from = repo.resolve(address.name()).await?.snapshot;
        let entries = history(&repo, from, max).await;
        repo.store().settle().await;
        entries
    };
    let entries = perform(work, || true)?;
    if args.json {
        print_json(&Value::Array(entries.iter().map(log_json).collect()))?;
    } else {
        print(&log_table(&entries))?;
    }
    Ok(Exit::Ok)
}

fn log_json(entry: &LogEntry) -> Value {
    let LogEntry { hash, snapshot } = entry;
    let parents: Vec<String> = snapshot.parents.iter().map(ToString::to_string).collect();
    json!({
        "snapshot": hash.to_string(),
        "parents": parents,
        "time": rfc3339(snapshot.time),
        "time_ns": snapshot.time.ns,
        "author": snapshot.author,
        "message": snapshot.message,
        "inodes": snapshot.files,
        "bytes": snapshot.bytes,
    })
}

fn log_table(entries: &[LogEntry]) -> String {
    let row = |LogEntry { hash, snapshot }: &LogEntry| {
        [
            hash.to_string()[..SHORT_HASH].to_owned(),
            time(snapshot.time),
            count(snapshot.files, "inode"),
            size(snapshot.bytes),
            one_line(&snapshot.author),
            one_line(snapshot.message.lines().next().unwrap_or_default()),
        ]
    };
    let rows: Vec<_> = entries.iter().map(row).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths = [2, 3, 4].map(|column| width(column).unwrap_or(0));
    let mut text = String::new();
    for [hash, time, files, bytes, author, message] in &rows {
        let [files_width, bytes_width, author_width] = widths;
        text.push_str(&format!(
            "{hash}  {time}  {files:>files_width$}  {bytes:>bytes_width$}  \
             {author:<author_width$}  {message}\n"
        ));
    }
    text
}

fn branch_name(address: &Address) -> Result<String, CliError> {
    let name = address.name();
    if name.starts_with("tags/") {
        return Err(RepoError::NotABranch { name: name.to_owned() }.into());
    }
    Ok(name.strip_prefix("branches/").unwrap_or(name).to_owned())
}

fn path_text(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}
