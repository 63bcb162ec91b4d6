//! The adapters of Vellum: the command line, FUSE, the effect driver and the stores.
//!
//! Everything here performs what `vellum-core` decides. [`store`] answers store requests,
//! [`repo`] reads and writes whole repositories without a mount (init, import, export, log),
//! [`host`] drives the core's machine, [`fuse`] connects it to the kernel, [`mount`] is the daemon
//! of a mount and the commands that steer it, and [`cli`] is the `vellum` command.

pub mod cli;
mod doctor;
mod figures;
pub mod fuse;
pub mod host;
pub mod mount;
pub mod repo;
pub mod store;
