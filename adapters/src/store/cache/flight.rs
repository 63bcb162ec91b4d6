//! What is fetched for a read that the disk could not answer: how much of the object, and once for
//! all who want it.
//!
//! A small range is fetched with what lies around it, since small files lie side by side in one
//! object, in the order of their paths. Each miss in one object fetches twice as much as the one
//! before, up to all of it. A range of 1 MiB or more is fetched as it is.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use futures::future::{self, BoxFuture, FutureExt, Shared, WeakShared};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use vellum_core::shapes::{Key, Segments, StoreError};

use super::entry::{Id, OBJECT_MAX_BYTES, Present, SLOT_BYTES};
use super::{Cache, ObjectStore, What, count, fetch};

/// What the first miss in an object fetches, and what all spans are aligned to. Over 30 ms, 256
/// KiB at 100 MB/s add 3.
const SPAN_BYTES: u64 = 256 << 10;
/// A range of this length is fetched as it is.
const LARGE_BYTES: u64 = 1 << 20;
/// Bytes that may be on their way beyond what was asked for. Past it, only slots are fetched.
const WIDER_MAX_BYTES: u64 = 64 << 20;
/// Objects of which the number of misses is remembered.
const OBJECTS_MAX: usize = 4096;

/// A run of bytes of an object, as it came.
#[derive(Clone, Debug)]
pub(super) struct Landed {
    pub(super) start: u64,
    pub(super) bytes: Arc<Segments>,
    /// Whether the object is known to end with them.
    pub(super) ends: bool,
}

impl Landed {
    /// The part that is wanted, if it is here.
    pub(super) fn part(self, range: Option<&Range<u64>>) -> Option<Segments> {
        let part = self.place(range)?;
        if part == (0..self.bytes.len_bytes() as usize) {
            return Some(Arc::unwrap_or_clone(self.bytes));
        }
        Some(self.bytes.part(part))
    }

    /// Where in the bytes the part that is wanted is.
    fn place(&self, range: Option<&Range<u64>>) -> Option<Range<usize>> {
        let end = self.start + self.bytes.len_bytes();
        let wanted = match range {
            None if self.ends => 0..end,
            None => return None,
            Some(range) if range.end <= end => range.clone(),
            Some(range) if self.ends => range.start.min(end)..end,
            Some(_) => return None,
        };
        let from = usize::try_from(wanted.start.checked_sub(self.start)?).ok()?;
        let to = usize::try_from(wanted.end.checked_sub(self.start)?).ok()?;
        (from <= to).then_some(from..to)
    }
}

type Flight = Shared<BoxFuture<'static, Result<Landed, StoreError>>>;
type WeakFlight = WeakShared<BoxFuture<'static, Result<Landed, StoreError>>>;

/// What is on its way, and how often each object was missed.
pub(super) struct Flights {
    objects: Mutex<HashMap<Key, Object>>,
    /// In units of slots.
    wider: Arc<Semaphore>,
}

#[derive(Default)]
struct Object {
    misses: u32,
    flying: Vec<(Option<Range<u64>>, WeakFlight)>,
    keeping: Vec<Keeping>,
}

/// What has come and is not on the disk yet: whoever writes it there holds the bytes until then.
struct Keeping {
    start: u64,
    ends: bool,
    bytes: Weak<Segments>,
}

impl Object {
    /// Forgets the flights that have ended and what is kept; whether anything is left.
    fn is_flying(&mut self) -> bool {
        self.flying.retain(|(_, flight)| flight.upgrade().is_some_and(|it| it.peek().is_none()));
        self.keeping.retain(|it| it.bytes.strong_count() > 0);
        !(self.flying.is_empty() && self.keeping.is_empty())
    }

    /// A flight that brings what is wanted, or brought it.
    fn joinable(&mut self, wanted: Option<&Range<u64>>) -> Option<Flight> {
        if !self.is_flying() {
            return None;
        }
        let brings = |span: &Option<Range<u64>>| match (span, wanted) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(span), Some(wanted)) => span.start <= wanted.start && wanted.end <= span.end,
        };
        let flying = self.flying.iter().find(|(span, _)| brings(span));
        flying.and_then(|(_, it)| it.upgrade()).or_else(|| {
            let mut landed = self.keeping.iter().filter_map(|it| {
                let bytes = it.bytes.upgrade()?;
                Some(Landed { start: it.start, bytes, ends: it.ends })
            });
            let landed = landed.find(|it| it.place(wanted).is_some())?;
            Some(future::ready(Ok(landed)).boxed().shared())
        })
    }
}

impl Default for Flights {
    fn default() -> Self {
        let wider = usize::try_from(WIDER_MAX_BYTES / SLOT_BYTES).unwrap_or(usize::MAX);
        Self { objects: Mutex::default(), wider: Arc::new(Semaphore::new(wider)) }
    }
}

impl Flights {
    /// Forgets what has come of an object and is not on the disk yet.
    pub(super) fn forget(&self, key: &str) {
        if let Some(object) = self.objects.lock().get_mut(key) {
            object.keeping.clear();
        }
    }

    /// The span to fetch for a range, with the right to fetch more than was asked for.
    fn span(
        &self,
        wanted: &Range<u64>,
        misses: u32,
        present: Present,
    ) -> (Range<u64>, Option<OwnedSemaphorePermit>) {
        if wanted.end - wanted.start >= LARGE_BYTES || wanted.end > OBJECT_MAX_BYTES {
            return (wanted.clone(), None);
        }
        let span = around(wanted, misses, present);
        let more = (span.end - span.start).saturating_sub(wanted.end - wanted.start);
        let slots = u32::try_from(more.div_ceil(SLOT_BYTES)).unwrap_or(u32::MAX);
        match Arc::clone(&self.wider).try_acquire_many_owned(slots) {
            Ok(permit) => (span, Some(permit)),
            Err(_) => (aligned(wanted, SLOT_BYTES), None),
        }
    }
}

fn aligned(range: &Range<u64>, to: u64) -> Range<u64> {
    range.start / to * to..range.end.next_multiple_of(to)
}

/// The span around a range after so many misses, without what is there already at its ends.
fn around(wanted: &Range<u64>, misses: u32, present: Present) -> Range<u64> {
    let own = aligned(wanted, SLOT_BYTES);
    let least = aligned(wanted, SPAN_BYTES);
    let width = (SPAN_BYTES << misses.min(6)).min(OBJECT_MAX_BYTES);
    let end = least.end.max(least.start + width).min(OBJECT_MAX_BYTES);
    let (mut start, mut to) = (own.start, own.end);
    while start > least.start && !present.has(start - SLOT_BYTES) {
        start -= SLOT_BYTES;
    }
    while to < end && !present.has(to) {
        to += SLOT_BYTES;
    }
    start..to
}

impl Cache {
    /// Fetches what was missed, or waits for who does that already.
    pub(super) async fn fly(
        &self,
        store: &Arc<dyn ObjectStore>,
        id: &Id,
        key: &Key,
        range: Option<Range<u64>>,
        present: Present,
        landed: u64,
    ) -> Result<Landed, StoreError> {
        let flight = {
            let mut objects = self.inner.flights.objects.lock();
            if objects.len() > OBJECTS_MAX {
                objects.retain(|_, object| object.is_flying());
            }
            let object = objects.entry(key.clone()).or_default();
            match object.joinable(range.as_ref()) {
                Some(flight) => flight,
                None => {
                    let (span, permit) = match &range {
                        None => (None, None),
                        Some(range) => {
                            let misses = object.misses;
                            let (span, permit) = self.inner.flights.span(range, misses, present);
                            (Some(span), permit)
                        }
                    };
                    object.misses = object.misses.saturating_add(1);
                    let (cache, store, id, key) =
                        (self.clone(), Arc::clone(store), id.clone(), key.clone());
                    let (wanted, bring) = (range, span.clone());
                    let flight = async move {
                        let _permit = permit;
                        cache.bring(&store, &id, &key, (wanted, bring), landed).await
                    };
                    let flight = flight.boxed().shared();
                    object.flying.extend(flight.downgrade().map(|weak| (span, weak)));
                    flight
                }
            }
        };
        flight.await
    }

    async fn bring(
        &self,
        store: &Arc<dyn ObjectStore>,
        id: &Id,
        key: &str,
        (wanted, span): (Option<Range<u64>>, Option<Range<u64>>),
        landed: u64,
    ) -> Result<Landed, StoreError> {
        // What another one has brought after this one looked is there now.
        if self.inner.landed.load(Ordering::Acquire) != landed
            && let Ok(bytes) = self.look(id, wanted.clone()).await
        {
            let (start, ends) = (wanted.as_ref().map_or(0, |range| range.start), wanted.is_none());
            return Ok(Landed { start, bytes: Arc::new(bytes), ends });
        }
        let bytes = fetch(store, key, span.clone()).await?;
        let len = bytes.len_bytes();
        count(&self.inner.counters.fetched_bytes, len);
        let (start, ends, what) = match &span {
            None => (0, true, What::Whole),
            Some(span) => (span.start, len < span.end - span.start, What::Slots),
        };
        let landed = Landed { start, bytes: Arc::new(bytes), ends };
        if len > 0 {
            if let Some(object) = self.inner.flights.objects.lock().get_mut(key) {
                let Landed { start, ends, .. } = landed;
                object.keeping.push(Keeping { start, ends, bytes: Arc::downgrade(&landed.bytes) });
            }
            // What was fetched as it is wanted, nobody else waits to find on disk.
            let waits = wanted.as_ref().is_none_or(|range| range.end - range.start < LARGE_BYTES);
            self.keep(id, landed.clone(), what, waits).await;
        }
        Ok(landed)
    }
}
