//! The commands' side of the control socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::super::point;
use super::place::Place;
use super::protocol::{Answer, Command, Request, Response, VERSION, line};
use crate::cli::{CliError, Exit};

/// Asks the daemon of the mount that `path` is in.
pub(in crate::mount) fn ask(path: &Path, command: Command) -> Result<Answer, CliError> {
    let mut stream = connect(path)?;
    let shown = path.display();
    let lost = |error: io::Error| {
        let remedy = format!("look whether it is still there: vellum status {shown}");
        let what = format!("the daemon of the mount at {shown} broke off: {error}");
        CliError::new(Exit::NotMounted, what, remedy)
    };
    stream.write_all(line(&Request { v: VERSION, command }).as_bytes()).map_err(lost)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).map_err(lost)?;
    if answer.is_empty() {
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

/// Connects to the daemon of the mount at `path` or above it.
fn connect(path: &Path) -> Result<UnixStream, CliError> {
    let shown = path.display();
    let full = point::resolve(path).map_err(|error| {
        CliError::new(Exit::NotMounted, format!("nothing is mounted at {shown}: {error}"), "")
    })?;
    for point in full.ancestors() {
        match UnixStream::connect(Place::of(point).socket) {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                if point::is_dead_mount(point) {
                    return Err(point::dead(point));
                }
            }
            Err(error) => {
                let what = format!("the daemon of the mount at {shown} can't be reached: {error}");
                return Err(CliError::new(
                    Exit::NotMounted,
                    what,
                    "ask as the user who mounted it",
                ));
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
