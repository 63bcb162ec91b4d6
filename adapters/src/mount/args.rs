//! Arguments of the mount commands.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum};

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
    #[arg(long, value_name = "SIZE", value_parser = parse_size, env = "VELLUM_MEMORY")]
    pub memory: Option<u64>,
    /// Let other users in, with the rights that the files give them
    #[arg(long, env = "VELLUM_ALLOW_OTHER", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_value = "false")]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    pub allow_other: bool,
    /// Serve files opened for writing through the page cache: faster re-reading through the
    /// writing handle, slower writing
    #[arg(long, env = "VELLUM_CACHED_WRITES", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_value = "false")]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    pub cached_writes: bool,
    /// Serve figures for Prometheus at http://ADDRESS/metrics, such as 127.0.0.1:9464, to whoever
    /// can reach it
    #[arg(long, value_name = "ADDRESS", env = "VELLUM_METRICS")]
    pub metrics: Option<SocketAddr>,
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
    #[arg(long, short, required_unless_present = "dry_run")]
    pub message: Option<String>,
    /// Who made it [default: USER@HOST]
    #[arg(long, env = "VELLUM_AUTHOR")]
    pub author: Option<String>,
    /// Say what would be published, and publish nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Succeed when there is nothing to commit, in place of exit code 1
    #[arg(long)]
    pub if_changed: bool,
    /// Say on standard error how far it is [default: text on a terminal, else none]
    #[arg(long, value_name = "HOW")]
    pub progress: Option<ProgressKind>,
    /// After publishing, read back every object that was put, and compare it with its name
    #[arg(long, conflicts_with = "dry_run")]
    pub verify: bool,
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `vellum discard`.
#[derive(Args, Clone, Debug)]
pub struct DiscardArgs {
    /// Mount point, or a path in the mount
    #[arg(value_name = "MNT")]
    pub mount_point: PathBuf,
    /// What to take back, as paths from the root of the mount or full ones; directories with all
    /// that is in them [default: everything]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Take everything back without a question
    #[arg(long, short)]
    pub yes: bool,
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `vellum restore`.
#[derive(Args, Clone, Debug)]
pub struct RestoreArgs {
    /// Mount point, or a path in the mount
    #[arg(value_name = "MNT")]
    pub mount_point: PathBuf,
    /// What to restore, as paths from the root of the mount or full ones; directories with all
    /// that the snapshot has in them
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// A branch, a tag, or a snapshot by four digits or more [default: the one that is mounted]
    #[arg(long, value_name = "REF")]
    pub from: Option<String>,
    /// Remove what the snapshot lacks
    #[arg(long)]
    pub delete: bool,
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// How a command says how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProgressKind {
    /// A JSON object in a line, for each event
    Json,
    /// A line that is redrawn on a terminal; elsewhere a line for each phase
    Text,
    /// Not at all
    None,
}

/// Arguments of `vellum stats`.
#[derive(Args, Clone, Debug)]
pub struct StatsArgs {
    /// Mount point, or a path in the mount
    #[arg(value_name = "MNT")]
    pub mount_point: PathBuf,
    /// Go on, with the figures of each time of this many seconds: redrawn on a terminal, else a
    /// line for each
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2")]
    #[arg(value_parser = parse_seconds)]
    pub watch: Option<Duration>,
    /// Print the figures as JSON, an object in a line
    #[arg(long)]
    pub json: bool,
}

/// A time of 0.1 to 86,400 seconds.
fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "give a number of seconds".to_owned())?;
    let range = 0.1..=86_400.0;
    if !range.contains(&seconds) {
        return Err("give 0.1 to 86400 seconds".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
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
    #[arg(long, env = "VELLUM_AUTHOR")]
    pub author: Option<String>,
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
}
