//! The data of a commit: which files are sent, and how each is cut into chunks or packed. Objects
//! are made by tasks.

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
    /// Of these, bytes that have to be loaded: memory holds all of a pack at once.
    pack_lacking_bytes: u64,
    pub(super) tasks: BTreeMap<u64, Task>,
    pub(super) next_task: u64,
    /// Pieces of files that are under way, by their offset; `None` is a hole.
    pub(super) made: BTreeMap<Ino, FileMade>,
}

/// What is known of a file's new content.
#[derive(Debug)]
pub(super) struct FileMade {
    /// Pieces that are not stored yet.
    pub(super) waits_for: usize,
    /// Pieces made by this commit, by offset.
    pub(super) new: BTreeMap<u64, Piece>,
    rest: Rest,
}

/// The pieces that stay.
#[derive(Debug)]
enum Rest {
    /// These, by offset.
    List(BTreeMap<u64, Piece>),
    /// Those of this piece tree but for some offsets, and those made anew.
    Tree { root: NodeRef, gone: Vec<u64> },
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

    /// Whether stored pieces are being located.
    pub(super) fn is_locating(&self) -> bool {
        !self.locating.is_empty()
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
        let Some(commit) = &mut self.commit else { return };
        commit.plan.seal(ino);
        let file = commit.plan.file_mut(ino);
        let (image, layout) = (file.image.clone().expect("sealed above"), file.layout.clone());
        let whole = 0..image.size;
        if image.size == layout.size && !image.changed(&whole) {
            file.stored = Some(layout);
        } else if image.size <= bounds::PACKED_MAX_BYTES {
            self.small_file(cx, ino, &image);
        } else if let Some(range) = self.to_locate(&image, &layout) {
            let Some(commit) = &mut self.commit else { return };
            commit.uploads.locating.insert(ino, range);
            self.locate_kept(cx, ino);
        } else {
            self.cut_into_chunks(cx, ino, None);
        }
    }

    /// The range of a layout whose pieces must be known to make the new one: none if its piece tree
    /// is big, and only gains and changes pieces.
    fn to_locate(&self, image: &Image, layout: &Layout) -> Option<Range<u64>> {
        let root = match &layout.content {
            Content::Pieces(_) => return Some(0..layout.size),
            Content::Tree(root) => root,
        };
        if self.fits_a_list(image.size, root) {
            return Some(0..layout.size.min(image.size));
        }
        let stays = 0..layout.size.min(image.size);
        let loses = image.size < layout.size || image.data_ranges().iter().all(|r| *r != stays);
        loses.then_some(0..layout.size)
    }

    /// Whether a file has few enough chunks to make its list of pieces anew.
    fn fits_a_list(&self, size: u64, root: &NodeRef) -> bool {
        let chunks = size.div_ceil(u64::from(self.repo.chunk_bytes));
        root.count.min(chunks) <= WHOLE_TREE_PIECES
    }

    fn small_file(&mut self, cx: &mut Cx<'_>, ino: Ino, image: &Image) {
        let mut data = image.data_ranges();
        if data.len() * 2 > bounds::INLINE_MAX_PIECES {
            data = std::iter::once(0..image.size).collect();
        }
        let Some(commit) = &mut self.commit else { return };
        let (new, rest) = (BTreeMap::new(), Rest::List(BTreeMap::new()));
        let made = FileMade { waits_for: data.len(), new, rest };
        commit.uploads.made.insert(ino, made);
        for range in data {
            self.collect(cx, Item::Data(ino, range));
        }
        self.maybe_finish_file(cx, ino);
    }

    /// Adds a content to the next pack; starts the pack when it is full.
    fn collect(&mut self, cx: &mut Cx<'_>, item: Item) {
        let chunk_bytes = u64::from(self.repo.chunk_bytes);
        let lacking = self.lacking_bytes(&item);
        let most_lacking = self.shared.limits.reserve_bytes / 2;
        let Some(commit) = &mut self.commit else { return };
        let len = match &item {
            Item::Data(_, range) => range.end - range.start,
            Item::Xattrs(_, blob) => blob.as_bytes().len() as u64,
        };
        let uploads = &commit.uploads;
        let is_full = uploads.pack_bytes + len > chunk_bytes
            || (lacking > 0 && uploads.pack_lacking_bytes + lacking > most_lacking);
        if is_full && !uploads.pack.is_empty() {
            self.start_pack(cx);
        }
        let Some(commit) = &mut self.commit else { return };
        commit.uploads.pack_bytes += len;
        commit.uploads.pack_lacking_bytes += lacking;
        commit.uploads.pack.push(item);
    }

    fn start_pack(&mut self, cx: &mut Cx<'_>) {
        let Some(commit) = &mut self.commit else { return };
        (commit.uploads.pack_bytes, commit.uploads.pack_lacking_bytes) = (0, 0);
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

    /// Decides chunk by chunk what is kept, what is a hole, and what is uploaded. `old` is what the
    /// layout has, if that had to be known.
    fn cut_into_chunks(&mut self, cx: &mut Cx<'_>, ino: Ino, old: Option<BTreeMap<u64, Piece>>) {
        let chunk_bytes = u64::from(self.repo.chunk_bytes);
        let Some(commit) = &mut self.commit else { return };
        let file = commit.plan.file_mut(ino);
        let (image, layout) = (file.image.clone().expect("sealed before"), file.layout.clone());
        let chunks = changed_chunks(&image, layout.size, chunk_bytes);
        let is_made = |at: &u64| chunks.contains_key(&(at / chunk_bytes * chunk_bytes));
        let stays = |at: &u64, piece: &Piece| {
            *at < image.size && !is_made(at) && !image.is_hole(&(*at..at + piece.len_bytes()))
        };
        let (kept, lost): (BTreeMap<_, _>, BTreeMap<_, _>) =
            old.unwrap_or_default().into_iter().partition(|(at, piece)| stays(at, piece));
        let rest = match layout.content {
            Content::Tree(root) if !self.fits_a_list(image.size, &root) => {
                let gone = lost.into_keys().filter(|at| !is_made(at)).collect();
                Rest::Tree { root, gone }
            }
            Content::Tree(_) | Content::Pieces(_) => Rest::List(kept),
        };
        let made = FileMade { waits_for: chunks.len(), new: BTreeMap::new(), rest };
        let Some(commit) = &mut self.commit else { return };
        commit.uploads.chunks.extend(chunks.into_iter().map(|(at, end)| (ino, at..end)));
        commit.uploads.made.insert(ino, made);
        self.maybe_finish_file(cx, ino);
    }

    /// All pieces of a file are stored: make its list of pieces, or change its piece tree.
    pub(super) fn maybe_finish_file(&mut self, cx: &mut Cx<'_>, ino: Ino) {
        let Some(commit) = &mut self.commit else { return };
        if commit.uploads.made.get(&ino).is_none_or(|made| made.waits_for > 0) {
            return;
        }
        let Some(made) = commit.uploads.made.get_mut(&ino) else { return };
        let new = std::mem::take(&mut made.new);
        let file = commit.plan.file_mut(ino);
        let size = file.image.as_ref().map_or(0, |image| image.size);
        let (root, changes) = match &mut made.rest {
            Rest::Tree { root, gone } => {
                let gone = std::mem::take(gone).into_iter().map(|at| (at, None));
                let new = new.into_iter().map(|(at, piece)| (at, Some(piece)));
                (Some(*root), gone.chain(new).collect())
            }
            Rest::List(kept) => {
                let mut all = std::mem::take(kept);
                all.extend(new);
                let pieces = with_holes(&all, size);
                if pieces.len() <= bounds::INLINE_MAX_PIECES {
                    file.stored = Some(Layout { size, content: Content::Pieces(pieces) });
                    commit.uploads.made.remove(&ino);
                    return;
                }
                (None, all.into_iter().map(|(at, piece)| (at, Some(piece))).collect())
            }
        };
        self.update_tree(cx, TreeKey::File(ino), root, Changes::Pieces(changes));
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

/// Chunks that hold data and are not stored as they are, each by its offset with its end.
fn changed_chunks(image: &Image, old_size: u64, chunk_bytes: u64) -> BTreeMap<u64, u64> {
    let mut chunks = BTreeMap::new();
    for data in image.data_ranges() {
        for index in data.start / chunk_bytes..data.end.div_ceil(chunk_bytes) {
            let at = index * chunk_bytes;
            let end = (at + chunk_bytes).min(image.size);
            if image.changed(&(at..end)) || (at + chunk_bytes).min(old_size) != end {
                chunks.insert(at, end);
            }
        }
    }
    chunks
}

/// Encoded extended attributes, if they are too long for the entry.
fn big_xattrs(planned: &Planned) -> Option<Slice> {
    let XattrState { map: Some(map), stored: None } = &planned.xattrs else { return None };
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
