//! What each step does, once its picks are resolved.

use std::sync::Arc;

use vellum_core::shapes::{
    Allocate, Caller, FileKind, Name, Op, OpenFlags, RenameMode, SetAttr, SetTime, Whence,
    WriteFlags, XattrMode,
};
use vellum_core::words::{Fh, Ino, Time};

use super::player::Player;
use super::step::{Bigger, OnFiles, OnNames, Step, Verb};

const MODES: [u32; 8] = [0o644, 0o755, 0o4755, 0o2755, 0o6777, 0o2745, 0o1777, 0];
const RW: OpenFlags = OpenFlags { read: true, write: true, truncate: false };

/// What files lose when they change.
const CAPABILITY: &[u8] = b"security.capability";

fn choose<T: Copy>(items: &[T], pick: u8) -> T {
    items[usize::from(pick) % items.len()]
}

fn name(pick: u8) -> Name {
    match pick {
        0..=247 => Name::from(choose(&[&b"a"[..], b"b", b"c"], pick)),
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
        Some(match verb {
            OnNames::Lookup => Op::Lookup { parent: self.dir(a), name: name(b) },
            OnNames::Forget => {
                let ino = self.forgettable(a)?;
                let all = self.seat.model.lookups(ino);
                Op::Forget { ino, count: if b < 128 { all } else { all.min(1) } }
            }
            OnNames::GetAttr => Op::GetAttr { ino: self.node(a) },
            OnNames::SetAttr => Op::SetAttr { ino: self.node(a), set: self.set_attr(step) },
            OnNames::ReadLink => Op::ReadLink { ino: self.node(a) },
            OnNames::MakeNode => {
                use FileKind::{BlockDevice, CharDevice, Directory, Fifo, File, Socket, Symlink};
                let kinds = [File, File, Fifo, Socket, CharDevice, BlockDevice, Directory, Symlink];
                let (kind, rdev) = (choose(&kinds, d), u32::from(c));
                Op::MakeNode { parent: self.dir(a), name: name(b), kind, mode, rdev, caller: who }
            }
            OnNames::MakeDir => {
                Op::MakeDir { parent: self.dir(a), name: name(b), mode, caller: who }
            }
            OnNames::Symlink => {
                let len = [3, 1, 40, 4095, 4096, 0][usize::from(c % 6)];
                let target: Arc<[u8]> = vec![b't'; len].into();
                Op::Symlink { parent: self.dir(a), name: name(b), target, caller: who }
            }
            OnNames::Unlink => Op::Unlink { parent: self.dir(a), name: name(b) },
            OnNames::RemoveDir => Op::RemoveDir { parent: self.dir(a), name: name(b) },
            OnNames::Rename => {
                let modes = [RenameMode::Replace, RenameMode::NoReplace, RenameMode::Exchange];
                let mode = choose(&modes, step.numbers[0] as u8 % 4);
                let (to_parent, to_name) = (self.dir(c), name(d));
                Op::Rename { parent: self.dir(a), name: name(b), to_parent, to_name, mode }
            }
            OnNames::Link => {
                Op::Link { ino: self.node(a), to_parent: self.dir(c), to_name: name(b) }
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
            OnNames::OpenDir => Op::OpenDir { ino: self.dir(a) },
            OnNames::StatFs => Op::StatFs,
        })
    }

    /// Requests that are about open files.
    fn files_op(&self, verb: OnFiles, step: &Step) -> Option<Op> {
        let [a, b, c, d] = step.picks;
        let offset = self.offset(step.numbers[0]);
        Some(match verb {
            OnFiles::Open => {
                let flags = OpenFlags { truncate: c % 8 == 0, write: d % 8 != 0, ..RW };
                Op::Open { ino: self.file(a)?, flags }
            }
            OnFiles::Create => {
                let (parent, mode, who) = (self.dir(a), choose(&MODES, c), caller(d));
                Op::Create { parent, name: name(b), mode, flags: RW, caller: who }
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

    fn known(&self, wanted: impl Fn(&vellum_core::model::Node) -> bool) -> Vec<Ino> {
        let tree = self.seat.model.tree();
        self.seat.model.known().filter(|ino| tree.get(*ino).is_some_and(&wanted)).collect()
    }

    fn node(&self, pick: u8) -> Ino {
        choose(&self.known(|_| true), pick)
    }

    /// A directory, mostly.
    fn dir(&self, pick: u8) -> Ino {
        if pick >= 248 {
            return self.node(pick);
        }
        choose(&self.known(vellum_core::model::Node::is_directory), pick)
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
