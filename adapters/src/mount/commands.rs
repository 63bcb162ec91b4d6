//! The commands, as `main` calls them.

use std::path::Path;

use serde_json::{Value, json};

use super::args::{DiffArgs, MountArgs, StatusArgs, UmountArgs};
use super::commit::commit_text;
use super::control::client;
use super::control::protocol::{
    Answer, Command, CommitAnswer, DiffAnswer, MountedAnswer, RepositoryAnswer, Signed,
    StatusAnswer, Uncommitted,
};
use super::interrupt::Watch;
use super::unmount::clear_dead;
use super::{background, open, point};
use crate::cli::{CliError, Exit, author, count, print, quoted, size};

/// Changes that `umount` lists before it says how many more there are.
pub(super) const LISTED: usize = 20;

/// Mounts, in the background unless told otherwise.
///
/// # Errors
/// What was wrong with the mount point, the repository or the kernel, and its remedy.
pub fn run_mount(args: MountArgs) -> Result<Exit, CliError> {
    if background::is_daemon() {
        let result = open::serve(&args, |about| background::say(Ok(Answer::Mounted(about))));
        return result.inspect_err(|error| background::say(Err(error.clone())));
    }
    let json = args.json;
    if args.foreground {
        return open::serve(&args, |about| {
            // Nobody listens: the mount is there all the same.
            drop(show_mounted(&about, json));
        });
    }
    let full = point::check(&args.mount_point)?;
    let Answer::Mounted(about) = background::start(&full, json)? else {
        return Err(unexpected());
    };
    let done = format!("{} is mounted at {}", about.source, about.mount_point);
    show_mounted(&about, json).map_err(|error| not_shown(&done, error))?;
    Ok(Exit::Ok)
}

/// Shows what is uncommitted, in figures.
///
/// # Errors
/// Nothing is mounted there, or its daemon could not answer.
pub fn run_status(args: StatusArgs) -> Result<Exit, CliError> {
    let answer = client::ask(&args.mount_point, Command::Status)?;
    let Answer::Status(status) = answer else { return Err(unexpected()) };
    if args.json {
        print_json(&json!(status))?;
    } else {
        print(&status_text(&status))?;
    }
    Ok(Exit::Ok)
}

/// What is mounted at `point`, if its daemon answers.
pub(crate) fn source_of(point: &Path) -> Option<String> {
    match client::ask(point, Command::Status) {
        Ok(Answer::Status(status)) => Some(status.mount.source),
        Ok(_) | Err(_) => None,
    }
}

/// The repository of the mount at a path.
///
/// # Errors
/// Nothing is mounted there, or its daemon could not answer.
pub(crate) fn repository_of(mount_point: &Path) -> Result<RepositoryAnswer, CliError> {
    let Answer::Repository(repository) = client::ask(mount_point, Command::Repository)? else {
        return Err(unexpected());
    };
    Ok(*repository)
}

/// Lists what is uncommitted. Exits with [`Exit::Differs`] when there is anything.
///
/// # Errors
/// Nothing is mounted there, or its daemon could not answer.
pub fn run_diff(args: DiffArgs) -> Result<Exit, CliError> {
    let answer = client::ask(&args.mount_point, Command::Diff)?;
    let Answer::Diff(diff) = answer else { return Err(unexpected()) };
    if args.json {
        print_json(&json!(diff))?;
    } else {
        print(&diff_text(&diff, usize::MAX))?;
    }
    Ok(if diff.changes.is_empty() { Exit::Ok } else { Exit::Differs })
}

/// Unmounts. Exits with [`Exit::Differs`], and stays mounted, while anything is uncommitted and
/// it was not said what becomes of it.
///
/// # Errors
/// The mount is in use, a commit failed, or nothing is mounted there.
pub fn run_umount(args: UmountArgs) -> Result<Exit, CliError> {
    let uncommitted = if args.commit {
        Uncommitted::Commit(Signed {
            author: args.author.unwrap_or_else(author),
            message: args.message,
        })
    } else if args.discard {
        Uncommitted::Discard
    } else {
        Uncommitted::Refuse
    };
    if args.discard && clear_dead(&args.mount_point)? {
        return unmounted(None, args.json);
    }
    let watch = watch("the unmounting", &args.mount_point, args.json);
    let answer = client::ask(&args.mount_point, Command::Unmount(uncommitted));
    watch.give_way();
    match answer? {
        Answer::Unmounted(commit) => unmounted(commit.as_ref(), args.json),
        Answer::Dirty(dirty) if args.json => {
            print_json(&json!({"unmounted": false, "diff": dirty.diff}))?;
            Ok(Exit::Differs)
        }
        Answer::Dirty(dirty) => {
            print(&diff_text(&dirty.diff, LISTED))?;
            Err(uncommitted_kept(&args.mount_point, dirty.can_commit))
        }
        Answer::Mounted(_)
        | Answer::Status(_)
        | Answer::Diff(_)
        | Answer::Stats(_)
        | Answer::Commit(_)
        | Answer::Repository(_)
        | Answer::Discarded(_)
        | Answer::Restored(_) => Err(unexpected()),
    }
}

fn unmounted(commit: Option<&CommitAnswer>, json: bool) -> Result<Exit, CliError> {
    let text = commit.map(commit_text).unwrap_or_default();
    let shown =
        if json { print_json(&json!({"unmounted": true, "commit": commit})) } else { print(&text) };
    let done = format!("{}{}unmounted", text.trim_end(), if text.is_empty() { "" } else { "; " });
    shown.map_err(|error| not_shown(&done, error))?;
    Ok(Exit::Ok)
}

fn uncommitted_kept(point: &Path, can_commit: bool) -> CliError {
    let at = quoted(point);
    let remedy = if can_commit {
        format!("vellum umount {at} --commit publishes them, --discard drops them")
    } else {
        format!(
            "no branch is mounted, so they can't be committed: copy what you need elsewhere, \
             then vellum umount {at} --discard drops them"
        )
    };
    let what = format!("{} has uncommitted changes; its daemon keeps them", point.display());
    CliError::new(Exit::Differs, what, remedy)
}

/// Says on Ctrl-C that the daemon goes on with `work`.
pub(super) fn watch(work: &'static str, point: &Path, json: bool) -> Watch {
    let point = point.to_path_buf();
    Watch::start(json, move || {
        let what = format!("interrupted; {work} of {} goes on in its daemon", point.display());
        let remedy = format!("vellum status {} shows what has become of it", quoted(&point));
        CliError::new(Exit::Interrupted, what, remedy)
    })
}

/// The error for what was done, `done`, and could not be told.
pub(super) fn not_shown(done: &str, error: CliError) -> CliError {
    CliError { what: format!("{done}; but {}", error.what), ..error }
}

fn show_mounted(about: &MountedAnswer, json: bool) -> Result<(), CliError> {
    let MountedAnswer { mount_point, source, read_only, .. } = about;
    if json {
        print_json(&json!(about))
    } else if let Some(offline) = &about.offline {
        print(&format!("{source} is mounted at {mount_point}, read-only, offline: {offline}\n"))
    } else if *read_only {
        print(&format!("{source} is mounted at {mount_point}, read-only\n"))
    } else if !about.can_commit {
        print(&format!(
            "{source} is mounted at {mount_point}; it is no branch, so edits can't be committed: \
             they are in the memory of its daemon, and end with it\n"
        ))
    } else {
        print(&format!(
            "{source} is mounted at {mount_point}; until they are committed, edits do not survive \
             a crash of its daemon\n"
        ))
    }
}

pub(super) fn print_json(value: &Value) -> Result<(), CliError> {
    print(&format!("{value}\n"))
}

fn status_text(status: &StatusAnswer) -> String {
    let mut lines = vec![
        ("mount", status.mount.mount_point.clone()),
        ("source", status.mount.source.clone()),
        ("branch", status.branch.clone().unwrap_or_else(|| "none: it can't be committed".into())),
        ("base", status.base.clone().unwrap_or_else(|| "empty".into())),
    ];
    let (changed, dirty) = (count(status.changed_inodes, "inode"), size(status.dirty_bytes));
    let uncommitted = match (status.dirty, status.committing) {
        (false, _) => "nothing".to_owned(),
        (true, false) => format!("{changed} changed, {dirty} in memory only"),
        (true, true) => format!("{changed} changed, {dirty} in memory only; committing"),
    };
    lines.push(("uncommitted", uncommitted));
    if let Some(oldest) = status.oldest_dirty_seconds {
        lines.push(("oldest edit", format!("{oldest:.0} s ago")));
    }
    lines.push(("memory", size(status.memory_bytes)));
    if let Some(offline) = &status.mount.offline {
        lines.push(("offline", offline.clone()));
    }
    if let Some(log) = &status.mount.log {
        lines.push(("log", log.clone()));
    }
    if let Some(metrics) = &status.mount.metrics {
        lines.push(("metrics", format!("http://{metrics}/metrics")));
    }
    if !status.mounted {
        lines.push(("note", "unmounted behind the daemon's back; the changes are held".into()));
    }
    lines.iter().map(|(name, value)| format!("{name:<12} {value}\n")).collect()
}

pub(super) fn diff_text(diff: &DiffAnswer, most: usize) -> String {
    let mut text = String::new();
    for change in diff.changes.iter().take(most) {
        let mark = match change.change.as_str() {
            "added" => 'A',
            "deleted" => 'D',
            "attributes" => 'T',
            _ => 'M',
        };
        let path = if change.path.is_empty() { "." } else { &change.path };
        let slash = if change.kind == "directory" { "/" } else { "" };
        text.push_str(&format!("{mark} {}{slash}\n", escaped(path)));
    }
    if diff.changes.len() > most {
        text.push_str(&format!("… and {} more\n", diff.changes.len() - most));
    }
    if !diff.changes.is_empty() {
        let (paths, send) = (count(diff.changes.len() as u64, "path"), size(diff.send_bytes));
        text.push_str(&format!("{paths} changed; a commit sends at most {send} of data\n"));
    }
    text
}

/// A path on one line, whatever is in it.
fn escaped(path: &str) -> String {
    path.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

pub(super) fn unexpected() -> CliError {
    let what = "the daemon gave the answer to another command";
    CliError::new(Exit::NotMounted, what, "use the vellum that mounted it")
}

#[cfg(test)]
mod tests {
    use super::super::control::protocol::ChangeAnswer;
    use super::*;

    fn change(path: &str, change: &str, kind: &str) -> ChangeAnswer {
        ChangeAnswer {
            path: path.into(),
            below: None,
            path_hex: None,
            change: change.into(),
            kind: kind.into(),
            send_bytes: 0,
        }
    }

    #[test]
    fn a_diff_has_one_line_per_path() {
        let changes = vec![
            change("a\nb", "added", "file"),
            change("d", "deleted", "directory"),
            change("", "attributes", "directory"),
        ];
        let diff = DiffAnswer { changes, send_bytes: 1024 };
        let text = diff_text(&diff, usize::MAX);
        let end = "3 paths changed; a commit sends at most 1.00 KiB of data\n";
        assert_eq!(text, format!("A a\\nb\nD d/\nT ./\n{end}"));
        assert!(diff_text(&diff, 1).contains("… and 2 more"));
        assert_eq!(diff_text(&DiffAnswer::default(), 1), "");
    }
}
