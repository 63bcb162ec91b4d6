//! Mounting, and steering what is mounted: `mount`, `status`, `diff`, `stats`, `commit`,
//! `discard`, `restore`, `umount`.
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
mod takeback;
mod unmount;

pub use args::{
    CommitArgs, DiffArgs, DiscardArgs, MountArgs, ProgressKind, RestoreArgs, StatsArgs, StatusArgs,
    UmountArgs,
};
pub(crate) use commands::{repository_of, source_of};
pub use commands::{run_diff, run_mount, run_status, run_umount};
pub use commit::run_commit;
pub(crate) use control::place::directory as runtime_dir;
pub use stats::run_stats;
pub use takeback::{run_discard, run_restore};
