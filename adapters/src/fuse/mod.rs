//! The FUSE adapter: turns kernel requests into fast verbs and operations of the core.
//!
//! Architecture invariant: no handler blocks. A request that has to wait is parked with its
//! reply, and the one event-loop thread goes on.

mod adapter;
mod convert;
mod filesystem;
mod replies;
mod session;

pub use session::{Mounted, OpenMode, Options, mount};
