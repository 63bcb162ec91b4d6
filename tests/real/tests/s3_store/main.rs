//! The store in a bucket keeps the contract of all stores, on servers that differ, and tells what
//! came of a request that went wrong.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod expect;
mod outcomes;
mod settle;

use std::path::PathBuf;
use std::sync::Arc;

use aws_credential_types::Credentials;
use futures::future::join_all;
use tokio::runtime::{Builder, Runtime};
use vellum::store::{Location, ObjectStore, Store, StoreOptions};
use vellum_core::shapes::{StoreOutcome, StoreRequest};
use vellum_sim::store::contract::{self, Check};
use vellum_tests_real::s3::{BUCKET, Credential, FaultProxy, Moto, OWNER_KEYS, StrictServer};

/// What a program says that has its own credentials.
pub(crate) fn options(endpoint: &str, keys: Credential) -> StoreOptions {
    StoreOptions {
        endpoint_url: Some(endpoint.to_owned()),
        path_style: true,
        credentials: Some(Credentials::new(keys.id, keys.secret, None, None, "test")),
        ..StoreOptions::default()
    }
}

/// A store under a prefix of the bucket, with the runtime that its requests need.
pub(crate) struct Bucket {
    pub(crate) runtime: Runtime,
    pub(crate) store: Arc<Store>,
}

impl Bucket {
    pub(crate) fn at(place: &str, options: StoreOptions) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let location = Location::new(&PathBuf::from(place), options);
        let store = runtime.block_on(Store::open(&location)).unwrap();
        Self { runtime, store }
    }

    pub(crate) fn open(endpoint: &str, prefix: &str) -> Self {
        Self::at(&format!("s3://{BUCKET}/{prefix}"), options(endpoint, OWNER_KEYS))
    }

    pub(crate) fn send(&self, request: StoreRequest) -> StoreOutcome {
        self.runtime.block_on(self.store.request(request))
    }

    fn send_all(&self, requests: Vec<StoreRequest>) -> Vec<StoreOutcome> {
        let all = requests.into_iter().map(|request| self.store.request(request));
        self.runtime.block_on(join_all(all))
    }
}

fn keeps<'a>(endpoint: &str, checks: impl IntoIterator<Item = &'a (&'static str, Check)>) {
    for (number, (name, check)) in checks.into_iter().enumerate() {
        println!("{name}");
        let bucket = Bucket::open(endpoint, &format!("prefix/{number}"));
        check(&mut |requests| bucket.send_all(requests));
    }
}

/// A moto with the bucket.
pub(crate) fn moto() -> Moto {
    Moto::with_bucket().unwrap()
}

#[test]
fn the_bucket_store_keeps_the_contract_on_a_strict_server() {
    for form in 0..3 {
        let server = StrictServer::with_form(form).unwrap();
        keeps(&server.endpoint(), contract::ALL.iter().chain(&contract::IDENTITIES));
    }
}

#[test]
fn the_bucket_store_keeps_the_contract_on_moto() {
    keeps(&moto().endpoint(), &contract::ALL);
}

#[test]
fn the_bucket_store_keeps_the_contract_behind_a_proxy() {
    let (server, moto) = (StrictServer::start().unwrap(), moto());
    for upstream in [server.address().to_string(), moto.address().to_owned()] {
        let proxy = FaultProxy::start(&upstream, 1).unwrap();
        keeps(&proxy.endpoint(), &contract::ALL);
    }
}

#[test]
fn what_is_sent_again_until_it_is_settled_keeps_the_contract_behind_a_proxy_that_breaks_things() {
    let (server, moto) = (StrictServer::start().unwrap(), moto());
    for upstream in [server.address().to_string(), moto.address().to_owned()] {
        let proxy = FaultProxy::start(&upstream, 7).unwrap();
        proxy.set_faults(&settle::FAULTS).unwrap();
        // Of two who send the same bytes neither can tell which of them it was.
        let checks = contract::ALL.iter().filter(|(name, _)| !name.contains("24 who count"));
        for (number, (name, check)) in checks.enumerate() {
            println!("{name}");
            let bucket = Bucket::open(&proxy.endpoint(), &format!("prefix/{number}"));
            check(&mut |requests| settle::send_all(&bucket, requests));
        }
        let stats = proxy.stats().unwrap();
        for fault in ["slow503", "err500_after", "reset_after", "reset_before", "truncate"] {
            assert!(stats[format!("fault.{fault}")].as_u64() > Some(0), "{fault}: {stats}");
        }
    }
}

#[test]
fn a_bucket_in_another_region_is_followed_there() {
    let server = StrictServer::start().unwrap();
    server.hooks().set_region("eu-north-9");
    let mut elsewhere = options(&server.endpoint(), OWNER_KEYS);
    elsewhere.region = Some("us-west-2".into());
    let bucket = Bucket::at(&format!("s3://{BUCKET}/there"), elsewhere);
    let body = vec![vellum_core::shapes::Slice::whole(vec![7; 2 << 20])];
    let condition = vellum_core::shapes::Condition::Absent;
    let put = StoreRequest::Put { key: "chunks/a".into(), body, condition };
    // Both are refused, and asked again there.
    let outcomes = bucket.send_all(vec![put.clone(), contract::get("chunks/none")]);
    assert!(matches!(outcomes[0], StoreOutcome::Stored { .. }), "{outcomes:?}");
    let missing = StoreOutcome::Failed(vellum_core::shapes::StoreError::NotFound);
    assert_eq!(outcomes[1], missing);
    let exists = StoreOutcome::Failed(vellum_core::shapes::StoreError::Exists);
    assert_eq!(bucket.send(put), exists);
}
