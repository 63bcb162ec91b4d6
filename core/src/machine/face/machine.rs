//! The machine: inputs in, effects out, one step at a time.

use super::parking::Parking;
use super::streams::Streams;
use crate::conc::{Fast, FileAttr, Shared, Slow, Why};
use crate::format::{Hash, Snapshot};
use crate::machine::flows::{
    Branch, CommitRequest, Cx, Due, Engine, Job, Product, Repo, Stop, WaitKey,
};
use crate::machine::names::{DirNode, Directory, LinkName, Node, NodeBody, Record, Table};
use crate::shapes::{Effect, Effects, Input, Op, Reply};
use crate::sync::Arc;
use crate::words::{Errno, Fh, Ino, Now, Ticket};

/// How often a request on one file is prepared again before it is refused.
const TRIES: u32 = 8;

/// What a mount shows and may change.
#[derive(Clone, Debug)]
pub struct MountSpec {
    /// Bytes of a chunk in this repository.
    pub chunk_bytes: u32,
    /// Refuse every change with EROFS.
    pub read_only: bool,
    /// The snapshot to show; `None` for a branch that has none yet.
    pub base: Option<(Hash, Snapshot)>,
    /// The ref that commits move; `None` when there is nothing to commit to.
    pub branch: Option<Branch>,
    /// Owner of the root directory of a branch that has no snapshot yet.
    pub owner: (u32, u32),
}

/// What a machine holds beside the bytes of files. When nothing is open, known to the kernel or
/// changed, and nothing is under way, all of it is gone but the root directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Holdings {
    /// Inodes.
    pub inodes: usize,
    /// Open directory streams.
    pub streams: usize,
    /// Requests that wait.
    pub parked: usize,
    /// Askers that gather nodes of trees.
    pub asked: usize,
    /// Nodes and pieces being loaded, or waiting to be.
    pub loads: usize,
}

/// The machine of one mount: everything that is not one step on one file.
#[derive(Debug)]
pub struct Machine {
    pub(super) engine: Engine,
    pub(super) streams: Streams,
    parking: Parking,
    /// Slots of handles that are free, and the lowest that was never used.
    pub(super) free_slots: Vec<usize>,
    pub(super) next_slot: usize,
}

impl Machine {
    /// A machine for a mount that nothing has asked anything yet.
    #[must_use]
    pub fn new(spec: MountSpec, shared: Arc<Shared>, now: Now) -> Self {
        let snapshot = spec.base.as_ref().map(|(_, snapshot)| snapshot.clone());
        let (next_ino, count) = snapshot.as_ref().map_or((Ino(2), 1), |s| (s.next_ino, s.files));
        let mut table = Table::new(Arc::clone(&shared), next_ino, count);
        table.add(root_node(snapshot.as_ref(), &spec, now, &shared));
        let repo = Repo {
            chunk_bytes: spec.chunk_bytes,
            read_only: spec.read_only,
            base: spec.base.map(|(hash, _)| hash),
            snapshot,
            branch: spec.branch,
            first_root: table.node(Ino::ROOT).file_attr(),
        };
        Self {
            engine: Engine::new(shared, table, repo),
            streams: Streams::default(),
            parking: Parking::default(),
            free_slots: Vec::new(),
            next_slot: 0,
        }
    }

    /// One step: takes an input and says what is to be done.
    pub fn step(&mut self, now: Now, input: Input<Product>, out: &mut Effects<Job>) {
        self.engine.since.now_ns = now.mono_ns;
        let mut cx = Cx { now, out };
        match input {
            Input::Request(ticket, op) => {
                let deadline_ns =
                    now.mono_ns.saturating_add(self.engine.shared.limits.read_deadline_ns);
                self.request(&mut cx, ticket, op, deadline_ns);
            }
            Input::Completed(id, outcome) => self.engine.completed(&mut cx, id, outcome),
            Input::Timer(id) => match self.engine.timer(&mut cx, id) {
                Some(Due::Deadline) => self.deadline(&mut cx),
                Some(Due::Retry(_)) | None => {}
            },
        }
        self.wake(&mut cx);
    }

    /// Makes a fast verb possible that was refused. Whether to try it once more; else the request
    /// goes in as an [`Input::Request`].
    pub fn prepare(&mut self, now: Now, fh: Fh, why: Slow, out: &mut Effects<Job>) -> bool {
        self.engine.since.now_ns = now.mono_ns;
        let mut cx = Cx { now, out };
        let Some(handle) = self.engine.shared.handle(fh) else { return false };
        let ready = match why.0 {
            Why::Register => self.engine.register(handle.file.ino).is_ok(),
            Why::NoRoom(bytes) => self.engine.room_for_write(bytes),
            Why::Pressed => self.engine.relieve(&mut cx),
            Why::Ahead { start, end } => {
                self.engine.read_ahead(&mut cx, handle.file.ino, start, end).is_ok()
            }
            Why::Load { .. } | Why::Ask => false,
        };
        self.wake(&mut cx);
        ready
    }

    /// Requests that wait.
    #[must_use]
    pub fn parked(&self) -> usize {
        self.parking.len()
    }

    /// What it holds.
    #[must_use]
    pub fn holdings(&self) -> Holdings {
        let (asked, nodes) = self.engine.trees.waiting();
        Holdings {
            inodes: self.engine.table.len(),
            streams: self.streams.len(),
            parked: self.parking.len(),
            asked,
            loads: nodes + self.engine.pieces.len(),
        }
    }

    fn request(&mut self, cx: &mut Cx<'_>, ticket: Ticket, op: Op, deadline_ns: u64) {
        if let Op::Commit { author, message, attempt } = op {
            let (ticket, time) = (Some(ticket), cx.now.wall);
            let request = CommitRequest { ticket, author, message, attempt, time };
            return self.engine.begin_commit(cx, request);
        }
        match self.handle(cx, &op) {
            Ok(reply) => cx.out.push(Effect::Reply(ticket, Ok(reply))),
            Err(Stop::Errno(errno)) => cx.out.push(Effect::Reply(ticket, Err(errno))),
            Err(Stop::Wait(key)) => {
                self.park(cx, ticket, op, key, deadline_ns);
            }
        }
    }

    fn park(&mut self, cx: &mut Cx<'_>, ticket: Ticket, op: Op, key: WaitKey, deadline_ns: u64) {
        if self.parking.park(ticket, op, key, deadline_ns) {
            self.engine.calls.arm(cx, deadline_ns, Due::Deadline);
        }
    }

    /// Tries again what waited for something that has come, until nothing more comes of it.
    fn wake(&mut self, cx: &mut Cx<'_>) {
        loop {
            self.engine.relieve_loads(cx);
            self.engine.forget_fruitless_spill();
            if self.engine.woken.is_empty() {
                return;
            }
            self.wake_once(cx);
        }
    }

    fn wake_once(&mut self, cx: &mut Cx<'_>) {
        while let Some(wake) = self.engine.woken.pop_front() {
            for (ticket, op, mut deadline_ns) in self.parking.take(&wake.key) {
                if wake.key == WaitKey::Commit {
                    let limits = &self.engine.shared.limits;
                    deadline_ns = cx.now.mono_ns.saturating_add(limits.read_deadline_ns);
                }
                match &wake.result {
                    Ok(()) => self.request(cx, ticket, op, deadline_ns),
                    Err(Stop::Wait(key)) => self.park(cx, ticket, op, key.clone(), deadline_ns),
                    Err(Stop::Errno(errno)) => {
                        let errno = errno_for(&op, *errno);
                        if seeded!(ErrorUnanswered) {
                            continue;
                        }
                        cx.out.push(Effect::Reply(ticket, Err(errno)));
                        if seeded!(ErrorAnsweredTwice) {
                            cx.out.push(Effect::Reply(ticket, Err(errno)));
                        }
                    }
                }
            }
            self.engine.called(&wake.key);
        }
    }

    /// Answers what has waited too long; the loading goes on.
    fn deadline(&mut self, cx: &mut Cx<'_>) {
        let (late, next) = self.parking.overdue(cx.now.mono_ns);
        for (ticket, op, key) in late {
            let errno = if key == WaitKey::Room { Errno::NoSpc } else { Errno::Io };
            cx.out.push(Effect::Reply(ticket, Err(errno_for(&op, errno))));
        }
        if let Some(at_ns) = next {
            self.engine.calls.arm(cx, at_ns, Due::Deadline);
        }
    }

    fn handle(&mut self, cx: &mut Cx<'_>, op: &Op) -> Result<Reply, Stop> {
        match op {
            Op::Lookup { parent, name } => self.lookup(cx, *parent, name),
            Op::Forget { ino, count } => self.forget(*ino, *count),
            Op::Disconnect => self.disconnect(),
            Op::GetAttr { ino } => self.getattr(*ino),
            Op::SetAttr { ino, set } => self.setattr(cx, *ino, set),
            Op::ReadLink { ino } => self.readlink(*ino),
            Op::MakeNode { parent, name, kind, mode, rdev, caller } => {
                self.make_node(cx, (*parent, name), (*kind, *rdev), *mode, *caller)
            }
            Op::MakeDir { parent, name, mode, caller } => {
                self.make_dir(cx, *parent, name, *mode, *caller)
            }
            Op::Symlink { parent, name, target, caller } => {
                self.symlink(cx, *parent, name, target, *caller)
            }
            Op::Unlink { parent, name } => self.unlink(cx, *parent, name),
            Op::RemoveDir { parent, name } => self.remove_dir(cx, *parent, name),
            Op::Rename { parent, name, to_parent, to_name, mode } => {
                self.rename(cx, (*parent, name), (*to_parent, to_name), *mode)
            }
            Op::Link { ino, to_parent, to_name } => self.link(cx, *ino, *to_parent, to_name),
            Op::Open { ino, flags } => self.open(cx, *ino, *flags),
            Op::Create { parent, name, mode, flags, caller } => {
                self.create(cx, (*parent, name), *mode, *flags, *caller)
            }
            Op::Read { fh, offset, len } => self.read(cx, *fh, *offset, *len),
            Op::Write { fh, offset, data, flags } => self.write(cx, *fh, *offset, data, *flags),
            Op::Flush { fh } | Op::Fsync { fh } => self.sync(*fh),
            Op::Release { fh } => self.release(*fh),
            Op::OpenDir { ino } => self.open_dir(*ino),
            Op::ReadDir { fh, cookie, max, plus } => self.read_dir(cx, *fh, *cookie, *max, *plus),
            Op::FsyncDir { fh } => self.sync_dir(*fh),
            Op::StatFs => Ok(Reply::StatFs(self.engine.statfs())),
            Op::SetXattr { ino, name, value, mode } => self.set_xattr(cx, *ino, name, value, *mode),
            Op::GetXattr { ino, name } => self.get_xattr(cx, *ino, name),
            Op::ListXattr { ino } => self.list_xattr(cx, *ino),
            Op::RemoveXattr { ino, name } => self.remove_xattr(cx, *ino, name),
            Op::Fallocate { fh, offset, len, how, kill_suidgid } => {
                self.fallocate(cx, *fh, *offset, *len, (*how, *kill_suidgid))
            }
            Op::Seek { fh, offset, whence } => self.seek(cx, *fh, *offset, *whence),
            Op::Status => Ok(Reply::Status(Box::new(self.engine.status()))),
            Op::Diff => Ok(Reply::Diff(Box::new(self.engine.diff()))),
            Op::Discard => self.discard(cx),
            Op::Restore { ino, inode } => self.restore(cx, *ino, inode),
            Op::Revive { parent, name, inode } => self.revive(cx, *parent, name, inode),
            Op::Withdraw { parent, name, goes_home } => {
                self.withdraw(cx, *parent, name, *goes_home)
            }
            Op::Settle { ino } => self.settle_times(cx, *ino),
            Op::Commit { .. } => Err(Stop::Errno(Errno::Inval)),
        }
    }

    /// Carries out a fast verb for a request that came the slow way, preparing what it lacks.
    pub(super) fn insist<T>(
        &mut self,
        cx: &mut Cx<'_>,
        fh: Fh,
        mut verb: impl FnMut(&Shared) -> Fast<T>,
    ) -> Result<T, Stop> {
        let shared = Arc::clone(&self.engine.shared);
        let mut takes_room = true;
        for _ in 0..TRIES {
            let why = match verb(&shared) {
                Fast::Done(done) => return Ok(done),
                Fast::Failed(errno) => return Err(Stop::Errno(errno)),
                Fast::Slow(slow) => slow.0,
            };
            takes_room = !matches!(why, Why::Load { .. } | Why::Ahead { .. });
            let handle = shared.handle(fh).ok_or(Errno::BadF)?;
            let ino = handle.file.ino;
            match why {
                Why::Register => self.engine.register(ino)?,
                Why::NoRoom(bytes) if self.engine.room_for_write(bytes) => {}
                Why::Pressed => {
                    self.engine.relieve(cx);
                }
                Why::NoRoom(_) => return Err(self.out_of_room(cx)),
                Why::Load { start, end } => {
                    if let Some(key) = self.engine.want(cx, ino, start..end)? {
                        return Err(Stop::Wait(key));
                    }
                }
                Why::Ahead { start, end } => self.engine.read_ahead(cx, ino, start, end)?,
                Why::Ask => return Err(Stop::Errno(Errno::Io)),
            }
        }
        // Whatever was made ready, other threads were faster: they took the room.
        Err(if takes_room { self.out_of_room(cx) } else { Stop::Errno(Errno::Io) })
    }

    /// There is no room now. What is sent becomes clean, and can go.
    pub(super) fn out_of_room(&mut self, cx: &mut Cx<'_>) -> Stop {
        if self.engine.begin_spill(cx) {
            Stop::Wait(WaitKey::Room)
        } else {
            Stop::Errno(Errno::NoSpc)
        }
    }
}

/// The errno that a request is refused with: want of memory is ENOSPC only for what takes room.
fn errno_for(op: &Op, errno: Errno) -> Errno {
    let takes_room = matches!(op, Op::Write { .. } | Op::Fallocate { .. });
    if errno == Errno::NoSpc && !takes_room { Errno::Io } else { errno }
}

fn root_node(snapshot: Option<&Snapshot>, spec: &MountSpec, now: Now, shared: &Shared) -> Node {
    let mut node = match snapshot {
        Some(snapshot) => {
            let record = Record::Own(Arc::new(snapshot.root.clone()));
            // The root has no name; the one given here is dropped again below.
            let name = LinkName { parent: Ino::ROOT, name: Arc::from([]), pins: false };
            Node::of_record(&record, name, &shared.limits)
        }
        None => {
            let (uid, gid) = spec.owner;
            let (mtime, ctime) = (now.wall, now.wall);
            let attr = FileAttr { mode: 0o755, links: 2, uid, gid, mtime, ctime };
            let body = NodeBody::Dir(DirNode { attr, dir: Directory::empty() });
            Node::fresh(Ino::ROOT, Vec::new(), body)
        }
    };
    node.names.clear();
    node.home = None;
    node.lookups = 1;
    node
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::{Caller, Name, OpenFlags, WriteFlags};
    use crate::words::{Limits, Time};

    const NOW: Now = Now { mono_ns: 0, wall: Time { ns: 0 } };

    fn machine() -> Machine {
        let shared = Arc::new(Shared::new(Limits::default(), false));
        let (base, branch) = (None, None);
        let spec =
            MountSpec { chunk_bytes: 64 << 10, read_only: false, base, branch, owner: (0, 0) };
        Machine::new(spec, shared, NOW)
    }

    /// Tries a verb that is refused for the same reason each time it was made possible.
    fn insist(machine: &mut Machine, fh: Fh, why: Why) -> Stop {
        let mut out = Vec::new();
        let mut cx = Cx { now: NOW, out: &mut out };
        let refused: Result<(), Stop> = machine.insist(&mut cx, fh, |_| Fast::Slow(Slow(why)));
        refused.expect_err("it is refused each time")
    }

    #[test]
    fn who_loses_every_race_for_room_waits_for_some_or_hears_that_there_is_none() {
        let mut machine = machine();
        let (name, caller) = (Name::from(&b"a"[..]), Caller::default());
        let flags = OpenFlags { read: true, write: true, truncate: false };
        let create = Op::Create { parent: Ino::ROOT, name, mode: 0o644, flags, caller };
        let mut out = Vec::new();
        let created = machine.handle(&mut Cx { now: NOW, out: &mut out }, &create);
        let Ok(Reply::Created(_, fh)) = created else { panic!("{created:?}") };
        let no_space = Stop::Errno(Errno::NoSpc);
        assert_eq!(insist(&mut machine, fh, Why::NoRoom(1)), no_space);
        assert_eq!(insist(&mut machine, fh, Why::Register), no_space);
        let load = Why::Load { start: 0, end: 0 };
        assert_eq!(insist(&mut machine, fh, load), Stop::Errno(Errno::Io));
        let shared = Arc::clone(&machine.engine.shared);
        let written = shared.try_write(fh, NOW.wall, 0, b"text", WriteFlags::default());
        assert_eq!(written, Fast::Done(4));
        assert_eq!(insist(&mut machine, fh, Why::NoRoom(1)), Stop::Wait(WaitKey::Room));
    }
}
