//! A mount whose store answers at once, and whose machine any thread may run.

use std::collections::{BTreeMap, VecDeque};

use vellum_core::conc::{Fast, Shared};
use vellum_core::format::{
    Directories, Entry, Hash, Inode, ObjectKind, ObjectName, RefBody, Snapshot, Step, Verified,
    decode_node, object_key,
};
use vellum_core::machine::{Branch, Job, Machine, MountSpec, Product};
use vellum_core::shapes::{
    Caller, Condition, Effect, Effects, Etag, Input, Name, Op, OpenFlags, Outcome, Reply, SetAttr,
    StoreError, StoreOutcome, StoreRequest, WriteFlags, XattrMode,
};
use vellum_core::sync::{Arc, Mutex};
use vellum_core::words::{Errno, Fh, Ino, Limits, Now, Ticket, Time};

const CAPABILITY: &[u8] = b"security.capability";
const REF: &str = "refs/branches/main";
const NOW: Now = Now { mono_ns: 1, wall: Time { ns: 1 } };

/// A machine and the store below it, run by whoever holds the lock.
pub(crate) struct World {
    pub(crate) shared: Arc<Shared>,
    driven: Mutex<Driven>,
    pub(crate) ino: Ino,
    pub(crate) fh: Fh,
    /// Whether each effect of a request is performed in a step of its own, by whoever comes by.
    pub(crate) stepwise: bool,
}

struct Driven {
    machine: Machine,
    store: BTreeMap<String, Vec<u8>>,
    tickets: u64,
    /// Effects not performed yet, and replies not taken yet.
    pending: VecDeque<Effect<Job>>,
    replies: BTreeMap<Ticket, Result<Reply, Errno>>,
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
        let (pending, replies) = (VecDeque::new(), BTreeMap::new());
        (Self { machine, store, tickets: 0, pending, replies }, shared)
    }

    /// Begins a request; its effects are not performed yet.
    fn begin(&mut self, op: Op) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.input(Input::Request(ticket, op));
        ticket
    }

    fn input(&mut self, input: Input<Product>) {
        let mut out = Effects::new();
        self.machine.step(NOW, input, &mut out);
        self.pending.extend(out);
    }

    /// Performs the oldest effect; whether there was one.
    fn perform_one(&mut self) -> bool {
        let Some(effect) = self.pending.pop_front() else { return false };
        let (id, outcome) = match effect {
            Effect::Store(id, request) => (id, Outcome::Store(self.answer(request))),
            Effect::Compute(id, job) => (id, Outcome::Computed(job.run())),
            Effect::Reply(ticket, result) => {
                self.replies.insert(ticket, result);
                return true;
            }
            Effect::Arm(..)
            | Effect::InvalidateInode(_)
            | Effect::InvalidateName(..)
            | Effect::Report(_) => return true,
        };
        self.input(Input::Completed(id, outcome));
        true
    }

    fn request(&mut self, op: Op) -> Result<Reply, Errno> {
        let ticket = self.begin(op);
        while self.perform_one() {}
        self.replies.remove(&ticket).unwrap()
    }

    fn answer(&mut self, request: StoreRequest) -> StoreOutcome {
        match request {
            StoreRequest::Get { key, range, .. } => match self.store.get(&key) {
                None => StoreOutcome::Failed(StoreError::NotFound),
                Some(bytes) => {
                    let whole = 0..bytes.len() as u64;
                    let range = range.unwrap_or(whole);
                    let body = bytes[range.start as usize..range.end as usize].to_vec();
                    StoreOutcome::Got { body: body.into(), etag: etag(bytes) }
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

const RW: OpenFlags = OpenFlags { read: true, write: true, truncate: false };

fn create(name: &[u8]) -> Op {
    let (name, caller) = (Name::from(name), Caller::default());
    Op::Create { parent: Ino::ROOT, name, mode: 0o644, flags: RW, caller }
}

impl World {
    /// A mount with one open file that holds `content`, uncommitted.
    pub(crate) fn dirty(content: &[u8], memory_bytes: u64) -> Self {
        let body = RefBody { generation: 0, snapshot: None, gc_epoch: 0, attempt: 0 };
        let store = BTreeMap::from([(REF.to_owned(), body.encode())]);
        let (mut driven, shared) = Driven::mount(store, limits(memory_bytes));
        let op = create(&name());
        let Ok(Reply::Created(attr, fh)) = driven.request(op) else { panic!("no file") };
        let (driven, stepwise) = (Mutex::new(driven), false);
        let world = Self { shared, driven, ino: attr.ino, fh, stepwise };
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
        Self { shared, driven: Mutex::new(driven), ino: attr.ino, fh, stepwise: false }
    }

    /// A mount with one open file that is committed, and in memory.
    pub(crate) fn clean(content: &[u8], memory_bytes: u64) -> Self {
        let world = Self::dirty(content, memory_bytes);
        world.request(commit()).unwrap();
        world
    }

    /// One more file; its handle.
    pub(crate) fn create(&self, name: &[u8]) -> (Ino, Fh) {
        match self.request(create(name)) {
            Ok(Reply::Created(attr, fh)) => (attr.ino, fh),
            other => panic!("{other:?}"),
        }
    }

    /// Opens the file once more.
    pub(crate) fn open(&self) -> Fh {
        match self.request(Op::Open { ino: self.ino, flags: RW }) {
            Ok(Reply::Opened(fh)) => fh,
            other => panic!("{other:?}"),
        }
    }

    /// Begins a request that is not answered before [`Self::finish`].
    pub(crate) fn begin(&self, op: Op) {
        self.driven.with(|driven| driven.begin(op));
    }

    /// Performs all effects, each in a step of its own.
    pub(crate) fn finish(&self) {
        while self.driven.with(Driven::perform_one) {}
    }

    /// A request, with all that it takes.
    pub(crate) fn request(&self, op: Op) -> Result<Reply, Errno> {
        if !self.stepwise {
            return self.driven.with(|driven| driven.request(op));
        }
        let ticket = self.driven.with(|driven| driven.begin(op));
        loop {
            let reply = self.driven.with(|driven| {
                let reply = driven.replies.remove(&ticket);
                assert!(reply.is_some() || driven.perform_one(), "no reply, and nothing to do");
                reply
            });
            if let Some(reply) = reply {
                return reply;
            }
        }
    }

    /// Writes as an adapter does: the fast verb, prepared once, then the slow way.
    pub(crate) fn write(&self, offset: u64, data: &[u8]) -> Result<u32, Errno> {
        self.write_to(self.fh, offset, data)
    }

    /// The same, through any handle.
    pub(crate) fn write_to(&self, fh: Fh, offset: u64, data: &[u8]) -> Result<u32, Errno> {
        let flags = WriteFlags::default();
        let verb = || self.shared.try_write(fh, NOW.wall, offset, data, flags);
        let mut fast = verb();
        if let Fast::Slow(why) = fast {
            let again = self.driven.with(|driven| {
                let mut out = Effects::new();
                let again = driven.machine.prepare(NOW, fh, why, &mut out);
                driven.pending.extend(out);
                again
            });
            if again {
                fast = verb();
            }
        }
        match fast {
            Fast::Done(len) => Ok(len),
            Fast::Failed(errno) => Err(errno),
            Fast::Slow(_) => {
                let data = data.to_vec();
                match self.request(Op::Write { fh, offset, data, flags })? {
                    Reply::Written(len) => Ok(len),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    /// Everything the file holds, as text: digits of zero bytes as `.`.
    pub(crate) fn content(&self) -> String {
        self.content_of(self.fh)
    }

    /// The same, through any handle.
    pub(crate) fn content_of(&self, fh: Fh) -> String {
        let mut out = Vec::new();
        let bytes = match self.shared.try_read(fh, 0, 64, &mut out) {
            Fast::Done(()) => out,
            Fast::Failed(errno) => panic!("{errno:?}"),
            Fast::Slow(_) => match self.request(Op::Read { fh, offset: 0, len: 64 }).unwrap() {
                Reply::Data(bytes) => bytes,
                other => panic!("{other:?}"),
            },
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

    /// What the snapshot says of the file.
    pub(crate) fn record(&self) -> Arc<Inode> {
        let store = self.driven.with(|d| d.store.clone());
        let snapshot = RefBody::decode(&store[REF]).unwrap().snapshot.unwrap();
        let key = object_key(ObjectKind::Snapshot, &ObjectName::first(snapshot));
        let bytes = Verified::check(&snapshot, store[&key].clone()).unwrap();
        let root = *Snapshot::decode(&bytes).unwrap().root.tree().unwrap();
        let place = root.place.unwrap();
        let key = object_key(ObjectKind::Tree, &place.object);
        let range = place.range().start as usize..place.range().end as usize;
        let node = decode_node::<Directories>(&root, &store[&key][range]).unwrap();
        match node.step(&name()) {
            Step::Found(Entry::Inode(inode)) => Arc::new(inode.clone()),
            other => panic!("{other:?}"),
        }
    }

    /// Gives the file a capability, which a write takes away.
    pub(crate) fn grant(&self) {
        let (name, value) = (Name::from(CAPABILITY), Name::from(&b"all"[..]));
        let mode = XattrMode::Either;
        self.request(Op::SetXattr { ino: self.ino, name, value, mode }).unwrap();
    }

    pub(crate) fn has_capability(&self) -> bool {
        self.driven.with(|driven| has_capability(driven, self.ino))
    }

    /// Whether the file has a capability in a fresh mount of the same store.
    pub(crate) fn committed_capability(&self) -> bool {
        let store = self.driven.with(|d| d.store.clone());
        let (mut driven, shared) = Driven::mount(store, limits(1 << 20));
        let lookup = Op::Lookup { parent: Ino::ROOT, name: name() };
        let Ok(Reply::Entry(attr)) = driven.request(lookup) else { panic!("no file") };
        drop(shared);
        has_capability(&mut driven, attr.ino)
    }

    /// What a fresh mount of the same store shows.
    pub(crate) fn committed(&self) -> String {
        self.committed_as(&name())
    }

    /// The same, of any file.
    pub(crate) fn committed_as(&self, name: &[u8]) -> String {
        let store = self.driven.with(|d| d.store.clone());
        let (mut driven, shared) = Driven::mount(store, limits(1 << 20));
        let lookup = Op::Lookup { parent: Ino::ROOT, name: Name::from(name) };
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

fn has_capability(driven: &mut Driven, ino: Ino) -> bool {
    match driven.request(Op::GetXattr { ino, name: Name::from(CAPABILITY) }) {
        Ok(_) => true,
        Err(errno) => {
            assert_eq!(errno, Errno::NoData);
            false
        }
    }
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|b| if *b == 0 { '.' } else { char::from(*b) }).collect()
}
