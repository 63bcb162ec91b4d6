//! Handles, and directory streams.

use super::tree::{Body, Node};
use super::{Model, Open};
use crate::shapes::{DirEntry, FileKind, Name, OpenFlags, Reply};
use crate::words::{Errno, Fh, Ino, Time};

impl Model {
    pub(super) fn open_file(
        &mut self,
        now: Time,
        ino: Ino,
        flags: OpenFlags,
    ) -> Result<Reply, Errno> {
        let node = self.tree.node_mut(ino)?;
        match &mut node.body {
            Body::File(content) if flags.truncate => content.resize(0),
            Body::File(_) => {}
            Body::Directory { .. } => return Err(Errno::IsDir),
            Body::Symlink(_) | Body::Special(..) => return Err(Errno::Inval),
        }
        if flags.truncate {
            node.modified(now);
            node.drop_capability();
        }
        Ok(Reply::Opened(self.hold(ino, Open::File(flags))))
    }

    pub(super) fn open_dir(&mut self, ino: Ino) -> Result<Reply, Errno> {
        if !self.tree.node(ino)?.is_directory() {
            return Err(Errno::NotDir);
        }
        let stream = self.stream(ino);
        Ok(Reply::Opened(self.hold(ino, Open::Directory(stream))))
    }

    pub(super) fn fsync_dir(&self, fh: Fh) -> Result<Reply, Errno> {
        match self.handles.get(&fh).map(|handle| &handle.of) {
            Some(Open::Directory(_)) => Ok(Reply::Done),
            Some(Open::File(_)) | None => Err(Errno::BadF),
        }
    }

    /// What a stream that begins now goes through. `.` and `..` come first; in a removed directory
    /// both are itself.
    fn stream(&self, ino: Ino) -> Vec<(Name, Ino, FileKind)> {
        let parent = match self.tree.get(ino) {
            Some(Node { body: Body::Directory { parent, .. }, links: 1.., .. }) => *parent,
            Some(_) | None => ino,
        };
        let dots = [(Name::from(&b"."[..]), ino), (Name::from(&b".."[..]), parent)];
        let entries = self.tree.entries(ino).map(|(name, child)| (name.clone(), child));
        let kind = |ino| self.tree.get(ino).map_or(FileKind::Directory, Node::kind);
        dots.into_iter().chain(entries).map(|(name, ino)| (name, ino, kind(ino))).collect()
    }

    /// Cookies are positions in the stream. Entries whose name has gone meanwhile are left out.
    pub(super) fn read_dir(
        &mut self,
        fh: Fh,
        cookie: u64,
        max: usize,
        plus: bool,
    ) -> Result<Reply, Errno> {
        let handle = self.handles.get(&fh).ok_or(Errno::BadF)?;
        let directory = handle.ino;
        let Open::Directory(stream) = &handle.of else { return Err(Errno::BadF) };
        let stream = if cookie == 0 { self.stream(directory) } else { stream.clone() };
        let mut entries = Vec::new();
        for (position, (name, ino, kind)) in (1..).zip(&stream).skip_while(|(at, _)| *at <= cookie)
        {
            if entries.len() == max {
                break;
            }
            let is_dot = position <= 2;
            if !is_dot && self.tree.look(directory, name) != Ok(Some(*ino)) {
                continue;
            }
            let attr = if plus && !is_dot { Some(self.looked_up(*ino)?) } else { None };
            let (name, ino, kind) = (name.clone(), *ino, *kind);
            entries.push(DirEntry { name, ino, kind, cookie: position, attr });
        }
        if let Some(handle) = self.handles.get_mut(&fh) {
            handle.of = Open::Directory(stream);
        }
        Ok(Reply::Entries(entries))
    }
}
