//! Steering a mount when something is in the way: signals, other mounts over it or of it, Ctrl-C,
//! a dead or stopped daemon, descriptors of others.

#![allow(clippy::unwrap_used)]

mod common;
mod mounted;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::programs::shell;
use mounted::{Bench, LET_GO, Tmpfs, is_mounted, until};
use rustix::fs::{FlockOperation, flock, statvfs};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

fn id(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap()
}

fn runs(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").starts_with(" Z"))
}

fn done(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

/// A file that makes the store wait for requests of `prefix` as long as it is there.
fn stuck(bench: &Bench, prefix: &str) -> (std::path::PathBuf, String) {
    let control = bench.path("stuck");
    fs::write(&control, b"").unwrap();
    let faults = format!("stuck={prefix}@{}", control.display());
    (control, faults)
}

#[test]
fn a_warning_does_not_stand_over_a_commit() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    fs::write(mount.path("edit"), b"edit").unwrap();
    signal(mount.pid(), Signal::TERM);
    until("it is logged", || mount.log().contains("within 10 s"));
    mount.commit();
    fs::write(mount.path("later"), b"later").unwrap();
    signal(mount.pid(), Signal::TERM);
    until("it is logged again", || mount.log().matches("within 10 s").count() == 2);
    assert_eq!(fs::read(mount.path("later")).unwrap(), b"later");
}

#[test]
fn a_warning_of_a_mount_in_use_drops_no_later_edits() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let held = File::open(mount.root()).unwrap();
    signal(mount.pid(), Signal::TERM);
    until("it is logged", || mount.log().contains("is in use"));
    fs::write(mount.path("edit"), b"edit").unwrap();
    signal(mount.pid(), Signal::TERM);
    until("it is logged", || mount.log().contains("uncommitted edits"));
    assert_eq!(fs::read(mount.path("edit")).unwrap(), b"edit");
    drop(held);
}

#[test]
fn a_second_signal_takes_a_clean_mount_from_those_who_use_it() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let pid = mount.pid();
    let held = File::open(mount.root()).unwrap();
    signal(pid, Signal::TERM);
    until("it is logged", || mount.log().contains("is in use"));
    signal(pid, Signal::TERM);
    until("the daemon ends", || !runs(pid));
    assert!(!is_mounted(mount.root()));
    drop(held);
}

#[test]
fn closed_terminals_drop_nothing() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    fs::write(mount.path("edit"), b"edit").unwrap();
    for times in 1..=3 {
        signal(mount.pid(), Signal::HUP);
        until("it is logged", || mount.log().matches("they are kept").count() == times);
    }
    // Nor were they a warning.
    signal(mount.pid(), Signal::TERM);
    until("it is logged", || mount.log().contains("within 10 s"));
    assert_eq!(fs::read(mount.path("edit")).unwrap(), b"edit");
}

#[test]
fn umount_takes_the_mount_point_and_nothing_below_it() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    fs::create_dir_all(mount.path("a/b")).unwrap();
    let said = common::fails(bench.vellum(["umount", "--discard"]).arg(mount.path("a/b")), 8);
    assert!(said.contains("is no mount point"), "{said}");
    assert!(said.contains(&format!("vellum umount {}", mount.root().display())), "{said}");
    assert!(mount.path("a/b").is_dir());
}

#[test]
fn what_is_mounted_over_a_mount_is_not_unmounted() {
    if !common::is_root() {
        return;
    }
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let over = Tmpfs::new(mount.root(), "1M");
    fs::write(mount.path("theirs"), b"theirs").unwrap();
    for how in ["--discard", "--commit"] {
        let said = common::fails(mount.vellum("umount").arg(how), 2);
        assert!(said.contains("tmpfs") && said.contains("over it"), "{said}");
    }
    assert_eq!(fs::read(mount.path("theirs")).unwrap(), b"theirs");
    drop(over);
    mount.unmount();
}

#[test]
fn umount_of_a_mount_that_is_used_elsewhere_says_so() {
    if !common::is_root() {
        return;
    }
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    fs::write(mount.path("file"), b"content").unwrap();
    mount.commit();
    let pid = mount.pid();
    let bind = bench.path("bind");
    fs::create_dir(&bind).unwrap();
    done(Command::new("mount").arg("--bind").args([mount.root(), &bind]));
    let said = common::fails(&mut mount.vellum("umount"), 2);
    assert!(said.contains("in use elsewhere"), "{said}");
    assert!(said.contains(bind.to_str().unwrap()), "{said}");
    assert_eq!(fs::read(bind.join("file")).unwrap(), b"content");
    assert_eq!(mount.status()["mounted"], false);
    done(Command::new("umount").arg(&bind));
    until("the daemon ends", || !runs(pid));
}

#[test]
fn a_mount_that_another_namespace_holds_can_be_discarded() {
    if !common::is_root() {
        return;
    }
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let pid = mount.pid();
    let mut holder = Command::new("unshare");
    let script = format!("{LET_GO}echo; exec sleep 600");
    let holder = holder.args(["-m", "sh", "-c", &script]).env("KEEP", mount.root());
    let holder = holder.stdout(Stdio::piped());
    let mut holder = holder.spawn().unwrap();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let said = common::fails(&mut mount.vellum("umount"), 2);
    assert!(said.contains("mount namespace"), "{said}");
    common::ok(mount.vellum("umount").arg("--discard"));
    until("the daemon ends", || !runs(pid));
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn a_lazy_unmount_with_an_open_file_keeps_what_is_written_to_it() {
    if !common::is_root() {
        return;
    }
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let held = File::create(mount.path("kept")).unwrap();
    done(Command::new("umount").arg("-l").arg(mount.root()));
    std::io::Write::write_all(&mut &held, b"kept").unwrap();
    common::fails(&mut mount.vellum("umount"), 1);
    let said = common::fails(mount.vellum("umount").arg("--commit"), 2);
    assert!(said.contains("committed") && said.contains("lazily"), "{said}");
    drop(held);
}

#[test]
fn a_mount_that_can_not_be_steered_is_not_mounted() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let run = bench.path("run");
    let entries = || fs::read_dir(&run).unwrap().map(|entry| entry.unwrap().path());
    let socket = entries().find(|path| path.extension().is_some_and(|it| it == "sock")).unwrap();
    mount.unmount();
    until("the socket is gone", || !socket.exists());
    fs::create_dir_all(socket.join("in the way")).unwrap();
    let mut again = bench.vellum(["mount"]);
    let said = common::fails(again.arg(bench.repository()).arg(bench.path("mnt")), 2);
    assert!(said.contains("control socket"), "{said}");
    assert!(!is_mounted(&bench.path("mnt")));
}

#[test]
fn a_relative_runtime_directory_works() {
    let bench = Bench::new();
    let point = bench.path("mnt");
    fs::create_dir(&point).unwrap();
    let call = |command: &str| {
        let mut call = bench.vellum([command]);
        call.env("VELLUM_RUNTIME_DIR", "here").current_dir(point.parent().unwrap());
        call
    };
    common::ok(call("mount").arg(bench.repository()).arg("mnt"));
    common::ok(call("status").arg("mnt"));
    common::ok(call("umount").arg("mnt"));
    assert!(!is_mounted(&point));
}

#[test]
fn the_daemon_holds_nothing_that_its_caller_had_open() {
    let bench = Bench::new();
    let lock = bench.path("lock");
    fs::create_dir(bench.path("mnt")).unwrap();
    let (vellum, run) = (common::binary().display(), bench.path("run"));
    let script = format!(
        "export VELLUM_RUNTIME_DIR={}; exec 9>{}; flock 9; \
         {vellum} mount {} {} 3>&1 >/dev/null | cat",
        run.display(),
        lock.display(),
        bench.repository().display(),
        bench.path("mnt").display(),
    );
    // It ends, though the daemon does not.
    shell(bench.path(".").as_path(), &script);
    let mount = bench.mounted("mnt");
    flock(File::open(&lock).unwrap(), FlockOperation::NonBlockingLockExclusive).unwrap();
    mount.unmount();
}

#[test]
fn a_commit_that_umount_discards_says_so() {
    let bench = Bench::new();
    let (control, faults) = stuck(&bench, "");
    fs::remove_file(&control).unwrap();
    let mount = bench.mount_faulty("mnt", &faults);
    fs::write(mount.path("file"), b"content").unwrap();
    fs::write(&control, b"").unwrap();
    let mut commit = mount.vellum("commit");
    let commit = commit.args(["-m", "x"]).stderr(Stdio::piped()).spawn().unwrap();
    until("it commits", || mount.status()["committing"] == true);
    common::ok(mount.vellum("umount").arg("--discard"));
    let output = commit.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(8), "{said}");
    assert!(said.contains("dropped") && said.contains("vellum log"), "{said}");
}

#[test]
fn ctrl_c_at_a_commit_says_that_it_goes_on() {
    let bench = Bench::new();
    let (control, faults) = stuck(&bench, "");
    fs::remove_file(&control).unwrap();
    let mount = bench.mount_faulty("mnt", &faults);
    fs::write(mount.path("file"), b"content").unwrap();
    fs::write(&control, b"").unwrap();
    let mut commit = mount.vellum("commit");
    let commit = commit.args(["-m", "x"]).stderr(Stdio::piped()).spawn().unwrap();
    until("it commits", || mount.status()["committing"] == true);
    signal(id(&commit), Signal::INT);
    let output = commit.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("goes on in its daemon") && said.contains("vellum status"), "{said}");
    fs::remove_file(&control).unwrap();
    until("it is committed", || mount.status()["dirty"] == false);
    mount.unmount();
}

#[test]
fn ctrl_c_at_umount_commit_says_that_it_goes_on() {
    let bench = Bench::new();
    let (control, faults) = stuck(&bench, "");
    fs::remove_file(&control).unwrap();
    let mount = bench.mount_faulty("mnt", &faults);
    let pid = mount.pid();
    fs::write(mount.path("file"), b"content").unwrap();
    fs::write(&control, b"").unwrap();
    let mut umount = mount.vellum("umount");
    let umount = umount.args(["--commit", "--json"]).stderr(Stdio::piped()).spawn().unwrap();
    until("it commits", || mount.status()["committing"] == true);
    signal(id(&umount), Signal::TERM);
    let output = umount.wait_with_output().unwrap();
    let said: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!((output.status.code(), &said["error"]["exit"]), (Some(130), &130.into()));
    fs::remove_file(&control).unwrap();
    until("the daemon ends", || !runs(pid));
    let again = bench.mount("again");
    assert_eq!(fs::read(again.path("file")).unwrap(), b"content");
    again.unmount();
}

#[test]
fn ctrl_c_at_mount_leaves_nothing_mounted() {
    let bench = Bench::new();
    let (_control, faults) = stuck(&bench, "refs");
    let point = bench.path("mnt");
    fs::create_dir(&point).unwrap();
    let mut mount = bench.vellum(["mount"]);
    mount.arg(bench.repository()).arg(&point).env("VELLUM_TEST_STORE", faults);
    let mount = mount.stderr(Stdio::piped()).spawn().unwrap();
    let pid = mount.id();
    let children = || fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    until("its daemon runs", || {
        let child = children();
        fs::read_link(format!("/proc/{}/cwd", child.trim())).is_ok_and(|cwd| cwd == Path::new("/"))
    });
    let daemon: i32 = children().trim().parse().unwrap();
    signal(id(&mount), Signal::INT);
    let output = mount.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("nothing is mounted"), "{said}");
    assert!(!runs(daemon) && !is_mounted(&point));
}

#[test]
fn a_dead_mount_is_cleared_by_discarding_it() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    fs::create_dir(mount.path("dir")).unwrap();
    signal(mount.pid(), Signal::KILL);
    until("the mount is dead", || statvfs(mount.root()).err() == Some(Errno::NOTCONN));
    for path in [mount.root().to_path_buf(), mount.path("dir/below")] {
        let said = common::fails(bench.vellum(["umount"]).arg(path), 8);
        let remedy = format!("vellum umount --discard {}", mount.root().display());
        assert!(said.contains(&remedy), "{said}");
    }
    common::ok(mount.vellum("umount").arg("--discard"));
    assert!(!is_mounted(mount.root()));
    bench.mount("mnt").unmount();
}

#[test]
fn a_connection_that_was_cut_leaves_no_dead_mount() {
    if !common::is_root() {
        return;
    }
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let pid = mount.pid();
    fs::write(mount.path("file"), b"kept").unwrap();
    let script = format!(
        "mount -t fusectl none /sys/fs/fuse/connections; \
         echo 1 > /sys/fs/fuse/connections/$(mountpoint -d {} | cut -d: -f2)/abort",
        mount.root().display()
    );
    // In a namespace of its own, which ends with it.
    done(Command::new("unshare").args(["-m", "sh", "-euc", &script]));
    until("it is seen", || mount.status()["mounted"] == false);
    mount.commit();
    until("the daemon ends", || !runs(pid));
    assert!(!is_mounted(mount.root()));
}

#[test]
fn a_stopped_daemon_is_exit_8_and_named() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let pid = mount.pid();
    signal(pid, Signal::STOP);
    let said = common::fails(&mut mount.vellum("status"), 8);
    signal(pid, Signal::CONT);
    assert!(said.contains("does not answer"), "{said}");
    assert!(said.contains(&format!("kill -CONT {pid}")), "{said}");
    mount.unmount();
}
