//! What a verification reports.

use std::path::PathBuf;

use vellum_core::format::Hash;
use vellum_core::shapes::{Key, StoreError};

use super::Sample;
use crate::cli::Exit;
use crate::repo::error::store_exit;

/// What a verification found.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Snapshots that were read.
    pub snapshots: u64,
    /// Nodes of trees that were read.
    pub nodes: u64,
    /// Data objects that were read.
    pub data_read: u64,
    /// Data objects that were only looked for.
    pub data_seen: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// The part of the data objects that was to be read, if not all.
    pub sample: Option<Sample>,
    /// Whether nothing is left to be checked.
    pub complete: bool,
    /// What is not as it must be, by key.
    pub bad: Vec<Bad>,
}

/// An object that is not as it must be.
#[derive(Clone, Debug, PartialEq)]
pub struct Bad {
    /// Its key.
    pub key: Key,
    /// What is wrong with it.
    pub what: What,
    /// The same in more words; empty when there are none.
    pub detail: String,
    /// Some of those that need it.
    pub needed_by: Vec<NeededBy>,
}

/// What can be wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It does not exist.
    Missing,
    /// It ends before it should.
    Truncated,
    /// It has other bytes than its name stands for, or they are not in the format.
    Corrupted,
    /// It is what its name says, and what names it says something else of it.
    Misnamed,
    /// The store can't read it: whether it is right is not known.
    Unreadable(StoreError),
}

impl What {
    /// A stable word for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Truncated => "truncated",
            Self::Corrupted => "corrupted",
            Self::Misnamed => "misnamed",
            Self::Unreadable(_) => "unreadable",
        }
    }
}

/// Who needs an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NeededBy {
    /// A ref, or the name that was given.
    Name(String),
    /// A snapshot whose parent it is.
    Child(Hash),
    /// The link table of a snapshot.
    LinkTable(Hash),
    /// A path of a snapshot.
    Path {
        /// The snapshot, one of those that have the path.
        snapshot: Hash,
        /// The path; begins with `…` when only its last component is known.
        path: PathBuf,
    },
}

impl Report {
    /// How a command ends that reports this.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let mut exit = Exit::Ok;
        for bad in &self.bad {
            match &bad.what {
                What::Missing | What::Truncated | What::Corrupted | What::Misnamed => {
                    return Exit::Integrity;
                }
                What::Unreadable(error) => exit = store_exit(error),
            }
        }
        exit
    }
}
