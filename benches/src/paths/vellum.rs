//! The product's write path, driven as its host drives it: a coarse clock, the verb, and where
//! that refuses, the machine's preparation and the verb once more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::time::{ClockId, clock_gettime};
use vellum_core::conc::{Fast, Handover, Shared};
use vellum_core::machine::{Machine, MountSpec, Product};
use vellum_core::shapes::{Caller, Effect, Input, Name, Op, OpenFlags, Reply, WriteFlags};
use vellum_core::words::{Fh, Ino, Limits, Now, Ticket, Time};

use super::{Refused, Shape, WritePath};

/// A mount of an empty branch without a store: files that were never committed need none.
pub(crate) struct Vellum {
    shared: Arc<Shared>,
    machine: Handover<Machine, Input<Product>>,
    next_ticket: AtomicU64,
    handles: Vec<Fh>,
}

impl WritePath for Vellum {
    fn warm(shape: Shape) -> Self {
        let default = Limits::default();
        // The product's block, but for the tiny worlds of tests.
        let block_bytes = default.block_bytes.min(shape.chunk_bytes as u32);
        // So much memory that none of it is asked back: all files take a quarter.
        let files_bytes = (shape.files * shape.file_bytes) as u64;
        let memory_bytes = default.memory_bytes.max(default.reserve_bytes + 4 * files_bytes);
        let limits = Limits { block_bytes, memory_bytes, ..default };
        let shared = Arc::new(Shared::new(limits, false));
        let spec = MountSpec {
            chunk_bytes: 4 << 20,
            read_only: false,
            base: None,
            branch: None,
            owner: (0, 0),
        };
        let machine = Handover::new(Machine::new(spec, Arc::clone(&shared), now()));
        let next_ticket = AtomicU64::new(1);
        let mut path = Self { shared, machine, next_ticket, handles: Vec::new() };
        path.handles = (0..shape.files).map(|file| path.create(file)).collect();
        let zeros = vec![0; block_bytes as usize];
        for file in 0..shape.files {
            for start in (0..shape.file_bytes).step_by(zeros.len()) {
                let len = zeros.len().min(shape.file_bytes - start);
                assert_eq!(path.write(file, start as u64, &zeros[..len]), Ok(len));
            }
        }
        path
    }

    fn write(&self, file: usize, offset: u64, data: &[u8]) -> Result<usize, Refused> {
        let fh = *self.handles.get(file).ok_or(Refused)?;
        let wall = wall();
        let write = || self.shared.try_write(fh, wall, offset, data, WriteFlags::default());
        let why = match write() {
            Fast::Done(written) => return Ok(written as usize),
            Fast::Failed(_) => return Err(Refused),
            Fast::Slow(why) => why,
        };
        let mut owed = Vec::new();
        if !self.machine.with(|machine| machine.prepare(now(), fh, why, &mut owed)) {
            return Err(Refused);
        }
        match write() {
            Fast::Done(written) => Ok(written as usize),
            Fast::Failed(_) | Fast::Slow(_) => Err(Refused),
        }
    }

    fn read(&self, file: usize, offset: u64, into: &mut [u8]) -> Result<(), Refused> {
        let fh = *self.handles.get(file).ok_or(Refused)?;
        let mut bytes = Vec::new();
        match self.shared.try_read(fh, offset, into.len() as u32, &mut bytes) {
            Fast::Done(()) if bytes.len() == into.len() => {
                into.copy_from_slice(&bytes);
                Ok(())
            }
            Fast::Done(()) | Fast::Failed(_) | Fast::Slow(_) => Err(Refused),
        }
    }
}

impl Vellum {
    fn create(&self, file: usize) -> Fh {
        let op = Op::Create {
            parent: Ino::ROOT,
            name: Name::from(file.to_string().into_bytes()),
            mode: 0o644,
            flags: OpenFlags { read: true, write: true, truncate: false },
            caller: Caller::default(),
        };
        let ticket = Ticket(self.next_ticket.fetch_add(1, Ordering::Relaxed));
        let mut opened = None;
        self.machine.submit(
            Input::Request(ticket, op),
            |machine, input| {
                let mut owed = Vec::new();
                machine.step(now(), input, &mut owed);
                owed
            },
            |owed| {
                for effect in owed {
                    if let Effect::Reply(_, Ok(Reply::Created(_, fh))) = effect {
                        opened = Some(fh);
                    }
                }
            },
        );
        opened.expect("the root is in memory, so a file is created without waiting")
    }
}

fn wall() -> Time {
    let at = clock_gettime(ClockId::RealtimeCoarse);
    Time::from_parts(at.tv_sec, u32::try_from(at.tv_nsec).unwrap_or(0))
}

fn now() -> Now {
    Now { mono_ns: 0, wall: wall() }
}
