//! The commands that mount, and that steer what is mounted.

use clap::Subcommand;

use super::{CliError, Exit};
use crate::mount::{
    CommitArgs, DiffArgs, MountArgs, StatusArgs, UmountArgs, run_commit, run_diff, run_mount,
    run_status, run_umount,
};

/// Commands of the mount.
#[derive(Debug, Subcommand)]
pub(super) enum MountCommand {
    /// Mount a branch, or a snapshot, at an empty directory
    Mount(Box<MountArgs>),
    /// Show what is uncommitted in a mount, in figures
    Status(StatusArgs),
    /// List what is uncommitted in a mount, and what a commit would send
    Diff(DiffArgs),
    /// Publish what is uncommitted in a mount as one new snapshot
    Commit(CommitArgs),
    /// Unmount; refuses while anything is uncommitted
    Umount(UmountArgs),
}

impl MountCommand {
    pub(super) fn wants_json(&self) -> bool {
        match self {
            Self::Mount(args) => args.json,
            Self::Status(args) => args.json,
            Self::Diff(args) => args.json,
            Self::Commit(args) => args.json,
            Self::Umount(args) => args.json,
        }
    }

    pub(super) fn run(self) -> Result<Exit, CliError> {
        match self {
            Self::Mount(args) => run_mount(*args),
            Self::Status(args) => run_status(args),
            Self::Diff(args) => run_diff(args),
            Self::Commit(args) => run_commit(args),
            Self::Umount(args) => run_umount(args),
        }
    }
}
