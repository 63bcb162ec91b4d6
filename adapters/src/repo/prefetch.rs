//! Loads paths of a snapshot into the cache: their trees and their data, each byte verified.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::task::JoinSet;
use vellum_core::format::{
    Body, Content, Directories, Entry, Hash, Inode, NodeRef, ObjectKind, Piece, Pieces, Snapshot,
    Xattrs, object_key,
};
use vellum_core::shapes::Name;
use vellum_core::words::Ino;

use super::Repo;
use super::error::RepoError;
use super::ordered::InOrder;

/// Loads paths, and counts how far it has come.
pub struct Prefetch {
    repo: Arc<Repo>,
    jobs: usize,
    /// Names of files met.
    pub files: AtomicU64,
    /// Bytes of their data that were in the cache already.
    pub there_bytes: AtomicU64,
    /// Bytes of their data that were not, or that were fetched.
    pub lacking_bytes: AtomicU64,
}

/// What is done with each piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    Measure,
    Load,
}

/// A walk: what is under way, and which inodes of several names were met.
struct Walk {
    aim: Aim,
    running: JoinSet<()>,
    linked: HashSet<Ino>,
    failed: Arc<Mutex<Option<RepoError>>>,
}

impl Prefetch {
    /// Loads from this repository, with so many requests at once.
    #[must_use]
    pub fn new(repo: Arc<Repo>, jobs: usize) -> Self {
        let [files, there_bytes, lacking_bytes] = [0; 3].map(AtomicU64::new);
        Self { repo, jobs: jobs.max(1), files, there_bytes, lacking_bytes }
    }

    /// Loads the trees of these paths, and finds how much of their data is there; of the whole
    /// snapshot, if no path is given.
    ///
    /// # Errors
    /// A path does not exist, an object is missing or damaged, or the store fails.
    pub async fn measure(
        self: &Arc<Self>,
        snapshot: Hash,
        paths: &[PathBuf],
    ) -> Result<(), RepoError> {
        self.walk(snapshot, paths, Aim::Measure).await
    }

    /// Loads what is not there of the data of these paths.
    ///
    /// # Errors
    /// As [`Prefetch::measure`].
    pub async fn load(
        self: &Arc<Self>,
        snapshot: Hash,
        paths: &[PathBuf],
    ) -> Result<(), RepoError> {
        for counter in [&self.files, &self.there_bytes, &self.lacking_bytes] {
            counter.store(0, Ordering::Relaxed);
        }
        self.walk(snapshot, paths, Aim::Load).await
    }

    async fn walk(
        self: &Arc<Self>,
        snapshot: Hash,
        paths: &[PathBuf],
        aim: Aim,
    ) -> Result<(), RepoError> {
        let snapshot = self.repo.read_snapshot(snapshot).await?;
        let mut walk =
            Walk { aim, running: JoinSet::new(), linked: HashSet::new(), failed: Arc::default() };
        let whole = [PathBuf::new()];
        for path in if paths.is_empty() { &whole } else { paths } {
            let found = self.repo.look_up(&snapshot, Some(path)).await?;
            let root = found.inode.body.entries();
            self.inode(&mut walk, found.inode).await?;
            let mut entries: InOrder<Directories, ()> =
                InOrder::new(&self.repo, root, (), directory_below);
            while let Some(((), _, entry)) = entries.next().await? {
                self.entry(&mut walk, &snapshot, entry).await?;
            }
        }
        while walk.running.join_next().await.is_some() {}
        let failed = walk.failed.lock().take();
        failed.map_or(Ok(()), Err)
    }

    async fn entry(
        self: &Arc<Self>,
        walk: &mut Walk,
        snapshot: &Snapshot,
        entry: Entry,
    ) -> Result<(), RepoError> {
        match entry {
            Entry::Inode(inode) => self.inode(walk, inode).await,
            Entry::Link(ino) if walk.linked.insert(ino) => {
                let linked = self.repo.linked(snapshot.links.as_ref(), ino).await?;
                self.inode(walk, linked.inode).await
            }
            Entry::Link(_) => Ok(()),
        }
    }

    async fn inode(self: &Arc<Self>, walk: &mut Walk, inode: Inode) -> Result<(), RepoError> {
        if let Xattrs::Stored(piece) = inode.meta.xattrs {
            self.piece(walk, piece).await?;
        }
        let Body::File { content, .. } = inode.body else { return Ok(()) };
        self.files.fetch_add(1, Ordering::Relaxed);
        match content {
            Content::Pieces(pieces) => {
                for piece in pieces {
                    self.piece(walk, piece).await?;
                }
            }
            Content::Tree(root) => {
                let mut pieces: InOrder<Pieces, ()> =
                    InOrder::new(&self.repo, Some(root), (), |(), _, _| None);
                while let Some(((), _, piece)) = pieces.next().await? {
                    self.piece(walk, piece).await?;
                }
            }
        }
        Ok(())
    }

    /// Deals with a piece, when one of those before it is done. Ends the walk if one has failed.
    async fn piece(self: &Arc<Self>, walk: &mut Walk, piece: Piece) -> Result<(), RepoError> {
        let Piece::Data { hash, len, object, offset } = piece else { return Ok(()) };
        while walk.running.len() >= self.jobs {
            walk.running.join_next().await;
        }
        if let Some(error) = walk.failed.lock().take() {
            return Err(error);
        }
        let (this, aim, failed) = (Arc::clone(self), walk.aim, Arc::clone(&walk.failed));
        walk.running.spawn(async move {
            let range = offset..offset + len;
            let key = object_key(ObjectKind::Chunk, &object);
            if this.repo.store().has_kept(&key, Some(range.clone())).await {
                this.there_bytes.fetch_add(len, Ordering::Relaxed);
                return;
            }
            if aim == Aim::Load
                && let Err(error) = this.repo.read_data(&object, range, &hash).await
            {
                failed.lock().get_or_insert(error);
                return;
            }
            this.lacking_bytes.fetch_add(len, Ordering::Relaxed);
        });
        Ok(())
    }
}

fn directory_below((): &(), _: &Name, entry: &Entry) -> Option<((), NodeRef)> {
    let Entry::Inode(Inode { body: Body::Directory { root: Some(root), .. }, .. }) = entry else {
        return None;
    };
    Some(((), *root))
}
