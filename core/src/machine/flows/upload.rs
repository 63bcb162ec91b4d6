//! The data of a commit: which files are sent, and how each is cut into chunks or packed. Objects are
//! made by tasks.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use super::commit::{CommitWork, TreeKey};
use super::engine::{Cx, Engine};
use super::job::Changes;
use super::plan::{Plan, Planned};
use super::task::{Item, Task};
use super::trees::Asker;
use crate::conc::Image;
use crate::format::{Content, NodeRef, Piece, bounds, encode_xattrs};
use crate::machine::names::{Layout, XattrState};
use crate::shapes::{Slice, StoreError};
use crate::words::Ino;

/// A piece tree of at most this many pieces is read whole when its file changes.
const WHOLE_TREE_PIECES: u64 = 64;

/// Where the data phase is.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    /// Inodes whose extended attributes do not fit into their entries.
    xattrs: VecDeque<(Ino, Slice)>,
    /// Files not looked at yet, in path order.
    files: VecDeque<Ino>,
    /// Files whose stored pieces are being located.
    locating: BTreeMap<Ino, Range<u64>>,
    /// Chunks to upload.
    chunks: VecDeque<(Ino, Range<u64>)>,
    /// Small contents collected for the next pack, and their bytes.
    pack: Vec<Item>,
    pack_bytes: u64,
    pub(super) tasks: BTreeMap<u64, Task>,
    pub(super) next_task: u64,
    /// Pieces of files that are under way, by their offset; `None` is a hole.
    pub(super) made: BTreeMap<Ino, FileMade>,
}

/// What is known of a file's new content.
#[derive(Debug, Default)]
pub(super) struct FileMade {
    /// Chunks that are not stored yet.
    pub(super) waits_for: usize,
    /// Pieces that change, by offset.
    pub(super) changes: BTreeMap<u64, Option<Piece>>,
    /// All pieces that stay, by offset, unless the tree is too big to read whole.
    kept: Option<BTreeMap<u64, Piece>>,
}

impl Uploads {
    /// Uploads of everything that a plan holds.
    pub(crate) fn of(plan: &Plan) -> Self {
        let changed = plan.inodes.iter().filter(|(_, planned)| planned.changed);
        let xattrs = changed.filter_map(|(ino, planned)| Some((*ino, big_xattrs(planned)?)));
        let (files, xattrs) = (plan.files_in_path_order().into(), xattrs.collect());
        Self { files, xattrs, ..Self::default() }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.files.is_empty()
            && self.xattrs.is_empty()
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
                self.start_task(cx, vec![Item::Data(ino, range)]);
            } else if let Some((ino, blob)) = uploads.xattrs.pop_front() {
                self.collect(cx, Item::Xattrs(ino, blob));
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
        let mut data = image.data_ranges();
        if data.len() * 2 > bounds::INLINE_MAX_PIECES {
            data = std::iter::once(0..image.size).collect();
        }
        let Some(commit) = &mut self.commit else { return };
        let kept = Some(BTreeMap::new());
        let made = FileMade { waits_for: data.len(), changes: BTreeMap::new(), kept };
        commit.uploads.made.insert(ino, made);
        for range in data {
            self.collect(cx, Item::Data(ino, range));
        }
        self.maybe_finish_file(cx, ino);
    }

    /// Adds a content to the next pack; starts the pack when it is full.
    fn collect(&mut self, cx: &mut Cx<'_>, item: Item) {
        let chunk_bytes = u64::from(self.repo.chunk_bytes);
        let Some(commit) = &mut self.commit else { return };
        let len = match &item {
            Item::Data(_, range) => range.end - range.start,
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

    /// All chunks of a file are stored: make its list of pieces, or change its piece tree.
    pub(super) fn maybe_finish_file(&mut self, cx: &mut Cx<'_>, ino: Ino) {
        let chunk_bytes = u64::from(self.repo.chunk_bytes);
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
            // A small file's pieces need not lie where chunks do.
            let stale: Vec<u64> = all.range(at..at + chunk_bytes).map(|(at, _)| *at).collect();
            stale.iter().for_each(|at| {
                all.remove(at);
            });
            if let Some(piece) = piece {
                all.insert(at, piece);
            }
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
    pub(crate) fn file_tree_stored(&mut self, ino: Ino, root: Option<NodeRef>) {
        let Some(commit) = &mut self.commit else { return };
        let file = commit.plan.file_mut(ino);
        let size = file.image.as_ref().map_or(0, |image| image.size);
        let content = match root {
            Some(root) => Content::Tree(root),
            None => Content::Pieces(with_holes(&BTreeMap::new(), size)),
        };
        file.stored = Some(Layout { size, content });
        commit.uploads.made.remove(&ino);
    }
}

/// Encoded extended attributes, if they are too long for the entry.
fn big_xattrs(planned: &Planned) -> Option<Slice> {
    let XattrState::Loaded(map) = &planned.xattrs else { return None };
    let encoded = encode_xattrs(map);
    (encoded.len() > bounds::XATTRS_INLINE_MAX_BYTES).then(|| Slice::whole(encoded))
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
