//! Deterministic worlds for the core: one thread, virtual time, a simulated store, and every
//! decision from one seed. The same seed gives the same run, event for event.
#![forbid(unsafe_code)]

pub mod choice;
pub mod disk;
pub mod mount;
pub mod play;
pub mod sites;
pub mod store;
pub mod world;
