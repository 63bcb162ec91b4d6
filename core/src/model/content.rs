//! What a file of the model holds.

use std::collections::BTreeMap;

/// The bytes of a file, one by one. A byte that is not in the map is a hole and reads zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    size: u64,
    bytes: BTreeMap<u64, u8>,
}

impl Content {
    /// Size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many bytes are data, holes left out.
    #[must_use]
    pub fn data_len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// How many bytes are not zero: the least that any store of this content holds.
    #[must_use]
    pub fn nonzero_len(&self) -> u64 {
        self.bytes.values().filter(|&&byte| byte != 0).count() as u64
    }

    /// Up to `len` bytes from `offset`; short at the end of the file.
    #[must_use]
    pub fn read(&self, offset: u64, len: u64) -> Vec<u8> {
        let end = offset.saturating_add(len).min(self.size);
        let mut out = vec![0; usize::try_from(end.saturating_sub(offset)).unwrap_or(0)];
        if offset < end {
            for (&at, &byte) in self.bytes.range(offset..end) {
                out[usize::try_from(at - offset).unwrap_or(0)] = byte;
            }
        }
        out
    }

    /// Puts `data` at `offset`. The caller has checked that the end can be said.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        for (at, &byte) in (offset..).zip(data) {
            self.bytes.insert(at, byte);
        }
        self.size = self.size.max(offset + data.len() as u64);
    }

    /// Cuts, or extends with a hole.
    pub fn resize(&mut self, size: u64) {
        self.bytes.split_off(&size);
        self.size = size;
    }

    /// Makes a hole of `start..end`; the size is unchanged.
    pub fn punch(&mut self, start: u64, end: u64) {
        if start < end {
            let mut tail = self.bytes.split_off(&start);
            self.bytes.append(&mut tail.split_off(&end));
        }
    }

    /// The first byte of data at or after `offset`.
    #[must_use]
    pub fn next_data(&self, offset: u64) -> Option<u64> {
        self.bytes.range(offset..).next().map(|(&at, _)| at)
    }

    /// The first byte at or after `offset` that is not zero.
    #[must_use]
    pub fn next_nonzero(&self, offset: u64) -> Option<u64> {
        self.bytes.range(offset..).find(|&(_, &byte)| byte != 0).map(|(&at, _)| at)
    }

    /// The first hole at or after `offset`, which lies before the end; the end counts as one.
    #[must_use]
    pub fn next_hole(&self, offset: u64) -> u64 {
        let mut at = offset;
        for (&key, _) in self.bytes.range(offset..) {
            if key != at {
                break;
            }
            at += 1;
        }
        at
    }

    /// Whether both read the same, holes and zeros being alike.
    #[must_use]
    pub fn reads_like(&self, other: &Self) -> bool {
        let shown = |content: &Self| -> Vec<(u64, u8)> {
            content.bytes.iter().filter(|(_, b)| **b != 0).map(|(&at, &b)| (at, b)).collect()
        };
        self.size == other.size && shown(self) == shown(other)
    }
}
