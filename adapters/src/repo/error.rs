//! What can go wrong with a repository, said once: what happened, to which path or key, the exit
//! code and what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use vellum_core::format::{FormatError, Hash, HeaderError, NodeRef, RefNameError};
use vellum_core::shapes::{Key, StoreError};

use super::names::NamingError;
use super::probe::Breach;
use crate::cli::{CliError, Exit};
use crate::store::{OpenError, os_words};

/// Why something could not be done with a repository.
#[derive(Debug)]
pub enum RepoError {
    /// The store can't be opened.
    Open(OpenError),
    /// There is no header.
    NotARepository { path: PathBuf },
    /// The header can't be used.
    Header { path: PathBuf, error: HeaderError },
    /// The repository has a feature without which nothing may be written.
    ReadOnly { path: PathBuf, feature: String },
    /// There is a repository already.
    AlreadyThere { path: PathBuf },
    /// A directory that must be empty is not.
    NotEmpty { path: PathBuf },
    /// The store failed a request.
    Store { doing: &'static str, key: Key, error: StoreError },
    /// An object that something names does not exist.
    Missing { key: Key },
    /// An object does not have the bytes that its name stands for.
    Damaged { key: Key },
    /// An object has its bytes, and they are not in the format.
    Format { key: Key, error: FormatError },
    /// A ref can't have this name.
    RefName(RefNameError),
    /// No branch, tag or snapshot goes by this name.
    NoSuchRef { path: PathBuf, name: String, refs: Vec<String> },
    /// Several snapshots begin with these digits.
    Ambiguous { name: String, snapshots: Vec<String> },
    /// The branch has no snapshot yet.
    EmptyBranch { name: String },
    /// Only a branch can be written to.
    NotABranch { name: String },
    /// A ref could not be made or removed.
    Naming(NamingError),
    /// Only a file has bytes to be read.
    NotAFile { path: PathBuf, kind: &'static str },
    /// A local file or directory could not be read or written.
    Local { doing: &'static str, path: PathBuf, error: io::Error },
    /// A file changed while it was read.
    Changed { path: PathBuf },
    /// A path that the snapshot does not have, or that is not what it must be.
    NoSuchPath { path: PathBuf },
    /// The repository lies inside of what is to be imported.
    Inside { repo: PathBuf, source: PathBuf },
    /// The format can't hold this.
    NotRepresentable { path: PathBuf, error: FormatError },
    /// The target file system can't hold this.
    NotSupported { doing: &'static str, path: PathBuf },
    /// Somebody else moved the branch.
    Conflict { branch: String, theirs: Option<Hash> },
    /// It is not known whether the branch was moved.
    OutcomeUnknown { branch: String },
    /// The repository is garbage collected, by a newer Vellum.
    Collected { key: String },
    /// The store does not keep the conditions of puts.
    Unconditional { path: PathBuf, breach: Breach },
    /// Interrupted by a signal.
    Interrupted,
    /// Work was lost to a failure inside the program.
    Lost { doing: &'static str },
}

impl RepoError {
    pub(super) fn local(doing: &'static str, path: &Path, errno: Errno) -> Self {
        Self::Local { doing, path: path.to_path_buf(), error: errno.into() }
    }

    pub(super) fn store(doing: &'static str, key: &str, error: StoreError) -> Self {
        Self::Store { doing, key: key.to_owned(), error }
    }

    /// How a command ends that fails with this.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Open(OpenError::Io { error, .. }) => local_exit(error),
            Self::Open(_)
            | Self::NotARepository { .. }
            | Self::Header {
                error:
                    HeaderError::NewerFormat { .. }
                    | HeaderError::OlderFormat { .. }
                    | HeaderError::NewerFeature { .. }
                    | HeaderError::ChunkSize { .. },
                ..
            }
            | Self::ReadOnly { .. }
            | Self::AlreadyThere { .. }
            | Self::NotEmpty { .. }
            | Self::RefName(_)
            | Self::NoSuchRef { .. }
            | Self::Ambiguous { .. }
            | Self::EmptyBranch { .. }
            | Self::NotABranch { .. }
            | Self::NotAFile { .. }
            | Self::Changed { .. }
            | Self::Inside { .. }
            | Self::NoSuchPath { .. } => Exit::Usage,
            Self::Store { error, .. } => store_exit(error),
            Self::Header { error: HeaderError::NotAHeader, .. }
            | Self::Missing { .. }
            | Self::Damaged { .. }
            | Self::Format { .. } => Exit::Integrity,
            Self::Local { error, .. } => local_exit(error),
            Self::NotRepresentable { .. } | Self::NotSupported { .. } => Exit::NotRepresentable,
            Self::Naming(error) => error.exit(),
            Self::Conflict { .. } => Exit::Conflict,
            Self::Unconditional { .. }
            | Self::OutcomeUnknown { .. }
            | Self::Lost { .. }
            | Self::Collected { .. } => Exit::Store,
            Self::Interrupted => Exit::Interrupted,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Open(OpenError::NotLocal { .. }) => {
                "keep the repository on a local disk of this host".into()
            }
            Self::Open(OpenError::Io { error, .. }) => local_remedy(error).into(),
            Self::Open(OpenError::Endpoint { .. }) => {
                "give the URL of the server, such as https://minio.example:9000".into()
            }
            Self::Open(OpenError::NotOffline { is_bucket: true, .. }) => {
                "leave --offline out, or give a --cache-size and a --cache-dir".into()
            }
            Self::Open(OpenError::NotOffline { .. }) => "leave --offline out".into(),
            Self::Open(_) => "give s3://BUCKET/PREFIX, or a directory on a local disk".into(),
            Self::NotARepository { path } => {
                format!("create one with `vellum init {}`", path.display())
            }
            Self::Header { error: HeaderError::ChunkSize { .. }, .. } => {
                "4 MiB is the default: leave --chunk-size out if in doubt".into()
            }
            Self::Header { error: HeaderError::NotAHeader, .. } => {
                "restore this object from a copy of the repository".into()
            }
            Self::Header { .. } => "check the path, and the version of this program".into(),
            Self::ReadOnly { .. } => "upgrade vellum to write to it; reading works".into(),
            Self::AlreadyThere { .. } => "use it as it is, or choose another path".into(),
            Self::NotEmpty { .. } => {
                "choose an empty directory or a path that does not exist".into()
            }
            Self::Store { error, .. } => store_remedy(error).into(),
            Self::Missing { .. } | Self::Damaged { .. } | Self::Format { .. } => {
                "restore this object from a copy of the repository".into()
            }
            Self::RefName(_) => "choose another name".into(),
            Self::NoSuchRef { refs, .. } if refs.is_empty() => {
                "there is no branch: `vellum import` makes one".into()
            }
            Self::NoSuchRef { refs, .. } => format!("there are: {}", refs.join(", ")),
            Self::Ambiguous { snapshots, .. } => format!("one of: {}", snapshots.join(", ")),
            Self::EmptyBranch { .. } => "import something into it, or commit to it, first".into(),
            Self::NotABranch { .. } => "name a branch: REPO@BRANCH".into(),
            Self::Naming(error) => error.remedy(),
            Self::NotAFile { .. } => "give a file of the snapshot: `vellum ls` lists them".into(),
            Self::Local { error, .. } => local_remedy(error).into(),
            Self::Changed { .. } => "run it again when nothing writes to the file".into(),
            Self::NoSuchPath { .. } => "give a directory or file of the snapshot".into(),
            Self::Inside { .. } => "import from, or keep the repository in, another place".into(),
            Self::NotRepresentable { .. } => "change or remove it and run this again".into(),
            Self::NotSupported { .. } => "choose a target on a file system that can hold it".into(),
            Self::Conflict { .. } => {
                "nothing was overwritten; run it again to build upon the new head".into()
            }
            Self::OutcomeUnknown { .. } => {
                "run it again: what is there already is not sent again".into()
            }
            Self::Collected { .. } => {
                "upgrade Vellum: this one can't tell what is condemned".into()
            }
            Self::Unconditional { .. } => {
                "nothing was published. Use a store that keeps conditional writes; or, if only one \
                 mount or import at a time will ever write to it, `vellum init --single-writer`"
                    .into()
            }
            Self::Interrupted => "nothing was published; run it again to go on".into(),
            Self::Lost { .. } => "run it again; please report this if it persists".into(),
        }
    }
}

/// The pieces of a file go on where its size says that it ends.
pub(super) fn past_the_end(root: &NodeRef) -> RepoError {
    let error = FormatError::Invalid { record: "piece node", field: "length" };
    RepoError::Format { key: super::node_key(root), error }
}

pub(super) fn store_exit(error: &StoreError) -> Exit {
    match error {
        StoreError::NoSpace => Exit::NoSpace,
        StoreError::Denied => Exit::Credentials,
        StoreError::Damaged => Exit::Integrity,
        StoreError::NotFound
        | StoreError::Exists
        | StoreError::Mismatch
        | StoreError::Throttled
        | StoreError::Unreachable
        | StoreError::Ambiguous
        | StoreError::NoBucket
        | StoreError::Unsupported => Exit::Store,
    }
}

fn store_remedy(error: &StoreError) -> &'static str {
    match error {
        StoreError::NoSpace => "make room where the repository lies, then run it again",
        StoreError::Denied => {
            "check the credentials, or the owner and permissions of the directory"
        }
        StoreError::Damaged => "restore this object from a copy of the repository",
        StoreError::Throttled | StoreError::Unreachable | StoreError::Ambiguous => {
            "check that the store can be reached, then run it again"
        }
        StoreError::NoBucket => "create the bucket, or check its name and the endpoint",
        StoreError::NotFound
        | StoreError::Exists
        | StoreError::Mismatch
        | StoreError::Unsupported => "check that this is the repository that you mean",
    }
}

fn local_exit(error: &io::Error) -> Exit {
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC | Errno::DQUOT) => Exit::NoSpace,
        Some(Errno::ACCESS | Errno::PERM) => Exit::Credentials,
        _ => Exit::Usage,
    }
}

fn local_remedy(error: &io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC | Errno::DQUOT) => "make room there, then run it again",
        Some(Errno::ACCESS | Errno::PERM) => {
            "run this as a user who may do that, or change its permissions"
        }
        Some(Errno::MFILE | Errno::NFILE) => "raise the limit of open files: `ulimit -n`",
        _ => "check the path, then run it again",
    }
}

pub(super) fn store_words(error: &StoreError) -> &'static str {
    match error {
        StoreError::NotFound => "it does not exist",
        StoreError::Exists => "it exists already",
        StoreError::Mismatch => "it was changed by somebody else",
        StoreError::Throttled => "the store asks for patience",
        StoreError::Unreachable => "the store can't be reached",
        StoreError::Ambiguous => "the store did not say whether it was done",
        StoreError::Denied => "permission denied",
        StoreError::NoSpace => "no space left in the store",
        StoreError::Damaged => "what came back is damaged",
        StoreError::NoBucket => "there is no such bucket",
        StoreError::Unsupported => "the store can't do that",
    }
}

impl fmt::Display for RepoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::NotARepository { path } => {
                write!(f, "{} is not a Vellum repository (no vellum.json)", path.display())
            }
            Self::Header { path, error } => write!(f, "{}: {error}", path.display()),
            Self::ReadOnly { path, feature } => write!(
                f,
                "{} can't be written to: it uses `{feature}`, which this program does not know",
                path.display()
            ),
            Self::AlreadyThere { path } => {
                write!(f, "{} is a Vellum repository already", path.display())
            }
            Self::NotEmpty { path } => write!(f, "{} is not empty", path.display()),
            Self::Store { doing, key, error } => {
                write!(f, "can't {doing} {key}: {}", store_words(error))
            }
            Self::Missing { key } => write!(f, "object {key} is missing"),
            Self::Damaged { key } => {
                write!(f, "object {key} is damaged: its bytes are not those its name stands for")
            }
            Self::Format { key, error } => write!(f, "object {key} is not valid: {error}"),
            Self::RefName(error) => error.fmt(f),
            Self::NoSuchRef { path, name, .. } => {
                write!(f, "{} has no branch, tag or snapshot `{name}`", path.display())
            }
            Self::Ambiguous { name, .. } => write!(f, "several snapshots begin with `{name}`"),
            Self::EmptyBranch { name } => write!(f, "branch `{name}` has no snapshot yet"),
            Self::NotABranch { name } => write!(f, "`{name}` is not a branch"),
            Self::Naming(error) => error.fmt(f),
            Self::NotAFile { path, kind } => {
                write!(f, "{} is a {kind}, not a file", path.display())
            }
            Self::Local { doing, path, error } => {
                write!(f, "can't {doing} {}: {}", path.display(), os_words(error))
            }
            Self::Changed { path } => write!(f, "{} changed while it was read", path.display()),
            Self::NoSuchPath { path } => {
                write!(f, "the snapshot has no such path: {}", path.display())
            }
            Self::Inside { repo, source } => inside(f, repo, source),
            Self::NotRepresentable { path, error } => {
                write!(f, "{} can't be kept in a repository: {error}", path.display())
            }
            Self::NotSupported { doing, path } => write!(
                f,
                "can't {doing} {}: the target file system does not support it",
                path.display()
            ),
            Self::Conflict { branch, theirs } => conflict(f, branch, theirs.as_ref()),
            Self::OutcomeUnknown { branch } => {
                write!(f, "it is not known whether branch `{branch}` was moved")
            }
            Self::Collected { key } => {
                write!(f, "{key}: the repository is garbage collected, by a newer Vellum")
            }
            Self::Unconditional { path, breach } => {
                write!(f, "{} is not safe to write to: {breach}", path.display())
            }
            Self::Interrupted => write!(f, "interrupted"),
            Self::Lost { doing } => write!(f, "the work to {doing} was lost"),
        }
    }
}

fn conflict(f: &mut fmt::Formatter<'_>, branch: &str, theirs: Option<&Hash>) -> fmt::Result {
    match theirs {
        Some(theirs) => write!(f, "branch `{branch}` was moved to {theirs} meanwhile"),
        None => write!(f, "branch `{branch}` was changed meanwhile"),
    }
}

fn inside(f: &mut fmt::Formatter<'_>, repo: &Path, source: &Path) -> fmt::Result {
    let (repo, source) = (repo.display(), source.display());
    write!(f, "the repository {repo} lies inside of {source}, which is to be imported")
}

impl std::error::Error for RepoError {}

impl From<RepoError> for CliError {
    fn from(error: RepoError) -> Self {
        Self::new(error.exit(), error.to_string(), error.remedy())
    }
}

impl From<OpenError> for RepoError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}
