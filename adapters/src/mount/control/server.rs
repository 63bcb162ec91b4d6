//! The daemon's side of the control socket.

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::protocol::{
    Answer, Command, Failure, REQUEST_MAX_BYTES, Request, Response, VERSION, line,
};
use crate::cli::{CliError, Exit};

/// What to do with a command.
pub(in crate::mount) trait Serve: Send + Sync + 'static {
    /// Carries out `command`.
    fn serve(&self, command: Command) -> impl Future<Output = Result<Answer, CliError>> + Send;

    /// Called when the answer has been sent.
    fn answered(&self, answer: &Answer);
}

/// Listens at `socket`, in place of one that a dead daemon left there: the caller has claimed the
/// place.
pub(in crate::mount) fn listen(socket: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    UnixListener::bind(socket)
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
        let result = match parse(&request) {
            Ok(command) => serve.serve(command).await.map_err(Failure::from),
            Err(error) => Err(Failure::from(error)),
        };
        let response = Response { v: VERSION, result };
        let sent = write.write_all(line(&response).as_bytes()).await;
        if let Ok(answer) = &response.result {
            serve.answered(answer);
        }
        sent?;
    }
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
