//! One node: bytes and values.

use super::TreeKind;
use crate::format::bounds::{COUNT_MAX, HEIGHT_MAX, NODE_MAX_ENTRIES, NODE_SPLIT_BYTES};
use crate::format::cbor::{Reader, Writer};
use crate::format::{FormatError, NodeRef, ObjectName, Verified};

/// A node of a tree. Never empty; keys ascend.
#[derive(Clone, Debug, PartialEq)]
pub enum TreeNode<T: TreeKind> {
    /// Entries.
    Leaf(Vec<(T::Key, T::Value)>),
    /// Nodes of the level below.
    Inner(Vec<Child<T>>),
}

/// A child of an inner node.
#[derive(Clone, Debug, PartialEq)]
pub struct Child<T: TreeKind> {
    /// The lowest key below it.
    pub first: T::Key,
    /// The node.
    pub node: NodeRef,
}

/// What stands in a node: an entry's value, or a child.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Item<'a, T: TreeKind> {
    Value(&'a T::Value),
    Node(NodeRef),
}

impl<T: TreeKind> Item<'_, T> {
    /// Leaf entries that the item stands for.
    pub(super) fn count(&self) -> u64 {
        match self {
            Self::Value(_) => 1,
            Self::Node(node) => node.count,
        }
    }
}

impl<T: TreeKind> TreeNode<T> {
    /// Entries or children of the node.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.len(),
            Self::Inner(children) => children.len(),
        }
    }

    /// Whether the node holds nothing, which no stored node does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// 0 for a leaf, else one more than the level of its children.
    #[must_use]
    pub fn level(&self) -> u8 {
        match self {
            Self::Leaf(_) => 0,
            Self::Inner(children) => {
                children.first().map_or(1, |child| child.node.level.saturating_add(1))
            }
        }
    }

    /// Leaf entries in or below the node.
    #[must_use]
    pub fn count(&self) -> u64 {
        match self {
            Self::Leaf(entries) => entries.len() as u64,
            Self::Inner(children) => {
                children.iter().fold(0, |sum, child| child.node.count.saturating_add(sum))
            }
        }
    }

    /// The lowest key.
    #[must_use]
    pub fn first_key(&self) -> Option<&T::Key> {
        match self {
            Self::Leaf(entries) => entries.first().map(|(key, _)| key),
            Self::Inner(children) => children.first().map(|child| &child.first),
        }
    }

    /// Whether the node is what the reference to it says: level, count and lowest key; and whether
    /// all of it lies before `upper`, the lowest key of what follows.
    ///
    /// # Errors
    /// It is not.
    pub fn check_place(
        &self,
        node: &NodeRef,
        first: Option<&T::Key>,
        upper: Option<&T::Key>,
    ) -> Result<(), FormatError> {
        let misplaced = |field| Err(FormatError::Misplaced { record: T::RECORD, field });
        if self.level() != node.level {
            return misplaced("level");
        }
        if self.count() != node.count {
            return misplaced("count");
        }
        if first.is_some() && first != self.first_key() {
            return misplaced("first key");
        }
        self.check_end(upper)
    }

    /// Whether all of the node lies before `upper`, the lowest key of what follows.
    pub(super) fn check_end(&self, upper: Option<&T::Key>) -> Result<(), FormatError> {
        let misplaced = Err(FormatError::Misplaced { record: T::RECORD, field: "entries" });
        match self {
            Self::Leaf(entries) => match entries.last() {
                Some((key, value)) => T::check_entry(key, value, upper),
                None => misplaced,
            },
            Self::Inner(children) => match (children.last(), upper) {
                (Some(last), Some(upper)) if last.first >= *upper => misplaced,
                (Some(_), _) => Ok(()),
                (None, _) => misplaced,
            },
        }
    }

    /// Key and item at an index below `len()`.
    pub(super) fn item(&self, index: usize) -> (&T::Key, Item<'_, T>) {
        match self {
            Self::Leaf(entries) => (&entries[index].0, Item::Value(&entries[index].1)),
            Self::Inner(children) => {
                let child = &children[index];
                (&child.first, Item::Node(child.node))
            }
        }
    }
}

/// The node that these bytes are, at the level that the reference to it says.
///
/// # Errors
/// They are not the canonical form of such a node within bounds.
pub fn decode_node<T: TreeKind>(
    expected_level: u8,
    bytes: &Verified,
) -> Result<TreeNode<T>, FormatError> {
    decode_bytes(expected_level, bytes.as_bytes())
}

pub(super) fn decode_bytes<T: TreeKind>(
    expected_level: u8,
    bytes: &[u8],
) -> Result<TreeNode<T>, FormatError> {
    let limit = NODE_SPLIT_BYTES + T::ENTRY_MAX_BYTES;
    if bytes.len() > limit {
        let limit = limit as u64;
        return Err(FormatError::TooLarge { record: T::RECORD, field: "node", limit });
    }
    let mut r = Reader::new(T::RECORD, bytes);
    r.fields(3)?;
    if r.u8("tag", u8::MAX)? != T::TAG {
        return Err(r.invalid("tag"));
    }
    if r.u8("level", HEIGHT_MAX - 1)? != expected_level {
        return Err(FormatError::Misplaced { record: T::RECORD, field: "level" });
    }
    let len = r.array("entries", NODE_MAX_ENTRIES)?;
    if len == 0 {
        return Err(r.invalid("entries"));
    }
    let node = match expected_level.checked_sub(1) {
        None => decode_leaf(&mut r, len)?,
        Some(below) => decode_inner(&mut r, len, below)?,
    };
    r.end()?;
    if encode_node(expected_level, &node) == bytes {
        Ok(node)
    } else {
        Err(FormatError::NotCanonical { record: T::RECORD })
    }
}

fn decode_leaf<T: TreeKind>(r: &mut Reader<'_>, len: usize) -> Result<TreeNode<T>, FormatError> {
    let mut entries: Vec<(T::Key, T::Value)> = Vec::new();
    for _ in 0..len {
        r.fields(2)?;
        let entry = (T::decode_key(r)?, T::decode_value(r)?);
        if let Some((key, value)) = entries.last() {
            T::check_entry(key, value, Some(&entry.0))?;
        }
        T::check_entry(&entry.0, &entry.1, None)?;
        entries.push(entry);
    }
    Ok(TreeNode::Leaf(entries))
}

fn decode_inner<T: TreeKind>(
    r: &mut Reader<'_>,
    len: usize,
    below: u8,
) -> Result<TreeNode<T>, FormatError> {
    let mut children: Vec<Child<T>> = Vec::new();
    let mut sum = 0_u64;
    for _ in 0..len {
        r.fields(4)?;
        let first = T::decode_key(r)?;
        let object = ObjectName { hash: r.hash("object")?, copy: r.u32("copy")? };
        let node = NodeRef { object, level: below, count: r.u64("count")? };
        node.check()?;
        sum = sum.saturating_add(node.count);
        if children.last().is_some_and(|last| last.first >= first) {
            return Err(FormatError::Unsorted { record: T::RECORD, field: "entries" });
        }
        children.push(Child { first, node });
    }
    if sum > COUNT_MAX {
        let limit = COUNT_MAX;
        return Err(FormatError::TooLarge { record: T::RECORD, field: "count", limit });
    }
    Ok(TreeNode::Inner(children))
}

/// The canonical bytes of a node.
pub(in crate::format) fn encode_node<T: TreeKind>(level: u8, node: &TreeNode<T>) -> Vec<u8> {
    let mut w = Writer::new();
    encode_head::<T>(level, node.len(), &mut w);
    for index in 0..node.len() {
        let (key, item) = node.item(index);
        encode_item(key, &item, &mut w);
    }
    w.into_bytes()
}

/// What a node of `len` items begins with.
pub(super) fn encode_head<T: TreeKind>(level: u8, len: usize, w: &mut Writer) {
    w.array(3);
    w.uint(T::TAG);
    w.uint(level);
    w.array(len);
}

/// One item of a node.
pub(super) fn encode_item<T: TreeKind>(key: &T::Key, item: &Item<'_, T>, w: &mut Writer) {
    match item {
        Item::Value(value) => {
            w.array(2);
            T::encode_key(key, w);
            T::encode_value(value, w);
        }
        Item::Node(node) => {
            w.array(4);
            T::encode_key(key, w);
            w.bytes(&node.object.hash.0);
            w.uint(node.object.copy);
            w.uint(node.count);
        }
    }
}
