//! Who sends a request again until it is known what came of it.

use futures::future::join_all;
use vellum::store::{ObjectStore, Store};
use vellum_core::shapes::{Condition, Slice, StoreError, StoreOutcome, StoreRequest};

use super::Bucket;

/// What the proxy does, and how often.
pub(crate) const FAULTS: [&str; 10] = [
    "slow503=0.05",
    "err500=0.05",
    "err500_after=0.05",
    "reset_before=0.05",
    "reset_after=0.05",
    "reset_mid=0.05,PUT",
    "truncate=0.05,GET",
    "dup=0.05,PUT",
    "late=0.05,PUT",
    "cond409=0.05,PUT",
];

/// Tries of one request: that all fail at one in two is not to be expected in a lifetime.
const TRIES: u32 = 60;

pub(crate) fn send_all(bucket: &Bucket, requests: Vec<StoreRequest>) -> Vec<StoreOutcome> {
    let all = requests.into_iter().map(|request| settled(&bucket.store, request));
    bucket.runtime.block_on(join_all(all))
}

async fn settled(store: &Store, request: StoreRequest) -> StoreOutcome {
    let mut is_unknown = false;
    for _ in 0..TRIES {
        let outcome = store.request(request.clone()).await;
        let StoreOutcome::Failed(error) = &outcome else { return outcome };
        match error {
            error if error.is_temporary() => is_unknown |= *error == StoreError::Ambiguous,
            StoreError::Exists | StoreError::Mismatch => {
                // The proxy may have sent it twice, or it is what came of an earlier try.
                return own_work(store, &request).await.unwrap_or(outcome);
            }
            _ => return outcome,
        }
        if is_unknown && let Some(stored) = own_work(store, &request).await {
            return stored;
        }
    }
    panic!("never settled: {request:?}");
}

/// The put that was applied after all, if the bytes that are there are its own.
async fn own_work(store: &Store, request: &StoreRequest) -> Option<StoreOutcome> {
    let StoreRequest::Put { key, body, condition } = request else { return None };
    let mine: Vec<u8> = body.iter().flat_map(Slice::as_bytes).copied().collect();
    for _ in 0..TRIES {
        let get = StoreRequest::Get { key: key.clone(), range: None, fresh: false };
        match store.request(get).await.got() {
            Ok((found, etag)) => {
                let was_there = matches!(condition, Condition::Matches(old) if *old == etag);
                return (found == mine && !was_there).then_some(StoreOutcome::Stored { etag });
            }
            Err(error) if error.is_temporary() => {}
            Err(_) => return None,
        }
    }
    panic!("never read: {key}");
}
