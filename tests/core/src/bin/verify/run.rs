//! Running one command of a step, with its totals read on the way.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use vellum_tests_core::setup::shown;

use crate::totals::Totals;

/// Where the source tree and the target directory lie.
pub(crate) struct Place {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
}

impl Place {
    pub(crate) fn find() -> Result<Self, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let root = root.canonicalize().map_err(|error| format!("{}: {error}", root.display()))?;
        // TARGET/PROFILE/verify
        let own = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
        let target = own.ancestors().nth(2).unwrap_or(&root.join("target")).to_path_buf();
        Ok(Self { root, target })
    }

    /// Tools that are built for the long tier.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// The binary, as the build step leaves it.
    pub(crate) fn vellum(&self) -> PathBuf {
        self.target.join("debug/vellum")
    }

    /// A call of cargo, in the source tree and with this target directory.
    pub(crate) fn cargo(&self, arguments: &str) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(arguments.split_whitespace());
        cargo.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        // `cargo run` set these for this program; they are nothing to those it calls.
        for (name, _) in std::env::vars_os() {
            let own = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
            if name.to_str().is_some_and(|name| own.iter().any(|own| name.starts_with(own))) {
                cargo.env_remove(name);
            }
        }
        cargo
    }

    /// A call of cargo with cfgs of the core, which rebuild everything: in a target directory of
    /// their own.
    pub(crate) fn cargo_with(&self, cfgs: &[&str], arguments: &str) -> Command {
        let mut cargo = self.cargo(arguments);
        let mut flags = std::env::var("RUSTFLAGS").unwrap_or_default();
        cfgs.iter().for_each(|cfg| flags.push_str(&format!(" --cfg {cfg}")));
        cargo.env("RUSTFLAGS", flags.trim());
        cargo.env("CARGO_TARGET_DIR", self.target.join(format!("target-{}", cfgs.join("-"))));
        cargo
    }
}

/// Runs `command` to its end and shows what it says; the sum of the totals it printed.
pub(crate) fn run(command: &mut Command) -> (Totals, Result<(), String>) {
    println!("$ {}", shown(command));
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return (Totals::default(), Err(format!("{}: {error}", shown(command)))),
    };
    let totals = child.stdout.take().map(echo).unwrap_or_default();
    let ended = match child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{}` ended with {status}", shown(command))),
        Err(error) => Err(format!("`{}`: {error}", shown(command))),
    };
    (totals, ended)
}

/// Passes everything on, line by line.
fn echo(from: impl std::io::Read) -> Totals {
    let mut totals = Totals::default();
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
        // Nobody may be reading any more: the run goes on, its exit code counts.
        drop(std::io::stdout().write_all(&line));
        if let Some(more) = Totals::parse(String::from_utf8_lossy(&line).trim_end()) {
            totals += more;
        }
        line.clear();
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn totals_of_all_test_programs_of_a_command_are_summed() {
        let line = "test result: ok. 2 passed; 0 failed; 0 ignored";
        let (totals, ended) = run(&mut shell(&format!("echo '{line}'; echo '{line}'")));
        assert_eq!(totals, Totals { passed: 4, failed: 0 });
        assert_eq!(ended, Ok(()));
    }

    #[test]
    fn a_command_that_fails_is_named() {
        let (totals, ended) = run(&mut shell("exit 3"));
        assert!(totals.is_none());
        assert!(ended.is_err_and(|why| why.contains("sh") && why.contains('3')));
        let (_, ended) = run(&mut Command::new("/no/such/program"));
        assert!(ended.is_err_and(|why| why.contains("program")));
    }
}
