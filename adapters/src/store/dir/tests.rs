#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Child, Command};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use vellum_core::shapes::{Condition, StoreError, StoreOutcome, StoreRequest};
use vellum_sim::store::contract;

use super::super::testing::{add_one, create, get, keeps, put, run};
use super::super::{Location, ObjectStore, OpenError, Store};
use super::DirStore;

fn fresh() -> (TempDir, DirStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = DirStore::open(dir.path()).unwrap();
    (dir, store)
}

#[test]
fn the_directory_store_keeps_the_contract() {
    for (name, check) in contract::ALL.into_iter().chain(contract::IDENTITIES) {
        println!("{name}");
        let (_dir, store) = fresh();
        keeps(&store, check);
    }
}

const COUNTING_IN: &str = "VELLUM_TEST_COUNTING_IN";

/// The test starts its own executable again, which then counts in the directory it is told.
#[test]
fn of_8_processes_that_count_in_one_ref_none_is_lost() {
    if let Some(dir) = std::env::var_os(COUNTING_IN) {
        let store = DirStore::open(dir.as_ref()).unwrap();
        return run(add_one(&store, "refs/count", 25));
    }
    let (dir, store) = fresh();
    run(create(&store, "refs/count", b"0"));
    let name = "store::dir::tests::of_8_processes_that_count_in_one_ref_none_is_lost";
    let start = |_| -> Child {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", name]).env(COUNTING_IN, dir.path());
        child.stdout(std::process::Stdio::null()).spawn().unwrap()
    };
    let children: Vec<Child> = (0..8).map(start).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(run(get(&store, "refs/count")).unwrap().0, b"200");
}

#[test]
fn of_two_stores_on_one_directory_exactly_one_creates() {
    let (dir, one) = fresh();
    let two = DirStore::open(dir.path()).unwrap();
    run(async {
        for round in 0..50 {
            let key = format!("race/{round}");
            let tries = futures::future::join(
                one.request(put(&key, b"1", Condition::Absent)),
                two.request(put(&key, b"2", Condition::Absent)),
            );
            let stored = <[StoreOutcome; 2]>::from(tries.await);
            let wins = stored.iter().filter(|o| matches!(o, StoreOutcome::Stored { .. })).count();
            assert_eq!(wins, 1, "{stored:?}");
        }
    });
}

#[test]
fn unfinished_objects_are_invisible() {
    let (dir, store) = fresh();
    run(create(&store, "chunks/aa", b"x"));
    fs::write(dir.path().join(".tmp/0123-4"), b"half of an obj").unwrap();
    fs::write(dir.path().join("chunks/.hidden"), b"x").unwrap();
    run(async {
        let request = StoreRequest::List { prefix: String::new(), after: String::new(), max: 10 };
        let keys = vec!["chunks/aa".to_owned()];
        assert_eq!(store.request(request).await, StoreOutcome::Listed { keys, more: false });
    });
}

#[test]
fn a_writer_sweeps_what_dead_writers_left_and_leaves_the_living_alone() {
    let (dir, store) = fresh();
    run(create(&store, "k", b"x"));
    let temporary = dir.path().join(".tmp");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    let make = |name: &str, modified: SystemTime| {
        let file = fs::File::create(temporary.join(name)).unwrap();
        file.set_modified(modified).unwrap();
        file
    };
    make("dead", hour_ago);
    make("young", SystemTime::now());
    let living = make("living", hour_ago);
    rustix::fs::flock(&living, rustix::fs::FlockOperation::NonBlockingLockShared).unwrap();
    let again = DirStore::open(dir.path()).unwrap();
    assert!(temporary.join("dead").exists(), "opening alone changes nothing");
    run(create(&again, "l", b"x"));
    assert!(!temporary.join("dead").exists());
    assert!(temporary.join("young").exists() && temporary.join("living").exists());
}

#[test]
fn a_body_that_could_not_be_made_durable_is_not_shown() {
    let (_dir, store) = fresh();
    run(async {
        create(&store, "refs/other", b"1").await;
        let etag = create(&store, "refs/main", b"1").await;
        store.dir.syncs.fail("refs");
        let moved = put("refs/main", b"2", Condition::Matches(etag));
        assert_eq!(store.request(moved).await, StoreOutcome::Failed(StoreError::Ambiguous));
        let read = |key: &str| StoreRequest::Get { key: key.into(), range: None, fresh: false };
        let refused = StoreOutcome::Failed(StoreError::Unreachable);
        assert_eq!(store.request(read("refs/main")).await, refused);
        assert!(matches!(store.request(read("refs/other")).await, StoreOutcome::Got { .. }));
    });
}

#[test]
fn a_temporary_directory_that_was_removed_is_made_again() {
    let (dir, store) = fresh();
    run(create(&store, "a", b"1"));
    fs::remove_dir_all(dir.path().join(".tmp")).unwrap();
    run(create(&store, "b", b"2"));
}

#[test]
fn links_and_directories_are_no_objects() {
    let (dir, store) = fresh();
    fs::write(dir.path().join("real"), b"x").unwrap();
    symlink("real", dir.path().join("link")).unwrap();
    symlink("/etc/passwd", dir.path().join("out")).unwrap();
    fs::create_dir(dir.path().join("dir")).unwrap();
    run(async {
        for key in ["link", "out", "dir"] {
            let got = store
                .request(StoreRequest::Get { key: key.into(), range: None, fresh: false })
                .await;
            let refused = [StoreError::NotFound, StoreError::Unsupported];
            assert!(refused.iter().any(|e| got == StoreOutcome::Failed(e.clone())), "{key}");
        }
    });
}

#[test]
fn a_directory_that_went_away_is_unreachable_not_empty() {
    let (dir, store) = fresh();
    run(create(&store, "a/k", b"x"));
    fs::remove_dir_all(dir.path()).unwrap();
    run(async {
        let outcome = store.request(put("b/k", b"x", Condition::Absent)).await;
        assert_eq!(outcome, StoreOutcome::Failed(StoreError::Unreachable));
    });
}

#[test]
fn a_full_disk_is_told_as_no_space() {
    let error = fs::write("/dev/full", b"x").unwrap_err();
    assert_eq!(super::super::error::from_io(&error), StoreError::NoSpace);
}

#[test]
fn paths_that_are_no_local_directory_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let open = |path: &str| run(Store::open(&Location::from(path))).err().unwrap();
    assert!(matches!(open(file.to_str().unwrap()), OpenError::NotDirectory { .. }));
    assert!(matches!(open("/no/such/dir"), OpenError::Io { .. }));
    assert!(matches!(open("ftp://bucket/prefix"), OpenError::Scheme { .. }));
    assert!(matches!(open("s3://"), OpenError::Bucket { .. }));
}

#[test]
fn requests_and_bytes_are_counted_by_kind() {
    let dir = tempfile::tempdir().unwrap();
    let store = run(Store::open(&Location::from(dir.path()))).unwrap();
    run(async {
        create(&*store, "k", b"12345").await;
        store.request(put("k", b"123", Condition::Absent)).await;
        get(&*store, "k").await;
    });
    let counts = store.counts();
    assert_eq!((counts.put.requests, counts.put.failed, counts.put.bytes), (2, 1, 5));
    assert_eq!((counts.get.requests, counts.get.failed, counts.get.bytes), (1, 0, 5));
}
