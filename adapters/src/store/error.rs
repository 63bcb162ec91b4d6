//! Why a store can't be opened, and what an error of the file system means to a store.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustix::io::Errno;
use vellum_core::shapes::StoreError;

/// Why a store can't be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The address is a URL of a kind that no backend serves.
    Scheme {
        /// The address as it was given.
        address: String,
        /// Its scheme.
        scheme: String,
    },
    /// The address does not say which bucket, or its prefix can't begin keys.
    Bucket {
        /// The address as it was given.
        address: String,
    },
    /// The URL of the server can't be used.
    Endpoint {
        /// The URL as it was given.
        url: String,
    },
    /// The directory lies on a file system that other hosts share.
    NotLocal {
        /// The directory.
        path: PathBuf,
        /// What its file system is called.
        kind: &'static str,
    },
    /// The path is not a directory.
    NotDirectory {
        /// The path.
        path: PathBuf,
    },
    /// The directory can't be opened.
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Only what is cached can be read without a store.
    NotOffline {
        /// What was to be read so.
        path: PathBuf,
        /// Whether it is in a bucket: then there is no cache.
        is_bucket: bool,
    },
    /// The test hooks in the environment can't be understood.
    Hooks {
        /// The part that is wrong.
        part: String,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme { address, scheme } => {
                write!(f, "{address}: there is no store for {scheme}:// addresses")
            }
            Self::Bucket { address } => {
                write!(f, "{address} is not the address of a bucket: s3://BUCKET/PREFIX is one")
            }
            Self::Endpoint { url } => write!(f, "{url} is not the URL of a server"),
            Self::NotLocal { path, kind } => write!(
                f,
                "{} is on {kind}: a repository in a directory works on local file systems only",
                path.display()
            ),
            Self::NotDirectory { path } => write!(f, "{} is not a directory", path.display()),
            Self::Io { path, error } => {
                write!(f, "can't open {}: {}", path.display(), os_words(error))
            }
            Self::NotOffline { path, is_bucket: true } => {
                write!(f, "{} can't be read offline: there is no cache", path.display())
            }
            Self::NotOffline { path, is_bucket: false } => {
                write!(f, "{} is in a directory, of which nothing is cached", path.display())
            }
            Self::Hooks { part } => write!(f, "VELLUM_TEST_STORE: can't understand {part:?}"),
        }
    }
}

impl std::error::Error for OpenError {}

/// What the operating system says, without the number.
pub(crate) fn os_words(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error ") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

/// What an error of the local file system means to whoever asked the store.
pub(super) fn store_error(errno: Errno) -> StoreError {
    match errno {
        Errno::NOENT => StoreError::NotFound,
        Errno::NOSPC | Errno::DQUOT => StoreError::NoSpace,
        Errno::ACCESS | Errno::PERM | Errno::ROFS => StoreError::Denied,
        Errno::NOTDIR | Errno::ISDIR | Errno::NAMETOOLONG | Errno::LOOP | Errno::FBIG => {
            StoreError::Unsupported
        }
        _ => StoreError::Unreachable,
    }
}

/// As [`store_error`], where a missing directory means that the store is gone, not the object.
pub(super) fn path_error(errno: Errno) -> StoreError {
    if errno == Errno::NOENT { StoreError::Unreachable } else { store_error(errno) }
}

/// As [`store_error`], for an error of the standard library.
pub(super) fn from_io(error: &io::Error) -> StoreError {
    match Errno::from_io_error(error) {
        Some(errno) => store_error(errno),
        None => StoreError::Unreachable,
    }
}
