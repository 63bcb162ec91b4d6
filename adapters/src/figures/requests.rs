//! What was asked of the store, and what it answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use vellum_core::shapes::{StoreError, StoreOutcome, StoreRequest};

use super::histogram::{Buckets, Histogram};

/// A kind of request to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    Get,
    Head,
    Put,
    List,
    Delete,
}

impl RequestKind {
    /// All of them, with their names.
    pub(crate) const ALL: [(Self, &'static str); 5] = [
        (Self::Get, "get"),
        (Self::Head, "head"),
        (Self::Put, "put"),
        (Self::List, "list"),
        (Self::Delete, "delete"),
    ];

    /// The kind of `request`.
    pub(crate) fn of(request: &StoreRequest) -> Self {
        match request {
            StoreRequest::Get { .. } => Self::Get,
            StoreRequest::Head { .. } => Self::Head,
            StoreRequest::Put { .. } => Self::Put,
            StoreRequest::List { .. } => Self::List,
            StoreRequest::Delete { .. } => Self::Delete,
        }
    }
}

/// What requests come to, by name.
pub(crate) const OUTCOMES: [&str; 12] = [
    "ok",
    "not_found",
    "exists",
    "mismatch",
    "throttled",
    "unreachable",
    "ambiguous",
    "denied",
    "no_space",
    "damaged",
    "no_bucket",
    "unsupported",
];

fn outcome_index(outcome: &StoreOutcome) -> usize {
    match outcome {
        StoreOutcome::Got { .. }
        | StoreOutcome::Found { .. }
        | StoreOutcome::Stored { .. }
        | StoreOutcome::Listed { .. }
        | StoreOutcome::Deleted => 0,
        StoreOutcome::Failed(error) => match error {
            StoreError::NotFound => 1,
            StoreError::Exists => 2,
            StoreError::Mismatch => 3,
            StoreError::Throttled => 4,
            StoreError::Unreachable => 5,
            StoreError::Ambiguous => 6,
            StoreError::Denied => 7,
            StoreError::NoSpace => 8,
            StoreError::Damaged => 9,
            StoreError::NoBucket => 10,
            StoreError::Unsupported => 11,
        },
    }
}

/// Requests to a store.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    outcomes: [[AtomicU64; OUTCOMES.len()]; RequestKind::ALL.len()],
    times: [Histogram; RequestKind::ALL.len()],
    in_flight: AtomicU64,
}

/// A request that is under way, until it is answered or given up.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<Requests>);

impl UnderWay {
    /// It was answered after this time.
    pub(crate) fn answered(self, kind: RequestKind, outcome: &StoreOutcome, took: Duration) {
        self.0.outcomes[kind as usize][outcome_index(outcome)].fetch_add(1, Ordering::Relaxed);
        self.0.times[kind as usize].record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Requests {
    /// One is asked.
    pub(crate) fn asked(self: &Arc<Self>) -> UnderWay {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }

    /// Requests that are under way.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// What was counted so far, in the order of [`RequestKind::ALL`].
    pub(crate) fn totals(&self) -> Vec<RequestTotals> {
        let total = |(outcomes, times): (&[AtomicU64; OUTCOMES.len()], &Histogram)| {
            let mut buckets = Buckets::default();
            times.add_to(&mut buckets);
            let counts = outcomes.iter().map(|count| count.load(Ordering::Relaxed));
            let outcomes = OUTCOMES.into_iter().zip(counts).filter(|(_, count)| *count > 0);
            RequestTotals { outcomes: outcomes.collect(), times: buckets }
        };
        self.outcomes.iter().zip(&self.times).map(total).collect()
    }
}

/// Requests of one kind, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestTotals {
    /// How many had each outcome that there was.
    pub(crate) outcomes: Vec<(&'static str, u64)>,
    /// How long they took.
    pub(crate) times: Buckets,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_kind_and_outcome() {
        let requests = Arc::new(Requests::default());
        let took = Duration::from_millis(2);
        for (kind, outcome) in [
            (RequestKind::Delete, StoreOutcome::Deleted),
            (RequestKind::Get, StoreOutcome::Failed(StoreError::NotFound)),
            (RequestKind::Get, StoreOutcome::Failed(StoreError::Unsupported)),
        ] {
            requests.asked().answered(kind, &outcome, took);
        }
        let under_way = requests.asked();
        assert_eq!(requests.in_flight(), 1);
        drop(under_way);
        assert_eq!(requests.in_flight(), 0);
        let totals = requests.totals();
        assert_eq!(totals[0].outcomes, [("not_found", 1), ("unsupported", 1)]);
        assert_eq!(totals[4].outcomes, [("ok", 1)]);
        assert_eq!((totals[0].times.count(), totals[2].times.count()), (2, 0));
        for (index, (kind, name)) in RequestKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index, "{name} is in its place");
        }
    }
}
