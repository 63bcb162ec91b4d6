//! Somebody else's server, and the proxy before a server.

use std::sync::OnceLock;

use aws_sdk_s3::Client;
use vellum_sim::store::contract;
use vellum_tests_real::s3::{BUCKET, Credential, FaultProxy, Moto, OWNER_KEYS, StrictServer};

use super::client::{client, create, get, is, keeps, put, refused, replace, run};

/// One for all tests of this program: it takes seconds to start.
fn moto() -> &'static Moto {
    static MOTO: OnceLock<Moto> = OnceLock::new();
    MOTO.get_or_init(|| {
        let moto = Moto::start().unwrap();
        let client = client(&moto.endpoint(), OWNER_KEYS);
        run(client.create_bucket().bucket(BUCKET).send()).unwrap();
        moto
    })
}

fn moto_client() -> Client {
    client(&moto().endpoint(), OWNER_KEYS)
}

#[test]
fn moto_keeps_the_contract_but_for_identities() {
    for (index, (name, check)) in contract::ALL.into_iter().enumerate() {
        println!("{name}");
        keeps(&moto().endpoint(), &format!("contract/{index}/"), check);
    }
    let check = contract::an_identity_never_comes_back;
    let run = std::panic::AssertUnwindSafe(|| keeps(&moto().endpoint(), "identities/", check));
    assert!(std::panic::catch_unwind(run).is_err(), "its identities are made of the bytes");
}

#[test]
fn moto_tells_conditions_and_parts_as_s3_does() {
    let client = moto_client();
    run(async {
        let first = create(&client, "told/k", b"0123456789").await.unwrap();
        assert_eq!(create(&client, "told/k", b"2").await, Err(is(412, "PreconditionFailed")));
        let stale = replace(&client, "told/k", b"3", "\"no-such\"").await;
        assert_eq!(stale, Err(is(412, "PreconditionFailed")));
        let none = replace(&client, "told/none", b"3", &first).await;
        assert_eq!(none, Err(is(404, "NoSuchKey")));
        let part = |range: &str| client.get_object().bucket(BUCKET).key("told/k").range(range);
        let got = part("bytes=8-99").send().await.unwrap();
        assert_eq!(got.content_range(), Some("bytes 8-9/10"));
        assert_eq!(refused(part("bytes=10-").send().await), is(416, "InvalidRange"));
        let put = client.put_object().bucket("no-such-bucket").key("k").send().await;
        assert_eq!(refused(put), is(404, "NoSuchBucket"));
    });
}

/// When one of these fails, moto has learned it: then say so at [`Moto`].
#[test]
fn moto_does_not_look_at_signatures_owners_checksums_and_strange_conditions() {
    let moto = moto();
    let wrong = Credential { secret: "another", ..OWNER_KEYS };
    let client = client(&moto.endpoint(), wrong);
    run(async {
        create(&client, "lax/k", b"1").await.unwrap();
        let put = || client.put_object().bucket(BUCKET).key("lax/k").body(b"hello".to_vec().into());
        put().expected_bucket_owner("999999999999").send().await.unwrap();
        put().content_md5("AAAAAAAAAAAAAAAAAAAAAA==").send().await.unwrap();
        put().checksum_crc32("AAAAAA==").send().await.unwrap();
        put().if_none_match("\"an-identity\"").send().await.unwrap();
    });
}

#[test]
fn the_proxy_passes_requests_on_to_either_server_and_breaks_them_on_request() {
    let strict = StrictServer::start().unwrap();
    for upstream in [strict.address().to_string(), moto().address().to_owned()] {
        let proxy = FaultProxy::start(&upstream, 1).unwrap();
        let client = client(&proxy.endpoint(), OWNER_KEYS);
        run(async {
            put(&client, "proxy/k", b"hello").await;
            assert_eq!(get(&client, "proxy/k").await.unwrap(), b"hello");
            proxy.once("reset_after", "PUT", "proxy/lost", 1).unwrap();
            create(&client, "proxy/lost-1", b"1").await.unwrap();
            assert_eq!(create(&client, "proxy/lost-2", b"2").await, Err(is(0, "")));
            assert_eq!(get(&client, "proxy/lost-2").await.unwrap(), b"2");
            proxy.set_faults(&["slow503=1,GET"]).unwrap();
            assert_eq!(get(&client, "proxy/k").await, Err(is(503, "SlowDown")));
            proxy.set_faults(&[]).unwrap();
            proxy.outage("refuse").unwrap();
            assert_eq!(get(&client, "proxy/k").await, Err(is(0, "")));
            proxy.outage("none").unwrap();
            assert_eq!(get(&client, "proxy/k").await.unwrap(), b"hello");
            let stats = proxy.stats().unwrap();
            assert_eq!(stats["fault.reset_after"], 1);
            assert_eq!(stats["fault.slow503"], 1);
            assert!(proxy.set_faults(&["no such fault"]).is_err());
        });
    }
}

#[test]
fn a_server_of_its_own_ends_with_its_handle() {
    let strict = StrictServer::start().unwrap();
    let proxy = FaultProxy::start(&strict.address().to_string(), 1).unwrap();
    let endpoint = proxy.endpoint();
    let address = endpoint.strip_prefix("http://").unwrap();
    std::net::TcpStream::connect(address).unwrap();
    drop(proxy);
    assert!(std::net::TcpStream::connect(address).is_err());
}
