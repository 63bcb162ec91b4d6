//! The S3 servers that tests run against do what they promise, as the AWS SDK sees it.
#![allow(clippy::unwrap_used)]

mod client;
mod faults;
mod others;
mod wire;

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{ChecksumMode, ChecksumType};
use client::{client, create, get, is, keeps, put, refused, replace, run};
use futures::future::join_all;
use vellum_sim::store::contract;
use vellum_tests_real::s3::{
    BUCKET, Credential, Mode, OWNER, OWNER_KEYS, READER_KEYS, StrictServer, WRITER_KEYS,
};

/// A server, and a client that may do everything.
fn fresh() -> (StrictServer, Client) {
    let server = StrictServer::start().unwrap();
    let client = client(&server.endpoint(), OWNER_KEYS);
    (server, client)
}

#[test]
fn the_strict_server_keeps_the_contract_of_stores() {
    for (index, (name, check)) in contract::ALL.into_iter().chain(contract::IDENTITIES).enumerate()
    {
        println!("{name}");
        let server = StrictServer::with_form(index as u64).unwrap();
        keeps(&server.endpoint(), "some/where/", check);
    }
}

#[test]
fn a_server_that_races_or_ignores_conditions_fails_the_contract() {
    let fails = |mode: Mode, check: contract::Check| {
        let server = StrictServer::start().unwrap();
        server.hooks().set_mode(mode);
        let run = std::panic::AssertUnwindSafe(|| keeps(&server.endpoint(), "", check));
        std::panic::catch_unwind(run).is_err()
    };
    assert!(fails(Mode::Races, contract::of_16_creators_exactly_one_wins));
    assert!(fails(Mode::Ignores, contract::of_16_creators_exactly_one_wins));
    assert!(fails(Mode::Ignores, contract::a_second_creation_changes_nothing));
    assert!(fails(Mode::Ignores, contract::a_replacement_needs_the_identity));
    assert!(!fails(Mode::Races, contract::a_second_creation_changes_nothing));
}

/// How many of 16 who create one key at once are told that they did.
fn winners(mode: Mode) -> usize {
    let (server, client) = fresh();
    server.hooks().set_mode(mode);
    let tries = (0..16_u8).map(|who| {
        let client = client.clone();
        async move { create(&client, "race", &[who]).await }
    });
    let told = run(join_all(tries));
    let lost = is(412, "PreconditionFailed");
    assert!(told.iter().all(|told| told.is_ok() || *told == Err(lost.clone())), "{told:?}");
    told.iter().filter(|told| told.is_ok()).count()
}

#[test]
fn of_16_creators_one_wins_unless_the_server_races_or_ignores_conditions() {
    assert_eq!(winners(Mode::Atomic), 1);
    assert!(winners(Mode::Races) > 1);
    assert_eq!(winners(Mode::Ignores), 16);
}

#[test]
fn conditions_are_told_by_412_and_404_and_other_conditions_by_501() {
    let (_server, client) = fresh();
    run(async {
        let first = create(&client, "k", b"1").await.unwrap();
        assert_eq!(create(&client, "k", b"2").await, Err(is(412, "PreconditionFailed")));
        let second = replace(&client, "k", b"2", &first).await.unwrap();
        let stale = replace(&client, "k", b"3", &first).await;
        assert_eq!(stale, Err(is(412, "PreconditionFailed")));
        assert_eq!(replace(&client, "none", b"3", &second).await, Err(is(404, "NoSuchKey")));
        assert_eq!(get(&client, "k").await.unwrap(), b"2");
        let put = || client.put_object().bucket(BUCKET).key("k").body(b"4".to_vec().into());
        let strange = put().if_none_match(&second).send().await;
        assert_eq!(refused(strange), is(501, "NotImplemented"));
        let strange = put().if_match("*").send().await;
        assert_eq!(refused(strange), is(501, "NotImplemented"));
        let read = |etag: &str| client.get_object().bucket(BUCKET).key("k").if_match(etag).send();
        assert_eq!(refused(read(&first).await), is(412, "PreconditionFailed"));
        assert_eq!(read(&second).await.unwrap().e_tag.unwrap(), second);
    });
}

#[test]
fn identities_are_quoted_and_of_changing_form_and_never_come_back() {
    let mut forms = Vec::new();
    for form in 0..3 {
        let server = StrictServer::with_form(form).unwrap();
        let client = client(&server.endpoint(), OWNER_KEYS);
        run(async {
            let first = put(&client, "k", b"same").await;
            let second = put(&client, "k", b"same").await;
            assert_ne!(first, second);
            for etag in [&first, &second] {
                let inner = etag.strip_prefix('"').and_then(|etag| etag.strip_suffix('"')).unwrap();
                assert!(!inner.is_empty() && !inner.contains('"'), "{etag}");
            }
            replace(&client, "k", b"same", &second).await.unwrap();
            forms.push(first);
        });
    }
    forms.dedup();
    assert_eq!(forms.len(), 3, "{forms:?}");
}

#[test]
fn a_wrong_secret_an_unknown_key_and_no_signature_are_denied() {
    let server = StrictServer::start().unwrap();
    let wrong = Credential { secret: "another", ..OWNER_KEYS };
    let unknown = Credential { id: "NOBODY", ..OWNER_KEYS };
    run(async {
        let told = create(&client(&server.endpoint(), wrong), "k", b"").await;
        assert_eq!(told, Err(is(403, "SignatureDoesNotMatch")));
        let told = create(&client(&server.endpoint(), unknown), "k", b"").await;
        assert_eq!(told, Err(is(403, "InvalidAccessKeyId")));
        assert!(server.hooks().keys(BUCKET).is_empty());
    });
    let answer = wire::ask(server.address(), &format!("GET /{BUCKET}/k HTTP/1.1"), "");
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

#[test]
fn a_reader_may_read_and_a_writer_also_put() {
    let (server, owner) = fresh();
    let reader = client(&server.endpoint(), READER_KEYS);
    let writer = client(&server.endpoint(), WRITER_KEYS);
    let denied = is(403, "AccessDenied");
    run(async {
        put(&owner, "k", b"1").await;
        for client in [&reader, &writer] {
            assert_eq!(get(client, "k").await.unwrap(), b"1");
            client.head_object().bucket(BUCKET).key("k").send().await.unwrap();
            client.list_objects_v2().bucket(BUCKET).send().await.unwrap();
            client.head_bucket().bucket(BUCKET).send().await.unwrap();
            let deleted = client.delete_object().bucket(BUCKET).key("k").send().await;
            assert_eq!(refused(deleted), denied);
            let made = client.create_bucket().bucket("another").send().await;
            assert_eq!(refused(made), denied);
        }
        assert_eq!(create(&reader, "new", b"2").await, Err(denied));
        create(&writer, "new", b"2").await.unwrap();
        assert_eq!(server.hooks().keys(BUCKET), ["k", "new"]);
    });
}

#[test]
fn a_part_comes_with_its_place_and_past_the_end_is_416() {
    let (_server, client) = fresh();
    run(async {
        put(&client, "ten", b"0123456789").await;
        put(&client, "empty", b"").await;
        let part = |key: &str, range: &str| {
            client.get_object().bucket(BUCKET).key(key).range(format!("bytes={range}")).send()
        };
        for (range, place, bytes) in [
            ("2-4", "bytes 2-4/10", "234"),
            ("8-99", "bytes 8-9/10", "89"),
            ("7-", "bytes 7-9/10", "789"),
            ("-2", "bytes 8-9/10", "89"),
        ] {
            let got = part("ten", range).await.unwrap();
            assert_eq!(got.content_range(), Some(place));
            assert_eq!(got.content_length(), Some(bytes.len() as i64));
            assert_eq!(got.body.collect().await.unwrap().to_vec(), bytes.as_bytes());
        }
        for (key, range) in [("ten", "10-"), ("ten", "10-20"), ("empty", "0-0"), ("empty", "0-")] {
            assert_eq!(refused(part(key, range).await), is(416, "InvalidRange"), "{key} {range}");
        }
    });
}

#[test]
fn listings_go_on_by_key_or_token_and_hold_a_thousand_keys() {
    let (_server, client) = fresh();
    run(async {
        for key in ["a", "a/1", "a/2", "a/3", "b"] {
            put(&client, key, b"x").await;
        }
        assert_eq!(get(&client, "a").await.unwrap(), get(&client, "a/1").await.unwrap());
        let list = || client.list_objects_v2().bucket(BUCKET).prefix("a/").max_keys(2);
        let first = list().send().await.unwrap();
        let keys = |page: &aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output| {
            page.contents().iter().map(|it| it.key().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            (keys(&first), first.is_truncated),
            (vec!["a/1".into(), "a/2".into()], Some(true))
        );
        let token = first.next_continuation_token().unwrap();
        assert_ne!(token, "a/2");
        let second = list().continuation_token(token).send().await.unwrap();
        assert_eq!((keys(&second), second.is_truncated), (vec!["a/3".into()], Some(false)));
        assert_eq!(second.next_continuation_token(), None);
        assert_eq!(keys(&list().start_after("a/2").send().await.unwrap()), ["a/3"]);
        assert!(keys(&list().max_keys(0).send().await.unwrap()).is_empty());
        let forged = list().continuation_token("a/2").send().await;
        assert_eq!(refused(forged), is(400, "InvalidArgument"));
        let object = &first.contents()[0];
        let head = client.head_object().bucket(BUCKET).key("a/1").send().await.unwrap();
        assert_eq!((object.size(), object.e_tag()), (Some(1), head.e_tag()));
        let all = client.list_objects_v2().bucket(BUCKET).max_keys(5000).send().await.unwrap();
        assert_eq!((all.max_keys, all.key_count), (Some(1000), Some(5)));
    });
}

#[test]
fn a_checksum_is_told_whole_objects_alone_and_when_asked_for() {
    let (_server, client) = fresh();
    run(async {
        let put = || client.put_object().bucket(BUCKET).body(b"hello".to_vec().into());
        put()
            .key("sha")
            .checksum_sha256("LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=")
            .send()
            .await
            .unwrap();
        put().key("crc").send().await.unwrap();
        let get = |key: &str, mode: Option<ChecksumMode>, range: Option<&str>| {
            let get = client.get_object().bucket(BUCKET).key(key).set_checksum_mode(mode);
            get.set_range(range.map(str::to_owned)).send()
        };
        let enabled = Some(ChecksumMode::Enabled);
        let sha = get("sha", enabled.clone(), None).await.unwrap();
        assert_eq!(sha.checksum_sha256(), Some("LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="));
        assert_eq!(
            (sha.checksum_crc32(), sha.checksum_type()),
            (None, Some(&ChecksumType::FullObject))
        );
        let crc = get("crc", enabled.clone(), None).await.unwrap();
        assert_eq!(crc.checksum_crc32(), Some("NhCmhg=="));
        let part = get("crc", enabled.clone(), Some("bytes=0-1")).await.unwrap();
        assert_eq!(part.checksum_crc32(), None);
        let head = client.head_object().bucket(BUCKET).key("crc");
        let head = head.checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
        assert_eq!(head.checksum_crc32(), Some("NhCmhg=="));
        let head = client.head_object().bucket(BUCKET).key("crc").send().await.unwrap();
        assert_eq!(head.checksum_crc32(), None);
    });
}

#[test]
fn buckets_are_made_and_known_and_belong_to_one_account() {
    let (_server, client) = fresh();
    run(async {
        let put = |bucket: &str| client.put_object().bucket(bucket).key("k").body(vec![1].into());
        assert_eq!(refused(put("second").send().await), is(404, "NoSuchBucket"));
        let list = client.list_objects_v2().bucket("second").send().await;
        assert_eq!(refused(list), is(404, "NoSuchBucket"));
        assert_eq!(refused(client.head_bucket().bucket("second").send().await).0, 404);
        client.create_bucket().bucket("second").send().await.unwrap();
        client.head_bucket().bucket("second").send().await.unwrap();
        put("second").send().await.unwrap();
        assert_eq!(get(&client, "k").await, Err(is(404, "NoSuchKey")));
        let again = client.create_bucket().bucket("second").send().await;
        assert_eq!(refused(again), is(409, "BucketAlreadyOwnedByYou"));

        let owner = "999999999999";
        let denied = is(403, "AccessDenied");
        assert_eq!(refused(put(BUCKET).expected_bucket_owner(owner).send().await), denied);
        let get = client.get_object().bucket("second").key("k").expected_bucket_owner(owner);
        assert_eq!(refused(get.send().await), denied);
        let list = client.list_objects_v2().bucket(BUCKET).expected_bucket_owner(owner);
        assert_eq!(refused(list.send().await), denied);
        put(BUCKET).expected_bucket_owner(OWNER).send().await.unwrap();
    });
}

#[test]
fn what_it_does_not_know_is_answered_501() {
    let (_server, client) = fresh();
    run(async {
        put(&client, "k", b"1").await;
        let copy = client.copy_object().bucket(BUCKET).key("l").copy_source(format!("{BUCKET}/k"));
        assert_eq!(refused(copy.send().await), is(501, "NotImplemented"));
        let parts = client.create_multipart_upload().bucket(BUCKET).key("l").send().await;
        assert_eq!(refused(parts), is(501, "NotImplemented"));
        let old = client.list_objects().bucket(BUCKET).send().await;
        assert_eq!(refused(old), is(501, "NotImplemented"));
        let folders = client.list_objects_v2().bucket(BUCKET).delimiter("/").send().await;
        assert_eq!(refused(folders), is(501, "NotImplemented"));
    });
}

#[test]
fn a_dropped_server_is_gone() {
    let (server, client) = fresh();
    drop(server);
    assert_eq!(run(create(&client, "k", b"")), Err(is(0, "")));
}
