//! All inodes in memory, and which of them changed.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use crate::conc::Shared;
use crate::format::{Body, Inode};
use crate::machine::names::node::{LinkName, Node, NodeBody, Record};
use crate::shapes::Name;
use crate::sync::Arc;
use crate::words::Ino;

/// All inodes in memory.
#[derive(Debug)]
pub(crate) struct Table {
    shared: Arc<Shared>,
    nodes: FxHashMap<Ino, Node>,
    /// Inodes changed since the last cut, and ones of a failed commit.
    pub(crate) changed: BTreeSet<Ino>,
    /// Inodes that a commit under way holds: they stay.
    pub(crate) held: BTreeSet<Ino>,
    pub(crate) next_ino: Ino,
    /// Inodes that have a name, the root left out.
    pub(crate) count: u64,
    /// What left the tree since the last cut.
    pub(crate) gone: Gone,
}

/// Inodes that lost their last name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gone {
    /// Those that the snapshot's link table holds.
    pub(crate) links: BTreeSet<Ino>,
    /// Bytes of files that the snapshot holds.
    pub(crate) bytes: u64,
}

impl Table {
    pub(crate) fn new(shared: Arc<Shared>, next_ino: Ino, count: u64) -> Self {
        let (nodes, changed, held) = (FxHashMap::default(), BTreeSet::new(), BTreeSet::new());
        let gone = Gone::default();
        Self { shared, nodes, changed, held, next_ino, count, gone }
    }

    pub(crate) fn get(&self, ino: Ino) -> Option<&Node> {
        self.nodes.get(&ino)
    }

    pub(crate) fn get_mut(&mut self, ino: Ino) -> Option<&mut Node> {
        self.nodes.get_mut(&ino)
    }

    /// A node that must be there: an ancestor, or one that a handle or a commit holds.
    pub(crate) fn node(&self, ino: Ino) -> &Node {
        self.nodes.get(&ino).expect("a held inode is in the table")
    }

    /// As [`Self::node`], to change it.
    pub(crate) fn node_mut(&mut self, ino: Ino) -> &mut Node {
        self.nodes.get_mut(&ino).expect("a held inode is in the table")
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// A new inode number.
    pub(crate) fn allocate(&mut self) -> Ino {
        let ino = self.next_ino;
        self.next_ino = ino.next();
        ino
    }

    /// Adds a node. Its names count as children of their parents where those are resident.
    pub(crate) fn add(&mut self, mut node: Node) {
        for name in &mut node.names {
            if name.pins
                && let Some(parent) = self.nodes.get_mut(&name.parent)
            {
                parent.children += 1;
            }
        }
        if let NodeBody::File(file) = &node.body {
            self.shared.files.insert(node.ino, Arc::clone(&file.file));
        }
        self.nodes.insert(node.ino, node);
    }

    /// Makes the inode that `name` stands for resident; its number.
    pub(crate) fn materialize(&mut self, parent: Ino, name: &Name) -> Option<Ino> {
        let listing = self.nodes.get(&parent)?.dir()?.dir.listing.as_ref()?;
        let slot = listing.get(name)?;
        let ino = slot.ino;
        if !self.nodes.contains_key(&ino) {
            let record: Record =
                slot.record.clone().expect("an inode that no snapshot holds is resident");
            let name = LinkName { parent, name: Arc::clone(name), pins: true };
            let shared = Arc::clone(&self.shared);
            self.add(Node::of_record(&record, name, &shared.limits));
        }
        Some(ino)
    }

    /// Gives an inode one more name.
    pub(crate) fn add_name(&mut self, ino: Ino, parent: Ino, name: &Name) {
        self.node_mut(parent).children += 1;
        let name = LinkName { parent, name: Arc::clone(name), pins: true };
        self.node_mut(ino).names.push(name);
    }

    /// Takes a name away from an inode.
    pub(crate) fn remove_name(&mut self, ino: Ino, parent: Ino, name: &Name) {
        let node = self.nodes.get_mut(&ino).expect("a held inode is in the table");
        let at = node.names.iter().position(|n| n.parent == parent && n.name == *name);
        let removed = node.names.swap_remove(at.expect("an inode knows all its names"));
        if node.names.is_empty() {
            self.count -= 1;
            match &node.base {
                Some(Record::Linked(linked)) => {
                    self.gone.links.insert(ino);
                    self.gone.bytes += size_of(&linked.inode);
                }
                Some(Record::Own(inode)) => self.gone.bytes += size_of(inode),
                None => {}
            }
        }
        if removed.pins {
            self.node_mut(parent).children -= 1;
        }
    }

    /// An inode with one name left stands in its directory again; its directory is in memory.
    pub(crate) fn unlink_from_table(&mut self, ino: Ino) {
        let node = self.nodes.get_mut(&ino).expect("a held inode is in the table");
        node.linked = false;
        if matches!(node.base, Some(Record::Linked(_))) {
            self.gone.links.insert(ino);
        }
        let Some(name) = node.names.first_mut() else { return };
        if !std::mem::replace(&mut name.pins, true) {
            let parent = name.parent;
            self.node_mut(parent).children += 1;
        }
    }

    /// Drops an inode that nothing refers to, then the ancestors that only it kept.
    pub(crate) fn release(&mut self, ino: Ino) {
        let mut next = vec![ino];
        while let Some(ino) = next.pop() {
            if !self.is_idle(ino) {
                continue;
            }
            let Some(node) = self.nodes.remove(&ino) else { continue };
            self.changed.remove(&ino);
            if let NodeBody::File(file) = &node.body {
                self.shared.files.remove(&ino);
                file.file.clear(self.shared.around());
            }
            for name in node.names.iter().filter(|name| name.pins) {
                if let Some(parent) = self.nodes.get_mut(&name.parent) {
                    parent.children -= 1;
                    next.push(name.parent);
                }
            }
        }
    }

    /// Whether nothing refers to the inode: no look-up, handle, child or commit, and it has either
    /// no name any more or nothing that the snapshot does not hold.
    fn is_idle(&self, ino: Ino) -> bool {
        let Some(node) = self.nodes.get(&ino) else { return false };
        ino != Ino::ROOT
            && node.lookups == 0
            && node.opens == 0
            && node.children == 0
            && !self.held.contains(&ino)
            && (node.names.is_empty() || !self.changed.contains(&ino))
    }
}

/// Bytes of content that a record speaks of.
pub(crate) fn size_of(inode: &Inode) -> u64 {
    match &inode.body {
        Body::File { size, .. } => *size,
        Body::Directory { .. }
        | Body::Symlink { .. }
        | Body::Fifo
        | Body::Socket
        | Body::CharDevice { .. }
        | Body::BlockDevice { .. } => 0,
    }
}
