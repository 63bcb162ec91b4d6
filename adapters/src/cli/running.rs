//! How a command runs: on a runtime of its own, to its end or until a signal comes.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use super::{CliError, Exit};
use crate::repo::RepoError;

/// How long a command that ends waits for file operations that can't be called back.
pub(super) const LAST_WORDS: Duration = Duration::from_millis(200);

/// Runs `work` on a runtime of its own; see [`finish`].
pub(super) fn perform<T, E: Into<CliError>>(
    work: impl Future<Output = Result<T, E>>,
    may_interrupt: impl Fn() -> bool,
) -> Result<T, CliError> {
    let runtime = runtime()?;
    let done = finish(&runtime, work, may_interrupt);
    runtime.shutdown_timeout(LAST_WORDS);
    done
}

/// The runtime of a command.
pub(super) fn runtime() -> Result<Runtime, CliError> {
    Builder::new_multi_thread().enable_all().build().map_err(|error| {
        let remedy = "free some memory or threads, then run it again";
        CliError::new(Exit::Store, format!("can't start threads: {error}"), remedy)
    })
}

/// Runs `work` to its end, or until a signal comes while it may be interrupted.
pub(super) fn finish<T, E: Into<CliError>>(
    runtime: &Runtime,
    work: impl Future<Output = Result<T, E>>,
    may_interrupt: impl Fn() -> bool,
) -> Result<T, CliError> {
    runtime.block_on(async {
        let mut work = pin!(work);
        loop {
            let interrupt = pin!(interrupted());
            match select(work, interrupt).await {
                Either::Left((done, _)) => return done.map_err(Into::into),
                Either::Right(_) if may_interrupt() => return Err(RepoError::Interrupted.into()),
                Either::Right(((), unfinished)) => work = unfinished,
            }
        }
    })
}

/// Ends when the process is asked to end.
async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    select(pin!(interrupt.recv()), pin!(terminate.recv())).await;
}

/// A tree is walked with its directories open: deep ones need more than the usual 1,024.
pub(super) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // It may not be allowed; then a deep tree says so itself.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// As [`perform`], for what only reads: there is nothing to go on with after a signal.
pub(super) fn perform_reading<T>(
    work: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    perform(work, || true).map_err(only_read)
}

/// The error of a command that only reads.
pub(super) fn only_read(error: CliError) -> CliError {
    let remedy = if error.exit == Exit::Interrupted { String::new() } else { error.remedy };
    CliError { remedy, ..error }
}
