//! Repositories without a mount: opening, making, importing, exporting and listing.
//!
//! Whatever is read is verified by its hash before anything looks at it, and errors name the
//! object's key. What is written is named by the hash of the bytes that are sent.

mod address;
mod assemble;
mod base;
mod big;
mod error;
mod export;
mod history;
mod import;
mod packs;
mod refs;
mod source;
mod target;
mod tree;
mod walk;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use vellum_core::format::bounds::CHUNK_DEFAULT_BYTES;
use vellum_core::format::{
    Access, HEADER_KEY, Hash, Hashed, Header, HeaderError, NodeRef, ObjectKind, ObjectName,
    Snapshot, TreeKind, TreeNode, Verified, decode_node, object_key,
};
use vellum_core::shapes::{Condition, Slice, StoreError, StoreOutcome, StoreRequest};
use vellum_core::words::Time;

pub use address::{Address, MAIN};
pub use error::RepoError;
pub use export::{Export, Exported};
pub use history::{LogEntry, log};
pub use import::{Import, Imported};
pub use refs::{Branch, Resolved};

use crate::store::{ObjectStore, Store};
use refs::unexpected;

/// Tries of a request that fails for a while.
const TRIES: u32 = 8;
/// The pause after the first failed try; it doubles with each.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// An open repository.
pub struct Repo {
    store: Arc<Store>,
    header: Header,
}

/// Whether an object had to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It was not there; these bytes were sent.
    New {
        /// Bytes of the object.
        bytes: u64,
    },
    /// It was there, with the right bytes.
    Present,
}

impl Repo {
    /// Opens the repository at `path`.
    ///
    /// # Errors
    /// There is none, it is of a newer format, or the store fails.
    pub async fn open(path: &Path) -> Result<Arc<Self>, RepoError> {
        let store = match Store::open(path.as_os_str()) {
            Ok(store) => store,
            Err(crate::store::OpenError::Io { error, .. })
                if error.kind() == std::io::ErrorKind::NotFound =>
            {
                return Err(RepoError::NotARepository { path: path.to_path_buf() });
            }
            Err(error) => return Err(error.into()),
        };
        let request = StoreRequest::Get { key: HEADER_KEY.to_owned(), range: None };
        let bytes = match store.request_patiently(request).await {
            StoreOutcome::Got { body, .. } => body,
            StoreOutcome::Failed(StoreError::NotFound) => {
                return Err(RepoError::NotARepository { path: path.to_path_buf() });
            }
            other => return Err(unexpected("read", HEADER_KEY.to_owned(), &other)),
        };
        let header = Header::decode(&bytes)
            .map_err(|error| RepoError::Header { path: path.to_path_buf(), error })?;
        Ok(Arc::new(Self { store, header }))
    }

    /// Makes a repository, and the directory if there is none, with an empty main branch.
    ///
    /// # Errors
    /// There is a repository or something else already, or the store fails.
    pub async fn init(path: &Path, chunk_bytes: Option<u32>) -> Result<Arc<Self>, RepoError> {
        let header = Header::new(chunk_bytes.unwrap_or(CHUNK_DEFAULT_BYTES), now());
        let bytes = header.encode().map_err(|error| at_header(path, error))?;
        make_empty_directory(path)?;
        let store = Store::open(path.as_os_str())?;
        let request = StoreRequest::Put {
            key: HEADER_KEY.to_owned(),
            body: vec![Slice::whole(bytes)],
            condition: Condition::Absent,
        };
        match store.request_patiently(request).await {
            StoreOutcome::Stored { .. } => {}
            StoreOutcome::Failed(StoreError::Exists) => {
                return Err(RepoError::AlreadyThere { path: path.to_path_buf() });
            }
            other => return Err(unexpected("create", HEADER_KEY.to_owned(), &other)),
        }
        let repo = Arc::new(Self { store, header });
        repo.branch(MAIN).await?;
        Ok(repo)
    }

    /// The store that holds it.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// What is fixed for its life.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.store.address().to_path_buf()
    }

    /// Refuses a repository that this program must not write to.
    ///
    /// # Errors
    /// It has a feature that this program does not know.
    pub fn check_writable(&self) -> Result<(), RepoError> {
        match self.header.access() {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly { feature } => Err(RepoError::ReadOnly { path: self.path(), feature }),
        }
    }

    /// Reads a snapshot.
    ///
    /// # Errors
    /// It is missing or damaged, or the store fails.
    pub async fn read_snapshot(&self, hash: Hash) -> Result<Snapshot, RepoError> {
        let name = ObjectName::first(hash);
        let verified = self.read_object(ObjectKind::Snapshot, &name).await?;
        Snapshot::decode(&verified)
            .map_err(|error| RepoError::Format { key: Self::snapshot_key(hash), error })
    }

    /// Reads a node of a tree, which must be what the reference to it says.
    ///
    /// # Errors
    /// It is missing or damaged, or the store fails.
    pub async fn read_node<T: TreeKind>(&self, node: &NodeRef) -> Result<TreeNode<T>, RepoError> {
        let verified = self.read_object(ObjectKind::Tree, &node.object).await?;
        let decoded = decode_node::<T>(node.level, &verified)
            .and_then(|decoded| decoded.check_place(node, None, None).map(|()| decoded));
        decoded.map_err(|error| RepoError::Format {
            key: object_key(ObjectKind::Tree, &node.object),
            error,
        })
    }

    /// Reads bytes that lie in a data object, and only those; `hash` is theirs.
    ///
    /// # Errors
    /// The object is missing or damaged, or the store fails.
    pub async fn read_data(
        &self,
        object: &ObjectName,
        range: Range<u64>,
        hash: &Hash,
    ) -> Result<Verified, RepoError> {
        self.read_verified(&object_key(ObjectKind::Chunk, object), Some(range), hash).await
    }

    /// Reads a whole object.
    ///
    /// # Errors
    /// It is missing or damaged, or the store fails.
    pub async fn read_object(
        &self,
        kind: ObjectKind,
        name: &ObjectName,
    ) -> Result<Verified, RepoError> {
        self.read_verified(&object_key(kind, name), None, &name.hash).await
    }

    async fn read_verified(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        hash: &Hash,
    ) -> Result<Verified, RepoError> {
        // Once more: the bytes may have been damaged on their way.
        for _ in 0..2 {
            let request = StoreRequest::Get { key: key.to_owned(), range: range.clone() };
            let bytes = match self.ask(request).await {
                StoreOutcome::Got { body, .. } => body,
                StoreOutcome::Failed(StoreError::NotFound) => {
                    return Err(RepoError::Missing { key: key.to_owned() });
                }
                other => return Err(unexpected("read", key.to_owned(), &other)),
            };
            if let Ok(verified) = Verified::check(hash, bytes) {
                return Ok(verified);
            }
        }
        Err(RepoError::Damaged { key: key.to_owned() })
    }

    /// Writes an object, unless it is there. That its name exists does not mean that it is right:
    /// a damaged one is replaced.
    ///
    /// # Errors
    /// The store fails.
    pub async fn put_object(&self, kind: ObjectKind, object: Hashed) -> Result<Placed, RepoError> {
        let name = ObjectName::first(object.hash());
        let key = object_key(kind, &name);
        let bytes = object.len_bytes();
        let body = object.into_body();
        let condition = Condition::Absent;
        let request = StoreRequest::Put { key: key.clone(), body: body.clone(), condition };
        match self.ask(request).await {
            StoreOutcome::Stored { .. } => return Ok(Placed::New { bytes }),
            StoreOutcome::Failed(StoreError::Exists) => {}
            other => return Err(unexpected("write", key, &other)),
        }
        let request = StoreRequest::Get { key: key.clone(), range: None };
        let etag = match self.ask(request).await {
            StoreOutcome::Got { body, etag } => {
                if Verified::check(&name.hash, body).is_ok() {
                    return Ok(Placed::Present);
                }
                etag
            }
            other => return Err(unexpected("check", key, &other)),
        };
        tracing::warn!(key, "object is damaged: writing it anew");
        let condition = Condition::Matches(etag);
        match self.ask(StoreRequest::Put { key: key.clone(), body, condition }).await {
            StoreOutcome::Stored { .. } => Ok(Placed::New { bytes }),
            other => Err(unexpected("repair", key, &other)),
        }
    }

    /// Asks the store, again if it fails for a while. For what may be done twice.
    pub(crate) async fn ask(&self, request: StoreRequest) -> StoreOutcome {
        self.store.request_patiently(request).await
    }
}

impl Store {
    /// One try.
    pub(super) async fn request_once(&self, request: StoreRequest) -> StoreOutcome {
        self.request(request).await
    }

    async fn request_patiently(&self, request: StoreRequest) -> StoreOutcome {
        for round in 0..TRIES - 1 {
            match self.request(request.clone()).await {
                StoreOutcome::Failed(error) if error.is_temporary() => pause(round).await,
                outcome => return outcome,
            }
        }
        self.request(request).await
    }
}

/// Waits longer with each round.
async fn pause(round: u32) {
    let pause = PAUSE_MIN.saturating_mul(1 << round.min(16)).min(refs::PAUSE_MAX);
    tokio::time::sleep(pause).await;
}

/// The wall clock.
pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time::from_parts(i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos())
}

fn at_header(path: &Path, error: HeaderError) -> RepoError {
    RepoError::Header { path: path.to_path_buf(), error }
}

fn make_empty_directory(path: &Path) -> Result<(), RepoError> {
    let failed = |doing, error| RepoError::Local { doing, path: path.to_path_buf(), error };
    match std::fs::create_dir_all(path) {
        Ok(()) => {}
        Err(error) => return Err(failed("create", error)),
    }
    if path.join(HEADER_KEY).exists() {
        return Err(RepoError::AlreadyThere { path: path.to_path_buf() });
    }
    let mut names = std::fs::read_dir(path).map_err(|error| failed("list", error))?;
    if names.next().is_some() {
        return Err(RepoError::NotEmpty { path: path.to_path_buf() });
    }
    Ok(())
}
