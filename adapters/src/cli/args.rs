//! What the command line takes.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

use super::mount_commands::MountCommand;
use super::text::parse_chunk_size;
use crate::store::StoreOptions;

/// A writable file system over snapshots: import a tree, mount it, edit it, commit it.
#[derive(Debug, Parser)]
#[command(name = "vellum", version, max_term_width = 100)]
pub(super) struct Cli {
    /// Say what is being done; twice for more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
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
    #[command(flatten)]
    Mount(MountCommand),
}

impl Command {
    pub(super) fn wants_json(&self) -> bool {
        match self {
            Self::Init(args) => args.json,
            Self::Import(args) => args.json,
            Self::Export(args) => args.json,
            Self::Log(args) => args.json,
            Self::Mount(command) => command.wants_json(),
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
    #[arg(long)]
    pub(super) author: Option<String>,
    /// Print the answer as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) store: StoreOptions,
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
}
