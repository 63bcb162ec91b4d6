//! Times, counted in buckets whose bounds grow by a quarter of a power of two: a quantile is known
//! to within a fifth, from 1 µs to 17 minutes, in a kilobyte.

use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets to each power of two.
const STEPS: usize = 4;
/// The first power of two that is divided: 1,024 ns. What is shorter is in the first bucket.
const FIRST: u32 = 10;
/// Powers of two that are divided; what is longer is in the last bucket.
const POWERS: usize = 30;
/// The first bucket, the steps, and the last, which has no bound.
const BUCKETS: usize = 1 + POWERS * STEPS + 1;

/// Counts times.
#[derive(Debug)]
pub(crate) struct Histogram {
    counts: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; BUCKETS], sum_ns: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts one.
    pub(crate) fn record(&self, ns: u64) {
        self.counts[bucket_of(ns)].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Adds what was counted so far to `total`.
    pub(crate) fn add_to(&self, total: &mut Buckets) {
        for (sum, count) in total.counts.iter_mut().zip(&self.counts) {
            *sum += count.load(Ordering::Relaxed);
        }
        total.sum_ns = total.sum_ns.wrapping_add(self.sum_ns.load(Ordering::Relaxed));
    }
}

/// The bucket of a time.
fn bucket_of(ns: u64) -> usize {
    if ns <= 1 << FIRST {
        return 0;
    }
    // Bounds belong to the bucket below them.
    let ns = ns - 1;
    let power = ns.ilog2();
    let step = (ns >> (power - STEPS.ilog2())) as usize % STEPS;
    let index = 1 + (power - FIRST) as usize * STEPS + step;
    index.min(BUCKETS - 1)
}

/// The longest time that a bucket counts; none for the last.
pub(crate) fn bound_ns(bucket: usize) -> Option<u64> {
    if bucket >= BUCKETS - 1 {
        return None;
    }
    let Some(step) = bucket.checked_sub(1) else { return Some(1 << FIRST) };
    let (power, step) = (step / STEPS, step % STEPS + 1);
    let base = 1_u64 << (FIRST as usize + power);
    Some(base + base / STEPS as u64 * step as u64)
}

/// Times that were counted, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Buckets {
    /// How many, by bucket.
    pub(crate) counts: Vec<u64>,
    /// All of them together, in nanoseconds.
    pub(crate) sum_ns: u64,
}

impl Default for Buckets {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], sum_ns: 0 }
    }
}

impl Buckets {
    /// How many.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// What was counted since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let counts = self.counts.iter().zip(&before.counts);
        let counts = counts.map(|(now, then)| now.saturating_sub(*then)).collect();
        Self { counts, sum_ns: self.sum_ns.saturating_sub(before.sum_ns) }
    }

    /// A time that so many of a hundred do not exceed: the bound of the bucket it falls into.
    /// None when nothing was counted.
    pub(crate) fn quantile_ns(&self, percent: u64) -> Option<u64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = (count * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (bucket, here) in self.counts.iter().enumerate() {
            seen += here;
            if seen >= rank {
                // Of the last bucket it is known only that it is longer than the one before.
                return bound_ns(bucket).or_else(|| bound_ns(BUCKETS - 2));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let mut last = 0;
        for bucket in 0..BUCKETS - 1 {
            let bound = bound_ns(bucket).unwrap_or(0);
            assert!(bound > last, "bucket {bucket}");
            assert_eq!((bucket_of(last + 1), bucket_of(bound)), (bucket, bucket), "{bound}");
            last = bound;
        }
        assert_eq!((bucket_of(0), bucket_of(last + 1)), (0, BUCKETS - 1));
        assert_eq!((bucket_of(u64::MAX), bound_ns(BUCKETS - 1)), (BUCKETS - 1, None));
    }

    #[test]
    fn a_quantile_is_at_most_a_quarter_too_long() {
        let histogram = Histogram::default();
        (1..=1000_u64).for_each(|us| histogram.record(us * 1000));
        let mut buckets = Buckets::default();
        histogram.add_to(&mut buckets);
        for (percent, us) in [(50, 500), (99, 990), (100, 1000)] {
            let told = buckets.quantile_ns(percent).unwrap_or(0);
            assert!((us * 1000..=us * 1250).contains(&told), "p{percent}: {told} ns");
        }
        assert_eq!((buckets.count(), buckets.sum_ns), (1000, 500_500_000));
        assert_eq!(buckets.since(&buckets).quantile_ns(50), None);
    }
}
