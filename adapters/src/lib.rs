//! The adapters of Vellum: command line, FUSE, effect driver and stores.

pub mod cli;
pub mod fuse;
pub mod host;
pub mod mount;
pub mod store;
