//! The only door to locks, atomics and shared maps.
//!
//! Back ends with one interface: production (parking_lot, dashmap with a fixed hasher and
//! shard count), loom (`--cfg core_loom`) and shuttle (`--cfg core_shuttle`). Everything is offered
//! as closures or clones: no guard ever leaves this module, so none can be held across a call out.
//!
//! `Arc` is the standard one in every back end: it carries bytes and files from one owner to the
//! next, and its count decides only between reusing a buffer and copying it.

pub use std::sync::Arc;

#[cfg(any(core_loom, core_shuttle))]
mod checked;
#[cfg(any(core_loom, core_shuttle))]
use self::checked as backend;

#[cfg(not(any(core_loom, core_shuttle)))]
mod production;
#[cfg(not(any(core_loom, core_shuttle)))]
use self::production as backend;

pub use backend::{AtomicU64, Mutex, RwLock, ShardMap};

/// Shards of a [`ShardMap`]: fixed, so that behaviour does not depend on the machine.
#[cfg(not(any(core_loom, core_shuttle)))]
const SHARDS: usize = 64;
