//! Which bytes of a block are meant: a few runs inline, a bitmap once they are too many.

use std::ops::Range;

const RUNS: usize = 4;

/// A set of byte offsets inside one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask(Repr);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Repr {
    /// Sorted, disjoint, non-adjacent runs; the first `len` count.
    Runs { len: u8, runs: [(u32, u32); RUNS] },
    /// One bit a byte. Only while there are more than `RUNS` runs, or were since the last look.
    Bits(Box<[u64]>),
}

impl Default for Mask {
    fn default() -> Self {
        Self(Repr::Runs { len: 0, runs: [(0, 0); RUNS] })
    }
}

impl Mask {
    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Repr::Runs { len, .. } => *len == 0,
            Repr::Bits(words) => words.iter().all(|w| *w == 0),
        }
    }

    /// Whether all of `range` is in it.
    #[inline]
    #[must_use]
    pub fn contains(&self, range: Range<u32>) -> bool {
        match &self.0 {
            Repr::Runs { len, runs } => runs[..usize::from(*len)]
                .iter()
                .any(|(start, end)| *start <= range.start && range.end <= *end),
            Repr::Bits(words) => words_of(&range).all(|(at, bits)| words[at] & bits == bits),
        }
    }

    /// Whether a range can be added without memory for a bitmap.
    #[inline]
    #[must_use]
    pub fn has_room(&self) -> bool {
        match &self.0 {
            Repr::Runs { len, .. } => usize::from(*len) < RUNS,
            Repr::Bits(_) => false,
        }
    }

    /// Adds a range; `block_bytes` is the size of the block.
    #[inline]
    pub fn insert(&mut self, range: Range<u32>, block_bytes: u32) {
        if let Repr::Runs { len: 1, runs } = &self.0
            && runs[0].0 <= range.start
            && range.end <= runs[0].1
        {
            return;
        }
        self.edit(range, true, block_bytes);
    }

    /// Takes a range out; `block_bytes` is the size of the block.
    pub fn remove(&mut self, range: Range<u32>, block_bytes: u32) {
        self.edit(range, false, block_bytes);
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self, block_bytes: u32) {
        for run in other.runs() {
            self.insert(run, block_bytes);
        }
    }

    /// Keeps only what is in `other` too.
    pub fn keep(&mut self, other: &Self, block_bytes: u32) {
        for gap in other.gaps(0..block_bytes) {
            self.remove(gap, block_bytes);
        }
    }

    /// One run from its first byte to its last.
    #[must_use]
    pub fn hull(&self, block_bytes: u32) -> Self {
        let runs = self.runs();
        let mut hull = Self::default();
        if let (Some(first), Some(last)) = (runs.first(), runs.last()) {
            hull.insert(first.start..last.end, block_bytes);
        }
        hull
    }

    /// Its runs, in order.
    #[must_use]
    pub fn runs(&self) -> Vec<Range<u32>> {
        match &self.0 {
            Repr::Runs { len, runs } => {
                runs[..usize::from(*len)].iter().map(|r| r.0..r.1).collect()
            }
            Repr::Bits(words) => runs_of(words),
        }
    }

    /// The parts of `range` that are not in it, in order.
    #[must_use]
    pub fn gaps(&self, range: Range<u32>) -> Vec<Range<u32>> {
        let mut at = range.start;
        let mut gaps = Vec::new();
        for run in self.runs() {
            if run.start >= range.end {
                break;
            }
            if at < run.start {
                gaps.push(at..run.start);
            }
            at = at.max(run.end);
        }
        if at < range.end {
            gaps.push(at..range.end);
        }
        gaps
    }

    /// Bytes in it.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.runs().iter().map(|r| u64::from(r.end - r.start)).sum()
    }

    /// Bytes of heap that it takes beside itself.
    #[must_use]
    pub fn heap_bytes(&self) -> u64 {
        match &self.0 {
            Repr::Runs { .. } => 0,
            Repr::Bits(words) => (words.len() * 8) as u64,
        }
    }

    fn edit(&mut self, range: Range<u32>, add: bool, block_bytes: u32) {
        if range.is_empty() {
            return;
        }
        if let Repr::Bits(words) = &mut self.0 {
            for (at, bits) in words_of(&range) {
                if add { words[at] |= bits } else { words[at] &= !bits }
            }
            if are_many(words) {
                return;
            }
        }
        let mut runs = self.runs();
        if matches!(self.0, Repr::Runs { .. }) {
            edit_runs(&mut runs, range, add);
        }
        *self = Self::of_runs(&runs, block_bytes);
    }

    fn of_runs(list: &[Range<u32>], block_bytes: u32) -> Self {
        if list.len() <= RUNS {
            let mut runs = [(0, 0); RUNS];
            for (slot, run) in runs.iter_mut().zip(list) {
                *slot = (run.start, run.end);
            }
            let len = list.len() as u8;
            return Self(Repr::Runs { len, runs });
        }
        let mut words = vec![0; block_bytes.div_ceil(64) as usize].into_boxed_slice();
        for run in list {
            for (at, bits) in words_of(run) {
                words[at] |= bits;
            }
        }
        Self(Repr::Bits(words))
    }
}

/// Whether words differ from the next so often that there are many runs: a quick look.
fn are_many(words: &[u64]) -> bool {
    words.windows(2).filter(|w| w[0] != w[1]).count() > RUNS * 2
}

fn edit_runs(runs: &mut Vec<Range<u32>>, range: Range<u32>, add: bool) {
    let mut edited = Vec::with_capacity(runs.len() + 2);
    let mut middle = range.clone();
    for run in runs.iter() {
        if run.end < range.start || run.start > range.end {
            edited.push(run.clone());
        } else if add {
            middle = middle.start.min(run.start)..middle.end.max(run.end);
        } else {
            edited.push(run.start..range.start.min(run.end).max(run.start));
            edited.push(range.end.clamp(run.start, run.end)..run.end);
        }
    }
    if add {
        edited.push(middle);
    }
    edited.retain(|run| !run.is_empty());
    edited.sort_by_key(|run| run.start);
    *runs = edited;
}

/// The words that a range touches, each with the bits of the range.
fn words_of(range: &Range<u32>) -> impl Iterator<Item = (usize, u64)> + use<> {
    let (start, end) = (range.start, range.end);
    (start / 64..end.div_ceil(64)).map(move |word| {
        let low = start.saturating_sub(word * 64).min(64);
        let high = (end - word * 64).min(64);
        let up_to = |n: u32| if n == 64 { u64::MAX } else { (1 << n) - 1 };
        (word as usize, up_to(high) & !up_to(low))
    })
}

fn runs_of(words: &[u64]) -> Vec<Range<u32>> {
    let mut runs: Vec<Range<u32>> = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let base = index as u32 * 64;
        let mut at = 0;
        while at < 64 {
            let start = at + (word >> at).trailing_zeros().min(64 - at);
            if start == 64 {
                break;
            }
            let end = start + (!(word >> start)).trailing_zeros();
            match runs.last_mut() {
                Some(last) if last.end == base + start => last.end = base + end,
                Some(_) | None => runs.push(base + start..base + end),
            }
            at = end;
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_a_set_of_bytes(
            edits in proptest::collection::vec((any::<bool>(), 0u32..192, 0u32..70), 0..60),
            ask in (0u32..192, 0u32..64),
        ) {
            let mut mask = Mask::default();
            let mut bytes = [false; 256];
            for (add, start, len) in edits {
                let end = (start + len).min(256);
                if add { mask.insert(start..end, 256) } else { mask.remove(start..end, 256) }
                bytes[start as usize..end as usize].fill(add);
                let runs = mask.runs();
                prop_assert!(runs.windows(2).all(|w| w[0].end < w[1].start));
                let set: Vec<u32> = runs.into_iter().flatten().collect();
                prop_assert_eq!(set, (0..256).filter(|at| bytes[*at as usize]).collect::<Vec<_>>());
            }
            let range = ask.0..ask.0 + ask.1;
            if !range.is_empty() {
                prop_assert_eq!(
                    mask.contains(range.clone()),
                    range.clone().all(|at| bytes[at as usize])
                );
            }
            let gaps: Vec<u32> = mask.gaps(range.clone()).into_iter().flatten().collect();
            prop_assert_eq!(gaps, range.filter(|at| !bytes[*at as usize]).collect::<Vec<_>>());
            prop_assert_eq!(mask.is_empty(), !bytes.contains(&true));
            let [first, last] = [bytes.iter().position(|b| *b), bytes.iter().rposition(|b| *b)];
            let hull = first.zip(last).map(|(first, last)| first as u32..last as u32 + 1);
            prop_assert_eq!(mask.hull(256).runs(), Vec::from_iter(hull));
        }
    }

    #[test]
    fn a_full_mask_is_one_run_again() {
        let mut mask = Mask::default();
        for at in (0..4096).step_by(2) {
            mask.insert(at..at + 1, 4096);
        }
        assert!(mask.heap_bytes() > 0);
        for at in (1..4096).step_by(2) {
            mask.insert(at..at + 1, 4096);
        }
        assert_eq!(mask.gaps(0..4096).len(), 0);
        assert!(mask.contains(0..4096));
        assert_eq!(mask.heap_bytes(), 0);
    }
}
