//! The snapshots of a branch, newest first.

use std::sync::Arc;

use vellum_core::format::{Hash, Snapshot};

use super::{Repo, RepoError};

/// One snapshot of a history.
#[derive(Clone, Debug, PartialEq)]
pub struct LogEntry {
    /// Its hash.
    pub hash: Hash,
    /// What it says.
    pub snapshot: Snapshot,
}

/// Up to `max` snapshots from `from` on, along first parents.
///
/// # Errors
/// One is missing or damaged, or the store fails.
pub async fn log(
    repo: &Arc<Repo>,
    from: Option<Hash>,
    max: usize,
) -> Result<Vec<LogEntry>, RepoError> {
    let mut entries = Vec::new();
    let mut next = from;
    while let Some(hash) = next
        && entries.len() < max
    {
        let snapshot = repo.read_snapshot(hash).await?;
        next = snapshot.parents.first().copied();
        entries.push(LogEntry { hash, snapshot });
    }
    Ok(entries)
}
