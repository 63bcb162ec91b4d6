//! What every store must do, as functions over a store: each backend runs the same suite.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

use std::future::Future;

use futures::future::join_all;
use vellum_core::shapes::{Condition, Etag, Slice, StoreError, StoreOutcome, StoreRequest};

use super::ObjectStore;

/// Runs a test's future on a runtime of its own.
pub(super) fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(future)
}

pub(super) fn put(key: &str, body: &[u8], condition: Condition) -> StoreRequest {
    StoreRequest::Put { key: key.into(), body: vec![Slice::whole(body.to_vec())], condition }
}

pub(super) async fn get(store: &dyn ObjectStore, key: &str) -> Option<(Vec<u8>, Etag)> {
    match store.request(StoreRequest::Get { key: key.into(), range: None }).await {
        StoreOutcome::Got { body, etag } => Some((body, etag)),
        StoreOutcome::Failed(StoreError::NotFound) => None,
        other => panic!("get {key}: {other:?}"),
    }
}

pub(super) async fn create(store: &dyn ObjectStore, key: &str, body: &[u8]) -> Etag {
    match store.request(put(key, body, Condition::Absent)).await {
        StoreOutcome::Stored { etag } => etag,
        other => panic!("create {key}: {other:?}"),
    }
}

async fn page(
    store: &dyn ObjectStore,
    prefix: &str,
    after: &str,
    max: usize,
) -> (Vec<String>, bool) {
    let request = StoreRequest::List { prefix: prefix.into(), after: after.into(), max };
    match store.request(request).await {
        StoreOutcome::Listed { keys, more } => (keys, more),
        other => panic!("list {prefix}: {other:?}"),
    }
}

pub(super) async fn a_body_is_read_back_whole_and_with_its_identity(store: &dyn ObjectStore) {
    let slices = vec![
        Slice::whole(b"one ".to_vec()),
        Slice { bytes: b"..two..".to_vec().into(), range: 2..5 },
        Slice::whole(Vec::new()),
    ];
    let request =
        StoreRequest::Put { key: "a/b/c".into(), body: slices, condition: Condition::Absent };
    let StoreOutcome::Stored { etag } = store.request(request).await else { panic!("put") };
    let (body, read) = get(store, "a/b/c").await.unwrap();
    assert_eq!((body.as_slice(), &read), (b"one two".as_slice(), &etag));
    let found = store.request(StoreRequest::Head { key: "a/b/c".into() }).await;
    assert_eq!(found, StoreOutcome::Found { len: 7, etag });
    create(store, "a/empty", b"").await;
    assert_eq!(get(store, "a/empty").await.unwrap().0, b"");
}

pub(super) async fn what_does_not_exist_is_not_found(store: &dyn ObjectStore) {
    let not_found = StoreOutcome::Failed(StoreError::NotFound);
    create(store, "dir/file", b"x").await;
    for key in ["none", "dir", "dir/none", "dir/file/below"] {
        let range = Some(0..1);
        assert_eq!(store.request(StoreRequest::Get { key: key.into(), range }).await, not_found);
        assert_eq!(store.request(StoreRequest::Head { key: key.into() }).await, not_found);
    }
}

pub(super) async fn a_second_creation_is_refused_and_changes_nothing(store: &dyn ObjectStore) {
    let etag = create(store, "k", b"first").await;
    let again = store.request(put("k", b"second", Condition::Absent)).await;
    assert_eq!(again, StoreOutcome::Failed(StoreError::Exists));
    assert_eq!(get(store, "k").await, Some((b"first".to_vec(), etag)));
}

pub(super) async fn of_16_creators_exactly_one_wins(store: &dyn ObjectStore) {
    for round in 0..20 {
        let key = format!("race/{round}");
        let tries = (0..16_u8).map(|who| store.request(put(&key, &[who; 100], Condition::Absent)));
        let outcomes = join_all(tries).await;
        let winners: Vec<u8> = (0..16_u8)
            .zip(&outcomes)
            .filter(|(_, outcome)| matches!(outcome, StoreOutcome::Stored { .. }))
            .map(|(who, _)| who)
            .collect();
        assert_eq!(winners.len(), 1, "{outcomes:?}");
        let lost = StoreOutcome::Failed(StoreError::Exists);
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == lost).count(), 15);
        assert_eq!(get(store, &key).await.unwrap().0, vec![winners[0]; 100]);
    }
}

pub(super) async fn a_replacement_needs_the_identity_that_is_there(store: &dyn ObjectStore) {
    let mismatch = StoreOutcome::Failed(StoreError::Mismatch);
    let first = create(store, "refs/r", b"1").await;
    let wrong = Condition::Matches("no-such-etag".into());
    assert_eq!(store.request(put("refs/r", b"2", wrong)).await, mismatch);
    let to_absent = put("refs/none", b"2", Condition::Matches(first.clone()));
    assert_eq!(store.request(to_absent).await, mismatch);
    assert_eq!(get(store, "refs/none").await, None);
    let outcome = store.request(put("refs/r", b"2", Condition::Matches(first.clone()))).await;
    let StoreOutcome::Stored { etag: second } = outcome else { panic!("{outcome:?}") };
    assert_eq!(get(store, "refs/r").await, Some((b"2".to_vec(), second.clone())));
    let stale = put("refs/r", b"3", Condition::Matches(first));
    assert_eq!(store.request(stale).await, mismatch);
    assert_eq!(get(store, "refs/r").await, Some((b"2".to_vec(), second)));
}

pub(super) async fn an_identity_never_comes_back_with_the_same_bytes(store: &dyn ObjectStore) {
    let mut seen = vec![create(store, "refs/aba", b"A").await];
    for round in 0..200 {
        let body = if round % 2 == 0 { b"B" } else { b"A" };
        let last = seen.last().unwrap().clone();
        let outcome = store.request(put("refs/aba", body, Condition::Matches(last))).await;
        let StoreOutcome::Stored { etag } = outcome else { panic!("{outcome:?}") };
        assert!(!seen.contains(&etag), "round {round}: {etag}");
        seen.push(etag);
    }
}

/// Adds one to the number in the body of `key` until it has done so `times` times.
pub(super) async fn add_one(store: &dyn ObjectStore, key: &str, times: u32) {
    let mut done = 0;
    while done < times {
        let (body, etag) = get(store, key).await.unwrap();
        let number: u64 = std::str::from_utf8(&body).unwrap().parse().unwrap();
        let next = (number + 1).to_string();
        match store.request(put(key, next.as_bytes(), Condition::Matches(etag))).await {
            StoreOutcome::Stored { .. } => done += 1,
            StoreOutcome::Failed(StoreError::Mismatch) => {}
            other => panic!("{other:?}"),
        }
    }
}

pub(super) async fn of_24_who_count_in_one_ref_none_is_lost(store: &dyn ObjectStore) {
    create(store, "refs/count", b"0").await;
    join_all((0..24).map(|_| add_one(store, "refs/count", 5))).await;
    assert_eq!(get(store, "refs/count").await.unwrap().0, b"120");
}

pub(super) async fn ranges_end_where_the_object_ends(store: &dyn ObjectStore) {
    create(store, "ten", b"0123456789").await;
    for (range, expected) in [
        (0..10, "0123456789"),
        (3..5, "34"),
        (9..10, "9"),
        (8..20, "89"),
        (10..11, ""),
        (500..600, ""),
        (4..4, ""),
        (7..u64::MAX, "789"),
    ] {
        let request = StoreRequest::Get { key: "ten".into(), range: Some(range.clone()) };
        let StoreOutcome::Got { body, .. } = store.request(request).await else { panic!() };
        assert_eq!(body, expected.as_bytes(), "{range:?}");
    }
}

pub(super) async fn pages_come_in_byte_order(store: &dyn ObjectStore) {
    let sorted =
        ["a-b", "a.b", "a/b", "a/b-", "a/c/d", "a/c/e/f", "a/c0", "a0", "aa/x", "b", "refs/t/v1"];
    for key in sorted.iter().rev() {
        create(store, key, b"").await;
    }
    let expect = |prefix: &str, after: &str| -> Vec<String> {
        let chosen = sorted.iter().filter(|key| key.starts_with(prefix) && **key > after);
        chosen.map(|key| (*key).to_owned()).collect()
    };
    for prefix in ["", "a", "a/", "a/b", "a/c", "a/c/", "a/c/e/f", "refs/t/", "x", "a/x/y"] {
        for after in ["", "a", "a/", "a/b", "a/b/zzz", "a/c/d", "a/c/e", "a0", "b", "zzz"] {
            let expected = expect(prefix, after);
            assert_eq!(page(store, prefix, after, 1000).await, (expected.clone(), false));
            for max in 1..4 {
                let mut all = Vec::new();
                let mut from = after.to_owned();
                loop {
                    let (keys, more) = page(store, prefix, &from, max).await;
                    assert!(keys.len() == max || !more, "{keys:?}");
                    from = keys.last().cloned().unwrap_or_default();
                    all.extend(keys);
                    if !more {
                        break;
                    }
                }
                assert_eq!(all, expected, "{prefix:?} after {after:?}");
            }
        }
    }
}

pub(super) async fn what_is_deleted_is_gone_and_may_be_deleted_again(store: &dyn ObjectStore) {
    let etag = create(store, "d/x", b"1").await;
    for _ in 0..2 {
        let deleted = store.request(StoreRequest::Delete { key: "d/x".into() }).await;
        assert_eq!(deleted, StoreOutcome::Deleted);
        assert_eq!(get(store, "d/x").await, None);
    }
    let stale = store.request(put("d/x", b"2", Condition::Matches(etag.clone()))).await;
    assert_eq!(stale, StoreOutcome::Failed(StoreError::Mismatch));
    assert_ne!(create(store, "d/x", b"1").await, etag);
}

pub(super) async fn keys_outside_the_grammar_are_refused(store: &dyn ObjectStore) {
    let long = "x".repeat(256);
    let bad = ["", "/", "/a", "a/", "a//b", "..", "a/../b", ".", "a/.", ".tmp/x", ".lock", "a b"];
    for key in bad.into_iter().chain(["ä", "a\0b", "a\nb", "a\\b", &long]) {
        let key = key.to_owned();
        let refused = StoreOutcome::Failed(StoreError::Unsupported);
        for request in [
            StoreRequest::Get { key: key.clone(), range: None },
            StoreRequest::Head { key: key.clone() },
            put(&key, b"x", Condition::Absent),
            put(&key, b"x", Condition::Matches("e".into())),
            StoreRequest::Delete { key: key.clone() },
        ] {
            assert_eq!(store.request(request.clone()).await, refused, "{request:?}");
        }
    }
}
