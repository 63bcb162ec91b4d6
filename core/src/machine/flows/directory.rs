//! Loading of a directory's listing, when it is first looked at.

use super::engine::{Cx, Engine, Stop, WaitKey};
use super::gather::{Have, NodeKind};
use super::trees::Asker;
use crate::format::{Directories, Entry, Links, NodeRef, UpdateError, get, scan};
use crate::machine::names::{Listing, Record, Slot, kind_of};
use crate::shapes::{Name, StoreError};
use crate::sync::Arc;
use crate::words::{Errno, Ino};

impl Engine {
    /// The listing of a directory is there, or the request waits for it.
    pub(crate) fn listed(&mut self, cx: &mut Cx<'_>, ino: Ino) -> Result<(), Stop> {
        let node = self.table.get(ino).ok_or(Errno::Stale)?;
        let dir = &node.dir().ok_or(Errno::NotDir)?.dir;
        if dir.listing.is_some() {
            return Ok(());
        }
        self.load_listing(cx, ino);
        let loaded = self.table.node(ino).dir().is_some_and(|d| d.dir.listing.is_some());
        if loaded { Ok(()) } else { Err(Stop::Wait(WaitKey::Listing(ino))) }
    }

    /// Goes on with loading a listing: asks for the nodes that are missing, or makes it.
    pub(crate) fn load_listing(&mut self, cx: &mut Cx<'_>, ino: Ino) {
        let asker = Asker::Listing(ino);
        let Some(dir) = self.table.get(ino).and_then(|node| node.dir()) else {
            self.trees.forget(&asker);
            return;
        };
        if dir.dir.listing.is_some() {
            self.trees.forget(&asker);
            return;
        }
        let (root, links) = (dir.dir.root, self.repo.links());
        loop {
            let have = self.trees.have(&asker);
            match read_listing(root.as_ref(), links.as_ref(), &have) {
                Ok(listing) => {
                    if let Some(dir) = self.table.node_mut(ino).dir_mut() {
                        dir.dir.listing = Some(listing);
                    }
                    self.trees.forget(&asker);
                    return self.wake(WaitKey::Listing(ino), Ok(()));
                }
                Err(Unread::Missing(kind, nodes)) => {
                    if !self.ask(cx, &asker, kind, &nodes) {
                        return;
                    }
                }
                Err(Unread::Broken(why)) => {
                    self.trees.forget(&asker);
                    let key = format!("trees of directory inode {}", ino.0);
                    self.report(cx, key.clone(), &why);
                    return self.ask_failed(cx, asker, &key, &StoreError::Damaged);
                }
            }
        }
    }
}

enum Unread {
    Missing(NodeKind, Vec<NodeRef>),
    Broken(String),
}

impl Unread {
    fn of(kind: NodeKind, error: UpdateError) -> Self {
        match error {
            UpdateError::Missing(nodes) => Self::Missing(kind, nodes),
            UpdateError::Format(error) => Self::Broken(error.to_string()),
        }
    }
}

fn read_listing(
    root: Option<&NodeRef>,
    links: Option<&NodeRef>,
    have: &Have,
) -> Result<Listing, Unread> {
    let entries = scan::<Directories>(root, None, None, usize::MAX, &|h| have.directory(h))
        .map_err(|e| Unread::of(NodeKind::Directory, e))?;
    let mut missing = Vec::new();
    let mut listing = Listing::new();
    for (name, entry) in entries {
        match slot_of(entry, links, have) {
            Ok(slot) => listing.insert(name, slot),
            Err(Unread::Missing(_, nodes)) => missing.extend(nodes),
            Err(broken @ Unread::Broken(_)) => return Err(broken),
        }
    }
    if missing.is_empty() {
        return Ok(listing);
    }
    missing.sort_by_key(|node| node.object);
    missing.dedup();
    Err(Unread::Missing(NodeKind::Links, missing))
}

fn slot_of(entry: Entry, links: Option<&NodeRef>, have: &Have) -> Result<Slot, Unread> {
    let record = match entry {
        Entry::Inode(inode) => Record::Own(Arc::new(inode)),
        Entry::Link(ino) => {
            let linked = get::<Links>(links, &ino, &|h| have.links(h))
                .map_err(|e| Unread::of(NodeKind::Links, e))?
                .ok_or_else(|| Unread::Broken(format!("link {} has no inode", ino.0)))?;
            Record::Linked(Arc::new(linked))
        }
    };
    let inode = record.inode();
    let (ino, kind) = (inode.ino, kind_of(&inode.body));
    Ok(Slot::new(ino, kind, Some(record)))
}

/// A name in a directory whose listing is loaded.
pub(crate) fn find(engine: &Engine, parent: Ino, name: &Name) -> Option<Slot> {
    engine.table.get(parent)?.dir()?.dir.listing.as_ref()?.get(name).cloned()
}
