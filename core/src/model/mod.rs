//! The obvious file system: what every [`Op`] does, said as simply as can be. Tests and the
//! simulator compare the machine with it.
//!
//! Its inode and handle numbers are its own; [`Mapping`] translates requests and compares
//! replies. It knows no store, so it never answers EIO, and no limits but that on file size, so
//! it never answers ENOSPC. Rights are the kernel's business (`default_permissions`).
//!
//! What it settles where POSIX leaves a choice:
//! - An inode that does not exist is ESTALE; a handle that does not, or is of the other kind
//!   (file or directory), is EBADF; so is a write through a handle not opened for writing, unless
//!   the kernel writes its cache back. Reads are not refused: the kernel fills its cache so.
//! - Directories have size 4096, and 2 + subdirectories links; a removed one has 0.
//! - Setting a size marks mtime and ctime even if the size stays the same; so does `fallocate`,
//!   but for [`Allocate::KeepSize`](crate::shapes::Allocate::KeepSize), which changes nothing.
//! - A change of owner drops set-id bits unless the request sets the mode too. A change of size
//!   does not: the kernel knows the caller and sends the mode along.
//! - Rename marks the ctime of what moved, and both directories.

mod content;
mod files;
mod handles;
mod mapping;
mod names;
mod tree;

use std::collections::BTreeMap;

pub use content::Content;
pub use mapping::{Difference, Mapping};
pub use tree::{Body, DIRECTORY_BYTES, NAME_MAX, Node, Tree};

use crate::shapes::{Attr, FileKind, Name, Op, OpenFlags, Reply, StatFs};
use crate::words::{Errno, Fh, Ino, Limits, Time};

/// Most names that one inode may have, as on ext4.
pub const LINK_MAX: u32 = 65_000;
/// Longest target of a symbolic link in bytes.
pub const TARGET_MAX: usize = 4095;
/// Longest value of an extended attribute in bytes.
pub const XATTR_MAX: usize = 64 << 10;
/// Longest list of an inode's extended attributes in bytes: names, each with a NUL.
pub const XATTR_NAMES_MAX: usize = 64 << 10;
/// Longest encoding of an inode's extended attributes in bytes.
pub const XATTRS_MAX: usize = 1 << 20;

/// What the kernel holds of an inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Held {
    lookups: u64,
    handles: u64,
}

/// An open handle.
#[derive(Clone, Debug)]
struct Handle {
    ino: Ino,
    of: Open,
}

/// What a handle is for.
#[derive(Clone, Debug)]
enum Open {
    /// A regular file.
    File(OpenFlags),
    /// A directory, and the stream that was begun last.
    Directory(Vec<(Name, Ino, FileKind)>),
}

/// The file system: a tree, and what the kernel holds of it.
#[derive(Clone, Debug)]
pub struct Model {
    tree: Tree,
    held: BTreeMap<Ino, Held>,
    handles: BTreeMap<Fh, Handle>,
    next_handle: Fh,
    file_bytes: u64,
}

impl Model {
    /// A freshly mounted `tree`.
    #[must_use]
    pub fn new(limits: &Limits, tree: Tree) -> Self {
        Self {
            tree,
            held: BTreeMap::new(),
            handles: BTreeMap::new(),
            next_handle: Fh(1),
            file_bytes: limits.file_bytes,
        }
    }

    /// The tree that a commit would publish now: inodes without a name are left out.
    #[must_use]
    pub fn committed(&self) -> Tree {
        let mut tree = self.tree.clone();
        tree.nodes.retain(|_, node| node.links > 0);
        tree
    }

    /// Everything there is, unlinked inodes included.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Look-ups that the kernel has of `ino`.
    #[must_use]
    pub fn lookups(&self, ino: Ino) -> u64 {
        self.held.get(&ino).map_or(0, |held| held.lookups)
    }

    /// Inodes that the kernel knows: the root, and what it looked up and has not forgotten.
    pub fn known(&self) -> impl Iterator<Item = Ino> {
        let looked_up = self.held.iter().filter(|(_, held)| held.lookups > 0);
        std::iter::once(Ino::ROOT).chain(looked_up.map(|(&ino, _)| ino).filter(|&i| i != Ino::ROOT))
    }

    /// Open handles with their inodes, and the flags of those of files.
    pub fn open(&self) -> impl Iterator<Item = (Fh, Ino, Option<OpenFlags>)> {
        self.handles.iter().map(|(&fh, handle)| match handle.of {
            Open::File(flags) => (fh, handle.ino, Some(flags)),
            Open::Directory(_) => (fh, handle.ino, None),
        })
    }

    /// Carries `op` out at the time `now`, whole or not at all.
    ///
    /// # Errors
    /// What Linux answers. The commands (`Status`, `Diff`, `Commit`) are no business of a file
    /// system: ENOSYS.
    pub fn apply(&mut self, now: Time, op: &Op) -> Result<Reply, Errno> {
        match op {
            Op::Lookup { parent, name } => self.lookup(*parent, name),
            Op::Forget { ino, count } => Ok(self.forget(*ino, *count)),
            Op::GetAttr { ino } => Ok(Reply::Attr(self.tree.node(*ino)?.attr(*ino))),
            Op::SetAttr { ino, set } => self.set_attr(now, *ino, set),
            Op::ReadLink { ino } => self.read_link(*ino),
            Op::MakeNode { parent, name, kind, mode, rdev, caller } => {
                self.make_node(now, (*parent, name), (*kind, *rdev), *mode, *caller)
            }
            Op::MakeDir { parent, name, mode, caller } => {
                let body = Body::Directory { entries: BTreeMap::new(), parent: *parent };
                self.make(now, (*parent, name), *mode, *caller, body).map(Reply::Entry)
            }
            Op::Symlink { parent, name, target, caller } => {
                self.symlink(now, (*parent, name), target, *caller)
            }
            Op::Unlink { parent, name } => self.unlink(now, *parent, name),
            Op::RemoveDir { parent, name } => self.remove_dir(now, *parent, name),
            Op::Rename { parent, name, to_parent, to_name, mode } => {
                self.rename(now, (*parent, name), (*to_parent, to_name), *mode)
            }
            Op::Link { ino, to_parent, to_name } => self.link(now, *ino, *to_parent, to_name),
            Op::Open { ino, flags } => self.open_file(now, *ino, *flags),
            Op::Create { parent, name, mode, flags, caller } => {
                let body = Body::File(Content::default());
                let attr = self.make(now, (*parent, name), *mode, *caller, body)?;
                Ok(Reply::Created(attr, self.hold(attr.ino, Open::File(*flags))))
            }
            Op::Read { fh, offset, len } => {
                let (_, content) = self.file(*fh)?;
                Ok(Reply::Data(content.read(*offset, u64::from(*len))))
            }
            Op::Write { fh, offset, data, flags } => self.write(now, *fh, *offset, data, *flags),
            Op::Flush { fh } | Op::Fsync { fh } => self.file(*fh).map(|_| Reply::Done),
            Op::Release { fh } => self.release(*fh),
            Op::OpenDir { ino } => self.open_dir(*ino),
            Op::ReadDir { fh, cookie, max, plus } => self.read_dir(*fh, *cookie, *max, *plus),
            Op::FsyncDir { fh } => self.fsync_dir(*fh),
            Op::StatFs => Ok(Reply::StatFs(self.stat_fs())),
            Op::SetXattr { ino, name, value, mode } => {
                self.set_xattr(now, *ino, name, value, *mode)
            }
            Op::GetXattr { ino, name } => self.get_xattr(*ino, name),
            Op::ListXattr { ino } => self.list_xattr(*ino),
            Op::RemoveXattr { ino, name } => self.remove_xattr(now, *ino, name),
            Op::Fallocate { fh, offset, len, how, kill_suidgid } => {
                self.fallocate(now, *fh, *offset, *len, (*how, *kill_suidgid))
            }
            Op::Seek { fh, offset, whence } => self.seek(*fh, *offset, *whence),
            Op::Disconnect
            | Op::Status
            | Op::Diff
            | Op::Discard
            | Op::Restore { .. }
            | Op::Revive { .. }
            | Op::Withdraw { .. }
            | Op::Settle { .. }
            | Op::Commit { .. } => Err(Errno::NoSys),
        }
    }

    /// Takes back all that is not in `base`, which a commit published. What it does not know has no
    /// name any more, and lives as long as the kernel holds it, as an unlinked file does.
    pub fn discard(&mut self, base: &Tree) {
        let mut now = std::mem::replace(&mut self.tree, base.clone());
        for (ino, node) in std::mem::take(&mut now.nodes) {
            if !base.nodes.contains_key(&ino) && self.held.contains_key(&ino) {
                self.tree.nodes.insert(ino, node.without_names());
            }
        }
    }

    /// One look-up more of `ino`, and its attributes.
    fn looked_up(&mut self, ino: Ino) -> Result<Attr, Errno> {
        let attr = self.tree.node(ino)?.attr(ino);
        self.held.entry(ino).or_default().lookups += 1;
        Ok(attr)
    }

    fn forget(&mut self, ino: Ino, count: u64) -> Reply {
        if let Some(held) = self.held.get_mut(&ino) {
            held.lookups = held.lookups.saturating_sub(count);
        }
        self.settle(ino);
        Reply::Done
    }

    fn hold(&mut self, ino: Ino, of: Open) -> Fh {
        let fh = self.next_handle;
        self.next_handle = fh.next();
        self.handles.insert(fh, Handle { ino, of });
        self.held.entry(ino).or_default().handles += 1;
        fh
    }

    fn release(&mut self, fh: Fh) -> Result<Reply, Errno> {
        let handle = self.handles.remove(&fh).ok_or(Errno::BadF)?;
        if let Some(held) = self.held.get_mut(&handle.ino) {
            held.handles -= 1;
        }
        self.settle(handle.ino);
        Ok(Reply::Done)
    }

    /// An inode lives as long as its names, look-ups or handles do.
    fn settle(&mut self, ino: Ino) {
        if self.held.get(&ino).is_some_and(|held| *held == Held::default()) {
            self.held.remove(&ino);
        }
        let unlinked = self.tree.get(ino).is_some_and(|node| node.links == 0);
        if unlinked && !self.held.contains_key(&ino) {
            self.tree.nodes.remove(&ino);
        }
    }

    fn stat_fs(&self) -> StatFs {
        let mut answer = StatFs::default();
        for node in self.tree.nodes.values().filter(|node| node.links > 0) {
            answer.inodes += 1;
            if let Body::File(content) = &node.body {
                answer.used_bytes = answer.used_bytes.saturating_add(content.size());
            }
        }
        answer
    }
}

#[cfg(test)]
mod tests;
