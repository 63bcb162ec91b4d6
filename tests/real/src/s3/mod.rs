//! S3 servers on this machine, for tests.
//!
//! [`StrictServer`] runs in the test's own process and is stricter than the real one: identities
//! are opaque and never come back, what it does not know it refuses, and faults are arranged on a
//! handle while it runs. [`Moto`] is somebody else's server, so that we are not only tested against
//! what we believe S3 to be. [`FaultProxy`] stands before either of them and breaks what passes.

mod access;
mod child;
mod faults;
mod moto;
mod proxy;
mod server;
mod service;
mod state;
mod sums;

pub use access::{BUCKET, Credential, OWNER, OWNER_KEYS, READER_KEYS, WRITER_KEYS};
pub use faults::{Arranged, Fault, Mode};
pub use moto::Moto;
pub use proxy::FaultProxy;
pub use server::StrictServer;
pub use state::{Hooks, Tampering};
