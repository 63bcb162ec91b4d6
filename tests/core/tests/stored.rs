//! What commits store: within the format, as long as the file, and read again by a fresh mount.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use vellum_core::format::{
    Body, Content, Directories, Entry, Hash, Hashed, Inode, Meta, NodeRef, ObjectKind, ObjectName,
    Piece, Pieces, RefBody, Snapshot, XattrMap, Xattrs, build, object_key,
};
use vellum_core::shapes::{
    Caller, Condition, Name, Op, OpenFlags, Reply, SetAttr, Whence, WriteFlags, XattrMode,
};
use vellum_core::words::{Errno, Fh, Ino, Limits, Time};
use vellum_sim::choice::Choices;
use vellum_sim::mount::{self, Mounted};
use vellum_sim::store::contract::put;
use vellum_sim::world::{ActorId, World};

/// The smallest chunk there is: a file that is packed may be longer.
const CHUNK: u64 = 64 << 10;

/// Events after which a request goes on for ever.
const EVENTS_MAX: u32 = 20_000;

struct Desk {
    world: World<Mounted>,
    limits: Limits,
    mount: ActorId,
    attempt: u128,
}

fn limits() -> Limits {
    Limits { memory_bytes: 64 << 20, reserve_bytes: 8 << 20, ..Limits::default() }
}

impl Desk {
    fn new() -> Self {
        let mut world = World::new(&Choices::seeded(1));
        mount::init(&mut world.store, CHUNK as u32);
        Self::at(world, limits())
    }

    fn at(mut world: World<Mounted>, limits: Limits) -> Self {
        let mount = mount::mount(&mut world, &limits).unwrap();
        world.keep_log();
        Self { world, limits, mount, attempt: 0 }
    }

    /// A mount of a snapshot with the one file `f`, which is inode 2, with these pieces in a tree.
    fn with_tree(pieces: Vec<(u64, Piece)>, data: &[Vec<u8>], size: u64, limits: Limits) -> Self {
        let mut world = World::new(&Choices::seeded(1));
        mount::init(&mut world.store, CHUNK as u32);
        for bytes in data {
            store(&mut world, ObjectKind::Chunk, &Hashed::of_bytes(bytes.clone()));
        }
        let content = Content::Tree(tree::<Pieces>(&mut world, pieces));
        let file = Entry::Inode(inode(2, Body::File { size, content }));
        let root = tree::<Directories>(&mut world, vec![(Name::from(&b"f"[..]), file)]);
        let snapshot = Snapshot {
            root: inode(1, Body::Directory { root: Some(root), subdirs: 0 }),
            links: None,
            parents: Vec::new(),
            time: Time { ns: 0 },
            author: "somebody else".into(),
            message: "made elsewhere".into(),
            next_ino: Ino(3),
            files: 2,
            bytes: size,
        };
        let sealed = snapshot.seal().unwrap();
        store(&mut world, ObjectKind::Snapshot, &sealed);
        let snapshot = Some(sealed.hash());
        let body = RefBody { generation: 2, snapshot, gc_epoch: 0, attempt: 1 };
        mount::move_head(&mut world.store, &body).unwrap();
        Self::at(world, limits)
    }

    fn ask(&mut self, op: Op) -> Result<Reply, Errno> {
        let ticket = self.world.request(self.mount, op);
        for _ in 0..EVENTS_MAX {
            match self.world.take_reply(self.mount, ticket) {
                Some(reply) => return reply,
                None => assert!(self.world.run_one(), "a request without an answer"),
            }
        }
        panic!("{EVENTS_MAX} events, and no answer")
    }

    fn create(&mut self, name: &str) -> (Ino, Fh) {
        let flags = OpenFlags { read: true, write: true, truncate: false };
        let (name, caller) = (Name::from(name.as_bytes()), Caller { uid: 0, gid: 0 });
        let op = Op::Create { parent: Ino::ROOT, name, mode: 0o644, flags, caller };
        match self.ask(op) {
            Ok(Reply::Created(attr, fh)) => (attr.ino, fh),
            other => panic!("{other:?}"),
        }
    }

    fn open(&mut self, name: &str) -> (Ino, Fh) {
        let op = Op::Lookup { parent: Ino::ROOT, name: Name::from(name.as_bytes()) };
        let Ok(Reply::Entry(attr)) = self.ask(op) else { panic!("{name} is not there") };
        let flags = OpenFlags { read: true, write: true, truncate: false };
        match self.ask(Op::Open { ino: attr.ino, flags }) {
            Ok(Reply::Opened(fh)) => (attr.ino, fh),
            other => panic!("{other:?}"),
        }
    }

    fn write(&mut self, fh: Fh, offset: u64, data: &[u8]) {
        let flags = WriteFlags { from_cache: false, kill_suidgid: false };
        let len = data.len() as u32;
        let op = Op::Write { fh, offset, data: data.to_vec(), flags };
        assert_eq!(self.ask(op), Ok(Reply::Written(len)));
    }

    fn truncate(&mut self, ino: Ino, size: u64) {
        let set = SetAttr { size: Some(size), ..SetAttr::default() };
        assert!(matches!(self.ask(Op::SetAttr { ino, set }), Ok(Reply::Attr(_))));
    }

    fn read(&mut self, fh: Fh, offset: u64, len: u32) -> Vec<u8> {
        match self.ask(Op::Read { fh, offset, len }) {
            Ok(Reply::Data(data)) => data,
            other => panic!("{other:?}"),
        }
    }

    fn commit_as(&mut self, author: &str, message: &str) -> Result<Reply, Errno> {
        self.attempt += 1;
        let (author, message) = (author.into(), message.into());
        self.ask(Op::Commit { author, message, attempt: self.attempt })
    }

    fn commit(&mut self) {
        let reply = self.commit_as("me", "this");
        let text = format!("{reply:?}");
        assert!(text.starts_with("Ok(Commit(Committed"), "{text}");
    }

    fn remount(&mut self) {
        self.world.kill(self.mount);
        self.mount = mount::mount(&mut self.world, &self.limits).unwrap();
    }

    /// Commits, and looks at the file from a fresh mount, in steps that fit no chunk.
    fn shows(&mut self, name: &str, expected: &[u8]) {
        self.commit();
        self.remount();
        let (_, fh) = self.open(name);
        let step = 50_021;
        for at in (0..expected.len()).step_by(step) {
            let end = (at + step).min(expected.len());
            let found = self.read(fh, at as u64, step as u32);
            assert!(found == expected[at..end], "bytes {at}..{end} differ");
        }
    }

    /// Tree nodes asked for since the last call.
    fn nodes_read(&mut self) -> usize {
        let log = self.world.take_log();
        log.iter().filter(|line| line.contains("Get trees/")).count()
    }
}

fn store(world: &mut World<Mounted>, kind: ObjectKind, object: &Hashed) {
    let key = object_key(kind, &ObjectName::first(object.hash()));
    world.store.at_once(&put(&key, &object.to_bytes(), Condition::Absent));
}

fn tree<T: vellum_core::format::TreeKind>(
    world: &mut World<Mounted>,
    entries: Vec<(T::Key, T::Value)>,
) -> NodeRef {
    let (root, packs) = build::<T>(entries.into_iter()).unwrap().laid(64 << 10).unwrap();
    packs.iter().for_each(|pack| store(world, ObjectKind::Tree, pack));
    root.unwrap()
}

fn inode(ino: u64, body: Body) -> Inode {
    let (mtime, ctime) = (Time { ns: 0 }, Time { ns: 0 });
    let xattrs = Xattrs::Inline(XattrMap::new());
    Inode { ino: Ino(ino), meta: Meta { mode: 0o755, uid: 0, gid: 0, mtime, ctime, xattrs }, body }
}

/// Bytes that repeat at no power of two.
fn bytes(len: u64) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8 + 1).collect()
}

fn piece(bytes: &[u8]) -> Piece {
    Piece::whole(Hash::of(bytes), bytes.len() as u64)
}

#[test]
fn a_message_or_author_past_its_limit_is_refused_and_the_edits_stay() {
    for (author, message) in
        [("me".to_owned(), "m".repeat(70_000)), ("a".repeat(2_000), "m".into())]
    {
        let mut desk = Desk::new();
        let (_, fh) = desk.create("f");
        desk.write(fh, 0, b"hello");
        let head = mount::head(&desk.world.store);
        let puts = desk.world.store.counts().put.requests;
        let reply = format!("{:?}", desk.commit_as(&author, &message));
        assert!(reply.starts_with("Ok(Commit(Unfit"), "{reply}");
        assert_eq!(mount::head(&desk.world.store), head);
        assert_eq!(desk.world.store.counts().put.requests, puts, "nothing is sent in vain");
        desk.shows("f", b"hello");
    }
}

#[test]
fn the_longest_message_and_author_are_published() {
    let mut desk = Desk::new();
    desk.create("f");
    let reply = desk.commit_as(&"a".repeat(1 << 10), &"m".repeat(64 << 10));
    assert!(format!("{reply:?}").starts_with("Ok(Commit(Committed"), "{reply:?}");
    desk.remount();
    desk.open("f");
}

#[test]
fn a_packed_file_that_outgrows_packing_is_cut_anew() {
    let mut all = bytes(200_000);
    let mut desk = Desk::new();
    let (_, fh) = desk.create("f");
    desk.write(fh, 0, &all[..100_000]);
    desk.commit();
    desk.write(fh, 100_000, &all[100_000..]);
    desk.shows("f", &all);

    let mut desk = Desk::new();
    let (ino, fh) = desk.create("f");
    desk.write(fh, 0, &all[..100_000]);
    desk.commit();
    desk.truncate(ino, 300_000);
    all.truncate(100_000);
    all.resize(300_000, 0);
    desk.shows("f", &all);
}

#[test]
fn a_packed_file_of_many_parts_outgrows_packing() {
    let mut all = vec![0; 100_000];
    let mut desk = Desk::new();
    let (ino, fh) = desk.create("f");
    for at in [10, 5_000, 30_000, 60_000, 90_000] {
        all[at..at + 7_000].copy_from_slice(&bytes(7_000));
        desk.write(fh, at as u64, &bytes(7_000));
    }
    desk.truncate(ino, 100_000);
    desk.commit();
    all.resize(1_500_000, 0);
    all.extend(b"end");
    desk.write(fh, 1_500_000, b"end");
    desk.shows("f", &all);
}

#[test]
fn pieces_of_a_tree_need_no_alignment() {
    let (head, tail) = (bytes(70_000), bytes(3 << 20)[7_000..900_000].to_vec());
    let pieces = vec![(60_000, piece(&head)), (140_000, piece(&tail))];
    let mut expected = vec![0; 60_000];
    expected.extend(&head);
    expected.resize(140_000, 0);
    expected.extend(&tail);
    let size = expected.len() as u64;
    let mut desk = Desk::with_tree(pieces, &[head, tail], size, limits());
    let (_, fh) = desk.open("f");
    // In the second chunk, and not from its beginning on.
    for at in [70_000, 150_000, 400_000, 900_000] {
        assert!(desk.read(fh, at, 1_000) == expected[at as usize..][..1_000], "at {at}");
    }
    let change = b"changed".as_slice();
    for at in [129_990, 500_000] {
        desk.write(fh, at, change);
        expected[at as usize..][..7].copy_from_slice(change);
    }
    desk.shows("f", &expected);
}

#[test]
fn attributes_whose_names_could_not_be_listed_are_refused() {
    let mut desk = Desk::new();
    let (ino, _) = desk.create("f");
    let mut refused = 0;
    for index in 0..300 {
        let name = Name::from(format!("user.{index:0245}").as_bytes());
        let (value, mode) = (Arc::from(&b""[..]), XattrMode::Either);
        match desk.ask(Op::SetXattr { ino, name, value, mode }) {
            Ok(_) => assert_eq!(refused, 0),
            Err(Errno::NoSpc) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(refused, 300 - (64 << 10) / 251);
    desk.commit();
    desk.remount();
    let (ino, _) = desk.open("f");
    let Ok(Reply::Data(names)) = desk.ask(Op::ListXattr { ino }) else { panic!("not listed") };
    assert_eq!(names.len(), (300 - refused) * 251);
}

/// A file of `count` chunks in a piece tree, all alike, in a mount that caches few nodes.
fn many_nodes(count: u64, cached_nodes: usize) -> Desk {
    let chunk = bytes(CHUNK);
    let pieces = (0..count).map(|index| (index * CHUNK, piece(&chunk))).collect();
    let limits = Limits { cached_nodes, ..limits() };
    Desk::with_tree(pieces, &[chunk], count * CHUNK, limits)
}

#[test]
fn a_change_of_a_big_file_reads_the_nodes_above_it_alone() {
    let mut desk = many_nodes(5_000, 3);
    let (ino, fh) = desk.open("f");
    desk.nodes_read();
    desk.write(fh, 2_000 * CHUNK + 5, b"x");
    desk.commit();
    let of_a_byte = desk.nodes_read();
    assert!(of_a_byte <= 6, "{of_a_byte} nodes were read for one byte");
    desk.write(fh, 5_000 * CHUNK, b"end");
    desk.commit();
    let of_append = desk.nodes_read();
    assert!(of_append <= 6, "{of_append} nodes were read for an append");
    desk.truncate(ino, 5_000 * CHUNK - 1);
    desk.commit();
    let of_cut = desk.nodes_read();
    assert!(of_cut <= 8, "{of_cut} nodes were read to cut a chunk off");
    desk.remount();
    let (_, fh) = desk.open("f");
    assert_eq!(desk.read(fh, 2_000 * CHUNK + 4, 3), [bytes(5)[4], b'x', bytes(7)[6]]);
    assert_eq!(desk.read(fh, 5_000 * CHUNK - 2, 9).len(), 1);
}

#[test]
fn seeks_in_a_big_sparse_file_read_few_nodes() {
    let chunk = bytes(CHUNK);
    let pieces = (0..5_000).map(|index| (2 * index * CHUNK, piece(&chunk))).collect();
    let mut desk = Desk::with_tree(pieces, &[chunk], 1 << 40, limits());
    let (_, fh) = desk.open("f");
    desk.nodes_read();
    let answers = [
        (2_001 * CHUNK, Whence::Data, Ok(2_002 * CHUNK)),
        (2_002 * CHUNK + 1, Whence::Data, Ok(2_002 * CHUNK + 1)),
        (2_002 * CHUNK, Whence::Hole, Ok(2_003 * CHUNK)),
        (1 << 39, Whence::Data, Err(Errno::NxIo)),
        (1 << 39, Whence::Hole, Ok(1 << 39)),
    ];
    for (offset, whence, expected) in answers {
        let found = desk.ask(Op::Seek { fh, offset, whence });
        assert_eq!(found, expected.map(Reply::Offset), "{whence:?} at {offset}");
    }
    let nodes = desk.nodes_read();
    assert!(nodes <= 10, "{nodes} nodes were read");
}

#[test]
fn with_few_cached_nodes_commits_and_seeks_end() {
    let mut desk = many_nodes(5_000, 3);
    let (ino, fh) = desk.open("f");
    let seek = |offset, whence| Op::Seek { fh, offset, whence };
    assert_eq!(desk.ask(seek(1, Whence::Data)), Ok(Reply::Offset(1)));
    assert_eq!(desk.ask(seek(1, Whence::Hole)), Ok(Reply::Offset(5_000 * CHUNK)));
    // What is cut away must be known.
    desk.truncate(ino, 100 * CHUNK + 1);
    desk.write(fh, 4_000 * CHUNK, b"far");
    desk.commit();
    desk.remount();
    let (_, fh) = desk.open("f");
    let seek = |offset, whence| Op::Seek { fh, offset, whence };
    assert_eq!(desk.ask(seek(0, Whence::Hole)), Ok(Reply::Offset(101 * CHUNK)));
    assert_eq!(desk.ask(seek(101 * CHUNK, Whence::Data)), Ok(Reply::Offset(4_000 * CHUNK)));
    assert_eq!(desk.read(fh, 100 * CHUNK, 3), [1, 0, 0]);
}
