//! The commands that mount, and that steer what is mounted.

use clap::Subcommand;

use super::{CliError, Exit};

/// Commands of the mount.
#[derive(Debug, Subcommand)]
pub(super) enum MountCommand {}

impl MountCommand {
    pub(super) fn wants_json(&self) -> bool {
        match *self {}
    }

    pub(super) fn run(self) -> Result<Exit, CliError> {
        match self {}
    }
}
