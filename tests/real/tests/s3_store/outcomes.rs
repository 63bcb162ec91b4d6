//! What each thing that can go wrong is told as.

use std::net::TcpListener;
use std::time::Duration;

use hyper::Method;
use vellum_core::shapes::{Condition, StoreError, StoreOutcome, StoreRequest};
use vellum_sim::store::contract::{get, put};
use vellum_tests_real::s3::{
    Arranged, BUCKET, Credential, Fault, OWNER, OWNER_KEYS, READER_KEYS, StrictServer, WRITER_KEYS,
};

use super::{Bucket, moto, options};

fn create(key: &str) -> StoreRequest {
    put(key, b"0123456789", Condition::Absent)
}

fn error(outcome: StoreOutcome) -> StoreError {
    let StoreOutcome::Failed(error) = outcome else { panic!("it was to fail: {outcome:?}") };
    error
}

#[test]
fn a_put_is_ambiguous_unless_it_is_certain_what_came_of_it() {
    let server = StrictServer::start().unwrap();
    let bucket = Bucket::open(&server.endpoint(), "p");
    for (fault, told, is_there) in [
        (Fault::SlowDown, StoreError::Throttled, false),
        (Fault::Conflict, StoreError::Throttled, false),
        (Fault::ExpiredToken, StoreError::Denied, false),
        (Fault::ErrorBefore, StoreError::Ambiguous, false),
        (Fault::ErrorAfter, StoreError::Ambiguous, true),
        (Fault::ResetBefore, StoreError::Ambiguous, false),
        (Fault::ResetAfter, StoreError::Ambiguous, true),
    ] {
        let key = format!("{fault:?}");
        server.hooks().arrange(Arranged::once(Method::PUT, "p/", fault));
        assert_eq!(error(bucket.send(create(&key))), told, "{fault:?}");
        let found = bucket.send(get(&key)).got().is_ok();
        assert_eq!(found, is_there, "{fault:?}");
    }
}

#[test]
fn a_read_that_went_wrong_may_be_tried_again() {
    let server = StrictServer::start().unwrap();
    let bucket = Bucket::open(&server.endpoint(), "p");
    bucket.send(create("k")).stored().unwrap();
    for (fault, told) in [
        (Fault::SlowDown, StoreError::Throttled),
        (Fault::ErrorBefore, StoreError::Unreachable),
        (Fault::ResetBefore, StoreError::Unreachable),
        (Fault::Truncated, StoreError::Unreachable),
        (Fault::Corrupted, StoreError::Damaged),
        (Fault::ExpiredToken, StoreError::Denied),
    ] {
        server.hooks().arrange(Arranged::once(Method::GET, "p/", fault));
        assert_eq!(error(bucket.send(get("k"))), told, "{fault:?}");
        assert_eq!(bucket.send(get("k")).got().unwrap().0, b"0123456789", "{fault:?}");
    }
    server.hooks().arrange(Arranged::once(Method::GET, "p/", Fault::Truncated));
    let range = StoreRequest::Get { key: "k".into(), range: Some(2..8), fresh: false };
    assert_eq!(error(bucket.send(range)), StoreError::Unreachable);
}

#[test]
fn a_server_that_is_not_there_got_nothing() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("http://{free}");
    for endpoint in [nobody.as_str(), "http://no-such-host.invalid:9000"] {
        let bucket = Bucket::open(endpoint, "p");
        assert_eq!(error(bucket.send(create("k"))), StoreError::Unreachable, "{endpoint}");
        assert_eq!(error(bucket.send(get("k"))), StoreError::Unreachable, "{endpoint}");
    }
}

#[test]
fn an_outage_ends_and_nothing_else_has_to() {
    let server = StrictServer::start().unwrap();
    let bucket = Bucket::open(&server.endpoint(), "p");
    bucket.send(create("k")).stored().unwrap();
    server.hooks().set_outage(true);
    assert!(error(bucket.send(get("k"))).is_temporary());
    assert!(error(bucket.send(create("l"))).is_temporary());
    server.hooks().set_outage(false);
    assert!(bucket.send(get("k")).got().is_ok());
    assert!(bucket.send(create("l")).stored().is_ok());
}

#[test]
fn who_may_not_is_denied() {
    let server = StrictServer::start().unwrap();
    let place = format!("s3://{BUCKET}/p");
    let wrong = Credential { secret: "another", ..OWNER_KEYS };
    let unknown = Credential { id: "NOBODY", ..OWNER_KEYS };
    for keys in [wrong, unknown] {
        let bucket = Bucket::at(&place, options(&server.endpoint(), keys));
        assert_eq!(error(bucket.send(get("k"))), StoreError::Denied);
        assert_eq!(error(bucket.send(create("k"))), StoreError::Denied);
    }
    let reader = Bucket::at(&place, options(&server.endpoint(), READER_KEYS));
    assert_eq!(error(reader.send(create("k"))), StoreError::Denied);
    let writer = Bucket::at(&place, options(&server.endpoint(), WRITER_KEYS));
    writer.send(create("k")).stored().unwrap();
    assert!(reader.send(get("k")).got().is_ok());
    let delete = StoreRequest::Delete { key: "k".into() };
    assert_eq!(error(writer.send(delete)), StoreError::Denied);
    let mut unsigned = options(&server.endpoint(), OWNER_KEYS);
    unsigned.no_sign_request = true;
    let bucket = Bucket::at(&place, unsigned);
    assert_eq!(error(bucket.send(get("k"))), StoreError::Denied);
}

#[test]
fn a_bucket_of_another_owner_is_refused() {
    let server = StrictServer::start().unwrap();
    let place = format!("s3://{BUCKET}/p");
    for (owner, is_denied) in [(OWNER, false), ("999900009999", true)] {
        let mut options = options(&server.endpoint(), OWNER_KEYS);
        options.expected_bucket_owner = Some(owner.to_owned());
        let bucket = Bucket::at(&place, options);
        let outcomes = [
            bucket.send(create("k")),
            bucket.send(get("k")),
            bucket.send(StoreRequest::Head { key: "k".into() }),
            bucket.send(StoreRequest::List { prefix: "".into(), after: "".into(), max: 9 }),
            bucket.send(StoreRequest::Delete { key: "k".into() }),
        ];
        for outcome in outcomes {
            let denied = outcome == StoreOutcome::Failed(StoreError::Denied);
            assert_eq!(denied, is_denied, "{outcome:?}");
        }
    }
}

#[test]
fn a_bucket_that_is_not_there_is_told_from_an_object_that_is_not() {
    let (server, moto) = (StrictServer::start().unwrap(), moto());
    for endpoint in [server.endpoint(), moto.endpoint()] {
        let bucket = Bucket::at("s3://no-such-bucket/p", options(&endpoint, OWNER_KEYS));
        assert_eq!(error(bucket.send(get("k"))), StoreError::NoBucket);
        assert_eq!(error(bucket.send(create("k"))), StoreError::NoBucket);
        let list = StoreRequest::List { prefix: "".into(), after: "".into(), max: 9 };
        assert_eq!(error(bucket.send(list)), StoreError::NoBucket);
        let bucket = Bucket::open(&endpoint, "p");
        assert_eq!(error(bucket.send(get("k"))), StoreError::NotFound);
    }
}

#[test]
fn the_whole_bucket_may_be_the_repository_and_strangers_are_not_seen() {
    let server = StrictServer::start().unwrap();
    let inner = Bucket::open(&server.endpoint(), "a");
    inner.send(create("b")).stored().unwrap();
    let whole = Bucket::at(&format!("s3://{BUCKET}"), options(&server.endpoint(), OWNER_KEYS));
    assert!(whole.send(get("a/b")).got().is_ok());
    for key in ["not a key of ours/", "z"] {
        assert!(server.hooks().plant(BUCKET, key, b""));
    }
    let list =
        |after: &str, max| StoreRequest::List { prefix: "".into(), after: after.into(), max };
    for max in [1, 100] {
        let StoreOutcome::Listed { keys, .. } = whole.send(list("a/b", max)) else { panic!() };
        assert_eq!(keys, ["z"]);
    }
}

#[test]
fn a_slow_answer_is_waited_for() {
    let server = StrictServer::start().unwrap();
    let bucket = Bucket::open(&server.endpoint(), "p");
    bucket.send(create("k")).stored().unwrap();
    for fault in [Fault::Held(Duration::from_secs(2)), Fault::Stalled(Duration::from_secs(2))] {
        server.hooks().arrange(Arranged::once(Method::GET, "p/", fault));
        assert_eq!(bucket.send(get("k")).got().unwrap().0, b"0123456789");
    }
}
