//! What the tests of this package share: the binary under test and ways to call it.

#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod programs;
pub(crate) mod tree;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The `vellum` binary: the one `VELLUM_BIN` names, else built here once per test executable, in
/// the profile and target directory of the tests themselves.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("VELLUM_BIN") {
        Some(given) => PathBuf::from(given),
        None => build(),
    })
}

fn build() -> PathBuf {
    // TARGET/PROFILE/deps/name-hash
    let executable = std::env::current_exe().unwrap();
    let profile = executable.parent().unwrap().parent().unwrap();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--bin", "vellum"]);
    cargo.arg("--manifest-path").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"));
    cargo.arg("--target-dir").arg(profile.parent().unwrap());
    if profile.file_name() == Some(OsStr::new("release")) {
        cargo.arg("--release");
    }
    assert!(cargo.status().unwrap().success(), "the vellum binary does not build");
    profile.join("vellum")
}

/// A call of the binary, to which arguments can be added.
pub(crate) fn vellum<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(binary());
    command.args(args).env_remove("VELLUM_TEST_STORE");
    // Nothing of the host's own, but what tests set.
    command.env("VELLUM_SYSTEM_CONFIG", "/dev/null").env("XDG_CONFIG_HOME", "/dev/null");
    command
}

/// Whether what only root can do can be tested. Without root it fails, unless told that this is
/// known: what is left out is never left out in silence.
pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    assert!(
        root || std::env::var_os("VELLUM_TESTS_WITHOUT_ROOT").is_some(),
        "this test needs root; VELLUM_TESTS_WITHOUT_ROOT=1 leaves out what does"
    );
    root
}

/// Runs to the end and answers exit code, standard output and standard error.
pub(crate) fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// Runs to the end, which must be exit code 0, and answers standard output.
pub(crate) fn ok(command: &mut Command) -> String {
    let (code, stdout, stderr) = run(command);
    assert_eq!(code, 0, "{command:?}\n{stdout}{stderr}");
    stdout
}

/// As [`ok`], for calls with `--json`.
pub(crate) fn ok_json(command: &mut Command) -> Value {
    let stdout = ok(command);
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"))
}

/// Runs to the end, which must be this exit code, and answers standard error.
pub(crate) fn fails(command: &mut Command, expected: i32) -> String {
    let (code, stdout, stderr) = run(command);
    assert_eq!(code, expected, "{command:?}\n{stdout}{stderr}");
    stderr
}

/// A directory with a repository in `repo`, and room for more.
pub(crate) fn world() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let repo = dir.path().join("repo");
    ok(&mut vellum(["init".as_ref(), repo.as_os_str()]));
    (dir, repo)
}

/// Imports, and answers what `--json` says.
pub(crate) fn import(source: &Path, repo: &Path) -> Value {
    let args = [OsStr::new("import"), source.as_ref(), repo.as_ref(), "--json".as_ref()];
    ok_json(&mut vellum(args))
}

/// Exports all of a repository.
pub(crate) fn export(repo: &str, to: &Path) {
    ok(&mut vellum([OsStr::new("export"), repo.as_ref(), to.as_ref()]));
}

/// A path as text.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Makes a file that is a hole but for some data.
pub(crate) fn sparse(path: &Path, size: u64, data: &[(u64, &[u8])]) {
    let file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    for (at, bytes) in data {
        file.write_all_at(bytes, *at).unwrap();
    }
}

/// All objects in a folder of a repository, sorted.
pub(crate) fn objects(repo: &Path, folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![repo.join(folder)];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { todo.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// Changes the bytes of a file, which becomes another one.
pub(crate) fn overwrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Changes one byte of an object of nodes: in the node, and only there, that holds `words` first.
pub(crate) fn damage_node(object: &Path, words: &[u8]) {
    overwrite(object, |bytes| {
        let at = bytes.windows(words.len()).position(|at| at == words).unwrap();
        bytes[at] ^= 1;
    });
}

/// Waits for something that is sure to happen.
pub(crate) fn wait_until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "it did not come so far");
        std::thread::sleep(Duration::from_millis(10));
    }
}
