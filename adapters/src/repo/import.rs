//! Imports a directory: walk, read, pack, put, publish, each ahead of the next by a bounded amount.
//!
//! One thread walks in path order and has batches of what it meets read by others; the assembler
//! takes them in that same order, packs small files and makes directories from the bottom up; the
//! objects are put while it goes on. What waits in memory is bounded by the number of batches and
//! puts under way, and by the entries of directories that are not complete yet.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use vellum_core::format::{
    FormatError, Hash, Hashed, NodeDraft, NodePacker, ObjectKind, RefKind, Snapshot, check_words,
    ref_key,
};
use vellum_core::words::Ino;

use super::assemble::{Assembler, Work};
use super::base::Base;
use super::big::Bigs;
use super::error::RepoError;
use super::refs::Branch;
use super::source::{Item, read_batch};
use super::walk::walk;
use super::{Compare, Placed, Repo, now};
use crate::store::{Location, Meant};

/// Batches that are read ahead: at most 2 MiB and one file of 128 KiB each.
const BATCHES_AHEAD: usize = 16;
/// Works under way at once: puts of up to a chunk, and big files.
const WORKS_MAX: usize = 24;

/// An import, and how far it has come.
pub struct Import {
    repo: Arc<Repo>,
    source: PathBuf,
    branch: String,
    author: String,
    message: String,
    sent: Mutex<HashSet<(ObjectKind, Hash)>>,
    /// Where nodes are laid; it knows those of the snapshot that the import builds upon.
    nodes: Arc<Mutex<NodePacker>>,
    /// Files and other inodes read.
    pub files: AtomicU64,
    /// Bytes read.
    pub bytes: AtomicU64,
    /// Objects put.
    pub objects_put: AtomicU64,
    /// Bytes put.
    pub bytes_put: AtomicU64,
    /// Objects that were there already.
    pub objects_present: AtomicU64,
    /// Whether the branch is being moved: from here on there is no way back.
    pub publishing: AtomicBool,
    /// How what is there already is compared.
    compare: Compare,
}

/// What an import has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The snapshot that the branch names now.
    pub snapshot: Hash,
    /// Whether it was there before: the tree is the one that the branch had.
    pub unchanged: bool,
    /// Inodes of the tree.
    pub files: u64,
    /// Sizes of its files together.
    pub bytes: u64,
    /// Objects put, the ref not counted.
    pub objects_put: u64,
    /// Bytes put.
    pub bytes_put: u64,
    /// Objects that were there already.
    pub objects_present: u64,
}

type Batches = mpsc::Receiver<JoinHandle<Result<Vec<Item>, RepoError>>>;

impl Import {
    /// An import of the directory `source` as the next snapshot of `branch`.
    #[must_use]
    pub fn new(
        repo: Arc<Repo>,
        source: &Path,
        branch: &str,
        author: String,
        message: String,
    ) -> Self {
        let nodes = NodePacker::new(repo.header().chunk_bytes);
        Self {
            repo,
            source: source.to_path_buf(),
            branch: branch.to_owned(),
            author,
            message,
            sent: Mutex::new(HashSet::new()),
            nodes: Arc::new(Mutex::new(nodes)),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            objects_put: AtomicU64::new(0),
            bytes_put: AtomicU64::new(0),
            objects_present: AtomicU64::new(0),
            publishing: AtomicBool::new(false),
            compare: Compare::BySum,
        }
    }

    /// The same, which reads back what is there already.
    #[must_use]
    pub fn reading_back(self) -> Self {
        Self { compare: Compare::ByBytes, ..self }
    }

    /// Does it all.
    ///
    /// # Errors
    /// Something can't be read, the store fails, or the branch was moved meanwhile.
    pub async fn run(self: &Arc<Self>) -> Result<Imported, RepoError> {
        self.repo.check_writable()?;
        self.check_apart()?;
        check_words(&self.author, &self.message).map_err(|error| self.unfit(error))?;
        self.repo.check_conditions().await?;
        let branch = self.open_branch().await?;
        let base = match branch.body.snapshot {
            Some(hash) => Some((hash, self.repo.read_snapshot(hash).await?)),
            None => None,
        };
        let snapshot = self.assemble(base.as_ref().map(|(_, snapshot)| snapshot)).await?;
        if let Some((hash, base)) = &base
            && (&base.root, &base.links) == (&snapshot.root, &snapshot.links)
        {
            return Ok(self.imported(*hash, &snapshot, true));
        }
        self.publish(&branch, snapshot).await
    }

    async fn publish(&self, branch: &Branch, snapshot: Snapshot) -> Result<Imported, RepoError> {
        let snapshot = Snapshot { parents: branch.body.snapshot.into_iter().collect(), ..snapshot };
        let sealed = snapshot.seal().map_err(|error| self.unfit(error))?;
        let hash = sealed.hash();
        self.put(ObjectKind::Snapshot, sealed).await?;
        self.publishing.store(true, Ordering::Release);
        self.repo.publish(branch, hash).await?;
        Ok(self.imported(hash, &snapshot, false))
    }

    fn imported(&self, hash: Hash, snapshot: &Snapshot, unchanged: bool) -> Imported {
        Imported {
            snapshot: hash,
            unchanged,
            files: snapshot.files,
            bytes: snapshot.bytes,
            objects_put: self.objects_put.load(Ordering::Relaxed),
            bytes_put: self.bytes_put.load(Ordering::Relaxed),
            objects_present: self.objects_present.load(Ordering::Relaxed),
        }
    }

    /// The branch, which is born if there is none, unless its name is that of a tag or snapshot:
    /// whoever names one of those does not mean a new branch.
    async fn open_branch(&self) -> Result<Branch, RepoError> {
        let name = &self.branch;
        let key = ref_key(RefKind::Branch, name).map_err(RepoError::RefName)?;
        if self.repo.read_ref(&key).await?.is_none() {
            match self.repo.resolve(name).await {
                Ok(_) => return Err(RepoError::NotABranch { name: name.clone() }),
                Err(RepoError::NoSuchRef { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.repo.branch(name).await
    }

    /// What the format can't hold.
    fn unfit(&self, error: FormatError) -> RepoError {
        RepoError::NotRepresentable { path: self.source.clone(), error }
    }

    /// Refuses to import a directory with the repository in it: it would grow as it is read.
    fn check_apart(&self) -> Result<(), RepoError> {
        let resolve = |path: &Path| {
            std::fs::canonicalize(path).map_err(|error| RepoError::Local {
                doing: "open",
                path: path.to_path_buf(),
                error,
            })
        };
        let path = self.repo.path();
        if matches!(Location::from(&path).meant(), Ok(Meant::Bucket(_))) {
            return Ok(());
        }
        let (source, repo) = (resolve(&self.source)?, resolve(&path)?);
        if repo.starts_with(&source) {
            return Err(RepoError::Inside { repo, source });
        }
        Ok(())
    }

    /// Makes the tree of the snapshot; its parents are still to be filled in.
    async fn assemble(self: &Arc<Self>, base: Option<&Snapshot>) -> Result<Snapshot, RepoError> {
        let (walking, mut batches) = self.start_walk();
        let next_ino = base.map_or(Ino(2), |base| base.next_ino);
        let chunk_bytes = self.repo.header().chunk_bytes;
        let mut assembler =
            Assembler::new(&self.source, chunk_bytes, Arc::clone(&self.nodes), next_ino);
        let mut base = Base::new(Arc::clone(&self.repo), base, Arc::clone(&self.nodes));
        let mut works = Works {
            import: Arc::clone(self),
            bigs: Bigs::new(chunk_bytes),
            running: JoinSet::new(),
        };
        while let Some(batch) = batches.recv().await {
            for item in joined(batch.await)?? {
                let known = base.look_up(&item).await?;
                self.count_item(&item);
                assembler.add(item, known)?;
            }
            works.go_on(&mut assembler, WORKS_MAX).await?;
        }
        joined(walking.await)??;
        assembler.end_of_files();
        works.go_on(&mut assembler, 1).await?;
        assembler.end_of_tree()?;
        works.go_on(&mut assembler, 1).await?;
        assembler.snapshot(now(), self.author.clone(), self.message.clone())
    }

    fn start_walk(self: &Arc<Self>) -> (JoinHandle<Result<(), RepoError>>, Batches) {
        let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
        let runtime = tokio::runtime::Handle::current();
        let source = self.source.clone();
        let walking = tokio::task::spawn_blocking(move || {
            walk(&source, &mut |batch| {
                let reading = runtime.spawn_blocking(move || read_batch(batch));
                sender.blocking_send(reading).is_ok()
            })
        });
        (walking, receiver)
    }

    fn count_item(&self, item: &Item) {
        let size = match item {
            Item::Leave => return,
            Item::Enter { .. } => 0,
            Item::Node { content, .. } => content.size(),
        };
        self.files.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(size, Ordering::Relaxed);
    }

    /// Lays nodes behind those before them; answers the objects that are full.
    pub(super) fn lay(&self, drafts: &[NodeDraft]) -> Result<Vec<Hashed>, FormatError> {
        self.nodes.lock().push_all(drafts)
    }

    /// Puts an object, unless this import has done so or does so right now: nothing is published
    /// before all puts are answered.
    pub(super) async fn put(&self, kind: ObjectKind, object: Hashed) -> Result<(), RepoError> {
        if !self.sent.lock().insert((kind, object.hash())) {
            return Ok(());
        }
        match self.repo.put_object(kind, object, self.compare).await? {
            Placed::New { bytes } => {
                self.objects_put.fetch_add(1, Ordering::Relaxed);
                self.bytes_put.fetch_add(bytes, Ordering::Relaxed);
            }
            Placed::Present => {
                self.objects_present.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

/// The works that the assembler has given out.
struct Works {
    import: Arc<Import>,
    bigs: Bigs,
    running: JoinSet<Result<Done, RepoError>>,
}

/// How a work ended.
enum Done {
    Put,
    Big(super::assemble::DraftId, vellum_core::format::Content),
}

impl Works {
    /// Starts what the assembler wants done, and waits until fewer than `below` works run.
    async fn go_on(&mut self, assembler: &mut Assembler, below: usize) -> Result<(), RepoError> {
        loop {
            while let Some(done) = self.running.try_join_next() {
                Self::take(done, assembler)?;
            }
            if self.running.len() < below.max(WORKS_MAX)
                && let Some(work) = assembler.next_work()
            {
                self.start(work);
                continue;
            }
            if self.running.len() < below && !assembler.has_work() {
                return Ok(());
            }
            match self.running.join_next().await {
                Some(done) => Self::take(done, assembler)?,
                None => return Ok(()),
            }
        }
    }

    fn start(&mut self, work: Work) {
        let import = Arc::clone(&self.import);
        match work {
            Work::Put(kind, object) => {
                self.running.spawn(async move {
                    import.put(kind, object).await?;
                    Ok(Done::Put)
                });
            }
            Work::Big { draft, file, known } => {
                let sending = self.bigs.send(file, known, import);
                self.running.spawn(async move { Ok(Done::Big(draft, sending.await?)) });
            }
        }
    }

    fn take(
        done: Result<Result<Done, RepoError>, tokio::task::JoinError>,
        assembler: &mut Assembler,
    ) -> Result<(), RepoError> {
        match joined(done)?? {
            Done::Put => {}
            Done::Big(draft, content) => assembler.big_is_sent(draft, content),
        }
        Ok(())
    }
}

/// A task ends without an answer only if it panicked or the process stops.
pub(super) fn joined<T>(answer: Result<T, tokio::task::JoinError>) -> Result<T, RepoError> {
    answer.map_err(|_| RepoError::Lost { doing: "read and send files" })
}
