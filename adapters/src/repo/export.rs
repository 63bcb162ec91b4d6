//! Exports a snapshot, or a path of it, to a directory. Every byte is verified before it is
//! written.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;
use tokio::task::JoinSet;
use vellum_core::format::{
    Body, Content, Directories, Entry, FormatError, Hash, Inode, Linked, Links, Piece, Pieces,
};
use vellum_core::shapes::Name;
use vellum_core::words::Ino;

use super::Repo;
use super::error::{RepoError, past_the_end};
use super::packs::Packs;
use super::paths::Found;
use super::target::{Target, TargetDir};

/// Files that are written at once.
const FILES_MAX: usize = 24;

/// An export, and how far it has come.
pub struct Export {
    repo: Arc<Repo>,
    packs: Packs,
    target: Arc<Target>,
    /// Inodes written.
    pub files: AtomicU64,
    /// Bytes written.
    pub bytes: AtomicU64,
}

/// What an export has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The snapshot.
    pub snapshot: Hash,
    /// Names written, that of the directory itself included.
    pub files: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Extended attributes left out, because only root may set them.
    pub skipped_xattrs: u64,
}

/// A file with several names: where its first one is, once it is written.
struct FirstName {
    dir: Arc<TargetDir>,
    name: Name,
    written: watch::Receiver<bool>,
    names_left: usize,
}

/// A directory that is being written, and its entries still to come.
type Entered = (Arc<TargetDir>, std::vec::IntoIter<(Name, Entry)>);

/// What the walk through the tree keeps.
struct Walk {
    stack: Vec<Entered>,
    links: HashMap<Ino, Linked>,
    first_names: HashMap<Ino, FirstName>,
    running: JoinSet<Result<(), RepoError>>,
}

impl Export {
    /// An export from this repository.
    #[must_use]
    pub fn new(repo: Arc<Repo>) -> Self {
        Self {
            packs: Packs::new(Arc::clone(&repo)),
            repo,
            target: Target::new(),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Writes `path` of the snapshot (all of it, if none is given) to the directory `to`, which
    /// is made or empty. A path that is not a directory becomes an entry of `to`.
    ///
    /// # Errors
    /// An object is missing or damaged, the path does not exist, or something can't be written.
    pub async fn run(
        self: &Arc<Self>,
        hash: Hash,
        path: Option<&Path>,
        to: &Path,
    ) -> Result<Exported, RepoError> {
        let snapshot = self.repo.read_snapshot(hash).await?;
        let Found { name, inode, .. } = self.repo.look_up(&snapshot, path).await?;
        let links = self.repo.entries::<Links>(snapshot.links.as_ref()).await?;
        let mut walk = Walk {
            stack: Vec::new(),
            links: links.into_iter().collect(),
            first_names: HashMap::new(),
            running: JoinSet::new(),
        };
        if let Body::Directory { root, .. } = &inode.body {
            let xattrs = self.repo.xattrs(&inode.meta.xattrs).await?;
            let dir = self.target.root(to, inode.meta.clone(), xattrs)?;
            self.files.fetch_add(1, Ordering::Relaxed);
            let entries = self.repo.entries::<Directories>(root.as_ref()).await?;
            walk.stack.push((dir, entries.into_iter()));
        } else {
            let xattrs = self.repo.xattrs(&snapshot.root.meta.xattrs).await?;
            let dir = self.target.root(to, snapshot.root.meta.clone(), xattrs)?;
            walk.stack.push((dir, vec![(name, Entry::Inode(inode))].into_iter()));
        }
        self.walk(&mut walk).await?;
        drop(walk);
        match self.target.take_error() {
            Some(error) => Err(error),
            None => Ok(Exported {
                snapshot: hash,
                files: self.files.load(Ordering::Relaxed),
                bytes: self.bytes.load(Ordering::Relaxed),
                skipped_xattrs: self.target.skipped.load(Ordering::Relaxed),
            }),
        }
    }

    async fn walk(self: &Arc<Self>, walk: &mut Walk) -> Result<(), RepoError> {
        while let Some((dir, entries)) = walk.stack.last_mut() {
            let dir = Arc::clone(dir);
            let Some((name, entry)) = entries.next() else {
                walk.stack.pop();
                continue;
            };
            self.files.fetch_add(1, Ordering::Relaxed);
            match entry {
                Entry::Inode(inode) => match &inode.body {
                    Body::Directory { root, .. } => {
                        let xattrs = self.repo.xattrs(&inode.meta.xattrs).await?;
                        let below = dir.directory(&name, inode.meta.clone(), xattrs)?;
                        let entries = self.repo.entries::<Directories>(root.as_ref()).await?;
                        walk.stack.push((below, entries.into_iter()));
                    }
                    Body::File { .. }
                    | Body::Symlink { .. }
                    | Body::Fifo
                    | Body::Socket
                    | Body::CharDevice { .. }
                    | Body::BlockDevice { .. } => {
                        self.start_file(walk, dir, name, inode, None).await?;
                    }
                },
                Entry::Link(ino) => self.start_link(walk, dir, name, ino).await?,
            }
        }
        while let Some(done) = walk.running.join_next().await {
            ended(done)?;
        }
        Ok(())
    }

    async fn start_link(
        self: &Arc<Self>,
        walk: &mut Walk,
        dir: Arc<TargetDir>,
        name: Name,
        ino: Ino,
    ) -> Result<(), RepoError> {
        if let Some(first) = walk.first_names.get_mut(&ino) {
            let (first_dir, first_name) = (Arc::clone(&first.dir), Name::clone(&first.name));
            let mut written = first.written.clone();
            first.names_left = first.names_left.saturating_sub(1);
            if first.names_left == 0 {
                walk.first_names.remove(&ino);
            }
            make_room(&mut walk.running).await?;
            walk.running.spawn(async move {
                // If the first name fails, that is what the export fails with.
                if written.wait_for(|written| *written).await.is_err() {
                    return Ok(());
                }
                dir.link(&name, &first_dir, &first_name)
            });
            return Ok(());
        }
        let Some(linked) = walk.links.get(&ino) else {
            let error = FormatError::Invalid { record: "directory entry", field: "link" };
            return Err(RepoError::NotRepresentable { path: dir.path_of(&name), error });
        };
        let (inode, names_left) = (linked.inode.clone(), linked.names.len().saturating_sub(1));
        let (sender, written) = watch::channel(false);
        let first =
            FirstName { dir: Arc::clone(&dir), name: Name::clone(&name), written, names_left };
        if names_left > 0 {
            walk.first_names.insert(ino, first);
        }
        self.start_file(walk, dir, name, inode, Some(sender)).await
    }

    async fn start_file(
        self: &Arc<Self>,
        walk: &mut Walk,
        dir: Arc<TargetDir>,
        name: Name,
        inode: Inode,
        written: Option<watch::Sender<bool>>,
    ) -> Result<(), RepoError> {
        make_room(&mut walk.running).await?;
        let export = Arc::clone(self);
        walk.running.spawn(async move {
            export.write(dir, name, inode).await?;
            if let Some(written) = written {
                written.send_replace(true);
            }
            Ok(())
        });
        Ok(())
    }

    async fn write(&self, dir: Arc<TargetDir>, name: Name, inode: Inode) -> Result<(), RepoError> {
        let xattrs = self.repo.xattrs(&inode.meta.xattrs).await?;
        let Inode { meta, body, .. } = inode;
        let Body::File { size, content } = body else {
            return blocking(move || dir.special(&name, &body, &meta, &xattrs)).await;
        };
        let pieces = self.data_pieces(content, size).await?;
        let data_bytes = pieces.iter().map(|(_, piece)| piece.len_bytes()).sum();
        self.bytes.fetch_add(data_bytes, Ordering::Relaxed);
        if pieces.len() <= 1 {
            let bytes = match pieces.into_iter().next() {
                Some((at, piece)) => Some((at, self.packs.read(&piece).await?)),
                None => None,
            };
            return blocking(move || {
                let file = dir.create(&name, size)?;
                if let Some((at, bytes)) = bytes {
                    dir.write(&name, &file, bytes.as_slice(), at)?;
                }
                dir.finish_file(&name, &file, &meta, &xattrs)
            })
            .await;
        }
        let (in_dir, as_name) = (Arc::clone(&dir), Name::clone(&name));
        let file = Arc::new(blocking(move || in_dir.create(&as_name, size)).await?);
        for (at, piece) in pieces {
            let bytes = self.packs.read(&piece).await?;
            let (dir, name, file) = (Arc::clone(&dir), Name::clone(&name), Arc::clone(&file));
            blocking(move || dir.write(&name, &file, bytes.as_slice(), at)).await?;
        }
        blocking(move || dir.finish_file(&name, &file, &meta, &xattrs)).await
    }

    /// The pieces of a file that are not holes, each with its offset.
    async fn data_pieces(
        &self,
        content: Content,
        size: u64,
    ) -> Result<Vec<(u64, Piece)>, RepoError> {
        match content {
            Content::Pieces(pieces) => {
                let mut at = 0;
                let mut data = Vec::new();
                for piece in pieces {
                    let begin = at;
                    at += piece.len_bytes();
                    if matches!(piece, Piece::Data { .. }) {
                        data.push((begin, piece));
                    }
                }
                Ok(data)
            }
            Content::Tree(root) => {
                let pieces = self.repo.entries::<Pieces>(Some(&root)).await?;
                let end = pieces.last().map_or(0, |(at, piece)| at + piece.len_bytes());
                if end > size { Err(past_the_end(&root)) } else { Ok(pieces) }
            }
        }
    }
}

async fn make_room(running: &mut JoinSet<Result<(), RepoError>>) -> Result<(), RepoError> {
    while running.len() >= FILES_MAX {
        if let Some(done) = running.join_next().await {
            ended(done)?;
        }
    }
    Ok(())
}

fn ended(done: Result<Result<(), RepoError>, tokio::task::JoinError>) -> Result<(), RepoError> {
    done.unwrap_or(Err(RepoError::Lost { doing: "write files" }))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RepoError> + Send + 'static,
) -> Result<T, RepoError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or(Err(RepoError::Lost { doing: "write files" }))
}
