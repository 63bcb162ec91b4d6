//! What the core asks of an object store, and what it may be answered.

use super::Segments;
use crate::sync::Arc;
use std::ops::Range;

/// Name of an object, relative to the repository: components of `[a-zA-Z0-9._-]` joined by `/`.
pub type Key = String;

/// Identity of one body of a ref, opaque. No two bodies of one key ever share it.
pub type Etag = Arc<str>;

/// A range of a shared buffer. A body to put is a list of these, never copied together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The buffer.
    pub bytes: Arc<Vec<u8>>,
    /// The part of it that is meant.
    pub range: Range<usize>,
}

impl Slice {
    /// All of `bytes`.
    #[must_use]
    pub fn whole(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self { bytes: Arc::new(bytes), range }
    }

    /// The bytes meant.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.range.clone()]
    }
}

/// Under which condition a body may be put.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// The key must not exist (`If-None-Match: *`).
    Absent,
    /// The key must hold this body (`If-Match`).
    Matches(Etag),
}

/// One request to the store. One request has one outcome; the store never retries by itself.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreRequest {
    /// Read an object, or a range of it (bytes, half open).
    Get {
        /// Object to read.
        key: Key,
        /// Bytes wanted; all when `None`.
        range: Option<Range<u64>>,
        /// Whether the store itself has to answer: what was kept of earlier answers may be wrong.
        fresh: bool,
    },
    /// Length and identity of an object.
    Head {
        /// Object asked for.
        key: Key,
    },
    /// Put an object; durable when answered.
    Put {
        /// Object to write.
        key: Key,
        /// Its bytes, in order.
        body: Vec<Slice>,
        /// When it may be written. There are no unconditional puts.
        condition: Condition,
    },
    /// Up to `max` keys that begin with `prefix`, after the key `after`, in byte order.
    List {
        /// What the keys begin with.
        prefix: String,
        /// Exclusive start; empty begins.
        after: String,
        /// Most keys to answer: 1 to 1,000.
        max: usize,
    },
    /// Remove an object; succeeds when it does not exist.
    Delete {
        /// Object to remove.
        key: Key,
    },
}

/// What a request came to.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreOutcome {
    /// Get: the bytes and the identity of the body.
    Got {
        /// Bytes read.
        body: Segments,
        /// Identity of the body they are from.
        etag: Etag,
    },
    /// Head: length in bytes, checksum and identity.
    Found {
        /// Bytes of the object.
        len: u64,
        /// CRC-32 of its body, if the store keeps that: the one of ISO-HDLC, as of S3 and zlib.
        crc32: Option<u32>,
        /// Identity of its body.
        etag: Etag,
    },
    /// Put: the identity of the body now stored.
    Stored {
        /// Identity of the body.
        etag: Etag,
    },
    /// List: keys in byte order; `more` when the listing goes on after the last.
    Listed {
        /// Keys found.
        keys: Vec<Key>,
        /// Whether there are more.
        more: bool,
    },
    /// Delete.
    Deleted,
    /// It failed.
    Failed(StoreError),
}

impl StoreOutcome {
    /// The body and identity that a Get came to.
    ///
    /// # Errors
    /// It failed; an outcome of another request counts as `Unsupported`.
    pub fn got(self) -> Result<(Vec<u8>, Etag), StoreError> {
        self.got_segments().map(|(body, etag)| (body.into_vec(), etag))
    }

    /// As [`Self::got`], in the buffers that the store made.
    ///
    /// # Errors
    /// As [`Self::got`].
    pub fn got_segments(self) -> Result<(Segments, Etag), StoreError> {
        match self {
            Self::Got { body, etag } => Ok((body, etag)),
            Self::Failed(error) => Err(error),
            Self::Found { .. } | Self::Stored { .. } | Self::Listed { .. } | Self::Deleted => {
                Err(StoreError::Unsupported)
            }
        }
    }

    /// The length, checksum and identity that a Head came to.
    ///
    /// # Errors
    /// It failed; an outcome of another request counts as `Unsupported`.
    pub fn found(self) -> Result<(u64, Option<u32>, Etag), StoreError> {
        match self {
            Self::Found { len, crc32, etag } => Ok((len, crc32, etag)),
            Self::Failed(error) => Err(error),
            Self::Got { .. } | Self::Stored { .. } | Self::Listed { .. } | Self::Deleted => {
                Err(StoreError::Unsupported)
            }
        }
    }

    /// The identity that a Put came to.
    ///
    /// # Errors
    /// It failed; an outcome of another request counts as `Unsupported`.
    pub fn stored(self) -> Result<Etag, StoreError> {
        match self {
            Self::Stored { etag } => Ok(etag),
            Self::Failed(error) => Err(error),
            Self::Got { .. } | Self::Found { .. } | Self::Listed { .. } | Self::Deleted => {
                Err(StoreError::Unsupported)
            }
        }
    }
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StoreError {
    /// No object has that key.
    NotFound,
    /// `Condition::Absent`, and the key exists (412). It need not hold the right bytes.
    Exists,
    /// `Condition::Matches`, and the key holds another body (412), or none.
    Mismatch,
    /// The store asks for patience (503, 429). Nothing was applied.
    Throttled,
    /// The store did not answer or could not be reached. Nothing was applied.
    Unreachable,
    /// A put whose outcome is not known: it may have been applied, or may be applied yet.
    Ambiguous,
    /// The credentials do not allow it (401, 403), or file permissions do not.
    Denied,
    /// The store is full or a quota is reached.
    NoSpace,
    /// What came back can't be what was asked for: length or checksum do not match.
    Damaged,
    /// There is no such bucket.
    NoBucket,
    /// The store does not do what was asked, and never will.
    Unsupported,
}

impl StoreError {
    /// Whether the same request may succeed later with nobody's help.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Throttled | Self::Unreachable | Self::Ambiguous | Self::Damaged => true,
            Self::NotFound
            | Self::Exists
            | Self::Mismatch
            | Self::Denied
            | Self::NoSpace
            | Self::NoBucket
            | Self::Unsupported => false,
        }
    }
}
