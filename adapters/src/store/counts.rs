//! Requests and bytes, counted per kind of request.

use std::sync::atomic::{AtomicU64, Ordering};

use vellum_core::shapes::{StoreOutcome, StoreRequest};

/// One kind of request, in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindCounts {
    /// Requests made.
    pub requests: u64,
    /// Requests that failed, refused conditions included.
    pub failed: u64,
    /// Body bytes moved by those that succeeded.
    pub bytes: u64,
}

/// Everything that was asked of a store since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reads of objects and ranges.
    pub get: KindCounts,
    /// Questions for length and identity.
    pub head: KindCounts,
    /// Writes of objects and refs.
    pub put: KindCounts,
    /// Pages of listings.
    pub list: KindCounts,
    /// Removals.
    pub delete: KindCounts,
}

/// A request that was counted when it was asked.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    kind: usize,
    body_bytes: u64,
}

const KINDS: usize = 5;

#[derive(Default)]
struct Cell {
    requests: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
}

/// The counters behind [`Counts`]. They are statistics: their order among each other is free.
#[derive(Default)]
pub(super) struct Counters([Cell; KINDS]);

impl Counters {
    pub(super) fn asked(&self, request: &StoreRequest) -> Asked {
        let (kind, body_bytes) = match request {
            StoreRequest::Get { .. } => (0, 0),
            StoreRequest::Head { .. } => (1, 0),
            StoreRequest::Put { body, .. } => {
                (2, body.iter().map(|slice| slice.range.len() as u64).sum())
            }
            StoreRequest::List { .. } => (3, 0),
            StoreRequest::Delete { .. } => (4, 0),
        };
        self.0[kind].requests.fetch_add(1, Ordering::Relaxed);
        Asked { kind, body_bytes }
    }

    pub(super) fn answered(&self, asked: Asked, outcome: &StoreOutcome) {
        let cell = &self.0[asked.kind];
        let moved = match outcome {
            StoreOutcome::Failed(_) => {
                cell.failed.fetch_add(1, Ordering::Relaxed);
                0
            }
            StoreOutcome::Got { body, .. } => body.len() as u64,
            StoreOutcome::Stored { .. } => asked.body_bytes,
            StoreOutcome::Found { .. } | StoreOutcome::Listed { .. } | StoreOutcome::Deleted => 0,
        };
        cell.bytes.fetch_add(moved, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Counts {
        let kind = |index: usize| {
            let cell = &self.0[index];
            KindCounts {
                requests: cell.requests.load(Ordering::Relaxed),
                failed: cell.failed.load(Ordering::Relaxed),
                bytes: cell.bytes.load(Ordering::Relaxed),
            }
        };
        Counts { get: kind(0), head: kind(1), put: kind(2), list: kind(3), delete: kind(4) }
    }
}
