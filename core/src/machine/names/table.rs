//! All inodes in memory, and which of them changed.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use crate::conc::Shared;
use crate::format::{Body, Inode};
use crate::machine::names::node::{LinkName, Node, NodeBody, Record};
use crate::shapes::Name;
use crate::sync::Arc;
use crate::words::Ino;

/// The largest inode number: no inode has it, so that there is always a next one.
const INO_LAST: Ino = Ino(i64::MAX as u64);

/// An inode number that stands for several inodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Twice(pub(crate) Ino);

/// All inodes in memory.
#[derive(Debug)]
pub(crate) struct Table {
    pub(super) shared: Arc<Shared>,
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

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// A new inode number, unless all are used up.
    pub(crate) fn allocate(&mut self) -> Option<Ino> {
        let ino = self.next_ino;
        (ino < INO_LAST).then(|| {
            self.next_ino = ino.next();
            ino
        })
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
        if let Some(home) = &node.home {
            self.pin(home.0);
        }
        if let NodeBody::File(file) = &node.body {
            self.shared.files.insert(node.ino, Arc::clone(&file.file));
        }
        self.nodes.insert(node.ino, node);
    }

    /// A directory stays in memory as long as an inode that the last snapshot has in it does.
    fn pin(&mut self, home: Ino) {
        self.node_mut(home).children += 1;
    }

    /// Makes the inode that `name` stands for resident; its number, or none when there is no such
    /// name. A damaged snapshot may give one number to several inodes.
    pub(crate) fn materialize(&mut self, parent: Ino, name: &Name) -> Result<Option<Ino>, Twice> {
        let listing = self.nodes.get(&parent).and_then(Node::dir).map(|dir| &dir.dir.listing);
        let listing = listing.and_then(Option::as_ref);
        let Some(slot) = listing.and_then(|listing| listing.get(name)) else { return Ok(None) };
        let ino = slot.ino;
        if let Some(node) = self.nodes.get(&ino) {
            let stands = node.names.iter().any(|n| n.parent == parent && n.name == *name);
            return if stands { Ok(Some(ino)) } else { Err(Twice(ino)) };
        }
        let record = slot.record.clone().expect("an inode that no snapshot holds is resident");
        let name = LinkName { parent, name: Arc::clone(name), pins: true };
        let shared = Arc::clone(&self.shared);
        self.add(Node::of_record(&record, name, &shared.limits));
        Ok(Some(ino))
    }

    /// The snapshot that was just made says `record` of an inode, which has it at `home` unless it
    /// stands in the link table; nothing if it does not know it. What became of the inode since
    /// the cut is a difference from that, no more from the snapshot before.
    pub(crate) fn rebase(&mut self, ino: Ino, record: Record, home: Option<(Ino, Name)>) {
        self.set_home(ino, home);
        let node = self.nodes.get_mut(&ino).expect("a held inode is in the table");
        let is_gone = node.names.is_empty() && ino != Ino::ROOT;
        if is_gone {
            let before = node.base.as_ref().map_or(0, |base| size_of(base.inode()));
            let bytes = self.gone.bytes.wrapping_sub(before);
            self.gone.bytes = bytes.wrapping_add(size_of(record.inode()));
        }
        match record {
            Record::Linked(_) if is_gone || !node.linked => self.gone.links.insert(ino),
            Record::Linked(_) | Record::Own(_) => self.gone.links.remove(&ino),
        };
        node.base = Some(record);
    }

    /// The snapshot that was just made does not know an inode.
    pub(crate) fn forget_base(&mut self, ino: Ino) {
        if self.nodes.contains_key(&ino) {
            self.set_home(ino, None);
            self.node_mut(ino).base = None;
        }
    }

    fn set_home(&mut self, ino: Ino, home: Option<(Ino, Name)>) {
        if let Some(home) = &home {
            self.pin(home.0);
        }
        if let Some((old, _)) = std::mem::replace(&mut self.node_mut(ino).home, home) {
            self.node_mut(old).children -= 1;
            self.release(old);
        }
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
            // What the snapshot says of their number is a claim.
            self.count = self.count.saturating_sub(1);
            if let Some(base) = &node.base {
                self.gone.bytes = self.gone.bytes.wrapping_add(size_of(base.inode()));
            }
            if let Some(Record::Linked(_)) = &node.base {
                self.gone.links.insert(ino);
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

    /// The kernel knows no inode any more but the root.
    pub(crate) fn forget_all(&mut self) {
        let mut known: Vec<Ino> =
            self.nodes.keys().copied().filter(|ino| *ino != Ino::ROOT).collect();
        known.sort_unstable();
        for ino in known {
            if let Some(node) = self.nodes.get_mut(&ino) {
                node.lookups = 0;
                self.release(ino);
            }
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
            let names = node.names.iter().filter(|name| name.pins).map(|name| name.parent);
            for parent in names.chain(node.home.iter().map(|home| home.0)) {
                if let Some(node) = self.nodes.get_mut(&parent) {
                    node.children -= 1;
                    next.push(parent);
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
            && (node.opens == 0 || seeded!(FreesOpenFile))
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
