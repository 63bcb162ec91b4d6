//! Look-ups, attributes and extended attributes.

use super::machine::Machine;
use crate::format::{XattrMap, bounds, check_xattrs};
use crate::machine::flows::{Cx, Stop, find};
use crate::machine::names::{Node, NodeBody, OtherNode, What, XattrState};
use crate::shapes::{Attr, FileKind, Name, Reply, SetAttr, SetTime, XattrMode};
use crate::sync::Arc;
use crate::words::{Errno, Ino};

const MODE_BITS: u32 = 0o7777;

impl Machine {
    pub(super) fn node(&self, ino: Ino) -> Result<&Node, Stop> {
        self.engine.table.get(ino).ok_or(Stop::Errno(Errno::Stale))
    }

    /// A directory whose listing is there.
    pub(super) fn listed(&mut self, cx: &mut Cx<'_>, ino: Ino) -> Result<(), Stop> {
        self.engine.listed(cx, ino)
    }

    pub(super) fn lookup(
        &mut self,
        cx: &mut Cx<'_>,
        parent: Ino,
        name: &Name,
    ) -> Result<Reply, Stop> {
        self.node(parent)?.dir().ok_or(Errno::NotDir)?;
        check_name(name)?;
        self.listed(cx, parent)?;
        match self.engine.materialize(cx, parent, name)? {
            Some(ino) => Ok(self.entry(ino)),
            None => Ok(Reply::Absent),
        }
    }

    /// Answers with an inode that the kernel now knows once more.
    pub(super) fn entry(&mut self, ino: Ino) -> Reply {
        Reply::Entry(self.known(ino))
    }

    /// The kernel now knows an inode once more.
    pub(super) fn known(&mut self, ino: Ino) -> Attr {
        let node = self.engine.table.node_mut(ino);
        node.lookups += 1;
        node.attr()
    }

    pub(super) fn forget(&mut self, ino: Ino, count: u64) -> Result<Reply, Stop> {
        if let Some(node) = self.engine.table.get_mut(ino) {
            node.lookups = node.lookups.saturating_sub(count);
            self.engine.table.release(ino);
        }
        Ok(Reply::Done)
    }

    pub(super) fn getattr(&self, ino: Ino) -> Result<Reply, Stop> {
        Ok(Reply::Attr(self.node(ino)?.attr()))
    }

    pub(super) fn setattr(
        &mut self,
        cx: &mut Cx<'_>,
        ino: Ino,
        set: &SetAttr,
    ) -> Result<Reply, Stop> {
        let node = self.node(ino)?;
        let kind = node.kind();
        if let Some(size) = set.size {
            match kind {
                FileKind::File => {}
                FileKind::Directory => return Err(Stop::Errno(Errno::IsDir)),
                FileKind::Symlink
                | FileKind::Fifo
                | FileKind::Socket
                | FileKind::CharDevice
                | FileKind::BlockDevice => return Err(Stop::Errno(Errno::Inval)),
            }
            if size > self.engine.shared.limits.file_bytes {
                return Err(Stop::Errno(Errno::FBig));
            }
        }
        if *set == SetAttr::default() {
            return self.getattr(ino);
        }
        let owned = kind != FileKind::Directory && (set.uid.is_some() || set.gid.is_some());
        let drops = owned || set.size.is_some();
        if drops {
            self.know_capability(cx, ino)?;
        }
        if set.mode.is_some() {
            // The mode is what counts from here on: an access control list goes.
            self.xattrs(cx, ino)?;
        }
        self.engine.register(ino)?;
        let wall = cx.now.wall;
        let shared = Arc::clone(&self.engine.shared);
        let node = self.engine.table.node_mut(ino);
        let attr = node.edit(shared.around(), wall, set.size, |attr| {
            if owned || set.kill_suidgid {
                attr.drop_set_id();
            }
            attr.mode = set.mode.map_or(attr.mode, |mode| mode & MODE_BITS);
            attr.uid = set.uid.unwrap_or(attr.uid);
            attr.gid = set.gid.unwrap_or(attr.gid);
            attr.mtime = match set.mtime {
                None => attr.mtime,
                Some(SetTime::Now) => wall,
                Some(SetTime::At(time)) => time,
            };
            attr.ctime = set.ctime.unwrap_or(wall);
        })?;
        if drops {
            node.drop_capability();
        }
        if set.mode.is_some() {
            node.drop_acl();
        }
        Ok(Reply::Attr(attr))
    }

    /// Waits until it is known whether an inode has a capability, which its next change takes
    /// away: only extended attributes that the entry has no room for must be loaded.
    pub(super) fn know_capability(&mut self, cx: &mut Cx<'_>, ino: Ino) -> Result<(), Stop> {
        if self.node(ino)?.xattrs.may_have_capability() {
            self.xattrs(cx, ino)?;
        }
        Ok(())
    }

    pub(super) fn readlink(&self, ino: Ino) -> Result<Reply, Stop> {
        match &self.node(ino)?.body {
            NodeBody::Other(OtherNode { what: What::Symlink(target), .. }) => {
                Ok(Reply::Data(target.to_vec()))
            }
            NodeBody::Other(_) | NodeBody::File(_) | NodeBody::Dir(_) => {
                Err(Stop::Errno(Errno::Inval))
            }
        }
    }

    pub(super) fn get_xattr(
        &mut self,
        cx: &mut Cx<'_>,
        ino: Ino,
        name: &Name,
    ) -> Result<Reply, Stop> {
        let map = self.xattrs(cx, ino)?;
        let value = map.get(name).ok_or(Errno::NoData)?;
        Ok(Reply::Data(value.to_vec()))
    }

    pub(super) fn list_xattr(&mut self, cx: &mut Cx<'_>, ino: Ino) -> Result<Reply, Stop> {
        let map = self.xattrs(cx, ino)?;
        let names = map.keys().flat_map(|name| name.iter().copied().chain([0]));
        Ok(Reply::Data(names.collect()))
    }

    pub(super) fn set_xattr(
        &mut self,
        cx: &mut Cx<'_>,
        ino: Ino,
        name: &Name,
        value: &Arc<[u8]>,
        mode: XattrMode,
    ) -> Result<Reply, Stop> {
        if name.is_empty() || name.len() > bounds::NAME_MAX_BYTES {
            return Err(Stop::Errno(Errno::Range));
        }
        if value.len() > bounds::XATTR_MAX_BYTES {
            return Err(Stop::Errno(Errno::NoSpc));
        }
        let map = self.xattrs(cx, ino)?;
        match (mode, map.contains_key(name)) {
            (XattrMode::Create, true) => return Err(Stop::Errno(Errno::Exist)),
            (XattrMode::Replace, false) => return Err(Stop::Errno(Errno::NoData)),
            (XattrMode::Either, _) | (XattrMode::Create, false) | (XattrMode::Replace, true) => {}
        }
        let mut map = map.as_ref().clone();
        map.insert(Arc::clone(name), Arc::clone(value));
        check_xattrs(&map).map_err(|_| Errno::NoSpc)?;
        self.put_xattrs(cx, ino, map)
    }

    pub(super) fn remove_xattr(
        &mut self,
        cx: &mut Cx<'_>,
        ino: Ino,
        name: &Name,
    ) -> Result<Reply, Stop> {
        let mut map = self.xattrs(cx, ino)?.as_ref().clone();
        map.remove(name).ok_or(Errno::NoData)?;
        self.put_xattrs(cx, ino, map)
    }

    fn put_xattrs(&mut self, cx: &mut Cx<'_>, ino: Ino, map: XattrMap) -> Result<Reply, Stop> {
        self.engine.register(ino)?;
        let node = self.engine.table.node_mut(ino);
        node.set_xattrs(XattrState::unstored(map));
        node.edit_attr(|attr| attr.ctime = cx.now.wall);
        Ok(Reply::Done)
    }

    fn xattrs(&mut self, cx: &mut Cx<'_>, ino: Ino) -> Result<Arc<XattrMap>, Stop> {
        if let Some(map) = &self.node(ino)?.xattrs.map {
            return Ok(Arc::clone(map));
        }
        match self.engine.want_xattrs(cx, ino) {
            Some(key) => Err(Stop::Wait(key)),
            None => Err(Stop::Errno(Errno::Io)),
        }
    }

    /// What a name stands for in a directory that is listed.
    pub(super) fn find(&self, parent: Ino, name: &Name) -> Option<crate::machine::names::Slot> {
        find(&self.engine, parent, name)
    }
}

/// Whether a name may stand in a directory.
pub(super) fn check_name(name: &Name) -> Result<(), Stop> {
    if name.len() > bounds::NAME_MAX_BYTES {
        return Err(Stop::Errno(Errno::NameTooLong));
    }
    let plain = !matches!(name.as_ref(), b"" | b"." | b"..");
    if plain && !name.contains(&b'/') && !name.contains(&0) {
        Ok(())
    } else {
        Err(Stop::Errno(Errno::Inval))
    }
}
