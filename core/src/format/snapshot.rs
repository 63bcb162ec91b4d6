//! Snapshots, and the bodies of the refs that name them.

use super::bounds::{
    AUTHOR_MAX_BYTES, MESSAGE_MAX_BYTES, PARENTS_MAX, REF_MAX_BYTES, SNAPSHOT_MAX_BYTES,
};
use super::cbor::{Reader, Writer};
use super::inode::check_ino;
use super::{Body, FormatError, Hash, Hashed, Inode, NodePlace, NodeRef, Verified};
use crate::words::{Ino, Time};

/// A whole tree, and how it came to be. Immutable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The root directory: inode 1.
    pub root: Inode,
    /// Tree of the inodes with several names; none when there are none.
    pub links: Option<NodeRef>,
    /// Snapshots that this one was made from.
    pub parents: Vec<Hash>,
    /// When it was made.
    pub time: Time,
    /// Who made it.
    pub author: String,
    /// Why.
    pub message: String,
    /// The lowest inode number that was never used.
    pub next_ino: Ino,
    /// Inodes of the tree, the root included: a claim, never the size of an allocation.
    pub files: u64,
    /// Sizes of its files together, modulo 2^64: a claim, never the size of an allocation.
    pub bytes: u64,
}

const SNAPSHOT: &str = "snapshot";
/// First field of a snapshot; the kinds of nodes have the numbers below.
const SNAPSHOT_TAG: u8 = 3;

impl Snapshot {
    /// Whether it is what the format allows.
    ///
    /// # Errors
    /// The first field that is not.
    pub fn check(&self) -> Result<(), FormatError> {
        let record = SNAPSHOT;
        let too_large =
            |field, limit: usize| Err(FormatError::TooLarge { record, field, limit: limit as u64 });
        self.root.check()?;
        let is_directory = matches!(self.root.body, Body::Directory { .. });
        if !is_directory || self.root.ino != Ino::ROOT {
            return Err(FormatError::Invalid { record, field: "root" });
        }
        self.links.as_ref().map_or(Ok(()), NodeRef::check)?;
        if self.parents.len() > PARENTS_MAX {
            return too_large("parents", PARENTS_MAX);
        }
        check_words(&self.author, &self.message)?;
        check_ino(record, "next ino", self.next_ino)?;
        if self.next_ino == Ino::ROOT {
            return Err(FormatError::Invalid { record, field: "next ino" });
        }
        Ok(())
    }

    /// The object that the snapshot is stored as.
    ///
    /// # Errors
    /// It is not what the format allows: no reader would take it.
    pub fn seal(&self) -> Result<Hashed, FormatError> {
        self.check()?;
        if self.trees().any(|node| node.place.is_none()) {
            return Err(FormatError::Invalid { record: SNAPSHOT, field: "places" });
        }
        let bytes = self.encode();
        check_len(&bytes)?;
        Ok(Hashed::of_bytes(bytes))
    }

    /// Roots of its trees: that of the root directory, and that of the link table.
    fn trees(&self) -> impl Iterator<Item = &NodeRef> {
        self.root.tree().into_iter().chain(&self.links)
    }

    /// Its canonical bytes.
    #[must_use]
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(11);
        w.uint(SNAPSHOT_TAG);
        self.root.encode(&mut w);
        NodeRef::encode_optional(self.links.as_ref(), &mut w);
        w.array(self.parents.len());
        for parent in &self.parents {
            w.bytes(&parent.0);
        }
        w.int(self.time.ns);
        w.text(&self.author);
        w.text(&self.message);
        w.uint(self.next_ino.0);
        w.uint(self.files);
        w.uint(self.bytes);
        w.array(self.trees().count());
        for place in self.trees().filter_map(|node| node.place) {
            place.encode(None, &mut w);
        }
        w.into_bytes()
    }

    /// The snapshot that these bytes are.
    ///
    /// # Errors
    /// They are not the canonical form of a snapshot within bounds.
    pub fn decode(bytes: &Verified) -> Result<Self, FormatError> {
        let bytes = bytes.as_bytes();
        check_len(bytes)?;
        let mut r = Reader::new(SNAPSHOT, bytes);
        r.fields(11)?;
        if r.u8("tag", u8::MAX)? != SNAPSHOT_TAG {
            return Err(r.invalid("tag"));
        }
        let root = Inode::decode(&mut r)?;
        let links = NodeRef::decode_optional(&mut r, "links")?;
        let parents = r.array("parents", PARENTS_MAX)?;
        let mut snapshot = Self {
            root,
            links,
            parents: (0..parents).map(|_| r.hash("parent")).collect::<Result<_, _>>()?,
            time: Time { ns: r.int("time")? },
            author: r.text("author", AUTHOR_MAX_BYTES)?.to_owned(),
            message: r.text("message", MESSAGE_MAX_BYTES)?.to_owned(),
            next_ino: Ino(r.u64("next ino")?),
            files: r.u64("files")?,
            bytes: r.u64("bytes")?,
        };
        let roots = snapshot.root.tree_mut().into_iter().chain(&mut snapshot.links);
        let roots: Vec<&mut NodeRef> = roots.collect();
        if r.array("places", 2)? != roots.len() {
            return Err(r.invalid("places"));
        }
        for node in roots {
            node.place = Some(NodePlace::decode(&mut r, None)?);
        }
        r.end()?;
        snapshot.check()?;
        if snapshot.encode() == bytes {
            Ok(snapshot)
        } else {
            Err(FormatError::NotCanonical { record: SNAPSHOT })
        }
    }
}

fn check_len(bytes: &[u8]) -> Result<(), FormatError> {
    if bytes.len() <= SNAPSHOT_MAX_BYTES {
        return Ok(());
    }
    let limit = SNAPSHOT_MAX_BYTES as u64;
    Err(FormatError::TooLarge { record: SNAPSHOT, field: "snapshot", limit })
}

/// Whether a snapshot may have this author and message.
///
/// # Errors
/// Which of the two is too long.
pub fn check_words(author: &str, message: &str) -> Result<(), FormatError> {
    let words = [("author", author, AUTHOR_MAX_BYTES), ("message", message, MESSAGE_MAX_BYTES)];
    for (field, word, max) in words {
        if word.len() > max {
            let limit = max as u64;
            return Err(FormatError::TooLarge { record: SNAPSHOT, field, limit });
        }
    }
    Ok(())
}

/// What a ref holds. No two bodies of one ref are ever equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefBody {
    /// Grows by one whenever the ref is moved.
    pub generation: u64,
    /// Snapshot that the ref names; none when it is just born.
    pub snapshot: Option<Hash>,
    /// Epoch of garbage collection whose condemned list the writer knew.
    pub gc_epoch: u64,
    /// Random number of the attempt that wrote the body.
    pub attempt: u128,
}

const REF: &str = "ref";
/// First field of a ref's body.
const REF_TAG: u8 = 4;

impl RefBody {
    /// Its canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(5);
        w.uint(REF_TAG);
        w.uint(self.generation);
        match &self.snapshot {
            Some(snapshot) => w.bytes(&snapshot.0),
            None => w.null(),
        }
        w.uint(self.gc_epoch);
        w.bytes(&self.attempt.to_be_bytes());
        w.into_bytes()
    }

    /// The body that these bytes are.
    ///
    /// # Errors
    /// They are not the canonical form of a ref's body.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        if bytes.len() > REF_MAX_BYTES {
            let limit = REF_MAX_BYTES as u64;
            return Err(FormatError::TooLarge { record: REF, field: "ref", limit });
        }
        let mut r = Reader::new(REF, bytes);
        r.fields(5)?;
        if r.u8("tag", u8::MAX)? != REF_TAG {
            return Err(r.invalid("tag"));
        }
        let generation = r.u64("generation")?;
        let snapshot = if r.null("snapshot")? { None } else { Some(r.hash("snapshot")?) };
        let gc_epoch = r.u64("gc epoch")?;
        let attempt = r.bytes("attempt", 16)?.try_into().map_err(|_| r.malformed("attempt"))?;
        r.end()?;
        let body = Self { generation, snapshot, gc_epoch, attempt: u128::from_be_bytes(attempt) };
        if body.encode() == bytes {
            Ok(body)
        } else {
            Err(FormatError::NotCanonical { record: REF })
        }
    }
}
