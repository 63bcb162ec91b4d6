//! What each step does, once its picks are resolved.

use std::sync::Arc;

use vellum_core::model::Node;
use vellum_core::shapes::{
    Allocate, Caller, FileKind, Name, Op, OpenFlags, RenameMode, SetAttr, SetTime, Whence,
    WriteFlags, XattrMode,
};
use vellum_core::words::{Fh, Ino, Time};

use super::player::{HANDLES, Player};
use super::step::{Bigger, OnFiles, OnNames, Step, Verb};

const MODES: [u32; 8] = [0o644, 0o755, 0o4755, 0o2755, 0o6777, 0o2745, 0o1777, 0];
const RW: OpenFlags = OpenFlags { read: true, write: true, truncate: false };

/// Short names that there are.
const NAMES: u8 = 8;

/// Inodes of a tree past which nothing is made.
const INODES_MAX: usize = 32;

/// What files lose when they change.
const CAPABILITY: &[u8] = b"security.capability";

fn choose<T: Copy>(items: &[T], pick: u8) -> T {
    items[usize::from(pick) % items.len()]
}

fn name(pick: u8) -> Name {
    match pick {
        0..=247 => Name::from(&[b'a' + pick % NAMES][..]),
        248..=251 => Name::from(&[b'n'; 255][..]),
        252..=255 => Name::from(&[b'n'; 256][..]),
    }
}

fn xattr_name(pick: u8) -> Name {
    Name::from(choose(&[&b"user.a"[..], CAPABILITY, b"user.b", CAPABILITY], pick))
}

fn caller(pick: u8) -> Caller {
    Caller { uid: u32::from(pick & 1) * 1000, gid: u32::from(pick & 2) * 500 }
}

/// Whether it makes something that has a name.
fn makes_one(verb: OnNames) -> bool {
    match verb {
        OnNames::MakeNode | OnNames::MakeDir | OnNames::Symlink | OnNames::Link => true,
        OnNames::Lookup
        | OnNames::Forget
        | OnNames::GetAttr
        | OnNames::SetAttr
        | OnNames::ReadLink
        | OnNames::Unlink
        | OnNames::RemoveDir
        | OnNames::Rename
        | OnNames::SetXattr
        | OnNames::GetXattr
        | OnNames::ListXattr
        | OnNames::RemoveXattr
        | OnNames::OpenDir
        | OnNames::StatFs => false,
    }
}

impl Player {
    /// Plays one step. What there is nothing for is left out.
    pub(super) fn step(&mut self, step: &Step) -> Result<(), String> {
        let op = match step.verb {
            Verb::Whole(verb) => return self.bigger(verb, step),
            Verb::Names(verb) => self.names_op(verb, step),
            Verb::Files(verb) => self.files_op(verb, step),
        };
        match op {
            Some(op) => self.both(&op, step.picks[3] & 1 == 1).map(|_| ()),
            None => Ok(()),
        }
    }

    fn bigger(&mut self, verb: Bigger, step: &Step) -> Result<(), String> {
        let [a, b, _, d] = step.picks;
        match verb {
            Bigger::List => match self.directory_handle(a) {
                Some((fh, _)) => self.list(fh, 1 + usize::from(b % 5), d & 1 == 1).map(|_| ()),
                None => Ok(()),
            },
            Bigger::Stream => match self.directory_handle(a) {
                Some((fh, directory)) => self.stream(fh, directory, 1 + usize::from(b % 3)),
                None => Ok(()),
            },
            Bigger::Status => self.status(),
            Bigger::Diff => self.diff(),
            Bigger::Commit => self.commit(d % 4 == 0),
            Bigger::Discard => self.discard(),
            Bigger::Remount => self.remount(),
            Bigger::Wait => {
                let until = self.world.now().mono_ns + step.numbers[0] % 5_000_000_000;
                self.world.run_until(until);
                Ok(())
            }
        }
    }

    /// Requests that are about names and inodes.
    fn names_op(&self, verb: OnNames, step: &Step) -> Option<Op> {
        let [a, b, c, d] = step.picks;
        let mode = choose(&MODES, c);
        let who = caller(d);
        if makes_one(verb) && self.is_crowded() {
            return self.removal(a);
        }
        Some(match verb {
            OnNames::Lookup => Op::Lookup { parent: self.dir(a), name: name(b) },
            OnNames::Forget => {
                let ino = self.forgettable(a)?;
                let all = self.seat.model.lookups(ino);
                Op::Forget { ino, count: if b < 128 { all } else { all.min(1) } }
            }
            OnNames::GetAttr => Op::GetAttr { ino: self.node(a) },
            OnNames::SetAttr => {
                let set = self.set_attr(step);
                let ino = if set.size.is_some() { self.file(a)? } else { self.node(a) };
                Op::SetAttr { ino, set }
            }
            OnNames::ReadLink => Op::ReadLink { ino: self.node(a) },
            OnNames::MakeNode => self.make_node(step),
            OnNames::MakeDir => {
                let parent = self.dir(a);
                Op::MakeDir { parent, name: self.free(parent, b), mode, caller: who }
            }
            OnNames::Symlink => {
                let len = [3, 1, 40, 4095, 4096, 0][usize::from(c % 6)];
                let target: Arc<[u8]> = vec![b't'; len].into();
                let parent = self.dir(a);
                Op::Symlink { parent, name: self.free(parent, b), target, caller: who }
            }
            OnNames::Unlink => {
                let parent = self.dir(a);
                Op::Unlink { parent, name: self.taken(parent, b, |node| !node.is_directory())? }
            }
            OnNames::RemoveDir => {
                let parent = self.dir(a);
                Op::RemoveDir { parent, name: self.taken(parent, b, Node::is_directory)? }
            }
            OnNames::Rename => {
                let modes = [RenameMode::Replace, RenameMode::NoReplace, RenameMode::Exchange];
                let mode = choose(&modes, step.numbers[0] as u8 % 4);
                let (parent, to_parent, to_name) = (self.dir(a), self.dir(c), name(d));
                let name = self.taken(parent, b, |_| true)?;
                Op::Rename { parent, name, to_parent, to_name, mode }
            }
            OnNames::Link => {
                let to_parent = self.dir(c);
                Op::Link { ino: self.file(a)?, to_parent, to_name: self.free(to_parent, b) }
            }
            OnNames::SetXattr => {
                let modes = [XattrMode::Either, XattrMode::Create, XattrMode::Replace];
                // One that memory can never hold can't be read again.
                let longest = (self.setting.memory_bytes / 4).min(5000) as usize;
                let len = [0, 5, 200, longest][usize::from(c % 4)];
                let value: Arc<[u8]> = vec![c; len].into();
                let (name, mode) = (xattr_name(b), choose(&modes, d));
                let ino = if *name == *CAPABILITY { self.file(a)? } else { self.node(a) };
                Op::SetXattr { ino, name, value, mode }
            }
            OnNames::GetXattr => Op::GetXattr { ino: self.node(a), name: xattr_name(b) },
            OnNames::ListXattr => Op::ListXattr { ino: self.node(a) },
            OnNames::RemoveXattr => Op::RemoveXattr { ino: self.node(a), name: xattr_name(b) },
            OnNames::OpenDir if self.is_full() => Op::Release { fh: self.any(a)? },
            OnNames::OpenDir => Op::OpenDir { ino: self.dir(a) },
            OnNames::StatFs => Op::StatFs,
        })
    }

    fn make_node(&self, step: &Step) -> Op {
        use FileKind::{BlockDevice, CharDevice, Directory, Fifo, File, Socket, Symlink};
        let [a, b, c, d] = step.picks;
        let kinds = [File, File, Fifo, Socket, CharDevice, BlockDevice, Directory, Symlink];
        let (parent, mode, caller) = (self.dir(a), choose(&MODES, c), caller(d));
        let (name, kind, rdev) = (self.free(parent, b), choose(&kinds, d), u32::from(c));
        Op::MakeNode { parent, name, kind, mode, rdev, caller }
    }

    /// Requests that are about open files.
    fn files_op(&self, verb: OnFiles, step: &Step) -> Option<Op> {
        let [a, b, c, d] = step.picks;
        let offset = self.offset(step.numbers[0]);
        Some(match verb {
            OnFiles::Create if self.is_crowded() => self.removal(a)?,
            OnFiles::Open | OnFiles::Create if self.is_full() => Op::Release { fh: self.any(a)? },
            OnFiles::Open => {
                let flags = OpenFlags { truncate: c % 8 == 0, write: d % 8 != 0, ..RW };
                Op::Open { ino: self.file(a)?, flags }
            }
            OnFiles::Create => {
                let (parent, mode, who) = (self.dir(a), choose(&MODES, c), caller(d));
                Op::Create { parent, name: self.free(parent, b), mode, flags: RW, caller: who }
            }
            OnFiles::Read => {
                let len = self.len(step.numbers[1]) as u32;
                Op::Read { fh: self.handle(a)?, offset, len }
            }
            OnFiles::Write => {
                let zeros = c % 8 == 0;
                let len = if d % 16 == 0 { 0 } else { self.len(step.numbers[1]) };
                let data = (0..len).map(|at| {
                    let byte = (at as u8).wrapping_mul(31).wrapping_add(c) | 1;
                    if zeros { 0 } else { byte }
                });
                let flags = WriteFlags { from_cache: b % 4 == 0, kill_suidgid: b % 3 == 0 };
                Op::Write { fh: self.handle(a)?, offset, data: data.collect(), flags }
            }
            OnFiles::Flush => Op::Flush { fh: self.handle(a)? },
            OnFiles::Fsync => Op::Fsync { fh: self.handle(a)? },
            OnFiles::FsyncDir => Op::FsyncDir { fh: self.directory_handle(a)?.0 },
            OnFiles::Release if b % 3 == 0 => Op::Release { fh: self.directory_handle(a)?.0 },
            OnFiles::Release => Op::Release { fh: self.handle(a)? },
            OnFiles::Fallocate => {
                let how = [
                    Allocate::Extend,
                    Allocate::KeepSize,
                    Allocate::Punch,
                    Allocate::Punch,
                    Allocate::Zero { keep_size: true },
                    Allocate::Zero { keep_size: false },
                ];
                let len = if d == 255 { u64::MAX } else { self.len(step.numbers[1]) };
                let (how, kill_suidgid) = (choose(&how, b), c % 3 == 0);
                Op::Fallocate { fh: self.writable(a)?, offset, len, how, kill_suidgid }
            }
            OnFiles::Seek => {
                let whence = choose(&[Whence::Data, Whence::Hole], b);
                Op::Seek { fh: self.handle(a)?, offset, whence }
            }
        })
    }

    fn set_attr(&self, step: &Step) -> SetAttr {
        let [_, b, c, d] = step.picks;
        let (mode, id) = (Some(choose(&MODES, c)), Some(u32::from(d % 3)));
        let size = Some(self.offset(step.numbers[0]));
        let at = Some(SetTime::At(Time { ns: step.numbers[1] as i64 }));
        match b % 9 {
            0 => SetAttr { mode, ..SetAttr::default() },
            1 => SetAttr { uid: id, ..SetAttr::default() },
            2 => SetAttr { gid: id, ..SetAttr::default() },
            3 | 4 => SetAttr { size, kill_suidgid: c % 2 == 0, ..SetAttr::default() },
            5 => SetAttr { mtime: at, ..SetAttr::default() },
            6 => SetAttr { mtime: Some(SetTime::Now), ..SetAttr::default() },
            7 => SetAttr { size, mode, mtime: at, uid: id, ..SetAttr::default() },
            _ => SetAttr::default(),
        }
    }

    fn offset(&self, number: u64) -> u64 {
        let small = (number >> 8) % 65;
        match number % 32 {
            0..=28 => small * self.setting.unit + (number >> 16) % self.setting.unit,
            29 => self.setting.file_bytes.saturating_sub(small),
            30 => u64::MAX - small,
            _ => (1 << 32) - small,
        }
    }

    fn len(&self, number: u64) -> u64 {
        (number >> 8) % 24 * self.setting.unit + (number >> 16) % self.setting.unit
    }

    fn known(&self, wanted: impl Fn(&Node) -> bool) -> Vec<Ino> {
        let tree = self.seat.model.tree();
        self.seat.model.known().filter(|ino| tree.get(*ino).is_some_and(&wanted)).collect()
    }

    fn node(&self, pick: u8) -> Ino {
        choose(&self.known(|_| true), pick)
    }

    /// A name that nothing has in a directory, mostly.
    fn free(&self, parent: Ino, pick: u8) -> Name {
        let tree = self.seat.model.tree();
        let is_free = |at: &u8| {
            let name = [b'a' + (pick % NAMES + at) % NAMES];
            tree.entries(parent).all(|(taken, _)| **taken != name)
        };
        match (0..NAMES).find(is_free) {
            Some(at) if pick < 224 => Name::from(&[b'a' + (pick % NAMES + at) % NAMES][..]),
            Some(_) | None => name(pick),
        }
    }

    /// A name that something of a kind has in a directory, mostly; none if nothing has.
    fn taken(&self, parent: Ino, pick: u8, wanted: impl Fn(&Node) -> bool) -> Option<Name> {
        if pick >= 224 {
            return Some(name(pick));
        }
        let tree = self.seat.model.tree();
        let all = tree.entries(parent).filter(|(_, ino)| tree.get(*ino).is_some_and(&wanted));
        let all: Vec<&Name> = all.map(|(name, _)| name).collect();
        (!all.is_empty()).then(|| choose(&all, pick).clone())
    }

    /// A directory, mostly.
    fn dir(&self, pick: u8) -> Ino {
        if pick >= 248 {
            return self.node(pick);
        }
        choose(&self.known(Node::is_directory), pick)
    }

    /// A regular file, mostly.
    fn file(&self, pick: u8) -> Option<Ino> {
        if pick >= 248 {
            return Some(self.node(pick));
        }
        let files = self.known(|node| node.kind() == FileKind::File);
        (!files.is_empty()).then(|| choose(&files, pick))
    }

    /// What the kernel may forget: it holds an inode as long as a handle is open.
    fn forgettable(&self, pick: u8) -> Option<Ino> {
        let model = &self.seat.model;
        let free = |ino: &Ino| *ino != Ino::ROOT && !model.open().any(|(_, open, _)| open == *ino);
        let inos: Vec<Ino> = model.known().filter(free).collect();
        (!inos.is_empty()).then(|| choose(&inos, pick))
    }

    /// A handle of a file; now and then one that does not exist.
    fn handle(&self, pick: u8) -> Option<Fh> {
        if pick == 255 {
            return Some(Fh(u64::MAX - 1));
        }
        let open = self.seat.model.open().filter(|(_, _, flags)| flags.is_some());
        let handles: Vec<Fh> = open.map(|(fh, ..)| fh).collect();
        (!handles.is_empty()).then(|| choose(&handles, pick))
    }

    /// Whether there is so much that something has to go: long runs are to stay quick.
    fn is_crowded(&self) -> bool {
        self.seat.model.tree().iter().count() > INODES_MAX
    }

    /// The removal of something that can be removed.
    fn removal(&self, pick: u8) -> Option<Op> {
        let tree = self.seat.model.tree();
        let mut all = Vec::new();
        for parent in self.known(Node::is_directory) {
            for (name, ino) in tree.entries(parent) {
                let is_directory = tree.get(ino).is_some_and(Node::is_directory);
                if !is_directory {
                    all.push(Op::Unlink { parent, name: name.clone() });
                } else if tree.entries(ino).next().is_none() {
                    all.push(Op::RemoveDir { parent, name: name.clone() });
                }
            }
        }
        let at = usize::from(pick) % all.len().max(1);
        (at < all.len()).then(|| all.swap_remove(at))
    }

    /// Whether so many handles are open that some have to go: what looks at everything needs a few.
    fn is_full(&self) -> bool {
        self.seat.model.open().count() >= HANDLES - 8
    }

    /// Any handle.
    fn any(&self, pick: u8) -> Option<Fh> {
        let handles: Vec<Fh> = self.seat.model.open().map(|(fh, ..)| fh).collect();
        (!handles.is_empty()).then(|| choose(&handles, pick))
    }

    fn writable(&self, pick: u8) -> Option<Fh> {
        let open = self.seat.model.open().filter(|(_, _, flags)| flags.is_some_and(|f| f.write));
        let handles: Vec<Fh> = open.map(|(fh, ..)| fh).collect();
        (!handles.is_empty()).then(|| choose(&handles, pick))
    }

    fn directory_handle(&self, pick: u8) -> Option<(Fh, Ino)> {
        let open = self.seat.model.open().filter(|(_, _, flags)| flags.is_none());
        let handles: Vec<(Fh, Ino)> = open.map(|(fh, ino, _)| (fh, ino)).collect();
        (!handles.is_empty()).then(|| choose(&handles, pick))
    }
}
