//! Requests that wait: each until what it waits for has come, or its deadline.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use crate::machine::flows::WaitKey;
use crate::shapes::Op;
use crate::words::Ticket;

#[derive(Debug)]
struct Parked {
    op: Op,
    key: WaitKey,
    deadline_ns: u64,
}

/// All requests that wait, oldest ticket first.
#[derive(Debug, Default)]
pub(super) struct Parking {
    parked: BTreeMap<Ticket, Parked>,
    by_key: FxHashMap<WaitKey, Vec<Ticket>>,
    /// Deadlines, also of requests that were answered meanwhile.
    deadlines: BTreeSet<(u64, Ticket)>,
}

impl Parking {
    /// Parks a request. Whether a timer is needed for the oldest deadline.
    pub(super) fn park(&mut self, ticket: Ticket, op: Op, key: WaitKey, deadline_ns: u64) -> bool {
        self.by_key.entry(key.clone()).or_default().push(ticket);
        // A commit may take long, and whoever waits for it knows.
        let is_bounded = key != WaitKey::Commit;
        let first = is_bounded && self.deadlines.is_empty();
        if is_bounded {
            self.deadlines.insert((deadline_ns, ticket));
        }
        self.parked.insert(ticket, Parked { op, key, deadline_ns });
        first
    }

    /// Takes the requests that wait for `key`, oldest first.
    pub(super) fn take(&mut self, key: &WaitKey) -> Vec<(Ticket, Op, u64)> {
        let mut tickets = self.by_key.remove(key).unwrap_or_default();
        tickets.sort_unstable();
        tickets.dedup();
        let parked = tickets.into_iter().filter_map(|ticket| {
            let parked = self.parked.remove(&ticket)?;
            Some((ticket, parked.op, parked.deadline_ns))
        });
        parked.collect()
    }

    /// Takes the requests whose time is over; when the next one's is.
    pub(super) fn overdue(&mut self, now_ns: u64) -> (Vec<(Ticket, Op, WaitKey)>, Option<u64>) {
        let mut late = Vec::new();
        while let Some((deadline_ns, ticket)) = self.deadlines.first().copied() {
            let waits = self.parked.contains_key(&ticket);
            if waits && deadline_ns > now_ns {
                return (late, Some(deadline_ns));
            }
            self.deadlines.pop_first();
            let Some(parked) = self.parked.remove(&ticket) else { continue };
            if let Some(tickets) = self.by_key.get_mut(&parked.key) {
                tickets.retain(|other| *other != ticket);
            }
            late.push((ticket, parked.op, parked.key));
        }
        (late, None)
    }

    /// Requests that wait.
    pub(super) fn len(&self) -> usize {
        self.parked.len()
    }
}
