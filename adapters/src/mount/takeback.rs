//! The commands `discard` and `restore`.

use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use serde_json::json;

use super::args::{DiscardArgs, RestoreArgs};
use super::commands::{LISTED, diff_text, not_shown, print_json, repository_of, unexpected, watch};
use super::control::client;
use super::control::protocol::{Answer, Command, DiffAnswer, RestoreRequest, RestoredAnswer};
use crate::cli::{CliError, Exit, count, print};

/// Takes uncommitted changes back: all of them, or those at some paths.
///
/// # Errors
/// Nothing is mounted there, a path is neither in the mount nor in its base, or it was not said
/// that all is to go.
pub fn run_discard(args: DiscardArgs) -> Result<Exit, CliError> {
    if !args.paths.is_empty() {
        let asked = (args.mount_point.as_path(), args.paths.as_slice());
        return restore(asked, (None, true, true), args.json, "discarded");
    }
    let point = &args.mount_point;
    if !args.yes {
        let Answer::Diff(diff) = client::ask(point, Command::Diff)? else {
            return Err(unexpected());
        };
        if !diff.changes.is_empty() && !agreed(&diff)? {
            let what = format!("nothing of {} was discarded", point.display());
            return Err(CliError::new(Exit::Usage, what, "--yes discards all without a question"));
        }
    }
    let watch = watch("the discard", point, args.json);
    let answer = client::ask(point, Command::Discard);
    watch.give_way();
    let Answer::Discarded(taken) = answer? else { return Err(unexpected()) };
    let text = match taken.changes.len() as u64 {
        0 => "nothing to discard\n".to_owned(),
        paths => format!("discarded the changes of {}\n", count(paths, "path")),
    };
    let shown =
        if args.json { print_json(&json!({"discarded": taken.changes})) } else { print(&text) };
    shown.map_err(|error| not_shown(text.trim_end(), error))?;
    Ok(Exit::Ok)
}

/// Asks on a terminal whether all these are to go.
fn agreed(diff: &DiffAnswer) -> Result<bool, CliError> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(false);
    }
    let failed = |error: io::Error| {
        let what = format!("can't ask on the terminal: {error}");
        CliError::new(Exit::Usage, what, "give --yes to discard without a question")
    };
    let mut to = io::stderr().lock();
    let ask = format!("{}Discard all of this? [y/N] ", diff_text(diff, LISTED));
    to.write_all(ask.as_bytes()).and_then(|()| to.flush()).map_err(failed)?;
    let mut said = String::new();
    io::stdin().lock().read_line(&mut said).map_err(failed)?;
    Ok(matches!(said.trim(), "y" | "Y" | "yes"))
}

/// Makes paths what they are in a snapshot.
///
/// # Errors
/// Nothing is mounted there, there is no such snapshot, or a path is neither in it nor in the
/// mount.
pub fn run_restore(args: RestoreArgs) -> Result<Exit, CliError> {
    let how = (args.from, false, args.delete);
    let asked = (args.mount_point.as_path(), args.paths.as_slice());
    restore(asked, how, args.json, "restored")
}

fn restore(
    (point, paths): (&Path, &[PathBuf]),
    (from, discards, deletes): (Option<String>, bool, bool),
    json: bool,
    done: &str,
) -> Result<Exit, CliError> {
    let root = PathBuf::from(repository_of(point)?.mount_point);
    let paths = paths.iter().map(|path| inside(&root, path)).collect::<Result<_, _>>()?;
    let watch = watch("the restoring", point, json);
    let request = RestoreRequest { paths, from, discards, deletes };
    let answer = client::ask(point, Command::Restore(request));
    watch.give_way();
    let Answer::Restored(answer) = answer? else { return Err(unexpected()) };
    let RestoredAnswer { restored, created, removed } = answer;
    let text = format!(
        "{done}: {} taken back, {created} made, {removed} removed\n",
        count(restored, "inode")
    );
    let shown = if json { print_json(&json!(answer)) } else { print(&text) };
    shown.map_err(|error| not_shown(text.trim_end(), error))?;
    Ok(Exit::Ok)
}

/// A path from the root of the mount, or a full one, as bytes from that root.
fn inside(root: &Path, path: &Path) -> Result<Vec<u8>, CliError> {
    let within = path.strip_prefix(root).unwrap_or(path);
    let mut names: Vec<&[u8]> = Vec::new();
    for component in within.components() {
        match component {
            Component::Normal(name) => names.push(name.as_bytes()),
            Component::CurDir => {}
            Component::RootDir | Component::ParentDir | Component::Prefix(_) => {
                let what = format!("{} is not a path in the mount", path.display());
                let remedy = format!("give paths from {} on", root.display());
                return Err(CliError::new(Exit::Usage, what, remedy));
            }
        }
    }
    Ok(names.join(&b'/'))
}
