//! What changes names: the tree of directories.

use std::collections::BTreeMap;

use super::tree::{Body, Node};
use super::{Content, LINK_MAX, Model, TARGET_MAX};
use crate::shapes::{Attr, Caller, FileKind, Name, RenameMode, Reply};
use crate::sync::Arc;
use crate::words::{Errno, Ino, Time};

/// A name in a directory.
type At<'a> = (Ino, &'a Name);

impl Model {
    pub(super) fn lookup(&mut self, parent: Ino, name: &Name) -> Result<Reply, Errno> {
        match self.tree.look(parent, name)? {
            Some(ino) => self.looked_up(ino).map(Reply::Entry),
            None => Ok(Reply::Absent),
        }
    }

    pub(super) fn make_node(
        &mut self,
        now: Time,
        at: At<'_>,
        (kind, rdev): (FileKind, u32),
        mode: u32,
        caller: Caller,
    ) -> Result<Reply, Errno> {
        let body = match kind {
            FileKind::File => Body::File(Content::default()),
            FileKind::Fifo | FileKind::Socket => Body::Special(kind, 0),
            FileKind::CharDevice | FileKind::BlockDevice => Body::Special(kind, rdev),
            FileKind::Directory | FileKind::Symlink => return Err(Errno::Inval),
        };
        self.make(now, at, mode, caller, body).map(Reply::Entry)
    }

    pub(super) fn symlink(
        &mut self,
        now: Time,
        at: At<'_>,
        target: &Arc<[u8]>,
        caller: Caller,
    ) -> Result<Reply, Errno> {
        if target.is_empty() {
            return Err(Errno::NoEnt);
        }
        if target.len() > TARGET_MAX {
            return Err(Errno::NameTooLong);
        }
        self.make(now, at, 0o777, caller, Body::Symlink(target.clone())).map(Reply::Entry)
    }

    pub(super) fn make(
        &mut self,
        now: Time,
        (parent, name): At<'_>,
        mode: u32,
        caller: Caller,
        body: Body,
    ) -> Result<Attr, Errno> {
        self.tree.vacant(parent, name)?;
        let above = self.tree.node(parent)?;
        let is_directory = matches!(body, Body::Directory { .. });
        let inherits = above.mode & 0o2000 != 0;
        let gid = if inherits { above.gid } else { caller.gid };
        let set_gid = if inherits && is_directory { 0o2000 } else { 0 };
        let node = Node {
            mode: (mode & 0o7777) | set_gid,
            uid: caller.uid,
            gid,
            links: if is_directory { 2 } else { 1 },
            mtime: now,
            ctime: now,
            xattrs: BTreeMap::<Name, Arc<[u8]>>::new(),
            body,
        };
        let ino = self.tree.next;
        self.tree.next = ino.next();
        self.tree.nodes.insert(ino, node);
        self.tree.bind(now, parent, name, ino);
        self.looked_up(ino)
    }

    pub(super) fn unlink(&mut self, now: Time, parent: Ino, name: &Name) -> Result<Reply, Errno> {
        let ino = self.tree.find(parent, name)?;
        if self.tree.node(ino)?.is_directory() {
            return Err(Errno::IsDir);
        }
        Ok(self.remove(now, parent, name, ino))
    }

    pub(super) fn remove_dir(
        &mut self,
        now: Time,
        parent: Ino,
        name: &Name,
    ) -> Result<Reply, Errno> {
        let ino = self.tree.find(parent, name)?;
        self.removable_directory(ino)?;
        Ok(self.remove(now, parent, name, ino))
    }

    fn removable_directory(&self, ino: Ino) -> Result<(), Errno> {
        match &self.tree.node(ino)?.body {
            Body::Directory { entries, .. } if entries.is_empty() => Ok(()),
            Body::Directory { .. } => Err(Errno::NotEmpty),
            Body::File(_) | Body::Symlink(_) | Body::Special(..) => Err(Errno::NotDir),
        }
    }

    fn remove(&mut self, now: Time, parent: Ino, name: &Name, ino: Ino) -> Reply {
        self.tree.unbind(now, parent, name);
        self.tree.drop_name(now, ino);
        self.settle(ino);
        Reply::Done
    }

    pub(super) fn link(
        &mut self,
        now: Time,
        ino: Ino,
        to_parent: Ino,
        to_name: &Name,
    ) -> Result<Reply, Errno> {
        let (is_directory, links) = {
            let node = self.tree.node(ino)?;
            (node.is_directory(), node.links)
        };
        self.tree.vacant(to_parent, to_name)?;
        if is_directory {
            return Err(Errno::Perm);
        }
        if links == 0 {
            return Err(Errno::NoEnt);
        }
        if links >= LINK_MAX {
            return Err(Errno::MLink);
        }
        self.tree.bind(now, to_parent, to_name, ino);
        let node = self.tree.node_mut(ino)?;
        node.links += 1;
        node.ctime = now;
        Ok(Reply::Entry(self.looked_up(ino)?))
    }

    pub(super) fn rename(
        &mut self,
        now: Time,
        (parent, name): At<'_>,
        (to_parent, to_name): At<'_>,
        mode: RenameMode,
    ) -> Result<Reply, Errno> {
        if !self.tree.node(parent)?.is_directory() || !self.tree.node(to_parent)?.is_directory() {
            return Err(Errno::NotDir);
        }
        let ino = self.tree.find(parent, name)?;
        let target = self.tree.look(to_parent, to_name)?;
        if target.is_none() && self.tree.vacant(to_parent, to_name) == Err(Errno::NoEnt) {
            return Err(Errno::NoEnt);
        }
        match (mode, target) {
            (RenameMode::NoReplace, Some(_)) => return Err(Errno::Exist),
            (RenameMode::Exchange, None) => return Err(Errno::NoEnt),
            (RenameMode::Replace | RenameMode::NoReplace, None)
            | (RenameMode::Replace | RenameMode::Exchange, Some(_)) => {}
        }
        if self.tree.is_below(to_parent, ino) {
            return Err(Errno::Inval);
        }
        if let Some(target) = target
            && self.tree.is_below(parent, target)
        {
            let swap = mode == RenameMode::Exchange;
            return Err(if swap { Errno::Inval } else { Errno::NotEmpty });
        }
        match target {
            Some(target) if target == ino => return Ok(Reply::Done),
            Some(target) if mode == RenameMode::Exchange => {
                self.tree.bind(now, to_parent, to_name, ino);
                self.tree.bind(now, parent, name, target);
                self.tree.node_mut(target)?.ctime = now;
            }
            Some(target) => {
                self.replaceable(ino, target)?;
                self.tree.unbind(now, parent, name);
                self.tree.bind(now, to_parent, to_name, ino);
                self.tree.drop_name(now, target);
                self.settle(target);
            }
            None => {
                self.tree.vacant(to_parent, to_name)?;
                self.tree.unbind(now, parent, name);
                self.tree.bind(now, to_parent, to_name, ino);
            }
        }
        self.tree.node_mut(ino)?.ctime = now;
        Ok(Reply::Done)
    }

    /// Whether `ino` may take the place of `target`.
    fn replaceable(&self, ino: Ino, target: Ino) -> Result<(), Errno> {
        let (is_directory, over) =
            (self.tree.node(ino)?.is_directory(), self.tree.node(target)?.is_directory());
        match (is_directory, over) {
            (true, _) => self.removable_directory(target),
            (false, true) => Err(Errno::IsDir),
            (false, false) => Ok(()),
        }
    }
}
