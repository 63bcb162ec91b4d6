//! What a mount does when its store is slow, stuck, full or damaged.

#![allow(clippy::unwrap_used)]

mod common;
mod mounted;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use mounted::{Bench, errno};

const BIG: usize = 9 << 20;

/// Commits a big file `big`, and small ones.
fn fill(bench: &Bench) {
    let mount = bench.mount("fill");
    fs::write(mount.path("big"), vec![7; BIG]).unwrap();
    fs::create_dir(mount.path("dir")).unwrap();
    fs::write(mount.path("dir/small"), b"small").unwrap();
    mount.commit();
    mount.unmount();
}

/// The files of the repository below `kind`, biggest first.
fn objects(bench: &Bench, kind: &str) -> Vec<PathBuf> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    walk(&bench.repository().join(kind), &mut found);
    found.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).unwrap().len()));
    found
}

#[test]
fn a_stuck_store_stops_only_those_who_need_it() {
    let bench = Bench::new();
    fill(&bench);
    let control = bench.path("stuck");
    fs::write(&control, b"").unwrap();
    let mount = bench.mount_faulty("mnt", &format!("stuck=chunks/@{}", control.display()));
    let big = mount.path("big");
    let (sender, receiver) = channel();
    thread::scope(|scope| {
        let reader = File::open(&big).unwrap();
        scope.spawn(move || {
            let mut byte = [0];
            reader.read_exact_at(&mut byte, 5 << 20).unwrap();
            sender.send(byte[0]).unwrap();
        });
        assert!(receiver.recv_timeout(Duration::from_millis(300)).is_err());

        // Written without a fetch, in the middle of what was never read.
        let writer = OpenOptions::new().write(true).open(&big).unwrap();
        (0..500).for_each(|n| writer.write_all_at(&[1], n * 17_001).unwrap());
        fs::write(mount.path("new"), b"new").unwrap();
        assert_eq!(fs::read(mount.path("new")).unwrap(), b"new");
        fs::rename(mount.path("dir/small"), mount.path("renamed")).unwrap();
        fs::remove_file(mount.path("renamed")).unwrap();
        assert_eq!(mount.status()["dirty"], true);
        assert!(receiver.try_recv().is_err());

        fs::remove_file(&control).unwrap();
        assert_eq!(receiver.recv_timeout(Duration::from_secs(60)).unwrap(), 7);
    });
    let mut expected = vec![7; BIG];
    (0..500).for_each(|n| expected[n * 17_001] = 1);
    assert!(fs::read(&big).unwrap() == expected);
}

#[test]
fn a_full_store_refuses_the_commit_and_keeps_the_edits() {
    let bench = Bench::new();
    fill(&bench);
    let mount = bench.mount_faulty("mnt", "nospace=1000000");
    let edit: Vec<u8> =
        (0..5 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(mount.path("edit"), &edit).unwrap();
    let said = common::fails(mount.vellum("commit").args(["-m", "full"]), 7);
    assert!(said.contains("full"), "{said}");
    assert!(fs::read(mount.path("edit")).unwrap() == edit);
    assert_eq!(mount.status()["dirty"], true);
    let other = bench.mount("other");
    assert!(!other.path("edit").exists());
    other.unmount();
}

#[test]
fn damaged_data_is_an_error_and_never_shown() {
    let bench = Bench::new();
    fill(&bench);
    let chunk = objects(&bench, "chunks").remove(0);
    let mut bytes = fs::read(&chunk).unwrap();
    bytes[100] ^= 1;
    fs::remove_file(&chunk).unwrap();
    fs::write(&chunk, &bytes).unwrap();
    let mount = bench.mount("mnt");
    assert_eq!(errno(fs::read(mount.path("big"))), libc::EIO);
    assert_eq!(fs::read(mount.path("dir/small")).unwrap(), b"small");
    let name = chunk.file_name().unwrap().to_str().unwrap();
    assert!(mount.log().contains(name), "{}", mount.log());
}

#[test]
fn missing_data_is_an_error_that_names_the_object() {
    let bench = Bench::new();
    fill(&bench);
    let chunk = objects(&bench, "chunks").remove(0);
    fs::remove_file(&chunk).unwrap();
    let mount = bench.mount("mnt");
    assert_eq!(errno(fs::read(mount.path("big"))), libc::EIO);
    let name = chunk.file_name().unwrap().to_str().unwrap();
    assert!(mount.log().contains(name), "{}", mount.log());
    // What is there goes on.
    assert_eq!(fs::read(mount.path("dir/small")).unwrap(), b"small");
    fs::write(mount.path("new"), b"new").unwrap();
    mount.commit();
    mount.unmount();
}

#[test]
fn what_is_no_repository_is_not_mounted() {
    let bench = Bench::new();
    fs::create_dir(bench.path("mnt")).unwrap();
    let refused = |repository: &str, exit: i32, what: &str| {
        let mut command = bench.vellum(["mount"]);
        command.arg(bench.path(repository)).arg(bench.path("mnt"));
        let said = common::fails(&mut command, exit);
        assert!(said.contains(what), "{said}");
        assert!(said.lines().count() > 1, "no remedy: {said}");
    };
    refused("nowhere", 2, "is not a Vellum repository");
    fs::create_dir(bench.path("plain")).unwrap();
    refused("plain", 2, "is not a Vellum repository");
    refused("repo@nobranch", 2, "nobranch");
    assert!(!mounted::is_mounted(&bench.path("mnt")));
}

#[test]
fn a_snapshot_is_mounted_and_has_no_branch_to_commit_to() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    fs::write(mount.path("file"), b"old").unwrap();
    let old = mount.commit()["snapshot"].as_str().unwrap().to_owned();
    fs::write(mount.path("file"), b"new").unwrap();
    mount.commit();
    mount.unmount();

    fs::create_dir(bench.path("old")).unwrap();
    let mut source = bench.repository().into_os_string();
    source.push(format!("@{}", &old[..12]));
    common::ok(bench.vellum(["mount"]).arg(source).arg(bench.path("old")));
    assert_eq!(fs::read(bench.path("old/file")).unwrap(), b"old");
    fs::write(bench.path("old/file"), b"edit").unwrap();
    let said = common::fails(bench.vellum(["commit", "-m", "x"]).arg(bench.path("old")), 2);
    assert!(said.contains("no branch"), "{said}");
    common::ok(bench.vellum(["umount", "--discard"]).arg(bench.path("old")));
}
