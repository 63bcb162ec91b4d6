//! A local directory with the semantics of an object store.
//!
//! An object is the file `PREFIX/key`. It appears whole or not at all: it is written to a file in
//! `PREFIX/.tmp`, synced, and renamed to its key without replacing (or, for a conditional
//! replacement, renamed over under the lock `PREFIX/.lock`). What is answered as stored, found or
//! existing is durable: the directories that lead to it are synced first. A body read may not be
//! durable yet if its put is under way; one whose sync has failed is not read.
//!
//! The identity of a body is made of its file's inode number, length and modification time. The
//! store sets that time itself, from a clock in nanoseconds, and later than that of the body it
//! replaces: so a key never shows one identity for two bodies, even if the bytes are the same.
//!
//! Keys with a component that begins with a dot are refused, so `.tmp` and `.lock` can't be
//! reached. A key can't lie below another (`a` and `a/b`), which object stores would allow.

mod list;
mod local;
mod put;
mod sync;

use std::fs::File;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use rustix::buffer::spare_capacity;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, fstat, fstatvfs, open, openat, statat, unlinkat,
};
use rustix::io::pread;
use tokio::sync::Semaphore;
use vellum_core::shapes::{
    Condition, Etag, SEGMENT_BYTES, Segments, StoreError, StoreOutcome, StoreRequest,
};

use super::ObjectStore;
use super::error::{OpenError, store_error};
use super::keys::{check_key, parent_of};

/// Requests that may be at work on threads of the blocking pool at once. Past about thirty, more
/// syncs in flight no longer share more of the file system's journal commits.
const AT_WORK_MAX: usize = 32;
/// Longest body that is answered. Native objects are at most 16 MiB; this bounds memory when a
/// stranger's file lies at a key.
const BODY_MAX_BYTES: u64 = 1 << 30;

/// The store in a local directory.
pub struct DirStore {
    dir: Arc<Dir>,
    at_work: Arc<Semaphore>,
}

/// The directory itself. All its methods block.
struct Dir {
    root: OwnedFd,
    syncs: sync::DirSyncs,
    /// Held around every read-compare-replace, before the lock that other processes see: waiting
    /// threads of one process queue here.
    exclusive: Mutex<()>,
    /// Set up by the first put: a reader changes nothing.
    temporary: Mutex<Option<Arc<put::Temporary>>>,
}

impl DirStore {
    /// What a directory may hold beside objects: no key reaches it.
    pub const OWN_NAMES: [&str; 2] = [put::TEMPORARY, put::LOCK];

    /// Opens an existing directory on a local file system.
    ///
    /// # Errors
    /// When there is no directory, it can't be opened, or its file system is a network's.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |errno: rustix::io::Errno| match errno {
            rustix::io::Errno::NOTDIR => OpenError::NotDirectory { path: path.to_path_buf() },
            _ => OpenError::Io { path: path.to_path_buf(), error: errno.into() },
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = open(path, flags, Mode::empty()).map_err(failed)?;
        if let Some(kind) = local::network_file_system(&root).map_err(failed)? {
            return Err(OpenError::NotLocal { path: PathBuf::from(path), kind });
        }
        let dir = Dir {
            root,
            syncs: sync::DirSyncs::default(),
            exclusive: Mutex::new(()),
            temporary: Mutex::new(None),
        };
        Ok(Self { dir: Arc::new(dir), at_work: Arc::new(Semaphore::new(AT_WORK_MAX)) })
    }
}

impl ObjectStore for DirStore {
    fn request(&self, request: StoreRequest) -> BoxFuture<'static, StoreOutcome> {
        let (dir, at_work) = (Arc::clone(&self.dir), Arc::clone(&self.at_work));
        Box::pin(async move {
            let lost = match &request {
                StoreRequest::Put { .. } => StoreError::Ambiguous,
                StoreRequest::Get { .. }
                | StoreRequest::Head { .. }
                | StoreRequest::List { .. }
                | StoreRequest::Delete { .. } => StoreError::Unreachable,
            };
            let Ok(permit) = at_work.acquire_owned().await else {
                return StoreOutcome::Failed(StoreError::Unreachable);
            };
            let work = move || {
                // The permit goes with the work, not with the future: a dropped future leaves
                // its work running.
                let _permit = permit;
                dir.perform(request)
            };
            let done = tokio::task::spawn_blocking(work).await;
            done.unwrap_or(StoreOutcome::Failed(lost))
        })
    }

    fn free_bytes(&self) -> Option<u64> {
        let figures = fstatvfs(&self.dir.root).ok()?;
        figures.f_bavail.checked_mul(figures.f_frsize)
    }

    fn is_gone(&self) -> bool {
        fstat(&self.dir.root).is_ok_and(|stat| stat.st_nlink == 0)
    }
}

impl Dir {
    fn perform(&self, request: StoreRequest) -> StoreOutcome {
        let outcome = match request {
            StoreRequest::Get { key, range, .. } => self.get(&key, range),
            StoreRequest::Head { key } => self.head(&key),
            StoreRequest::Put { key, body, condition } => match condition {
                Condition::Absent => self.put_absent(&key, &body),
                Condition::Matches(etag) => self.put_matching(&key, &body, &etag),
            },
            StoreRequest::List { prefix, after, max } => self.list(&prefix, &after, max),
            StoreRequest::Delete { key } => self.delete(&key),
        };
        outcome.unwrap_or_else(StoreOutcome::Failed)
    }

    /// Reads a range as far as the object goes: past its end there are no bytes, and no error.
    fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<StoreOutcome, StoreError> {
        check_key(key)?;
        self.syncs.check(&self.root, key)?;
        let (file, stat) = self.open_object(key)?;
        let len = stat_len(&stat);
        let range = range.unwrap_or(0..len);
        if range.start > range.end {
            return Err(StoreError::Unsupported);
        }
        let wanted = range.end.min(len).saturating_sub(range.start);
        if wanted > BODY_MAX_BYTES {
            return Err(StoreError::Unsupported);
        }
        let wanted = usize::try_from(wanted).map_err(|_| StoreError::Unsupported)?;
        let body = read_segments(&file, range.start, wanted)?;
        Ok(StoreOutcome::Got { body, etag: etag_of(&stat) })
    }

    fn head(&self, key: &str) -> Result<StoreOutcome, StoreError> {
        check_key(key)?;
        let stat = self.stat_object(key)?.ok_or(StoreError::NotFound)?;
        self.syncs.make_durable(&self.root, parent_of(key))?;
        Ok(StoreOutcome::Found { len: stat_len(&stat), crc32: None, etag: etag_of(&stat) })
    }

    fn delete(&self, key: &str) -> Result<StoreOutcome, StoreError> {
        check_key(key)?;
        let _lock = self.lock_refs()?;
        if self.stat_object(key)?.is_some() {
            unlinkat(&self.root, key, AtFlags::empty()).or_else(absent_is_fine)?;
            self.syncs.make_durable(&self.root, parent_of(key))?;
        }
        Ok(StoreOutcome::Deleted)
    }

    fn open_object(&self, key: &str) -> Result<(File, Stat), StoreError> {
        // Without NONBLOCK a named pipe at a key would hold the thread for ever.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened =
            openat(&self.root, key, flags, Mode::empty()).map_err(|errno| match errno {
                rustix::io::Errno::NOTDIR => StoreError::NotFound,
                other => store_error(other),
            })?;
        let stat = fstat(&opened).map_err(store_error)?;
        if !is_object(&stat) {
            return Err(StoreError::NotFound);
        }
        Ok((File::from(opened), stat))
    }

    /// What lies at `key`, if an object does.
    fn stat_object(&self, key: &str) -> Result<Option<Stat>, StoreError> {
        match statat(&self.root, key, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(is_object(&stat).then_some(stat)),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(store_error(errno)),
        }
    }
}

/// Reads `len` bytes of a file from `at` on.
fn read_segments(file: &File, mut at: u64, len: usize) -> Result<Segments, StoreError> {
    let mut body = Vec::new();
    let mut left = len;
    while left > 0 {
        let mut buffer = Vec::with_capacity(left.min(SEGMENT_BYTES));
        while buffer.len() < buffer.capacity() {
            match pread(file, spare_capacity(&mut buffer), at) {
                // Shorter than it just was: somebody cuts the file.
                Ok(0) => return Err(StoreError::Damaged),
                Ok(got) => at += got as u64,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(store_error(errno)),
            }
        }
        left -= buffer.len();
        body.push(buffer);
    }
    Ok(body.into_iter().collect())
}

fn is_object(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

fn stat_len(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

fn stat_mtime_ns(stat: &Stat) -> i128 {
    i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec)
}

fn etag_of(stat: &Stat) -> Etag {
    let (ino, len, mtime_ns) = (stat.st_ino, stat.st_size, stat_mtime_ns(stat));
    format!("{ino:x}-{len:x}-{mtime_ns:x}").into()
}

fn absent_is_fine(errno: rustix::io::Errno) -> Result<(), StoreError> {
    match errno {
        rustix::io::Errno::NOENT => Ok(()),
        other => Err(store_error(other)),
    }
}

#[cfg(test)]
mod tests;
