//! Refs: resolving names, and moving a branch by compare-and-swap.

use vellum_core::format::{
    GC_STATE_KEY, Hash, ObjectKind, ObjectName, RefBody, RefKind, object_key, ref_key,
};
use vellum_core::shapes::{Condition, Etag, Key, StoreError};

use super::asks::pause;
use super::error::RepoError;
use super::{Repo, asks};

/// How often a ref whose outcome is unknown is read back and sent again.
const SETTLE_TRIES: u32 = 8;
/// Fewest digits of a snapshot's hash that are looked up.
const PREFIX_MIN_DIGITS: usize = 4;

/// Names that are told to who asked for one that is not there.
const LISTED: usize = 20;

/// A branch as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Branch {
    /// Its name, such as `main`.
    pub name: String,
    /// Its key.
    pub key: Key,
    /// What it held.
    pub body: RefBody,
    /// Identity of that body.
    pub etag: Etag,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The branch, if it is one: only then can something be committed.
    pub branch: Option<Branch>,
    /// The snapshot; none for a branch that was just born.
    pub snapshot: Option<Hash>,
}

impl Repo {
    /// What `name` stands for: a branch, else a tag, else a snapshot by at least four digits of
    /// its hash. `branches/NAME` and `tags/NAME` leave no doubt.
    ///
    /// # Errors
    /// Nothing or more than one snapshot goes by that name, or the store fails.
    pub async fn resolve(&self, name: &str) -> Result<Resolved, RepoError> {
        let explicit = [("branches/", RefKind::Branch), ("tags/", RefKind::Tag)];
        for (prefix, kind) in explicit {
            if let Some(rest) = name.strip_prefix(prefix)
                && let Some(found) = self.resolve_ref(kind, rest).await?
            {
                return Ok(found);
            }
        }
        for kind in [RefKind::Branch, RefKind::Tag] {
            if let Some(found) = self.resolve_ref(kind, name).await? {
                return Ok(found);
            }
        }
        let snapshot = self.resolve_hash(name).await?;
        Ok(Resolved { branch: None, snapshot: Some(snapshot) })
    }

    /// The snapshot that `name` stands for, as [`Repo::resolve`] has it.
    ///
    /// # Errors
    /// As there; or it is a branch without a snapshot.
    pub async fn snapshot_of(&self, name: &str) -> Result<Hash, RepoError> {
        let found = self.resolve(name).await?.snapshot;
        found.ok_or_else(|| RepoError::EmptyBranch { name: name.to_owned() })
    }

    async fn resolve_ref(&self, kind: RefKind, name: &str) -> Result<Option<Resolved>, RepoError> {
        let key = ref_key(kind, name).map_err(RepoError::RefName)?;
        let Some((body, etag)) = self.read_ref(&key).await? else { return Ok(None) };
        let snapshot = body.snapshot;
        let branch = match kind {
            RefKind::Branch => Some(Branch { name: name.to_owned(), key, body, etag }),
            RefKind::Tag | RefKind::Pin => None,
        };
        Ok(Some(Resolved { branch, snapshot }))
    }

    async fn resolve_hash(&self, name: &str) -> Result<Hash, RepoError> {
        let is_hex = name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex || !(PREFIX_MIN_DIGITS..=64).contains(&name.len()) {
            return Err(self.unknown(name).await);
        }
        let prefix = format!("snapshots/{}", name.to_ascii_lowercase());
        let keys = asks::list(self.store(), &prefix, 10)
            .await
            .map_err(|error| RepoError::store("list", &prefix, error))?;
        let names: Vec<&str> =
            keys.iter().filter_map(|key| key.strip_prefix("snapshots/")).collect();
        match names.as_slice() {
            [] => Err(self.unknown(name).await),
            [one] => match Hash::from_hex(one) {
                Some(hash) => Ok(hash),
                None => Err(self.unknown(name).await),
            },
            several => Err(RepoError::Ambiguous {
                name: name.to_owned(),
                snapshots: several.iter().map(|&hash| hash.to_owned()).collect(),
            }),
        }
    }

    /// The error for a name that nothing has, with names that something has.
    async fn unknown(&self, name: &str) -> RepoError {
        // They are only a help: without them the error is as true.
        let keys = asks::list(self.store(), "refs/", LISTED).await.unwrap_or_default();
        let names = keys.iter().filter_map(|key| key.strip_prefix("refs/")).map(str::to_owned);
        RepoError::NoSuchRef { path: self.path(), name: name.to_owned(), refs: names.collect() }
    }

    /// A ref's body and its identity; none when there is no such ref.
    ///
    /// # Errors
    /// The store fails, or the body is damaged.
    pub async fn read_ref(&self, key: &str) -> Result<Option<(RefBody, Etag)>, RepoError> {
        match asks::get(self.store(), key, None).await {
            Ok((body, etag)) => {
                let body = RefBody::decode(&body)
                    .map_err(|error| RepoError::Format { key: key.to_owned(), error })?;
                Ok(Some((body, etag)))
            }
            Err(StoreError::NotFound) => Ok(None),
            Err(error) => Err(RepoError::store("read", key, error)),
        }
    }

    /// The branch of this name, which is born empty if there is none.
    ///
    /// # Errors
    /// The name is not allowed, or the store fails.
    pub async fn branch(&self, name: &str) -> Result<Branch, RepoError> {
        self.born(RefKind::Branch, name).await
    }

    /// As [`Repo::branch`], for any kind of ref.
    pub(super) async fn born(&self, kind: RefKind, name: &str) -> Result<Branch, RepoError> {
        let key = ref_key(kind, name).map_err(RepoError::RefName)?;
        for round in 0..SETTLE_TRIES {
            if let Some((body, etag)) = self.read_ref(&key).await? {
                return Ok(Branch { name: name.to_owned(), key, body, etag });
            }
            if asks::get(self.store(), GC_STATE_KEY, None).await.is_ok() {
                return Err(RepoError::Collected { key });
            }
            let body = RefBody { generation: 0, snapshot: None, gc_epoch: 0, attempt: attempt()? };
            match asks::put_ref(self.store(), &key, body.encode(), Condition::Absent).await {
                Ok(()) | Err(StoreError::Exists) => {}
                Err(error) if error.is_temporary() => pause(round).await,
                Err(error) => return Err(RepoError::store("create", &key, error)),
            }
        }
        Err(RepoError::Store { doing: "create", key, error: StoreError::Unreachable })
    }

    /// Moves `branch` to `snapshot`, if nobody moved it since it was read. An attempt whose
    /// outcome is unknown is settled by reading the ref back.
    ///
    /// # Errors
    /// [`RepoError::Conflict`] when somebody else moved it; [`RepoError::OutcomeUnknown`] when the
    /// store does not tell.
    pub async fn publish(&self, branch: &Branch, snapshot: Hash) -> Result<(), RepoError> {
        if branch.body.gc_epoch != 0 {
            return Err(RepoError::Collected { key: branch.key.clone() });
        }
        let body = RefBody {
            generation: branch.body.generation + 1,
            snapshot: Some(snapshot),
            gc_epoch: branch.body.gc_epoch,
            attempt: attempt()?,
        };
        for round in 0..SETTLE_TRIES {
            let condition = Condition::Matches(branch.etag.clone());
            match asks::put_ref(self.store(), &branch.key, body.encode(), condition).await {
                Ok(()) => return Ok(()),
                // A mismatch too may be the work of an earlier try of this very attempt.
                Err(StoreError::Mismatch | StoreError::Ambiguous) => {}
                Err(error) if error.is_temporary() => {
                    pause(round).await;
                    continue;
                }
                Err(error) => return Err(RepoError::store("move", &branch.key, error)),
            }
            match self.read_ref(&branch.key).await {
                Ok(Some((found, _))) if found.attempt == body.attempt => return Ok(()),
                Ok(Some((found, etag))) if etag != branch.etag => {
                    let branch = branch.name.clone();
                    return Err(RepoError::Conflict { branch, theirs: found.snapshot });
                }
                Ok(None) => {
                    let branch = branch.name.clone();
                    return Err(RepoError::Conflict { branch, theirs: None });
                }
                Ok(Some(_)) | Err(_) => pause(round).await,
            }
        }
        Err(RepoError::OutcomeUnknown { branch: branch.name.clone() })
    }

    /// Key of a snapshot.
    #[must_use]
    pub fn snapshot_key(hash: Hash) -> Key {
        object_key(ObjectKind::Snapshot, &ObjectName::first(hash))
    }
}

/// A random number that no other attempt has.
pub(super) fn attempt() -> Result<u128, RepoError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| RepoError::Lost { doing: "draw a random number" })?;
    Ok(u128::from_le_bytes(bytes))
}
