//! What is committed is what another mount shows, and nobody's commit is lost.

#![allow(clippy::unwrap_used)]

mod common;
mod mounted;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use mounted::Bench;
use rustix::fs::{CWD, FileType, Mode, XattrFlags, getxattr, mknodat, setxattr};

/// Makes one of everything.
fn furnish(root: &Path) {
    fs::create_dir_all(root.join("dir/sub/empty")).unwrap();
    fs::write(root.join("dir/file"), b"small").unwrap();
    fs::write(root.join("dir/big"), vec![7; 9 << 20]).unwrap();
    fs::write(root.join("nothing"), b"").unwrap();
    fs::set_permissions(root.join("dir/file"), Permissions::from_mode(0o2751)).unwrap();
    symlink("dir/file", root.join("link")).unwrap();
    fs::hard_link(root.join("dir/file"), root.join("dir/sub/same")).unwrap();
    mknodat(CWD, root.join("fifo"), FileType::Fifo, Mode::from(0o600), 0).unwrap();
    setxattr(root.join("dir"), "user.kind", b"directory", XattrFlags::empty()).unwrap();
    fs::File::create(root.join("sparse")).unwrap().set_len(1 << 33).unwrap();
    for n in 0..1500 {
        fs::write(root.join(format!("dir/sub/n{n}")), format!("{n}")).unwrap();
    }
}

/// Everything below `root`: path, and all that `stat` and reading show.
fn listing(root: &Path) -> Vec<String> {
    fn walk(root: &Path, dir: &Path, list: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = if meta.is_symlink() {
                fs::read_link(&path).unwrap().display().to_string()
            } else if meta.is_file() && meta.len() < 1 << 30 {
                let bytes = fs::read(&path).unwrap();
                format!("{:x}", bytes.iter().fold(1_u64, |h, b| h.wrapping_mul(31) ^ u64::from(*b)))
            } else {
                String::new()
            };
            list.push(format!(
                "{} {} {:o} {} {} {} {}.{:09} {content}",
                path.strip_prefix(root).unwrap().display(),
                meta.ino(),
                meta.mode(),
                meta.nlink(),
                meta.uid(),
                if meta.is_dir() { 0 } else { meta.len() },
                meta.mtime(),
                meta.mtime_nsec(),
            ));
            if meta.is_dir() {
                walk(root, &path, list);
            }
        }
    }
    let mut list = Vec::new();
    walk(root, root, &mut list);
    list.sort();
    list
}

fn same(left: &Path, right: &Path) {
    let (left, right) = (listing(left), listing(right));
    for (left, right) in left.iter().zip(&right) {
        assert_eq!(left, right);
    }
    assert_eq!(left.len(), right.len());
}

#[test]
fn another_mount_shows_exactly_what_was_committed() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    furnish(mount.root());
    let commit = mount.commit();
    assert_eq!(commit["committed"], true);
    assert!(commit["objects"].as_u64().unwrap() > 0);
    assert_eq!(mount.status()["dirty"], false);

    let other = bench.mount("other");
    same(mount.root(), other.root());
    let mut value = [0; 20];
    assert_eq!(getxattr(other.path("dir"), "user.kind", value.as_mut_slice()), Ok(9));
    // Edits after the commit are not shown elsewhere.
    fs::write(mount.path("dir/file"), b"later").unwrap();
    assert_eq!(fs::read(other.path("dir/file")).unwrap(), b"small");
    // Nor when they are committed: a mount stays at its snapshot.
    mount.commit();
    assert_eq!(fs::read(other.path("dir/file")).unwrap(), b"small");
    assert_eq!(fs::read(other.path("dir/sub/same")).unwrap(), b"small");
    other.unmount();
    let again = bench.mount("again");
    assert_eq!(fs::read(again.path("dir/sub/same")).unwrap(), b"later");
    again.unmount();
}

#[test]
fn a_changed_file_is_told_of_under_all_its_names() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    fs::create_dir(mount.path("dir")).unwrap();
    fs::write(mount.path("file"), b"as it was").unwrap();
    fs::hard_link(mount.path("file"), mount.path("dir/other")).unwrap();
    mount.commit();
    mount.unmount();

    let mount = bench.mount("mnt");
    fs::write(mount.path("file"), b"changed").unwrap();
    let diff = || common::run(&mut mount.vellum("diff")).1;
    // Nobody looked into the directory: all that is known of it is its number.
    let told = diff();
    let ino = fs::metadata(mount.path("dir")).unwrap().ino();
    let end = "2 paths changed; a commit sends at most 7 B of data\n";
    assert_eq!(told, format!("M file\nM <inode {ino}>/other\n{end}"));
    let other = fs::metadata(mount.path("dir/other")).unwrap();
    assert_eq!((other.len(), other.nlink()), (7, 2));
    let held = fs::File::open(mount.path("dir")).unwrap();
    assert_eq!(diff(), format!("M dir/other\nM file\n{end}"));
    drop(held);
    mount.commit();
    mount.unmount();
}

#[test]
fn edits_of_a_committed_tree_are_committed_in_turn() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    furnish(mount.root());
    mount.commit();
    mount.unmount();

    let mount = bench.mount("mnt");
    let at = |name: &str| mount.path(name);
    fs::rename(at("dir/sub"), at("moved")).unwrap();
    fs::remove_file(at("link")).unwrap();
    fs::write(at("dir/new"), b"new").unwrap();
    fs::remove_file(at("moved/n7")).unwrap();
    fs::write(at("moved/n8"), b"eight").unwrap();
    fs::set_permissions(at("nothing"), Permissions::from_mode(0o600)).unwrap();
    let big = fs::OpenOptions::new().write(true).open(at("dir/big")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&big, b"x", 5 << 20).unwrap();
    drop(big);
    let (code, diff, _) = common::run(mount.vellum("diff").arg("--json"));
    assert_eq!(code, 1);
    let diff: serde_json::Value = serde_json::from_str(&diff).unwrap();
    let kind = |path: &str| {
        let changes = diff["changes"].as_array().unwrap();
        let found = changes.iter().find(|change| change["path"] == path);
        found.map(|change| change["change"].as_str().unwrap().to_owned())
    };
    assert_eq!(kind("dir/new").as_deref(), Some("added"));
    assert_eq!(kind("dir/big").as_deref(), Some("modified"));
    assert_eq!(kind("link").as_deref(), Some("deleted"));
    assert_eq!(kind("nothing").as_deref(), Some("attributes"));
    assert_eq!(kind("sparse"), None);
    // Of a directory that was moved, what is gone is gone with where it stood.
    assert_eq!(kind("dir/sub").as_deref(), Some("deleted"));
    assert_eq!((kind("moved/n7"), kind("moved/n8").as_deref()), (None, Some("modified")));
    let commit = mount.commit();
    // One chunk of the big file, not all of it.
    assert!(commit["bytes"].as_u64().unwrap() < 6 << 20, "{commit}");

    let other = bench.mount_with("other", &["--read-only"]);
    same(mount.root(), other.root());
    other.unmount();
    let (code, diff, _) = common::run(&mut mount.vellum("diff"));
    assert_eq!((code, diff.as_str()), (0, ""));
    mount.unmount();
}

#[test]
fn a_commit_of_nothing_sends_nothing() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    fs::write(mount.path("file"), b"x").unwrap();
    let first = mount.commit();
    let second = mount.commit();
    assert_eq!(second["committed"], false);
    assert_eq!(second["objects"], 0);
    assert_eq!(second["snapshot"], first["snapshot"]);
    mount.unmount();
}

#[test]
fn of_two_mounts_that_commit_the_second_is_refused_and_keeps_its_edits() {
    let bench = Bench::new();
    let (one, two) = (bench.mount("one"), bench.mount("two"));
    fs::write(one.path("file"), b"one").unwrap();
    fs::write(two.path("file"), b"two").unwrap();
    one.commit();
    let said = common::fails(two.vellum("commit").args(["-m", "late"]), 5);
    assert!(said.contains("moved"), "{said}");
    assert_eq!(fs::read(two.path("file")).unwrap(), b"two");
    assert_eq!(two.status()["dirty"], true);
    let three = bench.mount("three");
    assert_eq!(fs::read(three.path("file")).unwrap(), b"one");
    three.unmount();
    one.unmount();
}

#[test]
fn of_mounts_that_race_exactly_one_commits() {
    let bench = Bench::new();
    let mounts: Vec<_> = (0..4).map(|n| bench.mount(&format!("m{n}"))).collect();
    for (n, mount) in mounts.iter().enumerate() {
        fs::write(mount.path("file"), format!("{n}")).unwrap();
    }
    let codes: Vec<i32> = std::thread::scope(|scope| {
        let commits: Vec<_> = mounts
            .iter()
            .map(|mount| {
                let mut commit = mount.vellum("commit");
                scope.spawn(move || common::run(commit.args(["-m", "race"])).0)
            })
            .collect();
        commits.into_iter().map(|commit| commit.join().unwrap()).collect()
    });
    let won: Vec<usize> = (0..4).filter(|n| codes[*n] == 0).collect();
    assert_eq!(won.len(), 1, "{codes:?}");
    assert!(codes.iter().all(|code| [0, 5].contains(code)), "{codes:?}");
    let seen = bench.mount("seen");
    assert_eq!(fs::read_to_string(seen.path("file")).unwrap(), format!("{}", won[0]));
}

#[test]
fn a_message_that_is_too_long_is_refused_and_the_edits_stay() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    fs::write(mount.path("file"), b"kept").unwrap();
    let long = "m".repeat(70_000);
    for command in [vec!["commit", "-m"], vec!["umount", "--commit", "-m"]] {
        let said = common::fails(mount.vellum(command[0]).args(&command[1..]).arg(&long), 2);
        assert!(said.contains("`message` is past its limit of 65536"), "{said}");
        assert!(said.contains("shorter message"), "{said}");
    }
    let said = common::fails(mount.vellum("commit").args(["-m", "m", "--author", &long]), 2);
    assert!(said.contains("`author` is past its limit of 1024"), "{said}");
    mount.commit();
    let again = bench.mount("again");
    assert_eq!(fs::read(again.path("file")).unwrap(), b"kept");
    again.unmount();
    mount.unmount();
}

#[test]
fn umount_commit_publishes_and_unmounts() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    fs::write(mount.path("file"), b"kept").unwrap();
    let said = common::ok(mount.vellum("umount").args(["--commit", "-m", "last"]));
    assert!(said.starts_with("committed"), "{said}");
    assert!(!mounted::is_mounted(mount.root()));
    let again = bench.mount("again");
    assert_eq!(fs::read(again.path("file")).unwrap(), b"kept");
    again.unmount();
}

#[test]
fn writing_goes_on_while_a_commit_runs() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    furnish(mount.root());
    let mut commit = mount.vellum("commit");
    let path = mount.path("counter");
    let last = std::thread::scope(|scope| {
        let commit = scope.spawn(move || common::run(commit.args(["-m", "under way"])).0);
        let mut last = 0;
        loop {
            last += 1;
            fs::write(&path, format!("{last:08}")).unwrap();
            if commit.is_finished() {
                break;
            }
        }
        assert_eq!(commit.join().unwrap(), 0);
        last
    });
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{last:08}"));
    mount.commit();
    let other = bench.mount("other");
    same(mount.root(), other.root());
}
