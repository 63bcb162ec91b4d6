//! The driver: puts inputs into the core's machine, performs the effects that come out, and
//! parks each request until its one reply.
//!
//! Architecture invariant: the machine is owned by a lock, not by a thread ([`Handover`]). Under
//! the lock the machine steps and nothing else happens; replies are sent and effects begun after
//! it. Nothing here looks at a state of the core.

mod clock;
mod kernel;
mod pool;
mod sent;
#[cfg(test)]
mod tests;
mod timers;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use vellum_core::conc::{Fast, Handover, Shared};
use vellum_core::machine::{Job, Machine, MountSpec, Product};
use vellum_core::shapes::{
    Attr, Effect, Effects, Input, Key, Op, Outcome, Reply, StatFs, StoreOutcome, WriteFlags,
};
use vellum_core::words::{EffectId, Errno, Fh, Ino, Ticket};

use crate::figures::{Operation, Operations};
use crate::store::ObjectStore;
pub use kernel::KernelCache;
use kernel::{Kernel, Tell};
use sent::Sent;
pub use sent::{Phase, SoFar};

/// Called once with the reply to a request.
pub type Responder = Box<dyn FnOnce(Result<Reply, Errno>) + Send + Sync>;

/// A mounted tree: its machine and everything that serves it. Clones are the same host.
#[derive(Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

/// A request that waits for its reply.
struct Parked {
    responder: Responder,
    /// What it is and when it came, if its time is counted.
    since: Option<(Operation, u64)>,
}

/// What a store has room for that has no bound.
const UNBOUNDED_BYTES: u64 = 1 << 50;

struct Inner {
    shared: Arc<Shared>,
    machine: Handover<Machine, Input<Product>>,
    parked: DashMap<Ticket, Parked>,
    next_ticket: AtomicU64,
    closed: AtomicBool,
    /// Handles that may hold a shared writable mapping, so that the kernel may hold data of
    /// theirs that never reached us.
    mappable: DashMap<Fh, Ino>,
    /// Why the last page that the kernel wrote back was refused: its data is lost, and the kernel
    /// tells nobody but the program, at msync or close.
    refused_page: Mutex<Option<Errno>>,
    store: Arc<dyn ObjectStore>,
    operations: Operations,
    sent: Sent,
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
                machine: Handover::new(Machine::new(spec, Arc::clone(&shared), clock::now())),
                shared,
                parked: DashMap::new(),
                next_ticket: AtomicU64::new(1),
                closed: AtomicBool::new(false),
                mappable: DashMap::new(),
                refused_page: Mutex::new(None),
                store,
                operations: Operations::default(),
                sent: Sent::default(),
                runtime,
                pool,
                arm,
                kernel,
            }
        });
        Ok(Self { inner })
    }

    /// Asks for `op`; `responder` is called exactly once, perhaps before this returns. It may ask
    /// for more: the machine takes that when the responder has returned.
    pub fn request(&self, op: Op, responder: Responder) {
        let is_page = matches!(&op, Op::Write { flags, .. } if flags.from_cache);
        let responder = if is_page { self.watch_page(responder) } else { responder };
        let ticket = self.next_ticket();
        let since = Operation::of(&op).map(|operation| (operation, clock::mono_ns()));
        self.inner.parked.insert(ticket, Parked { responder, since });
        if self.inner.closed.load(Ordering::Acquire) {
            self.answer(ticket, Err(Errno::Io));
            return;
        }
        self.put(Input::Request(ticket, op));
    }

    /// Asks for the figures of the file system: what may be written is what memory has room for
    /// and what the store has.
    pub fn statfs(&self, responder: Responder) {
        let host = self.clone();
        self.inner.runtime.spawn_blocking(move || {
            let store_bytes = host.inner.store.free_bytes().unwrap_or(UNBOUNDED_BYTES);
            let with_store = move |reply| match reply {
                Ok(Reply::StatFs(memory)) => {
                    let free_bytes = memory.free_bytes.saturating_add(store_bytes);
                    responder(Ok(Reply::StatFs(StatFs { free_bytes, ..memory })));
                }
                other => responder(other),
            };
            host.request(Op::StatFs, Box::new(with_store));
        });
    }

    /// Asks for an operation whose reply nobody waits for.
    pub fn tell(&self, op: Op) {
        if !self.inner.closed.load(Ordering::Acquire) {
            self.put(Input::Request(self.next_ticket(), op));
        }
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
        let (wall, began_ns) = (clock::wall(), clock::mono_ns());
        let write = || self.inner.shared.try_write(fh, wall, offset, data, flags);
        let written = self.fast(fh, write);
        self.count(Operation::Write, began_ns, written.is_some());
        if let Some(Err(errno)) = written
            && flags.from_cache
        {
            *self.inner.refused_page.lock() = Some(errno);
        }
        written
    }

    /// Remembers that a page was refused.
    fn watch_page(&self, responder: Responder) -> Responder {
        let host = self.clone();
        Box::new(move |reply| {
            if let Err(errno) = &reply {
                *host.inner.refused_page.lock() = Some(*errno);
            }
            responder(reply);
        })
    }

    /// Why a page that the kernel wrote back was refused since this was last asked.
    #[must_use]
    pub fn take_refused_page(&self) -> Option<Errno> {
        self.inner.refused_page.lock().take()
    }

    /// Reads into `out`, which is cleared first. `None` asks the caller to park the request.
    pub fn try_read(
        &self,
        fh: Fh,
        offset: u64,
        len: u32,
        out: &mut Vec<u8>,
    ) -> Option<Result<(), Errno>> {
        let began_ns = clock::mono_ns();
        let read = self.fast(fh, || self.inner.shared.try_read(fh, offset, len, out));
        self.count(Operation::Read, began_ns, read.is_some());
        read
    }

    /// Attributes of a regular file. `None` asks the caller to request them.
    #[must_use]
    pub fn try_getattr(&self, ino: Ino) -> Option<Result<Attr, Errno>> {
        let began_ns = clock::mono_ns();
        let attr = match self.inner.shared.try_getattr(ino) {
            Fast::Done(attr) => Some(Ok(attr)),
            Fast::Failed(errno) => Some(Err(errno)),
            Fast::Slow(_) => None,
        };
        self.count(Operation::GetAttr, began_ns, attr.is_some());
        attr
    }

    /// Counts a request that is answered, from its handler to its answer. One that is not is
    /// counted when its reply comes.
    fn count(&self, operation: Operation, began_ns: u64, is_answered: bool) {
        if is_answered {
            let took_ns = clock::mono_ns().saturating_sub(began_ns);
            self.inner.operations.record(operation, took_ns);
        }
    }

    /// How long requests of the kernel took.
    pub(crate) fn operations(&self) -> &Operations {
        &self.inner.operations
    }

    /// Most bytes of file data that may be in memory.
    pub(crate) fn memory_limit_bytes(&self) -> u64 {
        self.inner.shared.memory_limit_bytes()
    }

    /// Says to `listener` how far the commit is that is about to be asked for, until
    /// [`Host::commit_ended`].
    pub fn commit_begins(&self, listener: mpsc::Sender<SoFar>) {
        self.inner.sent.begin(listener);
    }

    /// Nobody is told any more.
    pub fn commit_ended(&self) {
        self.inner.sent.end();
    }

    /// Keys of the objects that were put since this was last asked: those of the commit that was
    /// published. None when they were too many to remember.
    #[must_use]
    pub fn take_sent(&self) -> Option<Vec<Key>> {
        self.inner.sent.take()
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

    /// Waits until the kernel was told all that it was to be told up to now.
    pub async fn kernel_told(&self) {
        let (sender, receiver) = oneshot::channel();
        self.inner.kernel.tell(Tell::Flush(Vec::new(), sender));
        // It ends with the host: then there is nobody to tell.
        drop(receiver.await);
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
    fn fast<T>(&self, fh: Fh, mut verb: impl FnMut() -> Fast<T>) -> Option<Result<T, Errno>> {
        let why = match verb() {
            Fast::Done(value) => return Some(Ok(value)),
            Fast::Failed(errno) => return Some(Err(errno)),
            Fast::Slow(why) => why,
        };
        if self.inner.closed.load(Ordering::Acquire) {
            return Some(Err(Errno::Io));
        }
        let mut owed = Vec::new();
        let again = self.inner.machine.with(|machine| {
            let _guard = CloseOnPanic(&self.inner);
            machine.prepare(clock::now(), fh, why, &mut owed)
        });
        let tried = again.then(verb);
        self.perform(owed, &mut |id, job| self.hand_off(id, job));
        match tried? {
            Fast::Done(value) => Some(Ok(value)),
            Fast::Failed(errno) => Some(Err(errno)),
            Fast::Slow(_) => None,
        }
    }

    /// Puts an input from a thread that has other things to do: jobs go to the pool.
    fn put(&self, input: Input<Product>) {
        self.submit(input, |id, job| self.hand_off(id, job));
    }

    /// Puts a completion from a thread that has time: the first job that comes of it is done
    /// here, since most are shorter than the hop to another thread.
    fn complete(&self, id: EffectId, outcome: Outcome<Product>) {
        let mut next = Some((id, outcome));
        while let Some((id, outcome)) = next.take() {
            let mut mine = None;
            self.submit(Input::Completed(id, outcome), |id, job| match mine {
                None => mine = Some((id, job)),
                Some(_) => self.hand_off(id, job),
            });
            // The machine is free again by now: nobody waits for this job who did not ask.
            next = mine.map(|(id, job)| (id, self.run(job)));
        }
    }

    fn submit(&self, input: Input<Product>, mut job: impl FnMut(EffectId, Job)) {
        self.inner.machine.submit(
            input,
            |machine, input| {
                let _guard = CloseOnPanic(&self.inner);
                let mut owed = Vec::new();
                machine.step(clock::now(), input, &mut owed);
                owed
            },
            |owed| self.perform(owed, &mut job),
        );
    }

    fn hand_off(&self, id: EffectId, job: Job) {
        let host = self.clone();
        self.inner.pool.run(move || host.complete(id, host.run(job)));
    }

    fn run(&self, job: Job) -> Outcome<Product> {
        let _guard = CloseOnPanic(&self.inner);
        Outcome::Computed(job.run())
    }

    fn perform(&self, effects: Effects<Job>, job_owed: &mut impl FnMut(EffectId, Job)) {
        for effect in effects {
            match effect {
                Effect::Reply(ticket, reply) => self.answer(ticket, reply),
                Effect::Store(id, request) => {
                    let put = self.inner.sent.asked(&request);
                    let (host, answer) = (self.clone(), self.inner.store.request(request));
                    self.inner.runtime.spawn(async move {
                        let outcome = answer.await;
                        if let (Some(put), StoreOutcome::Stored { .. }) = (put, &outcome) {
                            host.inner.sent.stored(put);
                        }
                        host.complete(id, Outcome::Store(outcome));
                    });
                }
                Effect::Compute(id, job) => job_owed(id, job),
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
        if let Some((_, Parked { responder, since })) = self.inner.parked.remove(&ticket) {
            if let Some((operation, began_ns)) = since {
                self.count(operation, began_ns, true);
            }
            responder(reply);
        }
    }
}

/// A machine that panicked is not run again, and nobody waits for it: what is parked and what
/// comes later is answered EIO, but for reads of what is in memory.
struct CloseOnPanic<'a>(&'a Inner);

impl Drop for CloseOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the core has failed: the mount answers EIO from here on");
            self.0.closed.store(true, Ordering::Release);
            self.0.shared.refuse_writes();
            self.0.answer_all();
        }
    }
}

impl Inner {
    fn answer_all(&self) {
        let tickets: Vec<Ticket> = self.parked.iter().map(|parked| *parked.key()).collect();
        for ticket in tickets {
            if let Some((_, parked)) = self.parked.remove(&ticket) {
                (parked.responder)(Err(Errno::Io));
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.answer_all();
    }
}
