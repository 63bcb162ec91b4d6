//! A mount whose store answers at once, and whose machine any thread may run.

use std::collections::BTreeMap;

use vellum_core::conc::{Fast, Shared};
use vellum_core::format::{Hash, ObjectKind, ObjectName, RefBody, Snapshot, Verified, object_key};
use vellum_core::machine::{Branch, Job, Machine, MountSpec};
use vellum_core::shapes::{
    Caller, Condition, Effect, Effects, Etag, Input, Name, Op, OpenFlags, Outcome, Reply, SetAttr,
    StoreError, StoreOutcome, StoreRequest, WriteFlags,
};
use vellum_core::sync::{Arc, Mutex};
use vellum_core::words::{Errno, Fh, Ino, Limits, Now, Ticket, Time};

const REF: &str = "refs/branches/main";
const NOW: Now = Now { mono_ns: 1, wall: Time { ns: 1 } };

/// A machine and the store below it, run by whoever holds the lock.
pub(crate) struct World {
    pub(crate) shared: Arc<Shared>,
    driven: Mutex<Driven>,
    pub(crate) ino: Ino,
    pub(crate) fh: Fh,
}

struct Driven {
    machine: Machine,
    store: BTreeMap<String, Vec<u8>>,
    tickets: u64,
}

pub(crate) fn limits(memory_bytes: u64) -> Limits {
    Limits { block_bytes: 8, memory_bytes, reserve_bytes: 0, handles: 2, ..Limits::default() }
}

fn etag(body: &[u8]) -> Etag {
    Hash::of(body).to_string().into()
}

impl Driven {
    fn mount(store: BTreeMap<String, Vec<u8>>, limits: Limits) -> (Self, Arc<Shared>) {
        let shared = Arc::new(Shared::new(limits, false));
        let body = RefBody::decode(&store[REF]).unwrap();
        let base = body.snapshot.map(|hash| {
            let key = object_key(ObjectKind::Snapshot, &ObjectName::first(hash));
            let bytes = Verified::check(&hash, store[&key].clone()).unwrap();
            (hash, Snapshot::decode(&bytes).unwrap())
        });
        let branch = Branch { key: REF.to_owned(), etag: etag(&store[REF]), body };
        let branch = Some(branch);
        let owner = (0, 0);
        let spec = MountSpec { chunk_bytes: 64 << 10, read_only: false, base, branch, owner };
        let machine = Machine::new(spec, Arc::clone(&shared), NOW);
        (Self { machine, store, tickets: 0 }, shared)
    }

    fn request(&mut self, op: Op) -> Result<Reply, Errno> {
        self.tickets += 1;
        let mut out = Effects::new();
        self.machine.step(NOW, Input::Request(Ticket(self.tickets), op), &mut out);
        self.drive(out)
    }

    fn drive(&mut self, mut out: Effects<Job>) -> Result<Reply, Errno> {
        let mut reply = None;
        while !out.is_empty() {
            let mut next = Effects::new();
            for effect in out {
                let (id, outcome) = match effect {
                    Effect::Store(id, request) => (id, Outcome::Store(self.answer(request))),
                    Effect::Compute(id, job) => (id, Outcome::Computed(job.run())),
                    Effect::Reply(_, result) => {
                        reply = Some(result);
                        continue;
                    }
                    Effect::Arm(..)
                    | Effect::InvalidateInode(_)
                    | Effect::InvalidateName(..)
                    | Effect::Report(_) => continue,
                };
                self.machine.step(NOW, Input::Completed(id, outcome), &mut next);
            }
            out = next;
        }
        reply.unwrap()
    }

    fn answer(&mut self, request: StoreRequest) -> StoreOutcome {
        match request {
            StoreRequest::Get { key, range } => match self.store.get(&key) {
                None => StoreOutcome::Failed(StoreError::NotFound),
                Some(bytes) => {
                    let whole = 0..bytes.len() as u64;
                    let range = range.unwrap_or(whole);
                    let body = bytes[range.start as usize..range.end as usize].to_vec();
                    StoreOutcome::Got { body, etag: etag(bytes) }
                }
            },
            StoreRequest::Put { key, body, condition } => {
                let body: Vec<u8> = body.iter().flat_map(|s| s.as_bytes()).copied().collect();
                let held = self.store.get(&key).map(|held| etag(held));
                match (condition, held) {
                    (Condition::Absent, Some(_)) => StoreOutcome::Failed(StoreError::Exists),
                    (Condition::Matches(want), held) if held != Some(want.clone()) => {
                        StoreOutcome::Failed(StoreError::Mismatch)
                    }
                    (Condition::Absent, None) | (Condition::Matches(_), _) => {
                        let etag = etag(&body);
                        self.store.insert(key, body);
                        StoreOutcome::Stored { etag }
                    }
                }
            }
            StoreRequest::Head { .. } | StoreRequest::List { .. } | StoreRequest::Delete { .. } => {
                StoreOutcome::Failed(StoreError::Unsupported)
            }
        }
    }
}

fn name() -> Name {
    Name::from(&b"f"[..])
}

impl World {
    /// A mount with one open file that holds `content`, uncommitted.
    pub(crate) fn dirty(content: &[u8], memory_bytes: u64) -> Self {
        let body = RefBody { generation: 0, snapshot: None, gc_epoch: 0, attempt: 0 };
        let store = BTreeMap::from([(REF.to_owned(), body.encode())]);
        let (mut driven, shared) = Driven::mount(store, limits(memory_bytes));
        let flags = OpenFlags { read: true, write: true, truncate: false };
        let op = Op::Create {
            parent: Ino::ROOT,
            name: name(),
            mode: 0o644,
            flags,
            caller: Caller::default(),
        };
        let Ok(Reply::Created(attr, fh)) = driven.request(op) else { panic!("no file") };
        let world = Self { shared, driven: Mutex::new(driven), ino: attr.ino, fh };
        assert_eq!(world.write(0, content), Ok(content.len() as u32));
        world
    }

    /// A mount with one open file that the snapshot holds, and memory does not.
    pub(crate) fn cold(content: &[u8]) -> Self {
        let world = Self::dirty(content, 1 << 20);
        world.request(commit()).unwrap();
        let store = world.driven.with(|d| d.store.clone());
        let (mut driven, shared) = Driven::mount(store, limits(1 << 20));
        let lookup = Op::Lookup { parent: Ino::ROOT, name: name() };
        let Ok(Reply::Entry(attr)) = driven.request(lookup) else { panic!("no file") };
        let flags = OpenFlags { read: true, write: true, truncate: false };
        let opened = driven.request(Op::Open { ino: attr.ino, flags });
        let Ok(Reply::Opened(fh)) = opened else { panic!("not opened") };
        Self { shared, driven: Mutex::new(driven), ino: attr.ino, fh }
    }

    pub(crate) fn request(&self, op: Op) -> Result<Reply, Errno> {
        self.driven.with(|driven| driven.request(op))
    }

    /// Writes as an adapter does: the fast verb, prepared once, then the slow way.
    pub(crate) fn write(&self, offset: u64, data: &[u8]) -> Result<u32, Errno> {
        let flags = WriteFlags::default();
        let verb = || self.shared.try_write(self.fh, NOW.wall, offset, data, flags);
        let mut fast = verb();
        if let Fast::Slow(why) = fast {
            let mut out = Effects::new();
            if self.driven.with(|d| d.machine.prepare(NOW, self.fh, why, &mut out)) {
                fast = verb();
            }
        }
        match fast {
            Fast::Done(len) => Ok(len),
            Fast::Failed(errno) => Err(errno),
            Fast::Slow(_) => {
                let (fh, data) = (self.fh, data.to_vec());
                match self.request(Op::Write { fh, offset, data, flags })? {
                    Reply::Written(len) => Ok(len),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    /// Everything the file holds, as text: digits of zero bytes as `.`.
    pub(crate) fn content(&self) -> String {
        let mut out = Vec::new();
        let bytes = match self.shared.try_read(self.fh, 0, 64, &mut out) {
            Fast::Done(()) => out,
            Fast::Failed(errno) => panic!("{errno:?}"),
            Fast::Slow(_) => {
                match self.request(Op::Read { fh: self.fh, offset: 0, len: 64 }).unwrap() {
                    Reply::Data(bytes) => bytes,
                    other => panic!("{other:?}"),
                }
            }
        };
        text(&bytes)
    }

    pub(crate) fn resize(&self, size: u64) {
        let set = SetAttr { size: Some(size), ..SetAttr::default() };
        self.request(Op::SetAttr { ino: self.ino, set }).unwrap();
    }

    pub(crate) fn size(&self) -> u64 {
        match self.shared.try_getattr(self.ino) {
            Fast::Done(attr) => attr.size,
            Fast::Failed(_) | Fast::Slow(_) => panic!("the file is there"),
        }
    }

    pub(crate) fn is_dirty(&self) -> bool {
        match self.request(Op::Status).unwrap() {
            Reply::Status(status) => status.dirty,
            other => panic!("{other:?}"),
        }
    }

    /// What a fresh mount of the same store shows.
    pub(crate) fn committed(&self) -> String {
        let store = self.driven.with(|d| d.store.clone());
        let (mut driven, shared) = Driven::mount(store, limits(1 << 20));
        let lookup = Op::Lookup { parent: Ino::ROOT, name: name() };
        let Ok(Reply::Entry(attr)) = driven.request(lookup) else { return "absent".to_owned() };
        let flags = OpenFlags { read: true, write: false, truncate: false };
        let opened = driven.request(Op::Open { ino: attr.ino, flags });
        let Ok(Reply::Opened(fh)) = opened else { panic!("not opened") };
        let read = driven.request(Op::Read { fh, offset: 0, len: 64 });
        drop(shared);
        match read {
            Ok(Reply::Data(bytes)) => text(&bytes),
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn commit() -> Op {
    Op::Commit { author: "a".to_owned(), message: "m".to_owned(), attempt: 7 }
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|b| if *b == 0 { '.' } else { char::from(*b) }).collect()
}
