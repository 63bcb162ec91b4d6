//! The alphabet: what a thread may do. Each verb is one step, whatever it takes.

use vellum_core::shapes::{Allocate, Name, Op, RenameMode, SetAttr, Whence, WriteFlags};
use vellum_core::words::{Fh, Ino};

use super::spec::{Ids, Spec, grant, said};
use super::world::{RW, World, commit, create};

/// Something that a thread does.
#[derive(Clone, Copy)]
pub struct Verb {
    pub name: &'static str,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    /// A request, on the fast path if it has one.
    Ask(fn(Ids) -> Op),
    /// Whatever was begun ends: loads, uploads, commits.
    Finish,
}

impl Verb {
    const fn ask(name: &'static str, op: fn(Ids) -> Op) -> Self {
        Self { name, what: What::Ask(op) }
    }

    /// Does it on a mount; what came of it.
    pub fn run(&self, world: &World) -> String {
        match self.what {
            What::Ask(op) => said(&world.ask(op(world.ids))),
            What::Finish => {
                world.finish();
                String::new()
            }
        }
    }

    /// What comes of it when nothing else happens meanwhile.
    pub fn apply(&self, spec: &mut Spec) -> String {
        match self.what {
            What::Ask(op) => spec.ask(&op(spec.ids)),
            What::Finish => {
                spec.finish();
                String::new()
            }
        }
    }
}

fn write(ids: Ids, offset: u64, data: &[u8]) -> Op {
    write_to(ids.fh, offset, data)
}

fn write_to(fh: Fh, offset: u64, data: &[u8]) -> Op {
    Op::Write { fh, offset, data: data.to_vec(), flags: WriteFlags::default() }
}

fn set(ids: Ids, set: SetAttr) -> Op {
    Op::SetAttr { ino: ids.f, set }
}

fn allocate(ids: Ids, offset: u64, len: u64, how: Allocate) -> Op {
    Op::Fallocate { fh: ids.fh, offset, len, how, kill_suidgid: false }
}

fn name(text: &str) -> Name {
    Name::from(text.as_bytes())
}

fn rename(from: &str, to: &str) -> Op {
    let (parent, to_parent, mode) = (Ino::ROOT, Ino::ROOT, RenameMode::Replace);
    Op::Rename { parent, name: name(from), to_parent, to_name: name(to), mode }
}

fn truncate(ids: Ids, size: u64) -> Op {
    set(ids, SetAttr { size: Some(size), ..SetAttr::default() })
}

/// Four bytes within a block.
pub const WRITE: Verb = Verb::ask("write", |ids| write(ids, 2, b"wwww"));
/// Bytes of two blocks.
pub const WRITE_TWO: Verb = Verb::ask("write two", |ids| write(ids, 4, b"tttttttt"));
/// Past the end.
pub const APPEND: Verb = Verb::ask("append", |ids| write(ids, 12, b"aaaaaaaa"));
/// To another file, past its end: with little memory, something else has to go for it.
pub const PRESS: Verb = Verb::ask("press", |ids| write_to(ids.gh, 8, b"pppppppp"));
pub const READ: Verb = Verb::ask("read", |ids| Op::Read { fh: ids.fh, offset: 0, len: 64 });
pub const GETATTR: Verb = Verb::ask("getattr", |ids| Op::GetAttr { ino: ids.f });
pub const TRUNCATE: Verb = Verb::ask("truncate", |ids| truncate(ids, 6));
pub const EXTEND: Verb = Verb::ask("extend", |ids| truncate(ids, 20));
pub const EMPTY: Verb = Verb::ask("empty", |ids| truncate(ids, 0));
pub const PUNCH: Verb = Verb::ask("punch", |ids| allocate(ids, 6, 4, Allocate::Punch));
pub const ALLOCATE: Verb = Verb::ask("allocate", |ids| allocate(ids, 0, 24, Allocate::Extend));
pub const SEEK: Verb =
    Verb::ask("seek", |ids| Op::Seek { fh: ids.fh, offset: 0, whence: Whence::Hole });
pub const FSYNC: Verb = Verb::ask("fsync", |ids| Op::Fsync { fh: ids.fh });
pub const CHMOD: Verb =
    Verb::ask("chmod", |ids| set(ids, SetAttr { mode: Some(0o600), ..SetAttr::default() }));
pub const GRANT: Verb = Verb::ask("grant", |ids| grant(ids.f));
pub const UNLINK: Verb = Verb::ask("unlink", |_| Op::Unlink { parent: Ino::ROOT, name: name("f") });
pub const LINK: Verb =
    Verb::ask("link", |ids| Op::Link { ino: ids.f, to_parent: Ino::ROOT, to_name: name("h") });
/// Over another file.
pub const RENAME: Verb = Verb::ask("rename", |_| rename("f", "g"));
pub const RENAME_BACK: Verb = Verb::ask("rename back", |_| rename("g", "f"));
pub const LOOKUP: Verb = Verb::ask("lookup", |_| Op::Lookup { parent: Ino::ROOT, name: name("f") });
pub const FORGET: Verb = Verb::ask("forget", |ids| Op::Forget { ino: ids.f, count: 1 });
pub const OPEN: Verb = Verb::ask("open", |ids| Op::Open { ino: ids.f, flags: RW });
pub const RELEASE: Verb = Verb::ask("release", |ids| Op::Release { fh: ids.fh });
pub const CREATE: Verb = Verb::ask("create", |_| create(b"h"));
pub const DIFF: Verb = Verb::ask("diff", |_| Op::Diff);
pub const DISCARD: Verb = Verb::ask("discard", |_| Op::Discard);
pub const COMMIT: Verb = Verb::ask("commit", |_| commit());
pub const FINISH: Verb = Verb { name: "finish", what: What::Finish };

/// Those that leave names as they are, so that what has to go from memory can be sent.
pub const OF_DATA: [Verb; 13] = [
    WRITE, WRITE_TWO, APPEND, PRESS, READ, GETATTR, TRUNCATE, EXTEND, PUNCH, SEEK, CHMOD, COMMIT,
    DISCARD,
];

/// All of them, but [`PRESS`].
pub const VERBS: [Verb; 27] = [
    WRITE,
    WRITE_TWO,
    APPEND,
    READ,
    GETATTR,
    TRUNCATE,
    EXTEND,
    EMPTY,
    PUNCH,
    ALLOCATE,
    SEEK,
    FSYNC,
    CHMOD,
    GRANT,
    UNLINK,
    LINK,
    RENAME,
    RENAME_BACK,
    LOOKUP,
    FORGET,
    OPEN,
    RELEASE,
    CREATE,
    DIFF,
    DISCARD,
    COMMIT,
    FINISH,
];
