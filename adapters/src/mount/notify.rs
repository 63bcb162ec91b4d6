//! What a service manager is told, as sd_notify(3) has it: datagrams of `NAME=value` lines to the
//! socket that it names in the environment.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use parking_lot::Mutex;

/// Names the socket.
const SOCKET: &str = "NOTIFY_SOCKET";

/// Tells the service manager that started this process, if one did.
#[derive(Debug)]
pub(super) struct Notify {
    to: Option<(UnixDatagram, SocketAddr)>,
    /// The last status: the same is not told twice.
    status: Mutex<String>,
}

impl Notify {
    /// For a process that is itself the service.
    pub(super) fn from_environment() -> Self {
        let to = std::env::var_os(SOCKET).filter(|name| !name.is_empty()).and_then(|name| {
            open(&name)
                .inspect_err(|error| tracing::warn!(%error, ?name, "can't tell {SOCKET} anything"))
                .ok()
        });
        Self { to, status: Mutex::default() }
    }

    /// For one that nobody waits for.
    pub(super) fn nobody() -> Self {
        Self { to: None, status: Mutex::default() }
    }

    /// Whether there is a service manager.
    pub(super) fn is_heard(&self) -> bool {
        self.to.is_some()
    }

    /// The service has begun.
    pub(super) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nMAINPID={}\n{}", std::process::id(), line(status)));
    }

    /// The service ends.
    pub(super) fn stopping(&self) {
        self.send("STOPPING=1\n");
    }

    /// What it does, in a line for people.
    pub(super) fn status(&self, status: &str) {
        let mut last = self.status.lock();
        if *last != status {
            status.clone_into(&mut last);
            self.send(&line(status));
        }
    }

    fn send(&self, text: &str) {
        if let Some((socket, to)) = &self.to
            && let Err(error) = socket.send_to_addr(text.as_bytes(), to)
        {
            tracing::debug!(%error, "the service manager does not listen");
        }
    }
}

fn open(name: &OsString) -> io::Result<(UnixDatagram, SocketAddr)> {
    let bytes = name.as_bytes();
    let to = match bytes.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that is stuck holds nobody up.
    socket.set_nonblocking(true)?;
    Ok((socket, to))
}

/// A status is one line.
fn line(status: &str) -> String {
    format!("STATUS={}\n", status.replace(char::is_control, " "))
}
