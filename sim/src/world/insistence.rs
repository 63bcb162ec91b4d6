//! How actors go on asking for what fails: with longer and longer pauses, and not for ever.

use std::collections::BTreeMap;
use std::ops::Range;

use vellum_core::shapes::{Key, StoreOutcome, StoreRequest};

use super::ActorId;
use crate::store::Flight;

/// Failures in a row of one thing that nobody waits for: several times as many as pauses of 2.5 to
/// 5 seconds leave room for in the two minutes for which a request is tried.
const MOST: u64 = 300;
/// Failures in a row after which they must have taken their time.
const FEW: u64 = 16;
/// The shortest pause between a failure and the next try: half of the first one's back-off.
const PAUSE_NS: u64 = 25_000_000;

/// What an actor asks for: the same again is another try.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Thing {
    actor: ActorId,
    is_put: bool,
    key: Key,
    range: Option<(u64, u64)>,
}

impl Thing {
    pub(super) fn of(actor: ActorId, request: &StoreRequest) -> Self {
        let bounds = |range: &Range<u64>| (range.start, range.end);
        let (is_put, key, range) = match request {
            StoreRequest::Get { key, range, .. } => (false, key, range.as_ref().map(bounds)),
            StoreRequest::Head { key } => (false, key, None),
            StoreRequest::Put { key, .. } | StoreRequest::Delete { key } => (true, key, None),
            StoreRequest::List { prefix, .. } => (false, prefix, None),
        };
        Self { actor, is_put, key: key.clone(), range }
    }
}

/// Failures in a row.
#[derive(Clone, Copy, Debug)]
struct Row {
    count: u64,
    since_ns: u64,
}

/// What fails, how often in a row, and since when.
#[derive(Debug, Default)]
pub(super) struct Insistence {
    flights: BTreeMap<Flight, Thing>,
    rows: BTreeMap<Thing, Row>,
}

impl Insistence {
    /// Somebody asks an actor for something: what it tries from now on may be for him.
    pub(super) fn begin_anew(&mut self, actor: ActorId) {
        if !self.rows.is_empty() {
            self.rows.retain(|thing, _| thing.actor != actor);
        }
    }

    pub(super) fn asked(&mut self, flight: Flight, thing: &Thing) {
        self.flights.insert(flight, thing.clone());
    }

    /// Notes how a request ended.
    ///
    /// # Panics
    /// When the same thing has failed too often, or too often in too short a time.
    pub(super) fn answered(&mut self, flight: Flight, now_ns: u64, outcome: &StoreOutcome) {
        let Some(thing) = self.flights.remove(&flight) else { return };
        if !matches!(outcome, StoreOutcome::Failed(error) if error.is_temporary()) {
            self.rows.remove(&thing);
            return;
        }
        let key = thing.key.clone();
        let row = self.rows.entry(thing).or_insert(Row { count: 0, since_ns: now_ns });
        row.count += 1;
        let (count, took_ns) = (row.count, now_ns - row.since_ns);
        assert!(count <= MOST, "{key} was asked for {count} times in a row, in vain");
        let is_hasty = count > FEW && took_ns < (count - 1) * PAUSE_NS;
        assert!(!is_hasty, "{key} was asked for {count} times in {took_ns} ns, in vain");
    }
}
