//! What the tests of stores share: a runtime, and requests that are sent to any store.

#![allow(clippy::unwrap_used)]

use std::future::Future;

use futures::future::join_all;
use vellum_core::shapes::{Condition, Etag, StoreError, StoreOutcome, StoreRequest};
use vellum_sim::store::contract::Check;
pub(super) use vellum_sim::store::contract::put;

use super::ObjectStore;

fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap()
}

/// Runs a test's future on a runtime of its own.
pub(super) fn run<T>(future: impl Future<Output = T>) -> T {
    runtime().block_on(future)
}

/// Has `store` checked, which is empty: requests that are sent together are under way together.
pub(super) fn keeps(store: &dyn ObjectStore, check: Check) {
    let runtime = runtime();
    check(&mut |requests: Vec<StoreRequest>| {
        runtime.block_on(join_all(requests.into_iter().map(|request| store.request(request))))
    });
}

pub(super) async fn get(store: &dyn ObjectStore, key: &str) -> Option<(Vec<u8>, Etag)> {
    let outcome =
        store.request(StoreRequest::Get { key: key.into(), range: None, fresh: false }).await;
    match outcome.got() {
        Ok(got) => Some(got),
        Err(StoreError::NotFound) => None,
        Err(error) => panic!("get {key}: {error:?}"),
    }
}

pub(super) async fn create(store: &dyn ObjectStore, key: &str, body: &[u8]) -> Etag {
    store.request(put(key, body, Condition::Absent)).await.stored().unwrap()
}

/// Adds one to the number in the body of `key` until it has done so `times` times.
pub(super) async fn add_one(store: &dyn ObjectStore, key: &str, times: u32) {
    let mut done = 0;
    while done < times {
        let (body, etag) = get(store, key).await.unwrap();
        let number: u64 = std::str::from_utf8(&body).unwrap().parse().unwrap();
        let next = (number + 1).to_string();
        let outcome = store.request(put(key, next.as_bytes(), Condition::Matches(etag))).await;
        if outcome != StoreOutcome::Failed(StoreError::Mismatch) {
            outcome.stored().unwrap();
            done += 1;
        }
    }
}
