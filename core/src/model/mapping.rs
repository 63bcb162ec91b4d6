//! Which of the model's numbers stands for which of the machine's.

use std::collections::BTreeMap;
use std::fmt;

use crate::shapes::{Attr, DirEntry, Op, Reply};
use crate::words::{Errno, Fh, Ino};

/// A one-to-one relation of inode numbers, and one of handles: model on the left.
#[derive(Clone, Debug)]
pub struct Mapping {
    inos: Pairs<Ino>,
    handles: Pairs<Fh>,
}

/// How two replies differ, for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference(String);

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Default for Mapping {
    fn default() -> Self {
        let mut inos = Pairs::default();
        inos.pair(Ino::ROOT, Ino::ROOT);
        Self { inos, handles: Pairs::default() }
    }
}

impl Mapping {
    /// The machine's number of an inode; one that it cannot know when the model's has none.
    #[must_use]
    pub fn ino(&self, model: Ino) -> Ino {
        self.inos.left.get(&model).copied().unwrap_or(Ino(u64::MAX >> 1))
    }

    /// The machine's number of a handle; one that it cannot know when the model's has none.
    #[must_use]
    pub fn fh(&self, model: Fh) -> Fh {
        self.handles.left.get(&model).copied().unwrap_or(Fh(u64::MAX))
    }

    /// What is kept across a remount: inodes for which `keep` answers true, and no handle.
    pub fn remount(&mut self, keep: impl Fn(Ino) -> bool) {
        self.inos.left.retain(|&model, _| keep(model));
        self.inos.right.retain(|_, model| keep(*model));
        self.handles = Pairs::default();
    }

    /// A handle was released; its number may come back.
    pub fn released(&mut self, model: Fh) {
        if let Some(machine) = self.handles.left.remove(&model) {
            self.handles.right.remove(&machine);
        }
    }

    /// An inode is gone for good; its number may come back.
    pub fn gone(&mut self, model: Ino) {
        if let Some(machine) = self.inos.left.remove(&model) {
            self.inos.right.remove(&machine);
        }
    }

    /// `op` in the machine's numbers.
    #[must_use]
    pub fn translate(&self, op: &Op) -> Op {
        let mut op = op.clone();
        match &mut op {
            Op::Lookup { parent: ino, .. }
            | Op::Forget { ino, .. }
            | Op::GetAttr { ino }
            | Op::SetAttr { ino, .. }
            | Op::ReadLink { ino }
            | Op::MakeNode { parent: ino, .. }
            | Op::MakeDir { parent: ino, .. }
            | Op::Symlink { parent: ino, .. }
            | Op::Unlink { parent: ino, .. }
            | Op::RemoveDir { parent: ino, .. }
            | Op::Open { ino, .. }
            | Op::Create { parent: ino, .. }
            | Op::OpenDir { ino }
            | Op::SetXattr { ino, .. }
            | Op::GetXattr { ino, .. }
            | Op::ListXattr { ino }
            | Op::RemoveXattr { ino, .. } => *ino = self.ino(*ino),
            Op::Rename { parent: ino, to_parent, .. } | Op::Link { ino, to_parent, .. } => {
                *ino = self.ino(*ino);
                *to_parent = self.ino(*to_parent);
            }
            Op::Read { fh, .. }
            | Op::Write { fh, .. }
            | Op::Flush { fh }
            | Op::Fsync { fh }
            | Op::Release { fh }
            | Op::ReadDir { fh, .. }
            | Op::FsyncDir { fh }
            | Op::Fallocate { fh, .. }
            | Op::Seek { fh, .. } => *fh = self.fh(*fh),
            Op::Disconnect
            | Op::StatFs
            | Op::Status
            | Op::Diff
            | Op::Discard
            | Op::Restore { .. }
            | Op::Revive { .. }
            | Op::Withdraw { .. }
            | Op::Settle { .. }
            | Op::Commit { .. } => {}
        }
        op
    }

    /// Compares what the model and the machine answered to one request, and learns the numbers
    /// that stand in the replies. Answers of `Seek` and figures of `StatFs` are compared by who
    /// knows the content (they may be coarser than the model's); streams by [`Self::entries`].
    ///
    /// # Errors
    /// The first difference.
    pub fn compare(
        &mut self,
        model: &Result<Reply, Errno>,
        machine: &Result<Reply, Errno>,
    ) -> Result<(), Difference> {
        let alike = match (model, machine) {
            (Ok(Reply::Entry(a)), Ok(Reply::Entry(b)))
            | (Ok(Reply::Attr(a)), Ok(Reply::Attr(b))) => self.attr(a, b),
            (Ok(Reply::Created(a, fh)), Ok(Reply::Created(b, other))) => {
                self.attr(a, b) && self.handles.pair(*fh, *other)
            }
            (Ok(Reply::Opened(a)), Ok(Reply::Opened(b))) => self.handles.pair(*a, *b),
            (Ok(Reply::Entries(a)), Ok(Reply::Entries(b))) => self.entries(a, b),
            (Ok(Reply::Offset(_)), Ok(Reply::Offset(_)))
            | (Ok(Reply::StatFs(_)), Ok(Reply::StatFs(_))) => true,
            (a, b) => a == b,
        };
        if alike {
            return Ok(());
        }
        Err(Difference(format!("model: {model:?}\n machine: {machine:?}")))
    }

    /// Whether two whole streams hold the same entries, in whatever order and with whatever
    /// cookies, `.` and `..` first.
    pub fn entries(&mut self, model: &[DirEntry], machine: &[DirEntry]) -> bool {
        let sorted = |entries: &[DirEntry]| {
            let mut sorted = entries.to_vec();
            sorted.sort_by(|a, b| a.name.cmp(&b.name));
            sorted
        };
        let dots = |entries: &[DirEntry]| {
            entries.iter().take(2).map(|entry| entry.name.clone()).collect::<Vec<_>>()
        };
        dots(model) == dots(machine)
            && model.len() == machine.len()
            && sorted(model).iter().zip(&sorted(machine)).all(|(a, b)| self.entry(a, b))
    }

    /// Whether two entries of a stream say the same.
    pub fn entry(&mut self, model: &DirEntry, machine: &DirEntry) -> bool {
        model.name == machine.name
            && model.kind == machine.kind
            && self.inos.pair(model.ino, machine.ino)
            && match (&model.attr, &machine.attr) {
                (Some(a), Some(b)) => self.attr(a, b),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            }
    }

    /// Whether two sets of attributes are the same. The machine may count a hole as allocated,
    /// up to its block; it never counts more than the size rounded up generously.
    pub fn attr(&mut self, model: &Attr, machine: &Attr) -> bool {
        const COARSEST_BLOCK: u64 = 16 << 20;
        self.inos.pair(model.ino, machine.ino)
            && machine.allocated <= model.size.saturating_add(COARSEST_BLOCK)
            && Attr { ino: machine.ino, allocated: machine.allocated, ..*model } == *machine
    }
}

/// A one-to-one relation.
#[derive(Clone, Debug)]
struct Pairs<T> {
    left: BTreeMap<T, T>,
    right: BTreeMap<T, T>,
}

impl<T> Default for Pairs<T> {
    fn default() -> Self {
        Self { left: BTreeMap::new(), right: BTreeMap::new() }
    }
}

impl<T: Copy + Ord> Pairs<T> {
    /// Pairs the two unless one has another partner; answers whether they are partners now.
    fn pair(&mut self, left: T, right: T) -> bool {
        *self.left.entry(left).or_insert(right) == right
            && *self.right.entry(right).or_insert(left) == left
    }
}
