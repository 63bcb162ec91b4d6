//! The native format: bytes and values, pure. docs/FORMAT.md is its specification.
//!
//! Every record has one canonical encoding: what decodes is encoded again and compared, so that
//! equal values have equal names, and nothing unknown passes through.

pub mod bounds;
mod cbor;
mod cut;
mod error;
mod hash;
mod header;
mod inode;
mod keys;
mod nodepack;
mod object;
mod pack;
mod seal;
mod snapshot;
mod tree;
mod xattr;

#[cfg(test)]
mod tests;

pub use cut::begins_snapshot;
pub use error::FormatError;
pub use hash::Hash;
pub use header::{Access, FORMAT_VERSION, Header, HeaderError, check_chunk_bytes};
pub use inode::{Body, Entry, Inode, Linked, Meta};
pub use keys::{
    GC_STATE_KEY, HEADER_KEY, ObjectKind, RefKind, RefNameError, RefNameFault, object_key,
    parse_object_key, parse_ref_key, ref_key, ref_prefix,
};
pub use nodepack::{NodeDraft, NodePacker};
pub use object::{Content, NodePlace, NodeRef, ObjectName, Piece};
pub use pack::{PackBuilder, Packed, packed_parts};
pub use seal::{Hashed, Mismatch, Verified, VerifiedBlocks};
pub use snapshot::{RefBody, Snapshot, check_words};
pub use tree::{
    Built, Child, Directories, Entries, Links, NodeError, Nodes, Part, Pieces, Step, TreeKind,
    TreeNode, UpdateError, build, covering, decode_node, get, node_hash, scan, update,
};
pub use xattr::{XattrMap, Xattrs, check_xattrs, decode_xattrs, encode_xattrs};
