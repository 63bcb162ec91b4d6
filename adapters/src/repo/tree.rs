//! Reads whole trees of a repository, many nodes at a time.

use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use vellum_core::format::{
    Directories, Entry, FormatError, Linked, Links, NodeRef, ObjectKind, Piece, Step, TreeKind,
    TreeNode, XattrMap, Xattrs, decode_xattrs, object_key,
};
use vellum_core::shapes::Name;
use vellum_core::words::Ino;

use super::Repo;
use super::error::RepoError;

/// Nodes of one tree that are asked for at once.
const AT_ONCE: usize = 16;

/// A node, and the keys between which it must lie.
struct Place<T: TreeKind> {
    node: NodeRef,
    first: Option<T::Key>,
    upper: Option<T::Key>,
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
        let mut level: Vec<Place<T>> =
            root.map(|root| Place { node: *root, first: None, upper: None }).into_iter().collect();
        let mut found = Vec::new();
        while !level.is_empty() {
            let loads = level.into_iter().map(|place| self.load(place));
            let mut nodes = stream::iter(loads).buffered(AT_ONCE);
            let mut below = Vec::new();
            while let Some((place, node)) = nodes.try_next().await? {
                match node {
                    TreeNode::Leaf(entries) => found.extend(entries),
                    TreeNode::Inner(children) => {
                        let firsts = children.iter().skip(1).map(|child| Some(child.first.clone()));
                        let uppers = firsts.chain([place.upper.clone()]);
                        below.extend(children.iter().zip(uppers).map(|(child, upper)| Place {
                            node: child.node,
                            first: Some(child.first.clone()),
                            upper,
                        }));
                    }
                }
            }
            drop(nodes);
            level = below;
        }
        Ok(found)
    }

    async fn load<T: TreeKind>(
        self: &Arc<Self>,
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
        found.ok_or_else(|| {
            let error = FormatError::Invalid { record: "link table", field: "ino" };
            let key = links.map_or_else(
                || "snapshots/".to_owned(),
                |links| object_key(ObjectKind::Tree, &links.object),
            );
            RepoError::Format { key, error }
        })
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
        RepoError::Format { key: object_key(ObjectKind::Tree, &node.object), error }
    }
}
