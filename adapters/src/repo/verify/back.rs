//! Reads back what was just put.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::stream::{self, StreamExt};
use vellum_core::format::parse_object_key;
use vellum_core::shapes::Key;

use super::What;
use super::check::read;
use crate::repo::Repo;

/// Objects on their way at once: of 4 MiB each at most, as a rule.
const AHEAD: usize = 8;

/// Reads each of these objects and compares it with its name. `done` counts those that are as they
/// must be. Answers the others, with what is wrong with each.
pub(crate) async fn read_back(
    repo: &Arc<Repo>,
    keys: Vec<Key>,
    done: &AtomicU64,
) -> Vec<(Key, What, String)> {
    let checks = keys.into_iter().map(|key| async move {
        // What has no name of an object has nothing to be compared with.
        let (kind, name) = parse_object_key(&key)?;
        match read(repo, kind, &name, 0).await {
            Ok(_) => {
                done.fetch_add(1, Ordering::Relaxed);
                None
            }
            Err(wrong) => {
                let (what, detail) = wrong.words();
                Some((key, what, detail))
            }
        }
    });
    stream::iter(checks).buffer_unordered(AHEAD).filter_map(std::future::ready).collect().await
}
