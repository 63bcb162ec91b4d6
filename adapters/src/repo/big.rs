//! Sends big files: chunks on a grid, cells without data are holes.

use std::collections::HashMap;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use vellum_core::format::bounds::INLINE_MAX_PIECES;
use vellum_core::format::{Content, Hash, Hashed, ObjectKind, ObjectName, Piece, Pieces, build};

use super::error::RepoError;
use super::import::{Import, joined};
use super::source::BigFile;

/// Bytes of chunks that are in memory at once.
const MEMORY_BYTES: usize = 96 << 20;
/// Chunks that are in memory at once, however big.
const CHUNKS_MIN: usize = 4;

/// Where contents lie that the branch's snapshot has already.
pub(super) type Known = HashMap<Hash, Piece>;

/// Sends big files, all of them together within a bound of memory.
pub(super) struct Bigs {
    chunk_bytes: u64,
    chunks: Arc<Semaphore>,
}

impl Bigs {
    pub(super) fn new(chunk_bytes: u32) -> Self {
        let chunks = (MEMORY_BYTES / chunk_bytes as usize).max(CHUNKS_MIN);
        let chunks = Arc::new(Semaphore::new(chunks));
        Self { chunk_bytes: u64::from(chunk_bytes), chunks }
    }

    /// Reads and sends a file; answers where its content is.
    pub(super) fn send(
        &self,
        file: BigFile,
        known: Known,
        import: Arc<Import>,
    ) -> impl Future<Output = Result<Content, RepoError>> + Send + use<> {
        let (chunk_bytes, chunks) = (self.chunk_bytes, Arc::clone(&self.chunks));
        async move {
            let job = Job { chunks, import, known: Arc::new(known), file: Arc::new(file) };
            job.run(chunk_bytes).await
        }
    }
}

struct Job {
    chunks: Arc<Semaphore>,
    import: Arc<Import>,
    known: Arc<Known>,
    file: Arc<BigFile>,
}

impl Job {
    async fn run(self, chunk_bytes: u64) -> Result<Content, RepoError> {
        let file = Arc::clone(&self.file);
        let ranges = joined(tokio::task::spawn_blocking(move || file.data_ranges()).await)??;
        let size = self.file.size();
        let mut pieces = Vec::new();
        let mut sending: JoinSet<Result<(u64, Piece), RepoError>> = JoinSet::new();
        for cell in cells_with_data(&ranges, size, chunk_bytes) {
            let room = Arc::clone(&self.chunks).acquire_owned().await;
            let room = room.map_err(|_| RepoError::Lost { doing: "read and send files" })?;
            while let Some(sent) = sending.try_join_next() {
                pieces.push(joined(sent)??);
            }
            let import = Arc::clone(&self.import);
            let (known, file) = (Arc::clone(&self.known), Arc::clone(&self.file));
            sending.spawn(async move {
                let _room = room;
                let at = cell.start;
                let chunk =
                    tokio::task::spawn_blocking(move || file.read(cell).map(Hashed::of_bytes));
                let chunk = joined(chunk.await)??;
                Ok((at, send_chunk(&import, &known, chunk).await?))
            });
        }
        while let Some(sent) = sending.join_next().await {
            pieces.push(joined(sent)??);
        }
        pieces.sort_unstable_by_key(|(at, _)| *at);
        let file = Arc::clone(&self.file);
        joined(tokio::task::spawn_blocking(move || file.check_unchanged()).await)??;
        self.content(pieces, size).await
    }

    async fn content(&self, pieces: Vec<(u64, Piece)>, size: u64) -> Result<Content, RepoError> {
        if let Some(inline) = inline(&pieces, size) {
            return Ok(Content::Pieces(inline));
        }
        let path = || self.file.path();
        let built = build::<Pieces>(pieces.into_iter())
            .map_err(|error| RepoError::NotRepresentable { path: path(), error })?;
        let packs = self
            .import
            .lay(&built.nodes)
            .map_err(|error| RepoError::NotRepresentable { path: path(), error })?;
        for pack in packs {
            self.import.put(ObjectKind::Tree, pack).await?;
        }
        // More than 16 pieces never make an empty tree.
        let root = built.root.ok_or(RepoError::Lost { doing: "list the pieces of a file" })?;
        Ok(Content::Tree(root))
    }
}

async fn send_chunk(import: &Import, known: &Known, chunk: Hashed) -> Result<Piece, RepoError> {
    let (hash, len) = (chunk.hash(), chunk.len_bytes());
    if let Some(piece) = known.get(&hash) {
        return Ok(piece.clone());
    }
    import.put(ObjectKind::Chunk, chunk).await?;
    Ok(Piece::Data { hash, len, object: ObjectName::first(hash), offset: 0 })
}

/// The cells of the grid that have data, in order; the last one ends with the file.
fn cells_with_data(
    ranges: &[Range<u64>],
    size: u64,
    chunk_bytes: u64,
) -> impl Iterator<Item = Range<u64>> + Send + use<> {
    let mut next = 0;
    let mut spans: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        let span = (range.start / chunk_bytes).max(next)..range.end.div_ceil(chunk_bytes);
        if !span.is_empty() {
            next = span.end;
            spans.push(span);
        }
    }
    let cell = move |index: u64| {
        let start = index * chunk_bytes;
        start..start.saturating_add(chunk_bytes).min(size)
    };
    spans.into_iter().flatten().map(cell)
}

/// The pieces with their holes, if they are few enough to stand in the inode.
fn inline(data: &[(u64, Piece)], size: u64) -> Option<Vec<Piece>> {
    if data.len() > INLINE_MAX_PIECES {
        return None;
    }
    let mut pieces = Vec::new();
    let mut end = 0;
    for (at, piece) in data {
        if *at > end {
            pieces.push(Piece::Hole { len: at - end });
        }
        end = at + piece.len_bytes();
        pieces.push(piece.clone());
    }
    if end < size {
        pieces.push(Piece::Hole { len: size - end });
    }
    (pieces.len() <= INLINE_MAX_PIECES).then_some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(ranges: &[(u64, u64)], size: u64) -> Vec<(u64, u64)> {
        let ranges: Vec<_> = ranges.iter().map(|(start, end)| *start..*end).collect();
        cells_with_data(&ranges, size, 10).map(|cell| (cell.start, cell.end)).collect()
    }

    #[test]
    fn cells_without_data_are_left_out_and_none_comes_twice() {
        assert_eq!(cells(&[], 25), []);
        assert_eq!(cells(&[(0, 25)], 25), [(0, 10), (10, 20), (20, 25)]);
        assert_eq!(cells(&[(3, 4), (5, 6), (31, 32)], 35), [(0, 10), (30, 35)]);
        assert_eq!(cells(&[(9, 11), (19, 21)], 30), [(0, 10), (10, 20), (20, 30)]);
        assert_eq!(cells(&[(10, 20)], 40), [(10, 20)]);
    }

    #[test]
    fn few_pieces_stand_with_their_holes_between() {
        let data = |at: u64, len: u64| {
            let hash = Hash::of(&at.to_le_bytes());
            (at, Piece::Data { hash, len, object: ObjectName::first(hash), offset: 0 })
        };
        let (first, second) = (data(10, 10), data(30, 5));
        let hole = |len| Piece::Hole { len };
        let expected = vec![hole(10), first.1.clone(), hole(10), second.1.clone(), hole(5)];
        assert_eq!(inline(&[first, second], 40), Some(expected));
        assert_eq!(inline(&[], 7), Some(vec![hole(7)]));
        let spread = |count: u64| -> Vec<_> { (0..count).map(|i| data(i * 20 + 10, 10)).collect() };
        assert!(inline(&spread(8), 8 * 20).is_some());
        assert!(inline(&spread(9), 9 * 20).is_none());
    }
}
