//! Packs: many small files in one object.

use std::collections::BTreeMap;
use std::ops::Range;

use super::bounds::INLINE_MAX_PIECES;
use super::{Hash, Hashed, ObjectName, Piece};
use crate::shapes::Slice;

/// Where a content lies in its pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Hash of the content.
    pub hash: Hash,
    /// Its bytes.
    pub len: u64,
    /// Where in the pack it begins.
    pub offset: u64,
}

impl Packed {
    /// The piece of a file that this is, once the pack has its name.
    #[must_use]
    pub fn piece(&self, pack: ObjectName) -> Piece {
        Piece::Data { hash: self.hash, len: self.len, object: pack, offset: self.offset }
    }
}

/// The parts of a packed file that are stored: its ranges of data, which are in order and do not
/// touch, or all of it if these and the holes between them are more pieces than an inode may list.
#[must_use]
pub fn packed_parts(data: Vec<Range<u64>>, size: u64) -> Vec<Range<u64>> {
    let starts = data.iter().map(|range| range.start).chain([size]);
    let ends = [0].into_iter().chain(data.iter().map(|range| range.end));
    let holes = ends.zip(starts).filter(|(end, start)| end < start).count();
    if data.len() + holes > INLINE_MAX_PIECES { std::iter::once(0..size).collect() } else { data }
}

/// Puts contents behind each other until the object has the size of a chunk.
#[derive(Debug)]
pub struct PackBuilder {
    chunk_bytes: u64,
    body: Vec<Slice>,
    len: u64,
    contents: Vec<Packed>,
    by_hash: BTreeMap<Hash, Packed>,
}

impl PackBuilder {
    /// An empty pack for a repository with this chunk size.
    #[must_use]
    pub fn new(chunk_bytes: u32) -> Self {
        Self {
            chunk_bytes: u64::from(chunk_bytes),
            body: Vec::new(),
            len: 0,
            contents: Vec::new(),
            by_hash: BTreeMap::new(),
        }
    }

    /// Whether `len` more bytes go in. Ask before [`PackBuilder::push`]; if not, finish this pack
    /// and begin another. An empty pack has room for anything that may be packed.
    #[must_use]
    pub fn has_room(&self, len: u64) -> bool {
        self.len == 0 || self.len.saturating_add(len) <= self.chunk_bytes
    }

    /// Whether no content goes in any more.
    #[must_use]
    pub fn full(&self) -> bool {
        self.len >= self.chunk_bytes
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.contents.is_empty()
    }

    /// Appends a content of at least one byte, unless it is in the pack already; says where it is.
    pub fn push(&mut self, content: Vec<Slice>) -> Packed {
        let content = Hashed::of(content);
        if let Some(packed) = self.by_hash.get(&content.hash()) {
            return *packed;
        }
        let len = content.len_bytes();
        debug_assert!(len > 0, "an empty file has no pieces");
        let packed = Packed { hash: content.hash(), len, offset: self.len };
        self.len += len;
        self.by_hash.insert(packed.hash, packed);
        self.contents.push(packed);
        self.body.extend(content.into_body());
        packed
    }

    /// The object, and its contents in order.
    #[must_use]
    pub fn finish(self) -> (Hashed, Vec<Packed>) {
        (Hashed::of(self.body), self.contents)
    }
}
