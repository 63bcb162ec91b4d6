//! The three uses of the tree.

use std::fmt::Debug;

use crate::format::bounds::{FILE_MAX_BYTES, LINKS_MAX, NAME_MAX_BYTES};
use crate::format::cbor::{Reader, Writer};
use crate::format::inode::{check_ino, check_name};
use crate::format::{Entry, FormatError, Hash, Linked, NodeRef, Piece};
use crate::shapes::Name;
use crate::words::Ino;

/// What a tree holds, and how it is written.
pub trait TreeKind: Sized + Debug + Clone + PartialEq + 'static {
    /// What entries are sorted and found by.
    type Key: Ord + Clone + Debug;
    /// What a key stands for.
    type Value: Clone + PartialEq + Debug;

    /// What errors call a node.
    const RECORD: &'static str;
    /// First field of a node.
    const TAG: u8;
    /// Bytes that no encoded entry has more of.
    const ENTRY_MAX_BYTES: usize;

    /// The hash that decides where nodes end.
    fn key_hash(key: &Self::Key) -> Hash;
    /// Appends a key.
    fn encode_key(key: &Self::Key, w: &mut Writer);
    /// Reads a key.
    ///
    /// # Errors
    /// It is not what the format allows.
    fn decode_key(r: &mut Reader<'_>) -> Result<Self::Key, FormatError>;
    /// Appends a value.
    fn encode_value(value: &Self::Value, w: &mut Writer);
    /// Reads a value.
    ///
    /// # Errors
    /// It is not what the format allows.
    fn decode_value(r: &mut Reader<'_>) -> Result<Self::Value, FormatError>;
    /// The tree that a value names, if it names one.
    fn tree_in(value: &Self::Value) -> Option<&NodeRef>;
    /// As [`TreeKind::tree_in`], to say where it lies.
    fn tree_in_mut(value: &mut Self::Value) -> Option<&mut NodeRef>;
    /// Whether value and key fit together, and before the key that follows.
    ///
    /// # Errors
    /// They do not, or the order is broken.
    fn check_entry(
        key: &Self::Key,
        value: &Self::Value,
        next: Option<&Self::Key>,
    ) -> Result<(), FormatError>;
}

/// Room for an inode: 4 KiB of attributes, 4 KiB of link target, and the rest.
const INODE_MAX_BYTES: usize = 16 << 10;

/// A directory: what each name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Directories;

impl TreeKind for Directories {
    type Key = Name;
    type Value = Entry;

    const RECORD: &'static str = "directory node";
    const TAG: u8 = 0;
    const ENTRY_MAX_BYTES: usize = INODE_MAX_BYTES;

    fn key_hash(key: &Name) -> Hash {
        Hash::of(key)
    }

    fn encode_key(key: &Name, w: &mut Writer) {
        w.bytes(key);
    }

    fn decode_key(r: &mut Reader<'_>) -> Result<Name, FormatError> {
        let name = r.bytes("name", NAME_MAX_BYTES)?;
        check_name(Self::RECORD, name)?;
        Ok(name.into())
    }

    fn encode_value(value: &Entry, w: &mut Writer) {
        value.encode(w);
    }

    fn decode_value(r: &mut Reader<'_>) -> Result<Entry, FormatError> {
        Entry::decode(r)
    }

    fn tree_in(value: &Entry) -> Option<&NodeRef> {
        match value {
            Entry::Inode(inode) => inode.tree(),
            Entry::Link(_) => None,
        }
    }

    fn tree_in_mut(value: &mut Entry) -> Option<&mut NodeRef> {
        match value {
            Entry::Inode(inode) => inode.tree_mut(),
            Entry::Link(_) => None,
        }
    }

    fn check_entry(key: &Name, _: &Entry, next: Option<&Name>) -> Result<(), FormatError> {
        check_order::<Self>(key, next)
    }
}

/// The link table: every inode with several names, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Links;

impl TreeKind for Links {
    type Key = Ino;
    type Value = Linked;

    const RECORD: &'static str = "link table node";
    const TAG: u8 = 1;
    /// A name of 255 bytes, the number of its parent, and the heads of both.
    const ENTRY_MAX_BYTES: usize = INODE_MAX_BYTES + LINKS_MAX * (NAME_MAX_BYTES + 12);

    fn key_hash(key: &Ino) -> Hash {
        hash_of_number(key.0)
    }

    fn encode_key(key: &Ino, w: &mut Writer) {
        w.uint(key.0);
    }

    fn decode_key(r: &mut Reader<'_>) -> Result<Ino, FormatError> {
        let ino = Ino(r.u64("ino")?);
        check_ino(Self::RECORD, "ino", ino)?;
        Ok(ino)
    }

    fn encode_value(value: &Linked, w: &mut Writer) {
        value.encode(w);
    }

    fn decode_value(r: &mut Reader<'_>) -> Result<Linked, FormatError> {
        Linked::decode(r)
    }

    fn tree_in(value: &Linked) -> Option<&NodeRef> {
        value.inode.tree()
    }

    fn tree_in_mut(value: &mut Linked) -> Option<&mut NodeRef> {
        value.inode.tree_mut()
    }

    fn check_entry(key: &Ino, value: &Linked, next: Option<&Ino>) -> Result<(), FormatError> {
        if value.inode.ino != *key {
            return Err(FormatError::Invalid { record: Self::RECORD, field: "ino" });
        }
        check_order::<Self>(key, next)
    }
}

/// The data pieces of one file, by the file offset at which each begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pieces;

impl TreeKind for Pieces {
    type Key = u64;
    type Value = Piece;

    const RECORD: &'static str = "piece node";
    const TAG: u8 = 2;
    const ENTRY_MAX_BYTES: usize = 128;

    fn key_hash(key: &u64) -> Hash {
        hash_of_number(*key)
    }

    fn encode_key(key: &u64, w: &mut Writer) {
        w.uint(*key);
    }

    fn decode_key(r: &mut Reader<'_>) -> Result<u64, FormatError> {
        r.at_most("offset", FILE_MAX_BYTES)
    }

    fn encode_value(value: &Piece, w: &mut Writer) {
        value.encode(w);
    }

    fn decode_value(r: &mut Reader<'_>) -> Result<Piece, FormatError> {
        Piece::decode(r)
    }

    fn tree_in(_: &Piece) -> Option<&NodeRef> {
        None
    }

    fn tree_in_mut(_: &mut Piece) -> Option<&mut NodeRef> {
        None
    }

    fn check_entry(key: &u64, value: &Piece, next: Option<&u64>) -> Result<(), FormatError> {
        let record = Self::RECORD;
        if matches!(value, Piece::Hole { .. }) {
            return Err(FormatError::Invalid { record, field: "piece" });
        }
        let end = key.saturating_add(value.len_bytes());
        if end > FILE_MAX_BYTES {
            let limit = FILE_MAX_BYTES;
            return Err(FormatError::TooLarge { record, field: "offset", limit });
        }
        if next.is_some_and(|next| end > *next) {
            return Err(FormatError::Unsorted { record, field: "entries" });
        }
        Ok(())
    }
}

fn check_order<T: TreeKind>(key: &T::Key, next: Option<&T::Key>) -> Result<(), FormatError> {
    if next.is_none_or(|next| key < next) {
        Ok(())
    } else {
        Err(FormatError::Unsorted { record: T::RECORD, field: "entries" })
    }
}

fn hash_of_number(number: u64) -> Hash {
    let mut w = Writer::new();
    w.uint(number);
    Hash::of(&w.into_bytes())
}
