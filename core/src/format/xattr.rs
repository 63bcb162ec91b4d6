//! Extended attributes of an inode.

use std::collections::BTreeMap;

use super::bounds::{
    NAME_MAX_BYTES, XATTR_MAX_BYTES, XATTR_NAMES_MAX_BYTES, XATTRS_INLINE_MAX_BYTES,
    XATTRS_MAX_BYTES,
};
use super::cbor::{Reader, Writer};
use super::{FormatError, Piece, Verified};
use crate::shapes::Name;
use crate::sync::Arc;

/// Values by name.
pub type XattrMap = BTreeMap<Name, Arc<[u8]>>;

/// Extended attributes of an inode.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Xattrs {
    /// They stand in the inode: at most 4 KiB when encoded.
    Inline(XattrMap),
    /// The encoded map, longer than 4 KiB, is this data piece.
    Stored(Piece),
}

const RECORD: &str = "extended attributes";

impl Default for Xattrs {
    fn default() -> Self {
        Self::Inline(BTreeMap::new())
    }
}

impl Xattrs {
    /// Whether they are what the format allows.
    ///
    /// # Errors
    /// A bad name, a value past its bound, or a map in the wrong place for its size.
    pub fn check(&self) -> Result<(), FormatError> {
        match self {
            Self::Inline(map) => {
                check_map(map)?;
                check_len(encoded_len(map), XATTRS_INLINE_MAX_BYTES)
            }
            Self::Stored(Piece::Hole { .. }) => {
                Err(FormatError::Invalid { record: RECORD, field: "piece" })
            }
            Self::Stored(piece @ Piece::Data { len, .. }) => {
                piece.check()?;
                check_len(usize::try_from(*len).unwrap_or(usize::MAX), XATTRS_MAX_BYTES)?;
                if *len > XATTRS_INLINE_MAX_BYTES as u64 {
                    Ok(())
                } else {
                    Err(FormatError::Invalid { record: RECORD, field: "piece" })
                }
            }
        }
    }

    pub(super) fn encode(&self, w: &mut Writer) {
        match self {
            Self::Inline(map) => encode_map(map, w),
            Self::Stored(piece) => piece.encode(w),
        }
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        if r.is_array("xattrs")? {
            Ok(Self::Stored(Piece::decode(r)?))
        } else {
            Ok(Self::Inline(decode_map(r)?))
        }
    }
}

/// The bytes of a map: what is stored as a piece when they are more than 4 KiB.
#[must_use]
pub fn encode_xattrs(map: &XattrMap) -> Vec<u8> {
    let mut w = Writer::new();
    encode_map(map, &mut w);
    w.into_bytes()
}

/// The map that these bytes are.
///
/// # Errors
/// They are not the canonical form of a map within bounds.
pub fn decode_xattrs(bytes: &Verified) -> Result<XattrMap, FormatError> {
    check_len(bytes.as_bytes().len(), XATTRS_MAX_BYTES)?;
    let mut r = Reader::new(RECORD, bytes.as_bytes());
    let map = decode_map(&mut r)?;
    r.end()?;
    check_map(&map)?;
    if encode_xattrs(&map) == bytes.as_bytes() {
        Ok(map)
    } else {
        Err(FormatError::NotCanonical { record: RECORD })
    }
}

/// Whether a map may be set: names, values, and all of it together.
///
/// # Errors
/// What is past its bound.
pub fn check_xattrs(map: &XattrMap) -> Result<(), FormatError> {
    check_map(map)?;
    check_len(encoded_len(map), XATTRS_MAX_BYTES)
}

fn check_map(map: &XattrMap) -> Result<(), FormatError> {
    let names: usize = map.keys().map(|name| name.len() + 1).sum();
    if names > XATTR_NAMES_MAX_BYTES {
        let limit = XATTR_NAMES_MAX_BYTES as u64;
        return Err(FormatError::TooLarge { record: RECORD, field: "names", limit });
    }
    for (name, value) in map {
        if name.is_empty() || name.contains(&0) {
            return Err(FormatError::Invalid { record: RECORD, field: "name" });
        }
        if name.len() > NAME_MAX_BYTES {
            let limit = NAME_MAX_BYTES as u64;
            return Err(FormatError::TooLarge { record: RECORD, field: "name", limit });
        }
        if value.len() > XATTR_MAX_BYTES {
            let limit = XATTR_MAX_BYTES as u64;
            return Err(FormatError::TooLarge { record: RECORD, field: "value", limit });
        }
    }
    Ok(())
}

fn check_len(len: usize, max: usize) -> Result<(), FormatError> {
    if len > max {
        Err(FormatError::TooLarge { record: RECORD, field: "map", limit: max as u64 })
    } else {
        Ok(())
    }
}

fn encoded_len(map: &XattrMap) -> usize {
    if map.is_empty() { 1 } else { encode_xattrs(map).len() }
}

fn encode_map(map: &XattrMap, w: &mut Writer) {
    w.map(map.len());
    for (name, value) in map {
        w.bytes(name);
        w.bytes(value);
    }
}

fn decode_map(r: &mut Reader<'_>) -> Result<XattrMap, FormatError> {
    let outer = r.enter(RECORD);
    let mut map = XattrMap::new();
    for _ in 0..r.map("map", XATTR_NAMES_MAX_BYTES / 2)? {
        let name: Name = r.bytes("name", NAME_MAX_BYTES)?.into();
        if map.last_key_value().is_some_and(|(last, _)| *last >= name) {
            return Err(FormatError::Unsorted { record: RECORD, field: "name" });
        }
        map.insert(name, r.bytes("value", XATTR_MAX_BYTES)?.into());
    }
    r.leave(outer);
    Ok(map)
}
