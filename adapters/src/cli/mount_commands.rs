//! The commands that mount, and that steer what is mounted.

use clap::Subcommand;

use super::{CliError, Exit};
use crate::mount::{
    CommitArgs, DiffArgs, DiscardArgs, MountArgs, RestoreArgs, StatsArgs, StatusArgs, UmountArgs,
    run_commit, run_diff, run_discard, run_mount, run_restore, run_stats, run_status, run_umount,
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
    /// Show what a mount does, and how long that takes
    ///
    /// Figures are those since the mount began; with --watch those of each time between two
    /// looks. Times are known to within a fifth.
    Stats(StatsArgs),
    /// Publish what is uncommitted in a mount as one new snapshot
    Commit(CommitArgs),
    /// Take uncommitted changes back
    ///
    /// The mount, or the paths, show again what the snapshot has that is mounted: what was changed,
    /// removed, made or moved. Without PATH that is one step. Nothing is loaded for it. A
    /// commit that is under way is waited for.
    Discard(DiscardArgs),
    /// Make paths in a mount what they are in a snapshot
    ///
    /// Content, owners, modes, times, extended attributes, links. No data is loaded or sent for
    /// it: the next commit names what the repository has. It is an uncommitted change
    /// like any other. A commit that is under way is waited for.
    Restore(RestoreArgs),
    /// Unmount; refuses while anything is uncommitted
    Umount(UmountArgs),
}

impl MountCommand {
    pub(super) fn wants_json(&self) -> bool {
        match self {
            Self::Mount(args) => args.json,
            Self::Status(args) => args.json,
            Self::Diff(args) => args.json,
            Self::Stats(args) => args.json,
            Self::Commit(args) => args.json,
            Self::Discard(args) => args.json,
            Self::Restore(args) => args.json,
            Self::Umount(args) => args.json,
        }
    }

    pub(super) fn run(self) -> Result<Exit, CliError> {
        match self {
            Self::Mount(args) => run_mount(*args),
            Self::Status(args) => run_status(args),
            Self::Diff(args) => run_diff(args),
            Self::Stats(args) => run_stats(args),
            Self::Commit(args) => run_commit(args),
            Self::Discard(args) => run_discard(args),
            Self::Restore(args) => run_restore(args),
            Self::Umount(args) => run_umount(args),
        }
    }
}
