//! The data of a commit: chunks of big files, packs of small ones. Each becomes one task: load what
//! memory lacks, hash, put.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use super::commit::{Commit, CommitWork, PutFor, TreeKey};
use super::engine::{Cx, Engine};
use super::job::{Changes, Job, JobOwner, Made, Work};
use super::piece::{PieceKey, Target};
use super::trees::Asker;
use crate::conc::{Image, Part};
use crate::format::{
    Content, Hashed, ObjectKind, ObjectName, Packed, Piece, Verified, bounds, encode_xattrs,
};
use crate::machine::names::{Layout, XattrState};
use crate::shapes::{Slice, StoreError};
use crate::sync::Arc;
use crate::words::Ino;

/// Bytes of the one buffer that all zeros of an upload are slices of.
const ZEROS_BYTES: usize = 64 << 10;
/// A piece tree of at most this many pieces is read whole when its file changes.
const WHOLE_TREE_PIECES: u64 = 64;

/// Where the data phase is.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    /// Files not looked at yet, in path order.
    files: VecDeque<Ino>,
    /// Files whose stored pieces are being located.
    locating: BTreeMap<Ino, Range<u64>>,
    /// Chunks to upload.
    chunks: VecDeque<(Ino, Range<u64>)>,
    /// Small contents collected for the next pack, and their bytes.
    pack: Vec<Item>,
    pack_bytes: u64,
    tasks: BTreeMap<u64, Task>,
    next_task: u64,
    /// Pieces of files that are under way, by their offset; `None` is a hole.
    made: BTreeMap<Ino, FileMade>,
}

/// What is known of a file's new content.
#[derive(Debug, Default)]
struct FileMade {
    /// Chunks that are not stored yet.
    waits_for: usize,
    /// Pieces that change, by offset.
    changes: BTreeMap<u64, Option<Piece>>,
    /// All pieces that stay, by offset, unless the tree is too big to read whole.
    kept: Option<BTreeMap<u64, Piece>>,
}

/// What becomes a content of an object.
#[derive(Clone, Debug)]
enum Item {
    /// A whole small file.
    File(Ino),
    /// A chunk of a big file.
    Chunk(Ino, Range<u64>),
    /// Extended attributes that do not fit into the entry.
    Xattrs(Ino, Slice),
}

/// One object being made.
#[derive(Debug)]
struct Task {
    items: Vec<Item>,
    /// Bytes loaded for it, and still to come.
    loaded: BTreeMap<PieceKey, Option<Verified>>,
    /// Where the loaded bytes go: ranges of files to pieces, by file and offset.
    places: BTreeMap<(Ino, u64), PieceKey>,
    /// Whether all places are known.
    located: bool,
    charged: u64,
    packed: Vec<Packed>,
}

impl Uploads {
    pub(crate) fn new(files: Vec<Ino>) -> Self {
        Self { files: files.into(), ..Self::default() }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.files.is_empty()
            && self.locating.is_empty()
            && self.chunks.is_empty()
            && self.pack.is_empty()
            && self.tasks.is_empty()
            && self.made.is_empty()
    }

    /// Budget that the tasks hold.
    pub(crate) fn charged(&self) -> u64 {
        self.tasks.values().map(|task| task.charged).sum()
    }
}

impl Engine {
    /// Goes on with the data phase as far as the limits go.
    pub(crate) fn pump_uploads(&mut self, cx: &mut Cx<'_>) {
        let in_flight = self.shared.limits.in_flight;
        loop {
            let Some(commit) = &mut self.commit else { return };
            let uploads = &mut commit.uploads;
            if uploads.tasks.len() + uploads.locating.len() >= in_flight {
                return;
            }
            if let Some((ino, range)) = uploads.chunks.pop_front() {
                self.start_task(cx, vec![Item::Chunk(ino, range)]);
            } else if let Some(ino) = uploads.files.pop_front() {
                self.look_at_file(cx, ino);
            } else if !uploads.pack.is_empty() {
                self.start_pack(cx);
            } else {
                return;
            }
        }
    }

    fn look_at_file(&mut self, cx: &mut Cx<'_>, ino: Ino) {
        let chunk_bytes = u64::from(self.repo.chunk_bytes);
        let Some(commit) = &mut self.commit else { return };
        commit.plan.seal(ino);
        if let Some(blob) = big_xattrs(commit, ino) {
            self.collect(cx, Item::Xattrs(ino, blob));
        }
        let Some(commit) = &mut self.commit else { return };
        let file = commit.plan.file_mut(ino);
        let (image, layout) = (file.image.clone().expect("sealed above"), file.layout.clone());
        let whole = 0..image.size;
        if image.size == layout.size && !image.changed(&whole) {
            file.stored = Some(layout);
        } else if image.size <= bounds::PACKED_MAX_BYTES {
            self.small_file(cx, ino, &image);
        } else {
            let tail = image.size.div_ceil(chunk_bytes) * chunk_bytes;
            let known = match &layout.content {
                Content::Pieces(_) => true,
                Content::Tree(root) => {
                    root.count <= WHOLE_TREE_PIECES || tail / chunk_bytes <= WHOLE_TREE_PIECES
                }
            };
            if known {
                commit.uploads.locating.insert(ino, 0..tail.min(layout.size));
                self.locate_kept(cx, ino);
            } else {
                self.cut_into_chunks(cx, ino, None);
            }
        }
    }

    fn small_file(&mut self, cx: &mut Cx<'_>, ino: Ino, image: &Image) {
        if image.size > 0 && !image.is_hole(&(0..image.size)) {
            return self.collect(cx, Item::File(ino));
        }
        let Some(commit) = &mut self.commit else { return };
        let hole = || Piece::Hole { len: image.size };
        let pieces = if image.size > 0 { vec![hole()] } else { Vec::new() };
        let content = Content::Pieces(pieces);
        commit.plan.file_mut(ino).stored = Some(Layout { size: image.size, content });
    }

    /// Adds a content to the next pack; starts the pack when it is full.
    fn collect(&mut self, cx: &mut Cx<'_>, item: Item) {
        let chunk_bytes = u64::from(self.repo.chunk_bytes);
        let Some(commit) = &mut self.commit else { return };
        let len = match &item {
            Item::File(ino) => commit.plan.file_mut(*ino).image.as_ref().map_or(0, |i| i.size),
            Item::Chunk(_, range) => range.end - range.start,
            Item::Xattrs(_, blob) => blob.as_bytes().len() as u64,
        };
        if commit.uploads.pack_bytes + len > chunk_bytes && !commit.uploads.pack.is_empty() {
            self.start_pack(cx);
        }
        let Some(commit) = &mut self.commit else { return };
        commit.uploads.pack_bytes += len;
        commit.uploads.pack.push(item);
    }

    fn start_pack(&mut self, cx: &mut Cx<'_>) {
        let Some(commit) = &mut self.commit else { return };
        commit.uploads.pack_bytes = 0;
        let items = std::mem::take(&mut commit.uploads.pack);
        self.start_task(cx, items);
    }

    /// Finds all pieces of a file that a commit may keep.
    pub(crate) fn locate_kept(&mut self, cx: &mut Cx<'_>, ino: Ino) {
        let Some(commit) = &mut self.commit else { return };
        let Some(range) = commit.uploads.locating.get(&ino).cloned() else { return };
        let layout = commit.plan.file_mut(ino).layout.clone();
        let asker = Asker::Commit(self.commit_serial, CommitWork::Locate(ino));
        match self.locate(cx, &asker, &layout, range) {
            Ok(Some(located)) => {
                self.trees.forget(&asker);
                let Some(commit) = &mut self.commit else { return };
                commit.uploads.locating.remove(&ino);
                let kept = located.pieces.into_iter().map(|(at, key)| (at, key.piece())).collect();
                self.cut_into_chunks(cx, ino, Some(kept));
            }
            Ok(None) => {}
            Err(_) => {
                let key = format!("piece tree of file inode {}", ino.0);
                self.commit_failed(cx, key, StoreError::Damaged);
            }
        }
    }

    /// Decides chunk by chunk what is kept, what is a hole, and what is uploaded.
    fn cut_into_chunks(&mut self, cx: &mut Cx<'_>, ino: Ino, kept: Option<BTreeMap<u64, Piece>>) {
        let chunk_bytes = u64::from(self.repo.chunk_bytes);
        let Some(commit) = &mut self.commit else { return };
        let file = commit.plan.file_mut(ino);
        let (image, old_size) = (file.image.clone().expect("sealed before"), file.layout.size);
        let mut made = FileMade { kept, ..FileMade::default() };
        let mut chunks = Vec::new();
        let mut at = 0;
        while at < image.size {
            let range = at..(at + chunk_bytes).min(image.size);
            let old_end = (at + chunk_bytes).min(old_size);
            if image.is_hole(&range) {
                made.changes.insert(at, None);
            } else if image.changed(&range) || old_end != range.end {
                made.waits_for += 1;
                chunks.push((ino, range));
            }
            at += chunk_bytes;
        }
        while at < old_size {
            made.changes.insert(at, None);
            at += chunk_bytes;
        }
        commit.uploads.chunks.extend(chunks);
        commit.uploads.made.insert(ino, made);
        self.maybe_finish_file(cx, ino);
    }

    fn start_task(&mut self, cx: &mut Cx<'_>, items: Vec<Item>) {
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
            match self.locate(cx, &asker, &layout, range) {
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

    /// Ranges of files that a task needs and only the layout has.
    fn lacking(&mut self, id: u64) -> Vec<(Ino, Range<u64>)> {
        let Some(commit) = &mut self.commit else { return Vec::new() };
        let Some(task) = commit.uploads.tasks.get(&id) else { return Vec::new() };
        let mut lacking = Vec::new();
        for item in task.items.clone() {
            let (ino, range) = match item {
                Item::File(ino) => (ino, 0..u64::MAX),
                Item::Chunk(ino, range) => (ino, range),
                Item::Xattrs(..) => continue,
            };
            let Some(image) = commit.plan.file_mut(ino).image.clone() else { continue };
            for part in image.parts(&(range.start..range.end.min(image.size))) {
                if let Part::Layout(range) = part {
                    lacking.push((ino, range));
                }
            }
        }
        lacking
    }

    /// A piece that a task asked for is there. Whether its memory is the task's now.
    pub(crate) fn task_loaded(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        key: PieceKey,
        bytes: Verified,
        takes_charge: bool,
    ) -> bool {
        let Some(task) = self.task(id) else { return false };
        task.loaded.insert(key, Some(bytes));
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
        let Some(task) = commit.uploads.tasks.remove(&id) else { return };
        self.shared.around().budget.give(task.charged);
        for (item, place) in task.items.into_iter().zip(task.packed) {
            let piece = place.piece(object);
            let Some(commit) = &mut self.commit else { return };
            match item {
                Item::File(ino) => {
                    let content = Content::Pieces(vec![piece]);
                    let file = commit.plan.file_mut(ino);
                    let size = file.image.as_ref().map_or(0, |image| image.size);
                    file.stored = Some(Layout { size, content });
                }
                Item::Chunk(ino, range) => {
                    if let Some(made) = commit.uploads.made.get_mut(&ino) {
                        made.waits_for -= 1;
                        made.changes.insert(range.start, Some(piece));
                    }
                    self.maybe_finish_file(cx, ino);
                }
                Item::Xattrs(ino, _) => {
                    if let Some(planned) = commit.plan.inodes.get_mut(&ino) {
                        planned.xattrs = XattrState::Stored(piece);
                    }
                }
            }
        }
        self.advance_commit(cx);
    }

    /// All chunks of a file are stored: make its list of pieces, or change its piece tree.
    fn maybe_finish_file(&mut self, cx: &mut Cx<'_>, ino: Ino) {
        let Some(commit) = &mut self.commit else { return };
        if commit.uploads.made.get(&ino).is_none_or(|made| made.waits_for > 0) {
            return;
        }
        let Some(made) = commit.uploads.made.get_mut(&ino) else { return };
        let changes = std::mem::take(&mut made.changes);
        let kept = made.kept.take();
        let file = commit.plan.file_mut(ino);
        let size = file.image.as_ref().map_or(0, |image| image.size);
        let Some(mut all) = kept else {
            let Content::Tree(root) = file.layout.content.clone() else {
                unreachable!("only a tree can be too big to read whole")
            };
            let key = TreeKey::File(ino);
            return self.update_tree(cx, key, Some(root), Changes::Pieces(changes));
        };
        for (at, piece) in changes {
            match piece {
                Some(piece) => all.insert(at, piece),
                None => all.remove(&at),
            };
        }
        all.retain(|at, _| *at < size);
        let pieces = with_holes(&all, size);
        if pieces.len() <= bounds::INLINE_MAX_PIECES {
            file.stored = Some(Layout { size, content: Content::Pieces(pieces) });
            commit.uploads.made.remove(&ino);
        } else {
            let all = all.into_iter().map(|(at, piece)| (at, Some(piece))).collect();
            self.update_tree(cx, TreeKey::File(ino), None, Changes::Pieces(all));
        }
    }

    /// A file's piece tree is stored.
    pub(crate) fn file_tree_stored(&mut self, ino: Ino, content: Content) {
        let Some(commit) = &mut self.commit else { return };
        let file = commit.plan.file_mut(ino);
        let size = file.image.as_ref().map_or(0, |image| image.size);
        file.stored = Some(Layout { size, content });
        commit.uploads.made.remove(&ino);
    }

    fn task(&mut self, id: u64) -> Option<&mut Task> {
        self.commit.as_mut()?.uploads.tasks.get_mut(&id)
    }
}

/// The object of a task, hashed: what [`Work::Pack`] made.
pub(super) fn packed_of(made: Made) -> (Hashed, Vec<Packed>) {
    match made {
        Made::Packed(object, packed) => (object, packed),
        Made::Node(_) | Made::Verified(_) | Made::Updated(..) => {
            unreachable!("a pack job makes a pack")
        }
    }
}

fn big_xattrs(commit: &Commit, ino: Ino) -> Option<Slice> {
    let XattrState::Loaded(map) = &commit.plan.inodes.get(&ino)?.xattrs else { return None };
    let encoded = encode_xattrs(map);
    (encoded.len() > bounds::XATTRS_INLINE_MAX_BYTES).then(|| Slice::whole(encoded))
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
            Item::File(ino) => (ino, 0..u64::MAX),
            Item::Chunk(ino, range) => (ino, range),
        };
        let Some(image) = commit.plan.file_mut(ino).image.clone() else { continue };
        let Some(task) = commit.uploads.tasks.get(&id) else { continue };
        let parts = image.parts(&(range.start..range.end.min(image.size)));
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
        slices.push(Slice { bytes: bytes.shared(), range: within });
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

/// The pieces of a file in order, holes between them made explicit.
fn with_holes(pieces: &BTreeMap<u64, Piece>, size: u64) -> Vec<Piece> {
    let mut list = Vec::new();
    let mut at = 0;
    for (offset, piece) in pieces {
        if at < *offset {
            list.push(Piece::Hole { len: offset - at });
        }
        at = offset + piece.len_bytes();
        list.push(piece.clone());
    }
    if at < size {
        list.push(Piece::Hole { len: size - at });
    }
    list
}
