//! Objects on their way to the store: each is put if it is absent; what is there already is
//! checked, and replaced if it is wrong.

use std::collections::{BTreeMap, VecDeque};

use super::calls::{Owner, Patience, Retry};
use super::commit::{CommitCall, CommitWork};
use super::engine::{Cx, Engine};
use super::job::{Job, JobOwner, Work};
use crate::format::{Hashed, ObjectKind, ObjectName, object_key};
use crate::shapes::{Condition, Etag, Key, StoreError, StoreOutcome, StoreRequest};

/// What an object was put for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PutFor {
    Task(u64),
    Nodes,
    Snapshot,
}

/// An object on its way.
#[derive(Debug)]
struct Put {
    key: Key,
    object: Hashed,
    purpose: PutFor,
    /// The wrong body that was found under its name, to be replaced.
    wrong: Option<Etag>,
    /// How long the store may contradict itself about the object; from when it first did.
    patience: Option<Patience>,
}

impl Put {
    fn request(&self) -> StoreRequest {
        let condition = match &self.wrong {
            None => Condition::Absent,
            Some(etag) => Condition::Matches(etag.clone()),
        };
        let mut body = self.object.body().to_vec();
        if seeded!(NameOfOtherBytes) && body.len() > 1 {
            body.pop();
        }
        StoreRequest::Put { key: self.key.clone(), body, condition }
    }
}

/// All objects of a commit that are on their way.
#[derive(Debug, Default)]
pub(super) struct Puts {
    puts: BTreeMap<u64, Put>,
    /// Those that were not begun yet.
    queued: VecDeque<u64>,
    /// Those that were: each counts until it is known to be stored, with the check of what was
    /// there, for that brings its bytes into memory once more.
    begun: usize,
    next: u64,
}

impl Engine {
    /// Queues an object to be put.
    pub(super) fn put_object(
        &mut self,
        cx: &mut Cx<'_>,
        kind: ObjectKind,
        object: Hashed,
        purpose: PutFor,
    ) {
        let Some(commit) = &mut self.commit else { return };
        let puts = &mut commit.puts;
        puts.next += 1;
        let key = object_key(kind, &ObjectName::first(object.hash()));
        puts.puts.insert(puts.next, Put { key, object, purpose, wrong: None, patience: None });
        puts.queued.push_back(puts.next);
        self.send_puts(cx);
    }

    pub(super) fn send_puts(&mut self, cx: &mut Cx<'_>) {
        let limits = &self.shared.limits;
        let Some(commit) = &mut self.commit else { return };
        let puts = &mut commit.puts;
        while puts.begun < limits.in_flight {
            let Some(id) = puts.queued.pop_front() else { return };
            let Some(put) = puts.puts.get(&id) else { continue };
            puts.begun += 1;
            let owner = Owner::Commit(self.commit_serial, CommitCall::Put(id));
            self.calls.send(cx, limits, put.request(), owner, Retry::Always);
        }
    }

    /// The put of an object was answered.
    pub(super) fn put_answered(&mut self, cx: &mut Cx<'_>, id: u64, outcome: StoreOutcome) {
        let Some(commit) = &mut self.commit else { return };
        let Some(put) = commit.puts.puts.get(&id) else { return };
        match outcome.stored() {
            Ok(_) => {
                commit.objects += 1;
                commit.bytes += put.object.len_bytes();
                self.object_stored(cx, id);
            }
            Err(StoreError::Exists) if seeded!(ExistsIsSuccess) => self.object_stored(cx, id),
            Err(StoreError::Exists | StoreError::Mismatch) if !seeded!(ExistsIsFailure) => {
                let request = StoreRequest::Head { key: put.key.clone() };
                let owner = Owner::Commit(self.commit_serial, CommitCall::Look(id));
                self.calls.send(cx, &self.shared.limits, request, owner, Retry::Always);
            }
            Err(_) if seeded!(PutErrorSwallowed) => self.object_stored(cx, id),
            Err(error) => {
                let key = put.key.clone();
                self.commit_failed(cx, key, error);
            }
        }
    }

    /// The object that was there already was looked at: its name is not trusted. What the store
    /// says of its bytes is compared, which spares reading them.
    pub(super) fn existing_found(&mut self, cx: &mut Cx<'_>, id: u64, outcome: StoreOutcome) {
        let commit = self.commit.as_mut();
        let Some(put) = commit.and_then(|commit| commit.puts.puts.get_mut(&id)) else { return };
        match outcome.found() {
            Ok((len, crc32, etag)) => {
                put.wrong = Some(etag);
                let work = Work::Compare { object: put.object.clone(), len, crc32 };
                let owner = JobOwner::Commit(self.commit_serial, CommitWork::Compare(id));
                self.calls.compute(cx, Job(work), owner);
            }
            Err(error) => self.existing_lost(cx, id, error),
        }
    }

    /// What the store says of the object that was there already was compared with ours.
    pub(super) fn existing_compared(&mut self, cx: &mut Cx<'_>, id: u64, same: Option<bool>) {
        let commit = self.commit.as_ref();
        let Some(put) = commit.and_then(|commit| commit.puts.puts.get(&id)) else { return };
        match same {
            Some(true) => self.object_stored(cx, id),
            None if seeded!(LengthIsEnough) => self.object_stored(cx, id),
            Some(false) => {
                let why = "its length or checksum is another".to_owned();
                self.existing_checked(cx, id, Err(why));
            }
            None => {
                let request = StoreRequest::Get { key: put.key.clone(), range: None, fresh: true };
                let owner = Owner::Commit(self.commit_serial, CommitCall::Check(id));
                self.calls.send(cx, &self.shared.limits, request, owner, Retry::Always);
            }
        }
    }

    /// The object that was there already was read: its bytes are checked.
    pub(super) fn existing_read(&mut self, cx: &mut Cx<'_>, id: u64, outcome: StoreOutcome) {
        let commit = self.commit.as_mut();
        let Some(put) = commit.and_then(|commit| commit.puts.puts.get_mut(&id)) else { return };
        match outcome.got_segments() {
            Ok((bytes, etag)) => {
                put.wrong = Some(etag);
                let block_bytes = self.shared.limits.block_bytes;
                let work = Work::Verify { hash: put.object.hash(), bytes, block_bytes };
                let owner = JobOwner::Commit(self.commit_serial, CommitWork::Check(id));
                self.calls.compute(cx, Job(work), owner);
            }
            Err(error) => self.existing_lost(cx, id, error),
        }
    }

    /// What was there already can't be looked at, or is gone.
    fn existing_lost(&mut self, cx: &mut Cx<'_>, id: u64, error: StoreError) {
        let commit = self.commit.as_mut();
        let Some(put) = commit.and_then(|commit| commit.puts.puts.get_mut(&id)) else { return };
        if error == StoreError::NotFound {
            put.wrong = None;
            return self.put_again(cx, id, error);
        }
        let key = put.key.clone();
        self.commit_failed(cx, key, error);
    }

    /// What was there already was checked.
    pub(super) fn existing_checked(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        checked: Result<(), String>,
    ) {
        let Err(why) = checked else { return self.object_stored(cx, id) };
        let commit = self.commit.as_ref();
        let Some(put) = commit.and_then(|commit| commit.puts.puts.get(&id)) else { return };
        let key = put.key.clone();
        self.report(cx, key, &format!("was damaged, and is replaced: {why}"));
        self.put_again(cx, id, StoreError::Damaged);
    }

    /// Puts an object once more, after a while; gives the commit up when the store has said for too
    /// long that the object is there, and then that it is not, or is another.
    fn put_again(&mut self, cx: &mut Cx<'_>, id: u64, error: StoreError) {
        let limits = &self.shared.limits;
        let commit = self.commit.as_mut();
        let Some(put) = commit.and_then(|commit| commit.puts.puts.get_mut(&id)) else { return };
        let patience = put.patience.get_or_insert_with(|| Patience::fresh(cx, limits));
        if let Some(at_ns) = patience.next_ns(cx, limits, id) {
            let owner = Owner::Commit(self.commit_serial, CommitCall::Put(id));
            return self.calls.send_at(cx, limits, at_ns, put.request(), owner);
        }
        let key = put.key.clone();
        self.commit_failed(cx, key, error);
    }

    fn object_stored(&mut self, cx: &mut Cx<'_>, id: u64) {
        let Some(commit) = &mut self.commit else { return };
        let Some(put) = commit.puts.puts.remove(&id) else { return };
        commit.puts.begun -= usize::from(!seeded!(PutsNeverEnd));
        self.stored_for(cx, put.purpose, &put.object);
        self.send_puts(cx);
    }
}
