//! Puts: written aside, synced, then given their name.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{
    AtFlags, Dir as Stream, FlockOperation, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps,
    UTIME_OMIT, flock, fstat, fsync, futimens, linkat, mkdirat, openat, renameat, renameat_with,
    statat, unlinkat,
};
use rustix::io::Errno;
use vellum_core::shapes::{Etag, Slice, StoreError, StoreOutcome};

use super::super::error::{from_io, path_error, store_error};
use super::super::keys::{check_key, parent_of};
use super::{Dir, etag_of, stat_mtime_ns};

pub(super) const TEMPORARY: &str = ".tmp";
pub(super) const LOCK: &str = ".lock";
/// How old a temporary file must be before a sweep looks whether its writer lives. Between
/// making the file and locking it a writer needs microseconds.
const STALE_AGE: Duration = Duration::from_secs(60);
/// How long a put waits for the lock that other processes hold for microseconds. One that holds
/// it longer is stopped.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
const LOCK_POLL: Duration = Duration::from_millis(1);
/// Coarsest step of file times on a local file system (FAT keeps even seconds).
const COARSE_STEP_NS: i128 = 2_000_000_000;

/// The directory for unfinished objects.
pub(super) struct Temporary {
    dir: OwnedFd,
    /// Makes names unlike those of other processes, also of those in other containers.
    nonce: u64,
    count: AtomicU64,
}

/// An unfinished object; removed when dropped, unless it got its name.
struct Unfinished<'a> {
    temporary: &'a Temporary,
    name: String,
    file: File,
    named: bool,
}

impl Dir {
    pub(super) fn put_absent(&self, key: &str, body: &[Slice]) -> Result<StoreOutcome, StoreError> {
        check_key(key)?;
        if self.stat_object(key)?.is_some() {
            return self.exists(key);
        }
        let temporary = self.temporary()?;
        let mut object = temporary.write(body)?;
        object.stamp_after(None)?;
        object.sync()?;
        let named = match self.name(&mut object, key) {
            Err(Errno::NOENT) => {
                self.make_directories(parent_of(key)).map_err(path_error)?;
                self.name(&mut object, key)
            }
            other => other,
        };
        match named {
            Ok(()) => {}
            Err(Errno::EXIST) => return self.exists(key),
            Err(errno) => return Err(path_error(errno)),
        }
        let stat = fstat(&object.file).map_err(store_error)?;
        self.make_named_durable(key)?;
        Ok(StoreOutcome::Stored { etag: etag_of(&stat) })
    }

    /// Whoever is told that an object exists relies on it: so it is made durable first, even if
    /// its writer has not come so far.
    fn exists(&self, key: &str) -> Result<StoreOutcome, StoreError> {
        self.syncs.make_durable(&self.root, parent_of(key))?;
        Err(StoreError::Exists)
    }

    pub(super) fn put_matching(
        &self,
        key: &str,
        body: &[Slice],
        expected: &Etag,
    ) -> Result<StoreOutcome, StoreError> {
        check_key(key)?;
        let replaced = self.matching(key, expected)?;
        let temporary = self.temporary()?;
        let mut object = temporary.write(body)?;
        object.stamp_after(Some(&replaced))?;
        object.sync()?;
        let _lock = self.lock_refs()?;
        // The same identity means the same modification time: the stamp still holds.
        self.matching(key, expected)?;
        renameat(&temporary.dir, &object.name, &self.root, key).map_err(path_error)?;
        object.named = true;
        let stat = fstat(&object.file).map_err(store_error)?;
        self.make_named_durable(key)?;
        Ok(StoreOutcome::Stored { etag: etag_of(&stat) })
    }

    /// Whoever finds the object relies on it. If it may lose its name in a power loss, nobody is to
    /// find it.
    fn make_named_durable(&self, key: &str) -> Result<(), StoreError> {
        self.syncs.make_durable(&self.root, parent_of(key)).map_err(|_| {
            self.syncs.doubt(key);
            StoreError::Ambiguous
        })
    }

    /// What lies at `key`, if its identity is `expected`.
    fn matching(&self, key: &str, expected: &Etag) -> Result<Stat, StoreError> {
        let stat = self.stat_object(key)?.ok_or(StoreError::Mismatch)?;
        if etag_of(&stat) == *expected { Ok(stat) } else { Err(StoreError::Mismatch) }
    }

    /// Excludes every other replacement and removal, in this process and in others. The kernel
    /// releases the lock when its holder dies.
    pub(super) fn lock_refs(&self) -> Result<impl Drop + use<'_>, StoreError> {
        struct Held<'a>(#[allow(dead_code)] parking_lot::MutexGuard<'a, ()>, OwnedFd);
        impl Drop for Held<'_> {
            fn drop(&mut self) {
                // Closing would release it too, if no child process had inherited it meanwhile.
                let _ = flock(&self.1, FlockOperation::Unlock);
            }
        }
        let deadline = Instant::now() + LOCK_PATIENCE;
        let guard = self.exclusive.try_lock_until(deadline).ok_or(StoreError::Unreachable)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(0o666);
        let file = openat(&self.root, LOCK, flags, mode).map_err(path_error)?;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Held(guard, file)),
                Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < deadline => {
                    std::thread::sleep(LOCK_POLL);
                }
                Err(_) => return Err(StoreError::Unreachable),
            }
        }
    }

    fn temporary(&self) -> Result<Arc<Temporary>, StoreError> {
        let mut kept = self.temporary.lock();
        if let Some(temporary) = &*kept
            && temporary.is_there()
        {
            return Ok(Arc::clone(temporary));
        }
        let made = Arc::new(Temporary::make(&self.root).map_err(path_error)?);
        made.sweep();
        Ok(Arc::clone(kept.insert(made)))
    }

    /// Gives a finished object its name, if nothing has that name.
    fn name(&self, object: &mut Unfinished<'_>, key: &str) -> Result<(), Errno> {
        let from = &object.temporary.dir;
        let renamed = renameat_with(from, &object.name, &self.root, key, RenameFlags::NOREPLACE);
        match renamed {
            Ok(()) => object.named = true,
            // The file system does not know NOREPLACE; a link never replaces. The temporary name
            // goes when the object is dropped.
            Err(Errno::INVAL | Errno::NOSYS) => {
                linkat(from, &object.name, &self.root, key, AtFlags::empty())?;
            }
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    fn make_directories(&self, path: &str) -> Result<(), Errno> {
        if path.is_empty() {
            return Ok(());
        }
        let made = match mkdirat(&self.root, path, Mode::from_raw_mode(0o777)) {
            Err(Errno::NOENT) => {
                self.make_directories(parent_of(path))?;
                mkdirat(&self.root, path, Mode::from_raw_mode(0o777))
            }
            other => other,
        };
        self.syncs.forget(path);
        match made {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

impl Temporary {
    fn make(root: &OwnedFd) -> Result<Self, Errno> {
        match mkdirat(root, TEMPORARY, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let dir = openat(root, TEMPORARY, flags, Mode::empty())?;
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce).map_err(|_| Errno::IO)?;
        Ok(Self { dir, nonce: u64::from_le_bytes(nonce), count: AtomicU64::new(0) })
    }

    /// Whether the directory still has its name: somebody may have tidied up.
    fn is_there(&self) -> bool {
        fstat(&self.dir).is_ok_and(|stat| stat.st_nlink > 0)
    }

    /// Removes what writers left behind that died: files that are old and that nobody has locked.
    fn sweep(&self) {
        let Ok(stream) = Stream::read_from(&self.dir) else { return };
        let now_ns = clock_ns();
        for entry in stream.flatten() {
            let name = entry.file_name();
            let Ok(stat) = statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if now_ns - stat_mtime_ns(&stat) < STALE_AGE.as_nanos().cast_signed() {
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
            let Ok(file) = openat(&self.dir, name, flags, Mode::empty()) else { continue };
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                // Somebody else may have swept it: then there is nothing to do.
                let _ = unlinkat(&self.dir, name, AtFlags::empty());
            }
        }
    }

    fn write(&self, body: &[Slice]) -> Result<Unfinished<'_>, StoreError> {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let name = format!("{:016x}-{count:x}", self.nonce);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o444);
        let file = openat(&self.dir, &name, flags, mode).map_err(path_error)?;
        let file = File::from(file);
        let mut object = Unfinished { temporary: self, name, file, named: false };
        flock(&object.file, FlockOperation::NonBlockingLockShared).map_err(path_error)?;
        for slice in body {
            object.file.write_all(slice.as_bytes()).map_err(|error| from_io(&error))?;
        }
        Ok(object)
    }
}

impl Unfinished<'_> {
    fn sync(&self) -> Result<(), StoreError> {
        fsync(&self.file).map_err(store_error)
    }

    /// Sets the modification time to now, and later than that of the body it will replace.
    fn stamp_after(&self, replaced: Option<&Stat>) -> Result<(), StoreError> {
        let now_ns = clock_ns();
        let Some(replaced) = replaced else {
            return self.stamp(now_ns).map(|_| ());
        };
        let before_ns = stat_mtime_ns(replaced);
        let mut wanted_ns = now_ns.max(before_ns + 1);
        if self.stamp(wanted_ns)? <= before_ns {
            wanted_ns = before_ns + COARSE_STEP_NS;
            if self.stamp(wanted_ns)? <= before_ns {
                return Err(StoreError::Unsupported);
            }
        }
        Ok(())
    }

    /// Answers the time that the file system really keeps.
    fn stamp(&self, mtime_ns: i128) -> Result<i128, StoreError> {
        let secs = i64::try_from(mtime_ns.div_euclid(1_000_000_000));
        let nanos = i64::try_from(mtime_ns.rem_euclid(1_000_000_000));
        let (Ok(tv_sec), Ok(tv_nsec)) = (secs, nanos) else {
            return Err(StoreError::Unsupported);
        };
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec, tv_nsec },
        };
        futimens(&self.file, &times).map_err(store_error)?;
        Ok(stat_mtime_ns(&fstat(self.file.as_fd()).map_err(store_error)?))
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.named {
            // If it can't be removed now, a sweep does it.
            let _ = unlinkat(&self.temporary.dir, &self.name, AtFlags::empty());
        }
    }
}

fn clock_ns() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos().cast_signed())
}
