//! Compute jobs: pure work that the driver runs off the machine's lock. Only they make
//! [`VerifiedBlocks`] and [`Hashed`] values, so nothing unverified is shown and nothing else is
//! sent.

use std::collections::BTreeMap;

use super::commit::CommitWork;
use super::gather::{AnyNode, Have, NodeKind};
use super::piece::PieceKey;
use crate::format::{
    Built, Directories, Entry, FormatError, Hash, Hashed, Linked, Links, NodeDraft, NodePacker,
    NodeRef, PackBuilder, Packed, Piece, Pieces, UpdateError, VerifiedBlocks, decode_node, update,
};
use crate::shapes::{Name, Segments, Slice};
use crate::sync::Arc;
use crate::words::Ino;

/// Pure work. Takes as long as hashing its input takes.
#[derive(Debug)]
pub struct Job(pub(crate) Work);

/// What a job made.
#[derive(Debug)]
pub struct Product(pub(crate) Made);

/// Who asked for a job.
#[derive(Clone, Debug)]
pub(crate) enum JobOwner {
    Node(Hash),
    Piece(PieceKey),
    Commit(u64, CommitWork),
}

#[derive(Debug)]
pub(crate) enum Work {
    /// Check and decode a tree node.
    Node { kind: NodeKind, node: NodeRef, bytes: Vec<u8> },
    /// Check bytes of a file, and cut them into its blocks.
    Verify { hash: Hash, bytes: Segments, block_bytes: u32 },
    /// Compare an object with the length and the checksum of what is stored under its name.
    Compare { object: Hashed, len: u64, crc32: Option<u32> },
    /// Hash contents, and lay them into one object.
    Pack { contents: Vec<Vec<Slice>>, chunk_bytes: u32 },
    /// Change a tree.
    Update { root: Option<NodeRef>, changes: Changes, have: Have },
    /// Lay nodes into objects; the last of them are all that there are.
    Lay { packer: Box<NodePacker>, drafts: Vec<NodeDraft>, last: bool },
}

/// Changes of a tree: each key set to a value, or removed.
#[derive(Clone, Debug)]
pub(crate) enum Changes {
    Directory(BTreeMap<Name, Option<Entry>>),
    Links(BTreeMap<Ino, Option<Linked>>),
    Pieces(BTreeMap<u64, Option<Piece>>),
}

impl Changes {
    pub(crate) fn kind(&self) -> NodeKind {
        match self {
            Self::Directory(_) => NodeKind::Directory,
            Self::Links(_) => NodeKind::Links,
            Self::Pieces(_) => NodeKind::Pieces,
        }
    }
}

#[derive(Debug)]
pub(crate) enum Made {
    Node(Result<AnyNode, String>),
    Verified(Result<VerifiedBlocks, String>),
    /// Whether they are the same; `None` if only the bytes can tell.
    Compared(Option<bool>),
    Packed(Hashed, Vec<Packed>),
    /// The changes come back with the outcome: a job that lacked nodes is started again.
    Updated(Result<Built, UpdateError>, Changes),
    /// Objects that are full, or were closed.
    Laid(Box<NodePacker>, Result<Vec<Hashed>, FormatError>),
}

impl Job {
    /// Does the work.
    #[must_use]
    pub fn run(self) -> Product {
        Product(match self.0 {
            Work::Node { kind, node, bytes } => Made::Node(check_node(kind, &node, &bytes)),
            Work::Verify { hash, bytes, block_bytes } => {
                let checked = VerifiedBlocks::check(&hash, bytes, block_bytes as usize);
                Made::Verified(checked.map_err(|e| e.to_string()))
            }
            Work::Compare { object, len, crc32 } => Made::Compared(object.is(len, crc32)),
            Work::Pack { contents, chunk_bytes } => pack(contents, chunk_bytes),
            Work::Update { root, changes, have } => run_update(root, changes, &have),
            Work::Lay { mut packer, drafts, last } => {
                let packs = lay(&mut packer, &drafts, last);
                Made::Laid(packer, packs)
            }
        })
    }
}

fn check_node(kind: NodeKind, node: &NodeRef, bytes: &[u8]) -> Result<AnyNode, String> {
    let decoded = match kind {
        NodeKind::Directory => {
            decode_node::<Directories>(node, bytes).map(|n| AnyNode::Directory(Arc::new(n)))
        }
        NodeKind::Links => decode_node::<Links>(node, bytes).map(|n| AnyNode::Links(Arc::new(n))),
        NodeKind::Pieces => {
            decode_node::<Pieces>(node, bytes).map(|n| AnyNode::Pieces(Arc::new(n)))
        }
    };
    decoded.map_err(|e| e.to_string())
}

fn pack(contents: Vec<Vec<Slice>>, chunk_bytes: u32) -> Made {
    let mut builder = PackBuilder::new(chunk_bytes);
    let places = contents.into_iter().map(|content| builder.push(content)).collect();
    Made::Packed(builder.finish().0, places)
}

fn lay(
    packer: &mut NodePacker,
    drafts: &[NodeDraft],
    last: bool,
) -> Result<Vec<Hashed>, FormatError> {
    let mut packs = packer.push_all(drafts)?;
    if last {
        packs.extend(packer.close());
    }
    Ok(packs)
}

fn run_update(root: Option<NodeRef>, changes: Changes, have: &Have) -> Made {
    let root = root.as_ref();
    let built = match &changes {
        Changes::Directory(map) => update::<Directories>(root, map, &|h| have.directory(h)),
        Changes::Links(map) => update::<Links>(root, map, &|h| have.links(h)),
        Changes::Pieces(map) => update::<Pieces>(root, map, &|h| have.pieces(h)),
    };
    Made::Updated(built, changes)
}
