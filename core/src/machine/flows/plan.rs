//! The cut: what a commit publishes, as it was at one instant. Files are sealed later, each before
//! its first change in the new epoch.

use std::collections::BTreeMap;

use super::engine::Engine;
use crate::conc::{File, FileAttr, Image};
use crate::format::{Body, Entry, Inode, Meta, NodeRef};
use crate::machine::names::{
    Gone, Layout, Node, NodeBody, Record, Slot, Table, What, XattrState, size_of, stored_mode,
};
use crate::shapes::{FileKind, Name};
use crate::sync::Arc;
use crate::words::Ino;

/// Everything that changed up to a cut, and the directories above it.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) inodes: BTreeMap<Ino, Planned>,
    pub(crate) gone: Gone,
    /// Inodes that lost their last name and are open still.
    pub(crate) nameless: Vec<Ino>,
    pub(crate) next_ino: Ino,
    pub(crate) count: u64,
}

/// One inode as it was at the cut.
#[derive(Debug)]
pub(crate) struct Planned {
    /// Whether it changed; else it is an ancestor of what did.
    pub(crate) changed: bool,
    pub(crate) attr: FileAttr,
    pub(crate) names: Vec<(Ino, Name)>,
    pub(crate) linked: bool,
    pub(crate) xattrs: XattrState,
    pub(crate) base: Option<Record>,
    pub(crate) body: PlannedBody,
}

#[derive(Debug)]
pub(crate) enum PlannedBody {
    File(PlannedFile),
    Dir(PlannedDir),
    Other(What),
}

#[derive(Debug)]
pub(crate) struct PlannedFile {
    file: Arc<File>,
    /// The layout at the seal.
    pub(crate) layout: Layout,
    /// What the file was at the cut; `None` until it is sealed.
    pub(crate) image: Option<Arc<Image>>,
    /// Where its content is stored now; `None` until it is.
    pub(crate) stored: Option<Layout>,
}

#[derive(Debug)]
pub(crate) struct PlannedDir {
    /// The tree of the base, then the one made of it.
    pub(crate) root: Option<NodeRef>,
    pub(crate) subdirs: u64,
    /// Names that changed, and what each stands for.
    pub(crate) touched: BTreeMap<Name, Option<(Ino, Option<Record>)>>,
    /// What the touched names stood for before, should the commit come to nothing.
    pub(crate) was: BTreeMap<Name, Option<Slot>>,
    /// Directories below that must be made first.
    pub(crate) waits_for: usize,
}

impl Plan {
    /// Seals a file, if the plan has it and it is not sealed yet.
    pub(crate) fn seal(&mut self, ino: Ino) {
        let Some(planned) = self.inodes.get_mut(&ino) else { return };
        let PlannedBody::File(planned_file) = &mut planned.body else { return };
        if planned_file.image.is_none() {
            let image = planned_file.file.seal();
            planned.attr = image.attr;
            planned_file.image = Some(Arc::new(image));
        }
    }

    /// The file of an inode, which must be one.
    pub(crate) fn file_mut(&mut self, ino: Ino) -> &mut PlannedFile {
        match self.inodes.get_mut(&ino).map(|planned| &mut planned.body) {
            Some(PlannedBody::File(file)) => file,
            Some(PlannedBody::Dir(_) | PlannedBody::Other(_)) | None => {
                unreachable!("inode {} is planned as a file", ino.0)
            }
        }
    }

    /// The directory of an inode, which must be one.
    pub(crate) fn dir_mut(&mut self, ino: Ino) -> &mut PlannedDir {
        match self.inodes.get_mut(&ino).map(|planned| &mut planned.body) {
            Some(PlannedBody::Dir(dir)) => dir,
            Some(PlannedBody::File(_) | PlannedBody::Other(_)) | None => {
                unreachable!("inode {} is planned as a directory", ino.0)
            }
        }
    }

    /// Files in the order of their paths, for packing.
    pub(crate) fn files_in_path_order(&self) -> Vec<Ino> {
        let mut files: Vec<(Vec<u8>, Ino)> = self
            .inodes
            .iter()
            .filter(|(_, planned)| matches!(planned.body, PlannedBody::File(_)))
            .map(|(ino, _)| (self.path(*ino), *ino))
            .collect();
        files.sort();
        files.into_iter().map(|(_, ino)| ino).collect()
    }

    /// The path of an inode by its first name, as far as the plan knows it.
    fn path(&self, ino: Ino) -> Vec<u8> {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut at = ino;
        while let Some((parent, name)) = self.inodes.get(&at).and_then(|p| p.names.first()) {
            names.push(name.as_ref());
            at = *parent;
        }
        names.reverse();
        names.join(&b'/')
    }

    /// What the new snapshot says of an inode.
    pub(crate) fn inode(&self, ino: Ino) -> Option<Inode> {
        let planned = self.inodes.get(&ino)?;
        let FileAttr { mode, uid, gid, mtime, ctime, .. } = planned.attr;
        let mode = planned.xattrs.map.as_ref().map_or(mode, |map| stored_mode(mode, map));
        let xattrs = planned.xattrs.record();
        let body = match &planned.body {
            PlannedBody::File(file) => {
                let stored = file.stored.clone()?;
                Body::File { size: stored.size, content: stored.content }
            }
            PlannedBody::Dir(dir) => Body::Directory { root: dir.root, subdirs: dir.subdirs },
            PlannedBody::Other(What::Symlink(target)) => {
                Body::Symlink { target: Arc::clone(target) }
            }
            PlannedBody::Other(What::Special { kind, rdev }) => special(*kind, *rdev),
        };
        Some(Inode { ino, meta: Meta { mode, uid, gid, mtime, ctime, xattrs }, body })
    }

    /// The directory entry of an inode: itself, or a link to the link table.
    pub(crate) fn entry(&self, ino: Ino) -> Option<Entry> {
        if self.inodes.get(&ino)?.linked {
            return Some(Entry::Link(ino));
        }
        self.inode(ino).map(Entry::Inode)
    }

    /// What changes in the tree of a directory.
    pub(crate) fn changes_of(&self, dir: Ino) -> BTreeMap<Name, Option<Entry>> {
        let Some(Planned { body: PlannedBody::Dir(planned), .. }) = self.inodes.get(&dir) else {
            return BTreeMap::new();
        };
        let resolve = |target: &Option<(Ino, Option<Record>)>| {
            let (ino, record) = target.as_ref()?;
            self.entry(*ino).or_else(|| match record.as_ref()? {
                Record::Own(inode) => Some(Entry::Inode(inode.as_ref().clone())),
                Record::Linked(_) => Some(Entry::Link(*ino)),
            })
        };
        planned.touched.iter().map(|(name, target)| (Arc::clone(name), resolve(target))).collect()
    }

    /// Bytes of all files, given those of the base: modulo 2^64, so that it does not matter how
    /// many there were in between.
    pub(crate) fn bytes(&self, base_bytes: u64) -> u64 {
        let mut bytes = base_bytes.wrapping_sub(self.gone.bytes);
        for (ino, planned) in self.inodes.iter().filter(|(_, planned)| planned.changed) {
            let before = planned.base.as_ref().map_or(0, |record| size_of(record.inode()));
            let after = self.inode(*ino).map_or(0, |inode| size_of(&inode));
            bytes = bytes.wrapping_sub(before).wrapping_add(after);
        }
        bytes
    }
}

fn special(kind: FileKind, rdev: u32) -> Body {
    match kind {
        FileKind::CharDevice => Body::CharDevice { rdev },
        FileKind::BlockDevice => Body::BlockDevice { rdev },
        FileKind::Socket => Body::Socket,
        FileKind::Fifo | FileKind::File | FileKind::Directory | FileKind::Symlink => Body::Fifo,
    }
}

impl Engine {
    /// Ends the epoch, and takes what changed in it.
    pub(crate) fn cut(&mut self) -> Plan {
        self.shared.cut();
        self.since.cut();
        let table = &mut self.table;
        let mut plan = Plan {
            gone: std::mem::take(&mut table.gone),
            next_ino: if seeded!(NextInoKept) { self.repo.next_ino() } else { table.next_ino },
            count: table.count,
            inodes: BTreeMap::new(),
            nameless: Vec::new(),
        };
        let changed = std::mem::take(&mut table.changed);
        for ino in &changed {
            let node = table.node(*ino);
            if !node.names.is_empty() || *ino == Ino::ROOT {
                plan.inodes.insert(*ino, planned(node, true));
            } else {
                plan.nameless.push(*ino);
            }
        }
        // The root is always made anew: a snapshot begins with it.
        let root = || planned(table.node(Ino::ROOT), false);
        plan.inodes.entry(Ino::ROOT).or_insert_with(root);
        let inos: Vec<Ino> = plan.inodes.keys().copied().collect();
        for ino in inos {
            add_ancestors(table, &mut plan, ino);
        }
        for (ino, planned) in &mut plan.inodes {
            if let PlannedBody::Dir(dir) = &mut planned.body {
                take_touched(table, *ino, dir);
            }
        }
        add_entries(&mut plan);
        table.held = plan.inodes.keys().copied().collect();
        for ino in changed {
            self.table.release(ino);
        }
        plan
    }
}

/// An inode as it is now, its file not sealed yet.
pub(super) fn planned(node: &Node, changed: bool) -> Planned {
    let body = match &node.body {
        NodeBody::File(file) => PlannedBody::File(PlannedFile {
            file: Arc::clone(&file.file),
            layout: file.layout.clone(),
            image: None,
            stored: None,
        }),
        NodeBody::Dir(dir) => PlannedBody::Dir(PlannedDir {
            root: dir.dir.root,
            subdirs: dir.dir.subdirs,
            touched: BTreeMap::new(),
            was: BTreeMap::new(),
            waits_for: 0,
        }),
        NodeBody::Other(other) => PlannedBody::Other(other.what.clone()),
    };
    Planned {
        changed,
        attr: node.file_attr(),
        names: node.names.iter().map(|n| (n.parent, Arc::clone(&n.name))).collect(),
        linked: node.linked,
        xattrs: node.xattrs.clone(),
        base: node.base.clone(),
        body,
    }
}

/// Directories whose entries change because `ino` does, up to the root. Of a linked inode only the
/// link table changes.
fn add_ancestors(table: &Table, plan: &mut Plan, ino: Ino) {
    let mut at = ino;
    while let Some(planned_node) = plan.inodes.get(&at) {
        if planned_node.linked {
            return;
        }
        let Some(parent) = planned_node.names.first().map(|(parent, _)| *parent) else { return };
        plan.inodes.entry(parent).or_insert_with(|| planned(table.node(parent), false));
        at = parent;
    }
}

fn take_touched(table: &mut Table, ino: Ino, planned: &mut PlannedDir) {
    let Some(dir) = table.node_mut(ino).dir_mut() else { return };
    planned.was = std::mem::take(&mut dir.dir.touched);
    for name in planned.was.keys() {
        let slot = dir.dir.listing.as_ref().and_then(|listing| listing.get(name));
        let target = slot.map(|slot| (slot.ino, slot.record.clone()));
        if seeded!(ForgetsRemovedName) && target.is_none() {
            continue;
        }
        planned.touched.insert(Arc::clone(name), target);
    }
}

/// Each planned inode is an entry that changes in its directory.
fn add_entries(plan: &mut Plan) {
    let mut entries: Vec<(Ino, Name, Ino, bool)> = Vec::new();
    for (ino, planned) in plan.inodes.iter().filter(|(_, planned)| !planned.linked) {
        let is_dir = matches!(planned.body, PlannedBody::Dir(_));
        let names = planned.names.iter();
        entries.extend(names.map(|(parent, name)| (*parent, Arc::clone(name), *ino, is_dir)));
    }
    for (parent, name, ino, is_dir) in entries {
        let dir = plan.dir_mut(parent);
        dir.touched.insert(name, Some((ino, None)));
        dir.waits_for += usize::from(is_dir);
    }
}
