//! The figures of a mount, as they are sent over the control socket: totals since it began. Who
//! wants rates asks twice.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::protocol::seconds;
use crate::figures::{Buckets, Operation, RequestKind, RequestTotals};
use crate::store::CacheCounts;

/// Totals of a mount since it began, and its present state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::mount) struct StatsAnswer {
    /// How long the mount has been there, in seconds.
    pub(in crate::mount) uptime_seconds: f64,
    /// Requests of the kernel, by operation; those that there were.
    pub(in crate::mount) operations: BTreeMap<String, Times>,
    /// Requests to the store, by kind; those that there were.
    pub(in crate::mount) store: BTreeMap<String, StoreTotals>,
    /// Bodies sent to the store, in bytes.
    pub(in crate::mount) up_bytes: u64,
    /// Bodies received from the store, in bytes.
    pub(in crate::mount) down_bytes: u64,
    /// The present state.
    pub(in crate::mount) now: Gauges,
}

/// What is at this moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::mount) struct Gauges {
    /// Requests to the store that were sent again, since the mount began.
    pub(in crate::mount) retries: u64,
    /// Requests to the store that are under way, or wait for their turn.
    pub(in crate::mount) in_flight: u64,
    /// How many the store takes at once; none if there is no such bound.
    pub(in crate::mount) window: Option<u64>,
    /// What the cache on disk did since the mount began; none if there is none.
    pub(in crate::mount) cache: Option<CacheCounts>,
    /// Bytes of file data in memory.
    pub(in crate::mount) memory_bytes: u64,
    /// Most bytes of file data in memory.
    pub(in crate::mount) memory_limit_bytes: u64,
    /// Those of them that the store has too.
    pub(in crate::mount) cached_bytes: u64,
    /// Those of them that the store has not.
    pub(in crate::mount) dirty_bytes: u64,
    /// Changed inodes.
    pub(in crate::mount) changed_inodes: u64,
    /// Changed regular files.
    pub(in crate::mount) dirty_files: u64,
    /// How long the oldest uncommitted change has been so, in seconds.
    pub(in crate::mount) oldest_dirty_seconds: Option<f64>,
    /// Whether a commit is under way.
    pub(in crate::mount) committing: bool,
    /// Memory of the daemon's process, in bytes.
    pub(in crate::mount) resident_bytes: Option<u64>,
}

/// How long something took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::mount) struct Times {
    /// How many there were, by number of the bucket; those with any.
    buckets: BTreeMap<usize, u64>,
    /// All of them together, in nanoseconds.
    sum_ns: u64,
}

/// Requests of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::mount) struct StoreTotals {
    /// How many had each outcome.
    pub(in crate::mount) outcomes: BTreeMap<String, u64>,
    /// How long they took.
    pub(in crate::mount) times: Times,
}

impl From<&Buckets> for Times {
    fn from(buckets: &Buckets) -> Self {
        let counts = buckets.counts.iter().copied().enumerate();
        let counts = counts.filter(|(_, count)| *count > 0);
        Self { buckets: counts.collect(), sum_ns: buckets.sum_ns }
    }
}

impl From<&Times> for Buckets {
    fn from(times: &Times) -> Self {
        let mut buckets = Self { sum_ns: times.sum_ns, ..Self::default() };
        for (bucket, count) in &times.buckets {
            if let Some(here) = buckets.counts.get_mut(*bucket) {
                *here = *count;
            }
        }
        buckets
    }
}

impl StatsAnswer {
    /// The totals of the operations.
    pub(in crate::mount) fn operations(totals: &[Buckets]) -> BTreeMap<String, Times> {
        let named = Operation::ALL.iter().zip(totals).filter(|(_, totals)| totals.count() > 0);
        named.map(|((_, name), totals)| ((*name).to_owned(), totals.into())).collect()
    }

    /// The totals of the requests to the store.
    pub(in crate::mount) fn store(totals: &[RequestTotals]) -> BTreeMap<String, StoreTotals> {
        let named = RequestKind::ALL.iter().zip(totals);
        let named = named.filter(|(_, totals)| !totals.outcomes.is_empty());
        let total = |((_, name), totals): (&(RequestKind, &str), &RequestTotals)| {
            let outcomes = totals.outcomes.iter().map(|(name, n)| ((*name).to_owned(), *n));
            let totals =
                StoreTotals { outcomes: outcomes.collect(), times: (&totals.times).into() };
            ((*name).to_owned(), totals)
        };
        named.map(total).collect()
    }
}

/// What happened in a time, and the state at its end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::mount) struct Rates {
    /// How long the time was.
    pub(in crate::mount) seconds: f64,
    /// Requests of the kernel, by operation; those that there were.
    pub(in crate::mount) operations: BTreeMap<String, Rate>,
    /// Requests to the store, by kind; those that there were.
    pub(in crate::mount) store: BTreeMap<String, StoreRate>,
    /// Requests to the store that were sent again.
    pub(in crate::mount) retries: u64,
    /// Bodies sent to the store, in bytes.
    pub(in crate::mount) up_bytes: u64,
    /// Bodies received from the store, in bytes.
    pub(in crate::mount) down_bytes: u64,
    /// The state.
    pub(in crate::mount) now: Gauges,
}

/// How often something happened, and how long it took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::mount) struct Rate {
    /// How often.
    pub(in crate::mount) count: u64,
    /// How often in a second.
    pub(in crate::mount) per_second: f64,
    /// What half of them did not exceed, in seconds.
    pub(in crate::mount) p50_seconds: f64,
    /// What 99 of a hundred did not exceed, in seconds.
    pub(in crate::mount) p99_seconds: f64,
}

/// Requests of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::mount) struct StoreRate {
    /// How often, and how long.
    #[serde(flatten)]
    pub(in crate::mount) rate: Rate,
    /// How many had each outcome.
    pub(in crate::mount) outcomes: BTreeMap<String, u64>,
}

impl Rates {
    /// What happened between two answers; since the mount began when there is no earlier one.
    pub(in crate::mount) fn between(before: Option<&StatsAnswer>, after: &StatsAnswer) -> Self {
        let then = |of: fn(&StatsAnswer) -> u64| before.map_or(0, of);
        let seconds = after.uptime_seconds - before.map_or(0.0, |before| before.uptime_seconds);
        let operations = after.operations.iter().filter_map(|(name, times)| {
            let earlier = before.and_then(|before| before.operations.get(name));
            Some((name.clone(), rate(earlier, times, seconds)?))
        });
        let store = after.store.iter().filter_map(|(name, totals)| {
            let earlier = before.and_then(|before| before.store.get(name));
            let rate = rate(earlier.map(|earlier| &earlier.times), &totals.times, seconds)?;
            let outcomes = totals.outcomes.iter().filter_map(|(outcome, count)| {
                let earlier = earlier.and_then(|earlier| earlier.outcomes.get(outcome));
                let count = count.saturating_sub(earlier.copied().unwrap_or(0));
                (count > 0).then(|| (outcome.clone(), count))
            });
            Some((name.clone(), StoreRate { rate, outcomes: outcomes.collect() }))
        });
        Self {
            seconds,
            operations: operations.collect(),
            store: store.collect(),
            retries: after.now.retries.saturating_sub(then(|stats| stats.now.retries)),
            up_bytes: after.up_bytes.saturating_sub(then(|stats| stats.up_bytes)),
            down_bytes: after.down_bytes.saturating_sub(then(|stats| stats.down_bytes)),
            now: after.now.clone(),
        }
    }
}

fn rate(before: Option<&Times>, after: &Times, over_seconds: f64) -> Option<Rate> {
    let mut buckets = Buckets::from(after);
    if let Some(before) = before {
        buckets = buckets.since(&before.into());
    }
    let (p50_ns, p99_ns) = (buckets.quantile_ns(50)?, buckets.quantile_ns(99)?);
    let count = buckets.count();
    // An answer may come before the clock has moved.
    let per_second = if over_seconds > 0.0 { count as f64 / over_seconds } else { 0.0 };
    Some(Rate { count, per_second, p50_seconds: seconds(p50_ns), p99_seconds: seconds(p99_ns) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn stats(uptime_seconds: f64, writes: u64, failed: u64) -> StatsAnswer {
        let mut buckets = Buckets { sum_ns: writes * 1000, ..Buckets::default() };
        buckets.counts[0] = writes;
        let outcomes = [("ok".to_owned(), 5), ("throttled".to_owned(), failed)].into();
        let times = Times { buckets: [(3, 5 + failed)].into(), sum_ns: 5 };
        StatsAnswer {
            uptime_seconds,
            operations: [("write".to_owned(), (&buckets).into())].into(),
            store: [("get".to_owned(), StoreTotals { outcomes, times })].into(),
            up_bytes: 10 * writes,
            down_bytes: 7,
            now: Gauges { retries: failed, ..Gauges::default() },
        }
    }

    #[test]
    fn rates_are_those_of_the_time_between_two_answers() {
        let (before, after) = (stats(10.0, 100, 0), stats(12.0, 150, 4));
        let rates = Rates::between(Some(&before), &after);
        let write = &rates.operations["write"];
        assert_eq!((write.count, write.per_second), (50, 25.0));
        assert_eq!(rates.store["get"].outcomes, [("throttled".to_owned(), 4)].into());
        assert_eq!((rates.up_bytes, rates.down_bytes, rates.retries), (500, 0, 4));
        let idle = Rates::between(Some(&after), &after);
        assert!(idle.operations.is_empty() && idle.store.is_empty(), "{idle:?}");
        let all = Rates::between(None, &after);
        assert_eq!((all.seconds, all.operations["write"].count), (12.0, 150));
    }

    #[test]
    fn buckets_survive_the_way() {
        let sent = stats(1.0, 9, 1);
        let text = serde_json::to_string(&sent).unwrap();
        assert_eq!(serde_json::from_str::<StatsAnswer>(&text).unwrap(), sent);
        let mut buckets = Buckets { sum_ns: 7, ..Buckets::default() };
        buckets.counts[3] = 2;
        *buckets.counts.last_mut().unwrap() = 1;
        assert_eq!(Buckets::from(&Times::from(&buckets)), buckets);
    }
}
