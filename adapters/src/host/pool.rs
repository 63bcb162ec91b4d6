//! Threads for pure work: hashing, verifying, encoding, decoding.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use parking_lot::Mutex;

type Work = Box<dyn FnOnce() + Send>;

/// A fixed number of threads that take work in order. They end when the pool is dropped.
pub(super) struct Pool {
    sender: Sender<Work>,
}

impl Pool {
    /// Starts `threads` threads.
    pub(super) fn start(threads: usize) -> std::io::Result<Self> {
        let (sender, receiver) = channel::<Work>();
        let receiver = Arc::new(Mutex::new(receiver));
        for index in 0..threads.max(1) {
            let receiver = Arc::clone(&receiver);
            thread::Builder::new()
                .name(format!("compute-{index}"))
                .spawn(move || work(&receiver))?;
        }
        Ok(Self { sender })
    }

    /// Runs `work` when a thread is free.
    pub(super) fn run(&self, work: impl FnOnce() + Send + 'static) {
        // The receivers live as long as the threads, and those as long as this sender.
        let sent = self.sender.send(Box::new(work));
        debug_assert!(sent.is_ok(), "a compute thread ended before its pool");
    }
}

fn work(receiver: &Mutex<Receiver<Work>>) {
    loop {
        // One thread waits in `recv` under the lock, the others wait for the lock: either way
        // each piece of work wakes one thread.
        let next = receiver.lock().recv();
        match next {
            Ok(work) => work(),
            Err(_) => return,
        }
    }
}
