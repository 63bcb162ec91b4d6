//! Repositories without a mount: opening, making, importing, exporting, listing,
//! reading, prefetching, naming and verifying.
//!
//! Whatever is read is verified by its hash before anything looks at it, and errors name the
//! object's key. What is written is named by the hash of the bytes that are sent.

mod address;
mod asks;
mod assemble;
mod base;
mod big;
mod cat;
mod error;
mod export;
mod history;
mod import;
mod list;
mod names;
mod ordered;
mod packs;
mod paths;
mod prefetch;
mod probe;
mod refs;
mod source;
mod target;
mod tree;
mod verify;
mod walk;

use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use vellum_core::format::bounds::CHUNK_DEFAULT_BYTES;
use vellum_core::format::{
    Access, HEADER_KEY, Hash, Hashed, Header, HeaderError, NodeError, NodeRef, ObjectKind,
    ObjectName, Snapshot, TreeKind, TreeNode, Verified, decode_node, object_key,
};
use vellum_core::shapes::{Condition, Key, Slice, StoreError};
use vellum_core::words::Time;

pub use address::{Address, MAIN};
pub use cat::{Block, Cat};
pub use error::RepoError;
pub use export::{Export, Exported};
pub use history::{LogEntry, log};
pub use import::{Import, Imported};
pub use list::{List, ListWhat, Listed};
pub use names::{Named, Naming, NamingError, RefRow, list_refs};
pub use prefetch::Prefetch;
pub use probe::{Breach, probe};
pub use refs::{Branch, Resolved};
pub(crate) use verify::read_back;
pub use verify::{Bad, NeededBy, Percent, Report, Sample, Verify, What};

use crate::store::{DirStore, Location, Meant, OpenError, Store};

/// An open repository.
pub struct Repo {
    store: Arc<Store>,
    header: Header,
}

/// What is chosen when a repository is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewRepo {
    /// Bytes of the chunks of big files; 4 MiB when `None`.
    pub chunk_bytes: Option<u32>,
    /// Only one at a time will write to it: it may lie in a store that ignores conditions.
    pub single_writer: bool,
}

/// How an object that is there already is compared with the one that was to be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// By its length and the checksum that the store keeps, if it does.
    BySum,
    /// By its bytes.
    ByBytes,
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
    /// Opens the repository at a location.
    ///
    /// # Errors
    /// There is none, it is of a newer format, or the store fails.
    pub async fn open(location: impl Into<Location>) -> Result<Arc<Self>, RepoError> {
        let location = location.into();
        let store = match Store::open(&location).await {
            Ok(store) => store,
            Err(OpenError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                return Err(RepoError::NotARepository { path: location.address });
            }
            Err(error) => return Err(error.into()),
        };
        Self::open_in(store).await
    }

    /// Opens the repository in a store.
    ///
    /// # Errors
    /// There is none, it is of a newer format, or the store fails.
    pub async fn open_in(store: Arc<Store>) -> Result<Arc<Self>, RepoError> {
        let path = || store.address().to_path_buf();
        let bytes = match asks::get(&store, HEADER_KEY, None).await {
            Ok((bytes, _)) => bytes,
            Err(StoreError::NotFound) => return Err(RepoError::NotARepository { path: path() }),
            Err(error) => return Err(RepoError::store("read", HEADER_KEY, error)),
        };
        let header =
            Header::decode(&bytes).map_err(|error| RepoError::Header { path: path(), error })?;
        Ok(Arc::new(Self { store, header }))
    }

    /// Makes a repository, and the directory if there is none, with an empty main branch.
    ///
    /// # Errors
    /// There is a repository or something else already, or the store fails.
    pub async fn init(
        location: impl Into<Location>,
        kind: NewRepo,
    ) -> Result<Arc<Self>, RepoError> {
        let location = location.into();
        let path = location.address.as_path();
        let header = Header::new(kind.chunk_bytes.unwrap_or(CHUNK_DEFAULT_BYTES), now());
        let header = if kind.single_writer { header.with_single_writer() } else { header };
        let bytes = header.encode().map_err(|error| at_header(path, error))?;
        let made = match location.meant()? {
            Meant::Directory => make_empty_directory(path)?,
            Meant::Bucket(_) => false,
        };
        let store = Store::open(&location).await.inspect_err(|_| {
            if made {
                // It was made for nothing. If it stays, it is empty.
                drop(std::fs::remove_dir(path));
            }
        })?;
        if let Meant::Bucket(_) = location.meant()? {
            check_empty_prefix(&store, path).await?;
            if !kind.single_writer {
                probe::check(&store).await?;
            }
        }
        let body = vec![Slice::whole(bytes)];
        let repo = match asks::put(&store, HEADER_KEY, body, Condition::Absent).await {
            Ok(()) => Arc::new(Self { store, header }),
            Err(StoreError::Exists) => Self::begun(store, path, &header).await?,
            Err(error) => return Err(RepoError::store("create", HEADER_KEY, error)),
        };
        repo.branch(MAIN).await?;
        Ok(repo)
    }

    /// A repository whose making was cut short: it has the header that is wanted, and no ref.
    async fn begun(
        store: Arc<Store>,
        path: &Path,
        wanted: &Header,
    ) -> Result<Arc<Self>, RepoError> {
        let repo = Self::open_in(store).await?;
        let refs = asks::list(&repo.store, "refs/", 1).await;
        let refs = refs.map_err(|error| RepoError::store("list", "refs/", error))?;
        let as_wanted = Header { created: wanted.created, ..repo.header.clone() } == *wanted;
        if refs.is_empty() && as_wanted {
            return Ok(repo);
        }
        Err(RepoError::AlreadyThere { path: path.to_path_buf() })
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
        let key = node_key(node);
        let range = node.place.map(|place| place.range());
        // Once more, from the store itself: the bytes may have been damaged on their way.
        for fresh in [false, true] {
            let bytes = self.read_bytes(&key, range.clone(), fresh).await?;
            match decode_node::<T>(node, &bytes) {
                Ok(decoded) => {
                    let placed = decoded.check_place(node, None, None);
                    return match placed {
                        Ok(()) => Ok(decoded),
                        Err(error) => Err(RepoError::Format { key, error }),
                    };
                }
                Err(NodeError::Damaged(_)) => {}
                Err(NodeError::Format(error)) => return Err(RepoError::Format { key, error }),
            }
        }
        Err(RepoError::Damaged { key })
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
        // Once more, from the store itself: the bytes may have been damaged on their way.
        for fresh in [false, true] {
            let bytes = self.read_bytes(key, range.clone(), fresh).await?;
            if let Ok(verified) = Verified::check(hash, bytes) {
                return Ok(verified);
            }
        }
        Err(RepoError::Damaged { key: key.to_owned() })
    }

    async fn read_bytes(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        fresh: bool,
    ) -> Result<Vec<u8>, RepoError> {
        match asks::get_kept(&self.store, key, range, fresh).await {
            Ok(bytes) => Ok(bytes),
            Err(StoreError::NotFound) => Err(RepoError::Missing { key: key.to_owned() }),
            Err(error) => Err(RepoError::store("read", key, error)),
        }
    }

    /// Writes an object, unless it is there. That its name exists does not mean that it is right:
    /// a damaged one is replaced.
    ///
    /// # Errors
    /// The store fails.
    pub async fn put_object(
        &self,
        kind: ObjectKind,
        object: Hashed,
        compare: Compare,
    ) -> Result<Placed, RepoError> {
        let name = ObjectName::first(object.hash());
        let key = object_key(kind, &name);
        let bytes = object.len_bytes();
        match asks::put(&self.store, &key, object.body().to_vec(), Condition::Absent).await {
            Ok(()) => return Ok(Placed::New { bytes }),
            Err(StoreError::Exists) => {}
            Err(error) => return Err(RepoError::store("write", &key, error)),
        }
        let failed = |error| RepoError::store("check", &key, error);
        let (len, crc32, etag) = asks::head(&self.store, &key).await.map_err(failed)?;
        let by_sum = object.is(len, crc32).filter(|is_same| !is_same || compare == Compare::BySum);
        let is_same = match by_sum {
            Some(is_same) => is_same,
            None => match asks::get(&self.store, &key, None).await {
                Ok((found, _)) => Hash::of(&found) == name.hash,
                // The store can't answer it as it was put.
                Err(StoreError::Damaged) => false,
                Err(error) => return Err(failed(error)),
            },
        };
        if is_same {
            return Ok(Placed::Present);
        }
        tracing::warn!(key, "object is damaged: writing it anew");
        let body = object.into_body();
        match asks::put(&self.store, &key, body, Condition::Matches(etag)).await {
            Ok(()) => Ok(Placed::New { bytes }),
            Err(error) => Err(RepoError::store("repair", &key, error)),
        }
    }
}

/// The object that a node lies in. Every node that a stored one names lies in one.
pub(super) fn node_key(node: &NodeRef) -> Key {
    let object = node.place.map_or_else(|| ObjectName::first(node.hash), |place| place.object);
    object_key(ObjectKind::Tree, &object)
}

/// The wall clock.
pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time::from_parts(i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos())
}

fn at_header(path: &Path, error: HeaderError) -> RepoError {
    RepoError::Header { path: path.to_path_buf(), error }
}

/// Refuses a prefix under which there is something else than a repository.
async fn check_empty_prefix(store: &Store, path: &Path) -> Result<(), RepoError> {
    let keys = asks::list(store, "", 1).await;
    let shown = path.display().to_string();
    let keys = keys.map_err(|error| RepoError::store("list", &shown, error))?;
    // With a header it is a repository, if perhaps not a finished one.
    if keys.is_empty() || asks::get(store, HEADER_KEY, None).await.is_ok() {
        return Ok(());
    }
    Err(RepoError::NotEmpty { path: path.to_path_buf() })
}

/// Whether the directory was made just now. One that was begun to be a repository is as good as an
/// empty one.
fn make_empty_directory(path: &Path) -> Result<bool, RepoError> {
    let failed = |doing, error| RepoError::Local { doing, path: path.to_path_buf(), error };
    let made = !path.exists();
    std::fs::create_dir_all(path).map_err(|error| failed("create", error))?;
    if path.join(HEADER_KEY).exists() {
        return Ok(made);
    }
    let strange = |name: &OsStr| !DirStore::OWN_NAMES.iter().any(|own| name == *own);
    for entry in std::fs::read_dir(path).map_err(|error| failed("list", error))? {
        if strange(&entry.map_err(|error| failed("list", error))?.file_name()) {
            return Err(RepoError::NotEmpty { path: path.to_path_buf() });
        }
    }
    Ok(made)
}

#[cfg(test)]
mod tests;
