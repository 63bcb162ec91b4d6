//! Files of real sizes in the smallest chunks: written, cut, punched, committed, mounted again.
//! Their oracle is bytes, and which of them are data; it says what must be stored to the piece.

use std::ops::Range;

use crate::choice::Choices;
use crate::mount::{self, Mounted};
use crate::world::{ActorId, World};
use vellum_core::format::{Hash, bounds, packed_parts};
use vellum_core::shapes::{
    Allocate, Caller, CommitResult, Name, Op, OpenFlags, Reply, SetAttr, Whence, WriteFlags,
};
use vellum_core::words::{Errno, Fh, Ino, Limits};

use super::games::{History, Ran, Red, Run, catch};
use super::reader::seen;
use super::stored::{check_objects, check_snapshot};

/// The smallest chunk there is: a file that is packed may be longer.
const CHUNK: u64 = 64 << 10;
/// Steps of a game.
const STEPS: usize = 30;
/// Longest files: around the end of packing, around the end of lists, in trees of many pieces.
const SIZES: [u64; 4] = [5 * CHUNK, 5 * CHUNK, 30 * CHUNK, 80 * CHUNK];

/// What a file must hold.
#[derive(Default)]
struct Wanted {
    bytes: Vec<u8>,
    /// Which bytes are data, and no hole.
    data: Vec<bool>,
}

struct Open {
    name: &'static [u8],
    ino: Ino,
    fh: Fh,
    wanted: Wanted,
}

/// One game.
struct Game {
    world: World<Mounted>,
    limits: Limits,
    mount: ActorId,
    choices: Choices,
    files: Vec<Open>,
    longest: u64,
    steps: u64,
    history: History,
}

/// Plays one game.
///
/// # Errors
/// What was done, and what then is not as it must be.
pub(super) fn play(run: &Run) -> Result<Ran, Red> {
    let mut game = Game::new(run);
    match catch(|| game.play()) {
        Ok(()) => Ok(Ran {
            trace: game.world.trace(),
            time_ns: game.world.now().mono_ns,
            requests: game.steps,
            history: game.history.lines,
            ..Ran::default()
        }),
        Err(why) => {
            let (history, timeline) = (game.history.lines, Box::new(game.world.timeline()));
            Err(Red { why, history, timeline })
        }
    }
}

impl Game {
    fn new(run: &Run) -> Self {
        let mut world = World::new(&run.choices);
        mount::init(&mut world.store, CHUNK as u32);
        let choices = run.choices.lane("chunks");
        let (memory_bytes, reserve_bytes) = (64 << 20, 8 << 20);
        let limits = Limits { memory_bytes, reserve_bytes, handles: 64, ..Limits::default() };
        // Nodes of piece trees that are at hand beside those in use.
        let limits = Limits { cached_nodes: choices.pick(&[3, 3, 512]), ..limits };
        let mount = mount::mount(&mut world, &limits).expect("the repository is fresh");
        let longest = choices.pick(&SIZES);
        let (files, history) = (Vec::new(), History::new(run));
        Self { world, limits, mount, choices, files, longest, steps: 0, history }
    }

    fn play(&mut self) -> Result<(), String> {
        self.create(b"f")?;
        self.create(b"g")?;
        if self.choices.below(2) == 0 {
            self.write(0, 0..self.longest)?;
        }
        for _ in 0..STEPS {
            self.step()?;
        }
        self.commit()?;
        self.remount()?;
        for file in 0..self.files.len() {
            self.read(file, 0..self.longest)?;
        }
        check_objects(&self.world.store.objects, &mut Default::default()).map_err(seen)
    }

    fn step(&mut self) -> Result<(), String> {
        let file = usize::from(self.choices.below(4) == 0);
        match self.choices.weighted(&[8, 3, 4, 3, 4, 5, 2]) {
            0 => {
                let range = self.range();
                self.write(file, range)
            }
            1 => {
                let size = self.place();
                self.resize(file, size)
            }
            2 => {
                let range = self.range();
                self.punch(file, range)
            }
            3 => {
                let range = self.range();
                self.read(file, range)
            }
            4 => {
                let offset = self.place();
                self.seek(file, offset)
            }
            5 => self.commit(),
            _ => self.remount(),
        }
    }

    /// A place in a file: often at the edge of a chunk, or near it.
    fn place(&mut self) -> u64 {
        let edge = self.choices.below(self.longest / CHUNK + 1) * CHUNK;
        match self.choices.below(4) {
            0 => edge,
            1 => edge.saturating_sub(1 + self.choices.below(9)),
            2 => (edge + self.choices.below(9)).min(self.longest),
            _ => self.choices.below(self.longest),
        }
    }

    fn range(&mut self) -> Range<u64> {
        let start = self.place();
        let len = match self.choices.below(4) {
            0 => 1 + self.choices.below(100),
            1 => 1 + self.choices.below(2 * CHUNK),
            2 => CHUNK * (1 + self.choices.below(4)),
            _ => 1 + self.choices.below(self.longest),
        };
        let end = (start + len).min(self.longest);
        start.min(end - 1)..end
    }

    fn ask(&mut self, op: Op) -> Result<Reply, Errno> {
        self.steps += 1;
        self.world.ask(self.mount, op)
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        self.history.note(text);
    }

    fn create(&mut self, name: &'static [u8]) -> Result<(), String> {
        let flags = OpenFlags { read: true, write: true, truncate: false };
        let caller = Caller { uid: 0, gid: 0 };
        let (parent, mode) = (Ino::ROOT, 0o644);
        match self.ask(Op::Create { parent, name: Name::from(name), mode, flags, caller }) {
            Ok(Reply::Created(attr, fh)) => {
                let wanted = Wanted::default();
                self.files.push(Open { name, ino: attr.ino, fh, wanted });
                Ok(())
            }
            other => Err(format!("create: {other:?}")),
        }
    }

    fn write(&mut self, file: usize, range: Range<u64>) -> Result<(), String> {
        self.note(|| format!("write {file} {range:?}"));
        let salt = self.steps * 37;
        let data: Vec<u8> = range.clone().map(|at| ((at + salt) % 251) as u8 + 1).collect();
        let Open { fh, wanted, .. } = &mut self.files[file];
        wanted.set(&range, Some(&data));
        let flags = WriteFlags { from_cache: false, kill_suidgid: false };
        let op = Op::Write { fh: *fh, offset: range.start, data, flags };
        match self.ask(op) {
            Ok(Reply::Written(len)) if u64::from(len) == range.end - range.start => Ok(()),
            other => Err(format!("write: {other:?}")),
        }
    }

    fn resize(&mut self, file: usize, size: u64) -> Result<(), String> {
        self.note(|| format!("resize {file} {size}"));
        let Open { ino, wanted, .. } = &mut self.files[file];
        wanted.bytes.resize(size as usize, 0);
        wanted.data.resize(size as usize, false);
        let set = SetAttr { size: Some(size), ..SetAttr::default() };
        let op = Op::SetAttr { ino: *ino, set };
        self.ask(op).map(drop).map_err(|errno| format!("resize: {errno:?}"))
    }

    fn punch(&mut self, file: usize, range: Range<u64>) -> Result<(), String> {
        self.note(|| format!("punch {file} {range:?}"));
        let Open { fh, wanted, .. } = &mut self.files[file];
        let size = wanted.bytes.len() as u64;
        wanted.set(&(range.start.min(size)..range.end.min(size)), None);
        let (offset, len) = (range.start, range.end - range.start);
        let op = Op::Fallocate { fh: *fh, offset, len, how: Allocate::Punch, kill_suidgid: false };
        self.ask(op).map(drop).map_err(|errno| format!("punch: {errno:?}"))
    }

    fn read(&mut self, file: usize, range: Range<u64>) -> Result<(), String> {
        self.note(|| format!("read {file} {range:?}"));
        let Open { fh, wanted, .. } = &self.files[file];
        let size = wanted.bytes.len();
        let within = (range.start as usize).min(size)..(range.end as usize).min(size);
        let expected = wanted.bytes[within].to_vec();
        let len = (range.end - range.start) as u32;
        match self.ask(Op::Read { fh: *fh, offset: range.start, len }) {
            Ok(Reply::Data(data)) if data == expected => Ok(()),
            Ok(Reply::Data(data)) => {
                let differs = data.iter().zip(&expected).position(|(a, b)| a != b);
                let lens = (data.len(), expected.len());
                Err(format!("read: differs at {differs:?} from {}, {lens:?}", range.start))
            }
            other => Err(format!("read: {other:?}")),
        }
    }

    fn seek(&mut self, file: usize, offset: u64) -> Result<(), String> {
        self.note(|| format!("seek {file} {offset}"));
        for whence in [Whence::Data, Whence::Hole] {
            let Open { fh, wanted, .. } = &self.files[file];
            let expected = wanted.seek(offset, whence).map(Reply::Offset);
            let found = self.ask(Op::Seek { fh: *fh, offset, whence });
            if found != expected {
                return Err(format!("{whence:?}: {found:?}, and not {expected:?}"));
            }
        }
        Ok(())
    }

    fn remount(&mut self) -> Result<(), String> {
        self.commit()?;
        self.note(|| "remount".into());
        self.world.kill(self.mount);
        self.mount = mount::mount(&mut self.world, &self.limits)?;
        for file in 0..self.files.len() {
            let name = Name::from(self.files[file].name);
            let flags = OpenFlags { read: true, write: true, truncate: false };
            let found = self.ask(Op::Lookup { parent: Ino::ROOT, name });
            let Ok(Reply::Entry(attr)) = found else { return Err(format!("lookup: {found:?}")) };
            let opened = self.ask(Op::Open { ino: attr.ino, flags });
            let Ok(Reply::Opened(fh)) = opened else { return Err(format!("open: {opened:?}")) };
            (self.files[file].ino, self.files[file].fh) = (attr.ino, fh);
        }
        Ok(())
    }

    /// Commits; what is stored must be what an import of the files would have stored.
    fn commit(&mut self) -> Result<(), String> {
        self.note(|| "commit".into());
        let attempt = u128::from(self.steps);
        let reply = self.ask(Op::Commit { author: "me".into(), message: "m".into(), attempt });
        let Ok(Reply::Commit(result)) = reply else { return Err(format!("commit: {reply:?}")) };
        let (CommitResult::Committed { snapshot, .. } | CommitResult::Unchanged { snapshot }) =
            result
        else {
            return Err(format!("commit: {result:?}"));
        };
        let stored = check_snapshot(&self.world.store.objects, &snapshot).map_err(seen)?;
        for Open { ino, wanted, .. } in &mut self.files {
            let file = stored.get(ino).ok_or_else(|| seen("a file is not stored"))?;
            let found: Vec<_> = file
                .pieces
                .iter()
                .filter_map(|(at, piece)| match piece {
                    vellum_core::format::Piece::Data { hash, len, .. } => {
                        Some((*at..at + len, *hash))
                    }
                    vellum_core::format::Piece::Hole { .. } => None,
                })
                .collect();
            let expected: Vec<_> = wanted.commit();
            if (file.size, &found) != (wanted.bytes.len() as u64, &expected) {
                let shown = |pieces: &[(Range<u64>, Hash)]| -> Vec<Range<u64>> {
                    pieces.iter().map(|(range, _)| range.clone()).collect()
                };
                let (found, expected) = (shown(&found), shown(&expected));
                return Err(seen(format!("{} bytes as {found:?}, not {expected:?}", file.size)));
            }
        }
        Ok(())
    }
}

impl Wanted {
    /// Puts bytes at a range, or a hole.
    fn set(&mut self, range: &Range<u64>, data: Option<&[u8]>) {
        let range = range.start as usize..range.end as usize;
        if self.bytes.len() < range.end {
            self.bytes.resize(range.end, 0);
            self.data.resize(range.end, false);
        }
        self.data[range.clone()].fill(data.is_some());
        match data {
            Some(data) => self.bytes[range].copy_from_slice(data),
            None => self.bytes[range].fill(0),
        }
    }

    fn seek(&self, offset: u64, whence: Whence) -> Result<u64, Errno> {
        let size = self.bytes.len() as u64;
        let rest = self.data.get(offset as usize..).filter(|rest| !rest.is_empty());
        let rest = rest.ok_or(Errno::NxIo)?;
        let found = rest.iter().position(|data| *data == (whence == Whence::Data));
        match (found, whence) {
            (Some(found), _) => Ok(offset + found as u64),
            (None, Whence::Data) => Err(Errno::NxIo),
            (None, Whence::Hole) => Ok(size),
        }
    }

    /// The pieces that a commit stores; all of each is data from then on.
    fn commit(&mut self) -> Vec<(Range<u64>, Hash)> {
        let size = self.bytes.len() as u64;
        let ranges = if size <= bounds::PACKED_MAX_BYTES {
            packed_parts(self.runs(), size)
        } else {
            let chunk = |index: u64| index * CHUNK..((index + 1) * CHUNK).min(size);
            let has_data = |range: &Range<u64>| {
                self.data[range.start as usize..range.end as usize].contains(&true)
            };
            (0..size.div_ceil(CHUNK)).map(chunk).filter(has_data).collect()
        };
        let mut pieces = Vec::new();
        for range in ranges {
            let within = range.start as usize..range.end as usize;
            self.data[within.clone()].fill(true);
            pieces.push((range, Hash::of(&self.bytes[within])));
        }
        pieces
    }

    /// The ranges of data.
    fn runs(&self) -> Vec<Range<u64>> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        for (at, _) in (0..).zip(&self.data).filter(|(_, data)| **data) {
            match runs.last_mut() {
                Some(last) if last.end == at => last.end += 1,
                Some(_) | None => runs.push(at..at + 1),
            }
        }
        runs
    }
}
