//! The generator behind random choices: xoshiro256** 1.0, seeded by SplitMix64, both by Sebastiano
//! Vigna (with David Blackman), in the public domain:
//! <https://prng.di.unimi.it/xoshiro256starstar.c>, `splitmix64.c` beside it.

/// A stream of random bits.
#[derive(Clone, Debug)]
pub(super) struct Rng {
    state: [u64; 4],
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        let mut mix = seed;
        Self { state: std::array::from_fn(|_| split_mix(&mut mix)) }
    }

    pub(super) fn bits(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let out = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        out
    }

    /// A number below `bound`. (Multiply and shift: off by at most `bound` / 2^64.)
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.bits()) * u128::from(bound);
        (wide >> 64) as u64
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
        let mut rng = Rng { state: [1, 2, 3, 4] };
        let drawn: Vec<u64> = (0..4).map(|_| rng.bits()).collect();
        assert_eq!(drawn, [11520, 0, 1_509_978_240, 1_215_971_899_390_074_240]);
    }
}
