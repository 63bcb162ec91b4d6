//! A commit: data, then trees from the bottom up, then the snapshot, then the ref. Nothing is named
//! before it is stored; nothing is sent that was not hashed.

use std::collections::BTreeMap;

use super::engine::{Cx, Engine};
use super::job::{Changes, Job, JobOwner, Made, Product, Work};
use super::lay::Laying;
use super::plan::{Plan, PlannedBody};
use super::publish::Publish;
use super::puts::{PutFor, Puts};
use super::task::packed_of;
use super::trees::Asker;
use super::upload::Uploads;
use crate::format::{Built, Hashed, NodeRef, ObjectName, UpdateError, check_words};
use crate::shapes::{CommitResult, Effect, Reply, StoreError, StoreOutcome};
use crate::words::{Ino, Ticket, Time};

/// What a commit asked to be loaded or computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum CommitWork {
    /// The pieces of a file that may be kept.
    Locate(Ino),
    /// An object of data.
    Task(u64),
    /// A tree that changes.
    Tree(TreeKey),
    /// The comparison with what is known of an object that was there already.
    Compare(u64),
    /// The check of an object that was there already.
    Check(u64),
    /// Nodes laid into objects.
    Lay,
}

/// A tree that a commit changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum TreeKey {
    /// The piece tree of a file.
    File(Ino),
    /// The entries of a directory.
    Dir(Ino),
    /// The link table.
    Links,
}

/// A store request of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CommitCall {
    /// Put an object.
    Put(u64),
    /// Look at an object that was there already.
    Look(u64),
    /// Read it.
    Check(u64),
    /// Put the ref.
    Ref,
    /// Read the ref, to settle what became of it.
    ReadRef,
}

/// Which part of a commit is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Data,
    Trees,
    Snapshot,
    Publish,
}

/// A commit under way, or a spill: the data phase alone.
#[derive(Debug)]
pub(crate) struct Commit {
    /// What was asked for; `None` for a spill.
    pub(crate) request: Option<CommitRequest>,
    /// The commit that begins once this one has ended.
    pub(crate) next: Option<CommitRequest>,
    pub(crate) plan: Plan,
    pub(crate) uploads: Uploads,
    pub(super) phase: Phase,
    pub(super) puts: Puts,
    /// Changes of trees that wait for nodes.
    waiting: BTreeMap<TreeKey, (Option<NodeRef>, Changes)>,
    /// Trees that are not made yet.
    pub(super) trees_left: usize,
    pub(super) laying: Laying,
    pub(crate) links: Option<NodeRef>,
    pub(crate) publish: Option<Publish>,
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
}

/// Who asked for the commit, and what to say of it.
#[derive(Clone, Debug)]
pub(crate) struct CommitRequest {
    /// Who waits for the answer; nobody once it was given.
    pub(crate) ticket: Option<Ticket>,
    pub(crate) author: String,
    pub(crate) message: String,
    pub(crate) attempt: u128,
    pub(crate) time: Time,
}

impl Engine {
    /// Begins a commit; after a spill that is under way, or after settling one whose outcome is
    /// unknown.
    pub(crate) fn begin_commit(&mut self, cx: &mut Cx<'_>, request: CommitRequest) {
        if let Err(error) = check_words(&request.author, &request.message) {
            return answer(cx, request.ticket, Reply::Commit(CommitResult::Unfit { error }));
        }
        if let Some(commit) = &mut self.commit {
            let unsettled = commit.request.as_ref().is_some_and(|r| r.ticket.is_none());
            if commit.next.is_some() || (commit.request.is_some() && !unsettled) {
                return answer(cx, request.ticket, Reply::Commit(CommitResult::Busy));
            }
            commit.next = Some(request);
            if unsettled {
                self.settle_first(cx);
            }
            return;
        }
        if let Some(refusal) = self.refusal() {
            return answer(cx, request.ticket, Reply::Commit(refusal));
        }
        if self.table.changed.is_empty() && self.table.gone.links.is_empty() {
            return self.unchanged(cx, request.ticket);
        }
        let plan = self.cut();
        self.start_commit(cx, Some(request), plan);
    }

    /// Starts with the data of a plan.
    pub(crate) fn start_commit(
        &mut self,
        cx: &mut Cx<'_>,
        request: Option<CommitRequest>,
        plan: Plan,
    ) {
        self.commit_serial += 1;
        self.commit = Some(Box::new(Commit {
            request,
            next: None,
            uploads: Uploads::of(&plan),
            phase: Phase::Data,
            puts: Puts::default(),
            waiting: BTreeMap::new(),
            trees_left: 0,
            laying: Laying::new(self.repo.chunk_bytes),
            links: self.repo.links(),
            publish: None,
            objects: 0,
            bytes: 0,
            plan,
        }));
        self.advance_commit(cx);
    }

    fn unchanged(&mut self, cx: &mut Cx<'_>, ticket: Option<Ticket>) {
        let reply = match self.repo.base {
            Some(snapshot) => CommitResult::Unchanged { snapshot },
            None => CommitResult::Empty,
        };
        answer(cx, ticket, Reply::Commit(reply));
    }

    /// Does whatever a commit can do now.
    pub(crate) fn advance_commit(&mut self, cx: &mut Cx<'_>) {
        self.pump_uploads(cx);
        self.send_puts(cx);
        let Some(commit) = &mut self.commit else { return };
        match commit.phase {
            Phase::Data if commit.uploads.is_done() && commit.request.is_none() => {
                if self.all_laid(cx) {
                    self.spilled(cx);
                }
            }
            Phase::Data if commit.uploads.is_done() => {
                commit.phase = Phase::Trees;
                self.start_trees(cx);
            }
            Phase::Trees if commit.trees_left == 0 => {
                if self.all_laid(cx)
                    && let Some(commit) = &mut self.commit
                {
                    commit.phase = Phase::Snapshot;
                    self.put_snapshot(cx);
                }
            }
            Phase::Data | Phase::Trees | Phase::Snapshot | Phase::Publish => {}
        }
    }

    /// Starts with the directories that have none below them, and the link table.
    fn start_trees(&mut self, cx: &mut Cx<'_>) {
        let links = self.links_changes();
        let Some(commit) = &mut self.commit else { return };
        let mut ready = Vec::new();
        for (ino, planned) in &commit.plan.inodes {
            if let PlannedBody::Dir(dir) = &planned.body {
                commit.trees_left += 1;
                if dir.waits_for == 0 {
                    ready.push(*ino);
                }
            }
        }
        if !links.is_empty() {
            commit.trees_left += 1;
            let root = self.repo.links();
            self.update_tree(cx, TreeKey::Links, root, Changes::Links(links));
        }
        for ino in ready {
            self.start_directory(cx, ino);
        }
        self.advance_commit(cx);
    }

    fn start_directory(&mut self, cx: &mut Cx<'_>, ino: Ino) {
        let Some(commit) = &mut self.commit else { return };
        let changes = commit.plan.changes_of(ino);
        let root = commit.plan.dir_mut(ino).root;
        if changes.is_empty() {
            return self.tree_made(cx, TreeKey::Dir(ino), root);
        }
        self.update_tree(cx, TreeKey::Dir(ino), root, Changes::Directory(changes));
    }

    /// Computes a changed tree.
    pub(crate) fn update_tree(
        &mut self,
        cx: &mut Cx<'_>,
        key: TreeKey,
        root: Option<NodeRef>,
        changes: Changes,
    ) {
        let have = self.trees.have(&Asker::Commit(self.commit_serial, CommitWork::Tree(key)));
        if let Some(commit) = &mut self.commit {
            commit.waiting.insert(key, (root, changes.clone()));
        }
        let job = Job(Work::Update { root, changes, have });
        self.calls.compute(cx, job, JobOwner::Commit(self.commit_serial, CommitWork::Tree(key)));
    }

    fn tree_updated(
        &mut self,
        cx: &mut Cx<'_>,
        key: TreeKey,
        built: Result<Built, UpdateError>,
        changes: Changes,
    ) {
        let asker = Asker::Commit(self.commit_serial, CommitWork::Tree(key));
        match built {
            Ok(built) => {
                self.trees.forget(&asker);
                if let Some(commit) = &mut self.commit {
                    commit.waiting.remove(&key);
                }
                self.lay(cx, built.nodes);
                self.tree_made(cx, key, built.root);
            }
            Err(UpdateError::Missing(nodes)) => {
                if self.ask(cx, &asker, changes.kind(), &nodes) {
                    self.commit_gathered(cx, CommitWork::Tree(key));
                }
            }
            Err(UpdateError::Format(error)) => {
                let what = format!("tree {key:?}: {error}");
                self.commit_failed(cx, what, StoreError::Damaged);
            }
        }
    }

    /// A tree is made; its nodes are laid into objects meanwhile.
    fn tree_made(&mut self, cx: &mut Cx<'_>, key: TreeKey, root: Option<NodeRef>) {
        let Some(commit) = &mut self.commit else { return };
        match key {
            TreeKey::File(ino) => {
                self.file_tree_made(ino, root);
            }
            TreeKey::Links => {
                commit.links = root;
                commit.trees_left -= 1;
            }
            TreeKey::Dir(ino) => {
                commit.trees_left -= 1;
                commit.plan.dir_mut(ino).root = root;
                let name = commit.plan.inodes.get(&ino).and_then(|p| p.names.first());
                if let Some((parent, _)) = name {
                    let parent = *parent;
                    let dir = commit.plan.dir_mut(parent);
                    dir.waits_for -= 1;
                    if dir.waits_for == 0 {
                        self.start_directory(cx, parent);
                    }
                }
            }
        }
        self.advance_commit(cx);
    }

    /// A store request of the commit was answered.
    pub(crate) fn commit_answered(
        &mut self,
        cx: &mut Cx<'_>,
        call: CommitCall,
        outcome: StoreOutcome,
    ) {
        match call {
            CommitCall::Put(id) => self.put_answered(cx, id, outcome),
            CommitCall::Look(id) => self.existing_found(cx, id, outcome),
            CommitCall::Check(id) => self.existing_read(cx, id, outcome),
            CommitCall::Ref => self.ref_answered(cx, outcome),
            CommitCall::ReadRef => self.ref_read(cx, outcome),
        }
    }

    /// An object is stored: go on with what it was put for.
    pub(super) fn stored_for(&mut self, cx: &mut Cx<'_>, purpose: PutFor, object: &Hashed) {
        let Some(commit) = &mut self.commit else { return };
        match purpose {
            PutFor::Task(task) => self.task_stored(cx, task, ObjectName::first(object.hash())),
            PutFor::Nodes => {
                commit.laying.pack_stored();
                self.advance_commit(cx);
            }
            PutFor::Snapshot => {
                commit.phase = Phase::Publish;
                self.publish(cx, object.hash());
            }
        }
    }

    /// A job of the commit is done.
    pub(crate) fn commit_computed(&mut self, cx: &mut Cx<'_>, work: CommitWork, product: Product) {
        match (work, product.0) {
            (CommitWork::Task(id), made) => {
                let (object, packed) = packed_of(made);
                self.task_hashed(cx, id, object, packed);
            }
            (CommitWork::Tree(key), Made::Updated(built, changes)) => {
                self.tree_updated(cx, key, built, changes);
            }
            (CommitWork::Check(id), Made::Verified(checked)) => {
                self.existing_checked(cx, id, checked.map(|_| ()));
            }
            (CommitWork::Compare(id), Made::Compared(same)) => {
                self.existing_compared(cx, id, same);
            }
            (CommitWork::Lay, Made::Laid(packer, packs)) => self.laid(cx, packer, packs),
            (
                CommitWork::Tree(_)
                | CommitWork::Check(_)
                | CommitWork::Compare(_)
                | CommitWork::Locate(_)
                | CommitWork::Lay,
                made,
            ) => unreachable!("{work:?} does not make {made:?}"),
        }
    }

    /// Nodes that the commit asked for are there.
    pub(crate) fn commit_gathered(&mut self, cx: &mut Cx<'_>, work: CommitWork) {
        match work {
            CommitWork::Locate(ino) => {
                self.locate_kept(cx, ino);
                self.advance_commit(cx);
            }
            CommitWork::Task(id) => self.locate_task(cx, id),
            CommitWork::Tree(key) => {
                let waiting = self.commit.as_mut().and_then(|c| c.waiting.remove(&key));
                if let Some((root, changes)) = waiting {
                    self.update_tree(cx, key, root, changes);
                }
            }
            CommitWork::Check(_) | CommitWork::Compare(_) | CommitWork::Lay => {
                unreachable!("{work:?} asks for no nodes")
            }
        }
    }
}

/// Answers who asked for a commit, if anybody still waits.
pub(super) fn answer(cx: &mut Cx<'_>, ticket: Option<Ticket>, reply: Reply) {
    if let Some(ticket) = ticket {
        cx.out.push(Effect::Reply(ticket, Ok(reply)));
    }
}
