//! Puts a tree together from what is met in path order: packs small files, makes directories from
//! the bottom up. Pure but for the order of calls: what is to be sent comes out as [`Work`].

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use vellum_core::format::bounds::{NAME_MAX_BYTES, XATTRS_INLINE_MAX_BYTES};
use vellum_core::format::{
    Body, Content as Kept, Directories, Entry, FormatError, Hash, Hashed, Inode, Linked, Links,
    Meta, NodeDraft, NodePacker, NodeRef, ObjectKind, ObjectName, PackBuilder, Packed, Piece,
    Snapshot, Xattrs, build, check_xattrs, encode_xattrs,
};
use vellum_core::shapes::{Name, Slice};
use vellum_core::words::{Ino, Time};

use super::base::Earlier;
use super::big::Known;
use super::error::RepoError;
use super::source::{About, BigFile, Content, Item, Part, meta_of};

/// Contents of one pack. Bounds what waits for a pack of tiny files.
const PACK_MAX_CONTENTS: usize = 16_384;

/// A directory or file that is not complete yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct DraftId(u64);

/// What is to be done outside.
#[derive(Debug)]
pub(super) enum Work {
    /// Put this object.
    Put(ObjectKind, Hashed),
    /// Send this file, then call [`Assembler::big_is_sent`].
    Big { draft: DraftId, file: BigFile, known: Known },
}

/// Where a finished inode goes.
#[derive(Clone, Copy, Debug)]
enum Place {
    Root,
    Entry { dir: DraftId, index: usize },
    LinkTable,
}

struct DirDraft {
    ino: Ino,
    meta: Meta,
    place: Place,
    /// In path order, which is that of names. None while it is not complete.
    entries: Vec<(Name, Option<Entry>)>,
    missing: usize,
    subdirs: u64,
    open: bool,
}

struct FileDraft {
    ino: Ino,
    meta: Meta,
    place: Place,
    size: u64,
    pieces: Vec<Piece>,
    missing: usize,
}

#[derive(Default)]
struct LinkDraft {
    inode: Option<Inode>,
    names: Vec<(Ino, Name)>,
}

pub(super) struct Assembler {
    source: PathBuf,
    chunk_bytes: u32,
    nodes: Arc<Mutex<NodePacker>>,
    next_ino: Ino,
    next_draft: u64,
    /// Directories that are entered, with their names.
    stack: Vec<(DraftId, Name)>,
    dirs: HashMap<DraftId, DirDraft>,
    files: HashMap<DraftId, FileDraft>,
    pack: PackBuilder,
    /// For each content of the pack: the file and which of its pieces.
    packed: Vec<(DraftId, usize, Packed)>,
    work: VecDeque<Work>,
    /// By device and inode number of the source.
    linked: HashMap<(u64, u64), Ino>,
    links: BTreeMap<Ino, LinkDraft>,
    /// Numbers that the link table had before and that are in use again.
    taken: HashSet<Ino>,
    root: Option<Inode>,
    link_root: Option<NodeRef>,
    /// The first thing that the format can't hold.
    unfit: Option<FormatError>,
    inodes: u64,
    bytes: u64,
}

impl Assembler {
    pub(super) fn new(
        source: &Path,
        chunk_bytes: u32,
        nodes: Arc<Mutex<NodePacker>>,
        next_ino: Ino,
    ) -> Self {
        Self {
            source: source.to_path_buf(),
            chunk_bytes,
            nodes,
            next_ino,
            next_draft: 0,
            stack: Vec::new(),
            dirs: HashMap::new(),
            files: HashMap::new(),
            pack: PackBuilder::new(chunk_bytes),
            packed: Vec::new(),
            work: VecDeque::new(),
            linked: HashMap::new(),
            links: BTreeMap::new(),
            taken: HashSet::new(),
            root: None,
            link_root: None,
            unfit: None,
            inodes: 0,
            bytes: 0,
        }
    }

    pub(super) fn next_work(&mut self) -> Option<Work> {
        self.work.pop_front()
    }

    pub(super) fn has_work(&self) -> bool {
        !self.work.is_empty()
    }

    /// Takes the next item in path order.
    pub(super) fn add(&mut self, item: Item, earlier: Earlier) -> Result<(), RepoError> {
        match item {
            Item::Enter { name, about } => self.enter(name, about, &earlier),
            Item::Leave => {
                if let Some((id, _)) = self.stack.pop()
                    && let Some(dir) = self.dirs.get_mut(&id)
                {
                    dir.open = false;
                    self.complete_directories(id);
                }
                Ok(())
            }
            Item::Node { name, about, content } => self.node(name, about, content, earlier),
        }
    }

    fn enter(&mut self, name: Name, about: About, earlier: &Earlier) -> Result<(), RepoError> {
        let meta = self.meta(&name, about)?;
        let id = self.draft();
        let (ino, place) = match self.stack.last() {
            None => (Ino::ROOT, Place::Root),
            Some((parent, _)) => {
                let parent = *parent;
                let ino = self.ino(earlier);
                (ino, self.entry_place(parent, Name::clone(&name), true))
            }
        };
        let dir =
            DirDraft { ino, meta, place, entries: Vec::new(), missing: 0, subdirs: 0, open: true };
        self.dirs.insert(id, dir);
        self.stack.push((id, name));
        self.inodes += 1;
        Ok(())
    }

    fn node(
        &mut self,
        name: Name,
        about: About,
        content: Content,
        earlier: Earlier,
    ) -> Result<(), RepoError> {
        // Items come between an `Enter` and its `Leave`.
        let Some((parent, _)) = self.stack.last() else { return Ok(()) };
        let (parent, nlink) = (*parent, about.stat.st_nlink);
        let source = (about.stat.st_dev, about.stat.st_ino);
        let parent_ino = self.dirs.get(&parent).map_or(Ino::ROOT, |dir| dir.ino);
        if nlink > 1
            && let Some(ino) = self.linked.get(&source).copied()
        {
            self.name_link(parent, parent_ino, name, ino);
            return Ok(());
        }
        let meta = self.meta(&name, about)?;
        let ino = self.ino(&earlier);
        self.inodes += 1;
        let path = self.path_of(&name);
        let place = if nlink > 1 {
            self.linked.insert(source, ino);
            self.name_link(parent, parent_ino, name, ino);
            Place::LinkTable
        } else {
            self.entry_place(parent, name, false)
        };
        match content {
            Content::Special(body) => {
                let inode = Inode { ino, meta, body };
                inode.check().map_err(|error| RepoError::NotRepresentable { path, error })?;
                self.place_inode(place, inode);
            }
            Content::Small { size, parts } => {
                let pieces = Vec::with_capacity(parts.len());
                let file = FileDraft { ino, meta, place, size, pieces, missing: 0 };
                self.small_file(file, parts, &earlier.known);
            }
            Content::Big(file) => {
                let (size, pieces) = (file.size(), Vec::new());
                let draft = FileDraft { ino, meta, place, size, pieces, missing: 1 };
                self.bytes = self.bytes.wrapping_add(size);
                let id = self.draft();
                self.files.insert(id, draft);
                self.work.push_back(Work::Big { draft: id, file, known: earlier.known });
            }
        }
        Ok(())
    }

    fn small_file(&mut self, mut file: FileDraft, parts: Vec<Part>, known: &Known) {
        self.bytes = self.bytes.wrapping_add(file.size);
        let id = self.draft();
        let mut to_pack = Vec::new();
        for part in parts {
            match part {
                Part::Hole(len) => file.pieces.push(Piece::Hole { len }),
                Part::Data(bytes) => {
                    let earlier =
                        if known.is_empty() { None } else { known.get(&Hash::of(&bytes)) };
                    match earlier {
                        Some(piece) => file.pieces.push(piece.clone()),
                        None => {
                            to_pack.push((file.pieces.len(), bytes));
                            // Stands in until the pack has its name.
                            file.pieces.push(Piece::Hole { len: 1 });
                        }
                    }
                }
            }
        }
        file.missing = to_pack.len();
        self.files.insert(id, file);
        if to_pack.is_empty() {
            self.complete_file(id);
        }
        for (index, bytes) in to_pack {
            if !self.pack.has_room(bytes.len() as u64) {
                self.finish_pack();
            }
            let packed = self.pack.push(vec![Slice::whole(bytes)]);
            self.packed.push((id, index, packed));
            if self.pack.full() || self.packed.len() >= PACK_MAX_CONTENTS {
                self.finish_pack();
            }
        }
    }

    /// A big file is in the store.
    pub(super) fn big_is_sent(&mut self, draft: DraftId, content: Kept) {
        if let Some(file) = self.files.remove(&draft) {
            self.place_file(file, content);
        }
    }

    /// No item follows.
    pub(super) fn end_of_files(&mut self) {
        self.finish_pack();
    }

    /// All files are sent: what is left is the table of those with several names.
    pub(super) fn end_of_tree(&mut self) -> Result<(), RepoError> {
        let mut table = Vec::new();
        for (ino, link) in std::mem::take(&mut self.links) {
            let LinkDraft { inode: Some(inode), mut names } = link else {
                return Err(RepoError::Lost { doing: "send a file with several names" });
            };
            names.sort_unstable();
            let linked = Linked { inode, names };
            linked.check().map_err(|error| {
                let name = linked
                    .names
                    .first()
                    .map_or_else(PathBuf::new, |(_, name)| PathBuf::from(OsStr::from_bytes(name)));
                RepoError::NotRepresentable { path: name, error }
            })?;
            table.push((ino, linked));
        }
        let built = build::<Links>(table.into_iter())
            .map_err(|error| RepoError::NotRepresentable { path: self.source.clone(), error })?;
        self.put_nodes(&built.nodes);
        self.link_root = built.root;
        let mut nodes = self.nodes.lock();
        self.work.extend(nodes.close().map(|pack| Work::Put(ObjectKind::Tree, pack)));
        let root = self.root.as_mut().and_then(Inode::tree_mut);
        root.into_iter().chain(&mut self.link_root).for_each(|root| nodes.locate(root));
        Ok(())
    }

    /// The snapshot, without parents.
    pub(super) fn snapshot(
        self,
        time: Time,
        author: String,
        message: String,
    ) -> Result<Snapshot, RepoError> {
        if let Some(error) = self.unfit {
            return Err(RepoError::NotRepresentable { path: self.source, error });
        }
        let lost = RepoError::Lost { doing: "put the tree together" };
        let snapshot = Snapshot {
            root: self.root.ok_or(lost)?,
            links: self.link_root,
            parents: Vec::new(),
            time,
            author,
            message,
            next_ino: self.next_ino,
            files: self.inodes,
            bytes: self.bytes,
        };
        snapshot
            .check()
            .map_err(|error| RepoError::NotRepresentable { path: self.source, error })?;
        Ok(snapshot)
    }

    fn finish_pack(&mut self) {
        if self.pack.is_empty() {
            return;
        }
        let pack = std::mem::replace(&mut self.pack, PackBuilder::new(self.chunk_bytes));
        let (object, _) = pack.finish();
        let name = ObjectName::first(object.hash());
        self.work.push_back(Work::Put(ObjectKind::Chunk, object));
        for (id, index, packed) in std::mem::take(&mut self.packed) {
            let Some(file) = self.files.get_mut(&id) else { continue };
            file.pieces[index] = packed.piece(name);
            file.missing -= 1;
            if file.missing == 0 {
                self.complete_file(id);
            }
        }
    }

    fn complete_file(&mut self, id: DraftId) {
        if let Some(mut file) = self.files.remove(&id) {
            let pieces = std::mem::take(&mut file.pieces);
            self.place_file(file, Kept::Pieces(pieces));
        }
    }

    fn place_file(&mut self, file: FileDraft, content: Kept) {
        let FileDraft { ino, meta, place, size, .. } = file;
        self.place_inode(place, Inode { ino, meta, body: Body::File { size, content } });
    }

    fn place_inode(&mut self, place: Place, inode: Inode) {
        match place {
            Place::Root => self.root = Some(inode),
            Place::LinkTable => {
                let link = self.links.entry(inode.ino).or_default();
                link.inode = Some(inode);
            }
            Place::Entry { dir, index } => {
                if let Some(draft) = self.dirs.get_mut(&dir) {
                    draft.entries[index].1 = Some(Entry::Inode(inode));
                    draft.missing -= 1;
                    self.complete_directories(dir);
                }
            }
        }
    }

    /// Makes the directory if nothing is missing, then its parent likewise, and so on.
    fn complete_directories(&mut self, mut id: DraftId) {
        while self.dirs.get(&id).is_some_and(|dir| !dir.open && dir.missing == 0) {
            let Some(dir) = self.dirs.remove(&id) else { return };
            let entries = dir.entries.into_iter();
            let entries = entries.filter_map(|(name, entry)| Some((name, entry?)));
            let built = match build::<Directories>(entries) {
                Ok(built) => built,
                Err(error) => {
                    self.unfit.get_or_insert(error);
                    return;
                }
            };
            self.put_nodes(&built.nodes);
            let body = Body::Directory { root: built.root, subdirs: dir.subdirs };
            let inode = Inode { ino: dir.ino, meta: dir.meta, body };
            let Place::Entry { dir: parent, index } = dir.place else {
                self.root = Some(inode);
                return;
            };
            let Some(above) = self.dirs.get_mut(&parent) else { return };
            above.entries[index].1 = Some(Entry::Inode(inode));
            above.missing -= 1;
            id = parent;
        }
    }

    /// Lays nodes, and puts the objects that are full.
    fn put_nodes(&mut self, drafts: &[NodeDraft]) {
        match self.nodes.lock().push_all(drafts) {
            Ok(packs) => {
                self.work.extend(packs.into_iter().map(|pack| Work::Put(ObjectKind::Tree, pack)));
            }
            Err(error) => {
                self.unfit.get_or_insert(error);
            }
        }
    }

    fn entry_place(&mut self, dir: DraftId, name: Name, is_directory: bool) -> Place {
        let Some(draft) = self.dirs.get_mut(&dir) else { return Place::Root };
        draft.entries.push((name, None));
        draft.missing += 1;
        draft.subdirs += u64::from(is_directory);
        Place::Entry { dir, index: draft.entries.len() - 1 }
    }

    fn name_link(&mut self, dir: DraftId, parent: Ino, name: Name, ino: Ino) {
        if let Some(draft) = self.dirs.get_mut(&dir) {
            draft.entries.push((Name::clone(&name), Some(Entry::Link(ino))));
        }
        self.links.entry(ino).or_default().names.push((parent, name));
    }

    /// The number that the path had before, else a new one. A number that the link table had may
    /// be that of several paths, of which only one keeps it.
    fn ino(&mut self, earlier: &Earlier) -> Ino {
        if let Some(ino) = earlier.ino
            && self.taken.insert(ino)
        {
            return ino;
        }
        let ino = self.next_ino;
        self.next_ino = ino.next();
        ino
    }

    fn draft(&mut self) -> DraftId {
        self.next_draft += 1;
        DraftId(self.next_draft)
    }

    fn meta(&mut self, name: &Name, about: About) -> Result<Meta, RepoError> {
        let mut meta = meta_of(&about.stat);
        let unfit = |error| RepoError::NotRepresentable { path: self.path_of(name), error };
        check_xattrs(&about.xattrs).map_err(unfit)?;
        if name.len() > NAME_MAX_BYTES {
            let limit = NAME_MAX_BYTES as u64;
            let (record, field) = ("directory entry", "name");
            return Err(unfit(FormatError::TooLarge { record, field, limit }));
        }
        if about.xattrs.is_empty() {
            return Ok(meta);
        }
        let encoded = encode_xattrs(&about.xattrs);
        meta.xattrs = if encoded.len() <= XATTRS_INLINE_MAX_BYTES {
            Xattrs::Inline(about.xattrs)
        } else {
            let object = Hashed::of_bytes(encoded);
            let piece = Piece::whole(object.hash(), object.len_bytes());
            self.work.push_back(Work::Put(ObjectKind::Chunk, object));
            Xattrs::Stored(piece)
        };
        Ok(meta)
    }

    fn path_of(&self, name: &Name) -> PathBuf {
        let above = self.stack.iter().map(|(_, name)| name);
        let names = above.chain([name]).filter(|name| !name.is_empty());
        let mut path = self.source.clone();
        path.extend(names.map(|name| OsStr::from_bytes(name)));
        path
    }
}
