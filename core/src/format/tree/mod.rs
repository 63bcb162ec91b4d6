//! Search trees split by content: directories, the link table, and the pieces of big files.
//!
//! Where a node ends depends on its entries alone, so the same set of entries always gives the
//! same nodes, and a change rewrites only the path above it.

mod build;
mod find;
mod kind;
mod node;
mod update;

pub use build::{Built, build};
pub use find::{Entries, Part, Step, UpdateError, covering, get, scan};
pub use kind::{Directories, Links, Pieces, TreeKind};
pub use node::{Child, NodeError, TreeNode, decode_node, node_hash};
pub use update::update;

#[cfg(test)]
pub(super) use build::{Split, build_with};
#[cfg(test)]
pub(super) use node::{decode_bytes, encode_node};
#[cfg(test)]
pub(super) use update::update_with;

use super::Hash;
use crate::sync::Arc;

/// Where the nodes are that are loaded: a cache, or whatever the caller has.
pub type Nodes<'a, T> = dyn Fn(&Hash) -> Option<Arc<TreeNode<T>>> + 'a;
