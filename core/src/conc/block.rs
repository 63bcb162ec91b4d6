//! One block of a file: its bytes, and which of them are valid and dirty.

use super::mask::Mask;
use crate::sync::Arc;

/// Who owns the bytes of a block.
#[derive(Debug)]
pub(super) enum Bytes {
    /// The block; a write changes them in place.
    Owned(Vec<u8>),
    /// The block and whoever uploads them; a write copies them first, unless the other is gone.
    Frozen(Arc<Vec<u8>>),
}

/// A block that memory holds at least in part.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) bytes: Bytes,
    /// Bytes that are what the file holds.
    pub(super) valid: Mask,
    /// Bytes that the file's layout does not hold. Always part of `valid`.
    pub(super) dirty: Mask,
    /// Whether an image that is out has it as it was: what it holds may be nowhere else.
    pub(super) in_image: bool,
}

impl Block {
    pub(super) fn new(capacity: usize) -> Self {
        Self::of(vec![0; capacity])
    }

    /// A block whose bytes are there, none of them valid yet.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        let bytes = Bytes::Owned(bytes);
        Self { bytes, valid: Mask::default(), dirty: Mask::default(), in_image: false }
    }

    pub(super) fn capacity(&self) -> usize {
        match &self.bytes {
            Bytes::Owned(bytes) => bytes.len(),
            Bytes::Frozen(bytes) => bytes.len(),
        }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Owned(bytes) => bytes,
            Bytes::Frozen(bytes) => bytes,
        }
    }

    /// Whether a write of bytes below `end` can go in place.
    pub(super) fn writable(&self, end: usize) -> bool {
        match &self.bytes {
            Bytes::Owned(bytes) => bytes.len() >= end,
            Bytes::Frozen(_) => false,
        }
    }

    /// Makes the bytes owned and at least `capacity` long. The bytes of memory this took more:
    /// all of them when the old ones stay with whoever froze them.
    pub(super) fn own(&mut self, capacity: usize) -> Owned {
        let old = self.capacity();
        let capacity = capacity.max(old);
        let bytes = std::mem::replace(&mut self.bytes, Bytes::Owned(Vec::new()));
        let (mut bytes, left_bytes) = match bytes {
            Bytes::Owned(bytes) => (bytes, 0),
            Bytes::Frozen(shared) => match Arc::try_unwrap(shared) {
                Ok(bytes) => (bytes, 0),
                Err(shared) => {
                    let mut copy = Vec::with_capacity(capacity);
                    copy.extend_from_slice(&shared);
                    (copy, old)
                }
            },
        };
        bytes.resize(capacity, 0);
        self.bytes = Bytes::Owned(bytes);
        Owned { grown_bytes: capacity - old, left_bytes }
    }

    /// Bytes that stay with whoever froze them if the block is dropped.
    pub(super) fn shared_bytes(&self) -> u64 {
        match &self.bytes {
            Bytes::Frozen(shared) if Arc::strong_count(shared) > 1 => shared.len() as u64,
            Bytes::Frozen(_) | Bytes::Owned(_) => 0,
        }
    }

    /// Copies `data` to `at`. The bytes must be owned and long enough.
    pub(super) fn put(&mut self, at: usize, data: &[u8]) {
        match &mut self.bytes {
            Bytes::Owned(bytes) => bytes[at..at + data.len()].copy_from_slice(data),
            Bytes::Frozen(_) => unreachable!("a frozen block is made owned before it is written"),
        }
    }

    /// Shares the bytes with whoever uploads them.
    pub(super) fn freeze(&mut self) -> Arc<Vec<u8>> {
        let bytes = std::mem::replace(&mut self.bytes, Bytes::Owned(Vec::new()));
        let shared = match bytes {
            Bytes::Owned(bytes) => Arc::new(bytes),
            Bytes::Frozen(shared) => shared,
        };
        self.bytes = Bytes::Frozen(Arc::clone(&shared));
        shared
    }
}

/// What making a block's bytes owned came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Owned {
    /// Bytes by which the buffer grew.
    pub(super) grown_bytes: usize,
    /// Bytes that stay with whoever froze them, and are the block's no more.
    pub(super) left_bytes: usize,
}
