//! The demonstration of the README, to its end.
#![allow(clippy::unwrap_used)]

mod common;

use std::process::Command;

#[test]
fn the_demonstration_runs_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_demo"));
    demo.env("VELLUM_BIN", common::binary()).env("TMPDIR", home.path());
    let said = common::ok(&mut demo);
    for line in ["$ vellum commit mnt", "no difference", "Next: README.md"] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert_eq!(home.path().read_dir().unwrap().count(), 0, "something is left");
}

#[test]
fn a_demonstration_that_fails_says_so_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_demo"));
    demo.env("VELLUM_BIN", "/bin/false").env("TMPDIR", home.path());
    demo.env("PATH", "/usr/bin:/bin");
    let why = common::fails(&mut demo, 1);
    assert!(why.contains("vellum init repo"), "{why}");
    assert_eq!(home.path().read_dir().unwrap().count(), 0, "something is left");
}
