//! The `vellum` command line.

mod exit;

use std::process::ExitCode;

pub use exit::{CliError, Exit};

/// Runs the command line of this process and answers how it exits.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::from(Exit::Ok.code())
}
