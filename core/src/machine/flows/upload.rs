//! The data of a commit: which files are sent, and how each is cut into chunks or packed. Objects
//! are made by tasks.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use super::commit::{CommitWork, TreeKey};
use super::cut::{Grid, Scope};
use super::engine::{Cx, Engine};
use super::job::Changes;
use super::locate::Located;
use super::plan::{Plan, Planned};
use super::task::{Item, Task};
use super::trees::Asker;
use crate::conc::Image;
use crate::format::{Content, NodeRef, Piece, bounds, encode_xattrs, packed_parts};
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
    locating: BTreeMap<Ino, Scope>,
    /// Chunks to upload, or parts of them.
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
    /// Those of this piece tree but for some offsets.
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
        if is_stored(&image, &layout) {
            file.stored = Some(layout);
        } else if is_small(&image) && matches!(layout.content, Content::Pieces(_)) {
            self.small_file(cx, ino, &image);
        } else {
            let scope = self.scope(&image, &layout);
            let Some(commit) = &mut self.commit else { return };
            commit.uploads.locating.insert(ino, scope);
            self.locate_kept(cx, ino);
        }
    }

    /// The chunks of files.
    pub(super) fn grid(&self) -> Grid {
        Grid { chunk_bytes: u64::from(self.repo.chunk_bytes) }
    }

    /// How much of a layout is looked at: all of it if it is, or will be, a list or a small tree.
    fn scope(&self, image: &Image, layout: &Layout) -> Scope {
        let Content::Tree(root) = &layout.content else { return Scope::Whole };
        let chunks = image.size.div_ceil(u64::from(self.repo.chunk_bytes));
        if root.count.min(chunks) <= WHOLE_TREE_PIECES { Scope::Whole } else { Scope::Touched }
    }

    fn small_file(&mut self, cx: &mut Cx<'_>, ino: Ino, image: &Image) {
        let data = packed_parts(image.data_ranges(), image.size);
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

    /// Finds the pieces of a file that a commit has to know.
    pub(crate) fn locate_kept(&mut self, cx: &mut Cx<'_>, ino: Ino) {
        let grid = self.grid();
        let Some(commit) = &mut self.commit else { return };
        let Some(scope) = commit.uploads.locating.get(&ino).copied() else { return };
        let file = commit.plan.file_mut(ino);
        let (image, layout) = (file.image.clone().expect("sealed before"), file.layout.clone());
        let ranges = grid.to_locate(&image, layout.size, scope);
        let asker = Asker::Commit(self.commit_serial, CommitWork::Locate(ino));
        match self.locate(cx, &asker, &layout, &ranges, usize::MAX) {
            Ok(Some(located)) => {
                self.trees.forget(&asker);
                self.cut_file(cx, ino, scope, &located);
            }
            Ok(None) => {}
            Err(_) => {
                let key = format!("piece tree of file inode {}", ino.0);
                self.commit_failed(cx, key, StoreError::Damaged);
            }
        }
    }

    /// Decides what of a layout stays, what goes, and what is uploaded.
    fn cut_file(&mut self, cx: &mut Cx<'_>, ino: Ino, scope: Scope, old: &Located) {
        let grid = self.grid();
        let Some(commit) = &mut self.commit else { return };
        let file = commit.plan.file_mut(ino);
        let (image, layout) = (file.image.clone().expect("sealed before"), file.layout.clone());
        if is_small(&image) {
            commit.uploads.locating.remove(&ino);
            let mut cover = image.cover.clone();
            old.holes.iter().for_each(|hole| cover.remove(hole.clone()));
            return self.small_file(cx, ino, &Image { cover, ..image.as_ref().clone() });
        }
        let cut = grid.cut(&image, layout.size, old, scope);
        let rest = match (&layout.content, scope) {
            (Content::Tree(root), Scope::Touched) => {
                let pieces = root.count + cut.made.len() as u64;
                if pieces <= (bounds::INLINE_MAX_PIECES + cut.gone.len()) as u64 {
                    // Few enough for a list, if there are not too many holes.
                    commit.uploads.locating.insert(ino, Scope::Whole);
                    return self.locate_kept(cx, ino);
                }
                Rest::Tree { root: *root, gone: cut.gone }
            }
            (Content::Tree(_) | Content::Pieces(_), _) => {
                Rest::List(cut.kept.into_iter().map(|(at, key)| (at, key.piece())).collect())
            }
        };
        commit.uploads.locating.remove(&ino);
        let made = FileMade { waits_for: cut.made.len(), new: BTreeMap::new(), rest };
        commit.uploads.chunks.extend(cut.made.into_iter().map(|range| (ino, range)));
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

    /// A file's piece tree is made.
    pub(crate) fn file_tree_made(&mut self, ino: Ino, root: Option<NodeRef>) {
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

/// Whether a file is packed with others.
fn is_small(image: &Image) -> bool {
    image.size <= bounds::PACKED_MAX_BYTES
}

/// Whether a layout is all of an image, to the last hole that it is known to have.
fn is_stored(image: &Image, layout: &Layout) -> bool {
    let mut known = image.cover.clone();
    layout.holes().into_iter().for_each(|hole| known.insert(hole));
    let whole = 0..image.size;
    image.size == layout.size && known.contains(&whole) && !image.has_dirty(&whole)
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
