//! `vellum doctor`: each thing that is in the way is found, named, and has a remedy.

#![allow(clippy::unwrap_used)]

mod common;
mod mounted;

use std::process::Command;

use mounted::Bench;
use mounted::store::{Place, sign};
use serde_json::Value;
use vellum_tests_real::s3::{Mode, READER_KEYS, WRITER_KEYS};

/// The exit code, and the checks by name.
fn doctor(command: &mut Command) -> (i32, Vec<Value>) {
    let (exit, stdout, stderr) = common::run(command.arg("--json"));
    let said: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout}{stderr}"));
    assert_eq!(said["ok"].as_bool().unwrap(), exit == 0);
    (exit, said["checks"].as_array().unwrap().clone())
}

/// How a check ended; what it says, with its remedy.
fn check(checks: &[Value], name: &str) -> (String, String) {
    let found = checks.iter().find(|check| check["check"] == name);
    let found = found.unwrap_or_else(|| panic!("{name}: {checks:?}"));
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    if found["state"] != "ok" {
        assert!(!text("remedy").is_empty(), "{found}");
    }
    (text("state"), format!("{} {}", text("what"), text("remedy")))
}

fn state(checks: &[Value], name: &str) -> String {
    check(checks, name).0
}

#[test]
fn a_directory_and_its_mount_are_well() {
    let bench = Bench::on(Place::Directory);
    let mount = bench.mount("mnt");
    for target in [bench.repository(), mount.root().to_path_buf()] {
        let (exit, checks) = doctor(bench.vellum(["doctor"]).arg(target));
        assert_eq!(exit, 0, "{checks:?}");
        for name in ["fuse", "kernel", "runtime", "read", "list", "write", "remove", "conditions"] {
            assert_eq!(state(&checks, name), "ok", "{name}");
        }
        assert!(check(&checks, "branches").1.starts_with("1 branch"), "{checks:?}");
    }
    assert!(!bench.repository().join("probes").exists());
}

#[test]
fn a_bucket_is_looked_at_and_nothing_secret_is_told() {
    let bench = Bench::on(Place::strict());
    let mut call = bench.vellum(["doctor"]);
    let (exit, checks) = doctor(call.arg(bench.repository()).arg("--bandwidth"));
    assert_eq!(exit, 0, "{checks:?}");
    for name in ["credentials", "region", "bucket", "clock", "conditions", "bandwidth", "tags"] {
        assert_eq!(state(&checks, name), "ok", "{name}");
    }
    assert!(check(&checks, "credentials").1.contains("Environment"), "{checks:?}");
    let said = format!("{checks:?}");
    assert!(!said.contains("TESTOWNER") && !said.contains("test-secret"), "{said}");
    assert!(!bench.holds("probes"));
    let (_, text, _) = common::run(bench.vellum(["doctor"]).arg(bench.repository()));
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("ok ")).collect();
    assert!(lines.len() > 10, "{text}");
}

#[test]
fn a_store_that_does_not_keep_conditions_is_found() {
    for (mode, says) in [(Mode::Ignores, "ignores"), (Mode::Races, "more than one succeeds")] {
        let bench = Bench::on(Place::strict());
        bench.place().server().hooks().set_mode(mode);
        let (exit, checks) = doctor(bench.vellum(["doctor"]).arg(bench.repository()));
        let (found, what) = check(&checks, "conditions");
        assert_eq!((exit, found.as_str()), (3, "failed"), "{what}");
        assert!(what.contains(says) && what.contains("--single-writer"), "{what}");
    }
}

#[test]
fn rights_that_are_lacking_are_named() {
    let bench = Bench::on(Place::strict());
    let call = |id: &str, secret: &str| {
        let mut call = bench.vellum(["doctor"]);
        sign(&mut call, id, secret);
        doctor(call.arg(bench.repository()))
    };
    let (exit, checks) = call(READER_KEYS.id, READER_KEYS.secret);
    let (found, what) = check(&checks, "write");
    assert_eq!((exit, found.as_str()), (0, "warning"), "{checks:?}");
    assert!(what.contains("s3:PutObject") && what.contains("--read-only"), "{what}");
    let (exit, checks) = call(WRITER_KEYS.id, WRITER_KEYS.secret);
    assert_eq!((exit, state(&checks, "remove").as_str()), (0, "ok"), "{checks:?}");
    let (exit, checks) = call("NOBODY", "nothing");
    assert_eq!((exit, state(&checks, "read").as_str()), (4, "failed"), "{checks:?}");
    assert!(check(&checks, "read").1.contains("s3:GetObject"), "{checks:?}");
}

#[test]
fn clocks_that_differ_are_told_of() {
    let bench = Bench::on(Place::strict());
    for (ahead, expected, exit) in [(0, "ok", 0), (-300, "warning", 0), (3600, "failed", 4)] {
        bench.place().server().hooks().set_clock(ahead);
        let (ended, checks) = doctor(bench.vellum(["doctor"]).arg(bench.repository()));
        let (found, what) = check(&checks, "clock");
        assert_eq!((found.as_str(), ended), (expected, exit), "{what}");
    }
}

#[test]
fn what_is_not_there_is_named() {
    let bench = Bench::on(Place::strict());
    let mut away = bench.vellum(["doctor"]);
    away.arg(bench.repository()).args(["--endpoint-url", "http://127.0.0.1:1"]);
    let (exit, checks) = doctor(&mut away);
    assert_eq!((exit, state(&checks, "bucket").as_str()), (3, "failed"), "{checks:?}");
    let (exit, checks) = doctor(bench.vellum(["doctor"]).arg("s3://no-such-bucket/repo"));
    assert_eq!((exit, state(&checks, "bucket").as_str()), (3, "failed"), "{checks:?}");
    let (exit, checks) = doctor(bench.vellum(["doctor"]).arg("s3://vellum-test/elsewhere"));
    assert_eq!((exit, state(&checks, "repository").as_str()), (2, "failed"), "{checks:?}");
    let mut unsigned = bench.vellum(["doctor"]);
    unsigned.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    let (exit, checks) = doctor(unsigned.arg(bench.repository()));
    assert_eq!((exit, state(&checks, "credentials").as_str()), (4, "failed"), "{checks:?}");
}

#[test]
fn a_host_without_fuse_is_told_what_to_do() {
    let bench = Bench::bare(Place::Directory);
    let (exit, checks) = doctor(&mut bench.vellum(["doctor"]));
    assert_eq!((exit, state(&checks, "fuse").as_str()), (0, "ok"), "{checks:?}");
    let vellum = bench.vellum(["doctor"]);
    // A mount namespace of its own, with nothing under /dev but what is asked for.
    let mut without = Command::new("unshare");
    let hide = "mount -t tmpfs none /dev && exec \"$0\" doctor --json";
    without.args(["--mount", "sh", "-c", hide]).arg(vellum.get_program());
    for (name, value) in vellum.get_envs() {
        if let Some(value) = value {
            without.env(name, value);
        }
    }
    let (exit, stdout, stderr) = common::run(&mut without);
    let said: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout}{stderr}"));
    let checks = said["checks"].as_array().unwrap().clone();
    let (found, what) = check(&checks, "fuse");
    assert_eq!((exit, found.as_str()), (2, "failed"), "{what}");
    assert!(what.contains("modprobe fuse"), "{what}");
}
