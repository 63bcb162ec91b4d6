//! Arguments of the mount commands.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use crate::cli::parse_size;
use crate::store::{CacheOptions, StoreOptions};

/// Arguments of `vellum mount`.
#[derive(Args, Clone, Debug)]
pub struct MountArgs {
    /// Repository, and what of it to mount: REPO, REPO@BRANCH, REPO@REF or REPO@SNAPSHOT
    #[arg(value_name = "REPO[@REF]")]
    pub repository: OsString,
    /// Empty directory to mount at
    #[arg(value_name = "MNT")]
    pub mount_point: PathBuf,
    /// Stay in the foreground; Ctrl-C unmounts once nothing is uncommitted
    #[arg(long, short = 'f')]
    pub foreground: bool,
    /// Refuse every change
    #[arg(long, short = 'r')]
    pub read_only: bool,
    /// Memory for file data, such as 512M or 4G; writes past it get "no space left"
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub memory: Option<u64>,
    /// Let other users in, with the rights that the files give them
    #[arg(long)]
    pub allow_other: bool,
    /// Serve files opened for writing through the page cache: faster re-reading through the
    /// writing handle, slower writing
    #[arg(long)]
    pub cached_writes: bool,
    /// Ask nothing of the bucket: mount what was last seen of it, read-only, as far as it is
    /// cached
    #[arg(long)]
    pub offline: bool,
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
    /// How a bucket is reached
    #[command(flatten)]
    pub store: StoreOptions,
    /// What is kept on disk of what was read
    #[command(flatten)]
    pub cache: CacheOptions,
}

/// Arguments of `vellum status`.
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    /// Mount point, or a path in the mount
    #[arg(value_name = "MNT")]
    pub mount_point: PathBuf,
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `vellum diff`.
#[derive(Args, Clone, Debug)]
pub struct DiffArgs {
    /// Mount point, or a path in the mount
    #[arg(value_name = "MNT")]
    pub mount_point: PathBuf,
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `vellum commit`.
#[derive(Args, Clone, Debug)]
pub struct CommitArgs {
    /// Mount point, or a path in the mount
    #[arg(value_name = "MNT")]
    pub mount_point: PathBuf,
    /// What the commit is about
    #[arg(long, short)]
    pub message: String,
    /// Who made it [default: USER@HOST]
    #[arg(long)]
    pub author: Option<String>,
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `vellum umount`.
#[derive(Args, Clone, Debug)]
pub struct UmountArgs {
    /// Mount point
    #[arg(value_name = "MNT")]
    pub mount_point: PathBuf,
    /// Commit what is uncommitted first
    #[arg(long, conflicts_with = "discard")]
    pub commit: bool,
    /// Drop what is uncommitted
    #[arg(long)]
    pub discard: bool,
    /// What the commit is about
    #[arg(long, short, requires = "commit", default_value = "Commit on unmounting")]
    pub message: String,
    /// Who made the commit [default: USER@HOST]
    #[arg(long, requires = "commit")]
    pub author: Option<String>,
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
}
