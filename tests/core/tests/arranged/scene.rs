//! A mount that is told what to do, and a store that does what it is told.

use vellum_core::format::Snapshot;
use vellum_core::machine::Holdings;
use vellum_core::shapes::{
    Attr, Caller, CommitResult, Name, Op, OpenFlags, RenameMode, Reply, WriteFlags,
};
use vellum_core::words::{Errno, Fh, Ino, Limits, Ticket};
use vellum_sim::choice::Choices;
use vellum_sim::mount::{self, Mounted};
use vellum_sim::store::Arranged;
use vellum_sim::world::{ActorId, World};

pub(crate) const CHUNK_BYTES: u32 = 64 << 10;
pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const RW: OpenFlags = OpenFlags { read: true, write: true, truncate: false };

/// A mount of a repository that was empty at first.
pub(crate) struct Scene {
    pub(crate) world: World<Mounted>,
    pub(crate) limits: Limits,
    pub(crate) mount: ActorId,
    pub(crate) attempt: u128,
}

impl Scene {
    pub(crate) fn new(limits: Limits) -> Self {
        let mut world = World::new(&Choices::seeded(1));
        mount::init(&mut world.store, CHUNK_BYTES);
        let mount = mount::mount(&mut world, &limits).unwrap();
        Self { world, limits, mount, attempt: 0 }
    }

    pub(crate) fn plain() -> Self {
        Self::new(Limits::default())
    }

    pub(crate) fn remount(&mut self) {
        self.world.kill(self.mount);
        self.world.run_until_quiet();
        self.mount = mount::mount(&mut self.world, &self.limits).unwrap();
    }

    #[track_caller]
    pub(crate) fn ok(&mut self, op: Op) -> Reply {
        let reply = self.world.ask(self.mount, op.clone());
        reply.unwrap_or_else(|errno| panic!("{op:?}: {errno:?}"))
    }

    pub(crate) fn send(&mut self, op: Op) -> Ticket {
        self.world.request(self.mount, op)
    }

    pub(crate) fn wait(&mut self, ticket: Ticket) -> Result<Reply, Errno> {
        loop {
            if let Some(reply) = self.world.take_reply(self.mount, ticket) {
                return reply;
            }
            assert!(self.world.run_one(), "no reply, and nothing is left to happen");
        }
    }

    #[track_caller]
    pub(crate) fn create(&mut self, text: &str) -> (Attr, Fh) {
        let (parent, name, caller) = (Ino::ROOT, name(text), Caller::default());
        let reply = self.ok(Op::Create { parent, name, mode: 0o644, flags: RW, caller });
        let Reply::Created(attr, fh) = reply else { panic!("{reply:?}") };
        (attr, fh)
    }

    /// Makes a file with this content, and closes it.
    pub(crate) fn file(&mut self, text: &str, data: &[u8]) {
        let (_, fh) = self.create(text);
        self.write(fh, 0, data);
        self.ok(Op::Release { fh });
    }

    #[track_caller]
    pub(crate) fn open(&mut self, text: &str) -> (Attr, Fh) {
        let found = self.ok(Op::Lookup { parent: Ino::ROOT, name: name(text) });
        let Reply::Entry(attr) = found else { panic!("{text}: {found:?}") };
        let reply = self.ok(Op::Open { ino: attr.ino, flags: RW });
        let Reply::Opened(fh) = reply else { panic!("{reply:?}") };
        (attr, fh)
    }

    /// Writes as a thread of the kernel's side does.
    #[track_caller]
    pub(crate) fn write(&mut self, fh: Fh, offset: u64, data: &[u8]) {
        let (data, flags) = (data.to_vec(), WriteFlags::default());
        let op = Op::Write { fh, offset, data, flags };
        let reply = mount::fast(&mut self.world, self.mount, op);
        assert!(matches!(reply, Ok(Reply::Written(_))), "{reply:?}");
    }

    #[track_caller]
    pub(crate) fn read(&mut self, fh: Fh, len: u64) -> Vec<u8> {
        let reply = self.ok(Op::Read { fh, offset: 0, len: len as u32 });
        let Reply::Data(data) = reply else { panic!("{reply:?}") };
        data
    }

    pub(crate) fn unlink(&mut self, text: &str) {
        self.ok(Op::Unlink { parent: Ino::ROOT, name: name(text) });
    }

    pub(crate) fn link(&mut self, ino: Ino, text: &str) {
        self.ok(Op::Link { ino, to_parent: Ino::ROOT, to_name: name(text) });
    }

    pub(crate) fn begin_commit(&mut self) -> Ticket {
        self.attempt += 1;
        let (author, message) = ("somebody".into(), "again".into());
        self.send(Op::Commit { author, message, attempt: self.attempt })
    }

    pub(crate) fn end_commit(&mut self, ticket: Ticket) -> CommitResult {
        match self.wait(ticket) {
            Ok(Reply::Commit(result)) => result,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn commit(&mut self) -> CommitResult {
        let ticket = self.begin_commit();
        self.end_commit(ticket)
    }

    #[track_caller]
    pub(crate) fn committed(&mut self) {
        let result = self.commit();
        assert!(matches!(result, CommitResult::Committed { .. }), "{result:?}");
    }

    /// Bytes that writes may still take.
    pub(crate) fn room(&mut self) -> u64 {
        self.world.actor(self.mount).shared.memory_bytes().1
    }

    pub(crate) fn holdings(&mut self) -> Holdings {
        self.world.actor(self.mount).machine.holdings()
    }

    pub(crate) fn size(&mut self, ino: Ino) -> u64 {
        let reply = self.ok(Op::GetAttr { ino });
        let Reply::Attr(attr) = reply else { panic!("{reply:?}") };
        attr.size
    }

    pub(crate) fn gets(&self) -> u64 {
        self.world.store.counts().get.requests
    }

    pub(crate) fn heads(&self) -> u64 {
        self.world.store.counts().head.requests
    }

    pub(crate) fn snapshot(&mut self) -> Snapshot {
        mount::snapshot(&self.world.store).unwrap()
    }

    /// Inodes that the link table of the branch holds.
    pub(crate) fn linked(&mut self) -> Vec<Ino> {
        let snapshot = self.snapshot();
        let links = mount::links(&self.world.store, &snapshot).unwrap();
        links.into_iter().map(|(ino, _)| ino).collect()
    }
}

/// What a name of a directory stands for.
pub(crate) fn look(scene: &mut Scene, parent: Ino, text: &str) -> Option<Attr> {
    let found = scene.ok(Op::Lookup { parent, name: name(text) });
    let Reply::Entry(attr) = found else {
        assert_eq!(found, Reply::Absent);
        return None;
    };
    Some(attr)
}

pub(crate) fn dir(scene: &mut Scene, parent: Ino, text: &str) -> Ino {
    let (name, caller) = (name(text), Caller::default());
    let made = scene.ok(Op::MakeDir { parent, name, mode: 0o755, caller });
    let Reply::Entry(attr) = made else { panic!("{made:?}") };
    attr.ino
}

pub(crate) fn rename(scene: &mut Scene, from: (Ino, &str), to: (Ino, &str)) {
    let mode = RenameMode::Replace;
    let (parent, to_parent) = (from.0, to.0);
    let (name, to_name) = (name(from.1), name(to.1));
    scene.ok(Op::Rename { parent, name, to_parent, to_name, mode });
}

pub(crate) fn name(text: &str) -> Name {
    text.as_bytes().into()
}

/// Bytes that no two offsets near each other share.
pub(crate) fn noise(len: u64, seed: u64) -> Vec<u8> {
    (0..len).map(|at| ((at * 31 + at / 251 + seed * 7) % 251) as u8 | 1).collect()
}

pub(crate) fn always(it: Arranged) -> Arranged {
    Arranged { times: u32::MAX, ..it }
}
