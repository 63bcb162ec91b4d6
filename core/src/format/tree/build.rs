//! Where nodes end, and how a whole tree is made.

use super::node::{Item, decode_bytes, encode_head, encode_item};
use super::{Child, TreeKind, TreeNode};
use crate::format::bounds::{NODE_MAX_ENTRIES, NODE_SPLIT_BYTES};
use crate::format::cbor::Writer;
use crate::format::{FormatError, Hash, Hashed, NodeDraft, NodePacker, NodeRef};

/// A tree, and those of its nodes that are new, children before parents.
#[derive(Clone, Debug, PartialEq)]
pub struct Built {
    /// The root; none when the tree is empty.
    pub root: Option<NodeRef>,
    /// What is to be laid into objects, and stored before anything names the root.
    pub nodes: Vec<NodeDraft>,
}

impl Built {
    /// The root of the tree, which says where it lies, and the objects that hold its new nodes.
    ///
    /// # Errors
    /// A node names one that was neither stored nor is it among them.
    pub fn laid(self, chunk_bytes: u32) -> Result<(Option<NodeRef>, Vec<Hashed>), FormatError> {
        let mut packer = NodePacker::new(chunk_bytes);
        let mut packs = packer.push_all(&self.nodes)?;
        packs.extend(packer.close());
        let mut root = self.root;
        root.iter_mut().for_each(|root| packer.locate(root));
        Ok((root, packs))
    }
}

/// After which item a node ends.
#[derive(Clone, Copy, Debug)]
pub(in crate::format) struct Split {
    /// As many low bits of one byte of the key's hash must be 0: 1 to 8.
    pub(in crate::format) bits: u32,
    /// A node never has more items.
    pub(in crate::format) max_entries: usize,
    /// A node has no further item when its items have as many bytes.
    pub(in crate::format) max_bytes: usize,
}

impl Split {
    /// The one that the format prescribes.
    pub(super) const FORMAT: Self =
        Self { bits: 8, max_entries: NODE_MAX_ENTRIES, max_bytes: NODE_SPLIT_BYTES };

    fn ends_after<T: TreeKind>(&self, key: &T::Key, level: u8, len: usize, bytes: usize) -> bool {
        // An inner node of one child would not bring the tree nearer to its root.
        if level > 0 && len == 1 {
            return false;
        }
        if len >= self.max_entries || bytes >= self.max_bytes {
            return true;
        }
        // Each level looks at a byte of its own: else the first key of a node, which may well be
        // an end on the level below, would be one on all levels.
        let byte = T::key_hash(key).0[usize::from(level) % 32];
        byte.trailing_zeros() >= self.bits
    }
}

/// A node just made.
#[derive(Clone, Debug)]
pub(super) struct Made<T: TreeKind> {
    pub(super) first: T::Key,
    pub(super) node: NodeRef,
    pub(super) draft: NodeDraft,
    /// The child of an inner node that has only one.
    pub(super) only_child: Option<NodeRef>,
}

/// Makes the nodes of one level out of its items in order, from the beginning of a node on.
#[derive(Debug)]
pub(super) struct Splitter<'s, T: TreeKind> {
    split: &'s Split,
    level: u8,
    first: Option<T::Key>,
    only_child: Option<NodeRef>,
    len: usize,
    count: u64,
    items: Writer,
    /// Nodes that the items name.
    refs: Vec<NodeRef>,
    made: Vec<Made<T>>,
    /// The node made last, as a reader gets it.
    last: Option<TreeNode<T>>,
}

impl<'s, T: TreeKind> Splitter<'s, T> {
    pub(super) fn new(split: &'s Split, level: u8) -> Self {
        Self {
            split,
            level,
            first: None,
            only_child: None,
            len: 0,
            count: 0,
            items: Writer::new(),
            refs: Vec::new(),
            made: Vec::new(),
            last: None,
        }
    }

    /// Appends the next item, whose key must come after those before.
    pub(super) fn push(&mut self, key: &T::Key, item: &Item<'_, T>) -> Result<(), FormatError> {
        encode_item(key, item, &mut self.items);
        self.refs.extend(item.node());
        self.first.get_or_insert_with(|| key.clone());
        self.len += 1;
        self.count = self.count.saturating_add(item.count());
        self.only_child = match item {
            Item::Node(node) if self.len == 1 => Some(*node),
            Item::Node(_) | Item::Value(_) => None,
        };
        if self.split.ends_after::<T>(key, self.level, self.len, self.items.len()) {
            self.end_node()?;
        }
        Ok(())
    }

    /// Whether the next item begins a node.
    pub(super) fn at_boundary(&self) -> bool {
        self.len == 0
    }

    /// The nodes, all of which lie before `upper`, the lowest key of what follows.
    pub(super) fn finish(mut self, upper: Option<&T::Key>) -> Result<Vec<Made<T>>, FormatError> {
        self.end_node()?;
        if let Some(last) = &self.last {
            last.check_end(upper)?;
        }
        Ok(self.made)
    }

    /// Makes a node, unless a reader would refuse it.
    fn end_node(&mut self) -> Result<(), FormatError> {
        let Some(first) = self.first.take() else { return Ok(()) };
        let mut w = Writer::new();
        encode_head::<T>(self.level, self.len, &mut w);
        w.raw(&self.items.take());
        let bytes = w.into_bytes();
        let node = decode_bytes::<T>(self.level, &bytes)?;
        if let Some(last) = self.last.replace(node) {
            last.check_end(Some(&first))?;
        }
        let hash = Hash::of(&bytes);
        let node = NodeRef { hash, level: self.level, count: self.count, place: None };
        let draft = NodeDraft::new(hash, bytes, std::mem::take(&mut self.refs));
        self.made.push(Made { first, node, draft, only_child: self.only_child.take() });
        self.len = 0;
        self.count = 0;
        Ok(())
    }
}

/// The tree of these entries, which must come in ascending order, no key twice.
///
/// # Errors
/// An entry is not what the format allows, or does not come after the one before.
pub fn build<T: TreeKind>(
    entries: impl Iterator<Item = (T::Key, T::Value)>,
) -> Result<Built, FormatError> {
    build_with::<T>(&Split::FORMAT, entries)
}

pub(in crate::format) fn build_with<T: TreeKind>(
    split: &Split,
    entries: impl Iterator<Item = (T::Key, T::Value)>,
) -> Result<Built, FormatError> {
    let mut leaves = Splitter::<T>::new(split, 0);
    for (key, value) in entries {
        leaves.push(&key, &Item::Value(&value))?;
    }
    let mut nodes = Vec::new();
    let level = keep(leaves.finish(None)?, &mut nodes);
    let root = grow(split, level, &mut nodes)?;
    Ok(Built { root: root.map(|child| child.node), nodes })
}

/// Puts levels above `children`, until one node stands above all.
pub(super) fn grow<T: TreeKind>(
    split: &Split,
    mut children: Vec<Child<T>>,
    nodes: &mut Vec<NodeDraft>,
) -> Result<Option<Child<T>>, FormatError> {
    while children.len() > 1 {
        let mut level = Splitter::new(split, children[0].node.level + 1);
        for child in &children {
            level.push(&child.first, &Item::Node(child.node))?;
        }
        children = keep(level.finish(None)?, nodes);
    }
    Ok(children.pop())
}

fn keep<T: TreeKind>(made: Vec<Made<T>>, nodes: &mut Vec<NodeDraft>) -> Vec<Child<T>> {
    let mut children = Vec::with_capacity(made.len());
    for Made { first, node, draft, .. } in made {
        children.push(Child { first, node });
        nodes.push(draft);
    }
    children
}
