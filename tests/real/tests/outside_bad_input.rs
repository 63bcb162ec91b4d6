//! Repositories that are damaged, too new or full: an error that names the thing, never wrong
//! data, and what is whole goes on.

#![allow(clippy::unwrap_used)]

mod common;
mod mounted;

use std::fs;
use std::path::{Path, PathBuf};

use mounted::{Bench, Tmpfs, is_mounted};

/// Bytes that do not repeat.
fn noise(len: u32) -> Vec<u8> {
    (0..len).map(|n| (n.wrapping_mul(2_654_435_761) >> 23) as u8).collect()
}

/// Commits a big file, two packed ones and directories.
fn fill(bench: &Bench) {
    let mount = bench.mount("fill");
    fs::write(mount.path("big"), noise(9 << 20)).unwrap();
    fs::create_dir_all(mount.path("one/two")).unwrap();
    fs::write(mount.path("one/a"), noise(5000)).unwrap();
    fs::write(mount.path("one/b"), noise(70_000)).unwrap();
    fs::write(mount.path("one/two/c"), noise(100)).unwrap();
    fs::create_dir(mount.path("side")).unwrap();
    fs::write(mount.path("side/d"), noise(200)).unwrap();
    mount.commit();
    mount.unmount();
}

/// The objects of the repository below `kind`.
fn objects(bench: &Bench, kind: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![bench.repository().join(kind)];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { todo.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// Puts other bytes in an object's place.
fn replace(object: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(object).unwrap();
    change(&mut bytes);
    fs::remove_file(object).unwrap();
    fs::write(object, bytes).unwrap();
}

/// What a mount of `bench` says, which must not come to be.
fn no_mount(bench: &Bench, code: i32) -> String {
    let point = bench.path("never");
    fs::create_dir_all(&point).unwrap();
    let said = common::fails(bench.vellum(["mount"]).arg(bench.repository()).arg(&point), code);
    assert!(!is_mounted(&point));
    assert!(said.starts_with("vellum: "), "{said}");
    said
}

#[test]
fn every_damage_to_data_is_eio_and_names_the_object() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 5] = [
        ("a flipped bit", |bytes| bytes[50] ^= 4),
        ("cut short", |bytes| bytes.truncate(60)),
        ("empty", Vec::clear),
        ("bytes too many", |bytes| bytes.extend_from_slice(b"more")),
        ("other bytes", |bytes| bytes.fill(0)),
    ];
    let whole = [("big", 9 << 20), ("one/a", 5000), ("one/b", 70_000), ("one/two/c", 100)];
    for (what, damage) in damages {
        let bench = Bench::new();
        fill(&bench);
        let chunks = objects(&bench, "chunks");
        chunks.iter().for_each(|object| replace(object, damage));
        let mount = bench.mount("mnt");
        let mut refused = 0;
        for (name, len) in whole {
            match fs::read(mount.path(name)) {
                // Small files share an object: those that the damage does not touch are right.
                Ok(bytes) => assert!(bytes == noise(len), "{what}: {name} has wrong data"),
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(libc::EIO), "{what} {name}");
                    refused += 1;
                }
            }
        }
        // Bytes behind those that were asked for do no harm.
        assert!(refused >= if what == "bytes too many" { 0 } else { 2 }, "{what}: {refused}");
        let log = mount.log();
        assert!(!log.contains('\u{1b}'), "a log file has no colours: {log}");
        let name = |object: &PathBuf| object.file_name().unwrap().to_str().unwrap().to_owned();
        let named = chunks.iter().filter(|chunk| log.contains(&name(chunk))).count();
        assert!(named >= refused.min(2), "{what}: {log}");
        // What needs none of it goes on.
        fs::write(mount.path("one/a"), b"written over").unwrap();
        assert_eq!(fs::read(mount.path("one/a")).unwrap(), b"written over");
        assert_eq!(fs::read_dir(mount.path("one")).unwrap().count(), 3);
    }
}

#[test]
fn a_damaged_directory_is_eio_in_that_directory_only() {
    let bench = Bench::new();
    fill(&bench);
    let trees = objects(&bench, "trees");
    let [object] = &trees[..] else { panic!("one commit, one object of nodes") };
    let sound = fs::read(object).unwrap();
    // A name in each directory, and which can be listed when that is damaged: itself can't, and
    // what lies below it.
    for (node, expected) in [
        ("side", [false, false, false, false]),
        ("two", [true, false, false, true]),
        ("c", [true, true, false, true]),
        ("d", [true, true, true, false]),
    ] {
        // A name with its head, which says how long it is.
        let head = [&[0x40 + node.len() as u8], node.as_bytes()].concat();
        common::damage_node(object, &head);
        let name = object.file_name().unwrap().to_str().unwrap();
        let mount = bench.mount("mnt");
        let listed = ["", "one", "one/two", "side"].map(|dir| {
            let entries = fs::read_dir(mount.path(dir));
            match entries.and_then(Iterator::collect::<Result<Vec<_>, _>>) {
                Ok(_) => true,
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(libc::EIO));
                    false
                }
            }
        });
        assert_eq!(listed, expected, "{node}");
        assert!(mount.log().contains(name), "{name}: {}", mount.log());
        drop(mount);
        fs::remove_file(bench.path("run")).ok();
        replace(object, |bytes| bytes.clone_from(&sound));
    }
}

#[test]
fn a_damaged_snapshot_or_ref_is_not_mounted_and_is_named() {
    for kind in ["snapshots", "refs"] {
        for missing in [false, true] {
            let bench = Bench::new();
            fill(&bench);
            let object = objects(&bench, kind).remove(0);
            let name = object.file_name().unwrap().to_str().unwrap().to_owned();
            let code = match (kind, missing) {
                // A branch that is not there is a name that was given wrongly.
                ("refs", true) => 2,
                (_, _) => 6,
            };
            if missing {
                fs::remove_file(&object).unwrap();
            } else {
                replace(&object, |bytes| bytes.truncate(bytes.len() / 2));
            }
            let said = no_mount(&bench, code);
            assert!(said.contains(&name[..8.min(name.len())]), "{said}");
        }
    }
}

#[test]
fn another_format_is_told_to_need_another_vellum() {
    let bench = Bench::new();
    let header = bench.repository().join("vellum.json");
    let text = fs::read_to_string(&header).unwrap();
    for (version, says) in [(3, "newer"), (1, "before its first release")] {
        let other = text.replacen("\"vellum\": 2", &format!("\"vellum\": {version}"), 1);
        assert_ne!(text, other, "{text}");
        fs::remove_file(&header).unwrap();
        fs::write(&header, other).unwrap();
        let said = no_mount(&bench, 2);
        assert!(said.contains(says), "{said}");
    }
    fs::remove_file(&header).unwrap();
    fs::write(&header, "{").unwrap();
    let said = no_mount(&bench, 6);
    assert!(said.contains("vellum.json"), "{said}");
}

#[test]
fn a_full_disk_under_the_repository_refuses_the_commit_until_there_is_room() {
    if !common::is_root() {
        return;
    }
    let bench = Bench::new();
    let disk = bench.path("disk");
    fs::create_dir(&disk).unwrap();
    let tmpfs = Tmpfs::new(&disk, "24m");
    common::ok(bench.vellum(["init"]).arg(disk.join("repo")));
    let point = bench.path("mnt");
    fs::create_dir(&point).unwrap();
    common::ok(bench.vellum(["mount"]).arg(disk.join("repo")).arg(&point));
    let edit = noise(40 << 20);
    fs::write(point.join("edit"), &edit).unwrap();
    let said = common::fails(bench.vellum(["commit", "-m", "full"]).arg(&point), 7);
    assert!(said.contains("full"), "{said}");
    assert!(fs::read(point.join("edit")).unwrap() == edit);
    tmpfs.mount("remount,size=100m");
    common::ok(bench.vellum(["commit", "-m", "room"]).arg(&point));
    common::ok(bench.vellum(["umount"]).arg(&point));
    common::ok(bench.vellum(["export"]).arg(disk.join("repo")).arg(bench.path("out")));
    assert!(fs::read(bench.path("out/edit")).unwrap() == edit);
}
