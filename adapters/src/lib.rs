//! The adapters of Vellum: the command line, FUSE, the effect driver and the stores.
//!
//! Everything here performs what `vellum-core` decides. [`store`] answers store requests,
//! [`repo`] reads and writes whole repositories without a mount (init, import, export, log), and
//! [`cli`] is the `vellum` command.

pub mod cli;
pub mod repo;
pub mod store;
