//! What goes into the machine and what comes out of it.

use super::request::{Op, Reply};
use super::store::{StoreOutcome, StoreRequest};
use crate::words::{EffectId, Errno, Ino, Ticket, TimerId};

/// One input to the machine.
#[derive(Debug)]
pub enum Input<D> {
    /// A request that gets exactly one reply.
    Request(Ticket, Op),
    /// An effect ended. Each effect with an id ends exactly once.
    Completed(EffectId, Outcome<D>),
    /// An armed timer is due.
    Timer(TimerId),
}

/// How an effect ended. `D` is what a compute job makes.
#[derive(Debug)]
pub enum Outcome<D> {
    /// A store request.
    Store(StoreOutcome),
    /// A compute job.
    Computed(D),
}

/// One effect the driver owes. `J` is a compute job: pure work, run off the machine's lock.
#[derive(Debug)]
pub enum Effect<J> {
    /// Send this request to the store; complete with its outcome.
    Store(EffectId, StoreRequest),
    /// Run this job; complete with what it makes.
    Compute(EffectId, J),
    /// Send `Input::Timer` at or after this point of the monotonic clock, in nanoseconds.
    Arm(TimerId, u64),
    /// Answer a request.
    Reply(Ticket, Result<Reply, Errno>),
    /// Ask the kernel to drop what it caches of this inode's data, from a thread of its own.
    InvalidateInode(Ino),
    /// Ask the kernel to drop a name it caches.
    InvalidateName(Ino, super::request::Name),
    /// Tell the operator, once: a damaged or missing object, by its key.
    Report(String),
}

/// Where a step puts its effects, in order.
pub type Effects<J> = Vec<Effect<J>>;
