#![allow(clippy::unwrap_used)]

use vellum_core::shapes::{Condition, KindCounts, StoreError};

use super::contract::{get, put};
use super::*;

fn store(seed: u64) -> SimStore {
    SimStore::new(Choices::seeded(seed))
}

/// Sends requests at once and lets everything that they cause happen, in the order of time.
fn send_all(store: &mut SimStore, requests: Vec<StoreRequest>) -> Vec<StoreOutcome> {
    let mut told: Vec<Option<StoreOutcome>> = vec![None; requests.len()];
    let mut happenings: Vec<(u64, Happening, usize)> = Vec::new();
    for (index, request) in requests.into_iter().enumerate() {
        happenings.extend(store.begin(0, request).into_iter().map(|(at, it)| (at, it, index)));
    }
    happenings.sort_by_key(|&(at, _, _)| at);
    for (_, happening, index) in happenings {
        if let Some(it) = store.happen(happening) {
            assert_eq!(told[index].replace(it.outcome), None);
        }
    }
    told.into_iter().map(Option::unwrap).collect()
}

fn send(store: &mut SimStore, request: StoreRequest) -> StoreOutcome {
    send_all(store, vec![request]).remove(0)
}

#[test]
fn the_simulated_store_keeps_the_contract() {
    let mut come_back = 0;
    for (name, check) in contract::ALL.into_iter().chain(contract::IDENTITIES) {
        for seed in 0..10 {
            println!("{name}, seed {seed}");
            let mut store = store(seed);
            if store.objects.identities_come_back() && contract::IDENTITIES[0].0 == name {
                come_back += 1;
                continue;
            }
            check(&mut |requests| send_all(&mut store, requests));
        }
    }
    assert!((1..10).contains(&come_back), "{come_back} of 10 stores");
}

/// Whether a store that first looks at the conditions of all requests and then applies them, or
/// that never looks, fails `check`.
fn careless_fails(check: contract::Check, looks: bool) -> bool {
    let mut objects = Objects::new(0);
    let mut send = |requests: Vec<StoreRequest>| -> Vec<StoreOutcome> {
        let seen = objects.clone();
        let apply = |request: &StoreRequest| {
            let StoreRequest::Put { key, body, condition } = request else {
                return objects.apply(request);
            };
            if looks && let Some(refusal) = seen.refusal(key, condition) {
                return StoreOutcome::Failed(match refusal {
                    Refusal::Exists => StoreError::Exists,
                    Refusal::Differs | Refusal::Gone => StoreError::Mismatch,
                });
            }
            let bytes = body.iter().flat_map(|slice| slice.as_bytes()).copied().collect();
            StoreOutcome::Stored { etag: objects.put(key, bytes) }
        };
        requests.iter().map(apply).collect()
    };
    let run = std::panic::AssertUnwindSafe(|| check(&mut send));
    std::panic::catch_unwind(run).is_err()
}

#[test]
fn a_store_that_checks_and_then_writes_fails_the_races_of_the_contract_alone() {
    assert!(careless_fails(contract::of_16_creators_exactly_one_wins, true));
    assert!(careless_fails(contract::of_24_who_count_none_is_lost, true));
    assert!(!careless_fails(contract::a_second_creation_changes_nothing, true));
    assert!(!careless_fails(contract::a_replacement_needs_the_identity, true));
}

#[test]
fn a_store_that_ignores_conditions_fails_whatever_asks_for_one() {
    assert!(careless_fails(contract::a_second_creation_changes_nothing, false));
    assert!(careless_fails(contract::a_replacement_needs_the_identity, false));
    assert!(careless_fails(contract::what_is_deleted_is_gone, false));
    assert!(!careless_fails(contract::a_body_is_read_back_whole, false));
}

#[test]
fn a_lost_put_is_applied_before_later_or_never() {
    let mut before = 0;
    let mut later = 0;
    let mut never = 0;
    for seed in 0..200 {
        let mut store = store(seed);
        store.faults.ambiguous = 1000;
        let mut happenings = store.begin(5, put("k", b"1", Condition::Absent));
        happenings.sort_by_key(|&(at, happening)| (at, matches!(happening, Happening::Answer(_))));
        let mut answered = false;
        for (_, happening) in happenings.clone() {
            match store.happen(happening) {
                Some(told) => {
                    assert_eq!(told.outcome, StoreOutcome::Failed(StoreError::Ambiguous));
                    answered = true;
                }
                None if answered => later += 1,
                None => before += 1,
            }
        }
        assert!(answered);
        let applied = store.objects.body("k").is_some();
        assert_eq!(applied, happenings.len() == 2);
        never += u32::from(!applied);
        assert_eq!(store.injected(), 1);
    }
    assert!(before > 30 && later > 30 && never > 30, "{before} {later} {never}");
}

#[test]
fn a_refused_request_changes_nothing() {
    let mut store = store(1);
    store.faults = Faults::outage();
    let outcome = send(&mut store, put("k", b"1", Condition::Absent));
    assert_eq!(outcome, StoreOutcome::Failed(StoreError::Unreachable));
    assert_eq!(store.objects.keys().count(), 0);
    store.faults = Faults { throttled: 1000, burst: 3, ..Faults::none() };
    let outcome = send(&mut store, put("k", b"1", Condition::Absent));
    assert_eq!(outcome, StoreOutcome::Failed(StoreError::Throttled));
    store.heal();
    let outcome = send(&mut store, put("k", b"1", Condition::Absent));
    assert!(matches!(outcome, StoreOutcome::Stored { .. }));
}

#[test]
fn wrong_bytes_come_only_from_objects_named_by_their_hash() {
    let mut store = store(2);
    for key in ["chunks/00/a", "refs/branches/main"] {
        send(&mut store, put(key, b"0123456789", Condition::Absent));
    }
    store.faults.wrong_bytes = 1000;
    for _ in 0..50 {
        let StoreOutcome::Got { body, .. } = send(&mut store, get("chunks/00/a")) else { panic!() };
        assert_ne!(body.into_vec(), b"0123456789");
        let StoreOutcome::Got { body, .. } = send(&mut store, get("refs/branches/main")) else {
            panic!()
        };
        assert_eq!(body.into_vec(), b"0123456789");
    }
    store.faults = Faults { damaged: 1000, ..Faults::none() };
    let outcome = send(&mut store, get("chunks/00/a"));
    assert_eq!(outcome, StoreOutcome::Failed(StoreError::Damaged));
}

#[test]
fn requests_and_bytes_are_counted_by_kind() {
    let mut store = store(3);
    send(&mut store, put("chunks/x", b"12345", Condition::Absent));
    send(&mut store, get("chunks/x"));
    send(&mut store, StoreRequest::Get { key: "chunks/x".into(), range: Some(1..3), fresh: false });
    send(&mut store, get("none"));
    let counts = *store.counts();
    assert_eq!(counts.put, KindCounts { requests: 1, failed: 0, bytes: 5 });
    assert_eq!(counts.get, KindCounts { requests: 3, failed: 1, bytes: 7 });
    assert_eq!(counts.requests(), 4);
}

#[test]
fn a_slow_prefix_delays_its_own_requests_alone() {
    let mut store = store(4);
    store.slow.push(("chunks/".into(), 60_000_000_000));
    let answer =
        |happenings: Vec<(u64, Happening)>| happenings.into_iter().map(|(at, _)| at).max().unwrap();
    assert!(answer(store.begin(0, get("chunks/a"))) >= 60_000_000_000);
    assert!(answer(store.begin(0, get("trees/a"))) < 1_000_000_000);
}
