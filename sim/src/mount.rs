//! A mount in a world: the machine of the core with what its threads share, on a repository in
//! the simulated store.

use std::collections::BTreeMap;
use std::hash::Hash as _;
use std::sync::Arc;

use vellum_core::conc::{Fast, Shared, Slow};
use vellum_core::format::{
    Body, Entries, HEADER_KEY, Hash, Header, Inode, Links, Meta, NodeRef, ObjectKind, ObjectName,
    RefBody, RefKind, Snapshot, TreeKind, TreeNode, UpdateError, Verified, Xattrs, decode_node,
    object_key, ref_key, scan,
};
use vellum_core::machine::{Branch, Job, Machine, MountSpec, Product};
use vellum_core::shapes::{
    Condition, Effects, Etag, Input, Key, Op, Reply, Slice, StoreOutcome, StoreRequest,
};
use vellum_core::words::{Errno, Ino, Limits, Now, Time};

use crate::store::contract::{get, put};
use crate::store::{Objects, SimStore};
use crate::world::{Actor, ActorId, Trace, World};

/// The branch that mounts of a world are on.
const BRANCH: &str = "main";

/// A machine, and what its threads share.
#[derive(Debug)]
pub struct Mounted {
    /// The machine.
    pub machine: Machine,
    /// Files, handles and memory.
    pub shared: Arc<Shared>,
}

impl Actor for Mounted {
    type Job = Job;
    type Product = Product;

    fn step(&mut self, now: Now, input: Input<Product>, out: &mut Effects<Job>) {
        self.machine.step(now, input, out);
        let (used, bound) = (self.shared.memory_bytes().0, self.shared.memory_limit_bytes());
        assert!(used <= bound, "the budget: {used} bytes are taken of {bound}");
    }

    fn run(job: Job) -> Product {
        job.run()
    }

    fn digest(&self, into: &mut Trace) {
        self.machine.holdings().hash(into);
        self.shared.memory_bytes().hash(into);
    }
}

fn branch_key() -> Key {
    ref_key(RefKind::Branch, BRANCH).expect("the name of the branch is a good one")
}

fn created(store: &mut SimStore, key: &str, body: Vec<Slice>) {
    let condition = Condition::Absent;
    let outcome = store.at_once(&StoreRequest::Put { key: key.into(), body, condition });
    assert!(matches!(outcome, StoreOutcome::Stored { .. }), "{key}: {outcome:?}");
}

/// Makes a repository whose one snapshot is an empty root directory: mode 0755, owner and group
/// 0, all times 0.
///
/// # Panics
/// When the store is not empty, or the chunk size is none that the format allows.
pub fn init(store: &mut SimStore, chunk_bytes: u32) {
    let header = Header::new(chunk_bytes, Time::default()).encode();
    let header = header.expect("the chunk size is allowed");
    created(store, HEADER_KEY, vec![Slice::whole(header)]);
    let xattrs = Xattrs::Inline(BTreeMap::new());
    let (mtime, ctime) = (Time::default(), Time::default());
    let root = Inode {
        ino: Ino::ROOT,
        meta: Meta { mode: 0o755, uid: 0, gid: 0, mtime, ctime, xattrs },
        body: Body::Directory { root: None, subdirs: 0 },
    };
    let snapshot = Snapshot {
        root,
        links: None,
        parents: Vec::new(),
        time: Time::default(),
        author: "sim".into(),
        message: "empty".into(),
        next_ino: Ino::ROOT.next(),
        files: 1,
        bytes: 0,
    };
    let sealed = snapshot.seal().expect("an empty tree is within the format");
    let hash = sealed.hash();
    let key = object_key(ObjectKind::Snapshot, &ObjectName::first(hash));
    created(store, &key, sealed.into_body());
    let body = RefBody { generation: 1, snapshot: Some(hash), gc_epoch: 0, attempt: 0 };
    created(store, &branch_key(), vec![Slice::whole(body.encode())]);
}

fn read(store: &mut SimStore, key: &str) -> Result<(Vec<u8>, Etag), String> {
    let outcome = store.at_once(&get(key));
    let StoreOutcome::Got { body, etag } = outcome else {
        return Err(format!("{key}: {outcome:?}"));
    };
    Ok((body.into_vec(), etag))
}

/// What the branch holds.
///
/// # Errors
/// It can't be read.
pub fn branch(store: &SimStore) -> Result<RefBody, String> {
    let key = branch_key();
    let body = store.objects.body(&key).ok_or_else(|| format!("{key} is not there"))?;
    RefBody::decode(body).map_err(|error| error.to_string())
}

/// The snapshot that the branch names, decoded.
///
/// # Errors
/// There is none, or it can't be read.
pub fn snapshot(store: &SimStore) -> Result<Snapshot, String> {
    snapshot_of(store, &branch(store)?.snapshot.ok_or("the branch names no snapshot")?)
}

/// The link table of a snapshot.
///
/// # Errors
/// A node that can't be read, or is none.
pub fn links(store: &SimStore, snapshot: &Snapshot) -> Result<Entries<Links>, String> {
    entries::<Links>(&store.objects, snapshot.links.as_ref())
}

/// All entries of a tree, read from where its nodes lie.
///
/// # Errors
/// A node that can't be read, or is none.
pub fn entries<T: TreeKind>(
    objects: &Objects,
    root: Option<&NodeRef>,
) -> Result<Entries<T>, String> {
    let mut nodes: BTreeMap<Hash, Arc<TreeNode<T>>> = BTreeMap::new();
    loop {
        let have = |hash: &Hash| nodes.get(hash).cloned();
        let missing = match scan::<T>(root, None, None, usize::MAX, &have) {
            Ok(entries) => return Ok(entries),
            Err(UpdateError::Missing(missing)) => missing,
            Err(UpdateError::Format(error)) => return Err(error.to_string()),
        };
        for node in missing {
            let place = node.place.ok_or_else(|| format!("node {} lies nowhere", node.hash))?;
            let key = object_key(ObjectKind::Tree, &place.object);
            let object = objects.body(&key).ok_or_else(|| format!("{key} is not there"))?;
            let bytes = object.get(place.offset as usize..(place.offset + place.len) as usize);
            let bytes = bytes.ok_or_else(|| format!("{key} is too short for {place:?}"))?;
            let decoded = decode_node(&node, bytes).map_err(|error| format!("{key}: {error}"))?;
            nodes.insert(node.hash, Arc::new(decoded));
        }
    }
}

/// The snapshot that the branch names, if it can be read.
#[must_use]
pub fn head(store: &SimStore) -> Option<Hash> {
    branch(store).ok()?.snapshot
}

/// The key of a snapshot that was written once.
#[must_use]
pub fn key_of(snapshot: &Hash) -> Key {
    object_key(ObjectKind::Snapshot, &ObjectName::first(*snapshot))
}

/// A snapshot as the store holds it.
///
/// # Errors
/// It is not there, or no snapshot of that name.
pub fn snapshot_of(store: &SimStore, hash: &Hash) -> Result<Snapshot, String> {
    let key = key_of(hash);
    let body = store.objects.body(&key).ok_or_else(|| format!("{key} is not there"))?;
    let bytes = Verified::check(hash, body.to_vec()).map_err(|error| error.to_string())?;
    Snapshot::decode(&bytes).map_err(|error| error.to_string())
}

/// Moves the branch as somebody else would. The outcome.
///
/// # Errors
/// The branch can't be read.
pub fn move_head(store: &mut SimStore, body: &RefBody) -> Result<StoreOutcome, String> {
    let (_, etag) = read(store, &branch_key())?;
    Ok(store.at_once(&put(&branch_key(), &body.encode(), Condition::Matches(etag))))
}

/// Mounts what the branch names now.
///
/// # Errors
/// What can't be read.
pub fn mount(world: &mut World<Mounted>, limits: &Limits) -> Result<ActorId, String> {
    let (header, _) = read(&mut world.store, HEADER_KEY)?;
    let header = Header::decode(&header).map_err(|error| error.to_string())?;
    mount_in_chunks(world, limits, header.chunk_bytes)
}

/// Mounts what the branch names now, and cuts what it writes into chunks of `chunk_bytes`: smaller
/// ones than the format allows, so that files of tiny worlds have many.
///
/// # Errors
/// What can't be read.
pub fn mount_in_chunks(
    world: &mut World<Mounted>,
    limits: &Limits,
    chunk_bytes: u32,
) -> Result<ActorId, String> {
    let store = &mut world.store;
    let (bytes, etag) = read(store, &branch_key())?;
    let body = RefBody::decode(&bytes).map_err(|error| error.to_string())?;
    let base = body.snapshot.map(|hash| Ok::<_, String>((hash, snapshot(store)?))).transpose()?;
    let shared = Arc::new(Shared::new(limits.clone(), false));
    let spec = MountSpec {
        chunk_bytes,
        read_only: false,
        base,
        branch: Some(Branch { key: branch_key(), body, etag }),
        owner: (0, 0),
    };
    let machine = Machine::new(spec, Arc::clone(&shared), world.now());
    Ok(world.enter(Mounted { machine, shared }))
}

/// Carries a request out as a thread of the kernel's side does: by the fast verb if there is
/// one, with one preparation and one more try, and by a ticket if that does not help.
pub fn fast(world: &mut World<Mounted>, id: ActorId, op: Op) -> Result<Reply, Errno> {
    for is_retry in [false, true] {
        let slow = match try_fast(world, id, &op) {
            None => break,
            Some(Fast::Done(reply)) => return Ok(reply),
            Some(Fast::Failed(errno)) => return Err(errno),
            Some(Fast::Slow(slow)) => slow,
        };
        if is_retry || !prepare(world, id, &op, slow) {
            break;
        }
    }
    world.ask(id, op)
}

fn try_fast(world: &mut World<Mounted>, id: ActorId, op: &Op) -> Option<Fast<Reply>> {
    let wall = world.now().wall;
    let shared = Arc::clone(&world.actor(id).shared);
    if let Op::Write { fh, offset, data, flags } = op {
        return Some(map(shared.try_write(*fh, wall, *offset, data, *flags), Reply::Written));
    }
    if let Op::Read { fh, offset, len } = op {
        let mut out = Vec::new();
        let done = shared.try_read(*fh, *offset, *len, &mut out);
        return Some(map(done, |()| Reply::Data(out)));
    }
    if let Op::GetAttr { ino } = op {
        return Some(map(shared.try_getattr(*ino), Reply::Attr));
    }
    None
}

fn map<T>(fast: Fast<T>, reply: impl FnOnce(T) -> Reply) -> Fast<Reply> {
    match fast {
        Fast::Done(value) => Fast::Done(reply(value)),
        Fast::Failed(errno) => Fast::Failed(errno),
        Fast::Slow(slow) => Fast::Slow(slow),
    }
}

fn prepare(world: &mut World<Mounted>, id: ActorId, op: &Op, why: Slow) -> bool {
    let (Op::Write { fh, .. } | Op::Read { fh, .. }) = op else { return false };
    let now = world.now();
    let mut effects = Vec::new();
    let again = world.actor(id).machine.prepare(now, *fh, why, &mut effects);
    world.perform(id, effects);
    again
}
