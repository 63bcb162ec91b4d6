//! The whole core with threads, in random schedules, under shuttle: `--cfg core_shuttle` builds
//! only. Threads write, read, cut and commit two files at once; each write is one byte of its own,
//! many times, so that a read shows which writes it saw.
#![cfg(core_shuttle)]
#![allow(clippy::unwrap_used)]

mod history;
#[path = "../loom/world.rs"]
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use shuttle::rand::{Rng, thread_rng};
use vellum_core::shapes::{CommitResult, Reply};
use vellum_core::sync::Arc;
use vellum_core::words::Fh;

use history::History;
use world::{World, commit};

const NAMES: [&[u8]; 2] = [b"f", b"g"];
/// Two blocks, so that a torn write shows.
const BYTES: usize = 16;
const THREADS: usize = 3;
const VERBS: usize = 4;
/// Schedules of each kind.
const SCHEDULES: usize = 3_000;
/// Room for both files, frozen and changed, and little more.
const TIGHT_BYTES: u64 = 320;

/// The next byte that no write of this run has used.
#[derive(Default)]
struct Tags(AtomicU8);

impl Tags {
    fn next(&self) -> u8 {
        b'A' + self.0.fetch_add(1, Ordering::Relaxed)
    }
}

struct Run {
    world: World,
    handles: [Fh; 2],
    /// One for each file. Not a lock of the core: no point at which threads may be switched.
    histories: [Mutex<History>; 2],
    tags: Tags,
}

impl Run {
    fn new(memory_bytes: u64) -> Self {
        let mut world = World::dirty(&[b'0'; BYTES], memory_bytes);
        let (_, g) = world.create(b"g");
        assert_eq!(world.write_to(g, 0, &[b'0'; BYTES]), Ok(BYTES as u32));
        world.request(commit()).unwrap();
        world.stepwise = true;
        let handles = [world.fh, g];
        let histories = [(); 2].map(|()| Mutex::new(History::begin(b'0')));
        Self { world, handles, histories, tags: Tags::default() }
    }

    fn write(&self, at: usize) {
        let tag = self.tags.next();
        let start = self.histories[at].lock().unwrap().start();
        let written = self.world.write_to(self.handles[at], 0, &[tag; BYTES]);
        assert_eq!(written, Ok(BYTES as u32));
        self.histories[at].lock().unwrap().wrote(start, tag);
    }

    fn read(&self, at: usize) {
        let start = self.histories[at].lock().unwrap().start();
        let content = self.world.content_of(self.handles[at]);
        self.histories[at].lock().unwrap().read(start, one_byte(&content));
    }

    fn commit(&self) {
        match self.world.request(commit()) {
            Ok(Reply::Commit(result)) => assert!(
                matches!(
                    result,
                    CommitResult::Committed { .. }
                        | CommitResult::Unchanged { .. }
                        | CommitResult::Busy
                ),
                "{result:?}"
            ),
            other => panic!("{other:?}"),
        }
    }

    fn verb(&self) {
        let at = thread_rng().gen_range(0..2);
        match thread_rng().gen_range(0..7) {
            0..=2 => self.write(at),
            3..=5 => self.read(at),
            _ => self.commit(),
        }
    }

    /// What a fresh mount shows is some write, whole; after a last commit it is the content.
    fn end(&self) {
        for at in 0..2 {
            self.read(at);
            let committed = one_byte(&self.world.committed_as(NAMES[at]));
            let history = self.histories[at].lock().unwrap();
            assert!(history.was_written(committed), "{committed} was never written");
            history.check();
        }
        self.commit();
        for at in 0..2 {
            let content = self.world.content_of(self.handles[at]);
            assert_eq!(self.world.committed_as(NAMES[at]), content);
        }
    }
}

/// The byte that a content is made of.
fn one_byte(content: &str) -> u8 {
    let bytes = content.as_bytes();
    assert!(bytes.len() == BYTES && bytes.iter().all(|b| *b == bytes[0]), "torn: {content}");
    bytes[0]
}

fn scenario(memory_bytes: u64) {
    let run = Arc::new(Run::new(memory_bytes));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let run = Arc::clone(&run);
            shuttle::thread::spawn(move || (0..VERBS).for_each(|_| run.verb()))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    run.end();
}

#[test]
fn files_are_linearizable_in_random_schedules() {
    shuttle::check_random(|| scenario(1 << 20), SCHEDULES);
}

#[test]
fn files_are_linearizable_in_schedules_of_few_switches() {
    shuttle::check_pct(|| scenario(1 << 20), SCHEDULES, 3);
}

#[test]
fn files_are_linearizable_with_little_memory() {
    shuttle::check_random(|| scenario(TIGHT_BYTES), SCHEDULES);
}
