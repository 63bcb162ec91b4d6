//! Changing a tree: only the nodes on the paths of the changes are read and made.

use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHashSet};

use super::build::{Made, Split, Splitter, grow};
use super::find::{Locate, Located, Tree};
use super::node::Item;
use super::{Built, Child, Nodes, TreeKind, TreeNode, UpdateError};
use crate::format::{FormatError, Hash, NodeDraft, NodeRef};

/// The tree that has these changes made: each key set to a value, or removed.
///
/// The outcome is the tree that [`build`](super::build) makes of the resulting entries, byte for
/// byte, and those of its nodes that the old tree does not have.
///
/// # Errors
/// Nodes are not loaded (all that can be named now are), one is damaged, or a change would make one
/// that the format does not allow.
pub fn update<T: TreeKind>(
    root: Option<&NodeRef>,
    changes: &BTreeMap<T::Key, Option<T::Value>>,
    nodes: &Nodes<'_, T>,
) -> Result<Built, UpdateError> {
    update_with(&Split::FORMAT, root, changes, nodes)
}

pub(in crate::format) fn update_with<T: TreeKind>(
    split: &Split,
    root: Option<&NodeRef>,
    changes: &BTreeMap<T::Key, Option<T::Value>>,
    nodes: &Nodes<'_, T>,
) -> Result<Built, UpdateError> {
    let Some(root) = root else {
        let set = changes.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
        return Ok(super::build::build_with::<T>(split, set)?);
    };
    let mut update = Update::<T> {
        split,
        tree: Tree::new(root, nodes),
        made: Vec::new(),
        only_child: FxHashMap::default(),
    };
    let values = changes.iter().map(|(key, value)| (key, value.as_ref().map(Item::Value)));
    let mut edits = update.level(0, values)?;
    for level in 1..=root.level {
        let nodes = edits.iter().map(|(key, node)| (key, node.map(Item::Node)));
        edits = update.level(level, nodes)?;
    }
    if edits.is_empty() {
        return Ok(Built { root: Some(*root), nodes: Vec::new() });
    }
    // The old root was the only node of its level: it, if it stays, and what is set now are all.
    if let Some(first) = update.tree.load(root).and_then(|node| node.first_key().cloned()) {
        edits.entry(first).or_insert(Some(*root));
    }
    let top = edits.into_iter().filter_map(|(first, node)| Some(Child { first, node: node? }));
    update.finish(top.collect())
}

struct Update<'a, T: TreeKind> {
    split: &'a Split,
    tree: Tree<'a, T>,
    /// New nodes, each with its level.
    made: Vec<(u8, NodeDraft)>,
    /// Of each new node the child, if it has only one.
    only_child: FxHashMap<Hash, Option<NodeRef>>,
}

/// A change of one item of a level: what it is set to, or that it goes.
type Change<'i, T> = (&'i <T as TreeKind>::Key, Option<Item<'i, T>>);

/// What changes on a level: by first key, nodes that come (or stay, but changed) and go.
type Edits<T> = BTreeMap<<T as TreeKind>::Key, Option<NodeRef>>;

impl<T: TreeKind> Update<'_, T> {
    /// Applies changes to the items of one level; answers what that changes on the level above.
    fn level<'i>(
        &mut self,
        level: u8,
        changes: impl Iterator<Item = Change<'i, T>>,
    ) -> Result<Edits<T>, UpdateError> {
        let changes: Vec<_> = changes.collect();
        let mut changes = &changes[..];
        let mut edits = Edits::<T>::new();
        while let Some((key, _)) = changes.first() {
            match self.tree.locate(level, Some(key))? {
                Locate::Found(at) => changes = self.run(at, changes, &mut edits)?,
                Locate::Missing { upper } => changes = split_before::<T>(changes, upper.as_ref()).1,
            }
        }
        self.tree.complete()?;
        Ok(edits)
    }

    /// Splits again from a node with a change on, until a new node ends where an old one did: from
    /// there on nothing changes before the next change.
    fn run<'c, 'i>(
        &mut self,
        mut at: Located<T>,
        mut changes: &'c [Change<'i, T>],
        edits: &mut Edits<T>,
    ) -> Result<&'c [Change<'i, T>], UpdateError> {
        let level = at.node_ref.level;
        let mut splitter = Splitter::new(self.split, level);
        let mut old = FxHashSet::default();
        let upper = loop {
            let (here, later) = split_before::<T>(changes, at.upper.as_ref());
            changes = later;
            merge(&at.node, here, &mut splitter)?;
            old.insert(at.node_ref.hash);
            edits.insert(at.first, None);
            let Some(upper) = at.upper else { break None };
            if splitter.at_boundary() {
                break Some(upper);
            }
            match self.tree.locate(level, Some(&upper))? {
                Locate::Found(next) => at = next,
                Locate::Missing { upper } => {
                    return Ok(split_before::<T>(changes, upper.as_ref()).1);
                }
            }
        };
        for Made { first, node, draft, only_child } in splitter.finish(upper.as_ref())? {
            if old.contains(&node.hash) {
                edits.remove(&first);
                continue;
            }
            self.only_child.insert(node.hash, only_child);
            self.made.push((level, draft));
            edits.insert(first, Some(node));
        }
        Ok(changes)
    }

    /// Grows or shrinks the tree until its root is the lowest node that stands above everything.
    fn finish(mut self, top: Vec<Child<T>>) -> Result<Built, UpdateError> {
        let mut above = Vec::new();
        let Some(top) = grow(self.split, top, &mut above)? else {
            return Ok(Built { root: None, nodes: Vec::new() });
        };
        let mut root = top.node;
        // A node that grew on top has several children.
        while root.level > 0 && above.is_empty() {
            let only_child = match self.only_child.get(&root.hash) {
                Some(child) => *child,
                None => self.only_child_of_old(&root)?,
            };
            match only_child {
                Some(child) => root = child,
                None => break,
            }
        }
        root.check()?;
        let made = self.made.into_iter().filter(|(level, _)| *level <= root.level);
        let nodes = made.map(|(_, draft)| draft).chain(above).collect();
        Ok(Built { root: Some(root), nodes })
    }

    fn only_child_of_old(&mut self, node_ref: &NodeRef) -> Result<Option<NodeRef>, UpdateError> {
        let Some(node) = self.tree.load(node_ref) else {
            self.tree.complete()?;
            return Ok(None);
        };
        node.check_place(node_ref, None, None)?;
        match &*node {
            TreeNode::Inner(children) => match children.as_slice() {
                [child] => Ok(Some(child.node)),
                _ => Ok(None),
            },
            TreeNode::Leaf(_) => Ok(None),
        }
    }
}

/// The changes before a key (all, if none), and the others.
fn split_before<'c, 'i, T: TreeKind>(
    changes: &'c [Change<'i, T>],
    upper: Option<&T::Key>,
) -> (&'c [Change<'i, T>], &'c [Change<'i, T>]) {
    let end = upper.map_or(changes.len(), |upper| changes.partition_point(|(key, _)| *key < upper));
    changes.split_at(end)
}

/// Pushes the items of a node with the changes made.
fn merge<T: TreeKind>(
    node: &TreeNode<T>,
    changes: &[Change<'_, T>],
    splitter: &mut Splitter<'_, T>,
) -> Result<(), FormatError> {
    let mut changes = changes.iter().peekable();
    let mut push = |key: &T::Key, item: &Option<Item<'_, T>>| match item {
        Some(item) => splitter.push(key, item),
        None => Ok(()),
    };
    for index in 0..node.len() {
        let (key, item) = node.item(index);
        while let Some((changed, to)) = changes.next_if(|(changed, _)| *changed < key) {
            push(changed, to)?;
        }
        match changes.next_if(|(changed, _)| *changed == key) {
            Some((_, to)) => push(key, to)?,
            None => push(key, &Some(item))?,
        }
    }
    for (changed, to) in changes {
        push(changed, to)?;
    }
    Ok(())
}
