//! What is told to the kernel, from a thread of its own: from a request handler an invalidation
//! can deadlock, since it waits for locks that the waiting program holds.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use vellum_core::shapes::Name;
use vellum_core::words::Ino;

/// Speaks to the kernel's caches. The FUSE adapter provides it once the mount exists.
pub trait KernelCache: Send + Sync {
    /// Writes back, then drops, what the kernel caches of an inode's data; attributes too.
    ///
    /// # Errors
    /// What the kernel answered; an inode that it does not know is not an error.
    fn drop_inode(&self, ino: Ino) -> io::Result<()>;

    /// Drops a name that the kernel caches.
    ///
    /// # Errors
    /// What the kernel answered; a name that it does not know is not an error.
    fn drop_name(&self, parent: Ino, name: &OsStr) -> io::Result<()>;
}

/// One thing to tell the kernel.
pub(super) enum Tell {
    /// Drop an inode's data and attributes.
    Inode(Ino),
    /// Drop a name.
    Name(Ino, Name),
    /// Write back and drop the data of all these inodes, then say so.
    Flush(Vec<Ino>, oneshot::Sender<io::Result<()>>),
}

/// The thread that tells the kernel.
pub(super) struct Kernel {
    sender: Sender<Tell>,
    cache: Arc<Mutex<Option<Arc<dyn KernelCache>>>>,
}

impl Kernel {
    /// Starts the thread; it ends when this is dropped.
    pub(super) fn start() -> io::Result<Self> {
        let (sender, receiver) = channel();
        let cache = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&cache);
        thread::Builder::new().name("invalidate".into()).spawn(move || run(&receiver, &seen))?;
        Ok(Self { sender, cache })
    }

    /// Says which mount to tell; `None` when there is none any more.
    pub(super) fn set_cache(&self, cache: Option<Arc<dyn KernelCache>>) {
        *self.cache.lock() = cache;
    }

    /// Hands `tell` to the thread.
    pub(super) fn tell(&self, tell: Tell) {
        let sent = self.sender.send(tell);
        debug_assert!(sent.is_ok(), "the invalidation thread ended before its host");
    }
}

fn run(receiver: &Receiver<Tell>, cache: &Mutex<Option<Arc<dyn KernelCache>>>) {
    while let Ok(tell) = receiver.recv() {
        let cache = cache.lock().clone();
        match (tell, cache) {
            (Tell::Inode(ino), Some(cache)) => warn_of(cache.drop_inode(ino)),
            (Tell::Name(parent, name), Some(cache)) => {
                warn_of(cache.drop_name(parent, OsStr::from_bytes(&name)));
            }
            (Tell::Flush(inodes, done), Some(cache)) => {
                let result = inodes.into_iter().try_for_each(|ino| cache.drop_inode(ino));
                // The one who asked may have given up.
                drop(done.send(result));
            }
            // Without a mount the kernel caches nothing: it wrote everything back as it went.
            (Tell::Inode(_) | Tell::Name(..), None) => {}
            (Tell::Flush(_, done), None) => drop(done.send(Ok(()))),
        }
    }
}

fn warn_of(result: io::Result<()>) {
    if let Err(error) = result {
        tracing::warn!(%error, "the kernel did not take an invalidation");
    }
}
