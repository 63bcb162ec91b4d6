//! Outside programs that tests run, and how big the tests are.
//!
//! `programs.txt` lists each program that a test of this package runs beside those of every
//! Debian system, with the package that has it (`-`: the Rust toolchain). Tests install nothing.
//!
//! `VELLUM_LONG=1` makes the tests of outside programs as big as real work; the long tier sets
//! it. Without it they are small enough for every change.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output};

const PROGRAMS: &str = include_str!("programs.txt");

/// Whether the tests are to be as big as real work.
pub(crate) fn long() -> bool {
    std::env::var_os("VELLUM_LONG").is_some_and(|value| value == "1")
}

/// A call of a listed program, free of what cargo set in the environment for this test.
pub(crate) fn program(name: &str) -> Command {
    let listed = PROGRAMS.lines().any(|line| line.split(' ').next() == Some(name));
    assert!(listed, "{name} is not listed in programs.txt");
    clean(Command::new(name))
}

/// Runs `script` by the shell in `dir`, and answers what it printed. All commands must succeed.
pub(crate) fn shell(dir: &Path, script: &str) -> String {
    let mut command = clean(Command::new("sh"));
    done(command.current_dir(dir).args(["-euc", script]))
}

fn clean(mut command: Command) -> Command {
    let ours = |name: &OsStr| {
        let name = name.to_string_lossy();
        (name.starts_with("CARGO") && name != "CARGO_HOME") || name.starts_with("RUSTFLAGS")
    };
    std::env::vars_os().filter(|(name, _)| ours(name)).for_each(|(name, _)| {
        command.env_remove(name);
    });
    command
}

/// Runs to the end, which must be success, and answers what it printed.
pub(crate) fn done(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!("{command:?} is not installed: `cargo verify` installs what tests need")
        }
        Err(error) => panic!("{command:?}: {error}"),
    };
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{stdout}\n{stderr}");
    stdout.into_owned()
}

/// Asserts that rsync finds no difference at all between two trees: content, modes, owners,
/// times, links, extended attributes, nothing missing and nothing too much.
pub(crate) fn rsync_finds_nothing(left: &Path, right: &Path) {
    let slash = |path: &Path| path.join("");
    let mut rsync = program("rsync");
    rsync.args(["-aHAXn", "--checksum", "--delete", "-i"]).arg(slash(left)).arg(slash(right));
    let found = done(&mut rsync);
    assert_eq!(found, "", "{} and {} differ", left.display(), right.display());
}
