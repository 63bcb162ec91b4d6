//! Contents and attributes.

use super::tree::{Body, NAME_MAX};
use super::{Content, Model, Open, XATTR_MAX, XATTR_NAMES_MAX, XATTRS_MAX};
use crate::shapes::{Allocate, Name, Reply, SetAttr, SetTime, Whence, WriteFlags, XattrMode};
use crate::sync::Arc;
use crate::words::{Errno, Fh, Ino, Time};

impl Model {
    /// The content behind a handle, if it is a file's.
    pub(super) fn file(&self, fh: Fh) -> Result<(Ino, &Content), Errno> {
        let handle = self.handles.get(&fh).ok_or(Errno::BadF)?;
        match &self.tree.node(handle.ino)?.body {
            Body::File(content) => Ok((handle.ino, content)),
            Body::Directory { .. } | Body::Symlink(_) | Body::Special(..) => Err(Errno::BadF),
        }
    }

    /// Changes the content behind a handle and marks its times.
    fn edit(&mut self, now: Time, fh: Fh, change: impl FnOnce(&mut Content)) -> Result<Ino, Errno> {
        let (ino, _) = self.file(fh)?;
        let node = self.tree.node_mut(ino)?;
        if let Body::File(content) = &mut node.body {
            change(content);
        }
        node.modified(now);
        node.drop_capability();
        Ok(ino)
    }

    pub(super) fn write(
        &mut self,
        now: Time,
        fh: Fh,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
    ) -> Result<Reply, Errno> {
        self.file(fh)?;
        let opened = self.handles.get(&fh).map(|handle| &handle.of);
        if !matches!(opened, Some(Open::File(open)) if open.write || flags.from_cache) {
            return Err(Errno::BadF);
        }
        if data.is_empty() {
            return Ok(Reply::Written(0));
        }
        let end = offset.checked_add(data.len() as u64);
        if end.is_none_or(|end| end > self.file_bytes) {
            return Err(Errno::FBig);
        }
        let ino = self.edit(now, fh, |content| content.write(offset, data))?;
        if flags.kill_suidgid {
            self.tree.node_mut(ino)?.drop_set_id();
        }
        u32::try_from(data.len()).map(Reply::Written).map_err(|_| Errno::Inval)
    }

    pub(super) fn fallocate(
        &mut self,
        now: Time,
        fh: Fh,
        offset: u64,
        len: u64,
        (how, kill_suidgid): (Allocate, bool),
    ) -> Result<Reply, Errno> {
        self.file(fh)?;
        if len == 0 {
            return Err(Errno::Inval);
        }
        let end = offset.checked_add(len).ok_or(Errno::FBig)?;
        if end > self.file_bytes {
            return Err(Errno::FBig);
        }
        let ino = match how {
            Allocate::KeepSize => return Ok(Reply::Done),
            Allocate::Extend => self.edit(now, fh, |content| {
                content.resize(content.size().max(end));
            })?,
            Allocate::Punch | Allocate::Zero { keep_size: true } => {
                self.edit(now, fh, |content| content.punch(offset, end))?
            }
            Allocate::Zero { keep_size: false } => self.edit(now, fh, |content| {
                content.punch(offset, end);
                content.resize(content.size().max(end));
            })?,
        };
        if kill_suidgid {
            self.tree.node_mut(ino)?.drop_set_id();
        }
        Ok(Reply::Done)
    }

    pub(super) fn seek(&self, fh: Fh, offset: u64, whence: Whence) -> Result<Reply, Errno> {
        let (_, content) = self.file(fh)?;
        if offset >= content.size() {
            return Err(Errno::NxIo);
        }
        match whence {
            Whence::Data => content.next_data(offset).map(Reply::Offset).ok_or(Errno::NxIo),
            Whence::Hole => Ok(Reply::Offset(content.next_hole(offset))),
        }
    }

    pub(super) fn set_attr(&mut self, now: Time, ino: Ino, set: &SetAttr) -> Result<Reply, Errno> {
        let limit = self.file_bytes;
        let node = self.tree.node_mut(ino)?;
        if let Some(size) = set.size {
            match &mut node.body {
                Body::File(_) if size > limit => return Err(Errno::FBig),
                Body::File(content) => content.resize(size),
                Body::Directory { .. } => return Err(Errno::IsDir),
                Body::Symlink(_) | Body::Special(..) => return Err(Errno::Inval),
            }
            node.mtime = now;
            node.drop_capability();
        }
        if *set == SetAttr::default() {
            return Ok(Reply::Attr(node.attr(ino)));
        }
        if (set.uid.is_some() || set.gid.is_some()) && !node.is_directory() {
            node.drop_set_id();
            node.drop_capability();
        }
        if set.kill_suidgid {
            node.drop_set_id();
        }
        node.mode = set.mode.map_or(node.mode, |mode| mode & 0o7777);
        node.uid = set.uid.unwrap_or(node.uid);
        node.gid = set.gid.unwrap_or(node.gid);
        node.mtime = match set.mtime {
            Some(SetTime::Now) => now,
            Some(SetTime::At(time)) => time,
            None => node.mtime,
        };
        node.ctime = set.ctime.unwrap_or(now);
        Ok(Reply::Attr(node.attr(ino)))
    }

    pub(super) fn read_link(&self, ino: Ino) -> Result<Reply, Errno> {
        match &self.tree.node(ino)?.body {
            Body::Symlink(target) => Ok(Reply::Data(target.to_vec())),
            Body::File(_) | Body::Directory { .. } | Body::Special(..) => Err(Errno::Inval),
        }
    }

    pub(super) fn set_xattr(
        &mut self,
        now: Time,
        ino: Ino,
        name: &Name,
        value: &Arc<[u8]>,
        mode: XattrMode,
    ) -> Result<Reply, Errno> {
        let node = self.tree.node_mut(ino)?;
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(Errno::Range);
        }
        if value.len() > XATTR_MAX {
            return Err(Errno::NoSpc);
        }
        match (mode, node.xattrs.contains_key(name)) {
            (XattrMode::Create, true) => return Err(Errno::Exist),
            (XattrMode::Replace, false) => return Err(Errno::NoData),
            (XattrMode::Either, _) | (XattrMode::Create, false) | (XattrMode::Replace, true) => {}
        }
        let others = node.xattrs.iter().filter(|(other, _)| *other != name);
        let all: Vec<_> = others.chain([(name, value)]).collect();
        let names: usize = all.iter().map(|(name, _)| name.len() + 1).sum();
        let encoded = |bytes: &[u8]| head_len(bytes.len()) + bytes.len();
        let pairs = all.iter().map(|(name, value)| encoded(name) + encoded(value));
        let bytes = head_len(all.len()) + pairs.sum::<usize>();
        if names > XATTR_NAMES_MAX || bytes > XATTRS_MAX {
            return Err(Errno::NoSpc);
        }
        node.xattrs.insert(name.clone(), value.clone());
        node.ctime = now;
        Ok(Reply::Done)
    }

    pub(super) fn get_xattr(&self, ino: Ino, name: &Name) -> Result<Reply, Errno> {
        let value = self.tree.node(ino)?.xattrs.get(name).ok_or(Errno::NoData)?;
        Ok(Reply::Data(value.to_vec()))
    }

    pub(super) fn list_xattr(&self, ino: Ino) -> Result<Reply, Errno> {
        let names = self.tree.node(ino)?.xattrs.keys();
        Ok(Reply::Data(names.flat_map(|name| name.iter().copied().chain([0])).collect()))
    }

    pub(super) fn remove_xattr(
        &mut self,
        now: Time,
        ino: Ino,
        name: &Name,
    ) -> Result<Reply, Errno> {
        let node = self.tree.node_mut(ino)?;
        node.xattrs.remove(name).ok_or(Errno::NoData)?;
        node.ctime = now;
        Ok(Reply::Done)
    }
}

/// Bytes that stand before so many bytes or pairs in a snapshot.
fn head_len(count: usize) -> usize {
    match count {
        0..24 => 1,
        24..0x100 => 2,
        0x100..0x1_0000 => 3,
        _ => 5,
    }
}
