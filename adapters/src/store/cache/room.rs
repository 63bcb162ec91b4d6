//! The bound of the cache, across processes: what it takes, and what goes first. All of this
//! blocks.
//!
//! `DIR/total` holds what the entries take on disk, as far as is known. Whoever writes an entry
//! first adds what it will take, under a lock of that file, and writes nothing if that is more
//! than the bound: so the bound holds at every time, whoever else writes. What a process that
//! died had added is too much until the next count. Each eviction counts.
//!
//! Who writes shares the lock of `DIR/writing` until that is done, and who evicts has it alone: so
//! nothing is on its way that a count would miss. Who comes meanwhile keeps nothing. Entries go in
//! the order of their last use, which is the time of modification.

use std::collections::BinaryHeap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock, statvfs};

use super::counts::{Counters, count};
use super::options::MinFree;

const TOTAL: &str = "total";
const WRITING: &str = "writing";

/// Part of the bound that an eviction frees: one in so many.
const FREE_PART: u64 = 10;
/// How often an eviction for the sake of the disk is worth a try: freed space shows late.
const DISK_EVERY: Duration = Duration::from_secs(10);
/// How often, and how long apart, an eviction tries to be alone: a write takes milliseconds.
const ALONE_TRIES: u32 = 100;
const ALONE_PAUSE: Duration = Duration::from_millis(2);
/// After which what the entries take is counted anew when a mount begins.
const COUNT_EVERY: Duration = Duration::from_secs(3600);

/// The bound of a cache.
#[derive(Debug)]
pub(super) struct Room {
    root: PathBuf,
    bound_bytes: u64,
    min_free: MinFree,
    counters: Arc<Counters>,
    /// When entries last went for the sake of the disk, in seconds since 1970.
    for_disk: AtomicU64,
}

/// The right to change entries.
#[derive(Debug)]
pub(super) struct Writing {
    _lock: File,
}

/// An entry as the order of eviction has it: oldest last in a heap.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Used {
    at: (i64, i64),
    bytes: u64,
    path: PathBuf,
}

impl Room {
    pub(super) fn new(
        root: &Path,
        bound_bytes: u64,
        min_free: MinFree,
        counters: Arc<Counters>,
    ) -> Self {
        let for_disk = AtomicU64::new(0);
        Self { root: root.to_path_buf(), bound_bytes, min_free, counters, for_disk }
    }

    /// Most bytes that the entries may take.
    pub(super) fn bound_bytes(&self) -> u64 {
        self.bound_bytes
    }

    /// Takes room for `bytes`, which may be used as long as what is answered is held; none if there
    /// is none to be had.
    pub(super) fn take(&self, bytes: u64) -> io::Result<Option<Writing>> {
        if bytes > self.bound_bytes || !self.disk_has(bytes)? {
            return Ok(None);
        }
        let Some(writing) = self.begin()? else { return Ok(None) };
        if self.add(bytes)? {
            return Ok(Some(writing));
        }
        drop(writing);
        let low = self.bound_bytes - self.bound_bytes / FREE_PART;
        if !self.evict(|taken| (taken + bytes).saturating_sub(low.max(bytes)))? {
            return Ok(None);
        }
        let Some(writing) = self.begin()? else { return Ok(None) };
        Ok(self.add(bytes)?.then_some(writing))
    }

    /// Begins to change entries; none while another one counts them.
    pub(super) fn begin(&self) -> io::Result<Option<Writing>> {
        let file = self.open(WRITING)?;
        let is_free = is_locked(&file, FlockOperation::NonBlockingLockShared)?;
        Ok(is_free.then_some(Writing { _lock: file }))
    }

    /// Gives back room that was taken.
    pub(super) fn give(&self, bytes: u64) -> io::Result<()> {
        let total = self.locked()?;
        let (taken, counted) = read_total(&total)?;
        write_total(&total, taken.saturating_sub(bytes), counted)
    }

    /// What the entries take, as far as is known.
    #[cfg(test)]
    pub(super) fn taken(&self) -> io::Result<u64> {
        Ok(read_total(&self.locked()?)?.0)
    }

    /// Counts what the entries take, if that was not done for long.
    pub(super) fn count_anew(&self) -> io::Result<()> {
        let (_, counted) = read_total(&self.locked()?)?;
        if now_s().saturating_sub(counted) >= COUNT_EVERY.as_secs() {
            self.evict(|taken| taken.saturating_sub(self.bound_bytes))?;
        }
        Ok(())
    }

    fn add(&self, bytes: u64) -> io::Result<bool> {
        let total = self.locked()?;
        let (taken, counted) = read_total(&total)?;
        // Without a count there is no telling what lies there.
        if counted == 0 || taken + bytes > self.bound_bytes {
            return Ok(false);
        }
        write_total(&total, taken + bytes, counted)?;
        Ok(true)
    }

    /// Whether the disk has room for `bytes` beside what has to stay free, perhaps after an
    /// eviction.
    fn disk_has(&self, bytes: u64) -> io::Result<bool> {
        let lacks = |root: &Path| -> io::Result<u64> {
            let disk = match statvfs(root) {
                Err(rustix::io::Errno::NOENT) => return Ok(0),
                other => other?,
            };
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let all = disk.f_blocks.saturating_mul(disk.f_frsize);
            Ok(self.min_free.bytes(all).saturating_add(bytes).saturating_sub(free))
        };
        let lack = lacks(&self.root)?;
        if lack == 0 {
            return Ok(true);
        }
        let (now, last) = (now_s(), self.for_disk.load(Ordering::Relaxed));
        if now.saturating_sub(last) < DISK_EVERY.as_secs() {
            return Ok(false);
        }
        self.for_disk.store(now, Ordering::Relaxed);
        self.evict(|_| lack)?;
        Ok(lacks(&self.root)? == 0)
    }

    /// Counts all entries, and removes those least lately used until what `excess` makes of their
    /// sum is gone. False if others are at work for too long.
    fn evict(&self, excess: impl Fn(u64) -> u64) -> io::Result<bool> {
        let lock = self.open(WRITING)?;
        let mut tries = 0;
        while !is_locked(&lock, FlockOperation::NonBlockingLockExclusive)? {
            tries += 1;
            if tries >= ALONE_TRIES {
                return Ok(false);
            }
            std::thread::sleep(ALONE_PAUSE);
        }
        let mut taken = 0;
        self.each(|used| taken += used.bytes)?;
        let excess = excess(taken);
        let mut freed = 0;
        for Used { bytes, path, .. } in self.oldest(excess)? {
            // Who has it open reads on.
            if fs::remove_file(path).is_ok() {
                freed += bytes;
                count(&self.counters.evictions, 1);
                count(&self.counters.evicted_bytes, bytes);
            }
        }
        write_total(&self.locked()?, taken.saturating_sub(freed), now_s())?;
        Ok(true)
    }

    /// The entries least lately used that take `bytes` together; no more than that are in memory.
    fn oldest(&self, bytes: u64) -> io::Result<Vec<Used>> {
        let mut heap: BinaryHeap<Used> = BinaryHeap::new();
        let mut sum = 0;
        if bytes > 0 {
            self.each(|used| {
                let newest = heap.peek().map(|newest| newest.at);
                if sum >= bytes && newest.is_some_and(|newest| used.at >= newest) {
                    return;
                }
                sum += used.bytes;
                heap.push(used);
                while let Some(newest) = heap.peek()
                    && sum - newest.bytes >= bytes
                {
                    sum -= newest.bytes;
                    heap.pop();
                }
            })?;
        }
        Ok(heap.into_sorted_vec())
    }

    fn each(&self, mut see: impl FnMut(Used)) -> io::Result<()> {
        for shard in 0..=255_u8 {
            let listed = match fs::read_dir(self.root.join(format!("{shard:02x}"))) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                listed => listed?,
            };
            for entry in listed {
                let entry = entry?;
                // It may have gone meanwhile.
                let Ok(meta) = entry.metadata() else { continue };
                if !meta.is_dir() {
                    let at = (meta.mtime(), meta.mtime_nsec());
                    see(Used { at, bytes: meta.blocks() * 512, path: entry.path() });
                }
            }
        }
        Ok(())
    }

    /// The file of the total, locked until it is dropped.
    fn locked(&self) -> io::Result<File> {
        let total = self.open(TOTAL)?;
        flock(&total, FlockOperation::LockExclusive)?;
        Ok(total)
    }

    fn open(&self, name: &str) -> io::Result<File> {
        let open = || {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            options.open(self.root.join(name))
        };
        match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(&self.root)?;
                open()
            }
            opened => opened,
        }
    }
}

/// Whether the lock of a file could be had at once.
fn is_locked(file: &File, how: FlockOperation) -> io::Result<bool> {
    match flock(file, how) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// What the entries take, and when that was counted.
fn read_total(file: &File) -> io::Result<(u64, u64)> {
    let mut bytes = [0; 16];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => {}
        // A new one: nothing was counted yet.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok((0, 0)),
        Err(error) => return Err(error),
    }
    let (taken, counted) = bytes.split_at(8);
    let number = |part: &[u8]| part.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    Ok((number(taken), number(counted)))
}

fn write_total(file: &File, taken: u64, counted: u64) -> io::Result<()> {
    file.write_all_at(&[taken.to_le_bytes(), counted.to_le_bytes()].concat(), 0)
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
