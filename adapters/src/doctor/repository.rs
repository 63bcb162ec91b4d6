//! A repository: what may be done with it, whether conditions of writes are kept, how long requests
//! take, and whether it can be read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use vellum_core::format::{FORMAT_VERSION, HEADER_KEY, RefKind};
use vellum_core::shapes::{Condition, Slice, StoreError, StoreOutcome, StoreRequest};

use super::{Asked, Finding};
use crate::cli::{Exit, count, size};
use crate::repo::{Breach, Repo, list_refs, probe};
use crate::store::{Location, ObjectStore, Store};

/// Requests of each kind of which the median is told.
const ROUNDS: usize = 5;

/// Bytes that are sent and read to see how fast that is.
const BULK_BYTES: usize = 16 << 20;

pub(super) async fn findings(location: &Location, asked: Asked) -> Vec<Finding> {
    let opened = Repo::open(location.clone()).await;
    let store = match Store::open(location).await {
        Ok(store) => store,
        Err(error) => return vec![Finding::of("store", crate::repo::RepoError::from(error))],
    };
    let folder = match folder() {
        Ok(folder) => folder,
        Err(finding) => return vec![finding],
    };
    let mut findings = rights(&store, &folder).await;
    let may_write = findings.iter().all(|finding| finding.check != "write" || is_ok(finding));
    if may_write {
        findings.push(conditions(&store, opened.as_ref().ok()).await);
        if asked.bandwidth {
            findings.push(bandwidth(&store, &folder).await);
        }
    }
    if store.to_be_probed().is_none() {
        // A directory keeps the folders of what is removed. Others may use the upper one.
        let folder = location.address.join(&folder);
        for empty in [folder.as_path(), &location.address.join("probes")] {
            let _ = std::fs::remove_dir(empty);
        }
    }
    match opened {
        Ok(repo) => findings.extend(readable(&repo).await),
        Err(error) => findings.push(Finding::of("repository", error)),
    }
    findings
}

fn is_ok(finding: &Finding) -> bool {
    finding.state == super::State::Ok
}

fn denied(check: &'static str, doing: &str, error: &StoreError, rights: &str) -> Finding {
    let what = format!("{doing} fails: {}", words(error));
    if *error == StoreError::Denied {
        let remedy = format!("let these credentials have {rights} (see docs/policies)");
        return Finding::failed(check, Exit::Credentials, what, remedy);
    }
    let exit = if *error == StoreError::NoSpace { Exit::NoSpace } else { Exit::Store };
    Finding::failed(check, exit, what, "look at what holds the repository, then run it again")
}

fn words(error: &StoreError) -> &'static str {
    match error {
        StoreError::NotFound => "it is not there",
        StoreError::Exists | StoreError::Mismatch => "somebody else was faster",
        StoreError::Throttled => "the store asks for patience",
        StoreError::Unreachable => "the store can't be reached",
        StoreError::Ambiguous => "the store did not say whether it was done",
        StoreError::Denied => "it is not allowed",
        StoreError::NoSpace => "the store is full",
        StoreError::Damaged => "what came is damaged",
        StoreError::NoBucket => "there is no such bucket",
        StoreError::Unsupported => "the store can't do that",
    }
}

fn put(key: &str, bytes: Vec<u8>) -> StoreRequest {
    let body = vec![Slice::whole(bytes)];
    StoreRequest::Put { key: key.to_owned(), body, condition: Condition::Absent }
}

fn get(key: &str) -> StoreRequest {
    StoreRequest::Get { key: key.to_owned(), range: None, fresh: true }
}

/// A folder that nobody else writes to.
fn folder() -> Result<String, Finding> {
    let mut random = [0; 16];
    match getrandom::fill(&mut random) {
        Ok(()) => Ok(format!("probes/{:032x}", u128::from_le_bytes(random))),
        Err(error) => {
            let what = format!("can't get a random number: {error}");
            Err(Finding::failed("write", Exit::Store, what, "make /dev/urandom readable"))
        }
    }
}

/// Reads, lists, writes and removes, each on its own.
async fn rights(store: &Store, folder: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut took = Vec::new();
    let mut read = Ok(());
    for _ in 0..ROUNDS {
        let began = Instant::now();
        match store.request(get(HEADER_KEY)).await.got() {
            Ok(_) | Err(StoreError::NotFound) => took.push(began.elapsed()),
            Err(error) => read = Err(error),
        }
    }
    findings.push(match read {
        Ok(()) => Finding::ok("read", format!("objects can be read, in {}", median(&mut took))),
        Err(error) => denied("read", "reading vellum.json", &error, "s3:GetObject"),
    });
    let list = StoreRequest::List { prefix: "refs/".into(), after: String::new(), max: 1 };
    findings.push(if let StoreOutcome::Failed(error) = store.request(list).await {
        denied("list", "listing refs/", &error, "s3:ListBucket")
    } else {
        Finding::ok("list", "names can be listed")
    });
    let mut keys = Vec::new();
    let mut took = Vec::new();
    let mut wrote = Ok(());
    for round in 0..ROUNDS {
        let key = format!("{folder}/{round}");
        let began = Instant::now();
        match store.request(put(&key, b"doctor".to_vec())).await.stored() {
            Ok(_) => took.push(began.elapsed()),
            Err(error) => wrote = Err(error),
        }
        keys.push(key);
        if wrote.is_err() {
            break;
        }
    }
    findings.push(match &wrote {
        Ok(()) => Finding::ok("write", format!("objects can be written, in {}", median(&mut took))),
        // Who only reads does well without.
        Err(StoreError::Denied) => Finding::warning(
            "write",
            "objects can't be written: it is not allowed",
            "mounts must be --read-only; committing needs s3:PutObject (see docs/policies)",
        ),
        Err(error) => denied("write", "writing below probes/", error, "s3:PutObject"),
    });
    if wrote.is_ok() {
        findings.push(remove(store, &keys).await);
    }
    findings
}

async fn remove(store: &Store, keys: &[String]) -> Finding {
    let mut removed = Ok(());
    for key in keys {
        if let StoreOutcome::Failed(error) =
            store.request(StoreRequest::Delete { key: key.clone() }).await
        {
            removed = Err(error);
        }
    }
    match removed {
        Ok(()) => Finding::ok("remove", "objects can be removed"),
        Err(error) => Finding::warning(
            "remove",
            format!("small objects stay below probes/: {}", words(&error)),
            "s3:DeleteObject below probes/ clears them away; branch and tag --delete need it too",
        ),
    }
}

fn median(took: &mut [Duration]) -> String {
    took.sort_unstable();
    match took.get(took.len() / 2) {
        Some(middle) => {
            format!("{:.1} ms (the median of {})", middle.as_secs_f64() * 1e3, took.len())
        }
        None => "no time".to_owned(),
    }
}

async fn conditions(store: &Store, repo: Option<&Arc<Repo>>) -> Finding {
    if store.to_be_probed().is_none() {
        return Finding::ok("conditions", "a directory keeps conditions of writes");
    }
    let is_single = repo.is_some_and(|repo| repo.header().is_single_writer());
    match probe(store).await {
        Ok(None) => Finding::ok("conditions", "conditions of writes are kept, in races too"),
        Ok(Some(breach)) if is_single => Finding::warning(
            "conditions",
            format!("the store does not keep conditions of writes: {breach}"),
            "the repository is for a single writer: never let two write to it at once",
        ),
        Ok(Some(breach)) => broken(&breach),
        Err(error) => Finding::of("conditions", error),
    }
}

fn broken(breach: &Breach) -> Finding {
    Finding::failed(
        "conditions",
        Exit::Store,
        format!("the store does not keep conditions of writes: {breach}"),
        "two commits could lose an update: use another store, or make the repository with \
         --single-writer if only one at a time will ever write to it",
    )
}

async fn bandwidth(store: &Store, folder: &str) -> Finding {
    let key = format!("{folder}/bulk");
    let rate = |began: Instant| size((BULK_BYTES as f64 / began.elapsed().as_secs_f64()) as u64);
    let began = Instant::now();
    let wrote = store.request(put(&key, vec![0x5a; BULK_BYTES])).await.stored();
    let up = rate(began);
    let began = Instant::now();
    let read = store.request(get(&key)).await.got();
    let down = rate(began);
    // Whether that may be done was told already.
    drop(store.request(StoreRequest::Delete { key }).await);
    match wrote.map(drop).and(read.map(drop)) {
        Ok(()) => Finding::ok("bandwidth", format!("{up}/s written, {down}/s read, in one stream")),
        Err(error) => denied("bandwidth", "moving 16 MiB", &error, "s3:PutObject"),
    }
}

/// Whether the header and the refs can be read.
async fn readable(repo: &Arc<Repo>) -> Vec<Finding> {
    let chunk = size(u64::from(repo.header().chunk_bytes));
    let what = format!("format {FORMAT_VERSION}, chunks of {chunk}");
    let mut findings = vec![Finding::ok("repository", what)];
    for (check, word, kind) in
        [("branches", "branch", RefKind::Branch), ("tags", "tag", RefKind::Tag)]
    {
        findings.push(match list_refs(repo, kind).await {
            Ok(rows) => {
                let plural = count(rows.len() as u64, word).replace("branchs", "branches");
                Finding::ok(check, format!("{plural} can be read"))
            }
            Err(error) => Finding::of(check, error),
        });
    }
    findings
}
