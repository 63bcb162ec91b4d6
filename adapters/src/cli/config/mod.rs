//! Settings from files: what flags and the environment do not say.
//!
//! `/etc/vellum/config.toml`, then `$XDG_CONFIG_HOME/vellum/config.toml`. A key in a section
//! `[repository."PREFIX"]` counts for repositories at or below that prefix: the longest prefix that
//! has the key wins, then a key outside of sections, each time in the later file first.
//!
//! The settings become default values of the command line's own arguments, so what an argument
//! takes, and that flags and the environment go before, is said in one place.

mod file;
mod options;
pub(super) mod show;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};

use super::CliError;
use super::args::Cli;
use crate::repo::Address;
use file::{Setting, Unreadable};

/// The file of the host.
const SYSTEM: &str = "/etc/vellum/config.toml";

/// Names another file in its place, for tests and for hosts where that can't be written.
const SYSTEM_OVERRIDE: &str = "VELLUM_SYSTEM_CONFIG";

/// Commands that need no settings.
const WITHOUT: [&str; 3] = ["completions", "man", "sim"];

/// Commands that are to work whatever is in the files: who has edits in a mount must get at them.
const WHATEVER: [&str; 5] = ["diff", "discard", "stats", "status", "umount"];

/// Commands about a mount that take an option of its repository: the author.
const OF_MOUNTS: [&str; 2] = ["commit", "umount"];

/// Why the command line could not be read.
pub(super) enum Unread {
    /// It is wrong, or asks for help.
    Arguments(clap::Error),
    /// A file is wrong.
    File(CliError),
}

impl From<clap::Error> for Unread {
    fn from(error: clap::Error) -> Self {
        Self::Arguments(error)
    }
}

/// Reads the command line, with what the files say of what it leaves out.
pub(super) fn parse(arguments: Vec<OsString>) -> Result<Cli, Unread> {
    let matches = Cli::command().try_get_matches_from(&arguments)?;
    if matches.subcommand_name().is_none_or(|name| WITHOUT.contains(&name)) {
        return Ok(Cli::from_arg_matches(&matches)?);
    }
    let settings = match settings() {
        Err(_) if is_without_need(&matches) => Vec::new(),
        settings => settings.map_err(Unread::File)?,
    };
    let repository = repository(&matches).or_else(|| mounted(&matches, &settings));
    let chosen = chosen(&settings, repository.as_deref());
    if chosen.is_empty() {
        return Ok(Cli::from_arg_matches(&matches)?);
    }
    let matches = with_defaults(Cli::command(), &chosen).try_get_matches_from(&arguments)?;
    Ok(Cli::from_arg_matches(&matches)?)
}

/// Whether a command does its work without anything from the files. A commit has an author.
fn is_without_need(matches: &ArgMatches) -> bool {
    matches.subcommand().is_some_and(|(name, arguments)| {
        WHATEVER.contains(&name) && !(name == "umount" && arguments.get_flag("commit"))
    })
}

/// What is in the files, in their order.
fn settings() -> Result<Vec<Setting>, CliError> {
    let mut settings = Vec::new();
    let (system, own) = paths();
    settings.extend(file::read(&system, Unreadable::Refused)?);
    if let Some(own) = own {
        // HOME may be that of another user, who was left by `su` or a service.
        settings.extend(file::read(&own, Unreadable::PassedOver)?);
    }
    Ok(settings)
}

/// The host's file and the user's.
fn paths() -> (PathBuf, Option<PathBuf>) {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let system = named(SYSTEM_OVERRIDE).map_or_else(|| PathBuf::from(SYSTEM), PathBuf::from);
    // The specification of these folders says that a relative one is to be passed over.
    let own = named("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let own = own.or_else(|| Some(PathBuf::from(named("HOME")?).join(".config")));
    (system, own.map(|folder| folder.join("vellum/config.toml")))
}

/// The repository that a command is about, as sections name it.
fn repository(matches: &ArgMatches) -> Option<String> {
    let mut at = matches;
    while let Some((_, sub)) = at.subcommand() {
        at = sub;
    }
    let given = ["repo", "repository"].into_iter().find_map(|id| {
        // A command may have no such argument.
        at.try_get_raw(id).ok()??.next().map(OsStr::to_owned)
    })?;
    Some(place(&given))
}

/// The repository of the mount that a command publishes from, if any section may speak of it.
fn mounted(matches: &ArgMatches, settings: &[Setting]) -> Option<String> {
    let (name, matches) = matches.subcommand()?;
    let has_sections = settings.iter().any(|setting| setting.section.is_some());
    if !has_sections || !OF_MOUNTS.contains(&name) {
        return None;
    }
    let point = matches.try_get_raw("mount_point").ok()??.next()?;
    // If nothing answers there, the command will say so.
    let source = crate::mount::source_of(Path::new(point))?;
    Some(place(OsStr::new(&source)))
}

/// A repository as sections name it: its URL, or its path from the root.
fn place(given: &OsStr) -> String {
    let repo = Address::parse(given).repo;
    let text = if crate::store::url_parts(repo.as_os_str()).is_some() {
        repo
    } else {
        std::path::absolute(&repo).unwrap_or(repo)
    };
    text.to_string_lossy().trim_end_matches('/').to_owned()
}

/// The setting that counts for each option that has one.
fn chosen<'a>(settings: &'a [Setting], repository: Option<&str>) -> Vec<&'a Setting> {
    let counts = |setting: &&Setting| match (&setting.section, repository) {
        (None, _) => true,
        (Some(prefix), Some(repository)) => is_below(repository, prefix),
        (Some(_), None) => false,
    };
    let of_option = |key: &str| {
        let those = settings.iter().filter(counts).filter(|setting| setting.option.key == key);
        // Of equal ones the last: that of the later file.
        those.max_by_key(|setting| setting.section.as_ref().map(String::len))
    };
    options::OPTIONS.iter().filter_map(|option| of_option(option.key)).collect()
}

fn is_below(repository: &str, prefix: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    let rest = repository.strip_prefix(prefix);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Makes settings the default values of the arguments of the same name.
fn with_defaults(mut command: Command, chosen: &[&Setting]) -> Command {
    for setting in chosen {
        let key = setting.option.key;
        if command.get_arguments().any(|arg| arg.get_id() == key) {
            let value = setting.value.clone();
            command = command.mut_arg(key, |arg| arg.default_value(value));
        }
    }
    command.mut_subcommands(|sub| with_defaults(sub, chosen))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use super::*;

    #[test]
    fn every_option_is_an_argument_with_its_variable() {
        fn find<'a>(command: &'a Command, id: &str) -> Vec<&'a clap::Arg> {
            let own = command.get_arguments().filter(|arg| arg.get_id() == id);
            own.chain(command.get_subcommands().flat_map(|sub| find(sub, id))).collect()
        }
        let command = Cli::command();
        for option in &options::OPTIONS {
            let args = find(&command, option.key);
            assert!(!args.is_empty(), "no argument is called {}", option.key);
            for arg in args {
                assert_eq!(arg.get_env(), Some(OsStr::new(option.env)), "{}", option.key);
            }
        }
        Cli::command().debug_assert();
    }

    #[test]
    fn the_longest_prefix_wins_then_the_later_file() {
        let read = |path: &str, text: &str| file::parse(Path::new(path), text).unwrap();
        let mut settings = read(
            "system",
            "region = 'a'\nprofile = 'a'\n[repository.'s3://b/x']\nregion = 'b'\n\
             [repository.'s3://b']\nregion = 'c'\nsse = 'c'\n",
        );
        settings
            .extend(read("own", "profile = 'd'\nregion = 'd'\n[repository.'s3://b/']\nsse='e'"));
        let values = |repository| {
            let chosen = chosen(&settings, repository);
            chosen.iter().map(|it| format!("{}={}", it.option.key, it.value)).collect::<Vec<_>>()
        };
        assert_eq!(values(None), ["region=d", "profile=d"]);
        assert_eq!(values(Some("s3://other/x")), ["region=d", "profile=d"]);
        assert_eq!(values(Some("s3://b/x/y")), ["region=b", "profile=d", "sse=e"]);
        assert_eq!(values(Some("s3://b/xy")), ["region=c", "profile=d", "sse=e"]);
    }
}
