//! The daemon's side of the control socket.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use futures::future::{Either, select};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use super::place::OVERRIDE;
use super::protocol::{
    Answer, Command, Failure, Progress, REQUEST_MAX_BYTES, Request, Response, Said, TAKEN, VERSION,
    line,
};
use crate::cli::{CliError, Exit};

/// Takes what is said before the answer; what it has no room for may be left out.
pub(in crate::mount) type Say = mpsc::Sender<Progress>;

/// Lines that may wait for a reader who is slow.
const SAID_MAX: usize = 64;

/// What to do with a command.
pub(in crate::mount) trait Serve: Send + Sync + 'static {
    /// Carries out `command`. What `say` is told goes before the answer.
    fn serve(
        &self,
        command: Command,
        say: Say,
    ) -> impl Future<Output = Result<Answer, CliError>> + Send;

    /// Called once for each command, when its answer, if it is none of an error, was sent.
    fn answered(&self, answer: Option<&Answer>);
}

/// A control socket; dropped, it is removed.
pub(in crate::mount) struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        // What is left is replaced by the next daemon here.
        drop(std::fs::remove_file(&self.0));
    }
}

/// Listens at `socket`, in place of one that a dead daemon left there: the caller has claimed the
/// place.
pub(in crate::mount) fn listen(socket: &Path) -> Result<(UnixListener, Socket), CliError> {
    let failed = |error: io::Error| {
        let shown = socket.display();
        let what = format!("can't serve the control socket {shown}: {error}");
        let remedy = format!("remove what is there, or set {OVERRIDE} to a directory of yours");
        CliError::new(Exit::Usage, what, remedy)
    };
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(socket).map_err(failed)?;
    Ok((listener, Socket(socket.to_path_buf())))
}

/// Takes connections for ever; each is a task.
pub(in crate::mount) async fn accept(listener: UnixListener, serve: Arc<impl Serve>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let serve = Arc::clone(&serve);
                tokio::spawn(async move {
                    if let Err(error) = talk(stream, &*serve).await {
                        tracing::debug!(%error, "a control connection broke off");
                    }
                });
            }
            Err(error) => {
                // Out of descriptors, say. The connection stays in the queue: go easy.
                tracing::warn!(%error, "can't take a control connection");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn talk(stream: UnixStream, serve: &impl Serve) -> io::Result<()> {
    // The directory keeps others out already.
    let peer = stream.peer_cred()?.uid();
    if peer != rustix::process::geteuid().as_raw() && peer != 0 {
        tracing::warn!(peer, "a control connection of another user was refused");
        return Ok(());
    }
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut request = String::new();
        let taken = (&mut read).take(REQUEST_MAX_BYTES).read_line(&mut request).await?;
        if taken == 0 {
            return Ok(());
        }
        let command = match parse(&request) {
            Ok(command) => command,
            Err(error) => {
                let response = Response { v: VERSION, result: Err(error.into()) };
                write.write_all(line(&response).as_bytes()).await?;
                continue;
            }
        };
        // Whoever asked may have gone: what was asked is done all the same.
        drop(write.write_all(TAKEN).await);
        let result = aloud(serve, command, &mut write).await.map_err(Failure::from);
        let response = Response { v: VERSION, result };
        let sent = write.write_all(line(&response).as_bytes()).await;
        serve.answered(response.result.as_ref().ok());
        sent?;
    }
}

/// Carries out `command`, and writes what it says meanwhile.
async fn aloud(
    serve: &impl Serve,
    command: Command,
    write: &mut OwnedWriteHalf,
) -> Result<Answer, CliError> {
    let (say, mut said) = mpsc::channel(SAID_MAX);
    let mut work = pin!(serve.serve(command, say));
    let done = loop {
        match select(work.as_mut(), pin!(said.recv())).await {
            Either::Left((done, _)) => break done,
            Either::Right((Some(progress), _)) => tell(write, progress).await,
            Either::Right((None, _)) => break work.await,
        }
    };
    while let Ok(progress) = said.try_recv() {
        tell(write, progress).await;
    }
    done
}

/// Whoever asked may have gone.
async fn tell(write: &mut OwnedWriteHalf, progress: Progress) {
    drop(write.write_all(line(&Said { progress }).as_bytes()).await);
}

fn parse(request: &str) -> Result<Command, CliError> {
    let refuse = |why: String| {
        let what = format!("the daemon can't read the request: {why}");
        CliError::new(Exit::Usage, what, "use the vellum that mounted it")
    };
    let request: Request =
        serde_json::from_str(request).map_err(|error| refuse(error.to_string()))?;
    if request.v == VERSION {
        Ok(request.command)
    } else {
        Err(refuse(format!("version {}, not {VERSION}", request.v)))
    }
}
