//! Whether a store keeps the conditions of puts: all that stands between two writers.
//!
//! Some servers that speak S3 take `If-None-Match` and `If-Match` and ignore them; others look
//! first and write later, so that of several at once more than one succeeds. The first is asked
//! one request after the other, the second by creators that race for one key.

use std::fmt;
use std::path::PathBuf;

use futures::future::join_all;
use vellum_core::format::Hash;
use vellum_core::shapes::{Condition, Etag, Slice, StoreError, StoreOutcome, StoreRequest};

use super::asks::pause;
use super::error::RepoError;
use super::refs::attempt;
use super::{Repo, asks};
use crate::store::{ObjectStore, Store, cache_home};

/// Creators that race for one key.
const CREATORS: u8 = 16;
/// Races. A server that looks first and writes later lets several win in two of three.
const RACES: u32 = 3;
/// Tries of a race that nobody won for sure, because the store failed.
const TRIES: u32 = 5;

/// What a store does that ignores conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breach {
    /// It created what was there.
    Created,
    /// It replaced a body that was another than the condition named.
    Replaced,
    /// It refused a replacement whose condition held.
    Refused,
    /// Several of those who created one key at once were told that they did.
    Raced,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "it creates an object that exists already (ignores If-None-Match)",
            Self::Replaced => "it replaces an object that was changed (ignores If-Match)",
            Self::Refused => "it refuses to replace an object that was not changed (If-Match)",
            Self::Raced => "of several who create one object at once, more than one succeeds",
        })
    }
}

impl Repo {
    /// Refuses a store that does not keep conditions, unless this repository has a single writer.
    /// A host asks a store once, before it first writes to it.
    ///
    /// # Errors
    /// [`RepoError::Unconditional`], or the store fails.
    pub async fn check_conditions(&self) -> Result<(), RepoError> {
        if self.header().is_single_writer() {
            return Ok(());
        }
        check(self.store()).await
    }
}

/// As [`Repo::check_conditions`], where there is no repository yet.
pub(super) async fn check(store: &Store) -> Result<(), RepoError> {
    let Some(name) = store.to_be_probed() else { return Ok(()) };
    let mark = mark_of(&name);
    if mark.as_ref().is_some_and(|mark| mark.exists()) {
        return Ok(());
    }
    if let Some(breach) = probe(store).await? {
        return Err(RepoError::Unconditional { path: store.address().to_path_buf(), breach });
    }
    if let Some(mark) = mark
        && let Err(error) = std::fs::create_dir_all(mark.parent().unwrap_or(&mark))
            .and_then(|()| std::fs::write(&mark, format!("{name}\n")))
    {
        // It is asked again next time.
        tracing::info!("can't write {}: {error}", mark.display());
    }
    Ok(())
}

/// The file that says that this host has seen the store of this name keep conditions.
fn mark_of(name: &str) -> Option<PathBuf> {
    let file = Hash::of(name.as_bytes()).to_string();
    Some(cache_home()?.join("vellum/conditions").join(&file[..32]))
}

/// Asks a store whether it keeps conditions, with objects of its own that it removes again.
///
/// # Errors
/// The store fails.
pub async fn probe(store: &Store) -> Result<Option<Breach>, RepoError> {
    let prefix = format!("probes/{:032x}", attempt()?);
    let mut keys = vec![format!("{prefix}/0")];
    let mut found = one_by_one(store, &keys[0]).await;
    for race in 1..=RACES {
        if matches!(found, Ok(None)) {
            found = several_at_once(store, &format!("{prefix}/{race}"), &mut keys).await;
        }
    }
    let removed = keys.iter().map(|key| store.request(StoreRequest::Delete { key: key.clone() }));
    for outcome in join_all(removed).await {
        if let StoreOutcome::Failed(error) = outcome {
            // Some writers may not remove anything. They are small, and in nobody's way.
            tracing::info!("an object of a probe stays under {prefix}: {error:?}");
        }
    }
    found
}

async fn one_by_one(store: &Store, key: &str) -> Result<Option<Breach>, RepoError> {
    let first = create(store, key, b"1").await?;
    let Some(first) = first else { return Ok(Some(Breach::Refused)) };
    if create(store, key, b"2").await?.is_some() {
        return Ok(Some(Breach::Created));
    }
    if replace(store, key, b"3", &first).await?.is_none() {
        return Ok(Some(Breach::Refused));
    }
    // Now the first identity is an old one.
    let stale = replace(store, key, b"4", &first).await?;
    Ok(stale.map(|_| Breach::Replaced))
}

/// Creates an object: none when it exists already.
async fn create(store: &Store, key: &str, body: &[u8]) -> Result<Option<Etag>, RepoError> {
    conditionally(store, key, body, Condition::Absent).await
}

async fn replace(
    store: &Store,
    key: &str,
    body: &[u8],
    etag: &Etag,
) -> Result<Option<Etag>, RepoError> {
    conditionally(store, key, body, Condition::Matches(etag.clone())).await
}

/// Puts on a condition: none when it did not hold. What is not known is read back.
async fn conditionally(
    store: &Store,
    key: &str,
    body: &[u8],
    condition: Condition,
) -> Result<Option<Etag>, RepoError> {
    let failed = |error| RepoError::store("write", key, error);
    let mut last = StoreError::Unreachable;
    let mut is_unknown = false;
    for round in 0..TRIES {
        let request = StoreRequest::Put {
            key: key.to_owned(),
            body: vec![Slice::whole(body.to_vec())],
            condition: condition.clone(),
        };
        match store.request(request).await.stored() {
            Ok(etag) => return Ok(Some(etag)),
            Err(StoreError::Exists | StoreError::Mismatch) if !is_unknown => return Ok(None),
            Err(StoreError::Exists | StoreError::Mismatch) => {
                // An earlier try may have been applied: then these are its bytes.
                let (found, etag) = asks::get(store, key, None).await.map_err(failed)?;
                return Ok((found == body).then_some(etag));
            }
            Err(error) if error.is_temporary() => {
                is_unknown |= error == StoreError::Ambiguous;
                last = error;
                pause(round).await;
            }
            Err(error) => return Err(failed(error)),
        }
    }
    Err(failed(last))
}

/// Names the keys that it makes.
async fn several_at_once(
    store: &Store,
    prefix: &str,
    keys: &mut Vec<String>,
) -> Result<Option<Breach>, RepoError> {
    let mut last = StoreError::Unreachable;
    for round in 0..TRIES {
        let key = format!("{prefix}-{round}");
        keys.push(key.clone());
        let create = |who: u8| {
            let body = vec![Slice::whole(vec![who; 64])];
            store.request(StoreRequest::Put {
                key: key.clone(),
                body,
                condition: Condition::Absent,
            })
        };
        let mut winners = 0;
        let mut is_known = true;
        for outcome in join_all((0..CREATORS).map(create)).await {
            match outcome.stored() {
                Ok(_) => winners += 1,
                Err(StoreError::Exists) => {}
                Err(error) if error.is_temporary() => {
                    is_known &= error != StoreError::Ambiguous;
                    last = error;
                }
                Err(error) => return Err(RepoError::store("write", &key, error)),
            }
        }
        match winners {
            0 => pause(round).await,
            1 if is_known => return Ok(None),
            1 => {}
            _ => return Ok(Some(Breach::Raced)),
        }
    }
    Err(RepoError::store("write", prefix, last))
}
