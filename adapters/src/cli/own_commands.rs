//! The commands about the program itself: completions and manual pages.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::args::Cli;
use super::{CliError, Exit, print};
use crate::repo::RepoError;

#[derive(Args, Debug)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Args, Debug)]
pub(super) struct ManArgs {
    /// Directory to write the pages of all commands to; it is made if there is none
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn completions(args: CompletionsArgs) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "vellum", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}

pub(super) fn man(args: ManArgs) -> Result<Exit, CliError> {
    // The pages of commands name the other pages; there is none of `help`.
    let command = Cli::command().disable_help_subcommand(true);
    match args.dir {
        None => {
            let mut page = Vec::new();
            let failed = |error| not_written("write", Path::new("vellum.1"), error);
            Man::new(command).render(&mut page).map_err(failed)?;
            print(&String::from_utf8_lossy(&page))?;
        }
        Some(dir) => {
            let made = std::fs::create_dir_all(&dir);
            made.map_err(|error| not_written("create", &dir, error))?;
            let written = clap_mangen::generate_to(command, &dir);
            written.map_err(|error| not_written("write to", &dir, error))?;
        }
    }
    Ok(Exit::Ok)
}

fn not_written(doing: &'static str, path: &Path, error: io::Error) -> CliError {
    RepoError::Local { doing, path: path.to_path_buf(), error }.into()
}
