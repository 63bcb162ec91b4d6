//! What every store must do: the one suite that all of them pass. Each check is a function over
//! "send these, all at once, and tell me what came of each"; each wants an empty store.

use vellum_core::shapes::{Condition, Etag, Slice, StoreError, StoreOutcome, StoreRequest};

/// Sends requests all at once, and answers the outcome of each, in the order of the requests.
pub type Send<'a> = &'a mut dyn FnMut(Vec<StoreRequest>) -> Vec<StoreOutcome>;

/// One check of the suite.
pub type Check = fn(Send<'_>);

/// What all stores keep, by name.
pub const ALL: [(&str, Check); 10] = [
    ("a body is read back whole", a_body_is_read_back_whole),
    ("what does not exist is not found", what_does_not_exist_is_not_found),
    ("a second creation changes nothing", a_second_creation_changes_nothing),
    ("of 16 creators exactly one wins", of_16_creators_exactly_one_wins),
    ("a replacement needs the identity that is there", a_replacement_needs_the_identity),
    ("of 24 who count none is lost", of_24_who_count_none_is_lost),
    ("ranges end where the object ends", ranges_end_where_the_object_ends),
    ("pages come in byte order", pages_come_in_byte_order),
    ("what is deleted is gone and may be deleted again", what_is_deleted_is_gone),
    ("keys outside the grammar are refused", keys_outside_the_grammar_are_refused),
];

/// What stores keep whose identities are not made of the bytes alone. S3's often are (an MD5), so
/// there a body that comes back brings its identity with it. The core does not need this: no two
/// bodies of a ref are equal.
pub const IDENTITIES: [(&str, Check); 1] =
    [("an identity never comes back", an_identity_never_comes_back)];

const NOT_FOUND: StoreOutcome = StoreOutcome::Failed(StoreError::NotFound);
const EXISTS: StoreOutcome = StoreOutcome::Failed(StoreError::Exists);
const MISMATCH: StoreOutcome = StoreOutcome::Failed(StoreError::Mismatch);
const REFUSED: StoreOutcome = StoreOutcome::Failed(StoreError::Unsupported);

/// A put of `body`.
#[must_use]
pub fn put(key: &str, body: &[u8], condition: Condition) -> StoreRequest {
    StoreRequest::Put { key: key.into(), body: vec![Slice::whole(body.to_vec())], condition }
}

/// A get of a whole object.
#[must_use]
pub fn get(key: &str) -> StoreRequest {
    StoreRequest::Get { key: key.into(), range: None, fresh: false }
}

fn head(key: &str) -> StoreRequest {
    StoreRequest::Head { key: key.into() }
}

fn delete(key: &str) -> StoreRequest {
    StoreRequest::Delete { key: key.into() }
}

fn together(send: Send<'_>, requests: Vec<StoreRequest>) -> Vec<StoreOutcome> {
    let count = requests.len();
    let outcomes = send(requests);
    assert_eq!(outcomes.len(), count, "each request has one outcome");
    outcomes
}

fn one(send: Send<'_>, request: StoreRequest) -> StoreOutcome {
    together(send, vec![request]).swap_remove(0)
}

fn create(send: Send<'_>, key: &str, body: &[u8]) -> Etag {
    stored(one(send, put(key, body, Condition::Absent)))
}

fn stored(outcome: StoreOutcome) -> Etag {
    let StoreOutcome::Stored { etag } = outcome else { panic!("not stored: {outcome:?}") };
    etag
}

fn body_of(outcome: StoreOutcome) -> (Vec<u8>, Etag) {
    let StoreOutcome::Got { body, etag } = outcome else { panic!("nothing got: {outcome:?}") };
    (body.into_vec(), etag)
}

/// Slices are put together in order, and `Get` and `Head` tell the identity that `Put` told.
pub fn a_body_is_read_back_whole(send: Send<'_>) {
    let part = Slice { bytes: b"..two..".to_vec().into(), range: 2..5 };
    let body = vec![Slice::whole(b"one ".to_vec()), part, Slice::whole(Vec::new())];
    let request = StoreRequest::Put { key: "a/b/c".into(), body, condition: Condition::Absent };
    let etag = stored(one(send, request));
    assert_eq!(body_of(one(send, get("a/b/c"))), (b"one two".to_vec(), etag.clone()));
    let (len, crc32, found) = one(send, head("a/b/c")).found().expect("it is there");
    assert_eq!((len, found), (7, etag));
    // A store that tells no checksum does no harm.
    let sum = crc32fast::hash(b"one two");
    assert_eq!(crc32.unwrap_or(sum), sum);
    for key in ["empty", "a/empty"] {
        let etag = create(send, key, b"");
        assert_eq!(body_of(one(send, get(key))), (Vec::new(), etag));
    }
}

/// Nor is a prefix of a key a key.
pub fn what_does_not_exist_is_not_found(send: Send<'_>) {
    create(send, "dir/file", b"x");
    for key in ["none", "dir", "dir/none", "dir/file/below"] {
        let part = StoreRequest::Get { key: key.into(), range: Some(0..1), fresh: false };
        for request in [get(key), part, head(key)] {
            assert_eq!(one(send, request.clone()), NOT_FOUND, "{request:?}");
        }
    }
}

/// `Condition::Absent` wins once.
pub fn a_second_creation_changes_nothing(send: Send<'_>) {
    let etag = create(send, "k", b"first");
    assert_eq!(one(send, put("k", b"second", Condition::Absent)), EXISTS);
    assert_eq!(body_of(one(send, get("k"))), (b"first".to_vec(), etag));
}

/// Whoever is told that it won finds its own bytes, and the others are told that they lost.
pub fn of_16_creators_exactly_one_wins(send: Send<'_>) {
    for round in 0..20 {
        let key = format!("race/{round}");
        let tries = (0..16_u8).map(|who| put(&key, &[who; 100], Condition::Absent)).collect();
        let outcomes = together(send, tries);
        let winners: Vec<u8> = (0..16_u8)
            .zip(&outcomes)
            .filter(|(_, outcome)| matches!(outcome, StoreOutcome::Stored { .. }))
            .map(|(who, _)| who)
            .collect();
        assert_eq!(winners.len(), 1, "{outcomes:?}");
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == EXISTS).count(), 15);
        assert_eq!(body_of(one(send, get(&key))).0, vec![winners[0]; 100]);
    }
}

/// `Condition::Matches` is a compare-and-swap.
pub fn a_replacement_needs_the_identity(send: Send<'_>) {
    let first = create(send, "refs/r", b"1");
    for wrong in ["other", "no-such-etag"] {
        let wrong = Condition::Matches(wrong.into());
        assert_eq!(one(send, put("refs/r", b"2", wrong)), MISMATCH);
    }
    assert_eq!(one(send, put("refs/none", b"2", Condition::Matches(first.clone()))), MISMATCH);
    assert_eq!(one(send, get("refs/none")), NOT_FOUND);
    let second = stored(one(send, put("refs/r", b"2", Condition::Matches(first.clone()))));
    assert_ne!(first, second);
    assert_eq!(body_of(one(send, get("refs/r"))), (b"2".to_vec(), second.clone()));
    assert_eq!(one(send, put("refs/r", b"3", Condition::Matches(first))), MISMATCH);
    assert_eq!(body_of(one(send, get("refs/r"))), (b"2".to_vec(), second));
}

/// Not even with the same bytes, and not after a deletion.
pub fn an_identity_never_comes_back(send: Send<'_>) {
    let mut seen = vec![create(send, "refs/r", b"A")];
    for round in 0..200 {
        let body = if round % 2 == 0 { b"B" } else { b"A" };
        let last = seen[seen.len() - 1].clone();
        let etag = stored(one(send, put("refs/r", body, Condition::Matches(last))));
        assert!(!seen.contains(&etag), "round {round}: {etag}");
        seen.push(etag);
    }
    assert_eq!(one(send, delete("refs/r")), StoreOutcome::Deleted);
    assert!(!seen.contains(&create(send, "refs/r", b"A")));
}

/// Who adds one to the number in a ref: what it read, until it tried to put the next.
struct Counter {
    left: u32,
    read: Option<(u64, Etag)>,
}

impl Counter {
    fn next(&self) -> Option<StoreRequest> {
        match &self.read {
            _ if self.left == 0 => None,
            None => Some(get("refs/count")),
            Some((number, etag)) => {
                let next = (number + 1).to_string();
                Some(put("refs/count", next.as_bytes(), Condition::Matches(etag.clone())))
            }
        }
    }

    fn take(&mut self, outcome: StoreOutcome) {
        if self.read.take().is_none() {
            let (body, etag) = body_of(outcome);
            let text = String::from_utf8(body).expect("a number");
            self.read = Some((text.parse().expect("a number"), etag));
        } else if outcome == MISMATCH {
            // Somebody else was faster.
        } else {
            stored(outcome);
            self.left -= 1;
        }
    }
}

/// Half of them read while the other half writes.
pub fn of_24_who_count_none_is_lost(send: Send<'_>) {
    const ROUNDS_MAX: u32 = 10_000;
    create(send, "refs/count", b"0");
    let mut counters: Vec<Counter> = (0..24).map(|_| Counter { left: 5, read: None }).collect();
    for round in 0..ROUNDS_MAX {
        let begun = if round == 0 { counters.len() / 2 } else { counters.len() };
        let (who, requests): (Vec<usize>, Vec<StoreRequest>) = counters[..begun]
            .iter()
            .enumerate()
            .filter_map(|(index, counter)| Some((index, counter.next()?)))
            .unzip();
        if requests.is_empty() {
            break;
        }
        for (index, outcome) in who.into_iter().zip(together(send, requests)) {
            counters[index].take(outcome);
        }
    }
    assert!(counters.iter().all(|counter| counter.left == 0), "somebody never gets through");
    assert_eq!(body_of(one(send, get("refs/count"))).0, b"120");
}

/// A range past the end gives what there is.
pub fn ranges_end_where_the_object_ends(send: Send<'_>) {
    create(send, "ten", b"0123456789");
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
        let request =
            StoreRequest::Get { key: "ten".into(), range: Some(range.clone()), fresh: false };
        assert_eq!(body_of(one(send, request)).0, expected.as_bytes(), "{range:?}");
    }
}

/// Pages join up to the whole, whatever their size.
pub fn pages_come_in_byte_order(send: Send<'_>) {
    let sorted =
        ["a-b", "a.b", "a/b", "a/b-", "a/c/d", "a/c/e/f", "a/c0", "a0", "aa/x", "b", "refs/t/v1"];
    for key in sorted.iter().rev() {
        create(send, key, b"");
    }
    for prefix in ["", "a", "a/", "a/b", "a/c", "a/c/", "a/c/e/f", "refs/t/", "x", "a/x/y"] {
        for after in ["", "a", "a/", "a/b", "a/b/zzz", "a/c/d", "a/c/e", "a0", "b", "zzz"] {
            let expected: Vec<&str> =
                sorted.into_iter().filter(|key| key.starts_with(prefix) && *key > after).collect();
            for max in [1, 2, 3, 1000] {
                let all = pages(send, prefix, after, max);
                assert_eq!(all.concat(), expected, "{prefix:?} after {after:?} by {max}");
                assert!(max < 1000 || all.len() == 1, "all of it fits into one page");
            }
        }
    }
}

fn pages(send: Send<'_>, prefix: &str, after: &str, max: usize) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    let mut after = after.to_owned();
    loop {
        let page = one(send, StoreRequest::List { prefix: prefix.into(), after, max });
        let StoreOutcome::Listed { keys, more } = page else { panic!("no page: {page:?}") };
        assert!(keys.len() <= max && (keys.len() == max || !more), "{keys:?}, {more}");
        after = keys.last().cloned().unwrap_or_default();
        all.push(keys);
        if !more {
            return all;
        }
    }
}

/// Nor does a condition on what was deleted hold.
pub fn what_is_deleted_is_gone(send: Send<'_>) {
    let etag = create(send, "d/x", b"1");
    for _ in 0..2 {
        assert_eq!(one(send, delete("d/x")), StoreOutcome::Deleted);
        assert_eq!(one(send, get("d/x")), NOT_FOUND);
    }
    assert_eq!(one(send, put("d/x", b"2", Condition::Matches(etag))), MISMATCH);
    assert_eq!(one(send, get("d/x")), NOT_FOUND);
    create(send, "d/x", b"1");
}

/// No key can leave the repository.
pub fn keys_outside_the_grammar_are_refused(send: Send<'_>) {
    let long = "x".repeat(256);
    let bad = ["", "/", "/a", "a/", "a//b", "..", "a/../b", ".", "a/.", ".tmp/x", ".lock", "a b"];
    for key in bad.into_iter().chain([".hidden", "ä", "a\0b", "a\nb", "a\\b", &long]) {
        for request in [
            get(key),
            head(key),
            put(key, b"x", Condition::Absent),
            put(key, b"x", Condition::Matches("e".into())),
            delete(key),
        ] {
            assert_eq!(one(send, request.clone()), REFUSED, "{request:?}");
        }
    }
}
