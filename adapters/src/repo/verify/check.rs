//! Reads one object, and tells what is wrong with it.

use vellum_core::format::{
    FormatError, Hash, ObjectKind, ObjectName, Verified, begins_snapshot, object_key,
};
use vellum_core::shapes::StoreError;

use super::What;
use crate::repo::error::store_words;
use crate::repo::{Repo, asks};

/// What is wrong with an object, and in more words.
#[derive(Clone, Debug)]
pub(super) enum Wrong {
    Missing,
    Truncated(String),
    Corrupted(String),
    /// It has the bytes of another object.
    Swapped(String),
    Misnamed(String),
    Unreadable(StoreError),
}

impl Wrong {
    pub(super) fn corrupted(detail: String) -> Self {
        Self::Corrupted(detail)
    }

    pub(super) fn format(error: &FormatError) -> Self {
        Self::Corrupted(error.to_string())
    }

    pub(super) fn words(&self) -> (What, String) {
        match self {
            Self::Missing => (What::Missing, String::new()),
            Self::Truncated(detail) => (What::Truncated, detail.clone()),
            Self::Corrupted(detail) | Self::Swapped(detail) => (What::Corrupted, detail.clone()),
            Self::Misnamed(detail) => (What::Misnamed, detail.clone()),
            Self::Unreadable(error) => {
                (What::Unreadable(error.clone()), store_words(error).to_owned())
            }
        }
    }

    pub(super) fn of(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::Missing,
            StoreError::Damaged => Self::Corrupted(store_words(&error).to_owned()),
            StoreError::Exists
            | StoreError::Mismatch
            | StoreError::Throttled
            | StoreError::Unreachable
            | StoreError::Ambiguous
            | StoreError::Denied
            | StoreError::NoSpace
            | StoreError::NoBucket
            | StoreError::Unsupported => Self::Unreadable(error),
        }
    }
}

/// The bytes of an object, which are what its name says. `len_min` is how many they are at least.
pub(super) async fn read(
    repo: &Repo,
    kind: ObjectKind,
    name: &ObjectName,
    len_min: u64,
) -> Result<Verified, Wrong> {
    read_even_if_bad(repo, kind, name, len_min).await.map_err(|(wrong, _)| wrong)
}

/// As [`read`]; of an object that is not what its name says, also what there is.
pub(super) async fn read_even_if_bad(
    repo: &Repo,
    kind: ObjectKind,
    name: &ObjectName,
    len_min: u64,
) -> Result<Verified, (Wrong, Vec<u8>)> {
    let key = object_key(kind, name);
    let mut first = true;
    loop {
        let got = asks::get(repo.store(), &key, None).await;
        let (bytes, _) = got.map_err(|error| (Wrong::of(error), Vec::new()))?;
        let found = Hash::of(&bytes);
        if found == name.hash {
            return Verified::check(&name.hash, bytes).map_err(|error| {
                // The memory changed under it.
                (Wrong::Corrupted(error.to_string()), Vec::new())
            });
        }
        // Once more: the bytes may have been damaged on their way.
        if first {
            first = false;
            continue;
        }
        return Err((diagnosed(repo, kind, &bytes, &found, len_min).await, bytes));
    }
}

/// What is wrong with bytes that have another hash than they should.
async fn diagnosed(
    repo: &Repo,
    kind: ObjectKind,
    bytes: &[u8],
    found: &Hash,
    len_min: u64,
) -> Wrong {
    for other in [ObjectKind::Chunk, ObjectKind::Tree, ObjectKind::Snapshot] {
        let key = object_key(other, &ObjectName::first(*found));
        if asks::head(repo.store(), &key).await.is_ok() {
            return Wrong::Swapped(format!("it has the bytes of {key}"));
        }
    }
    let len = bytes.len() as u64;
    let cut = match kind {
        ObjectKind::Chunk | ObjectKind::Tree => len < len_min,
        ObjectKind::Snapshot => begins_snapshot(bytes),
    };
    match (cut, kind) {
        (true, ObjectKind::Chunk | ObjectKind::Tree) => {
            Wrong::Truncated(format!("it has {len} bytes, and {len_min} are needed of it"))
        }
        (true, ObjectKind::Snapshot) => {
            Wrong::Truncated(format!("it ends in the midst of it, after {len} bytes"))
        }
        (false, _) => Wrong::Corrupted(format!("its bytes are those of {found}")),
    }
}
