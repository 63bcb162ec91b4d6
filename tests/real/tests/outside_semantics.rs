//! Claims of docs/SEMANTICS.md that no other test proves.

#![allow(clippy::unwrap_used)]

mod common;
mod mounted;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use common::programs::{done, program};
use mounted::{Bench, errno};
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FlockOperation, RenameFlags, Timespec, Timestamps, UTIME_OMIT,
    XattrFlags, copy_file_range, fallocate, flock, ioctl_ficlone, renameat_with, seek, setxattr,
    utimensat,
};
use rustix::io::Errno;

/// Modification and change time, in nanoseconds.
fn times(path: &Path) -> (i128, i128) {
    let meta = fs::symlink_metadata(path).unwrap();
    let ns = |secs: i64, ns: i64| i128::from(secs) * 1_000_000_000 + i128::from(ns);
    (ns(meta.mtime(), meta.mtime_nsec()), ns(meta.ctime(), meta.ctime_nsec()))
}

/// Runs `change`, and answers whether it moved the modification and the change time of `path`.
fn moves(path: &Path, change: impl FnOnce()) -> (bool, bool) {
    // Longer than the coarsest tick of a kernel's clock.
    std::thread::sleep(Duration::from_millis(12));
    let before = times(path);
    change();
    let after = times(path);
    (after.0 > before.0, after.1 > before.1)
}

#[test]
fn changes_mark_the_times_that_posix_says() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let (file, dir) = (mount.path("file"), mount.path("dir"));
    fs::write(&file, b"content").unwrap();
    fs::create_dir(&dir).unwrap();
    let write = || OpenOptions::new().write(true).open(&file).unwrap();
    assert_eq!(moves(&file, || drop(fs::read(&file))), (false, false));
    assert_eq!(moves(&file, || write().write_all(b"x").unwrap()), (true, true));
    for size in [7, 5, 9] {
        assert_eq!(moves(&file, || write().set_len(size).unwrap()), (true, true), "{size}");
    }
    assert_eq!(moves(&file, || drop(File::create(&file).unwrap())), (true, true));
    let private = fs::Permissions::from_mode(0o600);
    assert_eq!(moves(&file, || fs::set_permissions(&file, private).unwrap()), (false, true));
    let xattr = || setxattr(&file, "user.a", b"1", XattrFlags::empty()).unwrap();
    assert_eq!(moves(&file, xattr), (false, true));
    assert_eq!(moves(&file, || fs::hard_link(&file, dir.join("l")).unwrap()), (false, true));
    assert_eq!(moves(&file, || fs::remove_file(dir.join("l")).unwrap()), (false, true));
}

#[test]
fn names_that_come_and_go_mark_their_directory() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let dir = mount.path("dir");
    fs::create_dir(&dir).unwrap();
    assert_eq!(moves(&dir, || fs::write(dir.join("a"), b"").unwrap()), (true, true));
    assert_eq!(moves(&dir, || fs::write(dir.join("a"), b"x").unwrap()), (false, false));
    assert_eq!(moves(&dir, || fs::rename(dir.join("a"), dir.join("b")).unwrap()), (true, true));
    assert_eq!(moves(&dir, || fs::remove_file(dir.join("b")).unwrap()), (true, true));
    assert_eq!(moves(&dir, || fs::create_dir(dir.join("d")).unwrap()), (true, true));
    assert_eq!(moves(&dir, || fs::write(dir.join("d/below"), b"").unwrap()), (false, false));
    fs::write(mount.path("moved"), b"").unwrap();
    let mut moved = (false, false);
    let marked = moves(&dir, || {
        let to = dir.join("moved");
        std::thread::sleep(Duration::from_millis(12));
        let before = times(&mount.path("moved"));
        fs::rename(mount.path("moved"), &to).unwrap();
        moved = (times(&to).0 > before.0, times(&to).1 > before.1);
    });
    assert_eq!((marked, moved), ((true, true), (false, true)));
}

#[test]
fn the_access_time_is_the_modification_time() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let file = mount.path("file");
    fs::write(&file, b"x").unwrap();
    let at = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    let set = Timestamps { last_access: at(5, 0), last_modification: at(1_500_000_000, 7) };
    utimensat(CWD, &file, &set, AtFlags::empty()).unwrap();
    let meta = fs::metadata(&file).unwrap();
    assert_eq!((meta.mtime(), meta.mtime_nsec()), (1_500_000_000, 7));
    assert_eq!((meta.atime(), meta.atime_nsec()), (1_500_000_000, 7));
    // Set alone it is taken, and changes nothing that is shown.
    let only = Timestamps { last_access: at(9, 0), last_modification: at(0, UTIME_OMIT) };
    utimensat(CWD, &file, &only, AtFlags::empty()).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().atime(), 1_500_000_000);
    assert_eq!(fs::metadata(&file).unwrap().mtime(), 1_500_000_000);
    fs::read(&file).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().atime(), 1_500_000_000);
}

#[test]
fn times_outside_1677_to_2262_are_moved_to_the_nearest_that_can_be_said() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let file = mount.path("file");
    fs::write(&file, b"x").unwrap();
    let set = |tv_sec| {
        let time = Timespec { tv_sec, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, &file, &times, AtFlags::empty()).unwrap();
        fs::metadata(&file).unwrap().mtime()
    };
    assert_eq!(set(1 << 32), 1 << 32);
    assert_eq!(set(-(1 << 32)), -(1 << 32));
    assert_eq!(set(1 << 40), i64::MAX / 1_000_000_000);
    assert_eq!(set(-(1 << 40)), i64::MIN / 1_000_000_000 - 1);
}

#[test]
fn directories_are_never_linked_opened_for_writing_or_read() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    fs::create_dir(mount.path("dir")).unwrap();
    assert_eq!(errno(fs::hard_link(mount.path("dir"), mount.path("l"))), libc::EPERM);
    assert_eq!(errno(OpenOptions::new().write(true).open(mount.path("dir"))), libc::EISDIR);
    let mut bytes = Vec::new();
    let read = File::open(mount.path("dir")).unwrap().read_to_end(&mut bytes);
    assert_eq!(errno(read), libc::EISDIR);
    assert_eq!(fs::metadata(mount.path("dir")).unwrap().len(), 4096);
    assert_eq!(fs::metadata(mount.path("dir")).unwrap().nlink(), 2);
}

#[test]
fn a_removed_directory_that_is_in_use_is_empty_and_takes_nothing() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let dir = mount.path("dir");
    fs::create_dir(&dir).unwrap();
    let script = "import os, sys\n\
        os.chdir(sys.argv[1]); os.rmdir(sys.argv[1])\n\
        assert os.listdir('.') == []\n\
        try: open('new', 'w')\n\
        except FileNotFoundError: print('refused')\n\
        assert os.stat('.').st_nlink == 0\n";
    assert_eq!(done(program("python3").arg("-c").arg(script).arg(&dir)), "refused\n");
}

#[test]
fn new_files_in_a_set_gid_directory_get_its_group() {
    if !common::is_root() {
        return;
    }
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let dir = mount.path("dir");
    fs::create_dir(&dir).unwrap();
    std::os::unix::fs::chown(&dir, None, Some(77)).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o2775)).unwrap();
    fs::write(dir.join("file"), b"").unwrap();
    fs::create_dir(dir.join("sub")).unwrap();
    assert_eq!(fs::metadata(dir.join("file")).unwrap().gid(), 77);
    let sub = fs::metadata(dir.join("sub")).unwrap();
    assert_eq!((sub.gid(), sub.mode() & 0o2000), (77, 0o2000));
}

#[test]
fn targets_of_symbolic_links_end_at_4095_bytes() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let longest = "t".repeat(4095);
    symlink(&longest, mount.path("l")).unwrap();
    assert_eq!(fs::read_link(mount.path("l")).unwrap(), Path::new(&longest));
    assert_eq!(errno(symlink("t".repeat(4096), mount.path("m"))), libc::ENAMETOOLONG);
}

#[test]
fn a_move_of_a_base_directory_costs_what_was_looked_at() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    for n in 0..200 {
        fs::create_dir_all(mount.path(&format!("base/d{n}"))).unwrap();
        fs::write(mount.path(&format!("base/d{n}/file")), format!("{n}")).unwrap();
    }
    mount.commit();
    mount.unmount();
    let mount = bench.mount("mnt");
    fs::rename(mount.path("base"), mount.path("moved")).unwrap();
    let commit = mount.commit();
    let fetched = mount.status()["requests"]["get"]["requests"].as_u64().unwrap();
    // The ref, the snapshot and the root directory, and some of them again to publish.
    assert!(fetched < 10, "{fetched} requests");
    assert!(commit["objects"].as_u64().unwrap() <= 3, "{commit}");
    assert_eq!(fs::read(mount.path("moved/d7/file")).unwrap(), b"7");
    let other = bench.mount("other");
    assert_eq!(fs::read(other.path("moved/d199/file")).unwrap(), b"199");
    assert!(!other.path("base").exists());
    other.unmount();
}

#[test]
fn inode_numbers_stay_over_commit_and_remount() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    fs::create_dir(mount.path("dir")).unwrap();
    fs::write(mount.path("dir/file"), b"x").unwrap();
    let ino = |path: &Path| fs::metadata(path).unwrap().ino();
    let before = (ino(&mount.path("dir")), ino(&mount.path("dir/file")));
    fs::rename(mount.path("dir/file"), mount.path("moved")).unwrap();
    mount.commit();
    mount.unmount();
    let mount = bench.mount("mnt");
    assert_eq!((ino(&mount.path("dir")), ino(&mount.path("moved"))), before);
}

#[test]
fn direct_io_needs_no_alignment() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).custom_flags(libc::O_DIRECT);
    let file = options.open(mount.path("file")).unwrap();
    file.write_all_at(b"seven b", 3).unwrap();
    let mut seen = [9; 10];
    file.read_exact_at(&mut seen, 0).unwrap();
    assert_eq!(&seen, b"\0\0\0seven b");
}

#[test]
fn holes_come_back_whole_chunks_at_a_time() {
    const MB: u64 = 1 << 20;
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let file = File::create(mount.path("file")).unwrap();
    file.set_len(64 * MB).unwrap();
    file.write_all_at(&[1; 100], 33 * MB).unwrap();
    drop(file);
    mount.commit();
    mount.unmount();
    let mount = bench.mount("mnt");
    let file = File::open(mount.path("file")).unwrap();
    // The chunk of 4 MiB that has the bytes is data all over; the rest takes no space.
    assert_eq!(seek(&file, rustix::fs::SeekFrom::Data(0)), Ok(32 * MB));
    assert_eq!(seek(&file, rustix::fs::SeekFrom::Hole(32 * MB)), Ok(36 * MB));
    assert_eq!(file.metadata().unwrap().blocks() * 512, 4 * MB);
}

#[test]
fn locks_hold_between_the_programs_of_one_mount() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let (one, two) = (File::create(mount.path("f")).unwrap(), File::open(mount.path("f")).unwrap());
    flock(&one, FlockOperation::LockExclusive).unwrap();
    assert_eq!(flock(&two, FlockOperation::NonBlockingLockShared), Err(Errno::WOULDBLOCK));
    flock(&one, FlockOperation::Unlock).unwrap();
    flock(&two, FlockOperation::NonBlockingLockShared).unwrap();
    let script = "import fcntl, os, sys\n\
        f = open(sys.argv[1], 'r+'); fcntl.lockf(f, fcntl.LOCK_EX, 10, 0)\n\
        if os.fork() == 0:\n\
        \x20   g = open(sys.argv[1], 'r+'); fcntl.lockf(g, fcntl.LOCK_EX, 10, 10)\n\
        \x20   try: fcntl.lockf(g, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 9)\n\
        \x20   except BlockingIOError: os._exit(7)\n\
        \x20   os._exit(1)\n\
        print(os.waitstatus_to_exitcode(os.wait()[1]))\n";
    assert_eq!(done(program("python3").arg("-c").arg(script).arg(mount.path("f"))), "7\n");
    mount.commit();
    let other = bench.mount("other");
    let three = File::open(other.path("f")).unwrap();
    flock(&one, FlockOperation::NonBlockingLockExclusive).unwrap_err();
    flock(&three, FlockOperation::NonBlockingLockExclusive).unwrap();
    drop(three);
    other.unmount();
}

#[test]
fn what_is_missing_is_refused_by_name() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let at = |name: &str| mount.path(name);
    fs::write(at("a"), vec![1; 8192]).unwrap();
    let open = |name: &str| {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(at(name))
            .unwrap()
    };
    let (a, b) = (open("a"), open("b"));
    assert_eq!(ioctl_ficlone(&b, &a), Err(Errno::OPNOTSUPP));
    for how in [FallocateFlags::COLLAPSE_RANGE, FallocateFlags::INSERT_RANGE] {
        assert_eq!(fallocate(&a, how, 0, 4096), Err(Errno::OPNOTSUPP));
    }
    let tmp = OpenOptions::new().write(true).custom_flags(libc::O_TMPFILE).open(mount.root());
    assert_eq!(errno(tmp), libc::EOPNOTSUPP);
    let whiteout = renameat_with(CWD, at("a"), CWD, at("c"), RenameFlags::WHITEOUT);
    assert_eq!(whiteout, Err(Errno::INVAL));
    let other = setxattr(at("a"), "system.other", b"1", XattrFlags::empty());
    assert_eq!(other, Err(Errno::OPNOTSUPP));
    let immutable = std::process::Command::new("chattr").arg("+i").arg(at("a")).output().unwrap();
    assert!(!immutable.status.success());
    // The kernel copies by itself.
    assert_eq!(copy_file_range(&a, None, &b, None, 8192), Ok(8192));
    assert_eq!(fs::read(at("b")).unwrap(), vec![1; 8192]);
    let c = open("c");
    assert_eq!(rustix::fs::sendfile(&c, &a, Some(&mut 0), 8192), Ok(8192));
    assert_eq!(fs::read(at("c")).unwrap(), vec![1; 8192]);
}

#[test]
fn offsets_beyond_the_end_are_answered() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    fs::write(mount.path("file"), b"0123456789").unwrap();
    let mut file = OpenOptions::new().read(true).write(true).open(mount.path("file")).unwrap();
    assert_eq!(file.read_at(&mut [0; 4], 10).unwrap(), 0);
    assert_eq!(file.read_at(&mut [0; 4], 1 << 50).unwrap(), 0);
    assert_eq!(seek(&file, rustix::fs::SeekFrom::Data(10)), Err(Errno::NXIO));
    assert_eq!(file.seek(SeekFrom::End(5)).unwrap(), 15);
    file.write_all(b"x").unwrap();
    assert_eq!(fs::read(mount.path("file")).unwrap(), b"0123456789\0\0\0\0\0x");
    assert_eq!(file.write(b"").unwrap(), 0);
    assert_eq!(fallocate(&file, FallocateFlags::empty(), 0, 0), Err(Errno::INVAL));
    assert_eq!(fs::metadata(mount.path("file")).unwrap().len(), 16);
}

#[test]
fn a_file_that_is_open_is_committed_as_it_stands() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let mut file = File::create(mount.path("open")).unwrap();
    file.write_all(b"first").unwrap();
    let unlinked = File::create(mount.path("gone")).unwrap();
    fs::remove_file(mount.path("gone")).unwrap();
    mount.commit();
    file.write_all(b" second").unwrap();
    unlinked.write_all_at(b"still works", 0).unwrap();
    let other = bench.mount("other");
    assert_eq!(fs::read(other.path("open")).unwrap(), b"first");
    assert!(!other.path("gone").exists());
    other.unmount();
    assert_eq!(fs::read(mount.path("open")).unwrap(), b"first second");
    assert_eq!(unlinked.metadata().unwrap().len(), 11);
}

#[test]
fn birth_times_are_not_told_and_change_times_are_the_machines() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let begun = SystemTime::now() - Duration::from_secs(1);
    fs::write(mount.path("file"), b"x").unwrap();
    let meta = fs::metadata(mount.path("file")).unwrap();
    assert!(meta.created().is_err());
    assert!(meta.modified().unwrap() >= begun);
    assert!(meta.modified().unwrap() <= SystemTime::now());
}
