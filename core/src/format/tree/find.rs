//! How entries are found in a tree of which only some nodes are loaded.

use rustc_hash::FxHashSet;
use std::error::Error;
use std::fmt;
use std::ops::Range;

use super::{Child, Nodes, Pieces, TreeKind, TreeNode};
use crate::format::{FormatError, Hash, NodeRef, Piece};
use crate::sync::Arc;

/// Where the search for one key goes on.
#[derive(Debug, PartialEq)]
pub enum Step<'a, T: TreeKind> {
    /// The key is here.
    Found(&'a T::Value),
    /// The tree does not have the key.
    Absent,
    /// If the tree has the key, it is below this child.
    Below(&'a Child<T>),
}

/// The part of a node that a range of keys can be in.
#[derive(Debug, PartialEq)]
pub enum Part<'a, T: TreeKind> {
    /// Entries in the range.
    Entries(&'a [(T::Key, T::Value)]),
    /// Children below which keys in the range can be.
    Children(&'a [Child<T>]),
}

impl<T: TreeKind> TreeNode<T> {
    /// One step of the search for `key`.
    #[must_use]
    pub fn step(&self, key: &T::Key) -> Step<'_, T> {
        match self {
            Self::Leaf(entries) => match entries.binary_search_by(|(at, _)| at.cmp(key)) {
                Ok(index) => Step::Found(&entries[index].1),
                Err(_) => Step::Absent,
            },
            Self::Inner(children) => {
                match children.partition_point(|child| child.first <= *key).checked_sub(1) {
                    Some(index) => Step::Below(&children[index]),
                    None => Step::Absent,
                }
            }
        }
    }

    /// What is here of the keys from `from` on (from the first, if none) and before `to`.
    #[must_use]
    pub fn range(&self, from: Option<&T::Key>, to: Option<&T::Key>) -> Part<'_, T> {
        match self {
            Self::Leaf(entries) => {
                let start = from.map_or(0, |from| entries.partition_point(|(key, _)| key < from));
                let end =
                    to.map_or(entries.len(), |to| entries.partition_point(|(key, _)| key < to));
                Part::Entries(&entries[start..end.max(start)])
            }
            Self::Inner(children) => {
                let start = from.map_or(0, |from| {
                    children.partition_point(|child| child.first <= *from).saturating_sub(1)
                });
                let end = to.map_or(children.len(), |to| {
                    children.partition_point(|child| child.first < *to)
                });
                Part::Children(&children[start..end.max(start)])
            }
        }
    }
}

impl TreeNode<Pieces> {
    /// What is here of the pieces that overlap these bytes of the file.
    #[must_use]
    pub fn covering(&self, bytes: Range<u64>) -> Part<'_, Pieces> {
        match self {
            Self::Leaf(entries) => {
                let end_of = |(at, piece): &(u64, Piece)| at.saturating_add(piece.len_bytes());
                let start = entries.partition_point(|entry| end_of(entry) <= bytes.start);
                let end = entries.partition_point(|(at, _)| *at < bytes.end);
                Part::Entries(&entries[start..end.max(start)])
            }
            Self::Inner(_) => self.range(Some(&bytes.start), Some(&bytes.end)),
        }
    }
}

/// Entries of a tree, in order.
pub type Entries<T> = Vec<(<T as TreeKind>::Key, <T as TreeKind>::Value)>;

/// Why a tree could not be read or changed.
#[derive(Clone, Debug, PartialEq)]
pub enum UpdateError {
    /// These nodes must be loaded first; then the same call gets further.
    Missing(Vec<NodeRef>),
    /// A node is not what it should be.
    Format(FormatError),
}

impl From<FormatError> for UpdateError {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

impl fmt::Display for UpdateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(nodes) => write!(f, "{} nodes of a tree are not loaded", nodes.len()),
            Self::Format(error) => error.fmt(f),
        }
    }
}

impl Error for UpdateError {}

/// A tree with some of its nodes loaded, which remembers those it was asked for in vain.
pub(super) struct Tree<'a, T: TreeKind> {
    root: NodeRef,
    nodes: &'a Nodes<'a, T>,
    missing: Vec<NodeRef>,
    seen: FxHashSet<Hash>,
}

/// A node and its place.
pub(super) struct Located<T: TreeKind> {
    pub(super) node_ref: NodeRef,
    pub(super) node: Arc<TreeNode<T>>,
    pub(super) first: T::Key,
    /// Lowest key of what follows on the same level; none at the end.
    pub(super) upper: Option<T::Key>,
}

/// Outcome of [`Tree::locate`].
pub(super) enum Locate<T: TreeKind> {
    Found(Located<T>),
    /// A node on the way is not loaded. It stands for all keys before `upper`.
    Missing {
        upper: Option<T::Key>,
    },
}

impl<'a, T: TreeKind> Tree<'a, T> {
    pub(super) fn new(root: &NodeRef, nodes: &'a Nodes<'a, T>) -> Self {
        Self { root: *root, nodes, missing: Vec::new(), seen: FxHashSet::default() }
    }

    /// The node of `level` that has, or would get, this key; the first one for `None`.
    pub(super) fn locate(
        &mut self,
        level: u8,
        key: Option<&T::Key>,
    ) -> Result<Locate<T>, FormatError> {
        let mut node_ref = self.root;
        let mut first: Option<T::Key> = None;
        let mut upper: Option<T::Key> = None;
        loop {
            let Some(node) = self.load(&node_ref) else { return Ok(Locate::Missing { upper }) };
            node.check_place(&node_ref, first.as_ref(), upper.as_ref())?;
            let children = match &*node {
                TreeNode::Inner(children) if node_ref.level > level => children,
                TreeNode::Inner(_) | TreeNode::Leaf(_) => {
                    let Some(first) = first.or_else(|| node.first_key().cloned()) else {
                        return Err(misplaced::<T>());
                    };
                    return Ok(Locate::Found(Located { node_ref, node, first, upper }));
                }
            };
            let index = key.map_or(0, |key| {
                children.partition_point(|child| child.first <= *key).saturating_sub(1)
            });
            let Some(child) = children.get(index) else { return Err(misplaced::<T>()) };
            if let Some(next) = children.get(index + 1) {
                upper = Some(next.first.clone());
            }
            first = Some(child.first.clone());
            node_ref = child.node;
        }
    }

    /// A node, if it is loaded; else it is remembered as missing.
    pub(super) fn load(&mut self, node: &NodeRef) -> Option<Arc<TreeNode<T>>> {
        let found = (self.nodes)(&node.hash);
        if found.is_none() && self.seen.insert(node.hash) {
            self.missing.push(*node);
        }
        found
    }

    /// Refuses to go on while nodes are missing.
    pub(super) fn complete(&mut self) -> Result<(), UpdateError> {
        if self.missing.is_empty() {
            Ok(())
        } else {
            Err(UpdateError::Missing(std::mem::take(&mut self.missing)))
        }
    }
}

fn misplaced<T: TreeKind>() -> FormatError {
    FormatError::Misplaced { record: T::RECORD, field: "entries" }
}

/// The value of one key.
///
/// # Errors
/// A node on the way is not loaded, or is damaged.
pub fn get<T: TreeKind>(
    root: Option<&NodeRef>,
    key: &T::Key,
    nodes: &Nodes<'_, T>,
) -> Result<Option<T::Value>, UpdateError> {
    let Some(root) = root else { return Ok(None) };
    let mut tree = Tree::new(root, nodes);
    match tree.locate(0, Some(key))? {
        Locate::Missing { .. } => {
            tree.complete()?;
            Ok(None)
        }
        Locate::Found(at) => match at.node.step(key) {
            Step::Found(value) => Ok(Some(value.clone())),
            Step::Absent | Step::Below(_) => Ok(None),
        },
    }
}

/// The entries from `from` on (from the first, if none) and before `to`, in order, at most `max`.
///
/// # Errors
/// Nodes are not loaded (all that can be named now are), or one is damaged.
pub fn scan<T: TreeKind>(
    root: Option<&NodeRef>,
    from: Option<&T::Key>,
    to: Option<&T::Key>,
    max: usize,
    nodes: &Nodes<'_, T>,
) -> Result<Entries<T>, UpdateError> {
    let wanted = Wanted { from, to, max };
    walk(root, &wanted, nodes, |leaf| leaf.range(from, to))
}

/// The data pieces of a file that overlap these bytes of it, in order, each with its offset, at
/// most `max`.
///
/// # Errors
/// Nodes are not loaded (all that can be named now are), or one is damaged.
pub fn covering(
    root: Option<&NodeRef>,
    bytes: Range<u64>,
    max: usize,
    nodes: &Nodes<'_, Pieces>,
) -> Result<Entries<Pieces>, UpdateError> {
    let wanted = Wanted { from: Some(&bytes.start), to: Some(&bytes.end), max };
    walk(root, &wanted, nodes, |leaf| leaf.covering(bytes.clone()))
}

struct Wanted<'a, T: TreeKind> {
    from: Option<&'a T::Key>,
    to: Option<&'a T::Key>,
    max: usize,
}

fn walk<T: TreeKind>(
    root: Option<&NodeRef>,
    wanted: &Wanted<'_, T>,
    nodes: &Nodes<'_, T>,
    select: impl Fn(&TreeNode<T>) -> Part<'_, T>,
) -> Result<Entries<T>, UpdateError> {
    let mut found = Vec::new();
    let Some(root) = root else { return Ok(found) };
    let mut tree = Tree::new(root, nodes);
    let mut at = wanted.from.cloned();
    // What missing nodes hold counts against `max` too: never ask for more than is wanted.
    let mut asked = 0_u64;
    loop {
        let missing = tree.missing.len();
        let upper = match tree.locate(0, at.as_ref())? {
            Locate::Found(leaf) => {
                if let Part::Entries(entries) = select(&leaf.node) {
                    found.extend_from_slice(entries);
                }
                leaf.upper
            }
            Locate::Missing { upper } => {
                let counts = tree.missing[missing..].iter().map(|node| node.count);
                asked = asked.saturating_add(counts.sum());
                upper
            }
        };
        let enough = (found.len() as u64).saturating_add(asked) >= wanted.max as u64;
        match upper {
            Some(upper) if !enough && wanted.to.is_none_or(|to| upper < *to) => at = Some(upper),
            Some(_) | None => break,
        }
    }
    tree.complete()?;
    found.truncate(wanted.max);
    Ok(found)
}
