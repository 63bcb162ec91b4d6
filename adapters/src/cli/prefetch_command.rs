//! The command that loads a part of a mount into the cache.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Args;
use serde_json::json;
use vellum_core::format::Hash;

use super::running::{LAST_WORDS, finish, runtime};
use super::text::{count, size};
use super::{CliError, Exit, print, print_json, progress};
use crate::mount::repository_of;
use crate::repo::{Prefetch, Repo};
use crate::store::Location;

/// Requests at once if nothing is said.
const JOBS: u16 = 16;

#[derive(Args, Debug)]
pub(super) struct PrefetchArgs {
    /// Mount point, or a path in the mount
    #[arg(value_name = "MNT")]
    mount_point: PathBuf,
    /// What to load, as paths from the root of the mount or full ones [default: all of it]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Requests at once
    #[arg(short, long, value_name = "N", default_value_t = JOBS,
        value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
    /// Print the answer as JSON
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn prefetch(args: PrefetchArgs) -> Result<Exit, CliError> {
    let started = Instant::now();
    let mount = repository_of(&args.mount_point)?;
    let point = Path::new(&mount.mount_point);
    let shown = point.display();
    if mount.offline {
        let what = format!("{shown} is mounted offline: nothing is fetched for it");
        return Err(CliError::new(Exit::Usage, what, "mount it without --offline"));
    }
    let inside = |path: &PathBuf| path.strip_prefix(point).unwrap_or(path).to_path_buf();
    let paths: Vec<PathBuf> = args.paths.iter().map(inside).collect();
    let location = Location::new(Path::new(&mount.address), mount.store).cached(&mount.cache);
    let runtime = runtime()?;
    let repo = finish(&runtime, Repo::open(location), || true).map_err(kept)?;
    let Some((root, bound_bytes)) = repo.store().cache_place() else {
        let what = format!("what is mounted at {shown} is not cached");
        let remedy = "only what is in a bucket is; a --cache-size of 0 turns it off";
        return Err(CliError::new(Exit::Usage, what, remedy));
    };
    let snapshot = mount.base.as_deref().and_then(Hash::from_hex);
    let prefetch = Arc::new(Prefetch::new(Arc::clone(&repo), usize::from(args.jobs)));
    let read = |at: &AtomicU64| at.load(Ordering::Relaxed);
    // What one span brings for several files was not there before.
    let mut there_bytes = 0;
    if let Some(snapshot) = snapshot {
        let say = || format!("looking: {}", count(read(&prefetch.files), "file"));
        let measure = async {
            repo.store().count_cache();
            prefetch.measure(snapshot, &paths).await
        };
        finish(&runtime, progress::shown(args.json, say, measure), || true).map_err(kept)?;
        there_bytes = read(&prefetch.there_bytes);
        let lacking_bytes = read(&prefetch.lacking_bytes);
        let all_bytes = there_bytes + lacking_bytes;
        if all_bytes > bound_bytes {
            tracing::warn!(
                "{} are asked for, and the cache {} holds {}: not all of it will stay; mount with \
                 more --cache-size",
                size(all_bytes),
                root.display(),
                size(bound_bytes),
            );
        }
        let say = || {
            let loaded = size(read(&prefetch.lacking_bytes));
            format!("prefetching: {loaded} of {}", size(lacking_bytes))
        };
        let load = async {
            let done = prefetch.load(snapshot, &paths).await;
            repo.store().settle().await;
            done
        };
        finish(&runtime, progress::shown(args.json, say, load), || true).map_err(kept)?;
    }
    runtime.shutdown_timeout(LAST_WORDS);
    show(&args, (read(&prefetch.files), there_bytes), &repo, started.elapsed().as_secs_f64())
}

fn show(
    args: &PrefetchArgs,
    (files, there_bytes): (u64, u64),
    repo: &Repo,
    seconds: f64,
) -> Result<Exit, CliError> {
    let requests = repo.store().counts();
    if args.json {
        print_json(&json!({
            "files": files,
            "bytes_fetched": requests.get.bytes,
            "bytes_present": there_bytes,
            "requests": requests,
            "cache": repo.store().cache_counts(),
            "seconds": seconds,
        }))?;
        return Ok(Exit::Ok);
    }
    print(&format!(
        "{}: fetched {} in {}, {} there before, in {seconds:.1} s\n",
        count(files, "file"),
        size(requests.get.bytes),
        count(requests.get.requests, "request"),
        size(there_bytes),
    ))?;
    Ok(Exit::Ok)
}

/// What was fetched stays.
fn kept(error: CliError) -> CliError {
    if error.exit != Exit::Interrupted {
        return error;
    }
    let remedy = "what was fetched is kept; run it again to go on".to_owned();
    CliError { remedy, ..error }
}
