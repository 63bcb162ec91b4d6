//! The daemon in the background: this program, started again.
//!
//! The parent waits until the mount answers or fails: the daemon says so, once, in one line of
//! the control protocol on its standard output.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::control::place::Place;
use super::control::protocol::{Answer, Response, VERSION, line};
use crate::cli::{CliError, Exit};

/// Set for the daemon: it says on its standard output how mounting went.
const READY: &str = "VELLUM_DAEMON";

/// Whether this process is a daemon that was started by [`start`].
pub(super) fn is_daemon() -> bool {
    std::env::var_os(READY).is_some()
}

/// Starts this program again in the background and waits until it has mounted, or failed.
pub(super) fn start(point: &Path) -> Result<Answer, CliError> {
    let place = Place::of(point);
    place.prepare()?;
    let failed = |what: &str, error: io::Error| {
        CliError::new(Exit::Usage, format!("{what}: {error}"), "use --foreground")
    };
    let program = std::env::current_exe()
        .map_err(|error| failed("can't find this program to start the daemon", error))?;
    let mut daemon = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(READY, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed("can't start the daemon", error))?;
    let mut said = String::new();
    if let Some(stdout) = daemon.stdout.take() {
        BufReader::new(stdout)
            .read_line(&mut said)
            .map_err(|error| failed("can't hear the daemon", error))?;
    }
    match serde_json::from_str::<Response>(&said) {
        Ok(response) => response.result.map_err(CliError::from),
        Err(_) => Err(CliError::new(
            Exit::Store,
            format!("the daemon ended before the mount at {} answered", point.display()),
            format!("its last words are in {}", place.log.display()),
        )),
    }
}

/// Tells the parent how mounting went.
pub(super) fn say(result: Result<Answer, CliError>) {
    let response = Response { v: VERSION, result: result.map_err(Into::into) };
    let mut stdout = io::stdout().lock();
    let said = stdout.write_all(line(&response).as_bytes()).and_then(|()| stdout.flush());
    if let Err(error) = said {
        tracing::warn!(%error, "the process that started the daemon did not wait for it");
    }
}

/// Leaves the terminal and the directory that the daemon was started from, and speaks to `log`
/// from here on.
pub(super) fn detach(log: &Path) -> io::Result<()> {
    rustix::stdio::dup2_stderr(open_log(log)?)?;
    rustix::process::setsid()?;
    std::env::set_current_dir("/")
}

/// The log of the last daemon at this mount point is written over: what it had to say about
/// uncommitted edits has been read, or is read before mounting again.
fn open_log(path: &Path) -> io::Result<File> {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)
}
