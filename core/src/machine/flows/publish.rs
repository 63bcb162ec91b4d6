//! The end of a commit: the snapshot, the ref, and what the mount takes from it.

use std::collections::BTreeMap;

use super::calls::{Owner, Retry};
use super::commit::{Commit, CommitCall, answer};
use super::engine::{Branch, Cx, Engine, Stop, WaitKey};
use super::plan::{Planned, PlannedBody};
use super::puts::PutFor;
use crate::format::{Hash, Linked, ObjectKind, RefBody, Snapshot};
use crate::machine::names::Record;
use crate::shapes::{
    CommitResult, Condition, Etag, Key, Name, Reply, Slice, StoreError, StoreOutcome, StoreRequest,
};
use crate::sync::Arc;
use crate::words::{Errno, Ino, Ticket};

#[cfg(core_bugs)]
mod wrong;

/// A ref on its way.
#[derive(Debug)]
pub(crate) struct Publish {
    snapshot: Hash,
    body: RefBody,
    /// How often the same bytes were sent after an unknown outcome.
    resent: u32,
    standing: Standing,
}

/// What is known of a ref that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// No answer was lost: an error says that the ref is where it was.
    Sure,
    /// An answer was lost. That put may be applied yet, whatever becomes of a later one.
    Doubtful,
    /// As doubtful, and nothing is under way to learn more.
    Idle,
}

/// How often a ref is sent again while its outcome stays unknown and the ref unmoved.
const RESENDS: u32 = 3;

impl Engine {
    /// Why nothing can be committed from this mount.
    pub(crate) fn refusal(&self) -> Option<CommitResult> {
        match &self.repo.branch {
            Some(branch) if branch.body.gc_epoch != 0 => {
                Some(CommitResult::Collected { key: branch.key.clone() })
            }
            Some(_) if !self.repo.read_only => None,
            Some(_) | None => Some(CommitResult::NoBranch),
        }
    }

    /// What changes in the link table.
    pub(crate) fn links_changes(&self) -> BTreeMap<Ino, Option<Linked>> {
        let Some(commit) = &self.commit else { return BTreeMap::new() };
        let plan = &commit.plan;
        let gone = plan.gone.links.iter().filter(|_| !seeded!(LinkStaysInTable));
        let mut changes: BTreeMap<Ino, Option<Linked>> = gone.map(|ino| (*ino, None)).collect();
        for (ino, planned) in plan.inodes.iter().filter(|(_, planned)| planned.linked) {
            changes.insert(*ino, linked(commit, *ino, planned));
        }
        changes
    }

    /// All trees are stored: put the snapshot, unless it says what the base says.
    pub(crate) fn put_snapshot(&mut self, cx: &mut Cx<'_>) {
        let Some(snapshot) = self.next_snapshot() else { return };
        let same = |base: &Snapshot| base.root == snapshot.root && base.links == snapshot.links;
        if let (Some(base), Some(hash)) = (&self.repo.snapshot, self.repo.base)
            && same(base)
        {
            let Some(commit) = self.commit.take() else { return };
            let ticket = ticket_of(&commit);
            self.take_over(*commit);
            let reply = Reply::Commit(CommitResult::Unchanged { snapshot: hash });
            return answer(cx, ticket, reply);
        }
        match snapshot.seal() {
            Ok(object) => self.put_object(cx, ObjectKind::Snapshot, object, PutFor::Snapshot),
            Err(error) => self.give_up(cx, CommitResult::Unfit { error }),
        }
    }

    fn next_snapshot(&self) -> Option<Snapshot> {
        let commit = self.commit.as_ref()?;
        let (plan, request) = (&commit.plan, commit.request.as_ref()?);
        let base_bytes = self.repo.snapshot.as_ref().map_or(0, |base| base.bytes);
        Some(Snapshot {
            root: plan.inode(Ino::ROOT)?,
            links: commit.links,
            parents: self
                .repo
                .base
                .into_iter()
                .filter(|_| !seeded!(SnapshotWithoutParent))
                .collect(),
            time: request.time,
            author: request.author.clone(),
            message: request.message.clone(),
            next_ino: plan.next_ino,
            files: plan.count,
            bytes: plan.bytes(base_bytes),
        })
    }

    /// The snapshot is stored: move the ref.
    pub(crate) fn publish(&mut self, cx: &mut Cx<'_>, snapshot: Hash) {
        let (Some(commit), Some(branch)) = (&mut self.commit, &self.repo.branch) else { return };
        let body = RefBody {
            generation: branch.body.generation.saturating_add(u64::from(!seeded!(GenerationStays))),
            snapshot: Some(snapshot),
            gc_epoch: branch.body.gc_epoch,
            attempt: commit.request.as_ref().map_or(0, |request| request.attempt),
        };
        commit.publish = Some(Publish { snapshot, body, resent: 0, standing: Standing::Sure });
        self.send_ref(cx);
    }

    fn send_ref(&mut self, cx: &mut Cx<'_>) {
        let (Some(commit), Some(branch)) = (&self.commit, &self.repo.branch) else { return };
        let Some(publish) = &commit.publish else { return };
        let request = StoreRequest::Put {
            key: branch.key.clone(),
            body: vec![Slice::whole(publish.body.encode())],
            condition: Condition::Matches(branch.etag.clone()),
        };
        let owner = Owner::Commit(self.commit_serial, CommitCall::Ref);
        self.calls.send(cx, &self.shared.limits, request, owner, Retry::IfUnapplied);
    }

    fn read_ref(&mut self, cx: &mut Cx<'_>) {
        let Some(branch) = &self.repo.branch else { return };
        let request = StoreRequest::Get { key: branch.key.clone(), range: None, fresh: true };
        let owner = Owner::Commit(self.commit_serial, CommitCall::ReadRef);
        self.calls.send(cx, &self.shared.limits, request, owner, Retry::Always);
    }

    /// The put of the ref was answered.
    pub(crate) fn ref_answered(&mut self, cx: &mut Cx<'_>, outcome: StoreOutcome) {
        let Some(publish) = self.commit.as_mut().and_then(|c| c.publish.as_mut()) else { return };
        match (outcome.stored(), publish.standing) {
            (Ok(etag), _) => self.published(cx, etag),
            (Err(StoreError::Ambiguous), _) if seeded!(UnknownIsDone) => {
                let etag = self.repo.branch.as_ref().map(|branch| branch.etag.clone());
                etag.into_iter().for_each(|etag| self.published(cx, etag));
            }
            (Err(StoreError::Ambiguous), _) if !seeded!(UnknownIsFailure) => {
                publish.standing = Standing::Doubtful;
                self.read_ref(cx);
            }
            (Err(StoreError::Mismatch), _) if !seeded!(MismatchIsFailure) => self.read_ref(cx),
            (Err(error), Standing::Sure) => {
                // Refused, or never applied: the ref is where it was.
                let key = self.branch_key();
                self.commit_failed(cx, key, error);
            }
            // That is said of this put, not of the one whose answer was lost.
            (Err(_), Standing::Doubtful | Standing::Idle) => self.unknown(cx),
        }
    }

    /// The ref was read: mine, moved by somebody else, or where it was.
    pub(crate) fn ref_read(&mut self, cx: &mut Cx<'_>, outcome: StoreOutcome) {
        let Some(branch) = &self.repo.branch else { return };
        let generation = branch.body.generation;
        let Ok((body, etag)) = outcome.got() else { return self.unknown(cx) };
        let Ok(body) = RefBody::decode(&body) else { return self.unknown(cx) };
        let Some(publish) = self.commit.as_mut().and_then(|c| c.publish.as_mut()) else { return };
        let is_own = body == publish.body && !seeded!(OwnRefIsConflict);
        let has_moved = body.generation != generation;
        if is_own || (has_moved && seeded!(ConflictIsSuccess)) {
            self.published(cx, etag);
        } else if has_moved {
            #[cfg(core_bugs)]
            if self.wrong_overwrites(cx, &etag) {
                return;
            }
            self.conflict(cx, body.snapshot);
        } else if publish.resent < RESENDS {
            publish.resent += 1;
            self.send_ref(cx);
        } else {
            self.unknown(cx);
        }
    }

    /// The ref names the new snapshot.
    fn published(&mut self, cx: &mut Cx<'_>, etag: Etag) {
        let snapshot = self.next_snapshot();
        let Some(mut commit) = self.commit.take() else { return };
        let Some(publish) = commit.publish.take() else { return };
        self.repo.base = Some(publish.snapshot);
        self.repo.snapshot = snapshot;
        if let Some(branch) = &mut self.repo.branch {
            *branch = Branch { key: branch.key.clone(), body: publish.body, etag };
        }
        let result = CommitResult::Committed {
            snapshot: publish.snapshot,
            objects: commit.objects + 1,
            bytes: commit.bytes,
        };
        let (ticket, next) = (ticket_of(&commit), commit.next.take());
        self.take_over(*commit);
        match next {
            // Nothing changed since: the commit that was settled is the answer.
            Some(next) if self.table.changed.is_empty() => {
                answer(cx, next.ticket, Reply::Commit(result));
            }
            Some(next) => self.begin_commit(cx, next),
            None => answer(cx, ticket, Reply::Commit(result)),
        }
    }

    /// Somebody else moved the ref: nothing of theirs is overwritten, nothing of ours is lost.
    fn conflict(&mut self, cx: &mut Cx<'_>, theirs: Option<Hash>) {
        let result = match theirs {
            Some(theirs) => CommitResult::Conflict { theirs },
            None => CommitResult::Failed { key: self.branch_key(), error: StoreError::Mismatch },
        };
        self.give_up(cx, result);
    }

    /// The outcome can't be learnt now: the next commit settles it.
    fn unknown(&mut self, cx: &mut Cx<'_>) {
        let Some(commit) = &mut self.commit else { return };
        if let Some(publish) = &mut commit.publish {
            publish.standing = Standing::Idle;
        }
        let asked = commit.next.take().and_then(|next| next.ticket);
        let first = commit.request.as_mut().and_then(|request| request.ticket.take());
        answer(cx, asked.or(first), Reply::Commit(CommitResult::Unknown));
        self.wake(WaitKey::Room, Err(Stop::Errno(Errno::NoSpc)));
        self.wake(WaitKey::Commit, Err(Stop::Errno(Errno::Busy)));
    }

    /// Somebody waits for the end of a commit whose outcome is unknown: read the ref.
    pub(crate) fn settle_first(&mut self, cx: &mut Cx<'_>) {
        let Some(publish) = self.commit.as_mut().and_then(|c| c.publish.as_mut()) else { return };
        if publish.standing != Standing::Idle {
            return;
        }
        (publish.standing, publish.resent) = (Standing::Doubtful, 0);
        self.read_ref(cx);
    }

    /// A request that the commit can't do without failed for good.
    pub(crate) fn commit_failed(&mut self, cx: &mut Cx<'_>, key: Key, error: StoreError) {
        self.give_up(cx, CommitResult::Failed { key, error });
    }

    fn give_up(&mut self, cx: &mut Cx<'_>, result: CommitResult) {
        let Some(commit) = self.commit.take() else { return };
        let (spill, ticket) = (commit.request.is_none(), ticket_of(&commit));
        let next = commit.next.clone();
        self.put_back(*commit);
        // After a commit a spill may still make room; after a spill nothing does.
        let no_room = Err(Stop::Errno(Errno::NoSpc));
        self.wake(WaitKey::Room, if spill { no_room } else { Ok(()) });
        self.wake(WaitKey::Commit, Ok(()));
        match next {
            Some(next) if spill => self.begin_commit(cx, next),
            // The attempt that it came to settle was given up: it shares the answer.
            Some(next) => answer(cx, next.ticket, Reply::Commit(result)),
            None => answer(cx, ticket, Reply::Commit(result)),
        }
    }

    fn branch_key(&self) -> Key {
        self.repo.branch.as_ref().map_or_else(Key::new, |branch| branch.key.clone())
    }

    /// The mount takes over what the commit stored.
    fn take_over(&mut self, commit: Commit) {
        self.since.published();
        let shared = Arc::clone(&self.shared);
        shared.around().budget.give(commit.uploads.charged());
        for (ino, planned) in &commit.plan.inodes {
            let Some(record) = record_of(&commit, *ino, planned) else { continue };
            for (parent, name) in &planned.names {
                self.set_record(*parent, name, *ino, &record);
            }
            let home = planned.names.first().filter(|_| !planned.linked).cloned();
            self.table.rebase(*ino, record, home);
            let node = self.table.node_mut(*ino);
            let unchanged = matches!((&node.xattrs.map, &planned.xattrs.map),
                (Some(now), Some(then)) if Arc::ptr_eq(now, then));
            if unchanged {
                node.xattrs.stored.clone_from(&planned.xattrs.stored);
            }
            match &planned.body {
                PlannedBody::File(planned) => {
                    if let (Some(file), Some(stored)) = (node.file_mut(), &planned.stored) {
                        if !seeded!(StaleLayout) {
                            file.layout = stored.clone();
                        }
                        file.file.adopt(shared.around(), &stored.holes());
                        self.pressure.note_clean(*ino);
                    }
                }
                PlannedBody::Dir(planned) => {
                    if let Some(dir) = node.dir_mut().filter(|_| !seeded!(StaleDirectory)) {
                        dir.dir.root = planned.root;
                    }
                }
                PlannedBody::Other(_) => {}
            }
        }
        commit.plan.nameless.iter().for_each(|ino| self.table.forget_base(*ino));
        self.let_go(&commit);
        self.wake(WaitKey::Room, Ok(()));
        self.wake(WaitKey::Commit, Ok(()));
    }

    /// The commit came to nothing: all that it took is uncommitted again.
    fn put_back(&mut self, commit: Commit) {
        self.since.put_back();
        let shared = Arc::clone(&self.shared);
        shared.around().budget.give(commit.uploads.charged());
        for (ino, planned) in &commit.plan.inodes {
            if planned.changed {
                self.table.changed.insert(*ino);
            }
            let node = self.table.node_mut(*ino);
            match &planned.body {
                PlannedBody::File(planned) => {
                    if let (Some(file), Some(image)) = (node.file(), &planned.image) {
                        file.file.unseal(shared.around(), image);
                    }
                }
                PlannedBody::Dir(planned) => {
                    if let Some(dir) = node.dir_mut().filter(|_| !seeded!(FailedCommitForgetsNames))
                    {
                        for (name, was) in &planned.was {
                            dir.dir.touched.insert(Arc::clone(name), was.clone());
                        }
                    }
                }
                PlannedBody::Other(_) => {}
            }
        }
        let kept = commit.plan.nameless.iter().filter(|ino| self.table.get(**ino).is_some());
        let kept: Vec<Ino> = kept.copied().collect();
        self.table.changed.extend(kept);
        self.table.gone.links.extend(&commit.plan.gone.links);
        let bytes = &mut self.table.gone.bytes;
        *bytes = bytes.wrapping_add(commit.plan.gone.bytes);
        self.let_go(&commit);
    }

    pub(crate) fn let_go(&mut self, commit: &Commit) {
        self.shared.around().budget.rest();
        self.trees.forget_commit(self.commit_serial);
        self.table.held.clear();
        for ino in commit.plan.inodes.keys() {
            self.table.release(*ino);
        }
    }

    fn set_record(&mut self, parent: Ino, name: &Name, ino: Ino, record: &Record) {
        if let Some(dir) = self.table.get_mut(parent).and_then(|node| node.dir_mut()) {
            dir.dir.set_record(name, ino, record);
        }
    }
}

fn linked(commit: &Commit, ino: Ino, planned: &Planned) -> Option<Linked> {
    let mut names = planned.names.clone();
    names.sort();
    Some(Linked { inode: commit.plan.inode(ino)?, names })
}

/// What the new snapshot says of a planned inode.
fn record_of(commit: &Commit, ino: Ino, planned: &Planned) -> Option<Record> {
    if planned.linked {
        return linked(commit, ino, planned).map(|linked| Record::Linked(Arc::new(linked)));
    }
    commit.plan.inode(ino).map(|inode| Record::Own(Arc::new(inode)))
}

/// Who waits for a commit's answer.
fn ticket_of(commit: &Commit) -> Option<Ticket> {
    commit.request.as_ref().and_then(|request| request.ticket)
}
