//! A server process with its mount, from start to end.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::mount::UnmountFlags;
use tempfile::TempDir;

use super::{Control, Mode, product};
use crate::failure::{Doing, Failure};

/// How long a server may take to mount, or to end.
const PATIENCE: Duration = Duration::from_secs(20);

const INIT: &str = "{vellum} init {home}/repo";

/// A server that is not one of the controls: a name and what to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) name: String,
    words: Vec<String>,
    /// Each run to its end before the server starts.
    first: Vec<Vec<String>>,
    /// What the product's store does on purpose, in the words of its test hook.
    store: Option<String>,
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

impl std::str::FromStr for Command {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let wrong =
            || Failure::new("a server is NAME=COMMAND, with {mnt} where the mount point goes");
        let (name, command) = text.split_once('=').ok_or_else(wrong)?;
        if name.is_empty() || !command.contains("{mnt}") {
            return Err(wrong());
        }
        Ok(Self { name: name.to_owned(), words: words(command), first: vec![], store: None })
    }
}

impl Command {
    /// A control: this program again.
    fn control(control: Control) -> Self {
        let words = ["{bench}", "serve", control.name(), "{mode}", "{mnt}"].map(str::to_owned);
        Self { name: control.name().to_owned(), words: words.into(), first: vec![], store: None }
    }

    /// The product, on a new directory repository.
    fn vellum(mode: Mode) -> Self {
        let mount = match mode {
            Mode::Direct => "{vellum} mount --foreground {home}/repo {mnt}",
            Mode::Buffered => "{vellum} mount --foreground --cached-writes {home}/repo {mnt}",
        };
        Self {
            name: Control::Vellum.name().to_owned(),
            words: words(mount),
            first: vec![words(INIT)],
            store: None,
        }
    }

    /// The product, on a new directory repository with the files of `source`.
    pub(crate) fn over(source: &Path, store: Option<String>) -> Self {
        let mut import = words("{vellum} import");
        import.push(source.to_string_lossy().into_owned());
        import.push("{home}/repo".into());
        let first = vec![words(INIT), import];
        Self { first, store, ..Self::vellum(Mode::Direct) }
    }
}

/// What placeholders in a command stand for.
struct Places<'a> {
    home: &'a Path,
    mount_point: &'a Path,
    mode: Mode,
}

impl Places<'_> {
    fn process(&self, words: &[String]) -> Result<std::process::Command, Failure> {
        let (home, mnt) = (self.home.to_string_lossy(), self.mount_point.to_string_lossy());
        let mut words = words.iter().map(|word| {
            word.replace("{mnt}", &mnt).replace("{home}", &home).replace("{mode}", self.mode.name())
        });
        let program = words.next().ok_or_else(|| Failure::new("the command is empty"))?;
        let own = || std::env::current_exe().doing(|| "find this program".into());
        let mut process = match program.as_str() {
            "{bench}" => std::process::Command::new(own()?),
            "{vellum}" => product::command()?,
            other => std::process::Command::new(other),
        };
        // Standard output is for figures.
        process.args(words).stdin(Stdio::piped()).stdout(Stdio::null());
        Ok(process)
    }
}

/// A running server. Dropped, it is ended and its mount removed.
pub(crate) struct Daemon {
    name: String,
    child: Child,
    mount_point: PathBuf,
    /// Holds the mount point; removed last.
    _home: TempDir,
}

impl Daemon {
    /// Starts the product, or this program again as a control.
    pub(crate) fn control(control: Control, mode: Mode) -> Result<Self, Failure> {
        let command = match control {
            Control::Vellum => Command::vellum(mode),
            Control::Null | Control::Floor | Control::Improved | Control::Naive => {
                Command::control(control)
            }
        };
        Self::product(&command, mode)
    }

    /// Starts this program again.
    pub(crate) fn product(command: &Command, mode: Mode) -> Result<Self, Failure> {
        // Away from the terminal: it outlives an interrupt, to remove its mount.
        Self::start(command, mode, |process| process.process_group(0))
    }

    /// Starts another program that mounts.
    pub(crate) fn external(command: &Command, mode: Mode) -> Result<Self, Failure> {
        Self::start(command, mode, |process| process)
    }

    fn start(
        command: &Command,
        mode: Mode,
        prepare: impl FnOnce(&mut std::process::Command) -> &mut std::process::Command,
    ) -> Result<Self, Failure> {
        let home = tempfile::Builder::new()
            .prefix("vellum-bench-")
            .tempdir()
            .doing(|| "make a directory for the mount point".into())?;
        let mount_point = home.path().join("mnt");
        std::fs::create_dir(&mount_point).doing(|| format!("make {}", mount_point.display()))?;
        let places = Places { home: home.path(), mount_point: &mount_point, mode };
        for first in &command.first {
            let doing = || format!("run `{}`", first.join(" "));
            let status = places.process(first)?.status().doing(doing)?;
            if !status.success() {
                return Err(Failure::new(format!("`{}` failed ({status})", first.join(" "))));
            }
        }
        let mut process = places.process(&command.words)?;
        let doing = || format!("start `{}`", command.words.join(" "));
        process.envs(command.store.as_ref().map(|hook| ("VELLUM_TEST_STORE", hook)));
        let child = prepare(&mut process).spawn().doing(doing)?;
        let name = command.name.clone();
        let mut daemon = Self { name, child, mount_point, _home: home };
        daemon.wait_until_mounted()?;
        Ok(daemon)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    fn wait_until_mounted(&mut self) -> Result<(), Failure> {
        let begun = Instant::now();
        while !is_mounted(&self.mount_point) {
            if let Ok(Some(status)) = self.child.try_wait() {
                let name = &self.name;
                return Err(Failure::new(format!(
                    "server `{name}` ended before it mounted ({status}); mounting needs \
                     /dev/fuse, and root or fusermount3"
                )));
            }
            if begun.elapsed() > PATIENCE {
                return Err(Failure::new(format!(
                    "server `{}` has not mounted within {} s",
                    self.name,
                    PATIENCE.as_secs()
                )));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn ended_within(&mut self, patience: Duration) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < patience {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Controls and the product end when their standard input does; others when their mount is
        // gone.
        drop(self.child.stdin.take());
        if self.ended_within(Duration::from_secs(1)) && !is_mounted(&self.mount_point) {
            return;
        }
        if rustix::mount::unmount(&self.mount_point, UnmountFlags::DETACH).is_err() {
            let unmount = std::process::Command::new("fusermount3")
                .args(["-u", "-z"])
                .arg(&self.mount_point)
                .stderr(Stdio::null())
                .status();
            if !unmount.is_ok_and(|status| status.success()) && is_mounted(&self.mount_point) {
                eprintln!("vellum-bench: {} is still mounted", self.mount_point.display());
            }
        }
        if !self.ended_within(PATIENCE) {
            // It is our own child and has not been waited for: the id is still its own.
            if self.child.kill().is_ok() {
                let _ = self.child.wait();
            }
        }
    }
}

/// Whether something is mounted there: the device differs from the directory above.
fn is_mounted(mount_point: &Path) -> bool {
    let above = mount_point.parent().and_then(|above| above.metadata().ok());
    let here = mount_point.metadata().ok();
    above.zip(here).is_some_and(|(above, here)| above.dev() != here.dev())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_command_is_read_as_name_and_words() {
        let command: Command = "vellum=vellum mount repo {mnt}".parse().unwrap();
        assert_eq!(command.name, "vellum");
        assert_eq!(command.words, ["vellum", "mount", "repo", "{mnt}"]);
    }

    #[test]
    fn a_command_without_a_mount_point_is_refused() {
        for wrong in ["vellum", "=x {mnt}", "vellum=vellum mount"] {
            assert!(wrong.parse::<Command>().unwrap_err().to_string().contains("{mnt}"));
        }
    }

    #[test]
    fn a_server_that_ends_at_once_is_reported_by_its_name() {
        let command: Command = "brief=true {mnt}".parse().unwrap();
        let failure = Daemon::external(&command, Mode::Direct).err().unwrap();
        assert!(failure.to_string().contains("`brief` ended before it mounted"));
    }
}
