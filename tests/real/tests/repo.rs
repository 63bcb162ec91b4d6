//! Proofs of the commands that need no mount, on real directories with the real binary.

#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::tree::{assert_same, told};
use common::{export, fails, import, ok, ok_json, sparse, text, vellum, world};
use rustix::fs::{Mode, Timespec, Timestamps, XattrFlags, lsetxattr, mkfifoat, utimensat};

/// A tree with everything in it that a file system can hold without root's rights.
fn everything(root: &Path) {
    fs::create_dir_all(root.join("dir/empty")).unwrap();
    fs::write(root.join("empty"), b"").unwrap();
    fs::write(root.join("small"), b"hello\n").unwrap();
    fs::write(root.join("dir/same"), b"hello\n").unwrap();
    fs::write(root.join("edge"), vec![7; 128 << 10]).unwrap();
    fs::write(root.join("past-edge"), vec![8; (128 << 10) + 1]).unwrap();
    let big: Vec<u8> = (0..9_000_000_u32).map(|i| (i % 251) as u8).collect();
    fs::write(root.join("dir/big"), big).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"not \xff utf-8 \n")), b"x").unwrap();
    fs::write(root.join("a".repeat(255)), b"long name").unwrap();
    fs::hard_link(root.join("small"), root.join("dir/small-again")).unwrap();
    fs::hard_link(root.join("dir/big"), root.join("big-again")).unwrap();
    fs::hard_link(root.join("dir/big"), root.join("zz-big")).unwrap();
    symlink("small", root.join("link")).unwrap();
    symlink("/no/such/\n", root.join("dangling")).unwrap();
    let fifo = root.join("fifo");
    mkfifoat(rustix::fs::CWD, &fifo, Mode::from_raw_mode(0o640)).unwrap();
    drop(UnixListener::bind(root.join("socket")).unwrap());
    let xattr = |path: &str, name: &str, value: &[u8]| {
        lsetxattr(root.join(path), name, value, XattrFlags::empty()).unwrap();
    };
    xattr("small", "user.note", b"\0bytes\xff");
    xattr("dir", "user.dir", b"");
    xattr("edge", "user.long", &[b'v'; 3000]);
    for number in 0..3 {
        // Together more than stands in an inode, if the file system takes them at all.
        let name = format!("user.more{number}");
        let _ = lsetxattr(root.join("edge"), name, &[b'w'; 900], XattrFlags::empty());
    }
    sparse(&root.join("sparse-small"), 100_000, &[(50_000, b"middle")]);
    sparse(&root.join("sparse-big"), 50 << 20, &[(20 << 20, b"one"), (45_000_000, b"two")]);
    sparse(&root.join("all-hole"), 10 << 20, &[]);
    let many: Vec<(u64, &[u8])> = (0..40).map(|i| (i << 23, b"piece".as_slice())).collect();
    sparse(&root.join("many-pieces"), 400 << 20, &many);
    let mode = |path: &str, mode| {
        fs::set_permissions(root.join(path), Permissions::from_mode(mode)).unwrap();
    };
    mode("small", 0o4751);
    mode("dir", 0o1770);
    mode("dir/empty", 0o500);
    let set_time = |path: &str, tv_sec, tv_nsec| {
        let time = Timespec { tv_sec, tv_nsec };
        let times = Timestamps { last_access: time, last_modification: time };
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        utimensat(rustix::fs::CWD, root.join(path), &times, flags).unwrap();
    };
    set_time("small", 1_700_000_000, 123_456_789);
    set_time("empty", -5, 999_999_999);
    set_time("link", 1, 1);
    set_time("dir", 2_000_000_000, 2);
    set_time("", 1_600_000_000, 3);
}

#[test]
fn everything_in_a_tree_comes_back_as_it_was() {
    let (dir, repo) = world();
    let (source, out) = (dir.path().join("source"), dir.path().join("out"));
    everything(&source);
    let imported = import(&source, &repo);
    let inodes: std::collections::BTreeSet<u64> = told(&source)
        .keys()
        .map(|path| fs::symlink_metadata(source.join(path)).unwrap().ino())
        .collect();
    assert_eq!(imported["inodes"], inodes.len());
    export(text(&repo), &out);
    assert_same(&source, &out);
    for sparse in ["sparse-big", "all-hole", "many-pieces"] {
        let kib = |root: &Path| fs::metadata(root.join(sparse)).unwrap().blocks() / 2;
        assert!(kib(&out) <= kib(&source) + 41 * 4096, "{sparse} takes {} KiB", kib(&out));
    }
    assert_eq!(fs::metadata(out.join("all-hole")).unwrap().blocks(), 0);
}

#[test]
fn files_that_only_root_can_make_come_back_too() {
    if !common::is_root() {
        // Without root's rights there is nothing of this kind to be kept; the refusal is.
        let error = fails(&mut vellum(["import", "/", "/no/such/repo"]), 2);
        assert!(error.contains("vellum init"), "{error}");
        return;
    }
    let (dir, repo) = world();
    let (source, out) = (dir.path().join("source"), dir.path().join("out"));
    fs::create_dir(&source).unwrap();
    let device = |name: &str, kind, major, minor| {
        let dev = rustix::fs::makedev(major, minor);
        let path = source.join(name);
        rustix::fs::mknodat(rustix::fs::CWD, path, kind, Mode::RUSR, dev).unwrap();
    };
    device("null", rustix::fs::FileType::CharacterDevice, 1, 3);
    device("block", rustix::fs::FileType::BlockDevice, 259, 70_000);
    fs::write(source.join("tool"), b"#!").unwrap();
    std::os::unix::fs::chown(source.join("tool"), Some(1234), Some(4_000_000_000)).unwrap();
    // cap_net_raw+ep, revision 2
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let set = |name, value: &[u8]| {
        lsetxattr(source.join("tool"), name, value, XattrFlags::empty()).unwrap();
    };
    set("security.capability", &capability);
    set("trusted.note", b"x");
    import(&source, &repo);
    export(text(&repo), &out);
    assert_same(&source, &out);
}

#[test]
fn real_documentation_comes_back_and_is_packed() {
    let sysroot = std::process::Command::new("rustc").args(["--print", "sysroot"]).output();
    let sysroot = PathBuf::from(String::from_utf8(sysroot.unwrap().stdout).unwrap().trim());
    let docs = sysroot.join("share/doc/rust/html/std");
    let source = if docs.is_dir() { docs } else { sysroot.join("lib") };
    let (dir, repo) = world();
    let imported = import(&source, &repo);
    let out = dir.path().join("out");
    export(text(&repo), &out);
    assert_same(&source, &out);
    let told = told(&source);
    let sizes = told.keys().map(|path| fs::symlink_metadata(source.join(path)).unwrap().len());
    let (big, small): (Vec<u64>, Vec<u64>) = sizes.partition(|size| *size > 128 << 10);
    let directories = told.values().filter(|told| told.starts_with("mode 4")).count() as u64;
    let packs = small.iter().sum::<u64>() / (3 << 20) + 1;
    let chunks = big.iter().map(|size| size.div_ceil(4 << 20)).sum::<u64>();
    // An entry takes less than 400 bytes, and a directory has at least one node.
    let nodes = (small.len() as u64 * 400 + directories * 500) / (4 << 20) + 1;
    let objects = imported["objects_put"].as_u64().unwrap() - 1;
    assert!(objects <= packs + chunks + nodes, "{objects} > {packs} + {chunks} + {nodes}");
    assert!(fs::read_dir(repo.join(".tmp")).unwrap().next().is_none());
}

#[test]
fn importing_again_sends_only_what_changed() {
    let (dir, repo) = world();
    let source = dir.path().join("source");
    for number in 0..400 {
        let folder = source.join(format!("{}", number % 20));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{number}")), vec![number as u8; 5000]).unwrap();
    }
    fs::write(source.join("big"), vec![1; 20 << 20]).unwrap();
    fs::hard_link(source.join("big"), source.join("5/same")).unwrap();
    fs::hard_link(source.join("9/9"), source.join("5/nine")).unwrap();
    let first = import(&source, &repo);
    let again = import(&source, &repo);
    assert_eq!((&again["unchanged"], &again["objects_put"]), (&true.into(), &0.into()));
    // What was read of the branch is not put again to find that it is there.
    assert_eq!(again["requests"]["put"]["requests"], 0);
    assert_eq!(again["snapshot"], first["snapshot"]);
    fs::write(source.join("3/3"), b"changed").unwrap();
    File::options()
        .write(true)
        .open(source.join("big"))
        .unwrap()
        .write_all_at(b"x", 9 << 20)
        .unwrap();
    fs::rename(source.join("7/7"), source.join("7/moved")).unwrap();
    let third = import(&source, &repo);
    // One pack, one chunk, the nodes of two directories, the root and the link table, the snapshot.
    assert_eq!(third["objects_put"], 4, "{third}");
    assert!(third["bytes_put"].as_u64().unwrap() < (4 << 20) + 100_000, "{third}");
    let out = dir.path().join("out");
    export(text(&repo), &out);
    assert_same(&source, &out);
    let old = dir.path().join("old");
    export(&format!("{}@{}", text(&repo), &first["snapshot"].as_str().unwrap()[..12]), &old);
    assert_eq!(fs::read(old.join("3/3")).unwrap(), vec![3; 5000]);
}

#[test]
fn a_repository_that_was_begun_is_finished_by_init() {
    let dir = tempfile::tempdir().unwrap();
    let repo = dir.path().join("repo");
    // As a full disk leaves it: what the store keeps for itself, then the header, no branch.
    fs::create_dir_all(repo.join(".tmp")).unwrap();
    fs::write(repo.join(".lock"), b"").unwrap();
    ok(&mut vellum(["init", text(&repo)]));
    fs::remove_dir_all(repo.join("refs")).unwrap();
    ok(&mut vellum(["init", text(&repo)]));
    assert!(repo.join("refs/branches/main").exists());
    let said = fails(&mut vellum(["init", text(&repo)]), 2);
    assert!(said.contains("already"), "{said}");
    fs::remove_dir_all(repo.join("refs")).unwrap();
    fails(&mut vellum(["init", text(&repo), "--chunk-size", "64K"]), 2);
}

#[test]
fn a_name_that_nothing_has_is_answered_with_those_there_are() {
    let (dir, repo) = world();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    ok(&mut vellum(["import", text(&source), &format!("{}@work", text(&repo))]));
    let said = fails(&mut vellum(["log", &format!("{}@nowhere", text(&repo))]), 2);
    assert!(said.contains("branches/main, branches/work"), "{said}");
}

#[test]
fn a_history_is_listed_newest_first_and_a_path_of_it_is_exported() {
    let (dir, repo) = world();
    let source = dir.path().join("source");
    fs::create_dir_all(source.join("a/b")).unwrap();
    assert_eq!(ok(&mut vellum(["log", text(&repo)])), "");
    for round in ["one", "two", "three"] {
        fs::write(source.join("a/b/file"), round).unwrap();
        let mut command = vellum(["import", text(&source), text(&repo), "-m", round]);
        ok(command.args(["--author", "somebody"]));
    }
    let log = ok_json(&mut vellum(["log", text(&repo), "--json"]));
    let messages: Vec<_> = log.as_array().unwrap().iter().map(|e| &e["message"]).collect();
    assert_eq!(messages, ["three", "two", "one"]);
    assert_eq!(log[0]["parents"][0], log[1]["snapshot"]);
    assert_eq!((&log[0]["author"], &log[0]["inodes"]), (&"somebody".into(), &4.into()));
    let shown = ok(&mut vellum(["log", text(&repo), "-n", "2"]));
    assert_eq!(shown.lines().count(), 2, "{shown}");
    let (folder, file) = (dir.path().join("folder"), dir.path().join("file"));
    ok(&mut vellum(["export", text(&repo), "a/b", text(&folder)]));
    assert_eq!(fs::read(folder.join("file")).unwrap(), b"three");
    ok(&mut vellum(["export", text(&repo), "/a/b/file", text(&file)]));
    assert_eq!(fs::read(file.join("file")).unwrap(), b"three");
    let error = fails(&mut vellum(["export", text(&repo), "a/x", "/tmp/never"]), 2);
    assert!(error.contains("a/x"), "{error}");
}

#[test]
fn branches_are_born_by_import_and_unknown_names_are_told() {
    let (dir, repo) = world();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    let on_dev = format!("{}@dev/x", text(&repo));
    ok(&mut vellum(["import", text(&source), &on_dev]));
    assert_eq!(ok(&mut vellum(["log", &on_dev])).lines().count(), 1);
    assert_eq!(ok(&mut vellum(["log", text(&repo)])), "");
    for (name, says) in
        [("none", "no branch"), ("abcd", "no branch"), ("a..b", "can't be the name")]
    {
        let error = fails(&mut vellum(["log", &format!("{}@{name}", text(&repo))]), 2);
        assert!(error.contains(says) && error.contains(name), "{error}");
    }
    let error = fails(&mut vellum(["export", text(&repo), "/tmp/never"]), 2);
    assert!(error.contains("no snapshot yet"), "{error}");
}

#[test]
fn what_is_no_repository_is_told_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plain");
    fs::create_dir(&path).unwrap();
    let error = fails(&mut vellum(["log", text(&path)]), 2);
    let expected = format!(
        "vellum: {0} is not a Vellum repository (no vellum.json)\n  \
         create one with `vellum init {0}`\n",
        text(&path)
    );
    assert_eq!(error, expected);
    let json = fails(&mut vellum(["log", "--json", text(&path)]), 2);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["error"]["kind"], &json["error"]["exit"]), (&"usage".into(), &2.into()));
    fs::write(path.join("vellum.json"), b"{}").unwrap();
    assert!(fails(&mut vellum(["log", text(&path)]), 6).contains("not the header"));
    let newer = br#"{"vellum": 99, "something": "else"}"#;
    fs::write(path.join("vellum.json"), newer).unwrap();
    let error = fails(&mut vellum(["log", text(&path)]), 2);
    assert!(error.contains("newer Vellum (format 99"), "{error}");
    fails(&mut vellum(["log", "ftp://bucket"]), 2);
    fails(&mut vellum(["log", "/no/such/path"]), 2);
}

#[test]
fn init_refuses_what_is_not_empty_and_what_is_a_repository() {
    let (dir, repo) = world();
    let full = dir.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("file"), b"x").unwrap();
    assert!(fails(&mut vellum(["init", text(&full)]), 2).contains("not empty"));
    assert!(fails(&mut vellum(["init", text(&repo)]), 2).contains("already"));
    assert!(fails(&mut vellum(["init", text(&full.join("file"))]), 2).contains("file"));
    let odd = dir.path().join("odd");
    let error = fails(&mut vellum(["init", text(&odd), "--chunk-size", "3M"]), 2);
    assert!(error.contains("power of two") && !odd.exists(), "{error}");
    let small = ok_json(&mut vellum(["init", text(&odd), "--chunk-size", "64K", "--json"]));
    assert_eq!(small["chunk_bytes"], 65536);
}

#[test]
fn deep_trees_need_no_paths() {
    let (dir, repo) = world();
    let source = dir.path().join("source");
    let mut commands = std::process::Command::new("sh");
    // 300 levels of 100 bytes: far longer than any path may be.
    let name = "d".repeat(100);
    let script = format!(
        "mkdir source && cd -P source && i=0 && while [ $i -lt 300 ]; do \
         mkdir {name} && cd -P {name} || exit 1; i=$((i+1)); done; echo deep > file"
    );
    assert!(commands.args(["-c", &script]).current_dir(dir.path()).status().unwrap().success());
    let imported = import(&source, &repo);
    assert_eq!(imported["inodes"], 302);
    let out = dir.path().join("out");
    export(text(&repo), &out);
    let script = format!(
        "cd -P out && i=0 && while [ $i -lt 300 ]; do cd -P {name} || exit 1; i=$((i+1)); done; \
         cat file"
    );
    let mut commands = std::process::Command::new("sh");
    let output = commands.args(["-c", &script]).current_dir(dir.path()).output().unwrap();
    assert_eq!(output.stdout, b"deep\n");
}

#[test]
fn export_refuses_a_directory_that_is_not_empty_and_import_one_with_the_repository() {
    let (dir, repo) = world();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    import(&source, &repo);
    let error = fails(&mut vellum(["export", text(&repo), text(dir.path())]), 2);
    assert!(error.contains("is not empty"), "{error}");
    let error = fails(&mut vellum(["import", text(dir.path()), text(&repo)]), 2);
    assert!(error.contains("lies inside"), "{error}");
    let error = fails(&mut vellum(["import", text(&dir.path().join("none")), text(&repo)]), 2);
    assert!(error.contains("none"), "{error}");
}

#[test]
fn a_pipe_that_is_closed_is_no_error() {
    let (dir, repo) = world();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    import(&source, &repo);
    let mut command = vellum(["log", text(&repo)]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command.stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()));
}
