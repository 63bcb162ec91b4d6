//! What the command line takes.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

use super::config::show::ConfigArgs;
use super::doctor_command::DoctorArgs;
use super::log::LogFormat;
use super::mount_commands::MountCommand;
use super::own_commands::{CompletionsArgs, ManArgs};
use super::prefetch_command::PrefetchArgs;
use super::ref_commands::{BranchArgs, TagArgs};
use super::sim::SimArgs;
use super::text::parse_chunk_size;
use super::tree_commands::{CatArgs, LsArgs};
use super::verify_command::VerifyArgs;
use crate::store::{CacheOptions, StoreOptions};

/// A writable file system over snapshots: import a tree, mount it, edit it, commit it.
#[derive(Debug, Parser)]
#[command(name = "vellum", version, max_term_width = 100)]
pub(super) struct Cli {
    /// Say what is being done; twice for more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
    /// How lines on standard error are written, and those of a daemon's log
    #[arg(long, global = true, value_enum, value_name = "FORMAT", env = "VELLUM_LOG_FORMAT")]
    #[arg(default_value = "text")]
    pub(super) log_format: LogFormat,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a repository
    Init(InitArgs),
    /// Make the next snapshot of a branch out of a directory
    Import(ImportArgs),
    /// Write a snapshot, or a path of it, to a directory
    Export(ExportArgs),
    /// List the snapshots of a branch, newest first
    Log(LogArgs),
    /// List a directory of a snapshot
    ///
    /// Names are listed one per line, in the order of their bytes. On a terminal a name with
    /// control characters, or that is not valid text, is shown as a shell would read it: $'a\nb'.
    /// Elsewhere names are written as they are, byte by byte.
    Ls(LsArgs),
    /// Write files of a snapshot to standard output
    ///
    /// Every byte is verified before it is written. Holes are written as zeros.
    Cat(CatArgs),
    /// List branches, or make or remove one
    ///
    /// Without NAME, the branches are listed: name, how often each was moved, its snapshot, when
    /// that was made, and the first line of its message. With NAME, a branch of that name is made;
    /// one that exists is refused, unless it has no snapshot yet.
    Branch(BranchArgs),
    /// List tags, or make or remove one
    ///
    /// Without NAME, the tags are listed: name, how often each was moved, its snapshot, when that
    /// was made, and the first line of its message. With NAME, a tag of that name is made. A tag
    /// never moves: remove it and make it anew if it has to.
    Tag(TagArgs),
    /// Check that every object that is needed is there and as it must be
    ///
    /// Every snapshot, every node of a tree and every data object that refs reach, parents of
    /// snapshots included, is read once and compared with its name. Packs of small files are read
    /// whole. What is wrong is listed with some of the paths that need it, and nothing is changed.
    Verify(VerifyArgs),
    #[command(flatten)]
    Mount(MountCommand),
    /// Show what options are set to, and where
    Config(ConfigArgs),
    /// Load a part of a mount into the cache on disk
    ///
    /// The directories and the data of these paths, as they are in the snapshot that the mount
    /// shows, are fetched as far as they are not in the cache, and verified. What is uncommitted
    /// is not looked at.
    Prefetch(PrefetchArgs),
    /// Look for what is in the way of mounting and committing, and say what to do about it
    ///
    /// Without an argument this host is looked at: kernel, FUSE, directories, limits. With a
    /// repository or a mount, the way to it too: credentials, rights, clocks, conditions of writes,
    /// times, refs. Small objects are written below probes/ for that, and removed. Exits as the
    /// first check that failed.
    Doctor(Box<DoctorArgs>),
    /// Play mounts in a simulated world, where everything goes wrong, and see that nothing is lost
    Sim(SimArgs),
    /// Print what a shell needs to complete the arguments of this program
    Completions(CompletionsArgs),
    /// Print the manual page of this program, or write those of all commands
    Man(ManArgs),
}

impl Command {
    pub(super) fn wants_json(&self) -> bool {
        match self {
            Self::Init(args) => args.json,
            Self::Import(args) => args.json,
            Self::Export(args) => args.json,
            Self::Log(args) => args.json,
            Self::Ls(args) => args.json,
            Self::Branch(args) => args.json,
            Self::Tag(args) => args.json,
            Self::Verify(args) => args.json,
            Self::Config(args) => args.wants_json(),
            Self::Cat(_) | Self::Completions(_) | Self::Man(_) => false,
            Self::Mount(command) => command.wants_json(),
            Self::Prefetch(args) => args.json,
            Self::Doctor(args) => args.json,
            Self::Sim(args) => args.wants_json(),
        }
    }
}

#[derive(Args, Debug)]
pub(super) struct InitArgs {
    /// Where to make it: an empty directory, or one that is made, or s3://BUCKET/PREFIX
    #[arg(value_name = "REPO")]
    pub(super) repo: PathBuf,
    /// Size of the chunks of big files: a power of two from 64K to 16M
    #[arg(long, value_name = "SIZE", value_parser = parse_chunk_size, default_value = "4M")]
    pub(super) chunk_size: u32,
    /// Take a store that ignores conditional writes: only one mount or import at a time may ever
    /// write to the repository, and nothing notices if two do
    #[arg(long)]
    pub(super) single_writer: bool,
    /// Print the answer as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) store: StoreOptions,
}

#[derive(Args, Debug)]
pub(super) struct ImportArgs {
    /// Directory to import
    #[arg(value_name = "DIR")]
    pub(super) source: PathBuf,
    /// Repository, and the branch that gets the snapshot (made if there is none)
    #[arg(value_name = "REPO[@BRANCH]")]
    pub(super) repo: OsString,
    /// What the snapshot is about [default: Import of DIR]
    #[arg(short, long)]
    pub(super) message: Option<String>,
    /// Who made it [default: USER@HOST]
    #[arg(long, env = "VELLUM_AUTHOR")]
    pub(super) author: Option<String>,
    /// Read back what the repository has already under the name of what is sent, and replace it
    /// if it is damaged: its checksum is not enough then
    #[arg(long)]
    pub(super) read_back: bool,
    /// Print the answer as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) store: StoreOptions,
    #[command(flatten)]
    pub(super) cache: CacheOptions,
}

#[derive(Args, Debug)]
#[command(override_usage = "vellum export [OPTIONS] <REPO[@REF]> [PATH] <DIR>")]
pub(super) struct ExportArgs {
    /// Repository, and what of it: a branch, a tag, or a snapshot by four digits or more
    #[arg(value_name = "REPO[@REF]")]
    pub(super) repo: OsString,
    /// Path in the snapshot, if not all of it, and the directory to write to: empty, or made
    #[arg(value_name = "[PATH] DIR", num_args = 1..=2, required = true)]
    pub(super) paths: Vec<PathBuf>,
    /// Print the answer as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) store: StoreOptions,
    #[command(flatten)]
    pub(super) cache: CacheOptions,
}

#[derive(Args, Debug)]
pub(super) struct LogArgs {
    /// Repository, and what of it: a branch, a tag, or a snapshot by four digits or more
    #[arg(value_name = "REPO[@REF]")]
    pub(super) repo: OsString,
    /// List at most so many
    #[arg(short = 'n', long, value_name = "N")]
    pub(super) max: Option<usize>,
    /// Print the answer as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) store: StoreOptions,
    #[command(flatten)]
    pub(super) cache: CacheOptions,
}
