//! Nodes of trees that one question has gathered so far.

use rustc_hash::FxHashMap;

use crate::format::{Directories, Hash, Links, Pieces, TreeNode};
use crate::sync::Arc;

/// Which tree a node is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeKind {
    Directory,
    Links,
    Pieces,
}

/// A node of any tree, checked and decoded.
#[derive(Clone, Debug)]
pub(crate) enum AnyNode {
    Directory(Arc<TreeNode<Directories>>),
    Links(Arc<TreeNode<Links>>),
    Pieces(Arc<TreeNode<Pieces>>),
}

/// Nodes by their hash.
#[derive(Clone, Debug, Default)]
pub(crate) struct Have(FxHashMap<Hash, AnyNode>);

impl Have {
    pub(crate) fn get(&self, hash: &Hash) -> Option<&AnyNode> {
        self.0.get(hash)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn insert(&mut self, hash: Hash, node: AnyNode) {
        self.0.insert(hash, node);
    }

    pub(crate) fn remove(&mut self, hash: &Hash) {
        self.0.remove(hash);
    }

    pub(crate) fn directory(&self, hash: &Hash) -> Option<Arc<TreeNode<Directories>>> {
        match self.0.get(hash)? {
            AnyNode::Directory(node) => Some(Arc::clone(node)),
            AnyNode::Links(_) | AnyNode::Pieces(_) => None,
        }
    }

    pub(crate) fn links(&self, hash: &Hash) -> Option<Arc<TreeNode<Links>>> {
        match self.0.get(hash)? {
            AnyNode::Links(node) => Some(Arc::clone(node)),
            AnyNode::Directory(_) | AnyNode::Pieces(_) => None,
        }
    }

    pub(crate) fn pieces(&self, hash: &Hash) -> Option<Arc<TreeNode<Pieces>>> {
        match self.0.get(hash)? {
            AnyNode::Pieces(node) => Some(Arc::clone(node)),
            AnyNode::Directory(_) | AnyNode::Links(_) => None,
        }
    }
}
