//! Requests to the store, with the answer that belongs to each.

use std::ops::Range;
use std::time::Duration;

use vellum_core::shapes::{Condition, Etag, Key, Slice, StoreError, StoreOutcome, StoreRequest};

use crate::store::{ObjectStore, Store};

/// Tries of a request that fails for a while.
const TRIES: u32 = 8;
/// Keys of one page of a listing, as on S3.
const PAGE_MAX: usize = 1000;
/// The pause after the first failed try; it doubles with each.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Reads an object or a range of it as the store itself has it, patiently.
pub(super) async fn get(
    store: &Store,
    key: &str,
    range: Option<Range<u64>>,
) -> Result<(Vec<u8>, Etag), StoreError> {
    let request = StoreRequest::Get { key: key.to_owned(), range, fresh: true };
    patiently(store, request).await.got()
}

/// Reads an object or a range of it, patiently. Unless `fresh`, what was kept of earlier answers
/// will do.
pub(super) async fn get_kept(
    store: &Store,
    key: &str,
    range: Option<Range<u64>>,
    fresh: bool,
) -> Result<Vec<u8>, StoreError> {
    let request = StoreRequest::Get { key: key.to_owned(), range, fresh };
    Ok(patiently(store, request).await.got()?.0)
}

/// Puts an object that it does no harm to put twice, patiently.
pub(super) async fn put(
    store: &Store,
    key: &str,
    body: Vec<Slice>,
    condition: Condition,
) -> Result<(), StoreError> {
    stored(patiently(store, StoreRequest::Put { key: key.to_owned(), body, condition }).await)
}

/// Puts a ref: one try.
pub(super) async fn put_ref(
    store: &Store,
    key: &str,
    body: Vec<u8>,
    condition: Condition,
) -> Result<(), StoreError> {
    let body = vec![Slice::whole(body)];
    stored(store.request(StoreRequest::Put { key: key.to_owned(), body, condition }).await)
}

fn stored(outcome: StoreOutcome) -> Result<(), StoreError> {
    match outcome {
        StoreOutcome::Stored { .. } => Ok(()),
        StoreOutcome::Failed(error) => Err(error),
        StoreOutcome::Got { .. }
        | StoreOutcome::Found { .. }
        | StoreOutcome::Listed { .. }
        | StoreOutcome::Deleted => Err(StoreError::Unsupported),
    }
}

/// Length, checksum and identity of an object, patiently.
pub(super) async fn head(store: &Store, key: &str) -> Result<(u64, Option<u32>, Etag), StoreError> {
    patiently(store, StoreRequest::Head { key: key.to_owned() }).await.found()
}

/// Removes an object, patiently; one that is not there counts as removed.
pub(super) async fn delete(store: &Store, key: &str) -> Result<(), StoreError> {
    match patiently(store, StoreRequest::Delete { key: key.to_owned() }).await {
        StoreOutcome::Deleted => Ok(()),
        StoreOutcome::Failed(error) => Err(error),
        StoreOutcome::Got { .. }
        | StoreOutcome::Found { .. }
        | StoreOutcome::Stored { .. }
        | StoreOutcome::Listed { .. } => Err(StoreError::Unsupported),
    }
}

/// The first `max` keys that begin with `prefix`, patiently.
pub(super) async fn list(store: &Store, prefix: &str, max: usize) -> Result<Vec<Key>, StoreError> {
    Ok(page(store, prefix, String::new(), max).await?.0)
}

/// All keys that begin with `prefix`, patiently.
pub(super) async fn list_all(store: &Store, prefix: &str) -> Result<Vec<Key>, StoreError> {
    let mut all: Vec<Key> = Vec::new();
    loop {
        let after = all.last().cloned().unwrap_or_default();
        let (keys, more) = page(store, prefix, after, PAGE_MAX).await?;
        let ends = keys.is_empty() || !more;
        all.extend(keys);
        if ends {
            return Ok(all);
        }
    }
}

async fn page(
    store: &Store,
    prefix: &str,
    after: String,
    max: usize,
) -> Result<(Vec<Key>, bool), StoreError> {
    let request = StoreRequest::List { prefix: prefix.to_owned(), after, max };
    match patiently(store, request).await {
        StoreOutcome::Listed { keys, more } => Ok((keys, more)),
        StoreOutcome::Failed(error) => Err(error),
        StoreOutcome::Got { .. }
        | StoreOutcome::Found { .. }
        | StoreOutcome::Stored { .. }
        | StoreOutcome::Deleted => Err(StoreError::Unsupported),
    }
}

async fn patiently(store: &Store, request: StoreRequest) -> StoreOutcome {
    for round in 0..TRIES - 1 {
        let outcome = store.request(request.clone()).await;
        let is_final = store.is_offline();
        if is_final || !matches!(&outcome, StoreOutcome::Failed(error) if error.is_temporary()) {
            return outcome;
        }
        pause(round).await;
    }
    store.request(request).await
}

/// Waits longer with each round.
pub(super) async fn pause(round: u32) {
    tokio::time::sleep(PAUSE_MIN.saturating_mul(1 << round.min(16)).min(PAUSE_MAX)).await;
}
