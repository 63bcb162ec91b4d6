//! What a file may no longer do once its content or owner has changed: set-id bits and
//! `security.capability`, in both ways that open files are served.

#![allow(clippy::unwrap_used)]

mod common;
mod mounted;

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use mounted::{Bench, Mount};
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, Timespec, Timestamps, XattrFlags, fallocate, getxattr, setxattr,
    utimensat,
};
use rustix::io::Errno;

/// How open files are served: around the page cache, and through it.
const WAYS: [&[&str]; 2] = [&["--allow-other"], &["--allow-other", "--cached-writes"]];

/// Version 2 of the value, with CAP_NET_RAW permitted and effective.
const NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

const MAP_AND_WRITE: &str = "
import mmap, sys
with open(sys.argv[1], 'r+b') as file, mmap.mmap(file.fileno(), 0) as shared:
    shared[0:1] = b'm'
    shared.flush()
";

/// Runs `test` on a mount that everybody may use, once for each way of serving.
fn each_way(test: impl Fn(&Mount<'_>)) {
    for args in WAYS {
        let bench = Bench::new();
        fs::set_permissions(bench.path(""), Permissions::from_mode(0o755)).unwrap();
        let mount = bench.mount_with("mnt", args);
        fs::set_permissions(mount.root(), Permissions::from_mode(0o755)).unwrap();
        println!("{args:?}");
        test(&mount);
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs a line of shell, in which `$1` is the file, as nobody.
fn as_nobody(path: &Path, script: &str) {
    run(Command::new("sh").uid(65534).args(["-c", script, "sh"]).arg(path));
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

/// A file, and what may be done to it without changing what it may do.
fn program(mount: &Mount<'_>) -> std::path::PathBuf {
    let path = mount.path("program");
    fs::write(&path, b"program").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
    path
}

fn grant(path: &Path) {
    setxattr(path, "security.capability", &NET_RAW, XattrFlags::empty()).unwrap();
}

fn has_capability(path: &Path) -> bool {
    let mut value = [0; 64];
    match getxattr(path, "security.capability", value.as_mut_slice()) {
        Ok(len) => value[..len] == NET_RAW,
        Err(errno) => {
            assert_eq!(errno, Errno::NODATA);
            false
        }
    }
}

fn writer(path: &Path) -> File {
    OpenOptions::new().write(true).open(path).unwrap()
}

#[test]
fn set_id_bits_go_when_another_user_changes_the_content() {
    if !common::is_root() {
        return;
    }
    each_way(|mount| {
        let path = program(mount);
        let after = |script: &str| {
            fs::set_permissions(&path, Permissions::from_mode(0o6777)).unwrap();
            as_nobody(&path, script);
            mode_of(&path)
        };
        assert_eq!(after("printf x >> \"$1\""), 0o777, "append");
        assert_eq!(after("printf x > \"$1\""), 0o777, "cut and write");
        assert_eq!(after(": > \"$1\""), 0o777, "cut on opening");
        assert_eq!(after("truncate -s 5 \"$1\""), 0o777, "extend");
        assert_eq!(after("truncate -s 2 \"$1\""), 0o777, "cut");
        assert_eq!(after("fallocate -l 100 \"$1\""), 0o777, "allocate");
        assert_eq!(after("fallocate -p -o 1 -l 10 \"$1\""), 0o777, "punch");
        assert_eq!(after(": >> \"$1\""), 0o6777, "open");
        assert_eq!(after("cat \"$1\" > /dev/null"), 0o6777, "read");
    });
}

#[test]
fn set_id_bits_stay_when_root_changes_the_content_and_go_with_the_owner() {
    if !common::is_root() {
        return;
    }
    each_way(|mount| {
        let path = program(mount);
        let grant = |mode| fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        grant(0o6777);
        let file = writer(&path);
        file.write_all_at(b"root", 0).unwrap();
        file.set_len(3).unwrap();
        fallocate(&file, FallocateFlags::empty(), 0, 100).unwrap();
        drop(writer(&path));
        fs::write(&path, b"cut on opening").unwrap();
        assert_eq!(mode_of(&path), 0o6777);
        chown(&path, Some(12), None).unwrap();
        assert_eq!(mode_of(&path), 0o777);
        grant(0o6777);
        chown(&path, None, Some(34)).unwrap();
        assert_eq!(mode_of(&path), 0o777);
        // Without the group's right to execute, the bit never was a privilege.
        grant(0o6767);
        chown(&path, Some(13), None).unwrap();
        assert_eq!(mode_of(&path), 0o2767);
    });
}

#[test]
fn a_capability_goes_with_every_change_of_content_or_owner() {
    if !common::is_root() {
        return;
    }
    each_way(|mount| {
        let path = program(mount);
        let goes = |what: &str, change: &dyn Fn()| {
            grant(&path);
            change();
            assert!(!has_capability(&path), "{what}");
        };
        goes("root writes", &|| writer(&path).write_all_at(b"x", 3).unwrap());
        goes("another writes", &|| as_nobody(&path, "printf x >> \"$1\""));
        goes("root cuts", &|| writer(&path).set_len(5).unwrap());
        goes("another cuts", &|| as_nobody(&path, "truncate -s 4 \"$1\""));
        goes("another cuts on opening", &|| as_nobody(&path, ": > \"$1\""));
        goes("another extends", &|| as_nobody(&path, "truncate -s 9000 \"$1\""));
        let allocate = FallocateFlags::empty();
        goes("root allocates", &|| fallocate(writer(&path), allocate, 0, 9100).unwrap());
        goes("another punches", &|| as_nobody(&path, "fallocate -p -o 1 -l 9 \"$1\""));
        goes("a mapping is written", &|| {
            run(Command::new("python3").args(["-c", MAP_AND_WRITE]).arg(&path));
        });
        goes("another owner", &|| chown(&path, Some(12), None).unwrap());
        goes("another group", &|| chown(&path, None, Some(12)).unwrap());
        let file = writer(&path);
        file.write_all_at(b"before", 0).unwrap();
        goes("written, granted, and written again", &|| file.write_all_at(b"after", 0).unwrap());
    });
}

#[test]
fn a_capability_stays_with_what_changes_neither_content_nor_owner() {
    if !common::is_root() {
        return;
    }
    each_way(|mount| {
        let path = program(mount);
        grant(&path);
        fs::read(&path).unwrap();
        as_nobody(&path, "cat \"$1\" > /dev/null; : >> \"$1\"");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        let at = Timespec { tv_sec: 5, tv_nsec: 0 };
        let times = Timestamps { last_access: at, last_modification: at };
        utimensat(CWD, &path, &times, AtFlags::empty()).unwrap();
        setxattr(&path, "user.a", b"a", XattrFlags::empty()).unwrap();
        fs::hard_link(&path, mount.path("other")).unwrap();
        fs::rename(&path, mount.path("moved")).unwrap();
        assert!(has_capability(&mount.path("moved")));
        assert!(has_capability(&mount.path("other")));
    });
}

#[test]
fn a_capability_is_committed_and_goes_in_the_next_mount() {
    if !common::is_root() {
        return;
    }
    for args in WAYS {
        let bench = Bench::new();
        fs::set_permissions(bench.path(""), Permissions::from_mode(0o755)).unwrap();
        let long = vec![7; 50_000];
        let mount = bench.mount_with("mnt", args);
        let make = |name: &str| {
            fs::write(mount.path(name), b"program").unwrap();
            fs::set_permissions(mount.path(name), Permissions::from_mode(0o777)).unwrap();
            grant(&mount.path(name));
        };
        ["kept", "written", "long", "owned"].into_iter().for_each(make);
        // No room in the entry: what there is must be loaded before it is known.
        setxattr(mount.path("long"), "user.long", &long, XattrFlags::empty()).unwrap();
        setxattr(mount.path("owned"), "user.long", &long, XattrFlags::empty()).unwrap();
        mount.commit();
        // What is committed is still in memory.
        as_nobody(&mount.path("written"), "printf x >> \"$1\"");
        assert!(!has_capability(&mount.path("written")));
        grant(&mount.path("written"));
        mount.commit();
        mount.unmount();

        let mount = bench.mount_with("mnt", args);
        fs::set_permissions(mount.root(), Permissions::from_mode(0o755)).unwrap();
        as_nobody(&mount.path("written"), "printf x >> \"$1\"");
        as_nobody(&mount.path("long"), "printf x >> \"$1\"");
        chown(mount.path("owned"), Some(12), None).unwrap();
        mount.commit();
        mount.unmount();

        let mount = bench.mount_with("mnt", args);
        let has = |name: &str| has_capability(&mount.path(name));
        assert_eq!(["kept", "written", "long", "owned"].map(has), [true, false, false, false]);
        let mut value = vec![0; 60_000];
        let len = getxattr(mount.path("long"), "user.long", value.as_mut_slice()).unwrap();
        assert!(value[..len] == long);
        assert_eq!(fs::read(mount.path("long")).unwrap(), b"programx");
    }
}

#[test]
fn an_access_control_list_gives_nobody_more_and_goes_when_the_mode_is_set() {
    let bench = Bench::new();
    let tree = bench.path("tree");
    fs::create_dir(&tree).unwrap();
    // user::rw-, user:1000:rw-, group::---, mask::rw-, other::---
    let entries: [(u8, u8, u32); 5] =
        [(1, 6, u32::MAX), (2, 6, 1000), (4, 0, u32::MAX), (16, 6, u32::MAX), (32, 0, u32::MAX)];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        list.extend([tag, 0, rights, 0]);
        list.extend(id.to_le_bytes());
    }
    const ACCESS: &str = "system.posix_acl_access";
    for name in ["edited", "set"] {
        fs::write(tree.join(name), b"before").unwrap();
        setxattr(tree.join(name), ACCESS, &list, XattrFlags::empty()).unwrap();
        assert_eq!(mode_of(&tree.join(name)), 0o660);
    }
    common::ok(bench.vellum(["import"]).arg(&tree).arg(bench.repository()));
    let mount = bench.mount("mnt");
    assert_eq!(mode_of(&mount.path("edited")), 0o600);
    let (code, listed, _) = common::run(&mut mount.vellum("diff"));
    assert_eq!((code, listed.as_str()), (0, ""));
    fs::write(mount.path("edited"), b"after").unwrap();
    fs::set_permissions(mount.path("set"), Permissions::from_mode(0o640)).unwrap();
    mount.commit();
    let out = bench.path("out");
    common::ok(bench.vellum(["export"]).arg(bench.repository()).arg(&out));
    let kept = |name: &str| {
        let mut value = [0; 100];
        getxattr(out.join(name), ACCESS, value.as_mut_slice()).map(|len| value[..len].to_vec())
    };
    assert_eq!((kept("edited"), mode_of(&out.join("edited"))), (Ok(list), 0o660));
    assert_eq!((kept("set"), mode_of(&out.join("set"))), (Err(Errno::NODATA), 0o640));
}
