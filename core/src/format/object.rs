//! References to objects: names, pieces of files, nodes of trees.

use std::ops::Range;

use super::bounds::{
    CHUNK_MAX_BYTES, COUNT_MAX, FILE_MAX_BYTES, HEIGHT_MAX, INLINE_MAX_PIECES, NODE_MAX_BYTES,
};
use super::cbor::{Reader, Writer};
use super::{FormatError, Hash};

/// Name of an immutable object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    /// Hash of the object's bytes.
    pub hash: Hash,
    /// 0, except after garbage collection has condemned the lower ones.
    pub copy: u32,
}

impl ObjectName {
    /// The first copy of the object with this hash.
    #[must_use]
    pub fn first(hash: Hash) -> Self {
        Self { hash, copy: 0 }
    }
}

/// A run of bytes of a file. Lengths in bytes, never 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Piece {
    /// Zeros that take no space.
    Hole {
        /// Bytes of the hole.
        len: u64,
    },
    /// Bytes that lie in an object.
    Data {
        /// Hash of these bytes.
        hash: Hash,
        /// How many they are.
        len: u64,
        /// Object that they lie in.
        object: ObjectName,
        /// Where in the object they begin.
        offset: u64,
    },
}

const PIECE: &str = "piece";
const HOLE: u8 = 0;
const WHOLE: u8 = 1;
const PART: u8 = 2;

impl Piece {
    /// A piece that is all of an object.
    #[must_use]
    pub fn whole(hash: Hash, len: u64) -> Self {
        Self::Data { hash, len, object: ObjectName::first(hash), offset: 0 }
    }

    /// Bytes of the file that the piece spans.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        match self {
            Self::Hole { len } | Self::Data { len, .. } => *len,
        }
    }

    /// Whether it is what the format allows.
    ///
    /// # Errors
    /// A length of 0, a length or offset past its bound, or a piece that can't have its hash.
    pub fn check(&self) -> Result<(), FormatError> {
        let invalid = |field| Err(FormatError::Invalid { record: PIECE, field });
        match self {
            Self::Hole { len: 0 } | Self::Data { len: 0, .. } => invalid("length"),
            Self::Hole { len } if *len > FILE_MAX_BYTES => {
                let limit = FILE_MAX_BYTES;
                Err(FormatError::TooLarge { record: PIECE, field: "length", limit })
            }
            Self::Hole { .. } => Ok(()),
            Self::Data { hash, len, object, offset } => {
                let limit = u64::from(CHUNK_MAX_BYTES);
                if *len > limit {
                    return Err(FormatError::TooLarge { record: PIECE, field: "length", limit });
                }
                if *offset > limit - len {
                    return Err(FormatError::TooLarge { record: PIECE, field: "offset", limit });
                }
                if *hash == object.hash && *offset != 0 { invalid("offset") } else { Ok(()) }
            }
        }
    }

    pub(super) fn encode(&self, w: &mut Writer) {
        match self {
            Self::Hole { len } => {
                w.array(2);
                w.uint(HOLE);
                w.uint(*len);
            }
            Self::Data { hash, len, object, .. } if *hash == object.hash => {
                w.array(4);
                w.uint(WHOLE);
                w.bytes(&hash.0);
                w.uint(*len);
                w.uint(object.copy);
            }
            Self::Data { hash, len, object, offset } => {
                w.array(6);
                w.uint(PART);
                w.bytes(&hash.0);
                w.uint(*len);
                w.bytes(&object.hash.0);
                w.uint(object.copy);
                w.uint(*offset);
            }
        }
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        let outer = r.enter(PIECE);
        let fields = r.array("fields", 6)?;
        let piece = match (r.u8("kind", PART)?, fields) {
            (HOLE, 2) => Self::Hole { len: r.u64("length")? },
            (WHOLE, 4) => {
                let hash = r.hash("hash")?;
                let len = r.u64("length")?;
                let object = ObjectName { hash, copy: r.u32("copy")? };
                Self::Data { hash, len, object, offset: 0 }
            }
            (PART, 6) => {
                let hash = r.hash("hash")?;
                let len = r.u64("length")?;
                let object = ObjectName { hash: r.hash("object")?, copy: r.u32("copy")? };
                Self::Data { hash, len, object, offset: r.u64("offset")? }
            }
            _ => return Err(r.malformed("fields")),
        };
        piece.check()?;
        r.leave(outer);
        Ok(piece)
    }
}

/// Where the bytes of a file are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// At most 16 pieces in order, holes spelled out; together as long as the file.
    Pieces(Vec<Piece>),
    /// A tree of data pieces by the file offset at which they begin; what lies between is a hole.
    Tree(NodeRef),
}

const FILE: &str = "file";

impl Content {
    /// Whether it is what the format allows for a file of `size` bytes.
    ///
    /// # Errors
    /// Too many pieces, two holes in a row, or pieces that are not as long as the file.
    pub fn check(&self, size: u64) -> Result<(), FormatError> {
        let invalid = |field| Err(FormatError::Invalid { record: FILE, field });
        let pieces = match self {
            Self::Tree(node) => {
                node.check()?;
                return if size == 0 { invalid("content") } else { Ok(()) };
            }
            Self::Pieces(pieces) => pieces,
        };
        let limit = INLINE_MAX_PIECES as u64;
        if pieces.len() > INLINE_MAX_PIECES {
            return Err(FormatError::TooLarge { record: FILE, field: "pieces", limit });
        }
        let mut sum = 0_u64;
        let mut after_hole = false;
        for piece in pieces {
            piece.check()?;
            let is_hole = matches!(piece, Piece::Hole { .. });
            if is_hole && after_hole {
                return invalid("pieces");
            }
            after_hole = is_hole;
            sum = sum.saturating_add(piece.len_bytes());
        }
        if sum == size { Ok(()) } else { invalid("size") }
    }

    pub(super) fn encode(&self, w: &mut Writer) {
        w.array(2);
        match self {
            Self::Pieces(pieces) => {
                w.uint(0_u8);
                w.array(pieces.len());
                for piece in pieces {
                    piece.encode(w);
                }
            }
            Self::Tree(node) => {
                w.uint(1_u8);
                node.encode(w);
            }
        }
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        r.fields(2)?;
        if r.u8("content", 1)? == 1 {
            return Ok(Self::Tree(NodeRef::decode(r)?));
        }
        let count = r.array("pieces", INLINE_MAX_PIECES)?;
        let pieces = (0..count).map(|_| Piece::decode(r)).collect::<Result<_, _>>()?;
        Ok(Self::Pieces(pieces))
    }
}

/// A reference to a node of a tree. Two are equal if they mean the same node: where it lies does
/// not count.
#[derive(Clone, Copy, Debug)]
pub struct NodeRef {
    /// Hash of the node, its places left out.
    pub hash: Hash,
    /// 0 for a leaf, else one more than the level of its children.
    pub level: u8,
    /// Leaf entries below it, never 0.
    pub count: u64,
    /// Where it lies; none while it was made and not laid into an object.
    pub place: Option<NodePlace>,
}

impl PartialEq for NodeRef {
    fn eq(&self, other: &Self) -> bool {
        (self.hash, self.level, self.count) == (other.hash, other.level, other.count)
    }
}

impl Eq for NodeRef {}

impl std::hash::Hash for NodeRef {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.hash, self.level, self.count).hash(state);
    }
}

/// Where a node lies. Offset and length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodePlace {
    /// The object that it lies in, with others.
    pub object: ObjectName,
    /// Where in the object it begins.
    pub offset: u64,
    /// How long it is, its own places included; never 0.
    pub len: u64,
    /// First bytes of the hash of all that is stored of it: what it says of places is checked by
    /// nothing else.
    pub check: [u8; CHECK_BYTES],
}

/// Bytes of [`NodePlace::check`].
const CHECK_BYTES: usize = 8;

const NODE_REF: &str = "node reference";
const NODE_PLACE: &str = "place of a node";

impl NodeRef {
    /// Whether it is what the format allows.
    ///
    /// # Errors
    /// A level or a count past its bound, or a count of 0.
    pub fn check(&self) -> Result<(), FormatError> {
        let record = NODE_REF;
        if self.level >= HEIGHT_MAX {
            let limit = u64::from(HEIGHT_MAX - 1);
            return Err(FormatError::TooLarge { record, field: "level", limit });
        }
        if self.count > COUNT_MAX {
            return Err(FormatError::TooLarge { record, field: "count", limit: COUNT_MAX });
        }
        if self.count == 0 { Err(FormatError::Invalid { record, field: "count" }) } else { Ok(()) }
    }

    pub(super) fn encode(&self, w: &mut Writer) {
        w.array(3);
        w.bytes(&self.hash.0);
        w.uint(self.level);
        w.uint(self.count);
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        let outer = r.enter(NODE_REF);
        r.fields(3)?;
        let hash = r.hash("hash")?;
        let level = r.u8("level", HEIGHT_MAX - 1)?;
        let node = Self { hash, level, count: r.u64("count")?, place: None };
        node.check()?;
        r.leave(outer);
        Ok(node)
    }

    pub(super) fn encode_optional(node: Option<&Self>, w: &mut Writer) {
        match node {
            Some(node) => node.encode(w),
            None => w.null(),
        }
    }

    pub(super) fn decode_optional(
        r: &mut Reader<'_>,
        field: &'static str,
    ) -> Result<Option<Self>, FormatError> {
        if r.null(field)? { Ok(None) } else { Self::decode(r).map(Some) }
    }
}

impl NodePlace {
    /// The place of a node that is stored as these bytes.
    #[must_use]
    pub fn of(object: ObjectName, offset: u64, bytes: &[u8]) -> Self {
        let mut check = [0; CHECK_BYTES];
        check.copy_from_slice(&Hash::of(bytes).0[..CHECK_BYTES]);
        Self { object, offset, len: bytes.len() as u64, check }
    }

    /// Whether these are the bytes that are stored there, as far as length and check go.
    #[must_use]
    pub fn fits(&self, bytes: &[u8]) -> bool {
        *self == Self::of(self.object, self.offset, bytes)
    }

    /// Bytes of the object from the first to the last of the node.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.len)
    }

    /// Whether it is what the format allows.
    ///
    /// # Errors
    /// An offset or a length past its bound, or a length of 0.
    pub fn check(&self) -> Result<(), FormatError> {
        let record = NODE_PLACE;
        let too_large = |field, limit| Err(FormatError::TooLarge { record, field, limit });
        if self.offset > u64::from(CHUNK_MAX_BYTES) {
            return too_large("offset", u64::from(CHUNK_MAX_BYTES));
        }
        if self.len > NODE_MAX_BYTES {
            return too_large("length", NODE_MAX_BYTES);
        }
        if self.len == 0 { Err(FormatError::Invalid { record, field: "length" }) } else { Ok(()) }
    }

    /// Appends the place, as a node in the object `home` says it; none: as a snapshot does.
    pub(super) fn encode(&self, home: Option<&ObjectName>, w: &mut Writer) {
        if home == Some(&self.object) {
            w.array(3);
        } else {
            w.array(5);
            w.bytes(&self.object.hash.0);
            w.uint(self.object.copy);
        }
        w.uint(self.offset);
        w.uint(self.len);
        w.bytes(&self.check);
    }

    /// Reads a place that stands in the object `home`; none: in a snapshot.
    pub(super) fn decode(
        r: &mut Reader<'_>,
        home: Option<&ObjectName>,
    ) -> Result<Self, FormatError> {
        let outer = r.enter(NODE_PLACE);
        let object = match (r.array("fields", 5)?, home) {
            (3, Some(home)) => *home,
            (5, _) => ObjectName { hash: r.hash("object")?, copy: r.u32("copy")? },
            _ => return Err(r.malformed("fields")),
        };
        let (offset, len) = (r.u64("offset")?, r.u64("length")?);
        let check = r.bytes("check", CHECK_BYTES)?;
        let check = check.try_into().map_err(|_| r.malformed("check"))?;
        let place = Self { object, offset, len, check };
        place.check()?;
        r.leave(outer);
        Ok(place)
    }
}
