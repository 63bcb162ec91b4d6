//! The driver: puts inputs into the core's machine, performs the effects that come out, and
//! parks each request until its one reply.
//!
//! Architecture invariant: the machine is owned by a lock, not by a thread. Whoever has an input
//! puts it into the inbox and, if nobody runs the machine, runs it until the inbox is empty.
//! Under the lock the machine steps and nothing else happens; replies are sent and effects begun
//! after it. Nothing here looks at a state of the core.

mod clock;
mod kernel;
mod pool;
mod timers;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dashmap::DashMap;
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use vellum_core::conc::{Fast, Shared, Slow};
use vellum_core::machine::{Job, Machine, MountSpec, Product};
use vellum_core::shapes::{Attr, Effect, Effects, Input, Op, Outcome, Reply, WriteFlags};
use vellum_core::words::{Errno, Fh, Ino, Ticket};

use crate::store::ObjectStore;
pub use kernel::KernelCache;
use kernel::{Kernel, Tell};

/// Steps that one hold of the machine's lock takes at most. It bounds how long replies that are
/// ready wait for later steps; a full inbox is gone on with after they are sent.
const STEPS_PER_HOLD: usize = 64;

/// Called once with the reply to a request.
pub type Responder = Box<dyn FnOnce(Result<Reply, Errno>) + Send + Sync>;

/// A mounted tree: its machine and everything that serves it. Clones are the same host.
#[derive(Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    /// Lock order: alone. Nothing is called under it but the machine and the inbox.
    machine: Mutex<Machine>,
    /// Lock order: after `machine`.
    inbox: Mutex<VecDeque<Input<Product>>>,
    parked: DashMap<Ticket, Responder>,
    next_ticket: AtomicU64,
    closed: AtomicBool,
    /// Handles that may hold a shared writable mapping, so that the kernel may hold data of
    /// theirs that never reached us.
    mappable: DashMap<Fh, Ino>,
    store: Arc<dyn ObjectStore>,
    runtime: Handle,
    pool: pool::Pool,
    arm: timers::Arm,
    kernel: Kernel,
}

impl Host {
    /// A host for `spec`, whose objects are in `store` and whose tasks run on `runtime`.
    ///
    /// # Errors
    /// A thread could not be started.
    pub fn start(
        spec: MountSpec,
        shared: Arc<Shared>,
        store: Arc<dyn ObjectStore>,
        runtime: Handle,
    ) -> io::Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let pool = pool::Pool::start(threads)?;
        let kernel = Kernel::start()?;
        let inner = Arc::new_cyclic(|weak: &std::sync::Weak<Inner>| {
            let weak = weak.clone();
            let arm = timers::start(&runtime, move |id| {
                if let Some(inner) = weak.upgrade() {
                    Self { inner }.put(Input::Timer(id));
                }
            });
            Inner {
                machine: Mutex::new(Machine::new(spec, Arc::clone(&shared))),
                shared,
                inbox: Mutex::default(),
                parked: DashMap::new(),
                next_ticket: AtomicU64::new(1),
                closed: AtomicBool::new(false),
                mappable: DashMap::new(),
                store,
                runtime,
                pool,
                arm,
                kernel,
            }
        });
        Ok(Self { inner })
    }

    /// Asks for `op`; `responder` is called exactly once, perhaps before this returns.
    pub fn request(&self, op: Op, responder: Responder) {
        self.defer_request(op, responder);
        self.drain();
    }

    /// Asks for operations whose replies nobody waits for.
    pub fn tell(&self, ops: impl IntoIterator<Item = Op>) {
        self.defer(ops);
        self.drain();
    }

    /// As [`Host::tell`], for use inside a responder: the machine takes the operations as soon
    /// as the responder has returned.
    pub fn defer(&self, ops: impl IntoIterator<Item = Op>) {
        let inputs = ops.into_iter().map(|op| Input::Request(self.next_ticket(), op));
        self.inner.inbox.lock().extend(inputs);
    }

    /// As [`Host::request`], for use inside a responder.
    pub fn defer_request(&self, op: Op, responder: Responder) {
        let ticket = self.next_ticket();
        self.inner.parked.insert(ticket, responder);
        if self.inner.closed.load(Ordering::Acquire) {
            self.answer(ticket, Err(Errno::Io));
            return;
        }
        self.inner.inbox.lock().push_back(Input::Request(ticket, op));
    }

    /// Asks for `op` and waits for its reply.
    ///
    /// # Errors
    /// What the core answered; EIO when the host is closed meanwhile.
    pub async fn ask(&self, op: Op) -> Result<Reply, Errno> {
        let (sender, receiver) = oneshot::channel();
        // Whoever asked may have gone: then there is nobody to tell.
        self.request(op, Box::new(move |reply| drop(sender.send(reply))));
        receiver.await.unwrap_or(Err(Errno::Io))
    }

    /// Writes in place. `None` asks the caller to park the request with an owned copy.
    pub fn try_write(
        &self,
        fh: Fh,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
    ) -> Option<Result<u32, Errno>> {
        let wall = clock::wall();
        let write = || self.inner.shared.try_write(fh, wall, offset, data, flags);
        self.fast(fh, offset, data.len(), write)
    }

    /// Reads into `out`, which is cleared first. `None` asks the caller to park the request.
    pub fn try_read(
        &self,
        fh: Fh,
        offset: u64,
        len: u32,
        out: &mut Vec<u8>,
    ) -> Option<Result<(), Errno>> {
        let bytes = usize::try_from(len).unwrap_or(usize::MAX);
        self.fast(fh, offset, bytes, || self.inner.shared.try_read(fh, offset, len, out))
    }

    /// Attributes of a regular file. `None` asks the caller to request them.
    #[must_use]
    pub fn try_getattr(&self, ino: Ino) -> Option<Result<Attr, Errno>> {
        match self.inner.shared.try_getattr(ino) {
            Fast::Done(attr) => Some(Ok(attr)),
            Fast::Failed(errno) => Some(Err(errno)),
            Fast::Slow(_) => None,
        }
    }

    /// Remembers that programs may map `fh`, a handle of `ino`, shared and writable.
    pub fn note_mappable(&self, fh: Fh, ino: Ino) {
        self.inner.mappable.insert(fh, ino);
    }

    /// Forgets what [`Host::note_mappable`] was told.
    pub fn note_released(&self, fh: Fh) {
        self.inner.mappable.remove(&fh);
    }

    /// Waits until what the kernel holds for mapped files has reached the core: the step before
    /// a commit's cut.
    ///
    /// # Errors
    /// The kernel could not write a file's pages back: they were refused, say for lack of space.
    pub async fn flush_kernel_pages(&self) -> io::Result<()> {
        let mut inodes: Vec<Ino> = self.inner.mappable.iter().map(|open| *open.value()).collect();
        inodes.sort_unstable();
        inodes.dedup();
        if inodes.is_empty() {
            return Ok(());
        }
        let (sender, receiver) = oneshot::channel();
        self.inner.kernel.tell(Tell::Flush(inodes, sender));
        receiver.await.unwrap_or_else(|_| Err(io::ErrorKind::NotConnected.into()))
    }

    /// Says whose caches to invalidate: `Some` once mounted, `None` once unmounted.
    pub fn set_kernel_cache(&self, cache: Option<Arc<dyn KernelCache>>) {
        if cache.is_none() {
            self.inner.mappable.clear();
        }
        self.inner.kernel.set_cache(cache);
    }

    /// Answers everything that is parked, and all that comes later, with EIO.
    pub fn close(&self) {
        self.inner.closed.store(true, Ordering::Release);
        self.inner.answer_all();
    }

    fn next_ticket(&self) -> Ticket {
        Ticket(self.inner.next_ticket.fetch_add(1, Ordering::Relaxed))
    }

    /// A fast verb; when it is refused, one preparation and one more try.
    fn fast<T>(
        &self,
        fh: Fh,
        offset: u64,
        len: usize,
        mut verb: impl FnMut() -> Fast<T>,
    ) -> Option<Result<T, Errno>> {
        let why = match verb() {
            Fast::Done(value) => return Some(Ok(value)),
            Fast::Failed(errno) => return Some(Err(errno)),
            Fast::Slow(why) => why,
        };
        let effects = self.prepare(fh, offset, len, why);
        let again = effects.again.then(&mut verb);
        self.perform(effects.owed);
        // Inputs that came while the lock was held for the preparation are ours to run.
        self.drain();
        match again? {
            Fast::Done(value) => Some(Ok(value)),
            Fast::Failed(errno) => Some(Err(errno)),
            Fast::Slow(_) => None,
        }
    }

    fn prepare(&self, fh: Fh, offset: u64, len: usize, why: Slow) -> Prepared {
        let mut owed = Vec::new();
        let mut machine = self.inner.machine.lock();
        let again = machine.prepare(clock::now(), fh, offset, len, why, &mut owed);
        Prepared { again, owed }
    }

    fn put(&self, input: Input<Product>) {
        self.inner.inbox.lock().push_back(input);
        self.drain();
    }

    /// Runs the machine until the inbox is empty, unless somebody else runs it.
    ///
    /// No wake-up is lost: an input is in the inbox before its owner tries the lock, and whoever
    /// held the lock meanwhile looks into the inbox again after releasing it.
    fn drain(&self) {
        loop {
            if self.inner.inbox.lock().is_empty() {
                return;
            }
            let Some(machine) = self.inner.machine.try_lock() else { return };
            let owed = self.step(machine);
            self.perform(owed);
        }
    }

    fn step(&self, mut machine: MutexGuard<'_, Machine>) -> Effects<Job> {
        let mut owed = Vec::new();
        for _ in 0..STEPS_PER_HOLD {
            let Some(input) = self.inner.inbox.lock().pop_front() else { break };
            machine.step(clock::now(), input, &mut owed);
        }
        owed
    }

    fn perform(&self, effects: Effects<Job>) {
        for effect in effects {
            match effect {
                Effect::Reply(ticket, reply) => self.answer(ticket, reply),
                Effect::Store(id, request) => {
                    let (host, answer) = (self.clone(), self.inner.store.request(request));
                    self.inner.runtime.spawn(async move {
                        let outcome = Outcome::Store(answer.await);
                        host.put(Input::Completed(id, outcome));
                    });
                }
                Effect::Compute(id, job) => {
                    let host = self.clone();
                    self.inner.pool.run(move || {
                        let outcome = Outcome::Computed(job.run());
                        host.put(Input::Completed(id, outcome));
                    });
                }
                Effect::Arm(id, at_ns) => {
                    let armed = self.inner.arm.send((id, at_ns));
                    debug_assert!(
                        armed.is_ok() || self.inner.closed.load(Ordering::Acquire),
                        "the timer task ended before its host"
                    );
                }
                Effect::InvalidateInode(ino) => self.inner.kernel.tell(Tell::Inode(ino)),
                Effect::InvalidateName(parent, name) => {
                    self.inner.kernel.tell(Tell::Name(parent, name));
                }
                Effect::Report(text) => tracing::error!("{text}"),
            }
        }
    }

    fn answer(&self, ticket: Ticket, reply: Result<Reply, Errno>) {
        // Absent: nobody waits for it, or the host was closed and has answered.
        if let Some((_, responder)) = self.inner.parked.remove(&ticket) {
            responder(reply);
        }
    }
}

struct Prepared {
    /// Whether the fast verb may be tried again.
    again: bool,
    owed: Effects<Job>,
}

impl Inner {
    fn answer_all(&self) {
        let tickets: Vec<Ticket> = self.parked.iter().map(|parked| *parked.key()).collect();
        for ticket in tickets {
            if let Some((_, responder)) = self.parked.remove(&ticket) {
                responder(Err(Errno::Io));
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.answer_all();
    }
}
