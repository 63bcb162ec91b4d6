//! A set of byte offsets, as sorted ranges.

use std::ops::Range;

/// A set of byte offsets: sorted, disjoint, non-adjacent, half-open ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spans(Vec<Range<u64>>);

impl Spans {
    /// The set of all offsets below `end`.
    #[must_use]
    pub fn below(end: u64) -> Self {
        if end == 0 { Self::default() } else { Self(std::iter::once(0..end).collect()) }
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its ranges, in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.0.iter().cloned()
    }

    /// Offsets in it.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.0.iter().map(|r| r.end - r.start).sum()
    }

    /// Adds a range.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let first = self.0.partition_point(|r| r.end < range.start);
        let last = self.0.partition_point(|r| r.start <= range.end);
        let mut merged = range;
        if first < last {
            merged.start = merged.start.min(self.0[first].start);
            merged.end = merged.end.max(self.0[last - 1].end);
        }
        self.0.splice(first..last, [merged]);
    }

    /// Takes a range out.
    pub fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let first = self.0.partition_point(|r| r.end <= range.start);
        let last = self.0.partition_point(|r| r.start < range.end);
        if first >= last {
            return;
        }
        let head = self.0[first].start..range.start;
        let tail = range.end..self.0[last - 1].end;
        let keep = [head, tail].into_iter().filter(|r| !r.is_empty());
        self.0.splice(first..last, keep);
    }

    /// Whether all of `range` is in it.
    #[must_use]
    pub fn contains(&self, range: &Range<u64>) -> bool {
        range.is_empty() || {
            let at = self.0.partition_point(|r| r.end <= range.start);
            self.0.get(at).is_some_and(|r| r.start <= range.start && range.end <= r.end)
        }
    }

    /// Whether any of `range` is in it.
    #[must_use]
    pub fn overlaps(&self, range: &Range<u64>) -> bool {
        self.within(range.clone()).next().is_some()
    }

    /// The parts of `range` that are in it, in order.
    pub fn within(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let first = self.0.partition_point(|r| r.end <= range.start);
        self.0[first..]
            .iter()
            .take_while({
                let end = range.end;
                move |r| r.start < end
            })
            .map(move |r| r.start.max(range.start)..r.end.min(range.end))
            .filter(|r| !r.is_empty())
    }

    /// The parts of `range` that are not in it, in order.
    pub fn gaps(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut at = range.start;
        let end = range.end;
        self.within(range)
            .chain(std::iter::once(end..end))
            .map(move |r| {
                let gap = at..r.start;
                at = r.end;
                gap
            })
            .filter(|r| !r.is_empty())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::single_range_in_vec_init)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_a_set_of_bytes(
            edits in proptest::collection::vec((any::<bool>(), 0u64..64, 0u64..20), 0..40),
            ask in (0u64..64, 0u64..20),
        ) {
            let mut spans = Spans::default();
            let mut bytes = [false; 128];
            for (add, start, len) in edits {
                let range = start..start + len;
                if add { spans.insert(range) } else { spans.remove(range) }
                for at in start..start + len {
                    bytes[usize::try_from(at).unwrap_or(0)] = add;
                }
            }
            let set = |at: &u64| bytes[usize::try_from(*at).unwrap_or(0)];
            let range = ask.0..ask.0 + ask.1;
            prop_assert_eq!(spans.contains(&range), range.clone().all(|at| set(&at)));
            prop_assert_eq!(spans.overlaps(&range), range.clone().any(|at| set(&at)));
            let inside: Vec<u64> = spans.within(range.clone()).flatten().collect();
            prop_assert_eq!(inside, range.clone().filter(set).collect::<Vec<_>>());
            let outside: Vec<u64> = spans.gaps(range.clone()).flatten().collect();
            prop_assert_eq!(outside, range.filter(|at| !set(at)).collect::<Vec<_>>());
            prop_assert!(spans.0.windows(2).all(|w| w[0].end < w[1].start));
            prop_assert!(spans.0.iter().all(|r| !r.is_empty()));
        }
    }
}
