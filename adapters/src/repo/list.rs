//! Lists a directory of a snapshot, or everything below it, a page at a time.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vellum_core::format::{Body, Directories, Entry, Hash, Inode, NodeRef};
use vellum_core::shapes::Name;

use super::Repo;
use super::error::RepoError;
use super::ordered::InOrder;

/// Most names of a page.
const PAGE_MAX: usize = 1000;

/// What is to be listed of a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListWhat {
    /// Everything below the directory, too.
    pub recursive: bool,
    /// The inodes, too, wherever they are kept.
    pub inodes: bool,
}

/// A name of a listing.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Its path from the directory that is listed; the path that was given, if that is no
    /// directory.
    pub path: PathBuf,
    /// What it stands for; always there if inodes were asked for.
    pub inode: Option<Inode>,
    /// Names that the inode has.
    pub names: u64,
}

/// Path of a directory from the one that is listed: empty, or with a `/` at its end.
type Prefix = Arc<[u8]>;

/// A listing, and how far it has come.
pub struct List {
    repo: Arc<Repo>,
    links: Option<NodeRef>,
    inodes: bool,
    /// What was asked for, if that is no directory.
    one: Option<Listed>,
    entries: InOrder<Directories, Prefix>,
    failed: Option<RepoError>,
}

impl List {
    /// Begins a listing of `path` of the snapshot; of its root, if no path is given.
    ///
    /// # Errors
    /// The path does not exist, an object is missing or damaged, or the store fails.
    pub async fn open(
        repo: &Arc<Repo>,
        snapshot: Hash,
        path: Option<&Path>,
        what: ListWhat,
    ) -> Result<Self, RepoError> {
        let snapshot = repo.read_snapshot(snapshot).await?;
        let found = repo.look_up(&snapshot, path).await?;
        let (root, one) = match &found.inode.body {
            Body::Directory { root, .. } => (*root, None),
            Body::File { .. }
            | Body::Symlink { .. }
            | Body::Fifo
            | Body::Socket
            | Body::CharDevice { .. }
            | Body::BlockDevice { .. } => {
                let path = path.unwrap_or(Path::new("")).to_path_buf();
                (None, Some(Listed { path, inode: Some(found.inode), names: found.names }))
            }
        };
        let below = if what.recursive { inside } else { nothing };
        let entries = InOrder::new(repo, root, Prefix::from([]), below);
        let (repo, links) = (Arc::clone(repo), snapshot.links);
        Ok(Self { repo, links, inodes: what.inodes, one, entries, failed: None })
    }

    /// The next names, in the order of their bytes, what is in a directory after it; none at the
    /// end.
    ///
    /// # Errors
    /// An object is missing or damaged, or the store fails. What comes before it was answered.
    pub async fn next_page(&mut self) -> Result<Vec<Listed>, RepoError> {
        if let Some(one) = self.one.take() {
            return Ok(vec![one]);
        }
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut page = Vec::new();
        while page.len() < PAGE_MAX {
            match self.entries.next().await {
                Ok(Some((prefix, name, entry))) => page.push((path_of(&prefix, &name), entry)),
                Ok(None) => break,
                Err(error) if page.is_empty() => return Err(error),
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        self.resolved(page).await
    }

    async fn resolved(&self, page: Vec<(PathBuf, Entry)>) -> Result<Vec<Listed>, RepoError> {
        let links = page.iter().filter_map(|(_, entry)| match entry {
            Entry::Link(ino) if self.inodes => Some(*ino),
            Entry::Link(_) | Entry::Inode(_) => None,
        });
        let links: BTreeSet<_> = links.collect();
        let linked = self.repo.linked_of(self.links.as_ref(), &links).await?;
        let listed = |(path, entry)| match entry {
            Entry::Inode(inode) => Listed { path, inode: Some(inode), names: 1 },
            Entry::Link(ino) => {
                let (inode, names) = linked.get(&ino).cloned().unzip();
                Listed { path, inode, names: names.unwrap_or(0) }
            }
        };
        Ok(page.into_iter().map(listed).collect())
    }
}

fn path_of(prefix: &Prefix, name: &Name) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(&[prefix.as_ref(), name.as_ref()].concat()))
}

fn inside(prefix: &Prefix, name: &Name, entry: &Entry) -> Option<(Prefix, NodeRef)> {
    let Entry::Inode(Inode { body: Body::Directory { root: Some(root), .. }, .. }) = entry else {
        return None;
    };
    Some(([prefix.as_ref(), name.as_ref(), b"/"].concat().into(), *root))
}

fn nothing(_: &Prefix, _: &Name, _: &Entry) -> Option<(Prefix, NodeRef)> {
    None
}
