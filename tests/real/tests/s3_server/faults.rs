//! What goes wrong on request, and what is counted.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures::future::{Either, select};
use hyper::Method;
use vellum_core::shapes::KindCounts;
use vellum_tests_real::s3::{Arranged, BUCKET, Fault, StrictServer, Tampering};

use super::client::{Told, create, get, is, put, run};
use super::fresh;

/// Longer than any test runs.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// What a client is told of a put under this fault, and whether it was applied.
fn put_under(fault: Fault) -> (Result<String, Told>, bool) {
    let (server, client) = fresh();
    server.hooks().arrange(Arranged::once(Method::PUT, "refs/", fault));
    run(async {
        create(&client, "chunks/a", b"1").await.unwrap();
        let told = create(&client, "refs/a", b"2").await;
        let applied = server.hooks().body(BUCKET, "refs/a").is_some();
        create(&client, "refs/b", b"2").await.unwrap();
        assert!(server.hooks().arranged().is_empty());
        (told, applied)
    })
}

#[test]
fn an_error_is_told_before_or_after_a_put_is_applied() {
    assert_eq!(put_under(Fault::SlowDown), (Err(is(503, "SlowDown")), false));
    assert_eq!(put_under(Fault::ErrorBefore), (Err(is(500, "InternalError")), false));
    assert_eq!(put_under(Fault::ErrorAfter), (Err(is(500, "InternalError")), true));
    assert_eq!(put_under(Fault::ExpiredToken), (Err(is(403, "ExpiredToken")), false));
    let conflict = is(409, "ConditionalRequestConflict");
    assert_eq!(put_under(Fault::Conflict), (Err(conflict), false));
}

#[test]
fn a_connection_is_reset_before_or_after_a_put_is_applied() {
    assert_eq!(put_under(Fault::ResetBefore), (Err(is(0, "")), false));
    assert_eq!(put_under(Fault::ResetAfter), (Err(is(0, "")), true));
}

#[test]
fn a_body_is_cut_short_or_corrupted_or_comes_late() {
    let (server, client) = fresh();
    let once = |fault| server.hooks().arrange(Arranged::once(Method::GET, "k", fault));
    run(async {
        put(&client, "k", b"0123456789").await;
        once(Fault::Truncated);
        assert_eq!(get(&client, "k").await.unwrap_err().0, 0);
        // The SDK asks for the checksum and finds the bit.
        once(Fault::Corrupted);
        assert_eq!(get(&client, "k").await.unwrap_err().0, 0);
        once(Fault::Corrupted);
        let part = client.get_object().bucket(BUCKET).key("k").range("bytes=0-8");
        let part = part.send().await.unwrap().body.collect().await.unwrap().to_vec();
        assert_eq!(part, b"012355678");
        once(Fault::Stalled(Duration::from_millis(10)));
        assert_eq!(get(&client, "k").await.unwrap(), b"0123456789");
        assert_eq!(get(&client, "k").await.unwrap(), b"0123456789");
    });
}

#[test]
fn what_is_held_or_stalled_holds_up_nothing_else() {
    let (server, client) = fresh();
    run(async {
        put(&client, "stalled", b"0123456789").await;
        put(&client, "other", b"1").await;
        for fault in [Fault::Held(FOR_EVER), Fault::Stalled(FOR_EVER)] {
            server.hooks().arrange(Arranged::once(Method::GET, "stalled", fault));
            let stuck = pin!(get(&client, "stalled"));
            let others = pin!(async {
                while !server.hooks().arranged().is_empty() {
                    tokio::task::yield_now().await;
                }
                get(&client, "other").await
            });
            match select(stuck, others).await {
                Either::Left((told, _)) => panic!("not stuck: {told:?}"),
                Either::Right((told, _)) => assert_eq!(told, Ok(b"1".to_vec())),
            }
        }
        server.hooks().arrange(Arranged::once(Method::PUT, "held", Fault::Held(FOR_EVER)));
        let stuck = pin!(create(&client, "held", b"1"));
        let others = pin!(create(&client, "new", b"1"));
        assert!(matches!(select(stuck, others).await, Either::Right((Ok(_), _))));
        assert_eq!(server.hooks().body(BUCKET, "held"), None);
    });
}

#[test]
fn a_fault_skips_and_repeats_as_arranged_and_by_method_and_prefix() {
    let (server, client) = fresh();
    let fault = Fault::SlowDown;
    let two_after_one = Arranged { method: None, prefix: "a/".into(), skips: 1, times: 2, fault };
    server.hooks().arrange(two_after_one);
    server.hooks().arrange(Arranged::once(Method::GET, "list me/", fault));
    run(async {
        let mut told = Vec::new();
        for key in ["b", "a/1", "a/2", "b/a/", "a/3", "a/4"] {
            told.push(create(&client, key, b"").await.is_ok());
        }
        assert_eq!(told, [true, true, false, true, false, true]);
        let list = |prefix: &str| client.list_objects_v2().bucket(BUCKET).prefix(prefix).send();
        list("a/").await.unwrap();
        assert!(list("list me/").await.is_err());
        list("list me/").await.unwrap();
    });
}

#[test]
fn an_outage_refuses_all_and_ends() {
    let (server, client) = fresh();
    run(async {
        create(&client, "before", b"1").await.unwrap();
        server.hooks().set_outage(true);
        for _ in 0..3 {
            assert_eq!(create(&client, "during", b"1").await, Err(is(0, "")));
            assert_eq!(get(&client, "before").await, Err(is(0, "")));
        }
        server.hooks().heal();
        assert_eq!(server.hooks().keys(BUCKET), ["before"]);
        create(&client, "after", b"1").await.unwrap();
    });
}

#[test]
fn requests_wait_as_long_as_they_are_told() {
    let (server, client) = fresh();
    let latency = Duration::from_millis(100);
    run(async {
        put(&client, "k", b"1").await;
        server.hooks().set_latency(latency);
        let begun = Instant::now();
        get(&client, "k").await.unwrap();
        assert!(begun.elapsed() >= latency);
    });
}

#[test]
fn requests_and_bytes_are_counted_by_kind() {
    let (server, client) = fresh();
    run(async {
        put(&client, "k", b"12345").await;
        create(&client, "k", b"1234567").await.unwrap_err();
        get(&client, "k").await.unwrap();
        get(&client, "none").await.unwrap_err();
        let part = client.get_object().bucket(BUCKET).key("k").range("bytes=1-2");
        part.send().await.unwrap();
        client.head_object().bucket(BUCKET).key("k").send().await.unwrap();
        client.list_objects_v2().bucket(BUCKET).send().await.unwrap();
        client.delete_object().bucket(BUCKET).key("k").send().await.unwrap();
        server.hooks().arrange(Arranged::once(Method::GET, "", Fault::ResetAfter));
        get(&client, "k").await.unwrap_err();
    });
    let counts = server.hooks().counts();
    assert_eq!(counts.put, KindCounts { requests: 2, failed: 1, bytes: 5 });
    assert_eq!(counts.get, KindCounts { requests: 4, failed: 2, bytes: 7 });
    assert_eq!(counts.head, KindCounts { requests: 1, failed: 0, bytes: 0 });
    assert_eq!(counts.list, KindCounts { requests: 1, failed: 0, bytes: 0 });
    assert_eq!(counts.delete, KindCounts { requests: 1, failed: 0, bytes: 0 });
}

#[test]
fn objects_are_tampered_with_behind_everybodys_back() {
    let (server, client) = fresh();
    let tamper = |key: &str, how: Tampering| server.hooks().tamper(BUCKET, key, &how);
    run(async {
        for key in ["gone", "short", "turned", "rotten", "one"] {
            put(&client, key, b"0123456789").await;
        }
        put(&client, "two", b"another").await;
        assert!(tamper("gone", Tampering::Missing));
        assert!(tamper("short", Tampering::Truncated));
        assert!(tamper("turned", Tampering::Corrupted));
        assert!(tamper("rotten", Tampering::Rotten));
        assert!(tamper("one", Tampering::Swapped("two".into())));
        assert!(!tamper("one", Tampering::Swapped("none".into())));
        assert!(!tamper("none", Tampering::Truncated));
        assert_eq!(get(&client, "gone").await, Err(is(404, "NoSuchKey")));
        // Nothing but a hash of our own finds these.
        assert_eq!(get(&client, "short").await.unwrap(), b"01234");
        assert_eq!(get(&client, "turned").await.unwrap(), b"0123446789");
        assert_eq!(get(&client, "one").await.unwrap(), b"another");
        // The SDK finds this one.
        assert_eq!(get(&client, "rotten").await.unwrap_err().0, 0);
        assert_eq!(server.hooks().keys(BUCKET), ["one", "rotten", "short", "turned", "two"]);
    });
}

#[test]
fn a_server_stops_though_requests_are_held() {
    let (server, client) = fresh();
    server.hooks().arrange(Arranged::once(Method::PUT, "", Fault::Held(FOR_EVER)));
    let hooks = server.hooks().clone();
    let stop = |server: StrictServer| async move {
        while !hooks.arranged().is_empty() {
            tokio::task::yield_now().await;
        }
        drop(server);
    };
    let (told, ()) = run(futures::future::join(create(&client, "k", b""), stop(server)));
    assert_eq!(told, Err(is(0, "")));
}
