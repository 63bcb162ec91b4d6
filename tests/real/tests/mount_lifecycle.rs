//! Mounting and unmounting: what is refused, what is kept, and what is said.

#![allow(clippy::unwrap_used)]

mod common;
mod mounted;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use mounted::{Bench, errno, is_mounted, until};
use rustix::fs::statvfs;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Whether the process runs; one that has ended and was not waited for does not.
fn runs(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").starts_with(" Z"))
}

#[test]
fn a_mount_answers_when_the_command_returns_and_is_gone_after_umount() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    assert!(is_mounted(mount.root()));
    let pid = mount.pid();
    let status = mount.status();
    assert_eq!(status["dirty"], false);
    assert_eq!(status["mounted"], true);
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let line = table.lines().find(|line| line.contains(mount.root().to_str().unwrap())).unwrap();
    for word in ["fuse.vellum", "nosuid", "nodev", "default_permissions"] {
        assert!(line.contains(word), "{line}");
    }
    let point = mount.root().to_path_buf();
    mount.unmount();
    until("the daemon ends", || !runs(pid));
    assert!(!is_mounted(&point));
}

#[test]
fn a_mount_says_that_uncommitted_edits_do_not_survive_a_crash() {
    let bench = Bench::new();
    fs::create_dir(bench.path("mnt")).unwrap();
    let mut command = bench.vellum(["mount"]);
    let said = common::ok(command.arg(bench.repository()).arg(bench.path("mnt")));
    assert!(said.contains("do not survive"), "{said}");
    common::ok(bench.vellum(["umount"]).arg(bench.path("mnt")));
}

#[test]
fn bad_mount_points_are_refused_with_the_remedy() {
    let bench = Bench::new();
    let refused = |name: &str, what: &str| {
        let mut command = bench.vellum(["mount"]);
        let said = common::fails(command.arg(bench.repository()).arg(bench.path(name)), 2);
        assert!(said.contains(what), "{said}");
        assert!(said.lines().count() > 1, "no remedy: {said}");
    };
    refused("missing", "does not exist");
    fs::write(bench.path("file"), b"").unwrap();
    refused("file", "is not a directory");
    fs::create_dir_all(bench.path("full/entry")).unwrap();
    refused("full", "is not empty");
    let mount = bench.mount("mnt");
    refused("mnt", "already mounted");
    mount.unmount();
}

#[test]
fn nothing_mounted_is_exit_8() {
    let bench = Bench::new();
    fs::create_dir(bench.path("mnt")).unwrap();
    for command in ["status", "diff", "umount"] {
        let said = common::fails(bench.vellum([command]).arg(bench.path("mnt")), 8);
        assert!(said.contains("nothing that you mounted"), "{said}");
    }
    common::fails(bench.vellum(["commit", "-m", "x"]).arg(bench.path("missing")), 8);
}

#[test]
fn umount_refuses_while_edits_are_uncommitted_and_lists_them() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    fs::write(mount.path("new"), b"edit").unwrap();
    let (code, listed, said) = common::run(&mut mount.vellum("umount"));
    assert_eq!(code, 1, "{said}");
    assert!(listed.contains("A new"), "{listed}");
    assert!(said.contains("--commit"), "{said}");
    assert_eq!(fs::read(mount.path("new")).unwrap(), b"edit");
    common::ok(mount.vellum("umount").arg("--discard"));
    assert!(!is_mounted(mount.root()));
}

#[test]
fn umount_refuses_while_a_program_uses_the_mount() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let held = fs::File::open(mount.root()).unwrap();
    let said = common::fails(&mut mount.vellum("umount"), 2);
    assert!(said.contains("in use"), "{said}");
    drop(held);
    mount.unmount();
}

#[test]
fn commands_find_the_mount_from_inside_it() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    fs::create_dir_all(mount.path("a/b")).unwrap();
    let status = common::ok_json(bench.vellum(["status", "--json"]).arg(mount.path("a/b")));
    assert_eq!(status["dirty"], true);
}

#[test]
fn edits_outlive_an_umount_behind_the_daemons_back() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let pid = mount.pid();
    fs::write(mount.path("kept"), b"kept").unwrap();
    assert!(Command::new("umount").arg(mount.root()).status().unwrap().success());
    until("it is logged", || mount.log().contains("unmounted with uncommitted edits"));
    assert_eq!(mount.status()["mounted"], false);
    common::fails(&mut mount.vellum("umount"), 1);
    mount.commit();
    until("the daemon ends", || !runs(pid));

    let again = bench.mount("again");
    assert_eq!(fs::read(again.path("kept")).unwrap(), b"kept");
    again.unmount();
}

#[test]
fn a_mount_point_whose_daemon_holds_edits_is_not_mounted_on_again() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    fs::write(mount.path("kept"), b"kept").unwrap();
    assert!(Command::new("umount").arg(mount.root()).status().unwrap().success());
    let mut again = bench.vellum(["mount"]);
    let said = common::fails(again.arg(bench.repository()).arg(mount.root()), 2);
    assert!(said.contains("still runs") && said.contains("vellum commit"), "{said}");
    mount.commit();
    // Ended, or about to: mounting again waits for it.
    let again = bench.mount("mnt");
    assert_eq!(fs::read(again.path("kept")).unwrap(), b"kept");
    again.unmount();
}

#[test]
fn an_umount_behind_its_back_ends_a_clean_daemon() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let pid = mount.pid();
    assert!(Command::new("umount").arg(mount.root()).status().unwrap().success());
    until("the daemon ends", || !runs(pid));
    common::fails(&mut mount.vellum("status"), 8);
}

#[test]
fn a_dead_daemon_is_exit_8_and_named() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let pid = mount.pid();
    signal(pid, Signal::KILL);
    until("the mount is dead", || statvfs(mount.root()).err() == Some(Errno::NOTCONN));
    let said = common::fails(&mut mount.vellum("status"), 8);
    assert!(said.contains("vellum umount --discard"), "{said}");
    let mut command = bench.vellum(["mount"]);
    let said = common::fails(command.arg(bench.repository()).arg(mount.root()), 8);
    assert!(said.contains("is gone"), "{said}");
    assert!(Command::new("umount").arg("-l").arg(mount.root()).status().unwrap().success());
    bench.mount("mnt").unmount();
}

#[test]
fn a_signal_unmounts_a_clean_mount() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let pid = mount.pid();
    signal(pid, Signal::TERM);
    until("the daemon ends", || !runs(pid));
    assert!(!is_mounted(mount.root()));
}

#[test]
fn a_signal_keeps_edits_and_a_second_one_drops_them() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let pid = mount.pid();
    fs::write(mount.path("edit"), b"edit").unwrap();
    signal(pid, Signal::TERM);
    until("it is logged", || mount.log().contains("uncommitted edits"));
    assert_eq!(fs::read(mount.path("edit")).unwrap(), b"edit");
    signal(pid, Signal::TERM);
    until("the daemon ends", || !runs(pid));
    assert!(!is_mounted(mount.root()));
}

#[test]
fn in_the_foreground_ctrl_c_unmounts() {
    let bench = Bench::new();
    fs::create_dir(bench.path("mnt")).unwrap();
    let mut command = bench.vellum(["mount", "--foreground"]);
    command.arg(bench.repository()).arg(bench.path("mnt")).stdout(Stdio::piped());
    let mut daemon = command.spawn().unwrap();
    let mut said = String::new();
    BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("is mounted"), "{said}");
    assert!(is_mounted(&bench.path("mnt")));
    signal(i32::try_from(daemon.id()).unwrap(), Signal::INT);
    let ended = daemon.wait().unwrap();
    assert_eq!((ended.code(), ended.signal()), (Some(0), None));
    assert!(!is_mounted(&bench.path("mnt")));
}

#[test]
fn a_read_only_mount_refuses_every_change() {
    let bench = Bench::new();
    let mount = bench.mount("first");
    fs::write(mount.path("file"), b"content").unwrap();
    mount.commit();
    mount.unmount();

    let mount = bench.mount_with("mnt", &["--read-only"]);
    assert_eq!(fs::read(mount.path("file")).unwrap(), b"content");
    assert_eq!(errno(fs::write(mount.path("file"), b"x")), libc::EROFS);
    assert_eq!(errno(fs::write(mount.path("new"), b"x")), libc::EROFS);
    assert_eq!(errno(fs::create_dir(mount.path("dir"))), libc::EROFS);
    assert_eq!(errno(fs::remove_file(mount.path("file"))), libc::EROFS);
    common::fails(mount.vellum("commit").args(["-m", "x"]), 2);
    mount.unmount();
}

#[test]
fn a_mount_whose_event_loop_fails_is_put_back() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    fs::write(mount.path("file"), b"kept").unwrap();
    let held = fs::File::create(mount.path("held")).unwrap();
    held.write_all_at(&[1; 8 << 20], 0).unwrap();
    fs::remove_file(mount.path("held")).unwrap();
    // The FUSE library can't count a time this far back, and gives up.
    let program = "
import ctypes, sys
class Time(ctypes.Structure): _fields_ = [('s', ctypes.c_int64), ('ns', ctypes.c_long)]
times = (Time * 2)(Time(-2**63, 5), Time(-2**63, 5))
ctypes.CDLL(None).utimensat(-100, sys.argv[1].encode(), times, 0)
";
    let path = mount.path("file");
    Command::new("python3").args(["-c", program]).arg(&path).status().unwrap();
    until("it is put back", || mount.log().contains("mounted again"));
    assert_eq!(fs::read(&path).unwrap(), b"kept");
    // What was open is lost to its program, and holds nothing in the daemon.
    assert!(held.write_all_at(&[2], 0).is_err());
    assert!(mount.status()["memory_bytes"].as_u64().unwrap() < 8 << 20);
    fs::write(mount.path("later"), b"later").unwrap();
    mount.commit();
    mount.unmount();
    let again = bench.mount("again");
    assert_eq!(fs::read(again.path("file")).unwrap(), b"kept");
    assert_eq!(fs::read(again.path("later")).unwrap(), b"later");
    again.unmount();
}
