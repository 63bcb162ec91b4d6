//! Mounting, and steering what is mounted: `mount`, `status`, `diff`, `stats`, `commit`,
//! `umount`.
//!
//! `mount` starts a daemon, which is this program again; the other commands ask it over its
//! control socket.

mod args;
mod background;
mod commands;
mod commit;
mod control;
mod daemon;
mod interrupt;
mod metrics;
mod notify;
mod open;
mod point;
mod stats;
mod table;
mod unmount;

pub use args::{CommitArgs, DiffArgs, MountArgs, ProgressKind, StatsArgs, StatusArgs, UmountArgs};
pub(crate) use commands::{repository_of, source_of};
pub use commands::{run_diff, run_mount, run_status, run_umount};
pub use commit::run_commit;
pub use stats::run_stats;
