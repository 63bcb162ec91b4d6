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

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(grown_bytes: usize, left_bytes: usize) -> Owned {
        Owned { grown_bytes, left_bytes }
    }

    #[test]
    fn a_write_goes_in_place_up_to_the_end_of_owned_bytes() {
        let mut block = Block::new(8);
        assert_eq!((block.writable(7), block.writable(8), block.writable(9)), (true, true, false));
        let shared = block.freeze();
        assert!(!block.writable(1));
        assert_eq!((shared.len(), block.capacity()), (8, 8));
    }

    #[test]
    fn what_grows_is_counted_and_zero() {
        let mut block = Block::of(vec![1; 4]);
        assert_eq!(block.own(10), owned(6, 0));
        assert_eq!(block.as_slice(), [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(block.own(3), owned(0, 0), "a buffer never shrinks");
        assert_eq!(block.capacity(), 10);
    }

    #[test]
    fn bytes_that_somebody_reads_stay_with_him_and_others_are_taken_back() {
        let mut block = Block::of(vec![1; 4]);
        assert_eq!(block.shared_bytes(), 0);
        let reader = block.freeze();
        assert_eq!(block.shared_bytes(), 4);
        assert_eq!(block.own(6), owned(2, 4));
        block.put(1, &[7, 8]);
        assert_eq!((&reader[..], block.as_slice()), (&[1; 4][..], &[1, 7, 8, 1, 0, 0][..]));

        let reader = block.freeze();
        let address = reader.as_ptr();
        drop(reader);
        assert_eq!(block.shared_bytes(), 0, "nobody else has them");
        assert_eq!(block.own(6), owned(0, 0));
        assert_eq!(block.as_slice().as_ptr(), address, "nobody else has them: no copy");
    }
}
