//! Bytes bound to their hash: what may be published, and what may be shown.

use crate::sync::Arc;
use std::error::Error;
use std::fmt;

use super::Hash;
use crate::shapes::{Segments, Slice};

/// A body and its hash. Only [`Hashed::of`] makes one, so the name always fits the bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Hashed {
    hash: Hash,
    body: Vec<Slice>,
    len: u64,
}

impl Hashed {
    /// Hashes `body`.
    #[must_use]
    pub fn of(body: Vec<Slice>) -> Self {
        let mut hasher = blake3::Hasher::new();
        let mut len = 0;
        for slice in &body {
            hasher.update(slice.as_bytes());
            len += slice.as_bytes().len() as u64;
        }
        Self { hash: Hash(*hasher.finalize().as_bytes()), body, len }
    }

    /// Hashes one buffer.
    #[must_use]
    pub fn of_bytes(bytes: Vec<u8>) -> Self {
        Self::of(vec![Slice::whole(bytes)])
    }

    /// The hash of the body.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The bytes, in order.
    #[must_use]
    pub fn body(&self) -> &[Slice] {
        &self.body
    }

    /// The bytes, in order, to be sent.
    #[must_use]
    pub fn into_body(self) -> Vec<Slice> {
        self.body
    }

    /// Bytes of the body.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.len
    }

    /// Whether an object of this length and checksum is this one; `None` if only its bytes can
    /// tell. It takes as long as reading the bytes does.
    #[must_use]
    pub fn is(&self, len_bytes: u64, crc32: Option<u32>) -> Option<bool> {
        if len_bytes != self.len {
            return Some(false);
        }
        let stored = crc32?;
        let mut own = crc32fast::Hasher::new();
        self.body.iter().for_each(|slice| own.update(slice.as_bytes()));
        Some(own.finalize() == stored)
    }

    /// The body in one buffer.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.body.iter().flat_map(|slice| slice.as_bytes()).copied().collect()
    }
}

/// Bytes that were found to have the hash they were asked for by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified(Arc<Vec<u8>>);

impl Verified {
    /// Hashes `bytes` and compares.
    ///
    /// # Errors
    /// The bytes have another hash.
    pub fn check(expected: &Hash, bytes: Vec<u8>) -> Result<Self, Mismatch> {
        let found = Hash::of(&bytes);
        if found == *expected {
            Ok(Self(Arc::new(bytes)))
        } else {
            Err(Mismatch { expected: *expected, found })
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        Arc::try_unwrap(self.0).unwrap_or_else(|shared| shared.as_ref().clone())
    }

    /// The bytes, shared.
    #[must_use]
    pub fn shared(&self) -> Arc<Vec<u8>> {
        Arc::clone(&self.0)
    }
}

/// As [`Verified`], in blocks of a file, which can be kept where they are.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedBlocks(Vec<Vec<u8>>);

impl VerifiedBlocks {
    /// Hashes `bytes`, compares, and cuts into blocks what is not cut so.
    ///
    /// # Errors
    /// The bytes have another hash.
    ///
    /// # Panics
    /// `block_bytes` is 0.
    pub fn check(expected: &Hash, bytes: Segments, block_bytes: usize) -> Result<Self, Mismatch> {
        let found = Hash::of_parts(bytes.iter());
        if found != *expected {
            return Err(Mismatch { expected: *expected, found });
        }
        Ok(Self(bytes.into_blocks(block_bytes)))
    }

    /// The blocks, in order: all of one length but the last, which may be shorter.
    #[must_use]
    pub fn into_blocks(self) -> Vec<Vec<u8>> {
        self.0
    }

    /// The bytes in one buffer.
    #[must_use]
    pub fn joined(self) -> Verified {
        Verified(Arc::new(Segments::from_iter(self.0).into_vec()))
    }
}

/// Bytes do not have the hash they were asked for by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Hash asked for.
    pub expected: Hash,
    /// Hash of what came.
    pub found: Hash,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the bytes are damaged: expected hash {}, found {}", self.expected, self.found)
    }
}

impl Error for Mismatch {}
