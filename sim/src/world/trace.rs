//! What a run did, as one number.

use std::hash::{Hash, Hasher};

use vellum_core::shapes::{StoreOutcome, StoreRequest};

/// A running hash of everything that happened: 64-bit words, each folded in by a 128-bit product
/// (as wyhash does). Two runs of the same choices have the same, in every process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace(u64);

/// Odd, with as many ones as zeros.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl Default for Trace {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Trace {
    /// The hash so far.
    #[must_use]
    pub fn value(self) -> u64 {
        self.0
    }

    /// Takes in bytes, and how many they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let words = bytes.chunks_exact(8);
        let mut last = [0; 8];
        last[..words.remainder().len()].copy_from_slice(words.remainder());
        for word in words {
            self.number(u64::from_le_bytes(word.try_into().expect("8 bytes")));
        }
        self.number(u64::from_le_bytes(last));
        self.number(bytes.len() as u64);
    }

    /// Takes in a number.
    pub fn number(&mut self, number: u64) {
        let wide = u128::from(self.0 ^ number) * u128::from(FACTOR);
        self.0 = (wide as u64).rotate_left(32) ^ (wide >> 64) as u64 ^ number;
    }

    /// Takes in a text, with its end.
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Takes in a request to a store.
    pub fn request(&mut self, request: &StoreRequest) {
        match request {
            StoreRequest::Get { key, range, fresh } => (0, key, range, fresh).hash(self),
            StoreRequest::Head { key } => (1, key).hash(self),
            StoreRequest::Put { key, body, condition } => {
                (2, key, condition).hash(self);
                body.iter().for_each(|slice| self.bytes(slice.as_bytes()));
            }
            StoreRequest::List { prefix, after, max } => (3, prefix, after, max).hash(self),
            StoreRequest::Delete { key } => (4, key).hash(self),
        }
    }

    /// Takes in what came of one.
    pub fn outcome(&mut self, outcome: &StoreOutcome) {
        match outcome {
            StoreOutcome::Got { body, etag } => {
                (0, etag).hash(self);
                body.iter().for_each(|bytes| self.bytes(bytes));
            }
            StoreOutcome::Found { len, crc32, etag } => (1, len, crc32, etag).hash(self),
            StoreOutcome::Stored { etag } => (2, etag).hash(self),
            StoreOutcome::Listed { keys, more } => (3, keys, more).hash(self),
            StoreOutcome::Deleted => self.number(4),
            StoreOutcome::Failed(error) => (5, error).hash(self),
        }
    }
}

impl Hasher for Trace {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.bytes(bytes);
    }

    fn write_u8(&mut self, number: u8) {
        self.number(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.number(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.number(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.number(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.number(number as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(feed: impl FnOnce(&mut Trace)) -> u64 {
        let mut trace = Trace::default();
        feed(&mut trace);
        trace.value()
    }

    #[test]
    fn what_was_taken_in_where_it_ends_and_in_which_order_all_count() {
        let bytes = |parts: &[&[u8]]| of(|trace| parts.iter().for_each(|part| trace.bytes(part)));
        let numbers = |all: &[u64]| of(|trace| all.iter().for_each(|n| trace.number(*n)));
        let all = [
            bytes(&[]),
            bytes(&[b""]),
            bytes(&[b"\0"]),
            bytes(&[b"ab", b"c"]),
            bytes(&[b"a", b"bc"]),
            bytes(&[b"abc"]),
            bytes(&[b"12345678"]),
            bytes(&[b"12345678\0"]),
            bytes(&[b"1234567812345678"]),
            numbers(&[1, 2]),
            numbers(&[2, 1]),
            numbers(&[0, 0, 0]),
            numbers(&[0]),
        ];
        let different: std::collections::BTreeSet<u64> = all.into_iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn bits_spread() {
        let base = of(|trace| trace.number(0));
        for bit in 0..64 {
            let other = of(|trace| {
                trace.number(1 << bit);
                trace.number(7);
            });
            assert!((base ^ other).count_ones() > 10, "bit {bit}");
        }
    }
}
