//! `vellum discard` and `vellum restore` on real mounts.

#![allow(clippy::unwrap_used)]

mod common;
mod mounted;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use mounted::{Bench, Mount};
use serde_json::Value;

/// The exit code of a call, and what it says on standard error.
fn refused(command: &mut std::process::Command) -> (i32, String) {
    let output = command.output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// A mount with files of several kinds in its base.
fn with_files(bench: &Bench) -> Mount<'_> {
    let mount = bench.mount("mnt");
    fs::write(mount.path("big"), vec![7; 300_000]).unwrap();
    fs::write(mount.path("small"), b"small").unwrap();
    fs::create_dir_all(mount.path("d/e")).unwrap();
    fs::write(mount.path("d/x"), b"ex").unwrap();
    fs::write(mount.path("d/e/y"), b"why").unwrap();
    symlink("small", mount.path("link")).unwrap();
    fs::hard_link(mount.path("d/x"), mount.path("d/hard")).unwrap();
    common::ok(std::process::Command::new("chmod").arg("640").arg(mount.path("small")));
    mount.commit();
    mount
}

/// Paths, kinds, modes, times and contents of all below.
fn tree(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut dirs = vec![root.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = match (meta.is_file(), meta.is_symlink()) {
                (true, _) => format!("{:x?}", fs::read(&path).unwrap()),
                (_, true) => format!("{:?}", fs::read_link(&path).unwrap()),
                _ => String::new(),
            };
            if meta.is_dir() {
                dirs.push(path.clone());
            }
            let (shown, nlink) = (path.strip_prefix(root).unwrap().display(), meta.nlink());
            let times = (meta.mtime(), meta.mtime_nsec());
            found.push(format!("{shown} {:o} {nlink} {times:?} {content}", meta.mode()));
        }
    }
    found.sort();
    found
}

fn dirty(mount: &Mount<'_>) -> bool {
    mount.status()["dirty"].as_bool().unwrap()
}

/// Changes a bit of everything.
fn edit(mount: &Mount<'_>) {
    let mut big = OpenOptions::new().write(true).open(mount.path("big")).unwrap();
    big.seek(SeekFrom::Start(1000)).unwrap();
    big.write_all(b"changed").unwrap();
    fs::set_permissions(mount.path("small"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_dir_all(mount.path("d/e")).unwrap();
    fs::rename(mount.path("d"), mount.path("moved")).unwrap();
    fs::write(mount.path("moved/x"), b"other").unwrap();
    fs::remove_file(mount.path("link")).unwrap();
    fs::create_dir(mount.path("new")).unwrap();
    fs::write(mount.path("new/file"), b"new").unwrap();
}

#[test]
fn a_discard_shows_the_base_again_to_programs_that_are_open_too() {
    let bench = Bench::new();
    let mount = with_files(&bench);
    let before = tree(mount.root());
    let mut held = File::open(mount.path("big")).unwrap();
    edit(&mount);
    let mut new = OpenOptions::new().read(true).write(true).open(mount.path("new/file")).unwrap();
    assert!(dirty(&mount));
    let told = common::ok_json(mount.vellum("discard").args(["--yes", "--json"]));
    assert!(told["discarded"].as_array().unwrap().len() > 5, "{told}");
    assert_eq!(tree(mount.root()), before);
    assert!(!dirty(&mount));
    let mut read = Vec::new();
    held.read_to_end(&mut read).unwrap();
    assert!(read == vec![7; 300_000]);
    new.write_all(b"still here").unwrap();
    assert!(!mount.path("new").exists());
    drop((held, new));
    common::ok(&mut mount.vellum("umount"));
}

#[test]
fn a_discard_of_everything_is_asked_for_or_told() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let told = common::ok_json(mount.vellum("discard").args(["--yes", "--json"]));
    assert_eq!(told["discarded"], Value::Array(Vec::new()));
    fs::write(mount.path("a"), b"a").unwrap();
    let (exit, said) = refused(&mut mount.vellum("discard"));
    assert_eq!(exit, 2, "{said}");
    assert!(said.contains("--yes"), "{said}");
    assert_eq!(fs::read(mount.path("a")).unwrap(), b"a");
}

#[test]
fn a_discard_of_paths_leaves_the_other_changes() {
    let bench = Bench::new();
    let mount = with_files(&bench);
    let before = tree(mount.root());
    fs::write(mount.path("big"), b"changed").unwrap();
    fs::write(mount.path("small"), b"changed").unwrap();
    fs::remove_file(mount.path("link")).unwrap();
    fs::rename(mount.path("d/e/y"), mount.path("d/z")).unwrap();
    fs::write(mount.path("d/new"), b"new").unwrap();
    common::ok(mount.vellum("discard").args(["small", "d", "link"]));
    assert_eq!(fs::read(mount.path("big")).unwrap(), b"changed");
    common::ok(mount.vellum("discard").arg(mount.path("big")));
    assert_eq!(tree(mount.root()), before);
    assert!(!dirty(&mount), "{}", mount.status());
    fs::rename(mount.path("d"), mount.path("moved")).unwrap();
    fs::remove_file(mount.path("moved/e/y")).unwrap();
    common::ok(mount.vellum("discard").arg("moved"));
    assert_eq!(tree(mount.root()), before);
    assert!(!dirty(&mount), "{}", mount.status());
}

#[test]
fn a_directory_that_was_removed_comes_back_by_its_path() {
    let bench = Bench::new();
    let mount = with_files(&bench);
    let before = tree(mount.root());
    fs::remove_dir_all(mount.path("d")).unwrap();
    common::ok(mount.vellum("discard").arg("d"));
    assert_eq!(tree(mount.root()), before);
    let sent = mount.commit();
    assert!(sent["bytes"].as_u64().unwrap() < 10_000, "{sent}");
    common::ok(bench.vellum(["verify"]).arg(bench.repository()));
}

#[test]
fn paths_become_what_an_earlier_snapshot_has_and_no_data_moves() {
    let bench = Bench::new();
    let mount = with_files(&bench);
    let before = tree(mount.root());
    common::ok(bench.vellum(["tag"]).arg(bench.repository()).arg("first"));
    edit(&mount);
    fs::write(mount.path("big"), vec![9; 500_000]).unwrap();
    mount.commit();
    let gets = mount.status()["requests"]["get"]["bytes"].as_u64().unwrap();
    let restore = |paths: &[&str]| {
        let mut call = mount.vellum("restore");
        call.args(paths).args(["--from", "first", "--json"]);
        common::ok_json(&mut call)
    };
    restore(&["big", "small", "link", "d"]);
    let moved = mount.status()["requests"]["get"]["bytes"].as_u64().unwrap() - gets;
    assert!(moved < 100_000, "{moved} bytes were read");
    assert!(mount.path("moved").exists(), "what the snapshot lacks stays");
    let told = common::ok_json(
        mount.vellum("restore").args([".", "--from", "first", "--delete", "--json"]),
    );
    assert!(told["removed"].as_u64().unwrap() >= 2, "{told}");
    assert_eq!(tree(mount.root()), before);
    let sent = mount.commit();
    assert!(sent["bytes"].as_u64().unwrap() < 10_000, "{sent}");
    common::ok(bench.vellum(["verify"]).arg(bench.repository()));
}

#[test]
fn a_path_that_is_nowhere_is_named_and_nothing_is_done() {
    let bench = Bench::new();
    let mount = with_files(&bench);
    fs::write(mount.path("small"), b"changed").unwrap();
    fs::write(mount.path("new"), b"new").unwrap();
    for (path, why) in [("nowhere", "neither"), ("new", "--delete"), ("d/no/where", "neither")] {
        let (exit, said) = refused(mount.vellum("restore").args(["small", path]));
        assert_eq!(exit, 2, "{said}");
        assert!(said.contains(path) && said.contains(why), "{said}");
    }
    let (exit, said) = refused(mount.vellum("restore").args(["small", "--from", "no-such"]));
    assert_eq!(exit, 2, "{said}");
    assert_eq!(fs::read(mount.path("small")).unwrap(), b"changed");
    let read_only = bench.mount_with("ro", &["--read-only"]);
    let (exit, said) = refused(read_only.vellum("discard").arg("--yes"));
    assert_eq!(exit, 2, "{said}");
    assert!(said.contains("read-only"), "{said}");
}
