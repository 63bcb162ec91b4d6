//! Reads pieces of files in path order. Small files lie in packs in that same order, so a pack is
//! read whole, once, and kept while its files pass by.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OnceCell;
use vellum_core::format::{FormatError, Hash, ObjectKind, ObjectName, Piece, Verified, object_key};

use super::Repo;
use super::error::RepoError;

/// Packs that are kept: the files written at once rarely lie in more.
const KEPT_MAX: usize = 6;

type Pack = Arc<OnceCell<Arc<Verified>>>;

pub(super) struct Packs {
    repo: Arc<Repo>,
    /// The one used last is at the end.
    kept: Mutex<VecDeque<(ObjectName, Pack)>>,
}

/// The verified bytes of a piece.
pub(super) struct PieceBytes {
    object: Arc<Verified>,
    range: Range<usize>,
}

impl PieceBytes {
    pub(super) fn as_slice(&self) -> &[u8] {
        self.object.as_bytes().get(self.range.clone()).unwrap_or_default()
    }
}

impl Packs {
    pub(super) fn new(repo: Arc<Repo>) -> Self {
        Self { repo, kept: Mutex::new(VecDeque::new()) }
    }

    /// The bytes of a data piece; none of a hole.
    pub(super) async fn read(&self, piece: &Piece) -> Result<PieceBytes, RepoError> {
        let Piece::Data { hash, len, object, offset } = piece else {
            return Err(RepoError::Lost { doing: "read a hole" });
        };
        let is_whole = *hash == object.hash;
        let bytes = if is_whole {
            Arc::new(self.repo.read_object(ObjectKind::Chunk, object).await?)
        } else {
            let pack = self.pack(*object);
            let read =
                || async { self.repo.read_object(ObjectKind::Chunk, object).await.map(Arc::new) };
            Arc::clone(pack.get_or_try_init(read).await?)
        };
        let range = bounded(*offset, *len);
        let part = bytes.as_bytes().get(range.clone());
        let fits = part.is_some_and(|part| match is_whole {
            true => part.len() == bytes.as_bytes().len(),
            false => Hash::of(part) == *hash,
        });
        if !fits {
            // The object is what its name says; what names it is wrong.
            let error = FormatError::Invalid { record: "piece", field: "hash" };
            return Err(RepoError::Format { key: object_key(ObjectKind::Chunk, object), error });
        }
        Ok(PieceBytes { object: bytes, range })
    }

    fn pack(&self, name: ObjectName) -> Pack {
        let mut kept = self.kept.lock();
        let found = kept.iter().position(|(at, _)| *at == name);
        let entry = match found.and_then(|index| kept.remove(index)) {
            Some(entry) => entry,
            None => (name, Pack::default()),
        };
        let pack = Arc::clone(&entry.1);
        kept.push_back(entry);
        if kept.len() > KEPT_MAX {
            kept.pop_front();
        }
        pack
    }
}

/// A range past what can be addressed is no range of any object.
fn bounded(offset: u64, len: u64) -> Range<usize> {
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    place(offset)..place(offset.saturating_add(len))
}
