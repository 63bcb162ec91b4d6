//! Threads for pure work: hashing, verifying, encoding, decoding.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread;

use parking_lot::{Condvar, Mutex};

type Work = Box<dyn FnOnce() + Send>;

/// A fixed number of threads that take work in order. They end when the pool is dropped.
pub(super) struct Pool {
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
    /// Lock order: alone.
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Default)]
struct Waiting {
    work: VecDeque<Work>,
    ended: bool,
}

impl Pool {
    /// Starts `threads` threads.
    pub(super) fn start(threads: usize) -> io::Result<Self> {
        let pool = Self { queue: Arc::default() };
        for index in 0..threads.max(1) {
            let queue = Arc::clone(&pool.queue);
            thread::Builder::new().name(format!("compute-{index}")).spawn(move || queue.serve())?;
        }
        Ok(pool)
    }

    /// Runs `work` when a thread is free.
    pub(super) fn run(&self, work: impl FnOnce() + Send + 'static) {
        self.queue.waiting.lock().work.push_back(Box::new(work));
        self.queue.more.notify_one();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.waiting.lock().ended = true;
        self.queue.more.notify_all();
    }
}

impl Queue {
    fn serve(&self) {
        while let Some(work) = self.next() {
            work();
        }
    }

    fn next(&self) -> Option<Work> {
        let mut waiting = self.waiting.lock();
        loop {
            if let Some(work) = waiting.work.pop_front() {
                return Some(work);
            }
            if waiting.ended {
                return None;
            }
            self.more.wait(&mut waiting);
        }
    }
}
