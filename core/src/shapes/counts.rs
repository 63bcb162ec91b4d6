//! What was asked of a store, in figures.

use serde::{Deserialize, Serialize};

use super::store::{StoreOutcome, StoreRequest};

/// Requests of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindCounts {
    /// Requests made.
    pub requests: u64,
    /// Requests that failed, refused conditions included.
    pub failed: u64,
    /// Body bytes moved by those that succeeded.
    pub bytes: u64,
}

/// Requests by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

#[derive(Clone, Copy, Debug)]
enum Kind {
    Get,
    Head,
    Put,
    List,
    Delete,
}

/// A request that was counted when it was asked.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    kind: Kind,
    body_bytes: u64,
}

impl Counts {
    /// Requests of all kinds.
    #[must_use]
    pub fn requests(&self) -> u64 {
        let Self { get, head, put, list, delete } = self;
        [get, head, put, list, delete].iter().map(|kind| kind.requests).sum()
    }

    /// Counts a request; its answer is counted by [`Counts::answered`].
    pub fn asked(&mut self, request: &StoreRequest) -> Asked {
        let (kind, body_bytes) = match request {
            StoreRequest::Get { .. } => (Kind::Get, 0),
            StoreRequest::Head { .. } => (Kind::Head, 0),
            StoreRequest::Put { body, .. } => {
                (Kind::Put, body.iter().map(|slice| slice.range.len() as u64).sum())
            }
            StoreRequest::List { .. } => (Kind::List, 0),
            StoreRequest::Delete { .. } => (Kind::Delete, 0),
        };
        self.of(kind).requests += 1;
        Asked { kind, body_bytes }
    }

    /// Counts what came of a request.
    pub fn answered(&mut self, asked: Asked, outcome: &StoreOutcome) {
        let counts = self.of(asked.kind);
        match outcome {
            StoreOutcome::Failed(_) => counts.failed += 1,
            StoreOutcome::Got { body, .. } => counts.bytes += body.len_bytes(),
            StoreOutcome::Stored { .. } => counts.bytes += asked.body_bytes,
            StoreOutcome::Found { .. } | StoreOutcome::Listed { .. } | StoreOutcome::Deleted => {}
        }
    }

    fn of(&mut self, kind: Kind) -> &mut KindCounts {
        match kind {
            Kind::Get => &mut self.get,
            Kind::Head => &mut self.head,
            Kind::Put => &mut self.put,
            Kind::List => &mut self.list,
            Kind::Delete => &mut self.delete,
        }
    }
}
