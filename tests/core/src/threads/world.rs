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
    StoreError, StoreOutcome, StoreRequest, WriteFlags,
};
use vellum_core::sync::{Arc, Mutex};
use vellum_core::words::{Errno, Fh, Ino, Limits, Now, Ticket, Time};

use super::spec::{Ids, said, shown, text};

pub const CAPABILITY: &[u8] = b"security.capability";
const REF: &str = "refs/branches/main";
pub const NOW: Now = Now { mono_ns: 1, wall: Time { ns: 1 } };

/// A machine and the store below it, run by whoever holds the lock.
pub struct World {
    pub shared: Arc<Shared>,
    driven: Mutex<Driven>,
    pub ids: Ids,
    /// Whether each effect of a request is performed in a step of its own, by whoever comes by.
    pub stepwise: bool,
}

struct Driven {
    machine: Machine,
    store: BTreeMap<String, Vec<u8>>,
    /// Puts that are refused: of keys that begin with this.
    refused: Option<&'static str>,
    tickets: u64,
    /// Effects not performed yet, and replies not taken yet.
    pending: VecDeque<Effect<Job>>,
    /// Effects that are on their way until somebody lands them.
    held: VecDeque<Effect<Job>>,
    replies: BTreeMap<Ticket, Result<Reply, Errno>>,
}

/// What loads and commits have beside what writes may take.
const RESERVE_BYTES: u64 = 40;

pub fn limits(memory_bytes: u64) -> Limits {
    let memory_bytes = memory_bytes + RESERVE_BYTES;
    let reserve_bytes = RESERVE_BYTES;
    Limits { block_bytes: 8, memory_bytes, reserve_bytes, handles: 16, ..Limits::default() }
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
        let (pending, held, replies) = (VecDeque::new(), VecDeque::new(), BTreeMap::new());
        (Self { machine, store, refused: None, tickets: 0, pending, held, replies }, shared)
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
        self.take(out);
    }

    /// Replies go out at once, as an adapter sends them; the rest is left to be performed.
    fn take(&mut self, out: Effects<Job>) {
        for effect in out {
            if let Effect::Reply(ticket, result) = effect {
                self.replies.insert(ticket, result);
            } else {
                self.pending.push_back(effect);
            }
        }
    }

    /// Performs the oldest effect; whether there was one.
    fn perform_one(&mut self) -> bool {
        let Some(effect) = self.pending.pop_front() else { return false };
        let (id, outcome) = match effect {
            Effect::Store(id, request) => (id, Outcome::Store(self.answer(request))),
            Effect::Compute(id, job) => (id, Outcome::Computed(job.run())),
            Effect::Reply(..)
            | Effect::Arm(..)
            | Effect::InvalidateInode(_)
            | Effect::InvalidateName(..)
            | Effect::Report(_) => return true,
        };
        self.input(Input::Completed(id, outcome));
        true
    }

    /// A request, and as many effects as it takes to answer it.
    fn request(&mut self, op: Op) -> Result<Reply, Errno> {
        let ticket = self.begin(op);
        loop {
            if let Some(reply) = self.replies.remove(&ticket) {
                return reply;
            }
            assert!(self.perform_one(), "no reply, and nothing to do");
        }
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
            StoreRequest::Put { key, .. } if self.refused.is_some_and(|it| key.starts_with(it)) => {
                StoreOutcome::Failed(StoreError::Denied)
            }
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
            StoreRequest::Head { key } => match self.store.get(&key) {
                None => StoreOutcome::Failed(StoreError::NotFound),
                Some(bytes) => {
                    let (len, etag) = (bytes.len() as u64, etag(bytes));
                    StoreOutcome::Found { len, crc32: None, etag }
                }
            },
            StoreRequest::List { .. } | StoreRequest::Delete { .. } => {
                StoreOutcome::Failed(StoreError::Unsupported)
            }
        }
    }
}

fn name() -> Name {
    Name::from(&b"f"[..])
}

pub const RW: OpenFlags = OpenFlags { read: true, write: true, truncate: false };

pub fn create(name: &[u8]) -> Op {
    let (name, caller) = (Name::from(name), Caller::default());
    Op::Create { parent: Ino::ROOT, name, mode: 0o644, flags: RW, caller }
}

impl World {
    /// A mount with two open files, uncommitted.
    pub fn of(files: [(&[u8], &[u8]); 2], memory_bytes: u64) -> Self {
        let body = RefBody { generation: 0, snapshot: None, gc_epoch: 0, attempt: 0 };
        let store = BTreeMap::from([(REF.to_owned(), body.encode())]);
        let (mut driven, shared) = Driven::mount(store, limits(memory_bytes));
        let [(f, fh), (g, gh)] = files.map(|(name, _)| match driven.request(create(name)) {
            Ok(Reply::Created(attr, fh)) => (attr.ino, fh),
            other => panic!("{other:?}"),
        });
        let world = Self::with(driven, shared, Ids { f, fh, g, gh });
        for (fh, (_, data)) in [fh, gh].into_iter().zip(files) {
            assert_eq!(world.write_to(fh, 0, data), Ok(data.len() as u32));
        }
        world
    }

    /// A fresh mount of the same store, with the same two files looked up and open.
    pub fn remounted(&self, memory_bytes: u64) -> Self {
        let store = self.driven.with(|d| d.store.clone());
        let (mut driven, shared) = Driven::mount(store, limits(memory_bytes));
        let [(f, fh), (g, gh)] = [b"f", b"g"].map(|name| {
            let lookup = Op::Lookup { parent: Ino::ROOT, name: Name::from(&name[..]) };
            let Ok(Reply::Entry(attr)) = driven.request(lookup) else { panic!("no file") };
            let opened = driven.request(Op::Open { ino: attr.ino, flags: RW });
            let Ok(Reply::Opened(fh)) = opened else { panic!("{opened:?}") };
            (attr.ino, fh)
        });
        Self::with(driven, shared, Ids { f, fh, g, gh })
    }

    fn with(driven: Driven, shared: Arc<Shared>, ids: Ids) -> Self {
        let (driven, stepwise) = (Mutex::new(driven), false);
        Self { shared, driven, ids, stepwise }
    }

    /// Performs effects until the next one puts an object below `prefix`.
    pub fn run_until_put(&self, prefix: &str) {
        let is_put = |driven: &Driven| {
            let Some(Effect::Store(_, StoreRequest::Put { key, .. })) = driven.pending.front()
            else {
                return false;
            };
            key.starts_with(prefix)
        };
        self.driven.with(|driven| {
            while !is_put(driven) {
                assert!(driven.perform_one(), "nothing is put below {prefix}");
            }
        });
    }

    /// A request as an adapter carries it out: on the fast path if it has one.
    #[allow(clippy::wildcard_enum_match_arm)]
    pub fn ask(&self, op: Op) -> Result<Reply, Errno> {
        let fast = match &op {
            Op::Write { fh, offset, data, .. } => {
                return self.write_to(*fh, *offset, data).map(Reply::Written);
            }
            Op::Read { fh, offset, len } => {
                let mut out = Vec::new();
                match self.shared.try_read(*fh, *offset, *len, &mut out) {
                    Fast::Done(()) => Some(Ok(Reply::Data(out))),
                    Fast::Failed(errno) => Some(Err(errno)),
                    Fast::Slow(_) => None,
                }
            }
            Op::GetAttr { ino } => match self.shared.try_getattr(*ino) {
                Fast::Done(attr) => Some(Ok(Reply::Attr(attr))),
                Fast::Failed(errno) => Some(Err(errno)),
                Fast::Slow(_) => None,
            },
            _ => None,
        };
        fast.unwrap_or_else(|| self.request(op))
    }

    /// What the tree shows in the end, and what the branch does; and whether a change of the tree
    /// counts as none, or is not in the next commit.
    pub fn look(&self) -> String {
        self.finish();
        let dirty = self.is_dirty();
        let tree = shown(&mut |op| self.request(op));
        let handle = said(&self.request(Op::Read { fh: self.ids.fh, offset: 0, len: 64 }));
        let committed = self.shown_afresh();
        let lost = if !dirty && tree != committed { " COUNTS AS NONE" } else { "" };
        let mut look = format!("{tree} fh={handle} / {committed}{lost}");
        self.request(commit()).unwrap();
        let next = self.shown_afresh();
        if next != tree {
            look.push_str(&format!(" LOST: {next}"));
        }
        look
    }

    /// What a fresh mount of the same store shows. For loom, which asks often, the same ref and the
    /// same objects are looked at once.
    fn shown_afresh(&self) -> String {
        type Shown = BTreeMap<(Vec<u8>, Vec<String>), String>;
        static SHOWN: std::sync::Mutex<Shown> = std::sync::Mutex::new(Shown::new());
        let store = self.driven.with(|d| d.store.clone());
        // Objects are named by what is in them.
        let head = (store[REF].clone(), store.keys().cloned().collect());
        let may_know = cfg!(core_loom) && !cfg!(core_bugs);
        if let Some(shown) = SHOWN.lock().unwrap().get(&head).filter(|_| may_know) {
            return shown.clone();
        }
        let (mut driven, _shared) = Driven::mount(store, limits(1 << 20));
        let text = shown(&mut |op| driven.request(op));
        SHOWN.lock().unwrap().insert(head, text.clone());
        text
    }

    /// A mount whose file `f` holds `content`, uncommitted, and whose other is empty.
    pub fn dirty(content: &[u8], memory_bytes: u64) -> Self {
        Self::of([(b"f", content), (b"g", b"")], memory_bytes)
    }

    /// The same, committed, and in memory.
    pub fn clean(content: &[u8], memory_bytes: u64) -> Self {
        let world = Self::dirty(content, memory_bytes);
        world.request(commit()).unwrap();
        world
    }

    /// The same, and not in memory.
    pub fn cold(content: &[u8]) -> Self {
        Self::clean(content, 1 << 20).remounted(1 << 20)
    }

    /// Opens the file once more.
    pub fn open(&self) -> Fh {
        match self.request(Op::Open { ino: self.ids.f, flags: RW }) {
            Ok(Reply::Opened(fh)) => fh,
            other => panic!("{other:?}"),
        }
    }

    /// Begins a request that is not answered before [`Self::finish`].
    pub fn begin(&self, op: Op) {
        self.driven.with(|driven| driven.begin(op));
    }

    /// From here on the store refuses to put what lies below a prefix, if any.
    pub fn refuse(&self, prefix: Option<&'static str>) {
        self.driven.with(|driven| driven.refused = prefix);
    }

    /// What has to be performed now stays on its way until [`Self::land`].
    pub fn hold(&self) {
        self.driven.with(|driven| driven.held.append(&mut driven.pending));
    }

    /// Performs what was held, after all else.
    pub fn land(&self) {
        self.driven.with(|driven| driven.pending.append(&mut driven.held));
        self.finish();
    }

    /// Performs all effects, each in a step of its own.
    pub fn finish(&self) {
        while self.driven.with(Driven::perform_one) {}
    }

    /// A request, with all that it takes.
    pub fn request(&self, op: Op) -> Result<Reply, Errno> {
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
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<u32, Errno> {
        self.write_to(self.ids.fh, offset, data)
    }

    /// The same, through any handle.
    #[allow(clippy::wildcard_enum_match_arm)]
    pub fn write_to(&self, fh: Fh, offset: u64, data: &[u8]) -> Result<u32, Errno> {
        let flags = WriteFlags::default();
        let verb = || self.shared.try_write(fh, NOW.wall, offset, data, flags);
        let mut fast = verb();
        if let Fast::Slow(why) = fast {
            let again = self.driven.with(|driven| {
                let mut out = Effects::new();
                let again = driven.machine.prepare(NOW, fh, why, &mut out);
                driven.take(out);
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
    pub fn content(&self) -> String {
        self.content_of(self.ids.fh)
    }

    /// The same, through any handle.
    #[allow(clippy::wildcard_enum_match_arm)]
    pub fn content_of(&self, fh: Fh) -> String {
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

    pub fn resize(&self, size: u64) {
        let set = SetAttr { size: Some(size), ..SetAttr::default() };
        self.request(Op::SetAttr { ino: self.ids.f, set }).unwrap();
    }

    #[allow(clippy::wildcard_enum_match_arm)]
    pub fn is_dirty(&self) -> bool {
        match self.request(Op::Status).unwrap() {
            Reply::Status(status) => status.dirty,
            other => panic!("{other:?}"),
        }
    }

    /// What the snapshot says of the file.
    #[allow(clippy::wildcard_enum_match_arm)]
    pub fn record(&self) -> Arc<Inode> {
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
}

pub fn commit() -> Op {
    Op::Commit { author: "a".to_owned(), message: "m".to_owned(), attempt: 7 }
}
