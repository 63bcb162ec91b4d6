//! What all flows share, and the two ways in: an effect that ended, a timer that is due.

use std::collections::VecDeque;

use super::calls::{Calls, Due, Owner};
use super::commit::Commit;
use super::job::{Job, JobOwner, Product};
use super::piece::{PieceKey, PieceLoads};
use super::pressure::Pressure;
use super::since::Since;
use super::trees::Trees;
use crate::conc::{FileAttr, Shared};
use crate::format::{Hash, NodeRef, RefBody, Snapshot};
use crate::machine::names::{NodeBody, Table};
use crate::shapes::{Effect, Effects, Etag, Key, Outcome};
use crate::sync::Arc;
use crate::words::{EffectId, Errno, Ino, Now, TimerId};

/// The step at hand: what time it is, and where its effects go.
pub(crate) struct Cx<'a> {
    pub(crate) now: Now,
    pub(crate) out: &'a mut Effects<Job>,
}

/// Why a request can't be answered now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Errno(Errno),
    /// It is tried again when this has come; nothing was changed.
    Wait(WaitKey),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// What a parked request waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum WaitKey {
    /// The listing of a directory.
    Listing(Ino),
    /// Nodes of a file's piece tree.
    Layout(Ino),
    /// A piece of a file, or extended attributes.
    Piece(PieceKey),
    /// Memory.
    Room,
    /// The end of the commit, or of the early sending, that is under way.
    Commit,
}

/// Something that requests waited for has come, or will not.
#[derive(Debug)]
pub(crate) struct Wake {
    pub(crate) key: WaitKey,
    /// To be tried again, refused, or left waiting for something else.
    pub(crate) result: Result<(), Stop>,
}

/// The repository as the mount knows it.
#[derive(Debug)]
pub(crate) struct Repo {
    pub(crate) chunk_bytes: u32,
    pub(crate) read_only: bool,
    /// The snapshot that the mount shows below its changes; `None` on a branch born empty.
    pub(crate) base: Option<Hash>,
    /// What it holds.
    pub(crate) snapshot: Option<Snapshot>,
    /// The ref that a commit moves.
    pub(crate) branch: Option<Branch>,
    /// The root directory of a branch that has no snapshot yet.
    pub(crate) first_root: FileAttr,
}

impl Repo {
    pub(crate) fn links(&self) -> Option<NodeRef> {
        self.snapshot.as_ref().and_then(|snapshot| snapshot.links)
    }

    /// The number that no inode of the snapshot reaches.
    pub(crate) fn next_ino(&self) -> Ino {
        self.snapshot.as_ref().map_or(Ino::ROOT, |snapshot| snapshot.next_ino)
    }
}

/// A ref as it was last seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Branch {
    /// Its key in the store.
    pub key: Key,
    /// What it holds.
    pub body: RefBody,
    /// Identity of that body.
    pub etag: Etag,
}

/// Everything that flows decide on.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) shared: Arc<Shared>,
    pub(crate) table: Table,
    pub(crate) repo: Repo,
    pub(crate) calls: Calls,
    pub(crate) trees: Trees,
    pub(crate) pieces: PieceLoads,
    pub(crate) pressure: Pressure,
    pub(crate) commit: Option<Box<Commit>>,
    /// Commits begun so far; the number of the one under way.
    pub(crate) commit_serial: u64,
    /// What came, for the requests that wait; the face takes it after each input.
    pub(crate) woken: VecDeque<Wake>,
    /// When the oldest uncommitted change was made.
    pub(crate) since: Since,
    /// Objects already reported as damaged or missing.
    pub(crate) reported: std::collections::BTreeSet<Key>,
}

impl Engine {
    pub(crate) fn new(shared: Arc<Shared>, table: Table, repo: Repo) -> Self {
        Self {
            shared,
            table,
            repo,
            calls: Calls::default(),
            trees: Trees::default(),
            pieces: PieceLoads::default(),
            pressure: Pressure::default(),
            commit: None,
            commit_serial: 0,
            woken: VecDeque::new(),
            since: Since::default(),
            reported: std::collections::BTreeSet::new(),
        }
    }

    /// Whether this commit is the one under way.
    pub(crate) fn is_commit(&self, serial: u64) -> bool {
        self.present_commit() == Some(serial)
    }

    /// The commit under way.
    fn present_commit(&self) -> Option<u64> {
        self.commit.as_ref().map(|_| self.commit_serial)
    }

    /// An effect ended.
    pub(crate) fn completed(&mut self, cx: &mut Cx<'_>, id: EffectId, outcome: Outcome<Product>) {
        match outcome {
            Outcome::Store(outcome) => {
                let (limits, commit) = (&self.shared.limits, self.present_commit());
                let done = self.calls.completed(cx, limits, id, outcome, commit);
                let Some(done) = done else { return };
                match done.owner {
                    Owner::Node(hash) => self.node_fetched(cx, hash, done.outcome),
                    Owner::Piece(key) => self.piece_fetched(cx, key, done.outcome),
                    Owner::Commit(serial, call) if self.is_commit(serial) => {
                        self.commit_answered(cx, call, done.outcome);
                    }
                    // It was given up meanwhile.
                    Owner::Commit(..) => {}
                }
            }
            Outcome::Computed(product) => match self.calls.job_ended(id) {
                Some(JobOwner::Node(hash)) => self.node_checked(cx, hash, product),
                Some(JobOwner::Piece(key)) => self.piece_checked(cx, key, product),
                Some(JobOwner::Commit(serial, work)) if self.is_commit(serial) => {
                    self.commit_computed(cx, work, product);
                }
                Some(JobOwner::Commit(..)) | None => {}
            },
        }
    }

    /// A timer is due.
    pub(crate) fn timer(&mut self, cx: &mut Cx<'_>, id: TimerId) -> Option<Due> {
        match self.calls.due(id)? {
            Due::Retry(call) => {
                if call.is_wanted(self.present_commit()) {
                    self.calls.resend(cx, *call);
                }
                None
            }
            due @ Due::Deadline => Some(due),
        }
    }

    /// Requests that wait for `key` are tried again, refused, or wait for something else.
    pub(crate) fn wake(&mut self, key: WaitKey, result: Result<(), Stop>) {
        self.woken.push_back(Wake { key, result });
    }

    /// Tells the operator, once, that an object can't be used.
    pub(crate) fn report(&mut self, cx: &mut Cx<'_>, key: Key, why: &str) {
        if self.reported.insert(key.clone()) {
            cx.out.push(Effect::Report(format!("object {key}: {why}")));
        }
    }

    /// Nothing that was changed is being sent; else the request waits for the end of that.
    pub(crate) fn settled(&mut self, cx: &mut Cx<'_>) -> Result<(), Stop> {
        if self.repo.read_only {
            return Err(Stop::Errno(Errno::RoFs));
        }
        if self.commit.is_none() {
            return Ok(());
        }
        self.settle_first(cx);
        // Settling it may have ended it.
        if self.commit.is_none() { Ok(()) } else { Err(Stop::Wait(WaitKey::Commit)) }
    }

    /// Makes an inode ready to be changed: notes that it is, and what it was at the last cut.
    pub(crate) fn register(&mut self, ino: Ino) -> Result<(), Stop> {
        if self.repo.read_only {
            return Err(Stop::Errno(Errno::RoFs));
        }
        let limit = self.shared.limits.changed_inodes;
        if !self.table.changed.contains(&ino) {
            if self.table.changed.len() as u64 >= limit {
                return Err(Stop::Errno(Errno::NoSpc));
            }
            if self.table.changed.is_empty() {
                self.since.changed();
            }
            if !seeded!(ForgetsRegister) {
                self.table.changed.insert(ino);
            }
        }
        let epoch = self.shared.epoch();
        let NodeBody::File(node) = &self.table.node(ino).body else { return Ok(()) };
        let file = Arc::clone(&node.file);
        if file.epoch() != epoch {
            let is_left = seeded!(SealsEveryOther) && ino.0.is_multiple_of(2);
            if let Some(commit) = self.commit.as_mut().filter(|_| !is_left) {
                commit.plan.seal(ino);
            }
            file.register(epoch);
        }
        Ok(())
    }
}
