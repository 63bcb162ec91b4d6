//! The `vellum` command line.

mod args;
mod exit;
mod mount_commands;
mod output;
mod own_commands;
mod prefetch_command;
mod progress;
mod ref_commands;
mod repo_commands;
mod running;
mod text;
mod tree_commands;
mod verify_command;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub use exit::{CliError, Exit};
pub use text::author;
pub(crate) use text::{count, number, parse_size, quoted, size, time};

use args::{Cli, Command};

/// Runs the command line of this process and answers how it exits.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            if error.use_stderr() && std::env::args_os().any(|arg| arg == "--json") {
                report(&usage(&error), true);
            } else {
                // Help and version too; a closed pipe is nobody's error.
                let _ = error.print();
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage.code()));
        }
    };
    start_log(cli.verbose);
    let json = cli.command.wants_json();
    let exit = match run(cli.command) {
        Ok(exit) => exit,
        Err(error) => {
            report(&error, json);
            error.exit
        }
    };
    ExitCode::from(exit.code())
}

/// A command line that can't be read, in the shape of every other error.
fn usage(error: &clap::Error) -> CliError {
    let text = error.render().to_string();
    let (what, remedy) = text.split_once("\n\n").unwrap_or((&text, ""));
    let what = what.strip_prefix("error: ").unwrap_or(what);
    CliError::new(Exit::Usage, what.trim(), remedy.trim())
}

/// Says on standard error what went wrong.
pub(crate) fn report(error: &CliError, json: bool) {
    let text = if json { error.json().to_string() } else { error.to_string() };
    let _ = writeln!(io::stderr(), "{text}");
}

fn run(command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Init(args) => repo_commands::init(args),
        Command::Import(args) => repo_commands::import(args),
        Command::Export(args) => repo_commands::export(args),
        Command::Log(args) => repo_commands::log(args),
        Command::Ls(args) => tree_commands::ls(args),
        Command::Cat(args) => tree_commands::cat(args),
        Command::Branch(args) => ref_commands::branch(args),
        Command::Tag(args) => ref_commands::tag(args),
        Command::Verify(args) => verify_command::verify(args),
        Command::Mount(command) => command.run(),
        Command::Prefetch(args) => prefetch_command::prefetch(args),
        Command::Completions(args) => own_commands::completions(args),
        Command::Man(args) => own_commands::man(args),
    }
}

/// Warnings go to standard error; with `--verbose` also what is being done.
fn start_log(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    // What libraries log may hold signatures and tokens: only our own words are let through.
    let ours = Targets::new().with_target("vellum", level).with_target("vellum_core", level);
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .with_target(false);
    // It fails if there is a log already, which is then as good.
    let _ = tracing_subscriber::registry().with(lines.with_filter(ours)).try_init();
}

/// Prints a JSON value to standard output, in a line.
fn print_json(value: &serde_json::Value) -> Result<(), CliError> {
    print(&format!("{value}\n"))
}

/// Prints to standard output. A reader that has gone away has seen what it wanted.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(not_printed(&error)),
    }
}

fn not_printed(error: &io::Error) -> CliError {
    CliError::new(
        Exit::Usage,
        format!("can't write to standard output: {error}"),
        "check where it goes to",
    )
}
