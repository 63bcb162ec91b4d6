//! What is said over the control socket.

use serde::{Deserialize, Serialize};
use vellum_core::format::Hash;
use vellum_core::shapes::{Change, ChangeKind, Counts, Diff, FileKind, Status};

use super::stats::StatsAnswer;
use crate::cli::{CliError, Exit};
use crate::store::{CacheCounts, CacheOptions, Store, StoreOptions};

/// Version of the protocol. Both sides must be of the same one.
pub(in crate::mount) const VERSION: u32 = 2;

/// Sent as soon as a command is taken, before its answer: blanks before JSON mean nothing.
pub(in crate::mount) const TAKEN: &[u8] = b" ";

/// Longest request in bytes; a longer line is refused.
pub(in crate::mount) const REQUEST_MAX_BYTES: u64 = 1 << 20;

/// A request: one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::mount) struct Request {
    /// Version of the protocol.
    pub(in crate::mount) v: u32,
    /// What is asked.
    pub(in crate::mount) command: Command,
}

/// What is asked of a mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::mount) enum Command {
    /// What is uncommitted, in figures.
    Status,
    /// What is uncommitted, path by path.
    Diff,
    /// What was done since the mount began, in figures.
    Stats,
    /// Publish it.
    Commit(Signed, How),
    /// Unmount, and end the daemon.
    Unmount(Uncommitted),
    /// Where its repository is, and how it is reached.
    Repository,
    /// Take back all that is uncommitted.
    Discard,
    /// Make paths what they are in a snapshot.
    Restore(RestoreRequest),
}

/// Which paths become what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::mount) struct RestoreRequest {
    /// Paths from the root of the mount, without a leading `/`.
    pub(in crate::mount) paths: Vec<Vec<u8>>,
    /// A branch, a tag or a snapshot; none for the base.
    pub(in crate::mount) from: Option<String>,
    /// What was moved there goes back to where it was.
    pub(in crate::mount) discards: bool,
    /// What the snapshot lacks is removed.
    pub(in crate::mount) deletes: bool,
}

/// What a commit says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::mount) struct Signed {
    /// Who made it.
    pub(in crate::mount) author: String,
    /// What it is about.
    pub(in crate::mount) message: String,
}

/// How a commit is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::mount) struct How {
    /// Read what was put back, and compare it with its names.
    pub(in crate::mount) verify: bool,
    /// Say how far it is, in lines of [`Said`] before the answer.
    pub(in crate::mount) progress: bool,
}

/// A line before the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::mount) struct Said {
    /// How far the command is.
    pub(in crate::mount) progress: Progress,
}

/// How far a commit is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::mount) struct Progress {
    /// What it is at: `collect`, `data`, `trees`, `snapshot`, `publish`, `verify` or `done`.
    pub(in crate::mount) phase: String,
    /// Objects put so far.
    pub(in crate::mount) objects: u64,
    /// Bytes put so far.
    pub(in crate::mount) bytes: u64,
    /// Objects read back so far.
    pub(in crate::mount) verified: u64,
}

/// What happens to uncommitted changes on unmounting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::mount) enum Uncommitted {
    /// They keep the mount mounted.
    Refuse,
    /// They are committed first.
    Commit(Signed),
    /// They are dropped.
    Discard,
}

/// An answer: one line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::mount) struct Response {
    /// Version of the protocol.
    pub(in crate::mount) v: u32,
    /// What it came to.
    pub(in crate::mount) result: Result<Answer, Failure>,
}

/// An answer to a command that was done, or that found nothing to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::mount) enum Answer {
    /// The mount answers: said once, by the daemon to the process that started it.
    Mounted(MountedAnswer),
    /// Status.
    Status(Box<StatusAnswer>),
    /// Diff.
    Diff(DiffAnswer),
    /// Stats.
    Stats(StatsAnswer),
    /// Commit.
    Commit(CommitAnswer),
    /// Unmount: with what was committed on the way.
    Unmounted(Option<CommitAnswer>),
    /// Unmount: refused, because of these changes.
    Dirty(DirtyAnswer),
    /// Repository.
    Repository(Box<RepositoryAnswer>),
    /// Discard: what was taken back.
    Discarded(DiffAnswer),
    /// Restore.
    Restored(RestoredAnswer),
}

/// What restoring came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::mount) struct RestoredAnswer {
    /// Inodes that were there, and different.
    pub(in crate::mount) restored: u64,
    /// Names that were not there.
    pub(in crate::mount) created: u64,
    /// Names that are there no more.
    pub(in crate::mount) removed: u64,
}

/// The repository of a mount.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RepositoryAnswer {
    /// Where it is mounted.
    pub(crate) mount_point: String,
    /// Where the repository is.
    pub(crate) address: String,
    /// How it is reached; credentials are not said.
    pub(crate) store: StoreOptions,
    /// What is kept on disk of what is read.
    pub(crate) cache: CacheOptions,
    /// Snapshot shown, with the uncommitted changes on top.
    pub(crate) base: Option<String>,
    /// Whether nothing is asked of it.
    pub(crate) offline: bool,
}

/// A mount that answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::mount) struct MountedAnswer {
    /// Where it is mounted.
    pub(in crate::mount) mount_point: String,
    /// The repository and what of it is mounted.
    pub(in crate::mount) source: String,
    /// Whether changes are refused.
    pub(in crate::mount) read_only: bool,
    /// Whether changes can be committed: a branch is mounted, and not read-only.
    pub(in crate::mount) can_commit: bool,
    /// What is mounted of a bucket of which nothing is asked; none when it is reached.
    pub(in crate::mount) offline: Option<String>,
    /// What the daemon has to say is in this file; none when it says it on a terminal.
    pub(in crate::mount) log: Option<String>,
    /// Figures for Prometheus are served at this address.
    pub(in crate::mount) metrics: Option<String>,
    /// The daemon's process.
    pub(in crate::mount) pid: u32,
}

/// What is uncommitted, in figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::mount) struct StatusAnswer {
    /// The mount.
    pub(in crate::mount) mount: MountedAnswer,
    /// Whether it is still mounted: after an unmounting behind the daemon's back it is not, but
    /// what was uncommitted is still held.
    pub(in crate::mount) mounted: bool,
    /// Snapshot shown, with the uncommitted changes on top.
    pub(in crate::mount) base: Option<String>,
    /// Ref that a commit moves.
    pub(in crate::mount) branch: Option<String>,
    /// Whether anything is uncommitted.
    pub(in crate::mount) dirty: bool,
    /// Whether a commit is under way.
    pub(in crate::mount) committing: bool,
    /// Changed inodes.
    pub(in crate::mount) changed_inodes: u64,
    /// Bytes that are in memory only.
    pub(in crate::mount) dirty_bytes: u64,
    /// Changed regular files.
    pub(in crate::mount) dirty_files: u64,
    /// How long the oldest uncommitted change has been so, in seconds.
    pub(in crate::mount) oldest_dirty_seconds: Option<f64>,
    /// Bytes of file data in memory.
    pub(in crate::mount) memory_bytes: u64,
    /// What was asked of the store since the mount was started.
    pub(in crate::mount) requests: Counts,
    /// What the cache did since then; none without a cache.
    pub(in crate::mount) cache: Option<CacheCounts>,
}

impl StatusAnswer {
    /// The status of `mount`.
    pub(in crate::mount) fn new(
        mount: MountedAnswer,
        mounted: bool,
        status: &Status,
        store: &Store,
    ) -> Self {
        Self {
            mount,
            mounted,
            base: status.base.map(|hash: Hash| hash.to_string()),
            branch: status.branch.clone(),
            dirty: status.dirty,
            committing: status.committing,
            changed_inodes: status.changed_inodes,
            dirty_bytes: status.dirty_bytes,
            dirty_files: status.dirty_files,
            oldest_dirty_seconds: status.oldest_ns.map(seconds),
            memory_bytes: status.memory_bytes,
            requests: store.counts(),
            cache: store.cache_counts(),
        }
    }
}

/// Everything that is uncommitted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::mount) struct DiffAnswer {
    /// Changed paths, sorted.
    pub(in crate::mount) changes: Vec<ChangeAnswer>,
    /// Data bytes that a commit would send, an upper bound.
    pub(in crate::mount) send_bytes: u64,
}

/// What keeps a mount mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::mount) struct DirtyAnswer {
    /// What is uncommitted.
    pub(in crate::mount) diff: DiffAnswer,
    /// Whether it can be committed.
    pub(in crate::mount) can_commit: bool,
}

/// One changed path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::mount) struct ChangeAnswer {
    /// Path from the root of the mount; what is not UTF-8 in it is shown as U+FFFD. It starts with
    /// `<inode N>/` for one of several names of a file, in a directory that nobody looked at yet.
    pub(in crate::mount) path: String,
    /// The inode number of that directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::mount) below: Option<u64>,
    /// The path's bytes in hexadecimal, when it is not UTF-8: from the root or that directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::mount) path_hex: Option<String>,
    /// `added`, `modified`, `attributes` or `deleted`.
    pub(in crate::mount) change: String,
    /// What it is (what it was, if deleted).
    pub(in crate::mount) kind: String,
    /// Bytes of its content that a commit would send, an upper bound.
    pub(in crate::mount) send_bytes: u64,
}

impl From<&Diff> for DiffAnswer {
    fn from(diff: &Diff) -> Self {
        let changes = diff.changes.iter().map(ChangeAnswer::from).collect();
        Self { changes, send_bytes: diff.send_bytes }
    }
}

impl From<&Change> for ChangeAnswer {
    fn from(change: &Change) -> Self {
        let hex = || change.path.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = String::from_utf8_lossy(&change.path);
        Self {
            path: match change.below {
                Some(ino) => format!("<inode {}>/{path}", ino.0),
                None => path.into_owned(),
            },
            below: change.below.map(|ino| ino.0),
            path_hex: std::str::from_utf8(&change.path).is_err().then(hex),
            change: match change.change {
                ChangeKind::Added => "added",
                ChangeKind::Modified => "modified",
                ChangeKind::Attributes => "attributes",
                ChangeKind::Deleted => "deleted",
            }
            .into(),
            kind: match change.kind {
                FileKind::File => "file",
                FileKind::Directory => "directory",
                FileKind::Symlink => "symlink",
                FileKind::Fifo => "fifo",
                FileKind::Socket => "socket",
                FileKind::CharDevice | FileKind::BlockDevice => "device",
            }
            .into(),
            send_bytes: change.send_bytes,
        }
    }
}

/// What a commit came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::mount) struct CommitAnswer {
    /// Snapshot that the branch now names; none when it has none and nothing was changed.
    pub(in crate::mount) snapshot: Option<String>,
    /// Whether it is new; if not, there was nothing to commit.
    pub(in crate::mount) committed: bool,
    /// Objects put.
    pub(in crate::mount) objects: u64,
    /// Bytes put.
    pub(in crate::mount) bytes: u64,
    /// Objects that were read back and compared with their names, if that was asked.
    pub(in crate::mount) verified: Option<u64>,
}

/// A command that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::mount) struct Failure {
    /// Number that the command exits with.
    exit: u8,
    /// What happened.
    what: String,
    /// What to do about it.
    remedy: String,
}

/// Every way to exit that a daemon may ask for.
const EXITS: [Exit; 10] = [
    Exit::Differs,
    Exit::Usage,
    Exit::Store,
    Exit::Credentials,
    Exit::Conflict,
    Exit::Integrity,
    Exit::NoSpace,
    Exit::NotMounted,
    Exit::NotRepresentable,
    Exit::Interrupted,
];

impl From<CliError> for Failure {
    fn from(error: CliError) -> Self {
        Self { exit: error.exit.code(), what: error.what, remedy: error.remedy }
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        let exit = EXITS.into_iter().find(|exit| exit.code() == failure.exit);
        Self::new(exit.unwrap_or(Exit::Store), failure.what, failure.remedy)
    }
}

/// Nanoseconds as seconds.
pub(in crate::mount) fn seconds(ns: u64) -> f64 {
    std::time::Duration::from_nanos(ns).as_secs_f64()
}

/// `value` as one line.
pub(in crate::mount) fn line(value: &impl Serialize) -> String {
    let mut line = serde_json::to_string(value).expect("strings and numbers always encode");
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use vellum_core::words::Ino;

    use super::*;

    #[test]
    fn requests_and_answers_survive_the_way() {
        let signed = Signed { author: "a@b".into(), message: "two\nlines".into() };
        for command in [
            Command::Status,
            Command::Diff,
            Command::Stats,
            Command::Commit(signed.clone(), How { verify: true, progress: false }),
            Command::Unmount(Uncommitted::Refuse),
            Command::Unmount(Uncommitted::Commit(signed)),
            Command::Unmount(Uncommitted::Discard),
            Command::Repository,
            Command::Discard,
            Command::Restore(RestoreRequest {
                paths: vec![b"a\xff".to_vec()],
                from: Some("main".into()),
                discards: false,
                deletes: true,
            }),
        ] {
            let request = Request { v: VERSION, command };
            let sent = line(&request);
            assert_eq!(sent.find('\n'), Some(sent.len() - 1));
            assert_eq!(serde_json::from_str::<Request>(&sent).unwrap(), request);
        }
        let error = CliError::new(Exit::Conflict, "moved", "mount again");
        let response = Response { v: VERSION, result: Err(error.clone().into()) };
        let back: Response = serde_json::from_str(&line(&response)).unwrap();
        assert_eq!(CliError::from(back.result.unwrap_err()), error);
    }

    #[test]
    fn a_path_that_is_not_text_is_not_lost() {
        let change = Change {
            below: None,
            path: Arc::from(&b"a/\xff"[..]),
            change: ChangeKind::Added,
            kind: FileKind::File,
            send_bytes: 1,
        };
        let answer = ChangeAnswer::from(&change);
        assert_eq!((answer.path.as_str(), answer.below), ("a/\u{fffd}", None));
        assert_eq!(answer.path_hex.as_deref(), Some("612fff"));
        let answer = ChangeAnswer::from(&Change { below: Some(Ino(7)), ..change });
        assert_eq!((answer.path.as_str(), answer.below), ("<inode 7>/a/\u{fffd}", Some(7)));
        assert_eq!(answer.path_hex.as_deref(), Some("612fff"));
    }
}
