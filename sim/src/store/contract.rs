//! What every store must do, as functions over "send this, tell me what came of it". A store
//! that answers requests one at a time runs them all; each wants an empty store.

use vellum_core::shapes::{Condition, Etag, Slice, StoreError, StoreOutcome, StoreRequest};

/// Sends one request and waits for its outcome.
pub type Send<'a> = &'a mut dyn FnMut(StoreRequest) -> StoreOutcome;

/// One check of the suite.
pub type Check = fn(Send<'_>);

/// All of the suite, by name.
pub const ALL: [(&str, Check); 8] = [
    ("a body is read back whole", a_body_is_read_back_whole),
    ("what does not exist is not found", what_does_not_exist_is_not_found),
    ("a second creation changes nothing", a_second_creation_changes_nothing),
    ("a replacement needs the identity that is there", a_replacement_needs_the_identity),
    ("an identity never comes back", an_identity_never_comes_back),
    ("ranges end where the object ends", ranges_end_where_the_object_ends),
    ("pages come in byte order", pages_come_in_byte_order),
    ("keys outside the grammar are refused", keys_outside_the_grammar_are_refused),
];

/// A put of `body`.
#[must_use]
pub fn put(key: &str, body: &[u8], condition: Condition) -> StoreRequest {
    StoreRequest::Put { key: key.into(), body: vec![Slice::whole(body.to_vec())], condition }
}

/// A get of a whole object.
#[must_use]
pub fn get(key: &str) -> StoreRequest {
    StoreRequest::Get { key: key.into(), range: None }
}

fn create(send: Send<'_>, key: &str, body: &[u8]) -> Etag {
    stored(send(put(key, body, Condition::Absent)))
}

fn stored(outcome: StoreOutcome) -> Etag {
    let StoreOutcome::Stored { etag } = outcome else { panic!("not stored: {outcome:?}") };
    etag
}

fn body_of(outcome: StoreOutcome) -> (Vec<u8>, Etag) {
    let StoreOutcome::Got { body, etag } = outcome else { panic!("nothing got: {outcome:?}") };
    (body, etag)
}

/// Slices are put together in order, and `Get` and `Head` tell the identity that `Put` told.
pub fn a_body_is_read_back_whole(send: Send<'_>) {
    let part = Slice { bytes: b"..two..".to_vec().into(), range: 2..5 };
    let body = vec![Slice::whole(b"one ".to_vec()), part, Slice::whole(Vec::new())];
    let request = StoreRequest::Put { key: "a/b".into(), body, condition: Condition::Absent };
    let etag = stored(send(request));
    assert_eq!(body_of(send(get("a/b"))), (b"one two".to_vec(), etag.clone()));
    let found = send(StoreRequest::Head { key: "a/b".into() });
    assert_eq!(found, StoreOutcome::Found { len: 7, etag });
    create(send, "empty", b"");
    assert_eq!(body_of(send(get("empty"))).0, b"");
}

/// Nor is a prefix of a key a key.
pub fn what_does_not_exist_is_not_found(send: Send<'_>) {
    let not_found = StoreOutcome::Failed(StoreError::NotFound);
    create(send, "dir/file", b"x");
    for key in ["none", "dir", "dir/none", "dir/file/below"] {
        assert_eq!(send(get(key)), not_found);
        assert_eq!(send(StoreRequest::Head { key: key.into() }), not_found);
    }
    for _ in 0..2 {
        let deleted = send(StoreRequest::Delete { key: "dir/file".into() });
        assert_eq!(deleted, StoreOutcome::Deleted);
        assert_eq!(send(get("dir/file")), not_found);
    }
}

/// `Condition::Absent` wins once.
pub fn a_second_creation_changes_nothing(send: Send<'_>) {
    let etag = create(send, "k", b"first");
    let again = send(put("k", b"second", Condition::Absent));
    assert_eq!(again, StoreOutcome::Failed(StoreError::Exists));
    assert_eq!(body_of(send(get("k"))), (b"first".to_vec(), etag));
}

/// `Condition::Matches` is a compare-and-swap.
pub fn a_replacement_needs_the_identity(send: Send<'_>) {
    let mismatch = StoreOutcome::Failed(StoreError::Mismatch);
    let first = create(send, "refs/r", b"1");
    assert_eq!(send(put("refs/r", b"2", Condition::Matches("other".into()))), mismatch);
    assert_eq!(send(put("refs/none", b"2", Condition::Matches(first.clone()))), mismatch);
    let second = stored(send(put("refs/r", b"2", Condition::Matches(first.clone()))));
    assert_ne!(first, second);
    assert_eq!(send(put("refs/r", b"3", Condition::Matches(first))), mismatch);
    assert_eq!(body_of(send(get("refs/r"))), (b"2".to_vec(), second));
}

/// Not even with the same bytes, and not after a deletion.
pub fn an_identity_never_comes_back(send: Send<'_>) {
    let mut seen = vec![create(send, "refs/r", b"A")];
    for round in 0..50 {
        let body = if round % 2 == 0 { b"B" } else { b"A" };
        let last = seen[seen.len() - 1].clone();
        let etag = stored(send(put("refs/r", body, Condition::Matches(last))));
        assert!(!seen.contains(&etag), "round {round}: {etag}");
        seen.push(etag);
    }
    assert_eq!(send(StoreRequest::Delete { key: "refs/r".into() }), StoreOutcome::Deleted);
    assert!(!seen.contains(&create(send, "refs/r", b"A")));
}

/// A range past the end gives what there is.
pub fn ranges_end_where_the_object_ends(send: Send<'_>) {
    create(send, "ten", b"0123456789");
    let cases =
        [(0, 10, "0123456789"), (3, 5, "34"), (8, 20, "89"), (10, 11, ""), (7, u64::MAX, "789")];
    for (start, end, expected) in cases {
        let request = StoreRequest::Get { key: "ten".into(), range: Some(start..end) };
        assert_eq!(body_of(send(request)).0, expected.as_bytes(), "{start}..{end}");
    }
}

/// Pages join up to the whole, whatever their size.
pub fn pages_come_in_byte_order(send: Send<'_>) {
    let sorted = ["a-b", "a.b", "a/b", "a/b-", "a/c/d", "a/c0", "a0", "aa/x", "b"];
    for key in sorted.iter().rev() {
        create(send, key, b"");
    }
    for prefix in ["", "a", "a/", "a/c", "a/c/", "x"] {
        for after in ["", "a", "a/b", "a/c/d", "zzz"] {
            let expected: Vec<&str> =
                sorted.into_iter().filter(|key| key.starts_with(prefix) && *key > after).collect();
            for max in [1, 2, 1000] {
                let mut all: Vec<String> = Vec::new();
                let mut from = after.to_owned();
                loop {
                    let page = StoreRequest::List { prefix: prefix.into(), after: from, max };
                    let StoreOutcome::Listed { keys, more } = send(page) else { panic!() };
                    assert!(keys.len() <= max && (!keys.is_empty() || !more));
                    from = keys.last().cloned().unwrap_or_default();
                    all.extend(keys);
                    if !more {
                        break;
                    }
                }
                assert_eq!(all, expected, "{prefix:?} after {after:?} by {max}");
            }
        }
    }
}

/// No key can leave the repository.
pub fn keys_outside_the_grammar_are_refused(send: Send<'_>) {
    let refused = StoreOutcome::Failed(StoreError::Unsupported);
    for key in ["", "/", "/a", "a/", "a//b", "..", "a/../b", ".", ".hidden", "a b", "ä", "a\0b"] {
        assert_eq!(send(get(key)), refused, "{key:?}");
        assert_eq!(send(put(key, b"x", Condition::Absent)), refused, "{key:?}");
        assert_eq!(send(StoreRequest::Delete { key: key.into() }), refused, "{key:?}");
    }
}
