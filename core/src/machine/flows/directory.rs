//! Loading of a directory's listing, when it is first looked at.

use super::engine::{Cx, Engine, Stop, WaitKey};
use super::gather::{Have, NodeKind};
use super::trees::{Asker, key_of};
use crate::format::{Directories, Entry, Hash, Links, NodeRef, UpdateError, get, scan};
use crate::machine::names::{Listing, Record, Slot, Twice};
use crate::shapes::{Key, Name, StoreError};
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
            // A commit has let go of it. Whoever waits still makes it resident again.
            self.trees.forget(&asker);
            return self.wake(WaitKey::Listing(ino), Ok(()));
        };
        if dir.dir.listing.is_some() {
            self.trees.forget(&asker);
            return;
        }
        let root = dir.dir.root;
        let (links, below) = (self.repo.links(), self.repo.next_ino());
        loop {
            let have = self.trees.have(&asker);
            let source = Source { ino, links: links.as_ref(), below, have: &have };
            match read_listing(root.as_ref(), &source) {
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
                    let key = self.directory_key(ino);
                    self.report(cx, key.clone(), &why);
                    return self.ask_failed(cx, asker, &key, &StoreError::Damaged);
                }
            }
        }
    }

    /// Makes the inode that a name of a listed directory stands for resident; none when there is
    /// no such name.
    pub(crate) fn materialize(
        &mut self,
        cx: &mut Cx<'_>,
        parent: Ino,
        name: &Name,
    ) -> Result<Option<Ino>, Errno> {
        self.table.materialize(parent, name).map_err(|Twice(ino)| {
            let key = self.directory_key(parent);
            let name = name.escape_ascii();
            self.report(cx, key, &format!("{name} is inode {}, and so is another name", ino.0));
            Errno::Io
        })
    }

    /// What the operator is told of a directory that can't be used: its object.
    fn directory_key(&self, ino: Ino) -> Key {
        let root = self.table.get(ino).and_then(|node| node.dir()).and_then(|dir| dir.dir.root);
        match root {
            Some(root) => key_of(&root),
            None => format!("directory inode {}", ino.0),
        }
    }
}

/// What a listing is read from.
struct Source<'a> {
    /// The directory.
    ino: Ino,
    links: Option<&'a NodeRef>,
    /// No inode of the snapshot has this number or a higher one.
    below: Ino,
    have: &'a Have,
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

fn read_listing(root: Option<&NodeRef>, source: &Source<'_>) -> Result<Listing, Unread> {
    let nodes = |hash: &Hash| source.have.directory(hash);
    let entries = scan::<Directories>(root, None, None, usize::MAX, &nodes)
        .map_err(|e| Unread::of(NodeKind::Directory, e))?;
    let mut missing = Vec::new();
    let mut listing = Listing::new();
    for (name, entry) in entries {
        match slot_of(&name, entry, source) {
            Ok(slot) => listing.insert(name, slot),
            Err(Unread::Missing(_, nodes)) => missing.extend(nodes),
            Err(broken @ Unread::Broken(_)) => return Err(broken),
        }
    }
    if missing.is_empty() {
        return Ok(listing);
    }
    missing.sort_by_key(|node| node.hash);
    missing.dedup();
    Err(Unread::Missing(NodeKind::Links, missing))
}

/// What a name stands for. What a node alone can't say is checked here: that link table and
/// directory agree, and that no inode has a number that a new one may get.
fn slot_of(name: &Name, entry: Entry, source: &Source<'_>) -> Result<Slot, Unread> {
    let record = match entry {
        Entry::Inode(inode) => Record::Own(Arc::new(inode)),
        Entry::Link(ino) => {
            let linked = get::<Links>(source.links, &ino, &|h| source.have.links(h))
                .map_err(|e| Unread::of(NodeKind::Links, e))?
                .ok_or_else(|| Unread::Broken(format!("link {} has no inode", ino.0)))?;
            let order = |(parent, known): &(Ino, Name)| (parent, known).cmp(&(&source.ino, name));
            if linked.names.binary_search_by(order).is_err() {
                let name = name.escape_ascii();
                let why = format!("the link table knows inode {} by other names: {name}", ino.0);
                return Err(Unread::Broken(why));
            }
            Record::Linked(Arc::new(linked))
        }
    };
    let inode = record.inode();
    let (ino, kind) = (inode.ino, inode.body.kind());
    if ino >= source.below {
        let (name, below) = (name.escape_ascii(), source.below.0);
        let why = format!("{name} is inode {}, of a snapshot with none past {below}", ino.0);
        return Err(Unread::Broken(why));
    }
    Ok(Slot::new(ino, kind, Some(record)))
}

/// A name in a directory whose listing is loaded.
pub(crate) fn find(engine: &Engine, parent: Ino, name: &Name) -> Option<Slot> {
    engine.table.get(parent)?.dir()?.dir.listing.as_ref()?.get(name).cloned()
}
