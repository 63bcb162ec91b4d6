//! Rare things that runs are to reach, all of them listed here beforehand: a trouble of the store
//! at a place where the core has to go on from it; an error that a caller gets to see; and what
//! games are played for.

use std::fmt;

use vellum_core::shapes::{Op, StoreRequest};

/// What is asked of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    ReadChunk,
    ReadTree,
    ReadRef,
    LookChunk,
    LookTree,
    LookSnapshot,
    WriteChunk,
    WriteTree,
    WriteSnapshot,
    WriteRef,
}

const ASKED: [(Asked, &str); 10] = [
    (Asked::ReadChunk, "a chunk is read"),
    (Asked::ReadTree, "a node of a tree is read"),
    (Asked::ReadRef, "a ref is read"),
    (Asked::LookChunk, "a chunk that exists is looked at"),
    (Asked::LookTree, "a node that exists is looked at"),
    (Asked::LookSnapshot, "a snapshot that exists is looked at"),
    (Asked::WriteChunk, "a chunk is put"),
    (Asked::WriteTree, "a node of a tree is put"),
    (Asked::WriteSnapshot, "a snapshot is put"),
    (Asked::WriteRef, "a ref is put"),
];

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    Patience,
    Unreachable,
    Denied,
    Slow,
    SenderDies,
    Missing,
    Damaged,
    BitTurned,
    CutShort,
    TooLong,
    Full,
    LostNever,
    LostBefore,
    LostLater,
    Twice,
    Busy,
    Exists,
}

const TROUBLES: [(Trouble, &str); 17] = [
    (Trouble::Patience, "the store asks for patience"),
    (Trouble::Unreachable, "the store can't be reached"),
    (Trouble::Denied, "the credentials are refused"),
    (Trouble::Slow, "it takes seconds"),
    (Trouble::SenderDies, "the sender dies before the answer"),
    (Trouble::Missing, "it is not there"),
    (Trouble::Damaged, "the answer is not what was sent"),
    (Trouble::BitTurned, "a bit of it is turned"),
    (Trouble::CutShort, "its end is missing"),
    (Trouble::TooLong, "something follows it"),
    (Trouble::Full, "the store is full"),
    (Trouble::LostNever, "there is no answer, and it never was applied"),
    (Trouble::LostBefore, "there is no answer, and it was applied"),
    (Trouble::LostLater, "there is no answer, and it is applied later"),
    (Trouble::Twice, "it arrives twice, and the second is answered"),
    (Trouble::Busy, "another put of the key is under way"),
    (Trouble::Exists, "the condition does not hold"),
];

impl Trouble {
    pub(crate) fn words(self) -> &'static str {
        TROUBLES[self as usize].1
    }
}

/// Requests that are to fail because the store does.
const ERRORS: [&str; 19] = [
    "lookup",
    "setattr",
    "read",
    "write",
    "readdir",
    "mknod",
    "mkdir",
    "symlink",
    "unlink",
    "rmdir",
    "rename",
    "link",
    "create",
    "fallocate",
    "diff",
    "setxattr",
    "getxattr",
    "listxattr",
    "removexattr",
];

/// What games are played for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    PublishedBeside,
    LostToMount,
    UnknownPublished,
    UnknownNot,
    DiesPublished,
    DiesNot,
    AllDie,
    Fails,
    Unchanged,
    ChangedAndPublished,
    ChangedAndFailed,
    ChangedAndLost,
    ChangedAndUnknown,
    NoRoom,
}

const TURNS: [(Turn, &str); 14] = [
    (Turn::PublishedBeside, "a commit is published while another mount has one under way"),
    (Turn::LostToMount, "a commit loses to another mount's"),
    (Turn::UnknownPublished, "a commit's outcome stays unknown, and it was published"),
    (Turn::UnknownNot, "a commit's outcome stays unknown, and it was not"),
    (Turn::DiesPublished, "a mount dies with a commit under way that is published"),
    (Turn::DiesNot, "a mount dies with a commit under way that is not"),
    (Turn::AllDie, "all mounts die at once"),
    (Turn::Fails, "a commit fails, and the mount goes on"),
    (Turn::Unchanged, "a commit says that nothing has changed"),
    (Turn::ChangedAndPublished, "a commit is published that something changed beside"),
    (Turn::ChangedAndFailed, "a commit fails that something changed beside"),
    (Turn::ChangedAndLost, "a commit loses to somebody else, and something changed beside"),
    (Turn::ChangedAndUnknown, "a commit's outcome stays unknown, and something changed beside"),
    (Turn::NoRoom, "a write finds no memory"),
];

const AFTER_STORE: usize = ASKED.len() * TROUBLES.len();
const AFTER_ERRORS: usize = AFTER_STORE + ERRORS.len();
const ALL: usize = AFTER_ERRORS + TURNS.len();

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site(usize);

impl Site {
    pub(crate) fn of_store(asked: Asked, trouble: Trouble) -> Self {
        Self(asked as usize * TROUBLES.len() + trouble as usize)
    }

    /// A request that failed because the store did, if it can.
    pub(crate) fn of_error(op: &Op) -> Option<Self> {
        let name = verb(op)?;
        ERRORS.iter().position(|error| *error == name).map(|at| Self(AFTER_STORE + at))
    }

    pub(crate) fn of_turn(turn: Turn) -> Self {
        Self(AFTER_ERRORS + turn as usize)
    }

    /// All that are to be reached.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..ALL).map(Self).filter(|site| site.is_listed())
    }

    fn is_listed(self) -> bool {
        let Some((asked, trouble)) = self.store() else { return true };
        is_possible(ASKED[asked].0, TROUBLES[trouble].0)
    }

    fn store(self) -> Option<(usize, usize)> {
        (self.0 < AFTER_STORE).then(|| (self.0 / TROUBLES.len(), self.0 % TROUBLES.len()))
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((asked, trouble)) = self.store() {
            return write!(f, "{}: {}", ASKED[asked].1, TROUBLES[trouble].1);
        }
        match ERRORS.get(self.0 - AFTER_STORE) {
            Some(verb) => write!(f, "{verb} fails because the store does"),
            None => f.write_str(TURNS[self.0 - AFTER_ERRORS].1),
        }
    }
}

/// Whether it is to happen. What is named by its hash is read for its bytes, refs for theirs and
/// their identity; only reads bring bytes, only puts change anything.
fn is_possible(asked: Asked, trouble: Trouble) -> bool {
    let is_read = matches!(asked, Asked::ReadChunk | Asked::ReadTree | Asked::ReadRef);
    let is_look = matches!(asked, Asked::LookChunk | Asked::LookTree | Asked::LookSnapshot);
    match trouble {
        Trouble::Patience
        | Trouble::Unreachable
        | Trouble::Denied
        | Trouble::Slow
        | Trouble::SenderDies => true,
        Trouble::Damaged => is_read,
        Trouble::BitTurned | Trouble::CutShort | Trouble::TooLong | Trouble::Missing => {
            is_read && asked != Asked::ReadRef
        }
        Trouble::Full
        | Trouble::LostNever
        | Trouble::LostBefore
        | Trouble::LostLater
        | Trouble::Twice
        | Trouble::Busy
        | Trouble::Exists => !is_read && !is_look,
    }
}

/// What a request asks for; none if mounts never ask that.
pub(crate) fn asked(request: &StoreRequest) -> Option<Asked> {
    let of = |key: &str, kinds: [Option<Asked>; 4]| {
        let prefixes = ["chunks/", "trees/", "snapshots/", "refs/"];
        kinds[prefixes.iter().position(|prefix| key.starts_with(prefix))?]
    };
    let (read, look, write) = (
        [Some(Asked::ReadChunk), Some(Asked::ReadTree), None, Some(Asked::ReadRef)],
        [Some(Asked::LookChunk), Some(Asked::LookTree), Some(Asked::LookSnapshot), None],
        [Asked::WriteChunk, Asked::WriteTree, Asked::WriteSnapshot, Asked::WriteRef].map(Some),
    );
    match request {
        StoreRequest::Get { key, .. } => of(key, read),
        StoreRequest::Head { key } => of(key, look),
        StoreRequest::Put { key, .. } => of(key, write),
        StoreRequest::List { .. } | StoreRequest::Delete { .. } => None,
    }
}

fn verb(op: &Op) -> Option<&'static str> {
    Some(match op {
        Op::Lookup { .. } => "lookup",
        Op::SetAttr { .. } => "setattr",
        Op::Read { .. } => "read",
        Op::Write { .. } => "write",
        Op::ReadDir { .. } => "readdir",
        Op::MakeNode { .. } => "mknod",
        Op::MakeDir { .. } => "mkdir",
        Op::Symlink { .. } => "symlink",
        Op::Unlink { .. } => "unlink",
        Op::RemoveDir { .. } => "rmdir",
        Op::Rename { .. } => "rename",
        Op::Link { .. } => "link",
        Op::Create { .. } => "create",
        Op::Fallocate { .. } => "fallocate",
        Op::Diff => "diff",
        Op::SetXattr { .. } => "setxattr",
        Op::GetXattr { .. } => "getxattr",
        Op::ListXattr { .. } => "listxattr",
        Op::RemoveXattr { .. } => "removexattr",
        Op::Forget { .. }
        | Op::Disconnect
        | Op::GetAttr { .. }
        | Op::ReadLink { .. }
        | Op::Open { .. }
        | Op::Flush { .. }
        | Op::Fsync { .. }
        | Op::Release { .. }
        | Op::OpenDir { .. }
        | Op::FsyncDir { .. }
        | Op::StatFs
        | Op::Seek { .. }
        | Op::Status
        | Op::Discard
        | Op::Restore { .. }
        | Op::Revive { .. }
        | Op::Withdraw { .. }
        | Op::Settle { .. }
        | Op::Commit { .. } => return None,
    })
}

/// How often each was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sites(Vec<u64>);

impl Default for Sites {
    fn default() -> Self {
        Self(vec![0; ALL])
    }
}

impl Sites {
    /// It was reached once more.
    pub(crate) fn reach(&mut self, site: Site) {
        self.0[site.0] += 1;
    }

    /// How often it was reached.
    #[must_use]
    pub fn count(&self, site: Site) -> u64 {
        self.0[site.0]
    }

    /// How often the one of this name was reached.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<u64> {
        Site::all().find(|site| site.to_string() == name).map(|site| self.count(site))
    }

    /// Adds what another run has reached.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(sum, count)| *sum += count);
    }

    /// All that are to be reached, and how often they were.
    pub fn listed(&self) -> impl Iterator<Item = (Site, u64)> {
        Site::all().map(|site| (site, self.count(site)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_has_a_place_and_a_name_of_its_own() {
        for (at, (asked, _)) in ASKED.into_iter().enumerate() {
            assert_eq!(asked as usize, at);
        }
        for (at, (trouble, _)) in TROUBLES.into_iter().enumerate() {
            assert_eq!(trouble as usize, at);
        }
        for (at, (turn, _)) in TURNS.into_iter().enumerate() {
            assert_eq!(turn as usize, at);
        }
        let names: BTreeSet<String> = Site::all().map(|site| site.to_string()).collect();
        assert_eq!(names.len(), Site::all().count());
        assert!(names.len() >= 100);
    }

    #[test]
    fn what_is_reached_is_counted_under_its_name() {
        let mut sites = Sites::default();
        sites.reach(Site::of_store(Asked::WriteRef, Trouble::Twice));
        sites.reach(Site::of_error(&Op::Diff).unwrap());
        sites.reach(Site::of_turn(Turn::NoRoom));
        sites.add(&sites.clone());
        let names = [
            "a ref is put: it arrives twice, and the second is answered",
            "diff fails because the store does",
            "a write finds no memory",
        ];
        assert_eq!(names.map(|name| sites.named(name)), [Some(2); 3]);
        assert_eq!(sites.listed().map(|(_, count)| count).sum::<u64>(), 6);
        assert_eq!(sites.named("what nobody has listed"), None);
    }
}
