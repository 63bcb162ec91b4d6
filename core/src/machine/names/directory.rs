//! A directory: its listing, once looked at, and which names changed since the last commit.

use std::collections::BTreeMap;

use crate::format::NodeRef;
use crate::machine::names::node::Record;
use crate::shapes::{FileKind, Name};
use crate::sync::Arc;
use crate::words::Ino;

/// Cookies 1 and 2 are `.` and `..`; entries begin here.
const FIRST_COOKIE: u64 = 3;

#[derive(Debug)]
pub(crate) struct Directory {
    /// The tree that the last snapshot has for it.
    pub(crate) root: Option<NodeRef>,
    pub(crate) subdirs: u64,
    /// All its names; `None` until it is first looked at.
    pub(crate) listing: Option<Listing>,
    /// Names added, removed or pointed elsewhere since the last cut, each with what it stood for
    /// before.
    pub(crate) touched: BTreeMap<Name, Option<Slot>>,
}

/// All names of a directory. A name keeps its cookie as long as it exists, and cookies only grow,
/// so a stream goes on after any cookie whatever was added or removed meanwhile.
#[derive(Debug)]
pub(crate) struct Listing {
    names: BTreeMap<Name, Slot>,
    by_cookie: BTreeMap<u64, Name>,
    next_cookie: u64,
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) ino: Ino,
    pub(crate) kind: FileKind,
    /// What the last snapshot says of the inode; `None` when it is new.
    pub(crate) record: Option<Record>,
    cookie: u64,
}

impl Slot {
    pub(crate) fn new(ino: Ino, kind: FileKind, record: Option<Record>) -> Self {
        Self { ino, kind, record, cookie: 0 }
    }
}

impl Directory {
    /// A directory that the snapshot holds, not looked at yet.
    pub(crate) fn stored(root: Option<NodeRef>, subdirs: u64) -> Self {
        let listing = root.is_none().then(Listing::new);
        Self { root, subdirs, listing, touched: BTreeMap::new() }
    }

    /// Points a name at an inode, or at nothing, and notes what it stood for.
    pub(crate) fn point(&mut self, name: &Name, slot: Option<Slot>) {
        let listing = self.listing.as_mut().expect("a directory is listed before it changes");
        self.touched.entry(Arc::clone(name)).or_insert_with(|| listing.get(name).cloned());
        match slot {
            Some(slot) => listing.insert(Arc::clone(name), slot),
            None => listing.remove(name),
        }
    }

    /// Notes that the entry of a name changes, though it stands for the same inode.
    pub(crate) fn touch(&mut self, name: &Name) {
        let was = self.listing.as_ref().and_then(|listing| listing.get(name)).cloned();
        self.touched.entry(Arc::clone(name)).or_insert(was);
    }

    /// The listing of a directory that was changed.
    pub(super) fn listing_mut(&mut self) -> &mut Listing {
        self.listing.as_mut().expect("a directory is listed before it changes")
    }

    /// Notes what the snapshot that was just made says of a name's inode: it was its name then.
    pub(crate) fn set_record(&mut self, name: &Name, ino: Ino, record: &Record) {
        let was = self.touched.get_mut(name).and_then(Option::as_mut);
        if let Some(slot) = was.filter(|slot| slot.ino == ino) {
            slot.record = Some(record.clone());
        }
        if let Some(listing) = &mut self.listing {
            listing.set_record(name, ino, record);
        }
    }

    /// A new directory.
    pub(crate) fn empty() -> Self {
        Self::stored(None, 0)
    }
}

impl Listing {
    pub(crate) fn new() -> Self {
        Self { names: BTreeMap::new(), by_cookie: BTreeMap::new(), next_cookie: FIRST_COOKIE }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(crate) fn get(&self, name: &Name) -> Option<&Slot> {
        self.names.get(name)
    }

    /// Points `name` at `slot`: under its cookie, or a new one for a new name.
    pub(crate) fn insert(&mut self, name: Name, mut slot: Slot) {
        slot.cookie = match self.names.get(&name) {
            Some(old) => old.cookie,
            None => {
                self.by_cookie.insert(self.next_cookie, Arc::clone(&name));
                self.next_cookie += 1;
                self.next_cookie - 1
            }
        };
        self.names.insert(name, slot);
    }

    pub(super) fn remove(&mut self, name: &Name) {
        if let Some(slot) = self.names.remove(name) {
            self.by_cookie.remove(&slot.cookie);
        }
    }

    /// Notes what the snapshot now says of a name's inode.
    fn set_record(&mut self, name: &Name, ino: Ino, record: &Record) {
        if let Some(slot) = self.names.get_mut(name).filter(|slot| slot.ino == ino) {
            slot.record = Some(record.clone());
        }
    }

    /// Entries after a cookie, in the order of cookies.
    pub(crate) fn after(&self, cookie: u64) -> impl Iterator<Item = (u64, &Name, &Slot)> {
        let next = cookie.saturating_add(u64::from(!seeded!(PageRepeats)));
        self.by_cookie.range(next..).map(|(cookie, name)| {
            let slot = self.names.get(name).expect("each cookie stands for a name");
            (*cookie, name, slot)
        })
    }
}
