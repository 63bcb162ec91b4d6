//! The command `commit`.

use std::io::{self, IsTerminal};

use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::args::{CommitArgs, ProgressKind};
use super::commands::{diff_text, not_shown, print_json, unexpected, watch};
use super::control::client;
use super::control::protocol::{Answer, Command, CommitAnswer, How, Progress, Signed};
use crate::cli::{
    CliError, Exit, author, count, event, is_json, no_branch, note, number, print, size, spinner,
};

/// Publishes what is uncommitted. Exits with [`Exit::Differs`] when there was nothing to commit,
/// as `git commit` does, unless that is to be a success.
///
/// # Errors
/// The branch was moved, the store refused, what was put is not what is read back, or nothing is
/// mounted there.
pub fn run_commit(args: CommitArgs) -> Result<Exit, CliError> {
    if args.dry_run {
        return rehearse(&args);
    }
    let message = args.message.unwrap_or_default();
    let signed = Signed { author: args.author.unwrap_or_else(author), message };
    let mut show = Show::new(args.progress, args.json);
    let how = How { verify: args.verify, progress: show.is_shown() };
    let watch = watch("the commit", &args.mount_point, args.json);
    let command = Command::Commit(signed, how);
    let answer = client::ask_and_hear(&args.mount_point, command, |progress| show.heard(&progress));
    show.end();
    watch.give_way();
    let Answer::Commit(commit) = answer? else { return Err(unexpected()) };
    let shown = if args.json { print_json(&json!(commit)) } else { print(&commit_text(&commit)) };
    shown.map_err(|error| not_shown(commit_text(&commit).trim_end(), error))?;
    Ok(if commit.committed || args.if_changed { Exit::Ok } else { Exit::Differs })
}

/// Says what a commit would publish.
fn rehearse(args: &CommitArgs) -> Result<Exit, CliError> {
    let ask = |command| client::ask(&args.mount_point, command);
    let Answer::Status(status) = ask(Command::Status)? else { return Err(unexpected()) };
    if !status.mount.can_commit {
        return Err(no_branch(&status.mount.mount_point, status.mount.read_only));
    }
    let Answer::Diff(diff) = ask(Command::Diff)? else { return Err(unexpected()) };
    if args.json {
        let mut told = json!(diff);
        told["dry_run"] = Value::Bool(true);
        print_json(&told)?;
    } else if diff.changes.is_empty() {
        print("nothing to commit\n")?;
    } else {
        print(&diff_text(&diff, usize::MAX))?;
    }
    Ok(Exit::Ok)
}

/// What a commit came to, in a line.
pub(super) fn commit_text(commit: &CommitAnswer) -> String {
    let CommitAnswer { snapshot, committed, objects, bytes, verified } = commit;
    let verified = match verified {
        Some(verified) => format!("; {} read back", count(*verified, "object")),
        None => String::new(),
    };
    match snapshot {
        Some(snapshot) if *committed => {
            let (objects, bytes) = (number(*objects), size(*bytes));
            format!("committed {snapshot}: {objects} objects, {bytes}{verified}\n")
        }
        Some(snapshot) => format!("nothing to commit; the branch is at {snapshot}\n"),
        None => "nothing to commit; the branch is empty\n".into(),
    }
}

/// Shows on standard error how far a commit is.
enum Show {
    Nothing,
    Json,
    /// On a terminal: a line that is redrawn.
    Redrawn(ProgressBar),
    /// Elsewhere: a line for each phase, which is kept here.
    Lines(String),
}

impl Show {
    fn new(kind: Option<ProgressKind>, json: bool) -> Self {
        let is_terminal = io::stderr().is_terminal() && !is_json();
        match kind {
            Some(ProgressKind::Json) => Self::Json,
            Some(ProgressKind::Text) if !is_terminal => Self::Lines(String::new()),
            Some(ProgressKind::Text) => Self::Redrawn(spinner()),
            None if is_terminal && !json => Self::Redrawn(spinner()),
            Some(ProgressKind::None) | None => Self::Nothing,
        }
    }

    fn is_shown(&self) -> bool {
        !matches!(self, Self::Nothing)
    }

    fn heard(&mut self, progress: &Progress) {
        match self {
            Self::Nothing => {}
            // Nobody may read it; the commit goes on.
            Self::Json => event("progress", &json!(progress)),
            Self::Redrawn(bar) => {
                bar.set_message(text(progress));
                bar.tick();
            }
            Self::Lines(last) if *last != progress.phase => {
                last.clone_from(&progress.phase);
                note(&text(progress));
            }
            Self::Lines(_) => {}
        }
    }

    fn end(&self) {
        if let Self::Redrawn(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn text(progress: &Progress) -> String {
    let doing = match progress.phase.as_str() {
        "collect" => "collecting what was changed",
        "data" => "sending data",
        "trees" => "sending trees",
        "snapshot" => "sending the snapshot",
        "publish" => "moving the branch",
        "verify" => "reading back",
        other => other,
    };
    let sent = format!("{}, {}", count(progress.objects, "object"), size(progress.bytes));
    match progress.phase.as_str() {
        "verify" => format!("{doing}: {} of {sent}", number(progress.verified)),
        _ => format!("{doing}: {sent} sent"),
    }
}
