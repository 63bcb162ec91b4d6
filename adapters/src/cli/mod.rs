//! The `vellum` command line.

mod args;
mod config;
mod doctor_command;
mod exit;
mod log;
mod mount_commands;
mod output;
mod own_commands;
mod prefetch_command;
mod progress;
mod ref_commands;
mod repo_commands;
mod running;
mod sim;
mod text;
mod tree_commands;
mod verify_command;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

pub(crate) use exit::no_branch;
pub use exit::{CliError, Exit};
pub(crate) use log::{event, is_json, note, report};
pub(crate) use progress::spinner;
pub use text::author;
pub(crate) use text::{count, number, parse_size, quoted, size, time};

use args::Command;
use config::Unread;
use log::LogFormat;

/// Runs the command line of this process and answers how it exits.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    let cli = match config::parse(arguments.clone()) {
        Ok(cli) => cli,
        Err(unread) => {
            log::choose(format_of(&arguments));
            let error = match unread {
                Unread::File(error) => error,
                Unread::Arguments(error) if error.use_stderr() && (json || is_json()) => {
                    usage(&error)
                }
                Unread::Arguments(error) => {
                    // Help and version too; a closed pipe is nobody's error.
                    let _ = error.print();
                    let code = u8::try_from(error.exit_code());
                    return ExitCode::from(code.unwrap_or(Exit::Usage.code()));
                }
            };
            report(&error, json);
            return ExitCode::from(error.exit.code());
        }
    };
    log::start(cli.verbose, cli.log_format);
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

/// The format that a command line asks for which can't be read as a whole.
fn format_of(arguments: &[OsString]) -> LogFormat {
    let asks = |pair: &[OsString]| pair[0] == "--log-format" && pair[1] == "json";
    let asked = arguments.windows(2).any(asks)
        || arguments.iter().any(|argument| argument == "--log-format=json")
        || std::env::var_os("VELLUM_LOG_FORMAT").is_some_and(|format| format == "json");
    if asked { LogFormat::Json } else { LogFormat::Text }
}

/// A command line that can't be read, in the shape of every other error.
fn usage(error: &clap::Error) -> CliError {
    let text = error.render().to_string();
    let (what, remedy) = text.split_once("\n\n").unwrap_or((&text, ""));
    let what = what.strip_prefix("error: ").unwrap_or(what);
    CliError::new(Exit::Usage, what.trim(), remedy.trim())
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
        Command::Config(args) => config::show::config(args),
        Command::Doctor(args) => doctor_command::doctor(*args),
        Command::Prefetch(args) => prefetch_command::prefetch(args),
        Command::Sim(args) => sim::sim(args),
        Command::Completions(args) => own_commands::completions(args),
        Command::Man(args) => own_commands::man(args),
    }
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
