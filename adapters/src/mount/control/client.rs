//! The commands' side of the control socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect as connect_socket, socket_with,
};

use super::super::point;
use super::place::Place;
use super::protocol::{Answer, Command, Progress, Request, Response, Said, VERSION, line};
use crate::cli::{CliError, Exit, quoted};

/// How long a daemon may take to accept a connection, and a request that changes nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the daemon of the mount at `path`. What only looks or commits may be asked from inside
/// the mount too.
pub(in crate::mount) fn ask(path: &Path, command: Command) -> Result<Answer, CliError> {
    ask_and_hear(path, command, |_| ())
}

/// As [`ask`]; `hear` is told what is said before the answer.
pub(in crate::mount) fn ask_and_hear(
    path: &Path,
    command: Command,
    mut hear: impl FnMut(Progress),
) -> Result<Answer, CliError> {
    let (mut stream, point) = connect(path)?;
    let shown = path.display();
    if matches!(command, Command::Unmount(_)) && point::resolve(path).ok().as_ref() != Some(&point)
    {
        return Err(CliError::new(
            Exit::NotMounted,
            format!("{shown} is no mount point: it lies in the mount at {}", point.display()),
            format!("to unmount that: vellum umount {}", quoted(&point)),
        ));
    }
    let lost = |error: io::Error| {
        let remedy = format!("look whether it is still there: vellum status {}", quoted(path));
        let what = format!("the daemon of the mount at {shown} broke off: {error}");
        CliError::new(Exit::NotMounted, what, remedy)
    };
    // Those that change something may not be given up: they might be done later all the same.
    let bounded =
        matches!(command, Command::Status | Command::Diff | Command::Stats | Command::Repository);
    stream.write_all(line(&Request { v: VERSION, command }).as_bytes()).map_err(lost)?;
    if bounded {
        wait_until_taken(&stream, &point)?;
    }
    let mut lines = BufReader::new(stream);
    let mut answer = String::new();
    loop {
        answer.clear();
        lines.read_line(&mut answer).map_err(lost)?;
        match serde_json::from_str::<Said>(&answer) {
            Ok(said) => hear(said.progress),
            Err(_) => break,
        }
    }
    if answer.trim().is_empty() {
        return Err(lost(io::ErrorKind::UnexpectedEof.into()));
    }
    let odd = |why: String| {
        CliError::new(
            Exit::NotMounted,
            format!(
                "the daemon of the mount at {shown} answered what this vellum can't read: {why}"
            ),
            "use the vellum that mounted it",
        )
    };
    let response: Response =
        serde_json::from_str(&answer).map_err(|error| odd(error.to_string()))?;
    if response.v != VERSION {
        return Err(odd(format!("version {}, not {VERSION}", response.v)));
    }
    response.result.map_err(CliError::from)
}

/// Waits for the first byte of the answer: it says that the daemon is at work.
fn wait_until_taken(stream: &UnixStream, point: &Path) -> Result<(), CliError> {
    let failed = |error: io::Error| {
        if error.kind() == io::ErrorKind::WouldBlock {
            return silent(stream, point);
        }
        let what = format!("can't hear the daemon of the mount at {}: {error}", point.display());
        CliError::new(Exit::NotMounted, what, "ask again")
    };
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    // The byte stays there for the one who reads the answer.
    let mut first = [0];
    rustix::net::recv(stream, &mut first, rustix::net::RecvFlags::PEEK)
        .map_err(|errno| failed(errno.into()))?;
    stream.set_read_timeout(None).map_err(failed)
}

/// The error for a daemon that runs and does not answer.
fn silent(stream: &UnixStream, point: &Path) -> CliError {
    let pid = socket_peercred(stream).map(|peer| peer.pid.as_raw_nonzero().to_string());
    let pid = pid.unwrap_or_else(|_| "PID".to_owned());
    CliError::new(
        Exit::NotMounted,
        format!("the daemon of the mount at {} (process {pid}) does not answer", point.display()),
        format!("it may be stopped: kill -CONT {pid}. If the machine is very busy, ask again"),
    )
}

/// Connects to the daemon of the mount at `path` or above it, and answers where that is.
fn connect(path: &Path) -> Result<(UnixStream, PathBuf), CliError> {
    let shown = path.display();
    let full = point::resolve(path).map_err(|error| {
        let what = format!("nothing is mounted at {shown}: {error}");
        CliError::new(Exit::NotMounted, what, "give the mount point")
    })?;
    for point in full.ancestors() {
        match dial(&Place::of(point).socket) {
            Ok(stream) => return Ok((stream, point.to_path_buf())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                if point::is_dead_mount(point) {
                    return Err(point::dead(point));
                }
            }
            Err(error) => {
                let what = format!("the daemon of the mount at {shown} can't be reached: {error}");
                let full = error.kind() == io::ErrorKind::WouldBlock;
                let remedy = if full {
                    "it may be stopped: look at its process"
                } else {
                    "ask as the user who mounted it"
                };
                return Err(CliError::new(Exit::NotMounted, what, remedy));
            }
        }
    }
    if point::is_dead_mount(&full) {
        return Err(point::dead(&full));
    }
    Err(CliError::new(
        Exit::NotMounted,
        format!("nothing that you mounted is at {shown}"),
        "give the mount point; mounts of another user are steered by that user",
    ))
}

/// Connects, or gives up: the queue of a daemon that is stopped may be full.
fn dial(socket: &Path) -> io::Result<UnixStream> {
    let (kind, flags) = (SocketType::STREAM, SocketFlags::CLOEXEC);
    let descriptor = socket_with(AddressFamily::UNIX, kind, flags, None)?;
    set_socket_timeout(&descriptor, Timeout::Send, Some(PATIENCE))?;
    connect_socket(&descriptor, &SocketAddrUnix::new(socket)?)?;
    Ok(UnixStream::from(descriptor))
}
