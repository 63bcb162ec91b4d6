//! The bridge from a blocking caller to a runtime that the plan began from: each call boxes its
//! work, sends it to a thread that spawns it on four workers, and blocks on a channel.

use std::future::Future;
use std::pin::Pin;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Worker threads of the runtime, as in the plan's program.
const WORKERS: usize = 4;
/// Work that may wait for the dispatching thread, as in the plan's program.
const QUEUE: usize = 1024;

/// A runtime with its own threads, and the queue into it.
pub(crate) struct AsyncExecutor {
    queue: Option<mpsc::Sender<Work>>,
    dispatcher: Option<JoinHandle<()>>,
}

impl AsyncExecutor {
    pub(crate) fn start() -> Self {
        let (queue, mut arrivals) = mpsc::channel::<Work>(QUEUE);
        let dispatch = move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(WORKERS)
                .enable_all()
                .build()
                .expect("a runtime needs only threads and an epoll descriptor");
            runtime.block_on(async move {
                while let Some(work) = arrivals.recv().await {
                    tokio::spawn(work);
                }
            });
        };
        let dispatcher = std::thread::spawn(dispatch);
        Self { queue: Some(queue), dispatcher: Some(dispatcher) }
    }

    /// Runs `future` on the runtime and blocks the caller until it is done; none if it panicked.
    pub(crate) fn block_on<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        let work: Work = Box::pin(async move {
            // The receiver waits below; it can only be gone when the caller panicked.
            let _ = sender.send(future.await);
        });
        self.queue.as_ref()?.blocking_send(work).ok()?;
        receiver.blocking_recv().ok()
    }
}

impl Drop for AsyncExecutor {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(dispatcher) = self.dispatcher.take() {
            // A panic of the dispatcher was already printed; there is nobody left to tell.
            let _ = dispatcher.join();
        }
    }
}
