//! Where in a repository everything is.

use std::error::Error;
use std::fmt;

use super::bounds::REF_NAME_MAX_BYTES;
use super::{Hash, ObjectName};
use crate::shapes::Key;

/// Key of the header.
pub const HEADER_KEY: &str = "vellum.json";
/// Key of the state of garbage collection.
pub const GC_STATE_KEY: &str = "gc/state";

/// Kind of an immutable object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// Bytes of files: a chunk of a big one or a pack of small ones.
    Chunk,
    /// A node of a tree.
    Tree,
    /// A snapshot. It has no copies.
    Snapshot,
}

impl ObjectKind {
    fn folder(self) -> &'static str {
        match self {
            Self::Chunk => "chunks",
            Self::Tree => "trees",
            Self::Snapshot => "snapshots",
        }
    }
}

/// Key of an immutable object.
#[must_use]
pub fn object_key(kind: ObjectKind, name: &ObjectName) -> Key {
    let folder = kind.folder();
    let hash = name.hash;
    match kind {
        ObjectKind::Snapshot => format!("{folder}/{hash}"),
        ObjectKind::Chunk | ObjectKind::Tree => {
            let shard = hash.0[0];
            match name.copy {
                0 => format!("{folder}/{shard:02x}/{hash}"),
                copy => format!("{folder}/{shard:02x}/{hash}.{copy}"),
            }
        }
    }
}

/// The object that has this key, if it is the key of one.
#[must_use]
pub fn parse_object_key(key: &str) -> Option<(ObjectKind, ObjectName)> {
    let (folder, rest) = key.split_once('/')?;
    let kind = [ObjectKind::Chunk, ObjectKind::Tree, ObjectKind::Snapshot]
        .into_iter()
        .find(|kind| kind.folder() == folder)?;
    let name = rest.rsplit('/').next()?;
    let (hash, copy) = match name.split_once('.') {
        Some((hash, copy)) => (hash, copy.parse().ok()?),
        None => (name, 0),
    };
    let name = ObjectName { hash: Hash::from_hex(hash)?, copy };
    (object_key(kind, &name) == key).then_some((kind, name))
}

/// Kind of a ref.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefKind {
    /// Moved by commits.
    Branch,
    /// A name for one snapshot.
    Tag,
    /// Keeps what a mount is based on from garbage collection.
    Pin,
}

impl RefKind {
    fn folder(self) -> &'static str {
        match self {
            Self::Branch => "branches",
            Self::Tag => "tags",
            Self::Pin => "pins",
        }
    }
}

/// What the keys of all refs of a kind begin with.
#[must_use]
pub fn ref_prefix(kind: RefKind) -> String {
    format!("refs/{}/", kind.folder())
}

/// Key of a ref. A `/` in the name is `..` in the key, so that no key is a folder of another.
///
/// # Errors
/// The name is not allowed.
pub fn ref_key(kind: RefKind, name: &str) -> Result<Key, RefNameError> {
    let error = |why| Err(RefNameError { name: name.to_owned(), why });
    if name.is_empty() {
        return error(RefNameFault::Empty);
    }
    if name.len() > REF_NAME_MAX_BYTES {
        return error(RefNameFault::Long);
    }
    for component in name.split('/') {
        if component.is_empty() {
            return error(RefNameFault::Slash);
        }
        if component.starts_with(['.', '-']) || component.ends_with('.') || component.contains("..")
        {
            return error(RefNameFault::Dot);
        }
        if component.ends_with(".lock") {
            return error(RefNameFault::Lock);
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if !component.bytes().all(allowed) {
            return error(RefNameFault::Letter);
        }
    }
    Ok(format!("{}{}", ref_prefix(kind), name.replace('/', "..")))
}

/// Name of the ref of this kind that has this key, if it is the key of one.
#[must_use]
pub fn parse_ref_key(kind: RefKind, key: &str) -> Option<String> {
    let name = key.strip_prefix(&ref_prefix(kind))?.replace("..", "/");
    (ref_key(kind, &name).ok()? == key).then_some(name)
}

/// A name that no ref may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefNameError {
    /// The name.
    pub name: String,
    /// What is wrong with it.
    pub why: RefNameFault,
}

/// What is wrong with the name of a ref.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefNameFault {
    /// It is empty.
    Empty,
    /// It is longer than 200 bytes.
    Long,
    /// It begins or ends with `/` or holds `//`.
    Slash,
    /// A component begins with `.` or `-`, ends with `.`, or holds `..`.
    Dot,
    /// A component ends with `.lock`.
    Lock,
    /// It holds something else than `a-z A-Z 0-9 . _ - /`.
    Letter,
}

impl fmt::Display for RefNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            RefNameFault::Empty => "it is empty",
            RefNameFault::Long => "it is longer than 200 bytes",
            RefNameFault::Slash => "it begins or ends with `/` or holds `//`",
            RefNameFault::Dot => {
                "a part of it begins with `.` or `-`, ends with `.`, or holds `..`"
            }
            RefNameFault::Lock => "a part of it ends with `.lock`",
            RefNameFault::Letter => "use only a-z, A-Z, 0-9, `.`, `_`, `-` and `/`",
        };
        write!(f, "`{}` can't be the name of a ref: {why}", self.name.escape_debug())
    }
}

impl Error for RefNameError {}
