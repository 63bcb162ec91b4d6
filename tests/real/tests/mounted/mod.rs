//! A repository that is mounted for one test.

#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod store;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::common;
use store::Place;

/// Longest that anything here takes, on a slow and busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Lets go, in a mount namespace of its own, of the mounts that other tests have at this time.
pub(crate) const LET_GO: &str = r#"
while read -r _ point kind _; do
    if [ "$kind" = fuse.vellum ] && [ "$point" != "${KEEP-}" ]; then
        umount -l "$(printf %b "$point")"
    fi
done < /proc/self/mounts
"#;

/// A directory for one test, with a repository in it and places to mount it at.
pub(crate) struct Bench {
    dir: TempDir,
    place: Place,
}

impl Bench {
    /// An empty repository.
    pub(crate) fn new() -> Self {
        Self::on(Place::chosen())
    }

    /// An empty repository there.
    pub(crate) fn on(place: Place) -> Self {
        let bench = Self::bare(place);
        common::ok(bench.vellum(["init"]).arg(bench.repository()));
        bench
    }

    /// No repository.
    pub(crate) fn bare(place: Place) -> Self {
        Self { dir: TempDir::with_prefix("vellum-").unwrap(), place }
    }

    /// Where repositories lie.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// The repository.
    pub(crate) fn repository(&self) -> PathBuf {
        self.place.repository(self.dir.path(), "repo")
    }

    /// Whether there are objects of this kind in the repository: `chunks`, `trees`, `snapshots`.
    pub(crate) fn holds(&self, kind: &str) -> bool {
        self.place.holds(&self.repository(), kind)
    }

    /// A path beside the repository.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A call of the binary whose control sockets are this test's own.
    pub(crate) fn vellum<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = common::vellum(args);
        command.env("VELLUM_RUNTIME_DIR", self.path("run"));
        self.place.reach(&mut command, self.dir.path());
        command
    }

    /// Mounts the repository at `name`.
    pub(crate) fn mount(&self, name: &str) -> Mount<'_> {
        self.mount_with(name, &[])
    }

    /// Mounts the repository at `name`, with these arguments too.
    pub(crate) fn mount_with(&self, name: &str, args: &[&str]) -> Mount<'_> {
        self.mount_by(self.vellum(["mount"]).args(args), name)
    }

    /// Mounts the repository at `name` with these faults of the store.
    pub(crate) fn mount_faulty(&self, name: &str, faults: &str) -> Mount<'_> {
        self.mount_faulty_with(name, faults, &[])
    }

    /// Mounts the repository at `name` with these faults of the store, and these arguments too.
    pub(crate) fn mount_faulty_with(&self, name: &str, faults: &str, args: &[&str]) -> Mount<'_> {
        self.mount_by(self.vellum(["mount"]).args(args).env("VELLUM_TEST_STORE", faults), name)
    }

    /// What is mounted at `name` already.
    pub(crate) fn mounted(&self, name: &str) -> Mount<'_> {
        Mount { bench: self, point: self.path(name) }
    }

    fn mount_by(&self, command: &mut Command, name: &str) -> Mount<'_> {
        let point = self.path(name);
        std::fs::create_dir_all(&point).unwrap();
        common::ok(command.arg(self.repository()).arg(&point));
        Mount { bench: self, point }
    }
}

/// A mount; dropped, it goes with everything that is uncommitted.
pub(crate) struct Mount<'a> {
    bench: &'a Bench,
    point: PathBuf,
}

impl Mount<'_> {
    /// The root of the mount.
    pub(crate) fn root(&self) -> &Path {
        &self.point
    }

    /// A path in the mount.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.point.join(name)
    }

    /// A call of the binary about this mount.
    pub(crate) fn vellum(&self, command: &str) -> Command {
        let mut call = self.bench.vellum([command]);
        call.arg(&self.point);
        call
    }

    /// What `status --json` says.
    pub(crate) fn status(&self) -> Value {
        common::ok_json(self.vellum("status").arg("--json"))
    }

    /// The daemon's process.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.status()["mount"]["pid"].as_i64().unwrap()).unwrap()
    }

    /// The daemon's log.
    pub(crate) fn log(&self) -> String {
        let run = std::fs::read_dir(self.bench.path("run")).unwrap();
        run.map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|kind| kind == "log"))
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect()
    }

    /// Commits.
    pub(crate) fn commit(&self) -> Value {
        common::ok_json(self.vellum("commit").args(["-m", "a test", "--if-changed", "--json"]))
    }

    /// Unmounts what is committed.
    pub(crate) fn unmount(self) {
        common::ok(&mut self.vellum("umount"));
        assert!(!is_mounted(&self.point));
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
        // Whatever the test left: discard, then take a dead mount away.
        drop(self.vellum("umount").arg("--discard").output());
        if is_mounted(&self.point) {
            drop(Command::new("umount").arg("-l").arg(&self.point).output());
        }
    }
}

/// Whether the mount table has something at `point`.
pub(crate) fn is_mounted(point: &Path) -> bool {
    let table = std::fs::read("/proc/self/mounts").unwrap();
    table
        .split(|byte| *byte == b'\n')
        .any(|line| line.split(|byte| *byte == b' ').nth(1) == Some(point.as_os_str().as_bytes()))
}

/// Waits until `holds`.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The errno that an operation failed with.
pub(crate) fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

/// A small disk in memory; it goes when the test ends, however it ends.
pub(crate) struct Tmpfs(PathBuf);

impl Tmpfs {
    /// One of `size` at `point`. Needs root.
    pub(crate) fn new(point: &Path, size: &str) -> Self {
        let tmpfs = Self(point.to_path_buf());
        tmpfs.mount(&format!("size={size}"));
        tmpfs
    }

    /// Mounts with these options.
    pub(crate) fn mount(&self, options: &str) {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "none"]).arg(&self.0);
        assert!(mount.status().unwrap().success());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).output());
    }
}
