//! One inode as the machine holds it.

use std::ops::Range;

use crate::conc::{Around, File, FileAttr};
use crate::format::{Body, Content, Inode, Linked, Meta, Piece, XattrMap, Xattrs};
use crate::machine::names::acl;
use crate::machine::names::ahead::Ahead;
use crate::machine::names::directory::Directory;
use crate::shapes::{Attr, FileKind, Name, Spans};
use crate::sync::Arc;
use crate::words::{Errno, Ino, Limits, Time};

/// What the snapshot says of an inode.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    /// It stands in its directory entry.
    Own(Arc<Inode>),
    /// It stands in the link table, with all its names.
    Linked(Arc<Linked>),
}

impl Record {
    pub(crate) fn inode(&self) -> &Inode {
        match self {
            Self::Own(inode) => inode,
            Self::Linked(linked) => &linked.inode,
        }
    }
}

/// One name of an inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinkName {
    pub(crate) parent: Ino,
    pub(crate) name: Name,
    /// Whether the parent was resident when the name was added, and counts this child.
    pub(crate) pins: bool,
}

/// An inode in memory: one that the kernel knows, one that is changed, or an ancestor of either.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) ino: Ino,
    /// Look-ups that the kernel has not given back.
    pub(crate) lookups: u64,
    /// Open handles and streams.
    pub(crate) opens: u32,
    /// Resident inodes that have a name in this directory.
    pub(crate) children: u32,
    /// Its names; none once it is unlinked. The root has none either.
    pub(crate) names: Vec<LinkName>,
    /// Whether it stands in the link table: once there, it stays until its last name is gone.
    pub(crate) linked: bool,
    pub(crate) xattrs: XattrState,
    pub(crate) body: NodeBody,
    /// What the last snapshot says of it; `None` when it is new.
    pub(crate) base: Option<Record>,
    /// Where that snapshot has it, if it stands in its directory: that stays in memory.
    pub(crate) home: Option<(Ino, Name)>,
}

/// Extended attributes: in memory, in the store, or both.
#[derive(Clone, Debug)]
pub(crate) struct XattrState {
    /// The values; `None` until they are loaded.
    pub(crate) map: Option<Arc<XattrMap>>,
    /// Where they are stored, if they are too long for the entry and unchanged since.
    pub(crate) stored: Option<Piece>,
}

/// The extended attribute that goes when content or owner changes, as Linux has it: what it allows
/// was granted to the program as it was.
pub(crate) const CAPABILITY: &[u8] = b"security.capability";

impl XattrState {
    /// Whether there may be a capability; for certain once the values are in memory.
    pub(crate) fn may_have_capability(&self) -> bool {
        self.map.as_ref().map_or(self.stored.is_some(), |map| map.contains_key(CAPABILITY))
    }

    /// Values that are in memory only.
    pub(crate) fn unstored(map: XattrMap) -> Self {
        Self { map: Some(Arc::new(map)), stored: None }
    }

    pub(super) fn of(xattrs: &Xattrs) -> Self {
        match xattrs {
            Xattrs::Inline(map) => Self::unstored(map.clone()),
            Xattrs::Stored(piece) => Self { map: None, stored: Some(piece.clone()) },
        }
    }

    /// What an inode's record says of them.
    pub(crate) fn record(&self) -> Xattrs {
        match (&self.stored, &self.map) {
            (Some(piece), _) => Xattrs::Stored(piece.clone()),
            (None, Some(map)) => Xattrs::Inline(map.as_ref().clone()),
            (None, None) => Xattrs::default(),
        }
    }
}

#[derive(Debug)]
pub(crate) enum NodeBody {
    File(FileNode),
    Dir(DirNode),
    Other(OtherNode),
}

#[derive(Debug)]
pub(crate) struct FileNode {
    pub(crate) file: Arc<File>,
    /// Where the bytes are that memory does not hold.
    pub(crate) layout: Layout,
    /// How far reading in order has come.
    pub(crate) ahead: Ahead,
}

#[derive(Debug)]
pub(crate) struct DirNode {
    pub(crate) attr: FileAttr,
    pub(crate) dir: Directory,
}

#[derive(Debug)]
pub(crate) struct OtherNode {
    pub(crate) attr: FileAttr,
    pub(crate) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Symlink(Arc<[u8]>),
    Special { kind: FileKind, rdev: u32 },
}

/// The stored content of a file: immutable, replaced whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) size: u64,
    pub(crate) content: Content,
}

impl Layout {
    pub(crate) fn empty() -> Self {
        Self { size: 0, content: Content::Pieces(Vec::new()) }
    }

    /// Ranges that are known to be holes.
    pub(crate) fn holes(&self) -> Vec<Range<u64>> {
        self.listed(|piece| matches!(piece, Piece::Hole { .. }))
    }

    /// Ranges of the pieces of data that are known.
    pub(crate) fn data(&self) -> Vec<Range<u64>> {
        self.listed(|piece| matches!(piece, Piece::Data { .. }))
    }

    fn listed(&self, wanted: impl Fn(&Piece) -> bool) -> Vec<Range<u64>> {
        let Content::Pieces(pieces) = &self.content else { return Vec::new() };
        let mut at = 0;
        let mut ranges = Vec::new();
        for piece in pieces {
            let end = at + piece.len_bytes();
            if wanted(piece) {
                ranges.push(at..end);
            }
            at = end;
        }
        ranges
    }

    pub(super) fn cover(&self) -> Spans {
        let mut cover = Spans::below(self.size);
        self.holes().into_iter().for_each(|hole| cover.remove(hole));
        cover
    }
}

impl Node {
    /// The node of an inode that the snapshot holds.
    pub(crate) fn of_record(record: &Record, name: LinkName, limits: &Limits) -> Self {
        let inode = record.inode();
        let (names, linked, home) = match record {
            Record::Own(_) => {
                let home = (name.parent, Arc::clone(&name.name));
                (vec![name], false, Some(home))
            }
            Record::Linked(linked) => (names_of(linked, &name), true, None),
        };
        let links = u32::try_from(names.len()).unwrap_or(u32::MAX);
        let attr = attr_of(&inode.meta, links);
        let body = match &inode.body {
            Body::File { size, content } => {
                let layout = Layout { size: *size, content: content.clone() };
                let (cover, block_bytes) = (layout.cover(), limits.block_bytes);
                let file = Arc::new(File::new(inode.ino, attr, *size, cover, block_bytes));
                NodeBody::File(FileNode { file, layout, ahead: Ahead::default() })
            }
            Body::Directory { root, subdirs } => {
                let dir = Directory::stored(*root, *subdirs);
                NodeBody::Dir(DirNode { attr, dir })
            }
            Body::Symlink { target } => other(attr, What::Symlink(Arc::clone(target))),
            Body::Fifo => special(attr, FileKind::Fifo, 0),
            Body::Socket => special(attr, FileKind::Socket, 0),
            Body::CharDevice { rdev } => special(attr, FileKind::CharDevice, *rdev),
            Body::BlockDevice { rdev } => special(attr, FileKind::BlockDevice, *rdev),
        };
        let mut node = Self::fresh(inode.ino, names, body);
        (node.linked, node.base, node.home) = (linked, Some(record.clone()), home);
        node.set_xattrs(XattrState::of(&inode.meta.xattrs));
        node
    }

    /// A node that no snapshot holds.
    pub(crate) fn fresh(ino: Ino, names: Vec<LinkName>, body: NodeBody) -> Self {
        Self {
            ino,
            lookups: 0,
            opens: 0,
            children: 0,
            names,
            linked: false,
            xattrs: XattrState::unstored(XattrMap::new()),
            body,
            base: None,
            home: None,
        }
    }

    pub(crate) fn kind(&self) -> FileKind {
        match &self.body {
            NodeBody::File(_) => FileKind::File,
            NodeBody::Dir(_) => FileKind::Directory,
            NodeBody::Other(other) => match &other.what {
                What::Symlink(_) => FileKind::Symlink,
                What::Special { kind, .. } => *kind,
            },
        }
    }

    pub(crate) fn dir(&self) -> Option<&DirNode> {
        if let NodeBody::Dir(dir) = &self.body { Some(dir) } else { None }
    }

    pub(crate) fn dir_mut(&mut self) -> Option<&mut DirNode> {
        if let NodeBody::Dir(dir) = &mut self.body { Some(dir) } else { None }
    }

    pub(crate) fn file(&self) -> Option<&FileNode> {
        if let NodeBody::File(file) = &self.body { Some(file) } else { None }
    }

    pub(crate) fn file_mut(&mut self) -> Option<&mut FileNode> {
        if let NodeBody::File(file) = &mut self.body { Some(file) } else { None }
    }

    /// Everything `stat` shows.
    pub(crate) fn attr(&self) -> Attr {
        let (attr, links, size, rdev) = match &self.body {
            NodeBody::File(node) => return node.file.stat(),
            NodeBody::Dir(node) => {
                let subdirs = u32::try_from(node.dir.subdirs).unwrap_or(u32::MAX);
                (node.attr, subdirs.saturating_add(2), DIRECTORY_BYTES, 0)
            }
            NodeBody::Other(OtherNode { attr, what: What::Symlink(target) }) => {
                (*attr, attr.links, target.len() as u64, 0)
            }
            NodeBody::Other(OtherNode { attr, what: What::Special { rdev, .. } }) => {
                (*attr, attr.links, 0, *rdev)
            }
        };
        let unlinked_dir = self.names.is_empty() && self.ino != Ino::ROOT && self.dir().is_some();
        Attr {
            ino: self.ino,
            kind: self.kind(),
            mode: attr.mode,
            links: if unlinked_dir { 0 } else { links },
            uid: attr.uid,
            gid: attr.gid,
            rdev,
            size,
            allocated: 0,
            mtime: attr.mtime,
            ctime: attr.ctime,
        }
    }

    /// Changes extended attributes, or what is known of them.
    pub(crate) fn set_xattrs(&mut self, xattrs: XattrState) {
        if let NodeBody::File(node) = &self.body {
            node.file.guard(xattrs.may_have_capability());
        }
        self.xattrs = xattrs;
    }

    /// Takes the capability away, if there is one. The inode must be registered as changed, and
    /// its extended attributes in memory.
    pub(crate) fn drop_capability(&mut self) {
        self.drop_xattr(CAPABILITY);
    }

    /// Takes the access control list away, on the same conditions.
    pub(crate) fn drop_acl(&mut self) {
        self.drop_xattr(acl::ACCESS);
    }

    fn drop_xattr(&mut self, name: &[u8]) {
        if let Some(map) = self.xattrs.map.as_ref().filter(|map| map.contains_key(name)) {
            let mut map = map.as_ref().clone();
            map.remove(name);
            self.set_xattrs(XattrState::unstored(map));
        }
    }

    /// Changes attributes; what `stat` shows after that, whatever threads do to a file meanwhile.
    /// The inode must be registered as changed.
    pub(crate) fn edit_attr(&mut self, f: impl FnOnce(&mut FileAttr)) -> Attr {
        match &mut self.body {
            NodeBody::File(node) => return node.file.set_attr(f),
            NodeBody::Dir(node) => f(&mut node.attr),
            NodeBody::Other(node) => f(&mut node.attr),
        }
        self.attr()
    }

    /// The same, with the size of a file, in one step.
    pub(crate) fn edit(
        &mut self,
        around: Around<'_>,
        wall: Time,
        size: Option<u64>,
        f: impl FnOnce(&mut FileAttr),
    ) -> Result<Attr, Errno> {
        match (&self.body, size) {
            (NodeBody::File(node), Some(size)) => node.file.resize_and_set(around, wall, size, f),
            (NodeBody::File(_) | NodeBody::Dir(_) | NodeBody::Other(_), _) => Ok(self.edit_attr(f)),
        }
    }

    /// The attributes that a snapshot holds.
    pub(crate) fn file_attr(&self) -> FileAttr {
        match &self.body {
            NodeBody::File(node) => node.file.attr(),
            NodeBody::Dir(node) => node.attr,
            NodeBody::Other(node) => node.attr,
        }
    }
}

/// The size that a directory shows: one page, whatever it holds.
const DIRECTORY_BYTES: u64 = 4096;

/// All names of a linked inode; only the one it was found by counts as a child.
fn names_of(linked: &Linked, found: &LinkName) -> Vec<LinkName> {
    let is_found = |name: &LinkName| name.parent == found.parent && name.name == found.name;
    let all = linked.names.iter().map(|(parent, name)| LinkName {
        parent: *parent,
        name: Arc::clone(name),
        pins: false,
    });
    all.map(|name| if is_found(&name) { found.clone() } else { name }).collect()
}

pub(super) fn attr_of(meta: &Meta, links: u32) -> FileAttr {
    let Meta { uid, gid, mtime, ctime, .. } = meta;
    FileAttr { mode: shown_mode(meta), links, uid: *uid, gid: *gid, mtime: *mtime, ctime: *ctime }
}

/// The mode that is shown of what a snapshot holds. An access control list is looked at where the
/// entry has room for it: with more than 4 KiB of other attributes beside it, it is not.
pub(crate) fn shown_mode(meta: &Meta) -> u32 {
    match &meta.xattrs {
        Xattrs::Inline(map) => acl::shown(meta.mode, map),
        Xattrs::Stored(_) => meta.mode,
    }
}

fn other(attr: FileAttr, what: What) -> NodeBody {
    NodeBody::Other(OtherNode { attr, what })
}

fn special(attr: FileAttr, kind: FileKind, rdev: u32) -> NodeBody {
    other(attr, What::Special { kind, rdev })
}
