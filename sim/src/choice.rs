//! The one source of choices.
//!
//! Every decision of a simulated world is drawn here, under a name. The generator is
//! xoshiro256** 1.0, seeded by SplitMix64, both by Sebastiano Vigna (with David Blackman), in the
//! public domain: <https://prng.di.unimi.it/xoshiro256starstar.c>, `splitmix64.c` beside it.

use crate::world::Trace;

/// A stream of choices.
#[derive(Clone, Debug)]
pub struct Choices {
    state: [u64; 4],
    trace: Trace,
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Choices {
    /// The stream of this seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let mut mix = seed;
        let state = std::array::from_fn(|_| split_mix(&mut mix));
        Self { state, trace: Trace::default() }
    }

    /// A stream of its own for one part of the world, so that what the others draw does not
    /// move it.
    #[must_use]
    pub fn fork(&mut self, name: &'static str) -> Self {
        Self::seeded(self.bits(name))
    }

    /// Hash of all draws so far, with their names.
    #[must_use]
    pub fn trace(&self) -> u64 {
        self.trace.value()
    }

    /// 64 random bits.
    pub fn bits(&mut self, name: &'static str) -> u64 {
        let [a, b, c, d] = self.state;
        let out = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        self.trace.text(name);
        self.trace.number(out);
        out
    }

    /// A number below `bound`, which is at least 1. (Multiply and shift: off by at most
    /// `bound` / 2^64.)
    pub fn below(&mut self, name: &'static str, bound: u64) -> u64 {
        assert!(bound > 0, "{name}: nothing to choose from");
        let wide = u128::from(self.bits(name)) * u128::from(bound);
        (wide >> 64) as u64
    }

    /// An index below `len`, which is at least 1.
    pub fn index(&mut self, name: &'static str, len: usize) -> usize {
        self.below(name, len as u64) as usize
    }

    /// Whether something happens that happens `per_mille` times in a thousand.
    pub fn chance(&mut self, name: &'static str, per_mille: u32) -> bool {
        self.below(name, 1000) < u64::from(per_mille)
    }

    /// One of `items`, which are not none.
    pub fn pick<T: Copy>(&mut self, name: &'static str, items: &[T]) -> T {
        items[self.index(name, items.len())]
    }

    /// An index, each as likely as its weight.
    pub fn weighted(&mut self, name: &'static str, weights: &[u32]) -> usize {
        let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
        let mut left = self.below(name, total);
        for (index, &weight) in weights.iter().enumerate() {
            match left.checked_sub(u64::from(weight)) {
                Some(rest) => left = rest,
                None => return index,
            }
        }
        unreachable!("the draw is below the sum of the weights")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First outputs of the reference programs, seeded by SplitMix64 from 0: so this is the
    /// generator it says it is.
    #[test]
    fn the_generator_is_xoshiro256_star_star() {
        let mut mix = 0;
        assert_eq!(split_mix(&mut mix), 0xe220_a839_7b1d_cdaf);
        let mut choices = Choices { state: [1, 2, 3, 4], trace: Trace::default() };
        let drawn: Vec<u64> = (0..4).map(|_| choices.bits("test")).collect();
        assert_eq!(drawn, [11520, 0, 1_509_978_240, 1_215_971_899_390_074_240]);
    }

    #[test]
    fn draws_stay_in_their_bounds_and_reach_them() {
        let mut choices = Choices::seeded(1);
        let mut seen = [0; 5];
        for _ in 0..1000 {
            seen[choices.index("index", 5)] += 1;
        }
        assert!(seen.iter().all(|&count| count > 100), "{seen:?}");
        let mut seen = [0; 3];
        for _ in 0..1000 {
            seen[choices.weighted("weighted", &[1, 0, 9])] += 1;
        }
        assert!(seen[0] > 20 && seen[1] == 0 && seen[2] > 800, "{seen:?}");
        assert!(!(0..1000).any(|_| choices.chance("never", 0)));
        assert!((0..1000).all(|_| choices.chance("always", 1000)));
    }

    #[test]
    fn one_seed_is_one_stream_and_names_count() {
        let run = |seed, name| {
            let mut choices = Choices::seeded(seed);
            (choices.bits(name), choices.trace())
        };
        assert_eq!(run(7, "a"), run(7, "a"));
        assert_ne!(run(7, "a").0, run(8, "a").0);
        assert_ne!(run(7, "a").1, run(7, "b").1);
    }
}
