//! What the commands `status`, `diff` and `commit` are told.

use super::attr::FileKind;
use super::store::StoreError;
use crate::format::{FormatError, Hash};
use crate::sync::Arc;
use crate::words::Ino;

/// What is uncommitted, in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Status {
    /// Snapshot that the mount shows, with its uncommitted changes on top.
    pub base: Option<Hash>,
    /// Ref that a commit moves, such as `branches/main`; none when a bare snapshot is mounted.
    pub branch: Option<String>,
    /// Changed inodes, directories included.
    pub changed_inodes: u64,
    /// Bytes in memory that are not in the store.
    pub dirty_bytes: u64,
    /// Bytes of file data in memory, clean ones included.
    pub memory_bytes: u64,
    /// Changed regular files.
    pub dirty_files: u64,
    /// How long the oldest uncommitted change has been so, in nanoseconds; none when there is none.
    pub oldest_ns: Option<u64>,
    /// Store requests that were sent again since the mount began.
    pub retries: u64,
    /// Whether a commit is under way.
    pub committing: bool,
    /// Whether anything is uncommitted.
    pub dirty: bool,
}

/// How a path differs from the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChangeKind {
    /// The path is new.
    Added,
    /// Its content changed.
    Modified,
    /// Only attributes changed.
    Attributes,
    /// The path is gone.
    Deleted,
}

/// One changed path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// Where `path` starts, if that is not the root: one of several names of a file, in a directory
    /// that the mount has not looked at, so that it knows no more of it than the number.
    pub below: Option<Ino>,
    /// Path from there, without a leading `/`; empty for the root.
    pub path: Arc<[u8]>,
    /// How it differs.
    pub change: ChangeKind,
    /// What it is (what it was, if deleted).
    pub kind: FileKind,
    /// Bytes of its content that a commit would send, an upper bound.
    pub send_bytes: u64,
}

/// Everything that is uncommitted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Diff {
    /// Changed paths, sorted.
    pub changes: Vec<Change>,
    /// Data bytes that a commit would send, an upper bound.
    pub send_bytes: u64,
}

/// What restoring an inode came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Restored {
    /// It was different.
    Changed,
    /// It was the same already; what is below it may differ.
    Same,
    /// It was the same already, and so is all below it.
    SameBelow,
}

/// How a commit ended.
#[derive(Clone, Debug, PartialEq, Hash)]
pub enum CommitResult {
    /// There was nothing to commit; the base is unchanged and nothing was sent.
    Unchanged {
        /// Snapshot that the branch names.
        snapshot: Hash,
    },
    /// There was nothing to commit to a branch that has no snapshot yet.
    Empty,
    /// A new snapshot is published.
    Committed {
        /// The new snapshot.
        snapshot: Hash,
        /// Objects put.
        objects: u64,
        /// Bytes put.
        bytes: u64,
    },
    /// The branch was moved by somebody else. Nothing was overwritten; the edits are still here.
    Conflict {
        /// Snapshot that the branch names now.
        theirs: Hash,
    },
    /// A commit is already under way.
    Busy,
    /// There is no branch to commit to: a bare snapshot or a tag is mounted, or it is read-only.
    NoBranch,
    /// The repository is garbage collected, which this version knows nothing of: it can't tell
    /// which objects are condemned, so it must not build upon any.
    Collected {
        /// The ref that says so.
        key: String,
    },
    /// The format can't hold it. Nothing was published; the edits are still here.
    Unfit {
        /// What is past which bound.
        error: FormatError,
    },
    /// What the store answered last, and for which key. The edits are still here; run it again.
    Failed {
        /// Object that could not be written or read.
        key: String,
        /// Why.
        error: StoreError,
    },
    /// The ref may or may not have been moved. Run it again: the next commit settles it first.
    Unknown,
}
