//! What the cache did, in figures.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// What the cache did for one process since it opened the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheCounts {
    /// Reads answered from the disk.
    pub hits: u64,
    /// Bytes of these answers.
    pub hit_bytes: u64,
    /// Reads that the store was asked for, or that joined one it was asked for.
    pub misses: u64,
    /// Bytes that the store sent for them.
    pub fetched_bytes: u64,
    /// Bytes that were written to the cache.
    pub kept_bytes: u64,
    /// Times that something was not kept: no room, a slow disk, or a disk that fails.
    pub not_kept: u64,
    /// Entries that went to make room.
    pub evictions: u64,
    /// Bytes that they took on disk.
    pub evicted_bytes: u64,
    /// Entries that were not what was written to them; they are removed.
    pub corrupt: u64,
}

/// [`CacheCounts`] as they are counted.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) hits: AtomicU64,
    pub(super) hit_bytes: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) fetched_bytes: AtomicU64,
    pub(super) kept_bytes: AtomicU64,
    pub(super) not_kept: AtomicU64,
    pub(super) evictions: AtomicU64,
    pub(super) evicted_bytes: AtomicU64,
    pub(super) corrupt: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> CacheCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheCounts {
            hits: read(&self.hits),
            hit_bytes: read(&self.hit_bytes),
            misses: read(&self.misses),
            fetched_bytes: read(&self.fetched_bytes),
            kept_bytes: read(&self.kept_bytes),
            not_kept: read(&self.not_kept),
            evictions: read(&self.evictions),
            evicted_bytes: read(&self.evicted_bytes),
            corrupt: read(&self.corrupt),
        }
    }
}

/// Adds to a counter.
pub(super) fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}
