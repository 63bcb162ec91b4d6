//! A server in a process of its own, which never outlives us.

use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a server may take until it listens. A cold start of Python on a busy machine takes
/// some ten seconds.
const START_MAX: Duration = Duration::from_secs(120);

/// A running server. It is killed when this is dropped, and by the kernel when this process dies.
#[derive(Debug)]
pub(super) struct Server {
    /// Dropped, it ends the thread that started the server.
    keep: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts `command` and waits for a line, on standard output or standard error, in which
    /// `listens` finds what it looks for.
    pub(super) fn start<T: Send + 'static>(
        mut command: Command,
        listens: fn(&str) -> Option<T>,
    ) -> io::Result<(Self, T)> {
        let (keep, kept) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        // The kernel's signal comes when the thread dies that started the child, not the process:
        // so it is one that lives as long as the child may.
        let thread = std::thread::Builder::new().name("server".into()).spawn(move || {
            let mut child = match spawn(&mut command) {
                Ok(child) => child,
                Err(error) => return drop(tell.send(Err(error))),
            };
            let pipes: [Option<Box<dyn io::Read + Send>>; 2] = [
                child.stdout.take().map(|pipe| Box::new(pipe) as _),
                child.stderr.take().map(|pipe| Box::new(pipe) as _),
            ];
            for pipe in pipes.into_iter().flatten() {
                let tell = tell.clone();
                std::thread::spawn(move || read(pipe, listens, &tell));
            }
            drop(tell);
            // Until the handle is dropped: nothing is ever sent.
            kept.recv().unwrap_or_default();
            drop(child.kill());
            drop(child.wait());
        })?;
        let server = Self { keep: Some(keep), thread: Some(thread) };
        match told.recv_timeout(START_MAX) {
            Ok(Ok(found)) => Ok((server, found)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::other("the server ended, or does not begin to listen")),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keep.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn spawn(command: &mut Command) -> io::Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let die_with_us = || {
        let signal = Some(rustix::process::Signal::KILL);
        Ok(rustix::process::set_parent_process_death_signal(signal)?)
    };
    // SAFETY: between fork and exec it makes one system call and takes no lock or memory.
    unsafe { command.pre_exec(die_with_us) };
    command.spawn()
}

/// Reads to the end, so that the server never waits for a reader.
fn read<T>(
    pipe: impl io::Read,
    listens: fn(&str) -> Option<T>,
    tell: &mpsc::Sender<io::Result<T>>,
) {
    for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
        if let Some(found) = listens(&String::from_utf8_lossy(&line)) {
            // Nobody waits any more: it was found before, or too late.
            drop(tell.send(Ok(found)));
        }
    }
}
