//! The daemon in the background: this program, started again.
//!
//! The parent waits until the mount answers or fails: the daemon says so, once, in one line of
//! the control protocol on its standard output.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::control::place::Place;
use super::control::protocol::{Answer, Response, VERSION, line};
use super::interrupt::Watch;
use crate::cli::{CliError, Exit, quoted};

/// Set for the daemon: it says on its standard output how mounting went.
const READY: &str = "VELLUM_DAEMON";

/// Whether this process is a daemon that was started by [`start`].
pub(super) fn is_daemon() -> bool {
    std::env::var_os(READY).is_some()
}

/// How long a daemon that is told to end may take, after Ctrl-C while it mounts.
const END_WAIT: Duration = Duration::from_secs(10);

/// How often to look whether it has.
const LOOK: Duration = Duration::from_millis(10);

/// Starts this program again in the background and waits until it has mounted, or failed.
pub(super) fn start(point: &Path, json: bool) -> Result<Answer, CliError> {
    let place = Place::of(point);
    place.prepare()?;
    let failed = |what: &str, error: io::Error| {
        CliError::new(Exit::Usage, format!("{what}: {error}"), "use --foreground")
    };
    let program = std::env::current_exe()
        .map_err(|error| failed("can't find this program to start the daemon", error))?;
    keep_descriptors().map_err(|error| failed("can't keep open files from the daemon", error))?;
    let mut daemon = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(READY, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed("can't start the daemon", error))?;
    let watch = Watch::start(json, {
        let (point, pid) = (point.to_path_buf(), daemon.id());
        move || interrupted(&point, pid)
    });
    let mut said = String::new();
    if let Some(stdout) = daemon.stdout.take() {
        BufReader::new(stdout)
            .read_line(&mut said)
            .map_err(|error| failed("can't hear the daemon", error))?;
    }
    watch.give_way();
    match serde_json::from_str::<Response>(&said) {
        Ok(response) => response.result.map_err(CliError::from),
        // Ctrl-C goes to the daemon too, until it has left the terminal.
        Err(_) if daemon.wait().is_ok_and(|status| status.signal() == Some(libc::SIGINT)) => {
            Err(not_mounted(point))
        }
        Err(_) => Err(CliError::new(
            Exit::Store,
            format!("the daemon ended before the mount at {} answered", point.display()),
            format!("its last words are in {}", place.log.display()),
        )),
    }
}

/// Keeps the daemon from what this process was given open, beside standard input, output and
/// error: it would hold that as long as it lives.
fn keep_descriptors() -> io::Result<()> {
    let flags = libc::CLOSE_RANGE_CLOEXEC.cast_signed();
    // SAFETY: it marks descriptors as not inherited; it closes none, and takes no pointer.
    if unsafe { libc::close_range(3, libc::c_uint::MAX, flags) } == 0 {
        return Ok(());
    }
    // Linux before 5.11.
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let number = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(number) = number.filter(|number| *number > 2) else { continue };
        // SAFETY: as above; a number that is not open any more is refused.
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

/// After Ctrl-C: ends the daemon `pid`, which may have mounted by now, and says what came of it.
fn interrupted(point: &Path, pid: u32) -> CliError {
    let daemon = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let patience = Instant::now() + END_WAIT;
    if let Some(daemon) = daemon {
        // It may have ended.
        let _ = kill_process(daemon, Signal::TERM);
        while Instant::now() < patience {
            // An error: there is no such child any more.
            if !matches!(waitpid(Some(daemon), WaitOptions::NOHANG), Ok(None)) {
                return not_mounted(point);
            }
            std::thread::sleep(LOOK);
        }
    }
    let what = format!("interrupted; the daemon (process {pid}) goes on to mount");
    let at = quoted(point);
    let remedy = format!("vellum status {at} shows it, vellum umount {at} ends it");
    CliError::new(Exit::Interrupted, what, remedy)
}

fn not_mounted(point: &Path) -> CliError {
    let what = format!("interrupted; nothing is mounted at {}", point.display());
    CliError::new(Exit::Interrupted, what, "run it again to mount")
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
