//! The first half of a verification: snapshots and trees, each node once. It gathers the data
//! objects, and for each a few of the paths that need it.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::JoinSet;
use vellum_core::format::{
    Body, Content, Directories, Entry, Hash, Inode, Linked, Links, NodePlace, NodeRef, ObjectKind,
    ObjectName, Piece, Pieces, Snapshot, TreeKind, TreeNode, Xattrs, object_key,
};
use vellum_core::shapes::Name;
use vellum_core::words::Ino;

use super::check::{Wrong, read};
use super::packs::Packs;
use super::{NeededBy, Verify};
use crate::repo::import::joined;
use crate::repo::tree::Place;
use crate::repo::{Repo, RepoError};

/// Nodes that are read at once.
const AT_ONCE: usize = 32;
/// Paths that are kept for each data object.
pub(super) const PATHS_MAX: usize = 3;

/// What is known of the data objects, and the paths that lead to them.
#[derive(Default)]
pub(super) struct Needed {
    pub(super) data: HashMap<ObjectName, Wanted>,
    dirs: Vec<Dir>,
    dir_of_ino: HashMap<Ino, DirId>,
}

/// What the trees say of a data object.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Bytes it must have at least.
    pub(super) len_min: u64,
    /// Whether it must have no more.
    pub(super) is_exact: bool,
    /// Extended attributes that lie in it: offset, length and hash.
    pub(super) xattrs: Vec<(u64, u64, Hash)>,
    pub(super) needs: Vec<Need>,
}

type DirId = usize;

/// A directory by the path that it was first met at.
struct Dir {
    snapshot: Hash,
    parent: Option<DirId>,
    name: Name,
}

/// Why something is read.
#[derive(Clone, Debug)]
pub(super) enum Need {
    /// A name, or a snapshot whose parent it is.
    Named(NeededBy),
    /// A name in a directory; the directory itself, if it is empty.
    At(DirId, Name),
    /// An inode of a link table, by one of its names.
    Linked(Hash, Ino, Name),
}

/// Something to be read.
enum Todo {
    Snapshot(Hash),
    Directory(Place<Directories>, DirId),
    Links(Place<Links>, Hash),
    Pieces(Place<Pieces>),
}

/// What was read.
enum Read {
    Snapshot(Hash, Box<Snapshot>),
    Directory(Place<Directories>, DirId, TreeNode<Directories>),
    Links(Place<Links>, Hash, TreeNode<Links>),
    Pieces(Place<Pieces>, TreeNode<Pieces>),
}

struct Done {
    need: Need,
    kind: ObjectKind,
    name: ObjectName,
    read: Result<Read, Wrong>,
    /// Bytes that were read for it.
    bytes: u64,
    /// What is wrong with the object, even if what was looked for in it is there.
    wrong: Option<Wrong>,
}

/// A node where it lies: the same node in two objects is two things to be checked.
type Seen = (u8, Hash, Option<NodePlace>);

fn seen_as(tag: u8, node: &NodeRef) -> Seen {
    (tag, node.hash, node.place)
}

/// The walk through all trees.
pub(super) struct Trees {
    verify: Arc<Verify>,
    packs: Arc<Packs>,
    seen: HashSet<Seen>,
    snapshots: HashSet<Hash>,
    /// What comes next is at the end.
    todo: Vec<(Todo, Need)>,
    running: JoinSet<Done>,
    needed: Needed,
}

impl Trees {
    pub(super) fn new(verify: Arc<Verify>) -> Self {
        Self {
            verify,
            packs: Arc::default(),
            seen: HashSet::new(),
            snapshots: HashSet::new(),
            todo: Vec::new(),
            running: JoinSet::new(),
            needed: Needed::default(),
        }
    }

    /// Adds a name and the snapshot that it stands for.
    pub(super) fn begin(&mut self, name: &str, snapshot: Option<Hash>) {
        if let Some(hash) = snapshot {
            self.snapshot(hash, NeededBy::Name(name.to_owned()));
        }
    }

    fn snapshot(&mut self, hash: Hash, by: NeededBy) {
        if self.snapshots.insert(hash) {
            self.todo.push((Todo::Snapshot(hash), Need::Named(by)));
        }
    }

    /// Reads everything that is reached, and answers what data that needs.
    pub(super) async fn run(mut self) -> Result<Needed, RepoError> {
        loop {
            while self.running.len() < AT_ONCE
                && let Some((todo, need)) = self.todo.pop()
            {
                let repo = Arc::clone(&self.verify.repo);
                self.running.spawn(perform(repo, Arc::clone(&self.packs), todo, need));
            }
            match self.running.join_next().await {
                Some(done) => self.take(joined(done)?)?,
                None => return Ok(self.needed),
            }
        }
    }

    fn take(&mut self, done: Done) -> Result<(), RepoError> {
        let Done { need, kind, name, read, bytes, wrong } = done;
        let read = match read {
            Ok(read) => read,
            Err(wrong) => {
                let by = vec![self.needed.told(&need)];
                return self.verify.found_bad(object_key(kind, &name), wrong, by);
            }
        };
        match wrong {
            // Who needs what is damaged of it is told by that.
            Some(wrong) => {
                let key = object_key(kind, &name);
                let by =
                    if self.verify.is_bad(&key) { None } else { Some(self.needed.told(&need)) };
                self.verify.found_bad(key, wrong, by.into_iter().collect())?;
            }
            None => self.verify.found_good(bytes),
        }
        let count = match kind {
            ObjectKind::Snapshot => &self.verify.snapshots,
            ObjectKind::Tree | ObjectKind::Chunk => &self.verify.nodes,
        };
        count.fetch_add(1, Ordering::Relaxed);
        match read {
            Read::Snapshot(hash, snapshot) => self.take_snapshot(hash, &snapshot),
            Read::Directory(place, dir, node) => self.take_directory(&place, dir, node),
            Read::Links(place, snapshot, node) => self.take_links(&place, snapshot, node),
            Read::Pieces(place, node) => self.take_pieces(&place, &need, node),
        }
        Ok(())
    }

    /// What is pushed last comes first: the tree, whose directories then are known, the links, and
    /// the parents, so that a path is told of the newest snapshot that has it.
    fn take_snapshot(&mut self, hash: Hash, snapshot: &Snapshot) {
        for parent in snapshot.parents.iter().rev() {
            self.snapshot(*parent, NeededBy::Child(hash));
        }
        if let Some(links) = snapshot.links {
            self.links(Place::root(links), hash);
        }
        let dir = self.needed.dir(Dir { snapshot: hash, parent: None, name: Name::from([]) });
        self.needed.xattrs(&snapshot.root.meta.xattrs, &Need::At(dir, Name::from([])));
        self.needed.dir_of_ino.insert(snapshot.root.ino, dir);
        if let Body::Directory { root: Some(root), .. } = &snapshot.root.body {
            self.directory(Place::root(*root), dir);
        }
        self.count_data();
    }

    fn directory(&mut self, place: Place<Directories>, dir: DirId) {
        if self.seen.insert(seen_as(Directories::TAG, &place.node)) {
            self.todo.push((Todo::Directory(place, dir), Need::At(dir, Name::from([]))));
        }
    }

    fn links(&mut self, place: Place<Links>, snapshot: Hash) {
        if self.seen.insert(seen_as(Links::TAG, &place.node)) {
            let need = Need::Named(NeededBy::LinkTable(snapshot));
            self.todo.push((Todo::Links(place, snapshot), need));
        }
    }

    fn pieces(&mut self, place: Place<Pieces>, need: Need) {
        if self.seen.insert(seen_as(Pieces::TAG, &place.node)) {
            self.todo.push((Todo::Pieces(place), need));
        }
    }

    fn take_directory(
        &mut self,
        place: &Place<Directories>,
        dir: DirId,
        node: TreeNode<Directories>,
    ) {
        match node {
            TreeNode::Inner(children) => {
                place.below(&children).rev().for_each(|place| self.directory(place, dir));
            }
            TreeNode::Leaf(entries) => {
                for (name, entry) in entries {
                    match entry {
                        Entry::Inode(inode) => self.entry(dir, name, &inode),
                        // It stands in the link table.
                        Entry::Link(_) => {}
                    }
                }
            }
        }
        self.count_data();
    }

    fn entry(&mut self, dir: DirId, name: Name, inode: &Inode) {
        let need = Need::At(dir, Name::clone(&name));
        let Body::Directory { root, .. } = &inode.body else { return self.inode(inode, &need) };
        self.needed.xattrs(&inode.meta.xattrs, &need);
        if let Some(root) = root
            && !self.seen.contains(&seen_as(Directories::TAG, root))
        {
            let snapshot = self.needed.dirs[dir].snapshot;
            let below = self.needed.dir(Dir { snapshot, parent: Some(dir), name });
            self.needed.dir_of_ino.entry(inode.ino).or_insert(below);
            self.directory(Place::root(*root), below);
        }
    }

    fn take_links(&mut self, place: &Place<Links>, snapshot: Hash, node: TreeNode<Links>) {
        match node {
            TreeNode::Inner(children) => {
                place.below(&children).rev().for_each(|place| self.links(place, snapshot));
            }
            TreeNode::Leaf(entries) => {
                for (_, Linked { inode, names }) in entries {
                    let Some((parent, name)) = names.into_iter().next() else { continue };
                    self.inode(&inode, &Need::Linked(snapshot, parent, name));
                }
            }
        }
        self.count_data();
    }

    fn take_pieces(&mut self, place: &Place<Pieces>, need: &Need, node: TreeNode<Pieces>) {
        match node {
            TreeNode::Inner(children) => {
                place.below(&children).rev().for_each(|place| self.pieces(place, need.clone()));
            }
            TreeNode::Leaf(entries) => {
                entries.iter().for_each(|(_, piece)| self.needed.piece(piece, need));
            }
        }
        self.count_data();
    }

    fn inode(&mut self, inode: &Inode, need: &Need) {
        self.needed.xattrs(&inode.meta.xattrs, need);
        match &inode.body {
            Body::File { content: Content::Pieces(pieces), .. } => {
                pieces.iter().for_each(|piece| self.needed.piece(piece, need));
            }
            Body::File { content: Content::Tree(root), .. } => {
                self.pieces(Place::root(*root), need.clone());
            }
            Body::Directory { .. }
            | Body::Symlink { .. }
            | Body::Fifo
            | Body::Socket
            | Body::CharDevice { .. }
            | Body::BlockDevice { .. } => {}
        }
    }

    fn count_data(&self) {
        self.verify.data.store(self.needed.data.len() as u64, Ordering::Relaxed);
    }
}

impl Needed {
    fn dir(&mut self, dir: Dir) -> DirId {
        self.dirs.push(dir);
        self.dirs.len() - 1
    }

    fn piece(&mut self, piece: &Piece, need: &Need) {
        let Piece::Data { hash, len, object, offset } = piece else { return };
        let wanted = self.data.entry(*object).or_default();
        wanted.len_min = wanted.len_min.max(offset.saturating_add(*len));
        wanted.is_exact |= *hash == object.hash;
        if wanted.needs.len() < PATHS_MAX {
            wanted.needs.push(need.clone());
        }
    }

    fn xattrs(&mut self, xattrs: &Xattrs, need: &Need) {
        let Xattrs::Stored(piece) = xattrs else { return };
        self.piece(piece, need);
        if let Piece::Data { hash, len, object, offset } = piece {
            let wanted = self.data.entry(*object).or_default();
            if !wanted.xattrs.contains(&(*offset, *len, *hash)) {
                wanted.xattrs.push((*offset, *len, *hash));
            }
        }
    }

    /// A need as it is reported.
    pub(super) fn told(&self, need: &Need) -> NeededBy {
        match need {
            Need::Named(by) => by.clone(),
            Need::At(dir, name) => self.path(*dir, name),
            Need::Linked(snapshot, parent, name) => match self.dir_of_ino.get(parent) {
                Some(dir) if self.dirs[*dir].snapshot == *snapshot => self.path(*dir, name),
                // The directory was met in another snapshot, where it may have another path.
                Some(_) | None => {
                    let path = PathBuf::from("…").join(OsStr::from_bytes(name));
                    NeededBy::Path { snapshot: *snapshot, path }
                }
            },
        }
    }

    fn path(&self, dir: DirId, name: &Name) -> NeededBy {
        let snapshot = self.dirs[dir].snapshot;
        let mut names = vec![name];
        let mut at = Some(dir);
        while let Some(dir) = at {
            names.push(&self.dirs[dir].name);
            at = self.dirs[dir].parent;
        }
        let names = names.into_iter().rev().filter(|name| !name.is_empty());
        let path: PathBuf = names.map(|name| OsStr::from_bytes(name)).collect();
        NeededBy::Path { snapshot, path }
    }
}

async fn perform(repo: Arc<Repo>, packs: Arc<Packs>, todo: Todo, need: Need) -> Done {
    let node = match &todo {
        Todo::Snapshot(hash) => return perform_snapshot(&repo, *hash, need).await,
        Todo::Directory(place, _) => place.node,
        Todo::Links(place, _) => place.node,
        Todo::Pieces(place) => place.node,
    };
    let (name, pack) = packs.get(&repo, &node).await;
    let read = match todo {
        Todo::Snapshot(_) => unreachable!("answered above"),
        Todo::Directory(place, dir) => {
            pack.node(&place).map(|node| Read::Directory(place, dir, node))
        }
        Todo::Links(place, snapshot) => {
            pack.node(&place).map(|node| Read::Links(place, snapshot, node))
        }
        Todo::Pieces(place) => pack.node(&place).map(|node| Read::Pieces(place, node)),
    };
    let (bytes, wrong) = (pack.bytes_read(), pack.wrong.clone());
    Done { need, kind: ObjectKind::Tree, name, read, bytes, wrong }
}

async fn perform_snapshot(repo: &Repo, hash: Hash, need: Need) -> Done {
    let (kind, name) = (ObjectKind::Snapshot, ObjectName::first(hash));
    let mut len = 0;
    let read = read(repo, kind, &name, 0).await.and_then(|bytes| {
        len = bytes.as_bytes().len() as u64;
        let snapshot = Snapshot::decode(&bytes).map_err(|error| Wrong::format(&error))?;
        Ok(Read::Snapshot(hash, Box::new(snapshot)))
    });
    Done { need, kind, name, read, bytes: len, wrong: None }
}
