//! A mount as a service: what its manager is told, and how a stop goes.

#![allow(clippy::unwrap_used)]

mod common;
mod mounted;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Stdio};
use std::time::Duration;

use mounted::{Bench, Mount, is_mounted, until};
use rustix::process::{Pid, Signal, kill_process};

/// A service manager, as far as a service sees it.
struct Manager {
    socket: UnixDatagram,
    told: Vec<String>,
}

impl Manager {
    fn new(bench: &Bench) -> Self {
        let socket = UnixDatagram::bind(bench.path("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        Self { socket, told: Vec::new() }
    }

    /// Starts a mount at `mnt` and waits until it says that it is there.
    fn start<'a>(&mut self, bench: &'a Bench) -> (Child, Mount<'a>) {
        let point = bench.path("mnt");
        fs::create_dir_all(&point).unwrap();
        let mut service = bench.vellum(["mount", "--foreground"]);
        service.arg(bench.repository()).arg(&point);
        service.env("NOTIFY_SOCKET", bench.path("notify"));
        let child = service.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        self.hears("READY=1");
        assert!(is_mounted(&point), "it is ready when it is mounted");
        assert!(self.told[0].contains(&format!("MAINPID={}", child.id())), "{:?}", self.told);
        (child, bench.mounted("mnt"))
    }

    /// Waits for a line that begins so.
    fn hears(&mut self, begin: &str) -> String {
        let mut found = None;
        until(begin, || {
            let mut buffer = [0; 4096];
            if let Ok(len) = self.socket.recv(&mut buffer) {
                self.told.push(String::from_utf8(buffer[..len].to_vec()).unwrap());
            }
            let mut lines = self.told.iter().flat_map(|told| told.lines());
            found = lines.find(|line| line.starts_with(begin)).map(str::to_owned);
            found.is_some()
        });
        found.unwrap()
    }
}

fn terminate(child: &Child) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
}

#[test]
fn a_service_of_which_all_is_committed_stops_at_once() {
    let bench = Bench::new();
    let mut manager = Manager::new(&bench);
    let (mut child, mount) = manager.start(&bench);
    let status = manager.hears("STATUS=");
    assert!(status.contains("@main at ") && status.contains("mnt"), "{status}");
    terminate(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    manager.hears("STOPPING=1");
    assert!(!is_mounted(mount.root()));
}

#[test]
fn a_stop_waits_until_somebody_commits_however_often_it_is_asked_for() {
    let bench = Bench::new();
    let mut manager = Manager::new(&bench);
    let (mut child, mount) = manager.start(&bench);
    fs::write(mount.path("file"), b"text").unwrap();
    terminate(&child);
    let status = manager.hears("STATUS=not stopped");
    assert!(status.contains("uncommitted") && status.contains("vellum commit"), "{status}");
    // For a daemon that is no service these would drop the edits.
    for _ in 0..3 {
        terminate(&child);
        assert_eq!(mount.status()["dirty"], true);
    }
    assert_eq!(child.try_wait().unwrap(), None);
    assert_eq!(fs::read(mount.path("file")).unwrap(), b"text");
    assert!(!bench.holds("snapshots"), "a stop uploads nothing");
    assert!(!manager.told.iter().any(|told| told.contains("STOPPING")));
    mount.commit();
    // The stop goes on by itself.
    assert_eq!(child.wait().unwrap().code(), Some(0));
    manager.hears("STOPPING=1");
    assert!(!is_mounted(mount.root()) && bench.holds("snapshots"));
}

#[test]
fn a_stop_waits_for_programs_that_use_the_mount() {
    let bench = Bench::new();
    let mut manager = Manager::new(&bench);
    let (mut child, mount) = manager.start(&bench);
    fs::write(mount.path("file"), b"text").unwrap();
    mount.commit();
    let open = fs::File::open(mount.path("file")).unwrap();
    terminate(&child);
    let status = manager.hears("STATUS=not stopped");
    assert!(status.contains("in use"), "{status}");
    assert_eq!(child.try_wait().unwrap(), None);
    drop(open);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!is_mounted(mount.root()));
}

#[test]
fn the_unit_of_systemd_is_one_that_systemd_takes() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/systemd/vellum@.service");
    let text = fs::read_to_string(unit).unwrap();
    for setting in ["Type=notify", "SendSIGKILL=no", "Restart=no", "KillSignal=SIGTERM"] {
        assert!(text.lines().any(|line| line == setting), "{setting}: the edits depend on it");
    }
    // Where systemd is, it has the last word. The program it starts has to exist.
    let dir = tempfile::tempdir().unwrap();
    let program = common::binary().to_str().unwrap();
    let copy = dir.path().join("vellum@.service");
    fs::write(&copy, text.replace("/usr/local/bin/vellum", program)).unwrap();
    let mut verify = std::process::Command::new("systemd-analyze");
    match verify.args(["verify", "--man=no"]).arg(dir.path().join("vellum@a.service")).output() {
        Ok(done) => assert!(
            done.status.success() && done.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        ),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
    }
}
