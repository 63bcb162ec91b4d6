//! One run: a world with a mount in it, and the model beside.

use std::collections::BTreeMap;

use super::games::{History, Ran, Red, Run};
use crate::mount::{self, Mounted};
use crate::sites::{Site, Turn};
use crate::store::Faults;
use crate::world::{ActorId, World};
use vellum_core::model::{Body, Content, Mapping, Model, Node, Tree};
use vellum_core::shapes::{Op, Reply, Whence};
use vellum_core::words::{Errno, Fh, Ino, Limits, Time};

use super::figures::bytes_of;
use super::reader;
use super::step::Step;
use super::streams::Stream;
use super::words;

/// Bytes of a chunk of the repository: the least that the format allows.
const CHUNK_BYTES: u32 = 64 << 10;

/// Files that can be open at once: a mount of a run is made quickly.
pub(super) const HANDLES: usize = 64;

/// What a run takes place in.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// Bytes of a block.
    pub(super) block_bytes: u32,
    /// Bytes of the chunks that mounts cut.
    pub(super) chunk_bytes: u32,
    /// What offsets and lengths are multiplied by.
    pub(super) unit: u64,
    /// Largest size of a file.
    pub(super) file_bytes: u64,
    /// Bytes of memory for file data.
    pub(super) memory_bytes: u64,
    /// Of these, what writes may not use.
    pub(super) reserve_bytes: u64,
    /// Requests to the store that one flow keeps in flight.
    pub(super) in_flight: usize,
    /// How much oftener files are made and written than else.
    pub(super) needed_times: u32,
    /// What goes wrong at the store.
    pub(super) faults: Faults,
}

impl Setting {
    fn limits(&self) -> Limits {
        Limits {
            block_bytes: self.block_bytes,
            memory_bytes: self.memory_bytes,
            reserve_bytes: self.reserve_bytes,
            file_bytes: self.file_bytes,
            handles: HANDLES,
            in_flight: self.in_flight,
            ..Limits::default()
        }
    }
}

/// A mount, and the model of what it shows.
pub(super) struct Seat {
    pub(super) mount: ActorId,
    pub(super) model: Model,
    pub(super) map: Mapping,
    pub(super) streams: BTreeMap<Fh, Stream>,
}

/// A mount, and what its player knows of the branch.
pub(super) struct Side {
    pub(super) seat: Seat,
    /// See [`Player::committed`].
    pub(super) committed: Tree,
    /// See [`Player::maybe`].
    pub(super) maybe: Vec<Tree>,
}

/// A run under way.
pub(super) struct Player {
    pub(super) world: World<Mounted>,
    pub(super) setting: Setting,
    pub(super) seat: Seat,
    /// What the branch shows, unless one of `maybe` does.
    pub(super) committed: Tree,
    /// Trees whose commits ended in an unknown outcome since.
    pub(super) maybe: Vec<Tree>,
    /// No answer is excused by faults.
    pub(super) strict: bool,
    pub(super) attempt: u128,
    wall_ns: i64,
    /// Which of several mounts is played.
    pub(super) place: Option<usize>,
    history: History,
    ran: Ran,
}

impl Player {
    /// A world with a repository of nothing but a root directory, mounted.
    ///
    /// # Panics
    /// When the fresh repository can't be mounted.
    #[must_use]
    pub(super) fn new(setting: &Setting, run: &Run) -> Self {
        let mut world = World::new(&run.choices);
        if run.is_told {
            world.keep_timeline();
        }
        mount::init(&mut world.store, CHUNK_BYTES);
        let tree = Tree::empty(0o755, 0, 0, Time { ns: 0 });
        let mount = mount::mount_in_chunks(&mut world, &setting.limits(), setting.chunk_bytes)
            .expect("the repository is fresh");
        let model = Model::new(&setting.limits(), tree.clone());
        let (map, streams) = (Mapping::default(), BTreeMap::new());
        world.store.faults = setting.faults.clone();
        Self {
            world,
            setting: setting.clone(),
            seat: Seat { mount, model, map, streams },
            committed: tree,
            maybe: Vec::new(),
            strict: setting.faults == Faults::none(),
            attempt: 0,
            wall_ns: 0,
            place: None,
            history: History::new(run),
            ran: Ran::default(),
        }
    }

    /// What came of the run.
    pub(super) fn ran(&self) -> Ran {
        let (trace, time_ns) = (self.world.trace(), self.world.now().mono_ns);
        let sites = self.world.sites.clone();
        let (history, timeline) = (self.history.lines.clone(), Box::new(self.world.timeline()));
        Ran { trace, time_ns, sites, history, timeline, ..self.ran.clone() }
    }

    /// The run as it ended badly.
    pub(super) fn red(&self, why: String) -> Red {
        let (history, timeline) = (self.history.lines.clone(), Box::new(self.world.timeline()));
        Red { why, history, timeline }
    }

    /// Counts something rare, if it is so.
    pub(super) fn sometimes(&mut self, turn: Turn, is_so: bool) {
        if is_so {
            self.world.sites.reach(Site::of_turn(turn));
        }
    }

    /// Plays all steps, then what every run ends with.
    ///
    /// # Errors
    /// How model and machine differ.
    pub(super) fn play(&mut self, steps: impl Iterator<Item = Step>) -> Result<(), String> {
        self.play_on(steps)?;
        self.finish()
    }

    /// Whether the reader has seen nothing wrong so far: what it sees first says most.
    pub(super) fn nothing_seen_wrong(&self) -> Result<(), String> {
        match self.world.seen_wrong() {
            Some(why) => Err(reader::seen(why)),
            None => Ok(()),
        }
    }

    /// Plays steps that are not the last.
    pub(super) fn play_on(&mut self, steps: impl Iterator<Item = Step>) -> Result<(), String> {
        for step in steps {
            self.step(&step)?;
            self.streams_after_step();
            self.nothing_seen_wrong()?;
        }
        Ok(())
    }

    /// Plays another mount from here on; the one that was played.
    pub(super) fn take_side(&mut self, side: Side) -> Side {
        let seat = std::mem::replace(&mut self.seat, side.seat);
        let committed = std::mem::replace(&mut self.committed, side.committed);
        let maybe = std::mem::replace(&mut self.maybe, side.maybe);
        Side { seat, committed, maybe }
    }

    /// Looks at something while nothing goes wrong. What is under way ends as it was drawn.
    pub(super) fn without_faults<T>(&mut self, look: impl FnOnce(&mut Self) -> T) -> T {
        let troubles = self.world.store.spare();
        let seen = look(self);
        self.world.store.go_on(troubles);
        seen
    }

    pub(super) fn limits(&self) -> Limits {
        self.setting.limits()
    }

    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        if !self.history.is_kept {
            return;
        }
        let (now, text) = (self.world.now().mono_ns, text());
        let place = self.place.map(|place| format!("mount {place}"));
        self.world.remark(self.seat.mount, place.as_deref(), &text);
        self.history.note(|| stamped(now, place.as_deref(), &text));
    }

    /// A fresh seat before `tree`, which the store is to show. Numbers of inodes that `map`
    /// knows must stay.
    pub(super) fn fresh_seat(&mut self, tree: &Tree, map: &Mapping) -> Result<Seat, String> {
        let limits = self.limits();
        let mount = mount::mount_in_chunks(&mut self.world, &limits, self.setting.chunk_bytes)?;
        let mut map = map.clone();
        map.remount(|ino| tree.get(ino).is_some());
        let model = Model::new(&limits, tree.clone());
        Ok(Seat { mount, model, map, streams: BTreeMap::new() })
    }

    /// A moment passes on the wall clock, which stands still while a request is under way.
    pub(super) fn tick(&mut self) -> Time {
        self.wall_ns += 1_001;
        let wall = Time { ns: self.wall_ns };
        self.world.set_wall(wall);
        wall
    }

    /// Sends a request in the model's numbers to the machine.
    pub(super) fn send(&mut self, op: &Op, fast: bool) -> Result<Reply, Errno> {
        let translated = self.seat.map.translate(op);
        let shown = self.history.is_kept.then(|| translated.clone());
        let reply = if fast {
            mount::fast(&mut self.world, self.seat.mount, translated)
        } else {
            self.world.ask(self.seat.mount, translated)
        };
        self.ran.requests += 1;
        self.ran.refused += u64::from(reply.is_err());
        self.ran.changes += u64::from(reply.is_ok() && changes(op));
        let of_error = Site::of_error(op).filter(|_| self.is_excused(&reply));
        of_error.into_iter().for_each(|site| self.world.sites.reach(site));
        self.sometimes(Turn::NoRoom, self.may_lack_room(op, &reply) && reply == Err(Errno::NoSpc));
        let how = if fast { "on the fast path: " } else { "" };
        if let Some(shown) = shown {
            self.note(|| format!("{how}{}", words::asked(&shown, &reply)));
        }
        reply
    }

    /// Whether the world is to blame for an error, so that the model knows nothing of it.
    pub(super) fn is_excused(&self, reply: &Result<Reply, Errno>) -> bool {
        !self.strict && reply == &Err(Errno::Io)
    }

    /// Whether a request may find no memory: the store fails, so that data can't be sent early, or
    /// a file without a name holds some, which is never sent.
    fn may_lack_room(&self, op: &Op, reply: &Result<Reply, Errno>) -> bool {
        let takes_room = matches!(op, Op::Write { .. } | Op::Fallocate { .. });
        let lacks = if takes_room { Errno::NoSpc } else { Errno::Io };
        if !takes_room && !matches!(op, Op::Read { .. }) {
            return false;
        }
        reply == &Err(lacks) && (!self.strict || self.is_pinned())
    }

    /// Whether a file without a name holds memory: it is never sent.
    pub(super) fn is_pinned(&self) -> bool {
        let is_pinned = |node: &Node| {
            node.links == 0 && matches!(&node.body, Body::File(content) if content.data_len() > 0)
        };
        self.seat.model.tree().iter().any(|(_, node)| is_pinned(node))
    }

    /// Carries a request out on both sides and compares. What the model answered, unless it is
    /// an error, or the world is excused.
    pub(super) fn both(&mut self, op: &Op, fast: bool) -> Result<Option<Reply>, String> {
        let wall = self.tick();
        let machine = self.send(op, fast);
        if self.is_excused(&machine) || self.may_lack_room(op, &machine) {
            return Ok(None);
        }
        let before = self.content_of(op);
        let model = self.seat.model.apply(wall, op);
        if let (Op::Seek { offset, whence, .. }, Some(content)) = (op, before) {
            return seek_is_sound(&content, *offset, *whence, &machine).map(|()| model.ok());
        }
        self.seat
            .map
            .compare(&model, &machine)
            .map_err(|why| format!("{}: {why}", words::asked(op, &machine)))?;
        self.figures_are_sound(&model, &machine)?;
        if let (Op::Release { fh }, Ok(_)) = (op, &model) {
            self.seat.map.released(*fh);
            self.seat.streams.remove(fh);
        }
        Ok(model.ok())
    }

    /// The content that a seek goes through.
    fn content_of(&self, op: &Op) -> Option<Content> {
        let Op::Seek { fh, .. } = op else { return None };
        let (_, ino, _) = self.seat.model.open().find(|(open, ..)| open == fh)?;
        match &self.seat.model.tree().get(ino)?.body {
            Body::File(content) => Some(content.clone()),
            Body::Directory { .. } | Body::Symlink(_) | Body::Special(..) => None,
        }
    }

    /// Figures that need not be equal.
    fn figures_are_sound(
        &self,
        model: &Result<Reply, Errno>,
        machine: &Result<Reply, Errno>,
    ) -> Result<(), String> {
        match (model, machine) {
            (Ok(Reply::StatFs(a)), Ok(Reply::StatFs(b))) if a.inodes != b.inodes => {
                Err(format!("{} inodes, the machine says {}", a.inodes, b.inodes))
            }
            (Ok(Reply::StatFs(_)), Ok(Reply::StatFs(b))) if self.maybe.is_empty() => {
                match bytes_of(&self.committed) {
                    bytes if bytes == b.used_bytes => Ok(()),
                    bytes => Err(format!("{bytes} bytes, the machine says {}", b.used_bytes)),
                }
            }
            (Ok(Reply::Attr(a)), Ok(Reply::Attr(b))) => {
                let least = self.nonzero_bytes(a.ino);
                if b.allocated < least {
                    return Err(format!("{least} bytes are not zero, {} allocated", b.allocated));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn nonzero_bytes(&self, ino: Ino) -> u64 {
        match self.seat.model.tree().get(ino).map(|node| &node.body) {
            Some(Body::File(content)) => content.nonzero_len(),
            Some(Body::Directory { .. } | Body::Symlink(_) | Body::Special(..)) | None => 0,
        }
    }
}

/// A line of the history: when, on which mount, what.
fn stamped(now_ns: u64, place: Option<&str>, text: &str) -> String {
    let mount = place.map_or_else(String::new, |place| format!("{place}  "));
    format!("{:>12.6} s  {mount}{text}", now_ns as f64 / 1e9)
}

/// Whether a request that succeeds changes what the tree or the kernel's side of it is.
fn changes(op: &Op) -> bool {
    match op {
        Op::GetAttr { .. }
        | Op::ReadLink { .. }
        | Op::Read { .. }
        | Op::Flush { .. }
        | Op::Fsync { .. }
        | Op::ReadDir { .. }
        | Op::FsyncDir { .. }
        | Op::StatFs
        | Op::GetXattr { .. }
        | Op::ListXattr { .. }
        | Op::Seek { .. }
        | Op::Status
        | Op::Diff => false,
        // The kernel knows an inode once more, or less.
        Op::Lookup { .. }
        | Op::Forget { .. }
        | Op::Disconnect
        | Op::SetAttr { .. }
        | Op::MakeNode { .. }
        | Op::MakeDir { .. }
        | Op::Symlink { .. }
        | Op::Unlink { .. }
        | Op::RemoveDir { .. }
        | Op::Rename { .. }
        | Op::Link { .. }
        | Op::Open { .. }
        | Op::Create { .. }
        | Op::Write { .. }
        | Op::Release { .. }
        | Op::OpenDir { .. }
        | Op::SetXattr { .. }
        | Op::RemoveXattr { .. }
        | Op::Fallocate { .. }
        | Op::Discard
        | Op::Restore { .. }
        | Op::Revive { .. }
        | Op::Withdraw { .. }
        | Op::Settle { .. }
        | Op::Commit { .. } => true,
    }
}

/// SEEK_DATA never skips data, SEEK_HOLE claims a hole only where bytes read zero.
fn seek_is_sound(
    content: &Content,
    offset: u64,
    whence: Whence,
    machine: &Result<Reply, Errno>,
) -> Result<(), String> {
    let size = content.size();
    let sound = match (whence, machine) {
        _ if offset >= size => machine == &Err(Errno::NxIo),
        (Whence::Data, Err(Errno::NxIo)) => content.next_nonzero(offset).is_none(),
        (Whence::Data, Ok(Reply::Offset(at))) => {
            (offset..size).contains(at)
                && content.next_nonzero(offset).is_none_or(|data| data >= *at)
        }
        (Whence::Hole, Ok(Reply::Offset(at))) => {
            (offset..=size).contains(at) && content.next_nonzero(*at) != Some(*at)
        }
        _ => false,
    };
    if sound {
        return Ok(());
    }
    Err(format!("{whence:?} at {offset} of {size}: {machine:?}; {content:?}"))
}
