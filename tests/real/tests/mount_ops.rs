//! Every operation through a real mount, and the errno of each that is refused.

#![allow(clippy::unwrap_used)]

mod common;
mod mounted;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{
    FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink,
};
use std::path::Path;

use mounted::store::Place;
use mounted::{Bench, errno};
use rustix::fs::{
    AtFlags, CWD, Dev, FileType, Mode, RenameFlags, Timespec, Timestamps, XattrFlags, getxattr,
    listxattr, mknodat, removexattr, renameat_with, setxattr, statvfs, utimensat,
};

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn rename_with(from: &Path, to: &Path, flags: RenameFlags) -> std::io::Result<()> {
    Ok(renameat_with(CWD, from, CWD, to, flags)?)
}

#[test]
fn files_are_created_read_cut_and_removed() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let file = mount.path("file");
    assert_eq!(errno(File::open(&file)), libc::ENOENT);
    fs::write(&file, b"hello").unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"hello");
    assert_eq!(fs::metadata(&file).unwrap().len(), 5);
    let exclusive = OpenOptions::new().write(true).create_new(true).open(&file);
    assert_eq!(errno(exclusive), libc::EEXIST);
    fs::write(&file, b"hi").unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"hi");
    let open = OpenOptions::new().write(true).open(&file).unwrap();
    open.set_len(4).unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"hi\0\0");
    open.set_len(1).unwrap();
    open.set_len(3).unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"h\0\0");
    fs::remove_file(&file).unwrap();
    assert_eq!(errno(fs::metadata(&file)), libc::ENOENT);
    assert_eq!(errno(fs::remove_file(&file)), libc::ENOENT);
}

#[test]
fn directories_refuse_what_they_must() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let (dir, file) = (mount.path("dir"), mount.path("file"));
    fs::create_dir(&dir).unwrap();
    assert_eq!(errno(fs::create_dir(&dir)), libc::EEXIST);
    fs::write(&file, b"").unwrap();
    fs::write(dir.join("child"), b"").unwrap();
    assert_eq!(errno(fs::remove_dir(&dir)), libc::ENOTEMPTY);
    assert_eq!(errno(fs::remove_dir(&file)), libc::ENOTDIR);
    assert_eq!(errno(fs::remove_file(&dir)), libc::EISDIR);
    assert_eq!(errno(File::open(file.join("below"))), libc::ENOTDIR);
    assert_eq!(errno(OpenOptions::new().write(true).open(&dir)), libc::EISDIR);
    fs::create_dir(dir.join("sub")).unwrap();
    assert_eq!(fs::metadata(&dir).unwrap().nlink(), 3);
    fs::remove_dir(dir.join("sub")).unwrap();
    assert_eq!(fs::metadata(&dir).unwrap().nlink(), 2);
    fs::remove_file(dir.join("child")).unwrap();
    fs::remove_dir(&dir).unwrap();
    assert_eq!(names(mount.root()), BTreeSet::from(["file".to_owned()]));
}

#[test]
fn names_are_bytes_up_to_255() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let odd = mount.root().join(OsStr::from_bytes(b"not\xffutf8\n"));
    fs::write(&odd, b"odd").unwrap();
    assert_eq!(fs::read(&odd).unwrap(), b"odd");
    fs::write(mount.path(&"n".repeat(255)), b"").unwrap();
    assert_eq!(errno(fs::write(mount.path(&"n".repeat(256)), b"")), libc::ENAMETOOLONG);
    assert_eq!(fs::read_dir(mount.root()).unwrap().count(), 2);
}

#[test]
fn rename_replaces_what_it_may() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let at = |name: &str| mount.path(name);
    fs::write(at("a"), b"a").unwrap();
    fs::write(at("b"), b"b").unwrap();
    let held = File::open(at("b")).unwrap();
    fs::rename(at("a"), at("b")).unwrap();
    assert_eq!(fs::read(at("b")).unwrap(), b"a");
    let mut old = String::new();
    (&held).read_to_string(&mut old).unwrap();
    assert_eq!(old, "b");

    fs::create_dir_all(at("d/sub")).unwrap();
    fs::create_dir(at("e")).unwrap();
    assert_eq!(errno(fs::rename(at("b"), at("e"))), libc::EISDIR);
    assert_eq!(errno(fs::rename(at("e"), at("b"))), libc::ENOTDIR);
    assert_eq!(errno(fs::rename(at("e"), at("d"))), libc::ENOTEMPTY);
    assert_eq!(errno(fs::rename(at("d"), at("d/sub/d"))), libc::EINVAL);
    fs::rename(at("d"), at("e")).unwrap();
    assert_eq!(names(&at("e")), BTreeSet::from(["sub".to_owned()]));
    assert_eq!(errno(fs::rename(at("d"), at("x"))), libc::ENOENT);
    // Moved to another directory: `..` follows.
    fs::create_dir(at("f")).unwrap();
    fs::rename(at("e/sub"), at("f/sub")).unwrap();
    let parent = fs::metadata(at("f/sub/..")).unwrap().ino();
    assert_eq!(parent, fs::metadata(at("f")).unwrap().ino());
}

#[test]
fn rename_flags_are_honoured_or_refused() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let at = |name: &str| mount.path(name);
    fs::write(at("a"), b"a").unwrap();
    fs::create_dir(at("d")).unwrap();
    fs::write(at("d/b"), b"b").unwrap();
    let no = RenameFlags::NOREPLACE;
    assert_eq!(errno(rename_with(&at("a"), &at("d/b"), no)), libc::EEXIST);
    rename_with(&at("a"), &at("c"), no).unwrap();
    rename_with(&at("c"), &at("d"), RenameFlags::EXCHANGE).unwrap();
    assert_eq!(fs::read(at("d")).unwrap(), b"a");
    assert_eq!(fs::read(at("c/b")).unwrap(), b"b");
    let missing = rename_with(&at("c"), &at("x"), RenameFlags::EXCHANGE);
    assert_eq!(errno(missing), libc::ENOENT);
    let whiteout = rename_with(&at("d"), &at("y"), RenameFlags::WHITEOUT);
    assert_eq!(errno(whiteout), libc::EINVAL);
    assert_eq!(names(mount.root()), BTreeSet::from(["c".to_owned(), "d".to_owned()]));
}

#[test]
fn links_share_one_inode() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let at = |name: &str| mount.path(name);
    fs::write(at("a"), b"one").unwrap();
    fs::hard_link(at("a"), at("b")).unwrap();
    let (a, b) = (fs::metadata(at("a")).unwrap(), fs::metadata(at("b")).unwrap());
    assert_eq!((a.ino(), a.nlink()), (b.ino(), 2));
    fs::write(at("b"), b"two").unwrap();
    assert_eq!(fs::read(at("a")).unwrap(), b"two");
    assert_eq!(errno(fs::hard_link(at("a"), at("b"))), libc::EEXIST);
    fs::create_dir(at("d")).unwrap();
    assert_eq!(errno(fs::hard_link(at("d"), at("e"))), libc::EPERM);
    // A rename onto another name of the same inode does nothing.
    fs::rename(at("a"), at("b")).unwrap();
    assert!(at("a").exists());
    fs::remove_file(at("a")).unwrap();
    assert_eq!(fs::metadata(at("b")).unwrap().nlink(), 1);
}

#[test]
fn symlinks_keep_their_target() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let target = "../somewhere/else".repeat(20);
    symlink(&target, mount.path("link")).unwrap();
    assert_eq!(fs::read_link(mount.path("link")).unwrap(), Path::new(&target));
    let meta = fs::symlink_metadata(mount.path("link")).unwrap();
    assert!(meta.is_symlink());
    assert_eq!(meta.len(), target.len() as u64);
    fs::write(mount.path("file"), b"through").unwrap();
    symlink("file", mount.path("to")).unwrap();
    assert_eq!(fs::read(mount.path("to")).unwrap(), b"through");
    assert_eq!(errno(symlink("file", mount.path("to"))), libc::EEXIST);
    symlink("loop", mount.path("loop")).unwrap();
    assert_eq!(errno(fs::read(mount.path("loop"))), libc::ELOOP);
}

#[test]
fn special_files_are_made() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let make = |name: &str, kind: FileType, dev: Dev| {
        mknodat(CWD, mount.path(name), kind, Mode::from(0o640), dev).unwrap();
        fs::metadata(mount.path(name)).unwrap()
    };
    assert!(make("fifo", FileType::Fifo, 0).file_type().is_fifo());
    assert!(make("file", FileType::RegularFile, 0).is_file());
    assert!(make("socket", FileType::Socket, 0).file_type().is_socket());
    let null = rustix::fs::makedev(1, 3);
    let device = make("null", FileType::CharacterDevice, null);
    assert!(device.file_type().is_char_device());
    assert_eq!(device.rdev(), null);
    // nodev: it can be there, and can't be used.
    assert_eq!(errno(File::open(mount.path("null"))), libc::EACCES);
    mount.commit();
    let other = bench.mount("other");
    let kept = |name: &str| fs::metadata(other.path(name)).unwrap();
    assert!(kept("fifo").file_type().is_fifo() && kept("socket").file_type().is_socket());
    assert!(kept("null").file_type().is_char_device());
    assert_eq!((kept("null").rdev(), kept("null").mode() & 0o7777), (null, 0o640));
    other.unmount();
}

#[test]
fn an_unlinked_file_works_to_its_last_close() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let path = mount.path("file");
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    file.write_all_at(b"before", 0).unwrap();
    fs::remove_file(&path).unwrap();
    file.write_all_at(b"after!", 6).unwrap();
    assert_eq!(file.metadata().unwrap().nlink(), 0);
    file.set_len(9).unwrap();
    let mut content = [0; 9];
    file.read_exact_at(&mut content, 0).unwrap();
    assert_eq!(&content, b"beforeaft");
    fs::write(&path, b"another").unwrap();
    assert_eq!(file.metadata().unwrap().len(), 9);
    drop(file);
    assert_eq!(fs::read(&path).unwrap(), b"another");
}

#[test]
fn modes_owners_and_times_are_kept() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let path = mount.path("file");
    fs::write(&path, b"x").unwrap();
    for mode in [0o600, 0o4755, 0o2755, 0o1644, 0o000] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, mode);
    }
    let set = |mtime: Timespec| {
        let times = Timestamps { last_access: mtime, last_modification: mtime };
        utimensat(CWD, &path, &times, AtFlags::empty()).unwrap();
        let meta = fs::metadata(&path).unwrap();
        assert_eq!((meta.mtime(), meta.mtime_nsec()), (mtime.tv_sec, mtime.tv_nsec));
    };
    set(Timespec { tv_sec: 1_700_000_000, tv_nsec: 123_456_789 });
    set(Timespec { tv_sec: 0, tv_nsec: 0 });
    set(Timespec { tv_sec: -5, tv_nsec: 500_000_000 });
    let before = fs::metadata(&path).unwrap();
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"y").unwrap();
    let after = fs::metadata(&path).unwrap();
    assert!(after.mtime() > before.mtime());
    if common::is_root() {
        chown(&path, Some(12), Some(34)).unwrap();
        let meta = fs::metadata(&path).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (12, 34));
    }
}

#[test]
fn a_directory_stream_is_stable_while_the_directory_changes() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let dir = mount.path("dir");
    fs::create_dir(&dir).unwrap();
    let kept: BTreeSet<String> = (0..2000).map(|n| format!("kept-{n:04}")).collect();
    for name in &kept {
        fs::write(dir.join(name), b"").unwrap();
        fs::write(dir.join(format!("gone-{name}")), b"").unwrap();
    }
    let mut seen = Vec::new();
    for (n, entry) in fs::read_dir(&dir).unwrap().enumerate() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if n == 10 {
            for name in &kept {
                fs::remove_file(dir.join(format!("gone-{name}"))).unwrap();
                fs::write(dir.join(format!("new-{name}")), b"").unwrap();
                // As an editor saves: the name stays, its inode does not.
                fs::write(dir.join("saved"), b"").unwrap();
                fs::rename(dir.join("saved"), dir.join(name)).unwrap();
            }
        }
        seen.push(name);
    }
    let seen_kept: Vec<&String> = seen.iter().filter(|name| name.starts_with("kept")).collect();
    assert_eq!(seen_kept.len(), kept.len(), "an entry was skipped or doubled");
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len());
    assert_eq!(names(&dir).len(), 2 * kept.len());
}

#[test]
fn extended_attributes_end_where_they_could_not_be_listed() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let path = mount.path("file");
    fs::write(&path, b"").unwrap();
    let set = |index: usize| setxattr(&path, format!("user.{index:0245}"), b"", XattrFlags::CREATE);
    let fit = (64 << 10) / 251;
    (0..fit).for_each(|index| set(index).unwrap());
    assert_eq!(set(fit), Err(rustix::io::Errno::NOSPC));
    mount.commit();
    let again = bench.mount("again");
    let mut list = vec![0_u8; 64 << 10];
    assert_eq!(listxattr(again.path("file"), list.as_mut_slice()), Ok(fit * 251));
    again.unmount();
    mount.unmount();
}

#[test]
fn extended_attributes_of_the_kept_kinds_are_kept() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let path = mount.path("file");
    fs::write(&path, b"").unwrap();
    let get = |name: &str| {
        let mut value = vec![0; 70_000];
        let len = getxattr(&path, name, value.as_mut_slice())?;
        value.truncate(len);
        Ok::<_, std::io::Error>(value)
    };
    assert_eq!(errno(get("user.a")), libc::ENODATA);
    setxattr(&path, "user.a", b"one", XattrFlags::CREATE).unwrap();
    let again = setxattr(&path, "user.a", b"two", XattrFlags::CREATE);
    assert_eq!(again, Err(rustix::io::Errno::EXIST));
    setxattr(&path, "user.a", b"two", XattrFlags::REPLACE).unwrap();
    let absent = setxattr(&path, "user.b", b"x", XattrFlags::REPLACE);
    assert_eq!(absent, Err(rustix::io::Errno::NODATA));
    assert_eq!(get("user.a").unwrap(), b"two");
    let big = vec![7; 65_536];
    setxattr(&path, "user.big", &big, XattrFlags::empty()).unwrap();
    assert_eq!(get("user.big").unwrap(), big);
    let mut kinds = vec!["user.big"];
    if common::is_root() {
        kinds.extend(["trusted.kind", "security.kind"]);
        for kind in &kinds[1..] {
            setxattr(&path, *kind, kind.as_bytes(), XattrFlags::empty()).unwrap();
        }
    }
    mount.commit();
    let other = bench.mount("other");
    for kind in &kinds {
        let mut value = vec![0; 70_000];
        let len = getxattr(other.path("file"), *kind, value.as_mut_slice()).unwrap();
        assert_eq!(&value[..len], get(kind).unwrap(), "{kind}");
    }
    other.unmount();
    for kind in &kinds[1..] {
        removexattr(&path, *kind).unwrap();
    }
    let short = getxattr(&path, "user.a", [0_u8; 2].as_mut_slice());
    assert_eq!(short, Err(rustix::io::Errno::RANGE));
    let mut list = vec![0; 1000];
    let len = listxattr(&path, list.as_mut_slice()).unwrap();
    let listed: BTreeSet<&[u8]> =
        list[..len].split(|b| *b == 0).filter(|n| !n.is_empty()).collect();
    assert_eq!(listed, BTreeSet::from([&b"user.a"[..], b"user.big"]));
    removexattr(&path, "user.a").unwrap();
    assert_eq!(removexattr(&path, "user.a"), Err(rustix::io::Errno::NODATA));
    // Version 2; owner, group and others may read.
    let acl = [
        &b"\x02\0\0\0"[..],
        b"\x01\0\x04\0\xff\xff\xff\xff",
        b"\x04\0\x04\0\xff\xff\xff\xff",
        b"\x20\0\x04\0\xff\xff\xff\xff",
    ]
    .concat();
    let acl = setxattr(&path, "system.posix_acl_access", &acl, XattrFlags::empty());
    assert_eq!(acl, Err(rustix::io::Errno::OPNOTSUPP));
}

#[test]
fn statfs_shows_real_figures() {
    if !common::is_root() {
        return;
    }
    let bench = Bench::on(Place::Directory);
    // A disk that nobody else writes to.
    fs::remove_dir_all(bench.repository()).unwrap();
    fs::create_dir(bench.repository()).unwrap();
    let _disk = mounted::Tmpfs::new(&bench.repository(), "100m");
    common::ok(bench.vellum(["init"]).arg(bench.repository()));
    let mount = bench.mount_with("mnt", &["--memory", "256M"]);
    let before = statvfs(mount.root()).unwrap();
    let free = before.f_bavail * before.f_frsize;
    let disk = statvfs(bench.repository()).unwrap();
    let room = disk.f_bavail * disk.f_frsize..=(disk.f_bavail * disk.f_frsize) + (256 << 20);
    assert!(room.contains(&free), "{free} of {room:?}");
    assert_eq!(before.f_namemax, 255);
    fs::write(mount.path("file"), vec![1; 8 << 20]).unwrap();
    let after = statvfs(mount.root()).unwrap();
    let used = (before.f_bavail - after.f_bavail) * after.f_frsize;
    assert!((8 << 20..16 << 20).contains(&used), "{used}");
    assert!(after.f_files > before.f_files || after.f_ffree < before.f_ffree);
}

#[test]
fn another_users_rights_are_those_of_the_files() {
    if !common::is_root() {
        return;
    }
    let bench = Bench::new();
    fs::set_permissions(bench.path(""), Permissions::from_mode(0o755)).unwrap();
    let mount = bench.mount_with("mnt", &["--allow-other"]);
    fs::set_permissions(mount.root(), Permissions::from_mode(0o755)).unwrap();
    fs::write(mount.path("secret"), b"x").unwrap();
    fs::set_permissions(mount.path("secret"), Permissions::from_mode(0o600)).unwrap();
    fs::write(mount.path("open"), b"x").unwrap();
    fs::set_permissions(mount.path("open"), Permissions::from_mode(0o644)).unwrap();
    let as_nobody = |script: &str| {
        let mut command = std::process::Command::new("sh");
        std::os::unix::process::CommandExt::uid(&mut command, 65534);
        let output = command.args(["-c", script]).current_dir(mount.root()).output().unwrap();
        output.status.success()
    };
    assert!(as_nobody("cat open"));
    assert!(!as_nobody("cat secret"));
    assert!(!as_nobody("echo x >> open"));
    assert!(!as_nobody("rm open"));
    assert!(!as_nobody("touch new"));
}

#[test]
fn what_is_not_there_answers_what_posix_asks_for() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let path = mount.path("file");
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    file.write_all(b"content").unwrap();
    let ioctl = rustix::termios::tcgetwinsize(&file);
    assert_eq!(ioctl.unwrap_err(), rustix::io::Errno::NOTTY);
    assert_eq!(errno(file.seek(SeekFrom::Start(1 << 63))), libc::EINVAL);
    let tmp = OpenOptions::new().write(true).custom_flags(libc::O_TMPFILE).open(mount.root());
    assert_eq!(errno(tmp), libc::EOPNOTSUPP);
    // Copying ranges falls back to reading and writing.
    fs::copy(&path, mount.path("copy")).unwrap();
    assert_eq!(fs::read(mount.path("copy")).unwrap(), b"content");
}
