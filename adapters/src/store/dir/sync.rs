//! Makes directory entries durable, one sync for all that ask at the same time.
//!
//! A sync of a directory covers every entry made before it began. So whoever asks while one is
//! under way waits for the next, and the next serves all who wait.

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use rustix::fs::{Mode, OFlags, fsync, openat};
use vellum_core::shapes::StoreError;

use super::super::error::path_error;
use super::super::keys::parent_of;

#[derive(Default)]
pub(super) struct DirSyncs {
    /// By path inside the repository; one per directory that holds keys.
    dirs: Mutex<HashMap<String, Arc<DirSync>>>,
    /// Keys whose body is there, but could not be made durable.
    doubtful: Mutex<HashSet<String>>,
}

#[derive(Default)]
struct DirSync {
    rounds: Mutex<Rounds>,
    ended: Condvar,
}

#[derive(Default)]
struct Rounds {
    /// Entries registered so far.
    asked: u64,
    /// Of those, how many a completed sync covers.
    covered: u64,
    running: bool,
    /// Whether the names of this directory and of those above it are durable themselves.
    rooted: bool,
    /// A failed sync may have dropped what it was to write, and a later success proves nothing:
    /// so the directory stays failed until the store is opened anew.
    failed: Option<StoreError>,
}

impl DirSyncs {
    /// Makes all entries of the directory `path` durable that exist now, and the path itself.
    pub(super) fn make_durable(&self, root: &OwnedFd, path: &str) -> Result<(), StoreError> {
        let dir = Arc::clone(self.dirs.lock().entry(path.to_owned()).or_default());
        if !path.is_empty() && !dir.rounds.lock().rooted {
            self.make_durable(root, parent_of(path))?;
            dir.rounds.lock().rooted = true;
        }
        dir.sync(root, path)
    }

    /// Notes that the body of `key` may not survive a power loss.
    pub(super) fn doubt(&self, key: &str) {
        self.doubtful.lock().insert(key.to_owned());
    }

    /// Refuses to show a body that may not survive a power loss: whoever sees it relies on it.
    pub(super) fn check(&self, root: &OwnedFd, key: &str) -> Result<(), StoreError> {
        if self.doubtful.lock().contains(key) {
            self.make_durable(root, parent_of(key))?;
        }
        Ok(())
    }

    /// Has every later sync of the directory `path` fail.
    #[cfg(test)]
    pub(super) fn fail(&self, path: &str) {
        let dir = Arc::clone(self.dirs.lock().entry(path.to_owned()).or_default());
        dir.rounds.lock().failed = Some(StoreError::Unreachable);
    }

    /// Forgets that `path` is durable: somebody has removed the directory, or just made it.
    pub(super) fn forget(&self, path: &str) {
        if let Some(dir) = self.dirs.lock().get(path) {
            dir.rounds.lock().rooted = false;
        }
    }
}

impl DirSync {
    fn sync(&self, root: &OwnedFd, path: &str) -> Result<(), StoreError> {
        let mut rounds = self.rounds.lock();
        rounds.asked += 1;
        let mine = rounds.asked;
        loop {
            if let Some(error) = &rounds.failed {
                return Err(error.clone());
            }
            if rounds.covered >= mine {
                return Ok(());
            }
            if rounds.running {
                self.ended.wait(&mut rounds);
                continue;
            }
            rounds.running = true;
            let covers = rounds.asked;
            drop(rounds);
            let done = sync_directory(root, path);
            rounds = self.rounds.lock();
            rounds.running = false;
            self.ended.notify_all();
            match done {
                Ok(()) => rounds.covered = covers,
                Err(SyncError::Open(error)) => return Err(error),
                Err(SyncError::Sync(error)) => rounds.failed = Some(error),
            }
        }
    }
}

enum SyncError {
    /// Nothing was tried: whoever else waits tries by itself.
    Open(StoreError),
    Sync(StoreError),
}

fn sync_directory(root: &OwnedFd, path: &str) -> Result<(), SyncError> {
    let path = if path.is_empty() { "." } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = openat(root, path, flags, Mode::empty())
        .map_err(|errno| SyncError::Open(path_error(errno)))?;
    fsync(&dir).map_err(|errno| SyncError::Sync(path_error(errno)))
}
