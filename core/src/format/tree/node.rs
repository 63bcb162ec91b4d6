//! One node: bytes and values.

use std::error::Error;
use std::fmt;

use minicbor::Decoder;

use super::TreeKind;
use crate::format::bounds::{COUNT_MAX, HEIGHT_MAX, NODE_MAX_ENTRIES, NODE_SPLIT_BYTES};
use crate::format::cbor::{Reader, Writer};
use crate::format::{FormatError, Hash, Mismatch, NodePlace, NodeRef, ObjectName};

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
pub(in crate::format) enum Item<'a, T: TreeKind> {
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

    /// The node that the item names: a child, or the root of the tree that an entry names.
    pub(in crate::format) fn node(&self) -> Option<NodeRef> {
        match self {
            Self::Value(value) => T::tree_in(value).copied(),
            Self::Node(node) => Some(*node),
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

    /// The nodes that it names, in order: children, or the trees of its entries.
    fn refs_mut(&mut self) -> Box<dyn Iterator<Item = &mut NodeRef> + '_> {
        match self {
            Self::Leaf(entries) => {
                Box::new(entries.iter_mut().filter_map(|(_, value)| T::tree_in_mut(value)))
            }
            Self::Inner(children) => Box::new(children.iter_mut().map(|child| &mut child.node)),
        }
    }

    /// Key and item at an index below `len()`.
    pub(in crate::format) fn item(&self, index: usize) -> (&T::Key, Item<'_, T>) {
        match self {
            Self::Leaf(entries) => (&entries[index].0, Item::Value(&entries[index].1)),
            Self::Inner(children) => {
                let child = &children[index];
                (&child.first, Item::Node(child.node))
            }
        }
    }
}

/// Why bytes are not the node that a reference means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeError {
    /// They are others.
    Damaged(Mismatch),
    /// They are these, and not what the format allows.
    Format(FormatError),
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(mismatch) => mismatch.fmt(f),
            Self::Format(error) => error.fmt(f),
        }
    }
}

impl Error for NodeError {}

impl From<FormatError> for NodeError {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

/// Bytes of the head of an array of fields.
const HEAD: [u8; 2] = [0x83, 0x84];
/// Bytes that no place is encoded to more of.
const PLACE_MAX_BYTES: usize = 72;

/// The node that `node` means, of the bytes that lie where it says. The hashes are compared first.
///
/// # Errors
/// They have other hashes, or are not the canonical form of such a node within bounds.
pub fn decode_node<T: TreeKind>(node: &NodeRef, bytes: &[u8]) -> Result<TreeNode<T>, NodeError> {
    let limit = NODE_SPLIT_BYTES + T::ENTRY_MAX_BYTES + NODE_MAX_ENTRIES * PLACE_MAX_BYTES;
    check_len::<T>(bytes, limit)?;
    if node.place.is_some_and(|place| !place.fits(bytes)) {
        let (expected, found) = (node.hash, Hash::of(bytes));
        return Err(NodeError::Damaged(Mismatch { expected, found }));
    }
    let found = node_hash(bytes);
    if found != node.hash {
        return Err(NodeError::Damaged(Mismatch { expected: node.hash, found }));
    }
    let home = node.place.map(|place| place.object);
    let mut r = Reader::new(T::RECORD, bytes);
    r.fields(4)?;
    let mut decoded = decode_items::<T>(node.level, &mut r)?;
    let count = r.array("places", decoded.len())?;
    let mut refs = decoded.refs_mut();
    for _ in 0..count {
        let Some(node) = refs.next() else { return Err(r.invalid("places").into()) };
        node.place = Some(NodePlace::decode(&mut r, home.as_ref())?);
    }
    if refs.next().is_some() {
        return Err(r.invalid("places").into());
    }
    drop(refs);
    r.end()?;
    if stored_form(node.level, &decoded, home.as_ref()) == bytes {
        Ok(decoded)
    } else {
        Err(FormatError::NotCanonical { record: T::RECORD }.into())
    }
}

/// The hash that names the node which is stored as these bytes; that of the bytes, if they are no
/// node.
#[must_use]
pub fn node_hash(bytes: &[u8]) -> Hash {
    match identity(bytes) {
        Some(end) => Hash::of_parts([&HEAD[..1], &bytes[1..end]]),
        None => Hash::of(bytes),
    }
}

/// Where the places of a stored node begin: before them stands what its hash is of.
fn identity(bytes: &[u8]) -> Option<usize> {
    let mut decoder = Decoder::new(bytes);
    if bytes.first() != HEAD.get(1) {
        return None;
    }
    decoder.array().ok()?;
    for _ in 0..3 {
        decoder.skip().ok()?;
    }
    Some(decoder.position())
}

/// The bytes of a node in the object `home`: the node, and where the nodes are that it names.
fn stored_form<T: TreeKind>(level: u8, node: &TreeNode<T>, home: Option<&ObjectName>) -> Vec<u8> {
    let refs: Vec<NodeRef> =
        (0..node.len()).filter_map(|index| node.item(index).1.node()).collect();
    let mut w = Writer::new();
    w.array(4);
    w.raw(&encode_node(level, node)[1..]);
    w.array(refs.len());
    for place in refs.iter().filter_map(|node| node.place) {
        place.encode(home, &mut w);
    }
    w.into_bytes()
}

fn check_len<T: TreeKind>(bytes: &[u8], limit: usize) -> Result<(), FormatError> {
    if bytes.len() <= limit {
        return Ok(());
    }
    let limit = limit as u64;
    Err(FormatError::TooLarge { record: T::RECORD, field: "node", limit })
}

/// The node that these bytes are, which say nothing of places, at a level.
pub(in crate::format) fn decode_bytes<T: TreeKind>(
    expected_level: u8,
    bytes: &[u8],
) -> Result<TreeNode<T>, FormatError> {
    check_len::<T>(bytes, NODE_SPLIT_BYTES + T::ENTRY_MAX_BYTES)?;
    let mut r = Reader::new(T::RECORD, bytes);
    r.fields(3)?;
    let node = decode_items(expected_level, &mut r)?;
    r.end()?;
    if encode_node(expected_level, &node) == bytes {
        Ok(node)
    } else {
        Err(FormatError::NotCanonical { record: T::RECORD })
    }
}

fn decode_items<T: TreeKind>(
    expected_level: u8,
    r: &mut Reader<'_>,
) -> Result<TreeNode<T>, FormatError> {
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
    match expected_level.checked_sub(1) {
        None => decode_leaf(r, len),
        Some(below) => decode_inner(r, len, below),
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
        r.fields(3)?;
        let first = T::decode_key(r)?;
        let hash = r.hash("hash")?;
        let node = NodeRef { hash, level: below, count: r.u64("count")?, place: None };
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

/// The canonical bytes of a node, places left out: its hash is theirs.
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
            w.array(3);
            T::encode_key(key, w);
            w.bytes(&node.hash.0);
            w.uint(node.count);
        }
    }
}
