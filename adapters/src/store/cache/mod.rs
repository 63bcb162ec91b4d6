//! A cache on disk of what never changes: data, trees and snapshots.
//!
//! It lies over a store and under everything that reads. What is asked for is looked for on disk
//! first ([`entry`]), and fetched if it is not there. A small range is fetched with what lies
//! around it ([`flight`]), and all who ask for what is on its way wait for that one request. What
//! the store sent is kept as far as the bound allows ([`room`]); nothing that goes wrong with the
//! disk is an error of the read.
//!
//! What is kept of a range was not compared with the hash that names it: only who asked knows
//! that. So who finds wrong bytes asks again for a *fresh* answer: that one comes from the store,
//! and what was kept of the object goes. An object that came whole is compared with its name first,
//! and never kept if it is another.
//!
//! Objects are known by their keys in a repository, which name their content: repositories share
//! the cache, and what one has fetched serves its copies too.

mod counts;
mod entry;
mod flight;
mod options;
mod room;
pub(super) mod seen;

#[cfg(test)]
mod tests;

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use vellum_core::format::Hash;
use vellum_core::shapes::{Etag, Key, Segments, Slice, StoreError, StoreOutcome, StoreRequest};

pub use counts::CacheCounts;
pub(crate) use options::cache_home;
pub use options::{CacheOptions, MinFree};

use super::ObjectStore;
use counts::{Counters, count};
use entry::{Entries, Id, Look, Present, SLOT_BYTES, SLOTS_AT};
use flight::{Flights, Landed};
use room::Room;

/// Looks into the cache that may be at work on threads of the blocking pool at once.
const LOOKS_MAX: usize = 32;
/// Bytes that may wait to be written to the disk. What comes while these wait is not kept.
const KEEPING_MAX_BYTES: u64 = 64 << 20;
/// How long an answer waits until it is kept. On a slow disk it goes out before.
const KEEP_WAIT: Duration = Duration::from_millis(250);
/// How long nothing is kept after the disk failed.
const REST: Duration = Duration::from_secs(30);

/// What of it may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Any slots of the object, though nobody has compared them with anything.
    Slots,
    /// The whole object, if it has the hash that it is named by; nothing else.
    Whole,
}

/// The cache of one process. Clones are the same.
#[derive(Clone)]
pub(super) struct Cache {
    inner: Arc<Inner>,
}

struct Inner {
    entries: Entries,
    room: Room,
    counters: Arc<Counters>,
    flights: Flights,
    looks: Arc<Semaphore>,
    /// In units of slots.
    keeping: Arc<Semaphore>,
    /// Counts what was kept: who saw it change looks again before fetching.
    landed: AtomicU64,
    /// Until when nothing is kept.
    rests: Mutex<Option<Instant>>,
    has_complained: AtomicBool,
}

impl Cache {
    /// The cache in a directory, which is made when something is kept.
    pub(super) fn new(root: PathBuf, options: &CacheOptions) -> Self {
        let counters = Arc::new(Counters::default());
        let room = Room::new(&root, options.cache_size, options.min_free, Arc::clone(&counters));
        let keeping = usize::try_from(KEEPING_MAX_BYTES / SLOT_BYTES).unwrap_or(usize::MAX);
        Self {
            inner: Arc::new(Inner {
                entries: Entries { root },
                room,
                counters,
                flights: Flights::default(),
                looks: Arc::new(Semaphore::new(LOOKS_MAX)),
                keeping: Arc::new(Semaphore::new(keeping)),
                landed: AtomicU64::new(0),
                rests: Mutex::new(None),
                has_complained: AtomicBool::new(false),
            }),
        }
    }

    /// What it did so far.
    pub(super) fn counts(&self) -> CacheCounts {
        self.inner.counters.read()
    }

    /// Where it is.
    pub(super) fn root(&self) -> &Path {
        &self.inner.entries.root
    }

    /// Most bytes that it takes on disk.
    pub(super) fn bound_bytes(&self) -> u64 {
        self.inner.room.bound_bytes()
    }

    /// Counts what is there, in the background, if that was not done for long.
    pub(super) fn count_anew(&self) {
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = inner.room.count_anew() {
                inner.failed(&error);
            }
        });
    }

    /// Answers a request to read, from the disk or from `store`.
    pub(super) async fn get(
        &self,
        store: &Arc<dyn ObjectStore>,
        key: Key,
        range: Option<Range<u64>>,
        fresh: bool,
    ) -> StoreOutcome {
        let is_odd = range.as_ref().is_some_and(Range::is_empty);
        let id = match Id::of(&key) {
            Some(id) if !is_odd => id,
            Some(_) | None => return store.request(StoreRequest::Get { key, range, fresh }).await,
        };
        if fresh {
            return self.get_fresh(store, &id, key, range).await;
        }
        let landed = self.inner.landed.load(Ordering::Acquire);
        let present = match self.look(&id, range.clone()).await {
            Ok(bytes) => return got(bytes),
            Err(present) => present,
        };
        count(&self.inner.counters.misses, 1);
        match self.fly(store, &id, &key, range.clone(), present, landed).await {
            Ok(landed) => match landed.part(range.as_ref()) {
                Some(bytes) => got(bytes),
                // Not what was hoped for: it is asked for as it is wanted.
                None => store.request(StoreRequest::Get { key, range, fresh: true }).await,
            },
            Err(error) => StoreOutcome::Failed(error),
        }
    }

    /// Answers from the store, and forgets what was kept of the object.
    async fn get_fresh(
        &self,
        store: &Arc<dyn ObjectStore>,
        id: &Id,
        key: Key,
        range: Option<Range<u64>>,
    ) -> StoreOutcome {
        self.inner.flights.forget(&key);
        let (inner, forgotten) = (Arc::clone(&self.inner), id.clone());
        let forget = tokio::task::spawn_blocking(move || {
            if let Err(error) = inner.forget(&forgotten) {
                inner.failed(&error);
            }
        });
        // It goes on by itself if it is lost.
        drop(forget.await);
        let start = range.as_ref().map_or(0, |range| range.start);
        let outcome = store.request(StoreRequest::Get { key, range, fresh: true }).await;
        let (body, etag) = match outcome.got_segments() {
            Ok(got) => got,
            Err(error) => return StoreOutcome::Failed(error),
        };
        let bytes = Arc::new(body);
        if start == 0 {
            let landed = Landed { start, bytes: Arc::clone(&bytes), ends: false };
            self.keep(id, landed, What::Whole, true).await;
        }
        StoreOutcome::Got { body: Arc::unwrap_or_clone(bytes), etag }
    }

    /// Keeps what was written to the store.
    pub(super) async fn put(&self, key: &str, body: &[Slice]) {
        let Some(id) = Id::of(key) else { return };
        let mut left: usize = body.iter().map(|slice| slice.range.len()).sum();
        let mut bytes = Segments::default();
        for slice in body {
            bytes.append(slice.as_bytes(), left);
            left -= slice.range.len();
        }
        let landed = Landed { start: 0, bytes: Arc::new(bytes), ends: true };
        self.keep(&id, landed, What::Whole, true).await;
    }

    /// Forgets an object that was removed from the store.
    pub(super) async fn forget(&self, key: &str) {
        let Some(id) = Id::of(key) else { return };
        let inner = Arc::clone(&self.inner);
        drop(tokio::task::spawn_blocking(move || inner.entries.remove(&id)).await);
    }

    /// Whether a part of an object is there, or all of it; it counts as used.
    pub(super) async fn has(&self, key: &str, range: Option<Range<u64>>) -> bool {
        let Some(id) = Id::of(key) else { return false };
        let inner = Arc::clone(&self.inner);
        let Ok(_permit) = self.inner.looks.acquire().await else { return false };
        let looked =
            tokio::task::spawn_blocking(move || inner.entries.has(&id, range.as_ref())).await;
        looked.unwrap_or(false)
    }

    /// Waits until all that is to be kept is.
    pub(super) async fn settle(&self) {
        let all = u32::try_from(KEEPING_MAX_BYTES / SLOT_BYTES).unwrap_or(u32::MAX);
        drop(self.inner.keeping.acquire_many(all).await);
    }

    /// What is on the disk, or else which parts of it are.
    async fn look(&self, id: &Id, range: Option<Range<u64>>) -> Result<Segments, Present> {
        let Ok(permit) = Arc::clone(&self.inner.looks).acquire_owned().await else {
            return Err(Present::default());
        };
        let (inner, id) = (Arc::clone(&self.inner), id.clone());
        let work = move || {
            let _permit = permit;
            inner.look(&id, range.as_ref())
        };
        tokio::task::spawn_blocking(work).await.unwrap_or(Err(Present::default()))
    }

    /// Keeps what came from the store, as far as there is room. Waits until it is kept if that is
    /// asked for; for a slow disk only so long.
    async fn keep(&self, id: &Id, landed: Landed, what: What, until_kept: bool) {
        let counters = &self.inner.counters;
        let slots = landed.bytes.len_bytes().div_ceil(SLOT_BYTES).max(1);
        let slots = u32::try_from(slots).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.inner.keeping).try_acquire_many_owned(slots);
        let (false, Ok(permit)) = (self.inner.rests(), permit) else {
            return count(&counters.not_kept, 1);
        };
        let (inner, id) = (Arc::clone(&self.inner), id.clone());
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            inner.keep(&id, &landed, what);
            // Before the bytes go: who finds them gone from memory knows that they are on the disk.
            inner.landed.fetch_add(1, Ordering::Release);
            drop(landed);
        });
        if until_kept {
            drop(tokio::time::timeout(KEEP_WAIT, work).await);
        }
    }
}

impl Inner {
    fn look(&self, id: &Id, range: Option<&Range<u64>>) -> Result<Segments, Present> {
        match self.entries.look(id, range) {
            Ok(Look::Hit(bytes)) => {
                count(&self.counters.hits, 1);
                count(&self.counters.hit_bytes, bytes.len_bytes());
                Ok(bytes)
            }
            Ok(Look::Miss(present)) => Err(present),
            Ok(Look::Corrupt) => {
                count(&self.counters.corrupt, 1);
                Err(Present::default())
            }
            Err(error) => {
                self.failed(&error);
                Err(Present::default())
            }
        }
    }

    fn keep(&self, id: &Id, landed: &Landed, what: What) {
        match self.try_keep(id, landed, what) {
            Ok(0) => count(&self.counters.not_kept, 1),
            Ok(bytes) => count(&self.counters.kept_bytes, bytes),
            Err(error) => {
                count(&self.counters.not_kept, 1);
                self.failed(&error);
            }
        }
    }

    /// Writes what is to be kept; how many bytes that were.
    fn try_keep(&self, id: &Id, landed: &Landed, what: What) -> io::Result<u64> {
        let Landed { start, bytes, ends } = landed;
        let is_whole = *start == 0 && Hash::of_parts(bytes.iter()) == id.hash;
        let must_be_whole = what == What::Whole || (*start == 0 && *ends);
        if must_be_whole && !is_whole {
            return Ok(0);
        }
        let ends = *ends || is_whole;
        let (skip, len) = (start.next_multiple_of(SLOT_BYTES) - start, bytes.len_bytes());
        if skip >= len {
            return Ok(0);
        }
        let cut;
        let slots = if skip == 0 && bytes.is_cut(SLOT_BYTES as usize) {
            bytes
        } else {
            cut = bytes.part(skip as usize..len as usize);
            &cut
        };
        // The entry itself, and what the file system needs to find its parts.
        let room_bytes = len - skip + 2 * SLOTS_AT;
        let Some(_writing) = self.room.take(room_bytes)? else { return Ok(0) };
        let grown = self.entries.write(id, start + skip, slots, ends);
        let taken_bytes = grown.as_ref().map_or(0, |grown| *grown);
        self.room.give(room_bytes.saturating_sub(taken_bytes))?;
        grown.map(|_| len - skip)
    }

    /// Removes what was kept of an object, and gives back its room unless that is being counted.
    fn forget(&self, id: &Id) -> io::Result<()> {
        let writing = self.room.begin()?;
        let bytes = self.entries.remove(id);
        if writing.is_some() && bytes > 0 { self.room.give(bytes) } else { Ok(()) }
    }

    /// The disk failed: says so once, and leaves it alone for a while.
    fn failed(&self, error: &io::Error) {
        *self.rests.lock() = Some(Instant::now() + REST);
        let root = self.entries.root.display();
        if self.has_complained.swap(true, Ordering::Relaxed) {
            tracing::debug!("the cache {root} fails: {error}");
        } else {
            tracing::warn!("the cache {root} can't be used, reading goes on without it: {error}");
        }
    }

    fn rests(&self) -> bool {
        self.rests.lock().is_some_and(|until| Instant::now() < until)
    }
}

/// The answer with bytes that were kept. Nobody compares the identities of what never changes.
fn got(body: Segments) -> StoreOutcome {
    StoreOutcome::Got { body, etag: Etag::from("kept") }
}

/// The bytes that a request came to.
async fn fetch(
    store: &Arc<dyn ObjectStore>,
    key: &str,
    range: Option<Range<u64>>,
) -> Result<Segments, StoreError> {
    let request = StoreRequest::Get { key: key.to_owned(), range, fresh: false };
    Ok(store.request(request).await.got_segments()?.0)
}
