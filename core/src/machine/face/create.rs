//! New names: files, directories, links.

use super::attributes::check_name;
use super::machine::Machine;
use crate::conc::{File, FileAttr};
use crate::format::bounds;
use crate::machine::flows::{Cx, Stop};
use crate::machine::names::{
    Ahead, DirNode, Directory, FileNode, Layout, LinkName, Node, NodeBody, OtherNode, Slot, What,
};
use crate::shapes::{Caller, FileKind, Name, OpenFlags, Reply, Spans};
use crate::sync::Arc;
use crate::words::{Errno, Ino, Time};

const SET_GID: u32 = 0o2000;
const MODE_BITS: u32 = 0o7777;

/// What is to be made.
pub(super) enum New {
    Dir,
    File,
    Other(What),
}

impl Machine {
    pub(super) fn make_node(
        &mut self,
        cx: &mut Cx<'_>,
        at: (Ino, &Name),
        what: (FileKind, u32),
        mode: u32,
        caller: Caller,
    ) -> Result<Reply, Stop> {
        let (kind, rdev) = what;
        let new = match kind {
            FileKind::File => New::File,
            FileKind::Fifo | FileKind::Socket => New::Other(What::Special { kind, rdev: 0 }),
            FileKind::CharDevice | FileKind::BlockDevice => {
                New::Other(What::Special { kind, rdev })
            }
            FileKind::Directory | FileKind::Symlink => return Err(Stop::Errno(Errno::Inval)),
        };
        let ino = self.make(cx, at, new, mode, caller)?;
        Ok(self.entry(ino))
    }

    pub(super) fn make_dir(
        &mut self,
        cx: &mut Cx<'_>,
        parent: Ino,
        name: &Name,
        mode: u32,
        caller: Caller,
    ) -> Result<Reply, Stop> {
        let ino = self.make(cx, (parent, name), New::Dir, mode, caller)?;
        Ok(self.entry(ino))
    }

    pub(super) fn symlink(
        &mut self,
        cx: &mut Cx<'_>,
        parent: Ino,
        name: &Name,
        target: &Arc<[u8]>,
        caller: Caller,
    ) -> Result<Reply, Stop> {
        if target.is_empty() {
            return Err(Stop::Errno(Errno::NoEnt));
        }
        if target.len() > bounds::TARGET_MAX_BYTES {
            return Err(Stop::Errno(Errno::NameTooLong));
        }
        let new = New::Other(What::Symlink(Arc::clone(target)));
        let ino = self.make(cx, (parent, name), new, 0o777, caller)?;
        Ok(self.entry(ino))
    }

    pub(super) fn create(
        &mut self,
        cx: &mut Cx<'_>,
        at: (Ino, &Name),
        mode: u32,
        flags: OpenFlags,
        caller: Caller,
    ) -> Result<Reply, Stop> {
        self.slot_is_free()?;
        let ino = self.make(cx, at, New::File, mode, caller)?;
        let fh = self.open_file(ino, flags)?;
        Ok(Reply::Created(self.known(ino), fh))
    }

    /// Makes an inode and its first name.
    pub(super) fn make(
        &mut self,
        cx: &mut Cx<'_>,
        at: (Ino, &Name),
        new: New,
        mode: u32,
        caller: Caller,
    ) -> Result<Ino, Stop> {
        let (parent, name) = at;
        self.room_for_name(cx, parent, name)?;
        let parent_attr = self.node(parent)?.file_attr();
        self.engine.register(parent)?;
        if self.engine.table.changed.len() as u64 >= self.engine.shared.limits.changed_inodes {
            return Err(Stop::Errno(Errno::NoSpc));
        }
        let wall = cx.now.wall;
        let is_dir = matches!(new, New::Dir);
        let inherits = parent_attr.mode & SET_GID != 0;
        let mut mode = mode & MODE_BITS;
        if inherits && is_dir {
            mode |= SET_GID;
        }
        let attr = FileAttr {
            mode,
            links: 1,
            uid: caller.uid,
            gid: if inherits { parent_attr.gid } else { caller.gid },
            mtime: wall,
            ctime: wall,
        };
        let ino = self.engine.table.allocate().ok_or(Errno::NoSpc)?;
        let (kind, body) = self.body(ino, new, attr);
        let name_of = LinkName { parent, name: Arc::clone(name), pins: true };
        self.engine.table.add(Node::fresh(ino, vec![name_of], body));
        self.engine.table.count += 1;
        self.engine.register(ino)?;
        self.point(parent, name, Some(Slot::new(ino, kind, None)));
        self.stamp(parent, wall);
        if is_dir {
            self.count_subdirs(parent, 1);
        }
        Ok(ino)
    }

    fn body(&self, ino: Ino, new: New, attr: FileAttr) -> (FileKind, NodeBody) {
        let block_bytes = self.engine.shared.limits.block_bytes;
        match new {
            New::Dir => {
                let dir = Directory::empty();
                (FileKind::Directory, NodeBody::Dir(DirNode { attr, dir }))
            }
            New::File => {
                let file = Arc::new(File::new(ino, attr, 0, Spans::default(), block_bytes));
                let (layout, ahead) = (Layout::empty(), Ahead::default());
                (FileKind::File, NodeBody::File(FileNode { file, layout, ahead }))
            }
            New::Other(what) => {
                let kind = match &what {
                    What::Symlink(_) => FileKind::Symlink,
                    What::Special { kind, .. } => *kind,
                };
                (kind, NodeBody::Other(OtherNode { attr, what }))
            }
        }
    }

    pub(super) fn link(
        &mut self,
        cx: &mut Cx<'_>,
        ino: Ino,
        to_parent: Ino,
        to_name: &Name,
    ) -> Result<Reply, Stop> {
        self.node(ino)?;
        self.room_for_name(cx, to_parent, to_name)?;
        let node = self.node(ino)?;
        if node.dir().is_some() {
            return Err(Stop::Errno(Errno::Perm));
        }
        if node.names.is_empty() {
            return Err(Stop::Errno(Errno::NoEnt));
        }
        if node.names.len() >= bounds::LINKS_MAX {
            return Err(Stop::Errno(Errno::MLink));
        }
        let (kind, linked) = (node.kind(), node.linked);
        let first = node.names.first().cloned();
        self.engine.register(ino)?;
        self.engine.register(to_parent)?;
        // The first name's entry becomes a link to the link table.
        if let Some(first) = first.filter(|_| !linked) {
            self.engine.register(first.parent)?;
            if let Some(dir) = self.engine.table.node_mut(first.parent).dir_mut() {
                dir.dir.touch(&first.name);
            }
        }
        let wall = cx.now.wall;
        self.engine.table.add_name(ino, to_parent, to_name);
        let node = self.engine.table.node_mut(ino);
        node.linked = true;
        node.lookups += 1;
        let attr = node.edit_attr(|attr| {
            attr.links += u32::from(!seeded!(LinkNotCounted));
            attr.ctime = wall;
        });
        let record = node.base.clone();
        self.point(to_parent, to_name, Some(Slot::new(ino, kind, record)));
        self.stamp(to_parent, wall);
        Ok(Reply::Entry(attr))
    }

    /// Whether a name can be made in a directory.
    pub(super) fn room_for_name(
        &mut self,
        cx: &mut Cx<'_>,
        parent: Ino,
        name: &Name,
    ) -> Result<(), Stop> {
        let node = self.node(parent)?;
        node.dir().ok_or(Errno::NotDir)?;
        if node.names.is_empty() && parent != Ino::ROOT {
            return Err(Stop::Errno(Errno::NoEnt));
        }
        check_name(name)?;
        self.listed(cx, parent)?;
        match self.find(parent, name) {
            Some(_) => Err(Stop::Errno(Errno::Exist)),
            None => Ok(()),
        }
    }

    /// Points a name of a registered directory at an inode, or at nothing.
    pub(super) fn point(&mut self, parent: Ino, name: &Name, slot: Option<Slot>) {
        if let Some(dir) = self.engine.table.node_mut(parent).dir_mut() {
            dir.dir.point(name, slot);
        }
    }

    /// The content of a registered directory changed.
    pub(super) fn stamp(&mut self, dir: Ino, wall: Time) {
        self.engine.table.node_mut(dir).edit_attr(|attr| {
            attr.mtime = wall;
            attr.ctime = wall;
        });
    }

    /// A registered directory has more, or fewer, directories in it.
    pub(super) fn count_subdirs(&mut self, dir: Ino, change: i64) {
        if let Some(dir) = self.engine.table.node_mut(dir).dir_mut() {
            dir.dir.subdirs = dir.dir.subdirs.saturating_add_signed(change);
        }
    }
}
