//! The options of `commit`: what it would do, whether it has to, how far it is, and whether what
//! it sent is there.

#![allow(clippy::unwrap_used)]

mod common;
mod mounted;

use std::fs;
use std::process::Stdio;

use mounted::store::Place;
use mounted::{Bench, until};
use serde_json::Value;

#[test]
fn a_dry_run_says_what_would_be_published_and_publishes_nothing() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    assert_eq!(common::ok(mount.vellum("commit").arg("--dry-run")), "nothing to commit\n");
    fs::write(mount.path("file"), vec![7; 3000]).unwrap();
    let said = common::ok(mount.vellum("commit").arg("--dry-run"));
    assert!(said.contains("A file\n") && said.contains("at most 2.93 KiB"), "{said}");
    let told = common::ok_json(mount.vellum("commit").args(["--dry-run", "--json"]));
    assert_eq!((&told["dry_run"], &told["send_bytes"]), (&Value::Bool(true), &3000.into()));
    assert_eq!(told["changes"].as_array().unwrap().len(), 1);
    assert_eq!(mount.status()["dirty"], true);
    assert!(!bench.holds("chunks") && !bench.holds("snapshots"));
    mount.commit();
    mount.unmount();

    let mount = bench.mount_with("mnt", &["--read-only"]);
    let said = common::fails(mount.vellum("commit").arg("--dry-run"), 2);
    assert!(said.contains("no branch") && said.contains("without --read-only"), "{said}");
    mount.unmount();
}

#[test]
fn a_commit_of_nothing_exits_as_that_of_git_does_unless_it_is_to_be_a_success() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let commit = |args: &[&str]| common::run(mount.vellum("commit").args(["-m", "it"]).args(args));
    let (code, said, errors) = commit(&[]);
    assert_eq!((code, errors.as_str()), (1, ""));
    assert_eq!(said, "nothing to commit; the branch is empty\n");
    assert_eq!(commit(&["--if-changed"]), (0, said, String::new()));
    fs::write(mount.path("file"), b"x").unwrap();
    assert_eq!(commit(&["--if-changed"]).0, 0);
    let (code, said, _) = commit(&["--json"]);
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &told["committed"]), (1, &Value::Bool(false)));
    assert_eq!(commit(&["--if-changed", "--json"]).0, 0);
    mount.unmount();
}

#[test]
fn the_phases_of_a_commit_are_told_in_order_one_json_object_a_line() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    fs::write(mount.path("big"), vec![7; 9 << 20]).unwrap();
    let args = ["-m", "it", "--progress", "json", "--verify", "--json"];
    let (code, stdout, stderr) = common::run(mount.vellum("commit").args(args));
    assert_eq!(code, 0, "{stderr}");
    let told: Value = serde_json::from_str(&stdout).unwrap();
    let events: Vec<Value> =
        stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut phases: Vec<&str> = events.iter().map(|it| it["phase"].as_str().unwrap()).collect();
    phases.dedup();
    let expected = ["collect", "data", "trees", "snapshot", "publish", "verify", "done"];
    assert_eq!(phases, expected);
    let objects = |event: &Value| event["objects"].as_u64().unwrap();
    assert!(
        events
            .windows(2)
            .filter(|pair| pair[1]["phase"] != "verify")
            .all(|pair| { pair[0]["phase"] == "verify" || objects(&pair[0]) <= objects(&pair[1]) }),
        "{stderr}"
    );
    let last = events.last().unwrap();
    assert_eq!((&last["objects"], &last["bytes"]), (&told["objects"], &told["bytes"]));
    // All but the ref.
    assert_eq!(told["verified"].as_u64().unwrap() + 1, told["objects"].as_u64().unwrap());
    assert_eq!(last["verified"], told["verified"]);

    fs::write(mount.path("big"), b"small").unwrap();
    let (code, _, stderr) =
        common::run(mount.vellum("commit").args(["-m", "it", "--progress", "text"]));
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("sending data: ") && stderr.contains("moving the branch"), "{stderr}");
    fs::write(mount.path("big"), b"other").unwrap();
    let (_, _, stderr) = common::run(mount.vellum("commit").args(["-m", "it"]));
    assert_eq!(stderr, "", "nothing is shown where there is no terminal");
    mount.unmount();
}

#[test]
fn a_commit_that_is_verified_names_the_object_that_is_not_what_was_put() {
    let bench = Bench::on(Place::Directory);
    let hold = bench.path("hold");
    let mount = bench.mount_faulty("mnt", &format!("stuck=refs/@{}", hold.display()));
    fs::write(mount.path("one"), b"first").unwrap();
    let before = mount.commit();
    assert_eq!(before["verified"], Value::Null);

    fs::write(mount.path("one"), b"second").unwrap();
    fs::write(&hold, b"").unwrap();
    let mut commit = mount.vellum("commit");
    commit.args(["-m", "it", "--verify"]).stderr(Stdio::piped()).stdout(Stdio::piped());
    let old = common::objects(&bench.repository(), "chunks");
    let commit = commit.spawn().unwrap();
    let repo = bench.repository();
    until("everything but the ref is there", || common::objects(&repo, "snapshots").len() == 2);
    let new = common::objects(&repo, "chunks").into_iter().find(|it| !old.contains(it)).unwrap();
    common::overwrite(&new, |bytes| bytes[0] ^= 1);
    fs::remove_file(&hold).unwrap();
    let done = commit.wait_with_output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(6), "{said}");
    let key = new.strip_prefix(&repo).unwrap().to_str().unwrap();
    assert!(said.contains(key) && said.contains("corrupted"), "{said}");
    assert!(said.contains("committed ") && said.contains("is published"), "{said}");
    assert_ne!(mount.status()["base"], before["snapshot"]);
    // What was put before is not read back again.
    fs::write(mount.path("two"), b"third").unwrap();
    let told = common::ok_json(mount.vellum("commit").args(["-m", "it", "--verify", "--json"]));
    assert_eq!(told["verified"].as_u64().unwrap() + 1, told["objects"].as_u64().unwrap());
    mount.unmount();
}
