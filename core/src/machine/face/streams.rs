//! Directory streams.

use rustc_hash::FxHashMap;

use super::machine::Machine;
use crate::machine::flows::{Cx, Stop};
use crate::shapes::{DirEntry, FileKind, Name, Reply};
use crate::sync::Arc;
use crate::words::{Errno, Fh, Ino};

/// Streams are told from file handles by this bit.
const STREAM: u64 = 1 << 63;
const DOT: u64 = 1;
const DOT_DOT: u64 = 2;

/// All open streams.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: FxHashMap<Fh, Ino>,
    next: u64,
}

impl Streams {
    fn open(&mut self, ino: Ino) -> Fh {
        let fh = Fh(STREAM | self.next);
        self.next += 1;
        self.open.insert(fh, ino);
        fh
    }

    fn get(&self, fh: Fh) -> Result<Ino, Stop> {
        self.open.get(&fh).copied().ok_or(Stop::Errno(Errno::BadF))
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn close(&mut self, fh: Fh) -> Option<Ino> {
        self.open.remove(&fh)
    }

    /// Closes all of them; the directories they were of.
    pub(super) fn close_all(&mut self) -> Vec<Ino> {
        let mut open: Vec<(Fh, Ino)> = self.open.drain().collect();
        open.sort_unstable();
        open.into_iter().map(|(_, ino)| ino).collect()
    }
}

impl Machine {
    pub(super) fn open_dir(&mut self, ino: Ino) -> Result<Reply, Stop> {
        self.node(ino)?.dir().ok_or(Errno::NotDir)?;
        self.engine.table.node_mut(ino).opens += 1;
        Ok(Reply::Opened(self.streams.open(ino)))
    }

    pub(super) fn sync_dir(&self, fh: Fh) -> Result<Reply, Stop> {
        self.streams.get(fh).map(|_| Reply::Done)
    }

    pub(super) fn read_dir(
        &mut self,
        cx: &mut Cx<'_>,
        fh: Fh,
        cookie: u64,
        max: usize,
        plus: bool,
    ) -> Result<Reply, Stop> {
        let ino = self.streams.get(fh)?;
        self.listed(cx, ino)?;
        let mut entries = Vec::new();
        let node = self.node(ino)?;
        let above = node.names.first().map_or(ino, |name| name.parent);
        for (at, name, ino) in [(DOT, &b"."[..], ino), (DOT_DOT, &b".."[..], above)] {
            if cookie < at && entries.len() < max {
                let (name, kind) = (Name::from(name), FileKind::Directory);
                entries.push(DirEntry { name, ino, kind, cookie: at, attr: None });
            }
        }
        let room = max - entries.len();
        let listing = node.dir().and_then(|dir| dir.dir.listing.as_ref()).ok_or(Errno::NotDir)?;
        let after = cookie.max(DOT_DOT) + u64::from(seeded!(PageSkips) && cookie > DOT_DOT);
        entries.extend(listing.after(after).take(room).map(|(at, name, slot)| {
            let (name, ino, kind) = (Arc::clone(name), slot.ino, slot.kind);
            DirEntry { name, ino, kind, cookie: at, attr: None }
        }));
        if plus {
            self.add_attributes(cx, ino, &mut entries);
        }
        Ok(Reply::Entries(entries))
    }

    /// Adds attributes, and with them a look-up, to all entries but `.` and `..`.
    fn add_attributes(&mut self, cx: &mut Cx<'_>, dir: Ino, entries: &mut [DirEntry]) {
        for entry in entries.iter_mut().filter(|entry| entry.cookie > DOT_DOT) {
            // An entry that can't be used is shown all the same; its look-up says why.
            if let Ok(Some(ino)) = self.engine.materialize(cx, dir, &entry.name) {
                let node = self.engine.table.node_mut(ino);
                node.lookups += 1;
                entry.attr = Some(node.attr());
            }
        }
    }
}
