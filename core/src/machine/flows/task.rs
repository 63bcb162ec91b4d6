//! One object of data being made: load what memory lacks, hash, put.

use std::collections::BTreeMap;
use std::ops::Range;

use super::commit::{Commit, CommitWork};
use super::engine::{Cx, Engine};
use super::job::{Job, JobOwner, Made, Work};
use super::piece::{PieceKey, Target};
use super::puts::PutFor;
use super::trees::Asker;
use crate::conc::Part;
use crate::format::{Hashed, ObjectKind, ObjectName, Packed, VerifiedBlocks};
use crate::shapes::{Slice, StoreError};
use crate::sync::Arc;
use crate::words::Ino;

/// Bytes of the one buffer that all zeros of an upload are slices of.
const ZEROS_BYTES: usize = 64 << 10;

/// What becomes a content of an object.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// A range of a file: a chunk of a big one, data between holes of a small one.
    Data(Ino, Range<u64>),
    /// Extended attributes that do not fit into the entry.
    Xattrs(Ino, Slice),
}

/// One object being made.
#[derive(Debug)]
pub(super) struct Task {
    items: Vec<Item>,
    /// Bytes loaded for it, and still to come.
    loaded: BTreeMap<PieceKey, Option<Loaded>>,
    /// Where the loaded bytes go: ranges of files to pieces, by file and offset.
    places: BTreeMap<(Ino, u64), PieceKey>,
    /// Whether all places are known.
    located: bool,
    pub(super) charged: u64,
    packed: Vec<Packed>,
}

/// A piece that was loaded for objects, which share it.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    /// All of one length but the last, which may be shorter.
    blocks: Vec<Arc<Vec<u8>>>,
    block_bytes: usize,
}

impl Loaded {
    pub(super) fn new(bytes: VerifiedBlocks, block_bytes: usize) -> Self {
        Self { blocks: bytes.into_blocks().into_iter().map(Arc::new).collect(), block_bytes }
    }

    /// A part of it, block by block.
    fn slices(&self, range: Range<usize>) -> Vec<Slice> {
        let first = range.start / self.block_bytes;
        let blocks = self.blocks.iter().enumerate().skip(first);
        let slices = blocks.map_while(|(index, bytes)| {
            let begin = index * self.block_bytes;
            let start = range.start.max(begin) - begin;
            let end = (range.end.max(begin) - begin).min(bytes.len());
            (start < end).then(|| Slice { bytes: Arc::clone(bytes), range: start..end })
        });
        slices.collect()
    }
}

impl Task {
    /// Whether nothing but loads keeps it from being hashed.
    fn waits_for_loads(&self) -> bool {
        self.located && self.loaded.values().any(Option::is_none)
    }

    /// Forgets what was loaded; the pieces to load again. The charge is the caller's to give back.
    pub(super) fn unload(&mut self) -> Vec<PieceKey> {
        self.charged = 0;
        let loaded = self.loaded.iter_mut().filter_map(|(key, bytes)| bytes.take().map(|_| *key));
        loaded.collect()
    }
}

impl Engine {
    /// Whether the commit under way, if any, will come to its end without more memory.
    pub(super) fn commit_goes_on(&self) -> bool {
        let Some(commit) = &self.commit else { return false };
        let uploads = &commit.uploads;
        uploads.tasks.is_empty()
            || uploads.is_locating()
            || !uploads.tasks.values().all(Task::waits_for_loads)
    }

    pub(super) fn start_task(&mut self, cx: &mut Cx<'_>, items: Vec<Item>) {
        let Some(commit) = &mut self.commit else { return };
        let uploads = &mut commit.uploads;
        uploads.next_task += 1;
        let id = uploads.next_task;
        let task = Task {
            items,
            loaded: BTreeMap::new(),
            places: BTreeMap::new(),
            located: false,
            charged: 0,
            packed: Vec::new(),
        };
        uploads.tasks.insert(id, task);
        self.locate_task(cx, id);
    }

    /// Finds where the bytes are that memory lacks, and loads them.
    pub(crate) fn locate_task(&mut self, cx: &mut Cx<'_>, id: u64) {
        let asker = Asker::Commit(self.commit_serial, CommitWork::Task(id));
        let mut places = BTreeMap::new();
        for (ino, range) in self.lacking(id) {
            let Some(commit) = &mut self.commit else { return };
            let layout = commit.plan.file_mut(ino).layout.clone();
            match self.locate(cx, &asker, &layout, &[range], usize::MAX) {
                Ok(Some(located)) => {
                    places.extend(located.pieces.into_iter().map(|(at, key)| ((ino, at), key)));
                }
                Ok(None) => return,
                Err(_) => {
                    let key = format!("piece tree of file inode {}", ino.0);
                    return self.commit_failed(cx, key, StoreError::Damaged);
                }
            }
        }
        self.trees.forget(&asker);
        let keys: Vec<PieceKey> = places.values().copied().collect();
        if let Some(task) = self.task(id) {
            task.loaded = keys.iter().map(|key| (*key, None)).collect();
            task.places = places;
            task.located = true;
        }
        for key in keys {
            self.load_piece(cx, key, Target::Commit(self.commit_serial, id));
        }
        self.maybe_hash(cx, id);
    }

    /// Bytes of a content that only the layout has.
    pub(super) fn lacking_bytes(&mut self, item: &Item) -> u64 {
        let (Some(commit), Item::Data(ino, range)) = (&mut self.commit, item) else { return 0 };
        let Some(image) = commit.plan.file_mut(*ino).image.clone() else { return 0 };
        let parts = image.parts(range).into_iter();
        let stored = parts.filter_map(|part| match part {
            Part::Layout(range) => Some(range.end - range.start),
            Part::Memory(_) | Part::Zeros(_) => None,
        });
        stored.sum()
    }

    /// Ranges of files that a task needs and only the layout has.
    fn lacking(&mut self, id: u64) -> Vec<(Ino, Range<u64>)> {
        let Some(commit) = &mut self.commit else { return Vec::new() };
        let Some(task) = commit.uploads.tasks.get(&id) else { return Vec::new() };
        let mut lacking = Vec::new();
        for item in task.items.clone() {
            let (ino, range) = match item {
                Item::Data(ino, range) => (ino, range),
                Item::Xattrs(..) => continue,
            };
            let Some(image) = commit.plan.file_mut(ino).image.clone() else { continue };
            for part in image.parts(&range) {
                if let Part::Layout(range) = part {
                    lacking.push((ino, range));
                }
            }
        }
        lacking
    }

    /// A piece that a task asked for is there. Whether its memory is the task's now.
    pub(super) fn task_loaded(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        key: PieceKey,
        loaded: Loaded,
        takes_charge: bool,
    ) -> bool {
        let Some(task) = self.task(id) else { return false };
        task.loaded.insert(key, Some(loaded));
        if takes_charge {
            task.charged += key.len;
        }
        self.maybe_hash(cx, id);
        takes_charge
    }

    fn maybe_hash(&mut self, cx: &mut Cx<'_>, id: u64) {
        let chunk_bytes = self.repo.chunk_bytes;
        let Some(commit) = &mut self.commit else { return };
        let Some(task) = commit.uploads.tasks.get(&id) else { return };
        if !task.located || task.loaded.values().any(Option::is_none) {
            return;
        }
        let contents = assemble(commit, id);
        let work = Work::Pack { contents, chunk_bytes };
        self.calls.compute(
            cx,
            Job(work),
            JobOwner::Commit(self.commit_serial, CommitWork::Task(id)),
        );
    }

    /// A task's object is hashed: put it.
    pub(crate) fn task_hashed(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        object: Hashed,
        packed: Vec<Packed>,
    ) {
        let Some(task) = self.task(id) else { return };
        task.packed = packed;
        self.put_object(cx, ObjectKind::Chunk, object, PutFor::Task(id));
    }

    /// A task's object is stored: note where its contents lie.
    pub(crate) fn task_stored(&mut self, cx: &mut Cx<'_>, id: u64, object: ObjectName) {
        let Some(commit) = &mut self.commit else { return };
        let Some(mut task) = commit.uploads.tasks.remove(&id) else { return };
        self.shared.around().budget.give(task.charged);
        if seeded!(PlacesSwapped) {
            task.packed.reverse();
        }
        for (item, place) in task.items.into_iter().zip(task.packed) {
            let piece = place.piece(object);
            let Some(commit) = &mut self.commit else { return };
            match item {
                Item::Data(ino, range) => {
                    if let Some(made) = commit.uploads.made.get_mut(&ino) {
                        made.waits_for -= 1;
                        made.new.insert(range.start, piece);
                    }
                    self.maybe_finish_file(cx, ino);
                }
                Item::Xattrs(ino, _) => {
                    if let Some(planned) = commit.plan.inodes.get_mut(&ino) {
                        planned.xattrs.stored = Some(piece);
                    }
                }
            }
        }
        self.advance_commit(cx);
    }

    fn task(&mut self, id: u64) -> Option<&mut Task> {
        self.commit.as_mut()?.uploads.tasks.get_mut(&id)
    }
}

/// The object of a task, hashed: what [`Work::Pack`] made.
pub(super) fn packed_of(made: Made) -> (Hashed, Vec<Packed>) {
    match made {
        Made::Packed(object, packed) => (object, packed),
        Made::Node(_)
        | Made::Verified(_)
        | Made::Compared(_)
        | Made::Updated(..)
        | Made::Laid(..) => {
            unreachable!("a pack job makes a pack")
        }
    }
}

/// The contents of a task, put together from memory, loaded pieces and zeros.
fn assemble(commit: &mut Commit, id: u64) -> Vec<Vec<Slice>> {
    let items = commit.uploads.tasks.get(&id).map(|task| task.items.clone()).unwrap_or_default();
    let mut contents = Vec::new();
    for item in items {
        let (ino, range) = match item {
            Item::Xattrs(_, blob) => {
                contents.push(vec![blob]);
                continue;
            }
            Item::Data(ino, range) => (ino, range),
        };
        let Some(image) = commit.plan.file_mut(ino).image.clone() else { continue };
        let Some(task) = commit.uploads.tasks.get(&id) else { continue };
        let parts = image.parts(&range);
        contents.push(parts.into_iter().flat_map(|part| slices(task, ino, part)).collect());
    }
    contents
}

fn slices(task: &Task, ino: Ino, part: Part) -> Vec<Slice> {
    match part {
        Part::Memory(slice) => vec![slice],
        Part::Zeros(len) => zeros(len),
        Part::Layout(range) => stored(task, ino, range),
    }
}

/// Bytes of a range that the layout has: from loaded pieces, and zeros where it has holes.
fn stored(task: &Task, ino: Ino, range: Range<u64>) -> Vec<Slice> {
    let mut slices = Vec::new();
    let mut at = range.start;
    for ((_, offset), key) in task.places.range((ino, 0)..(ino, range.end)) {
        let Some(Some(bytes)) = task.loaded.get(key) else { continue };
        let (start, end) = (at.max(*offset), range.end.min(offset + key.len));
        if start >= end {
            continue;
        }
        slices.extend(zeros(start - at));
        let within = (start - offset) as usize..(end - offset) as usize;
        slices.extend(bytes.slices(within));
        at = end;
    }
    slices.extend(zeros(range.end - at));
    slices
}

fn zeros(len: u64) -> Vec<Slice> {
    if len == 0 {
        return Vec::new();
    }
    let buffer = Arc::new(vec![0; ZEROS_BYTES.min(usize::try_from(len).unwrap_or(ZEROS_BYTES))]);
    let mut left = len;
    let mut slices = Vec::new();
    while left > 0 {
        let take = left.min(buffer.len() as u64);
        slices.push(Slice { bytes: Arc::clone(&buffer), range: 0..take as usize });
        left -= take;
    }
    slices
}
