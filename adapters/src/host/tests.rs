#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tokio::runtime::Runtime;
use vellum_core::conc::Shared;
use vellum_core::machine::MountSpec;
use vellum_core::shapes::{
    Caller, Name, Op, OpenFlags, Reply, StoreOutcome, StoreRequest, WriteFlags,
};
use vellum_core::words::{Errno, Fh, Ino, Limits};

use super::{CloseOnPanic, Host, KernelCache};
use crate::repo::{Import, NewRepo, Repo};
use crate::store::ObjectStore;

/// Longest that anything here takes, on a slow and busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A store that never answers.
struct Stuck;

impl ObjectStore for Stuck {
    fn request(&self, _request: StoreRequest) -> BoxFuture<'static, StoreOutcome> {
        Box::pin(std::future::pending())
    }
}

fn spec() -> MountSpec {
    MountSpec { chunk_bytes: 4 << 20, read_only: false, base: None, branch: None, owner: (0, 0) }
}

fn start(runtime: &Runtime, spec: MountSpec, limits: Limits, store: Arc<dyn ObjectStore>) -> Host {
    let shared = Arc::new(Shared::new(limits, spec.read_only));
    Host::start(spec, shared, store, runtime.handle().clone()).unwrap()
}

fn name(name: &str) -> Name {
    Arc::from(name.as_bytes())
}

/// A mount of a directory with one file `file` of these bytes.
fn imported(runtime: &Runtime, content: &[u8]) -> (tempfile::TempDir, MountSpec, Arc<Repo>) {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), content).unwrap();
    let (spec, repo) = runtime.block_on(async {
        let repo = Repo::init(&dir.path().join("repo"), NewRepo::default()).await.unwrap();
        let (author, message) = ("a@b".to_owned(), "a test".to_owned());
        let import = Import::new(Arc::clone(&repo), &source, "main", author, message);
        Arc::new(import).run().await.unwrap();
        let hash = repo.resolve("main").await.unwrap().snapshot.unwrap();
        let base = Some((hash, repo.read_snapshot(hash).await.unwrap()));
        (MountSpec { base, ..spec() }, repo)
    });
    (dir, spec, repo)
}

#[test]
fn every_request_of_many_threads_gets_exactly_one_reply() {
    const THREADS: usize = 8;
    const REQUESTS: usize = 500;
    let runtime = Runtime::new().unwrap();
    let host = start(&runtime, spec(), Limits::default(), Arc::new(Stuck));
    let replies = Arc::new(AtomicUsize::new(0));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (host, replies) = (&host, &replies);
            scope.spawn(move || {
                for request in 0..REQUESTS {
                    let name = name(&format!("{thread}-{request}"));
                    let (parent, mode, caller) = (Ino::ROOT, 0o755, Caller::default());
                    let op = Op::MakeDir { parent, name, mode, caller };
                    let replies = Arc::clone(replies);
                    let count = move |reply| {
                        assert!(matches!(reply, Ok(Reply::Entry(_))), "{reply:?}");
                        replies.fetch_add(1, Ordering::SeqCst);
                    };
                    host.request(op, Box::new(count));
                }
            });
        }
    });
    // A thread that left its input to another one has returned before that one took it.
    let end = Instant::now() + PATIENCE;
    while replies.load(Ordering::SeqCst) < THREADS * REQUESTS {
        assert!(Instant::now() < end, "a wake-up was lost");
        thread::yield_now();
    }
    let Ok(Reply::Status(status)) = runtime.block_on(host.ask(Op::Status)) else { panic!() };
    assert!(status.changed_inodes >= (THREADS * REQUESTS) as u64);
}

#[test]
fn a_responder_may_ask_for_more() {
    let runtime = Runtime::new().unwrap();
    let host = start(&runtime, spec(), Limits::default(), Arc::new(Stuck));
    let (sender, receiver) = std::sync::mpsc::channel();
    let again = host.clone();
    host.request(
        Op::StatFs,
        Box::new(move |first| {
            assert!(first.is_ok());
            again.tell(Op::Forget { ino: Ino(77), count: 1 });
            again.request(Op::StatFs, Box::new(move |second| sender.send(second).unwrap()));
        }),
    );
    assert!(matches!(receiver.recv_timeout(PATIENCE).unwrap(), Ok(Reply::StatFs(_))));
}

/// A new file, opened.
fn created(runtime: &Runtime, host: &Host) -> (Ino, Fh) {
    let op = Op::Create {
        parent: Ino::ROOT,
        name: name("file"),
        mode: 0o644,
        flags: OpenFlags { read: true, write: true, truncate: false },
        caller: Caller::default(),
    };
    let Ok(Reply::Created(attr, fh)) = runtime.block_on(host.ask(op)) else { panic!() };
    (attr.ino, fh)
}

#[test]
fn a_file_is_written_and_read_in_place() {
    let runtime = Runtime::new().unwrap();
    let host = start(&runtime, spec(), Limits::default(), Arc::new(Stuck));
    let (ino, fh) = created(&runtime, &host);
    let written = host.try_write(fh, 3, b"hello", WriteFlags::default());
    assert_eq!(written, Some(Ok(5)));
    let mut read = vec![9];
    assert_eq!(host.try_read(fh, 0, 100, &mut read), Some(Ok(())));
    assert_eq!(read, b"\0\0\0hello");
    assert_eq!(host.try_getattr(ino).unwrap().unwrap().size, 8);
    let gone = host.try_write(Fh(u64::MAX), 0, b"x", WriteFlags::default());
    assert_eq!(gone, Some(Err(Errno::BadF)));
}

#[test]
fn what_the_store_holds_is_loaded_and_read() {
    let runtime = Runtime::new().unwrap();
    let content = vec![5; 300_000];
    let (_dir, spec, repo) = imported(&runtime, &content);
    let store: Arc<dyn ObjectStore> = repo.store().clone();
    let host = start(&runtime, spec, Limits::default(), store);
    let read = runtime.block_on(async {
        let lookup = Op::Lookup { parent: Ino::ROOT, name: name("file") };
        let Ok(Reply::Entry(attr)) = host.ask(lookup).await else { panic!() };
        let flags = OpenFlags { read: true, ..OpenFlags::default() };
        let Ok(Reply::Opened(fh)) = host.ask(Op::Open { ino: attr.ino, flags }).await else {
            panic!()
        };
        let mut buffer = Vec::new();
        assert_eq!(host.try_read(fh, 0, 400_000, &mut buffer), None);
        host.ask(Op::Read { fh, offset: 0, len: 400_000 }).await
    });
    assert_eq!(read, Ok(Reply::Data(content)));
}

#[test]
fn a_request_that_the_store_leaves_waiting_is_answered_at_its_deadline() {
    let runtime = Runtime::new().unwrap();
    let (_dir, spec, _repo) = imported(&runtime, b"x");
    let limits = Limits { read_deadline_ns: 50_000_000, ..Limits::default() };
    let host = start(&runtime, spec, limits, Arc::new(Stuck));
    let lookup = Op::Lookup { parent: Ino::ROOT, name: name("file") };
    let begun = Instant::now();
    assert_eq!(runtime.block_on(host.ask(lookup)), Err(Errno::Io));
    assert!(begun.elapsed() >= Duration::from_millis(50));
    // The mount lives.
    assert!(runtime.block_on(host.ask(Op::StatFs)).is_ok());
}

#[test]
fn a_closed_host_answers_everything_with_eio() {
    let runtime = Runtime::new().unwrap();
    let (_dir, spec, _repo) = imported(&runtime, b"x");
    let host = start(&runtime, spec, Limits::default(), Arc::new(Stuck));
    let (sender, receiver) = std::sync::mpsc::channel();
    let lookup = Op::Lookup { parent: Ino::ROOT, name: name("file") };
    host.request(lookup, Box::new(move |reply| sender.send(reply).unwrap()));
    assert!(receiver.try_recv().is_err(), "it should wait for the store");
    host.close();
    assert_eq!(receiver.recv_timeout(PATIENCE).unwrap(), Err(Errno::Io));
    assert_eq!(runtime.block_on(host.ask(Op::StatFs)), Err(Errno::Io));
}

#[test]
fn a_page_that_is_refused_is_remembered_once() {
    let runtime = Runtime::new().unwrap();
    let host = start(&runtime, spec(), Limits::default(), Arc::new(Stuck));
    let page = WriteFlags { from_cache: true, ..WriteFlags::default() };
    let refused = Some(Err(Errno::BadF));
    assert_eq!(host.try_write(Fh(u64::MAX), 0, b"x", WriteFlags::default()), refused);
    assert_eq!(host.take_refused_page(), None);
    assert_eq!(host.try_write(Fh(u64::MAX), 0, b"x", page), refused);
    assert_eq!(host.take_refused_page(), Some(Errno::BadF));
    assert_eq!(host.take_refused_page(), None);
    let op = Op::Write { fh: Fh(u64::MAX), offset: 0, data: b"x".to_vec(), flags: page };
    assert_eq!(runtime.block_on(host.ask(op)), Err(Errno::BadF));
    assert_eq!(host.take_refused_page(), Some(Errno::BadF));
}

#[test]
fn a_core_that_failed_takes_no_writes_and_shows_what_it_has() {
    let runtime = Runtime::new().unwrap();
    let host = start(&runtime, spec(), Limits::default(), Arc::new(Stuck));
    let (ino, fh) = created(&runtime, &host);
    assert_eq!(host.try_write(fh, 0, b"kept", WriteFlags::default()), Some(Ok(4)));
    let panicked = thread::scope(|scope| {
        let fail = || {
            let _guard = CloseOnPanic(&host.inner);
            panic!("as a failing core does");
        };
        scope.spawn(fail).join().is_err()
    });
    assert!(panicked);
    assert_eq!(host.try_write(fh, 0, b"lost", WriteFlags::default()), Some(Err(Errno::Io)));
    assert_eq!(runtime.block_on(host.ask(Op::GetAttr { ino })), Err(Errno::Io));
    let mut read = Vec::new();
    assert_eq!(host.try_read(fh, 0, 100, &mut read), Some(Ok(())));
    assert_eq!(read, b"kept");
}

#[test]
fn flushing_tells_the_kernel_of_each_mappable_inode_once() {
    #[derive(Default)]
    struct Told(parking_lot::Mutex<Vec<Ino>>);
    impl KernelCache for Told {
        fn drop_inode(&self, ino: Ino) -> std::io::Result<()> {
            self.0.lock().push(ino);
            Ok(())
        }
        fn drop_name(&self, _parent: Ino, _name: &std::ffi::OsStr) -> std::io::Result<()> {
            Ok(())
        }
    }
    let runtime = Runtime::new().unwrap();
    let host = start(&runtime, spec(), Limits::default(), Arc::new(Stuck));
    let told = Arc::new(Told::default());
    host.set_kernel_cache(Some(told.clone()));
    for (handle, ino) in [(Fh(1), Ino(5)), (Fh(2), Ino(6)), (Fh(3), Ino(5)), (Fh(4), Ino(7))] {
        host.note_mappable(handle, ino);
    }
    host.note_released(Fh(4));
    runtime.block_on(host.flush_kernel_pages()).unwrap();
    assert_eq!(*told.0.lock(), [Ino(5), Ino(6)]);
    host.set_kernel_cache(None);
    runtime.block_on(host.flush_kernel_pages()).unwrap();
    assert_eq!(told.0.lock().len(), 2);
}
