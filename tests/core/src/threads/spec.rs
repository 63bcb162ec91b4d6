//! What each verb comes to when nothing else happens meanwhile: the model file system, and a branch
//! that commits move.

use vellum_core::model::{Model, Tree};
use vellum_core::shapes::{CommitResult, FileKind, Name, Op, Reply, WriteFlags, XattrMode};
use vellum_core::words::{Errno, Fh, Ino};

use super::world::{CAPABILITY, NOW, RW, create, limits};

/// The numbers of the two files that verbs are about, and of their handles.
#[derive(Clone, Copy, Debug)]
pub struct Ids {
    pub f: Ino,
    pub fh: Fh,
    pub g: Ino,
    pub gh: Fh,
}

/// A mount of which only one thread ever uses anything.
#[derive(Clone)]
pub struct Spec {
    model: Model,
    pub ids: Ids,
    committed: Tree,
    /// What a commit that is under way took.
    taken: Option<Tree>,
}

impl Spec {
    /// A mount of two committed files, which are looked up and open.
    pub fn new(files: [(&[u8], &[u8]); 2]) -> Self {
        let mut model = Model::new(&limits(0), Tree::empty(0o755, 0, 0, NOW.wall));
        let [(f, fh), (g, gh)] = files.map(|(name, data)| {
            let created = model.apply(NOW.wall, &create(name));
            let Ok(Reply::Created(attr, fh)) = created else { panic!("{created:?}") };
            let (data, flags) = (data.to_vec(), WriteFlags::default());
            model.apply(NOW.wall, &Op::Write { fh, offset: 0, data, flags }).unwrap();
            (attr.ino, fh)
        });
        let committed = model.committed();
        Self { model, ids: Ids { f, fh, g, gh }, committed, taken: None }
    }

    /// A request; what is said of its reply.
    #[allow(clippy::wildcard_enum_match_arm)]
    pub fn ask(&mut self, op: &Op) -> String {
        match op {
            Op::Commit { .. } if self.taken.is_some() => {
                said(&Ok(Reply::Commit(CommitResult::Busy)))
            }
            Op::Commit { .. } => {
                self.committed = self.model.committed();
                COMMITTED.to_owned()
            }
            Op::Discard => {
                // It waits for the commit, and goes back to that.
                self.finish();
                self.model.discard(&self.committed);
                TOLD.to_owned()
            }
            Op::Status | Op::Diff => TOLD.to_owned(),
            op => said(&self.model.apply(NOW.wall, op)),
        }
    }

    /// Begins a commit, which takes what is there now.
    pub fn begin_commit(&mut self) {
        self.taken = Some(self.model.committed());
    }

    /// All that was begun ends.
    pub fn finish(&mut self) {
        if let Some(taken) = self.taken.take() {
            self.committed = taken;
        }
    }

    /// What the tree shows in the end, and what the branch does.
    pub fn look(&mut self) -> String {
        self.finish();
        let fh = self.ids.fh;
        let mut model = self.model.clone();
        let tree = shown(&mut |op| model.apply(NOW.wall, &op));
        let handle = said(&model.apply(NOW.wall, &Op::Read { fh, offset: 0, len: 64 }));
        let mut fresh = Model::new(&limits(0), self.committed.clone());
        let committed = shown(&mut |op| fresh.apply(NOW.wall, &op));
        format!("{tree} fh={handle} / {committed}")
    }
}

const COMMITTED: &str = "committed";
const TOLD: &str = "told";

/// What is said of a reply: all that a program sees of it, but for numbers and times.
pub fn said(reply: &Result<Reply, Errno>) -> String {
    let reply = match reply {
        Ok(reply) => reply,
        Err(errno) => return format!("{errno:?}"),
    };
    match reply {
        Reply::Done => "done".to_owned(),
        Reply::Absent => "absent".to_owned(),
        Reply::Entry(attr) | Reply::Attr(attr) | Reply::Created(attr, _) => {
            let kind = if attr.kind == FileKind::File { "" } else { "?" };
            format!("{kind}{:o}x{}:{}", attr.mode, attr.links, attr.size)
        }
        Reply::Data(bytes) => text(bytes),
        Reply::Written(len) => len.to_string(),
        Reply::Opened(_) => "opened".to_owned(),
        Reply::Entries(entries) => {
            let names = entries.iter().map(|entry| text(&entry.name));
            names.collect::<Vec<_>>().join(",")
        }
        Reply::Offset(at) => format!("@{at}"),
        Reply::Commit(CommitResult::Committed { .. } | CommitResult::Unchanged { .. }) => {
            COMMITTED.to_owned()
        }
        Reply::Commit(result) => format!("{result:?}"),
        Reply::Diff(_) | Reply::Status(_) => TOLD.to_owned(),
        Reply::StatFs(_) | Reply::Restored(_) | Reply::Withdrawn(_) => format!("{reply:?}"),
    }
}

/// Bytes as text: zeros as `.`, nothing as `-`.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".to_owned();
    }
    bytes.iter().map(|b| if *b == 0 { '.' } else { char::from(*b) }).collect()
}

type Ask<'a> = &'a mut dyn FnMut(Op) -> Result<Reply, Errno>;

/// Everything that a file system shows: each name of the root with attributes, capability and
/// content.
pub fn shown(ask: Ask<'_>) -> String {
    let Ok(Reply::Opened(stream)) = ask(Op::OpenDir { ino: Ino::ROOT }) else { panic!("no root") };
    let listed = ask(Op::ReadDir { fh: stream, cookie: 0, max: 64, plus: false });
    let Ok(Reply::Entries(entries)) = listed else { panic!("no entries: {listed:?}") };
    ask(Op::Release { fh: stream }).unwrap();
    let names = entries.into_iter().map(|entry| entry.name);
    let mut parts: Vec<String> = names
        .filter(|name| ![&b"."[..], b".."].contains(&&name[..]))
        .map(|name| format!("{}={}", text(&name), of_name(ask, name)))
        .collect();
    parts.sort();
    parts.join(" ")
}

fn of_name(ask: Ask<'_>, name: Name) -> String {
    let found = ask(Op::Lookup { parent: Ino::ROOT, name });
    let Ok(Reply::Entry(attr)) = found else { return said(&found) };
    let capability = ask(Op::GetXattr { ino: attr.ino, name: Name::from(CAPABILITY) });
    let opened = ask(Op::Open { ino: attr.ino, flags: RW });
    let Ok(Reply::Opened(fh)) = opened else { panic!("{opened:?}") };
    let content = ask(Op::Read { fh, offset: 0, len: 64 });
    ask(Op::Release { fh }).unwrap();
    ask(Op::Forget { ino: attr.ino, count: 1 }).unwrap();
    let capability = if capability.is_ok() { "+" } else { "" };
    format!("{}{capability}:{}", said(&found), said(&content))
}

/// Gives `f` a capability.
pub fn grant(ino: Ino) -> Op {
    let (name, value) = (Name::from(CAPABILITY), Name::from(&b"all"[..]));
    Op::SetXattr { ino, name, value, mode: XattrMode::Either }
}
