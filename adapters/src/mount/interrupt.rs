//! What a command says when Ctrl-C ends it while a daemon goes on with its work.

use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use futures::future::select;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{CliError, report};

/// As long as it lives, SIGINT and SIGTERM end the process with a word about what goes on.
pub(super) struct Watch {
    came: Arc<AtomicBool>,
    _runtime: Option<Runtime>,
}

impl Watch {
    /// On a signal `tell` is called, on a thread of its own, and the process ends with its error.
    /// Where no thread can be had, a signal ends the process without a word, as it always could.
    pub(super) fn start(json: bool, tell: impl FnOnce() -> CliError + Send + 'static) -> Self {
        let came = Arc::new(AtomicBool::new(false));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().ok();
        if let Some(runtime) = &runtime {
            let _inside = runtime.enter();
            let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
            if let (Ok(mut interrupt), Ok(mut terminate)) = signals {
                let came = Arc::clone(&came);
                runtime.spawn(async move {
                    let (interrupt, terminate) = (interrupt.recv(), terminate.recv());
                    select(Box::pin(interrupt), Box::pin(terminate)).await;
                    came.store(true, Ordering::Release);
                    let error = tell();
                    report(&error, json);
                    exit(error.exit.code().into());
                });
            }
        }
        Self { came, _runtime: runtime }
    }

    /// Never returns once a signal has come: the process is about to end with what was told.
    pub(super) fn give_way(&self) {
        while self.came.load(Ordering::Acquire) {
            thread::park();
        }
    }
}
