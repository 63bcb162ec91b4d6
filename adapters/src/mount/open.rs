//! From the arguments to a mount that is served.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use vellum_core::conc::Shared;
use vellum_core::machine::{Branch, MountSpec};
use vellum_core::words::{Limits, Time};

use super::args::MountArgs;
use super::control::place::Place;
use super::control::protocol::{MountedAnswer, RepositoryAnswer};
use super::daemon::{Daemon, Sides};
use super::notify::Notify;
use super::{background, metrics, point};
use crate::cli::{CliError, Exit, time};
use crate::fuse::{OpenMode, Options};
use crate::host::Host;
use crate::repo::{Address, Repo};
use crate::store::Location;

/// Least memory for file data, in bytes: below it a commit has no room to gather chunks.
const MEMORY_MIN_BYTES: u64 = 64 << 20;

/// Part of the memory that is kept for commits: one in so many.
const RESERVE_PART: u64 = 16;

/// Chunks that the reserve holds at least.
const RESERVE_CHUNKS: u64 = 2;

/// How long the end of a mount waits for a slow disk to keep what was read.
const KEEP_WAIT: Duration = Duration::from_secs(2);

/// Opens the repository, mounts it and serves it to its end, in this process.
pub(super) fn serve(args: &MountArgs, ready: impl FnOnce(MountedAnswer)) -> Result<Exit, CliError> {
    // A commit needs the bucket: of its edits nothing could come.
    let read_only = args.read_only || args.offline;
    // The daemon leaves the directory it was started in.
    let cache = args.cache.clone().absolute();
    let cache = cache.map_err(|error| failed("can't find the cache", &error))?;
    let args = &MountArgs { read_only, cache, ..args.clone() };
    let point = point::check(&args.mount_point)?;
    let place = Place::of(&point);
    place.prepare()?;
    // Held to the end of the process.
    let _claim = place.claim(&point)?;
    let (location, name) = address(args)?;
    let metrics = args.metrics.map(metrics::bind).transpose()?;
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .thread_name("vellum")
        .build()
        .map_err(|error| failed("can't start threads", &error))?;
    if background::is_daemon() {
        let why = |error| failed(&format!("can't speak to {}", place.log.display()), &error);
        background::detach(&place.log).map_err(why)?;
    }
    let served = runtime.block_on(async {
        let (host, repo, can_commit) = host(args, (&location, &name), runtime.handle()).await?;
        let source = format!("{}@{name}", location.address.display());
        let about = MountedAnswer {
            metrics: metrics.as_ref().map(|(_, address)| address.to_string()),
            offline: offline_words(&repo, &name),
            ..about(args, &point, &place, source, can_commit)
        };
        let sides = Sides { metrics: metrics.map(|(listener, _)| listener), notify: notify(args) };
        let store = Arc::clone(repo.store());
        let served = serve_host(args, (&host, repo), (&point, &place), (about, sides), ready).await;
        host.close();
        // What was read last may not be kept yet.
        drop(tokio::time::timeout(KEEP_WAIT, store.settle()).await);
        served
    });
    if background::is_daemon() && served.is_ok() {
        place.tidy();
    }
    // What the store still does can't be called back, and nobody waits for it.
    runtime.shutdown_background();
    served
}

/// Mounts `host` and serves it to its end.
async fn serve_host(
    args: &MountArgs,
    (host, repo): (&Host, Arc<Repo>),
    (point, place): (&Path, &Place),
    (about, sides): (MountedAnswer, Sides),
    ready: impl FnOnce(MountedAnswer),
) -> Result<Exit, CliError> {
    let options = Options {
        source: about.source.clone(),
        read_only: args.read_only,
        allow_other: args.allow_other,
        open_mode: if args.cached_writes { OpenMode::Cached } else { OpenMode::Direct },
    };
    let source = RepositoryAnswer {
        mount_point: about.mount_point.clone(),
        address: repo.store().address().to_string_lossy().into_owned(),
        store: args.store.clone().with_environment(),
        cache: args.cache.clone(),
        base: None,
        offline: repo.store().is_offline(),
    };
    let told = about.clone();
    let (point, about) = (point.to_path_buf(), (about, source, sides));
    Daemon::run((host.clone(), repo), place, point, options, about, || ready(told)).await
}

fn about(
    args: &MountArgs,
    point: &Path,
    place: &Place,
    source: String,
    can_commit: bool,
) -> MountedAnswer {
    MountedAnswer {
        mount_point: point.to_string_lossy().into_owned(),
        source,
        read_only: args.read_only,
        can_commit,
        metrics: None,
        offline: None,
        log: background::is_daemon().then(|| place.log.to_string_lossy().into_owned()),
        pid: std::process::id(),
    }
}

/// Only a daemon that stays in the foreground is the service itself.
fn notify(args: &MountArgs) -> Notify {
    if args.foreground { Notify::from_environment() } else { Notify::nobody() }
}

/// What is mounted of a bucket of which nothing is asked.
fn offline_words(repo: &Repo, name: &str) -> Option<String> {
    let store = repo.store();
    let seconds = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    let words = match store.offline_as_of() {
        Some(at) => format!("{name} as of {}", time(Time::from_parts(seconds(at), 0))),
        None => format!("{name}, as far as it is cached"),
    };
    store.is_offline().then_some(words)
}

/// What is to be mounted, by a full path: the daemon leaves the directory it was started in.
fn address(args: &MountArgs) -> Result<(Location, String), CliError> {
    let address = Address::parse(&args.repository);
    let location = address.location(&args.store).cached(&args.cache);
    let location = Location { offline: args.offline, ..location }.absolute().map_err(|error| {
        failed(&format!("can't find the repository {}", address.repo.display()), &error)
    })?;
    Ok((location, address.name().to_owned()))
}

/// Reads what the mount begins with, and starts its host. Answers too whether changes can be
/// committed.
async fn host(
    args: &MountArgs,
    (location, name): (&Location, &str),
    runtime: &Handle,
) -> Result<(Host, Arc<Repo>, bool), CliError> {
    let repo = Repo::open(location.clone()).await?;
    if !args.read_only {
        repo.check_writable()?;
    }
    let resolved = repo.resolve(name).await?;
    let base = match resolved.snapshot {
        Some(hash) => Some((hash, repo.read_snapshot(hash).await?)),
        None => None,
    };
    let chunk_bytes = repo.header().chunk_bytes;
    let branch = resolved.branch.filter(|_| !args.read_only);
    let can_commit = branch.is_some();
    let spec = MountSpec {
        chunk_bytes,
        read_only: args.read_only,
        base,
        branch: branch.map(|branch| Branch {
            key: branch.key,
            body: branch.body,
            etag: branch.etag,
        }),
        owner: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
    };
    let limits = limits(args.memory, chunk_bytes)?;
    // What can't be reached will not come by being asked for again.
    let retry_ns = if args.offline { 0 } else { limits.retry_ns };
    let shared = Arc::new(Shared::new(Limits { retry_ns, ..limits }, args.read_only));
    let store = Arc::clone(repo.store());
    store.count_cache();
    let host = Host::start(spec, shared, store as Arc<_>, runtime.clone())
        .map_err(|error| failed("can't start threads", &error))?;
    Ok((host, repo, can_commit))
}

fn limits(memory_bytes: Option<u64>, chunk_bytes: u32) -> Result<Limits, CliError> {
    let default = Limits::default();
    let memory_bytes = memory_bytes.unwrap_or(default.memory_bytes);
    if memory_bytes < MEMORY_MIN_BYTES {
        return Err(CliError::new(
            Exit::Usage,
            format!("--memory of {memory_bytes} bytes is too little to commit from"),
            format!("give at least {}M", MEMORY_MIN_BYTES >> 20),
        ));
    }
    let chunks = RESERVE_CHUNKS * u64::from(chunk_bytes);
    let reserve_bytes = (memory_bytes / RESERVE_PART).max(chunks);
    Ok(Limits { memory_bytes, reserve_bytes, ..default })
}

fn failed(what: &str, error: &io::Error) -> CliError {
    let remedy = "check memory, threads and open files (ulimit -a), then run it again";
    CliError::new(Exit::Usage, format!("{what}: {error}"), remedy)
}
