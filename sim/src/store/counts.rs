//! What was asked of a store.

use vellum_core::shapes::StoreRequest;

/// Requests of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindCounts {
    /// How many.
    pub requests: u64,
    /// Bytes of their bodies, sent or received.
    pub bytes: u64,
}

/// Requests by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reads of objects and ranges.
    pub get: KindCounts,
    /// Questions for length and identity.
    pub head: KindCounts,
    /// Puts.
    pub put: KindCounts,
    /// Pages of listings.
    pub list: KindCounts,
    /// Deletions.
    pub delete: KindCounts,
}

impl Counts {
    /// Requests of all kinds.
    #[must_use]
    pub fn requests(&self) -> u64 {
        let Self { get, head, put, list, delete } = self;
        [get, head, put, list, delete].iter().map(|kind| kind.requests).sum()
    }

    pub(super) fn asked(&mut self, request: &StoreRequest) {
        let kind = match request {
            StoreRequest::Get { .. } => &mut self.get,
            StoreRequest::Head { .. } => &mut self.head,
            StoreRequest::Put { body, .. } => {
                self.put.bytes += body.iter().map(|slice| slice.range.len() as u64).sum::<u64>();
                &mut self.put
            }
            StoreRequest::List { .. } => &mut self.list,
            StoreRequest::Delete { .. } => &mut self.delete,
        };
        kind.requests += 1;
    }

    pub(super) fn got(&mut self, bytes: u64) {
        self.get.bytes += bytes;
    }
}
