//! Reads whole trees of a repository, many nodes at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use vellum_core::format::{
    Child, Directories, Entry, FormatError, Inode, Linked, Links, NodeRef, ObjectKind, Piece, Step,
    TreeKind, TreeNode, XattrMap, Xattrs, decode_xattrs, object_key,
};
use vellum_core::shapes::Name;
use vellum_core::words::Ino;

use super::error::RepoError;
use super::{Repo, node_key};

/// Nodes of one tree that are asked for at once.
const AT_ONCE: usize = 16;

/// A node, and the keys between which it must lie.
#[derive(Clone)]
pub(super) struct Place<T: TreeKind> {
    pub(super) node: NodeRef,
    pub(super) first: Option<T::Key>,
    pub(super) upper: Option<T::Key>,
}

impl<T: TreeKind> Place<T> {
    /// The root of a tree.
    pub(super) fn root(node: NodeRef) -> Self {
        Self { node, first: None, upper: None }
    }

    /// The places of the children of the node that is here, in order.
    pub(super) fn below(&self, children: &[Child<T>]) -> impl DoubleEndedIterator<Item = Self> {
        let upper = |index: usize| {
            let next = children.get(index + 1).map(|next| next.first.clone());
            next.or_else(|| self.upper.clone())
        };
        children.iter().enumerate().map(move |(index, child)| Self {
            node: child.node,
            first: Some(child.first.clone()),
            upper: upper(index),
        })
    }
}

impl Repo {
    /// All entries of a tree, in order.
    ///
    /// # Errors
    /// A node is missing or damaged, or the store fails.
    pub async fn entries<T: TreeKind>(
        self: &Arc<Self>,
        root: Option<&NodeRef>,
    ) -> Result<Vec<(T::Key, T::Value)>, RepoError>
    where
        T::Key: Send + Sync,
        T::Value: Send + Sync,
    {
        self.entries_by::<T>(root, &mut |_| {}).await
    }

    /// As [`Repo::entries`]; tells of each node that was read, and so is there and right.
    ///
    /// # Errors
    /// A node is missing or damaged, or the store fails.
    pub(super) async fn entries_by<T: TreeKind>(
        self: &Arc<Self>,
        root: Option<&NodeRef>,
        was_read: &mut (dyn FnMut(&NodeRef) + Send),
    ) -> Result<Vec<(T::Key, T::Value)>, RepoError>
    where
        T::Key: Send + Sync,
        T::Value: Send + Sync,
    {
        let mut level: Vec<Place<T>> = root.map(|root| Place::root(*root)).into_iter().collect();
        let mut found = Vec::new();
        while !level.is_empty() {
            let loads = level.into_iter().map(|place| self.load(place));
            let mut nodes = stream::iter(loads).buffered(AT_ONCE);
            let mut below = Vec::new();
            while let Some((place, node)) = nodes.try_next().await? {
                was_read(&place.node);
                match node {
                    TreeNode::Leaf(entries) => found.extend(entries),
                    TreeNode::Inner(children) => below.extend(place.below(&children)),
                }
            }
            drop(nodes);
            level = below;
        }
        Ok(found)
    }

    /// Reads the node at a place.
    pub(super) async fn load<T: TreeKind>(
        &self,
        place: Place<T>,
    ) -> Result<(Place<T>, TreeNode<T>), RepoError> {
        let node = self.read_node::<T>(&place.node).await?;
        node.check_place(&place.node, place.first.as_ref(), place.upper.as_ref())
            .map_err(|error| self.bad_node(&place.node, error))?;
        Ok((place, node))
    }

    /// The value of one key.
    ///
    /// # Errors
    /// A node is missing or damaged, or the store fails.
    pub async fn find<T: TreeKind>(
        self: &Arc<Self>,
        root: Option<&NodeRef>,
        key: &T::Key,
    ) -> Result<Option<T::Value>, RepoError> {
        let Some(root) = root else { return Ok(None) };
        let mut at = *root;
        loop {
            // Levels fall with each step, so this ends.
            let node = self.read_node::<T>(&at).await?;
            match node.step(key) {
                Step::Found(value) => return Ok(Some(value.clone())),
                Step::Absent => return Ok(None),
                Step::Below(child) => at = child.node,
            }
        }
    }

    /// What a name stands for in a directory.
    ///
    /// # Errors
    /// A node is missing or damaged, or the store fails.
    pub async fn entry(
        self: &Arc<Self>,
        root: Option<&NodeRef>,
        name: &Name,
    ) -> Result<Option<Entry>, RepoError> {
        self.find::<Directories>(root, name).await
    }

    /// An inode with several names.
    ///
    /// # Errors
    /// It is not in the link table, a node is missing or damaged, or the store fails.
    pub async fn linked(
        self: &Arc<Self>,
        links: Option<&NodeRef>,
        ino: Ino,
    ) -> Result<Linked, RepoError> {
        let found = self.find::<Links>(links, &ino).await?;
        found.ok_or_else(|| not_linked(links))
    }

    /// Inodes with several names, each with how many it has. Nodes that hold none of these numbers
    /// are not read.
    ///
    /// # Errors
    /// One is not in the link table, a node is missing or damaged, or the store fails.
    pub(super) async fn linked_of(
        &self,
        links: Option<&NodeRef>,
        inos: &BTreeSet<Ino>,
    ) -> Result<BTreeMap<Ino, (Inode, u64)>, RepoError> {
        let may_hold = |place: &Place<Links>| {
            let next = inos.range(place.first.unwrap_or(Ino(0))..).next();
            next.is_some_and(|ino| place.upper.is_none_or(|upper| *ino < upper))
        };
        let root = links.filter(|_| !inos.is_empty()).map(|links| Place::root(*links));
        let mut level: Vec<Place<Links>> = root.into_iter().collect();
        let mut found = BTreeMap::new();
        while !level.is_empty() {
            let loads = level.into_iter().map(|place| self.load(place));
            let mut nodes = stream::iter(loads).buffered(AT_ONCE);
            let mut below = Vec::new();
            while let Some((place, node)) = nodes.try_next().await? {
                match node {
                    TreeNode::Leaf(entries) => {
                        let wanted = entries.into_iter().filter(|(ino, _)| inos.contains(ino));
                        found.extend(
                            wanted.map(|(ino, linked)| {
                                (ino, (linked.inode, linked.names.len() as u64))
                            }),
                        );
                    }
                    TreeNode::Inner(children) => {
                        below.extend(place.below(&children).filter(may_hold));
                    }
                }
            }
            drop(nodes);
            level = below;
        }
        if found.len() == inos.len() { Ok(found) } else { Err(not_linked(links)) }
    }

    /// Extended attributes, wherever they are kept.
    ///
    /// # Errors
    /// Their object is missing or damaged, or the store fails.
    pub async fn xattrs(&self, xattrs: &Xattrs) -> Result<XattrMap, RepoError> {
        match xattrs {
            Xattrs::Inline(map) => Ok(map.clone()),
            // No decoded record has one.
            Xattrs::Stored(Piece::Hole { .. }) => Ok(XattrMap::new()),
            Xattrs::Stored(Piece::Data { hash, len, object, offset }) => {
                let bytes = self.read_data(object, *offset..*offset + *len, hash).await?;
                decode_xattrs(&bytes).map_err(|error| RepoError::Format {
                    key: object_key(ObjectKind::Chunk, object),
                    error,
                })
            }
        }
    }

    fn bad_node(&self, node: &NodeRef, error: FormatError) -> RepoError {
        RepoError::Format { key: node_key(node), error }
    }
}

/// A directory names an inode that the link table does not have.
pub(super) fn not_linked(links: Option<&NodeRef>) -> RepoError {
    let error = FormatError::Invalid { record: "link table", field: "ino" };
    let key = links.map_or_else(|| "snapshots/".to_owned(), node_key);
    RepoError::Format { key, error }
}
