//! The tree of inodes that the model is made of: a plain value.

use std::collections::BTreeMap;

use super::content::Content;
use crate::shapes::{Attr, FileKind, Name};
use crate::sync::Arc;
use crate::words::{Errno, Ino, Time};

/// Longest file name in bytes.
pub const NAME_MAX: usize = 255;

/// The size that every directory shows.
pub const DIRECTORY_BYTES: u64 = 4096;

/// An inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Permission bits with set-id and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names; for a directory 2 + its subdirectories, 0 once it is removed.
    pub links: u32,
    /// When the content last changed.
    pub mtime: Time,
    /// When content or attributes last changed.
    pub ctime: Time,
    /// Extended attributes.
    pub xattrs: BTreeMap<Name, Arc<[u8]>>,
    /// What it is.
    pub body: Body,
}

/// What an inode is, with what only this kind has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A regular file.
    File(Content),
    /// A directory: its entries, and the directory that holds it (itself for the root).
    Directory {
        /// Names and what they name.
        entries: BTreeMap<Name, Ino>,
        /// What `..` names.
        parent: Ino,
    },
    /// A symbolic link and its target.
    Symlink(Arc<[u8]>),
    /// A fifo, socket or device, and its device number (0 but for devices).
    Special(FileKind, u32),
}

impl Node {
    /// Kind of inode.
    #[must_use]
    pub fn kind(&self) -> FileKind {
        match &self.body {
            Body::File(_) => FileKind::File,
            Body::Directory { .. } => FileKind::Directory,
            Body::Symlink(_) => FileKind::Symlink,
            Body::Special(kind, _) => *kind,
        }
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        matches!(self.body, Body::Directory { .. })
    }

    /// The same after its last name is gone.
    pub(super) fn without_names(mut self) -> Self {
        self.links = 0;
        if let Body::Directory { entries, .. } = &mut self.body {
            entries.clear();
        }
        self
    }

    /// What `stat` shows.
    #[must_use]
    pub fn attr(&self, ino: Ino) -> Attr {
        let (size, allocated, rdev) = match &self.body {
            Body::File(content) => (content.size(), content.data_len(), 0),
            Body::Directory { .. } => (DIRECTORY_BYTES, 0, 0),
            Body::Symlink(target) => (target.len() as u64, 0, 0),
            Body::Special(_, rdev) => (0, 0, *rdev),
        };
        Attr {
            ino,
            kind: self.kind(),
            mode: self.mode,
            links: self.links,
            uid: self.uid,
            gid: self.gid,
            rdev,
            size,
            allocated,
            mtime: self.mtime,
            ctime: self.ctime,
        }
    }

    /// Content and attributes changed.
    pub fn modified(&mut self, now: Time) {
        self.mtime = now;
        self.ctime = now;
    }

    /// The capability goes, as it does with every change of content or owner.
    pub fn drop_capability(&mut self) {
        self.xattrs.remove(&b"security.capability"[..]);
    }

    /// Set-id bits go: set-uid always, set-gid when the group may execute (without that it means
    /// mandatory locking).
    pub fn drop_set_id(&mut self) {
        self.mode &= !0o4000;
        if self.mode & 0o010 != 0 {
            self.mode &= !0o2000;
        }
    }
}

/// Every inode by number. What it shows is what a snapshot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    pub(super) nodes: BTreeMap<Ino, Node>,
    pub(super) next: Ino,
}

impl Tree {
    /// A tree of nothing but a root directory.
    #[must_use]
    pub fn empty(mode: u32, uid: u32, gid: u32, now: Time) -> Self {
        let body = Body::Directory { entries: BTreeMap::new(), parent: Ino::ROOT };
        let xattrs = BTreeMap::new();
        let root = Node { mode, uid, gid, links: 2, mtime: now, ctime: now, xattrs, body };
        Self { nodes: BTreeMap::from([(Ino::ROOT, root)]), next: Ino::ROOT.next() }
    }

    /// The inode of this number, if there is one.
    #[must_use]
    pub fn get(&self, ino: Ino) -> Option<&Node> {
        self.nodes.get(&ino)
    }

    /// All inodes, by number.
    pub fn iter(&self) -> impl Iterator<Item = (Ino, &Node)> {
        self.nodes.iter().map(|(&ino, node)| (ino, node))
    }

    /// Entries of a directory; none for what is not one.
    pub fn entries(&self, ino: Ino) -> impl Iterator<Item = (&Name, Ino)> {
        let entries = match self.nodes.get(&ino).map(|node| &node.body) {
            Some(Body::Directory { entries, .. }) => Some(entries),
            Some(Body::File(_) | Body::Symlink(_) | Body::Special(..)) | None => None,
        };
        entries.into_iter().flatten().map(|(name, &child)| (name, child))
    }

    /// Whether both show the same under the same numbers, holes and zeros being alike.
    #[must_use]
    pub fn shows_like(&self, other: &Self) -> bool {
        self.nodes.len() == other.nodes.len()
            && self.nodes.iter().zip(&other.nodes).all(|((ino, node), (other_ino, other))| {
                let alike = match (&node.body, &other.body) {
                    (Body::File(a), Body::File(b)) => a.reads_like(b),
                    (a, b) => a == b,
                };
                let a = Attr { allocated: 0, ..node.attr(*ino) };
                let b = Attr { allocated: 0, ..other.attr(*other_ino) };
                alike && a == b && node.xattrs == other.xattrs
            })
    }

    pub(super) fn node(&self, ino: Ino) -> Result<&Node, Errno> {
        self.nodes.get(&ino).ok_or(Errno::Stale)
    }

    pub(super) fn node_mut(&mut self, ino: Ino) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&ino).ok_or(Errno::Stale)
    }

    /// What `name` names in the directory `parent`. All that a path walk may refuse is refused
    /// here: no directory, and a name that is too long or can't be one.
    pub(super) fn look(&self, parent: Ino, name: &[u8]) -> Result<Option<Ino>, Errno> {
        let Body::Directory { entries, .. } = &self.node(parent)?.body else {
            return Err(Errno::NotDir);
        };
        if name.len() > NAME_MAX {
            return Err(Errno::NameTooLong);
        }
        if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') {
            return Err(Errno::Inval);
        }
        if name.contains(&0) { Err(Errno::Inval) } else { Ok(entries.get(name).copied()) }
    }

    /// What `name` names, which must exist.
    pub(super) fn find(&self, parent: Ino, name: &[u8]) -> Result<Ino, Errno> {
        self.look(parent, name)?.ok_or(Errno::NoEnt)
    }

    /// Refuses unless `name` is free and `parent` still has a name itself.
    pub(super) fn vacant(&self, parent: Ino, name: &[u8]) -> Result<(), Errno> {
        let node = self.node(parent)?;
        if node.is_directory() && node.links == 0 {
            return Err(Errno::NoEnt);
        }
        if self.look(parent, name)?.is_some() { Err(Errno::Exist) } else { Ok(()) }
    }

    /// Makes `name` name `ino` and answers what it named before. Counts the subdirectories of
    /// `parent` and turns `..` of a directory; links of `ino` are the caller's.
    pub(super) fn bind(&mut self, now: Time, parent: Ino, name: &Name, ino: Ino) -> Option<Ino> {
        let old = self.unbind(now, parent, name);
        let mut subdirectory = false;
        if let Some(Node { body: Body::Directory { parent: up, .. }, .. }) =
            self.nodes.get_mut(&ino)
        {
            *up = parent;
            subdirectory = true;
        }
        if let Some(node) = self.nodes.get_mut(&parent) {
            node.modified(now);
            node.links += u32::from(subdirectory);
            if let Body::Directory { entries, .. } = &mut node.body {
                entries.insert(name.clone(), ino);
            }
        }
        old
    }

    /// Takes `name` away and answers what it named.
    pub(super) fn unbind(&mut self, now: Time, parent: Ino, name: &[u8]) -> Option<Ino> {
        let node = self.nodes.get_mut(&parent)?;
        let Body::Directory { entries, .. } = &mut node.body else { return None };
        let old = entries.remove(name)?;
        node.modified(now);
        if self.nodes.get(&old).is_some_and(Node::is_directory)
            && let Some(node) = self.nodes.get_mut(&parent)
        {
            node.links -= 1;
        }
        Some(old)
    }

    /// One name of `ino` less; a directory loses all its links at once.
    pub(super) fn drop_name(&mut self, now: Time, ino: Ino) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.ctime = now;
            node.links = if node.is_directory() { 0 } else { node.links - 1 };
        }
    }

    /// Whether `inner` is `outer` or lies below it.
    pub(super) fn is_below(&self, inner: Ino, outer: Ino) -> bool {
        let mut at = inner;
        loop {
            if at == outer {
                return true;
            }
            match self.nodes.get(&at).map(|node| &node.body) {
                Some(Body::Directory { parent, .. }) if *parent != at => at = *parent,
                Some(_) | None => return false,
            }
        }
    }
}
