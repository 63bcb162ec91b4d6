//! Branches and tags by name: listing them, making one, removing one.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::stream::{self, StreamExt};
use vellum_core::format::{Hash, RefBody, RefKind, Snapshot, parse_ref_key, ref_key, ref_prefix};

use super::error::RepoError;
use super::{MAIN, Repo, asks};
use crate::cli::Exit;

/// Refs that are read at once.
const AT_ONCE: usize = 16;

/// A ref of a listing.
#[derive(Debug)]
pub struct RefRow {
    /// Its name.
    pub name: String,
    /// What it holds, or why that can't be told.
    pub held: Result<Named, RepoError>,
}

/// What a ref holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// Its body.
    pub body: RefBody,
    /// The snapshot that it names; none when it is just born.
    pub snapshot: Option<Snapshot>,
}

/// All refs of a kind, in the order of their keys. One that can't be read is told in its row.
///
/// # Errors
/// The store fails to list them.
pub async fn list_refs(repo: &Arc<Repo>, kind: RefKind) -> Result<Vec<RefRow>, RepoError> {
    let prefix = ref_prefix(kind);
    let keys = asks::list_all(repo.store(), &prefix).await;
    let keys = keys.map_err(|error| RepoError::store("list", &prefix, error))?;
    let rows = stream::iter(keys).map(|key| async move {
        let name = parse_ref_key(kind, &key)?;
        let held = match repo.read_ref(&key).await {
            Ok(Some((body, _))) => held(repo, body).await,
            // It was removed meanwhile.
            Ok(None) => return None,
            Err(error) => Err(error),
        };
        Some(RefRow { name, held })
    });
    Ok(rows.buffered(AT_ONCE).filter_map(|row| async { row }).collect().await)
}

async fn held(repo: &Repo, body: RefBody) -> Result<Named, RepoError> {
    let snapshot = match body.snapshot {
        Some(hash) => Some(repo.read_snapshot(hash).await?),
        None => None,
    };
    Ok(Named { body, snapshot })
}

/// Makes and removes the refs of one kind.
pub struct Naming {
    repo: Arc<Repo>,
    kind: RefKind,
    /// From here on a signal must not cut it short: the outcome would not be known.
    pub publishing: AtomicBool,
}

impl Naming {
    /// For branches or tags of this repository.
    #[must_use]
    pub fn new(repo: Arc<Repo>, kind: RefKind) -> Self {
        Self { repo, kind, publishing: AtomicBool::new(false) }
    }

    /// Makes a ref that names what `start` names: it is born empty, and then moved once. One that
    /// exists and names nothing yet is as good as a new one.
    ///
    /// # Errors
    /// Something has the name already, `start` names nothing, or the store fails.
    pub async fn make(&self, name: &str, start: &str) -> Result<Hash, RepoError> {
        let (repo, name) = (&self.repo, self.plain(name)?);
        let key = ref_key(self.kind, name).map_err(RepoError::RefName)?;
        repo.check_writable()?;
        match repo.read_ref(&key).await? {
            Some((body, _)) if body.snapshot.is_some() => return Err(taken(name)),
            Some(_) => {}
            // Nor may it mean something else: who asks for that must not be answered this.
            None => match repo.resolve(name).await {
                Ok(_) | Err(RepoError::Ambiguous { .. }) => return Err(taken(name)),
                Err(RepoError::NoSuchRef { .. }) => {}
                Err(error) => return Err(error),
            },
        }
        let snapshot = repo.snapshot_of(start).await?;
        repo.read_snapshot(snapshot).await?;
        repo.check_conditions().await?;
        let born = repo.born(self.kind, name).await?;
        if born.body.snapshot.is_some() {
            return Err(taken(name));
        }
        self.publishing.store(true, Ordering::Release);
        repo.publish(&born, snapshot).await?;
        Ok(snapshot)
    }

    /// Removes a ref, and answers what it held; only if it names `expected`, where that is given.
    /// A store removes unconditionally: what moves the ref after it was read here is removed with
    /// it.
    ///
    /// # Errors
    /// There is none, it is the main branch, it names something else, or the store fails.
    pub async fn remove(&self, name: &str, expected: Option<&str>) -> Result<RefBody, RepoError> {
        let (repo, name) = (&self.repo, self.plain(name)?);
        if self.kind == RefKind::Branch && name == MAIN {
            return Err(NamingError::MainStays.into());
        }
        let key = ref_key(self.kind, name).map_err(RepoError::RefName)?;
        repo.check_writable()?;
        let expected = match expected {
            Some(expected) => repo.resolve(expected).await?.snapshot,
            None => None,
        };
        let (kind, name) = (self.word(), name.to_owned());
        let Some((body, _)) = repo.read_ref(&key).await? else {
            return Err(NamingError::Absent { kind, name }.into());
        };
        if body.gc_epoch != 0 {
            return Err(RepoError::Collected { key });
        }
        if expected.is_some() && expected != body.snapshot {
            return Err(NamingError::Moved { kind, name, at: body.snapshot }.into());
        }
        self.publishing.store(true, Ordering::Release);
        let removed = asks::delete(repo.store(), &key).await;
        removed.map_err(|error| RepoError::store("remove", &key, error))?;
        Ok(body)
    }

    /// The name without the word for its kind; that of another kind is refused.
    fn plain<'a>(&self, name: &'a str) -> Result<&'a str, RepoError> {
        let (own, other) = match self.kind {
            RefKind::Branch => ("branches/", "tags/"),
            RefKind::Tag => ("tags/", "branches/"),
            // Pins are named by nobody.
            RefKind::Pin => ("pins/", "pins/"),
        };
        if name.starts_with(other) {
            let (kind, name) = (self.word(), name.to_owned());
            return Err(NamingError::Absent { kind, name }.into());
        }
        Ok(name.strip_prefix(own).unwrap_or(name))
    }

    fn word(&self) -> &'static str {
        match self.kind {
            RefKind::Branch => "branch",
            RefKind::Tag => "tag",
            RefKind::Pin => "pin",
        }
    }
}

fn taken(name: &str) -> RepoError {
    NamingError::Taken { name: name.to_owned() }.into()
}

/// Why a ref is not made or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamingError {
    /// Something goes by the name already.
    Taken { name: String },
    /// There is no ref of this kind and name.
    Absent { kind: &'static str, name: String },
    /// It is at something else than what it is to be removed for.
    Moved { kind: &'static str, name: String, at: Option<Hash> },
    /// The main branch is not removed.
    MainStays,
}

impl NamingError {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Taken { .. } | Self::Absent { .. } | Self::MainStays => Exit::Usage,
            Self::Moved { .. } => Exit::Conflict,
        }
    }

    pub(super) fn remedy(&self) -> String {
        match self {
            Self::Taken { .. } => {
                "choose another name, or remove what has it with `--delete` first".into()
            }
            Self::Absent { kind, .. } => format!("`vellum {kind} REPO` lists those there are"),
            Self::Moved { .. } => "nothing was removed; look at it, then run it again".into(),
            Self::MainStays => "it is what every command means that is given no REF".into(),
        }
    }
}

impl fmt::Display for NamingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken { name } => {
                write!(f, "a branch, tag or snapshot goes by the name `{name}` already")
            }
            Self::Absent { kind, name } => write!(f, "there is no {kind} `{name}`"),
            Self::Moved { kind, name, at: Some(at) } => {
                write!(f, "{kind} `{name}` names another snapshot: {at}")
            }
            Self::Moved { kind, name, at: None } => write!(f, "{kind} `{name}` names no snapshot"),
            Self::MainStays => write!(f, "the branch `main` can't be removed"),
        }
    }
}

impl From<NamingError> for RepoError {
    fn from(error: NamingError) -> Self {
        Self::Naming(error)
    }
}
