//! Mounting, and steering what is mounted: `mount`, `status`, `diff`, `commit`, `umount`.
//!
//! `mount` starts a daemon, which is this program again; the other commands ask it over its
//! control socket.

mod args;
mod background;
mod commands;
mod control;
mod daemon;
mod interrupt;
mod open;
mod point;
mod table;
mod unmount;

pub use args::{CommitArgs, DiffArgs, MountArgs, StatusArgs, UmountArgs};
pub(crate) use commands::repository_of;
pub use commands::{run_commit, run_diff, run_mount, run_status, run_umount};
