//! The second half of a verification: the data objects, each once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::stream::{self, StreamExt};
use vellum_core::format::{ObjectKind, ObjectName, Verified, decode_xattrs, object_key};

use super::Verify;
use super::check::{Wrong, read};
use super::trees::{Needed, Wanted};
use crate::repo::import::joined;
use crate::repo::{Repo, RepoError, asks};

/// Bytes that may be on their way at once.
const AHEAD_BYTES: u32 = 128 << 20;
/// Most objects on their way at once: as many as a directory store works on.
const AHEAD_MAX: usize = 32;

/// Checks every data object: reads it, or only looks for it, if there is a sample without it.
pub(super) async fn run(verify: &Arc<Verify>, mut needed: Needed) -> Result<(), RepoError> {
    let mut data: Vec<(ObjectName, Wanted)> = needed.data.drain().collect();
    // So that what is read is in the same order with each run.
    data.sort_unstable_by_key(|(name, _)| *name);
    let ahead = (AHEAD_BYTES / verify.repo.header().chunk_bytes) as usize;
    let checks = data.into_iter().map(|(name, wanted)| {
        let is_taken = verify.sample.is_none_or(|sample| sample.takes(&name));
        let whole = is_taken || !wanted.xattrs.is_empty();
        let repo = Arc::clone(&verify.repo);
        async move {
            let check = tokio::spawn(async move {
                let checked = check(&repo, &name, &wanted, whole).await;
                (wanted, checked)
            });
            (name, whole, check.await)
        }
    });
    let mut checks = stream::iter(checks).buffer_unordered(ahead.clamp(2, AHEAD_MAX));
    while let Some((name, whole, done)) = checks.next().await {
        let (wanted, checked) = joined(done)?;
        let count = if whole { &verify.data_read } else { &verify.data_seen };
        count.fetch_add(1, Ordering::Relaxed);
        match checked {
            Ok(bytes) => verify.found_good(bytes),
            Err(wrong) => {
                let by = wanted.needs.iter().map(|need| needed.told(need)).collect();
                verify.found_bad(object_key(ObjectKind::Chunk, &name), wrong, by)?;
            }
        }
    }
    Ok(())
}

/// Answers the bytes that were read.
async fn check(repo: &Repo, name: &ObjectName, wanted: &Wanted, whole: bool) -> Result<u64, Wrong> {
    if !whole {
        let key = object_key(ObjectKind::Chunk, name);
        let (len, ..) = asks::head(repo.store(), &key).await.map_err(Wrong::of)?;
        let words = length_words(len, wanted);
        return match words {
            None => Ok(0),
            Some(words) if len < wanted.len_min => Err(Wrong::Truncated(words)),
            Some(words) => Err(Wrong::corrupted(words)),
        };
    }
    let bytes = read(repo, ObjectKind::Chunk, name, wanted.len_min).await?;
    let len = bytes.as_bytes().len() as u64;
    if let Some(words) = length_words(len, wanted) {
        return Err(Wrong::Misnamed(words));
    }
    for (offset, len, hash) in &wanted.xattrs {
        let range = usize::try_from(*offset).ok().zip(usize::try_from(offset + len).ok());
        let part = range.and_then(|(begin, end)| bytes.as_bytes().get(begin..end));
        let part = Verified::check(hash, part.unwrap_or_default().to_vec());
        let part = part.map_err(|error| Wrong::Misnamed(error.to_string()))?;
        decode_xattrs(&part).map_err(|error| Wrong::format(&error))?;
    }
    Ok(len)
}

/// What is wrong with an object of this length; nothing, if it is as it must be.
fn length_words(len: u64, wanted: &Wanted) -> Option<String> {
    let min = wanted.len_min;
    let sound = if wanted.is_exact { len == min } else { len >= min };
    (!sound).then(|| format!("it has {len} bytes, and {min} are needed of it"))
}
