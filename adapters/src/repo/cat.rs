//! Reads files of a snapshot from their beginning to their end, verified, with several fetches on
//! their way.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::stream::{self, LocalBoxStream, StreamExt, TryStreamExt};
use vellum_core::format::{
    Body, Content, FormatError, Hash, Inode, NodeRef, ObjectKind, Piece, Pieces, Verified,
    object_key,
};

use super::Repo;
use super::error::{RepoError, past_the_end};
use super::ordered::InOrder;

/// Bytes that may be on their way at once.
const AHEAD_BYTES: u32 = 64 << 20;
/// Most pieces on their way at once, however small they are.
const AHEAD_MAX: usize = 32;

/// A run of bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// Bytes as they are stored.
    Data(Verified),
    /// So many zeros, of a hole.
    Zeros(u64),
}

/// Files that are read one behind the other.
pub struct Cat {
    blocks: LocalBoxStream<'static, Result<Block, RepoError>>,
}

impl Cat {
    /// Begins to read these files. None is read unless all of them are there.
    ///
    /// # Errors
    /// A path does not exist or is no file, an object is missing or damaged, or the store fails.
    pub async fn open(
        repo: &Arc<Repo>,
        snapshot: Hash,
        paths: &[PathBuf],
    ) -> Result<Self, RepoError> {
        let snapshot = repo.read_snapshot(snapshot).await?;
        let mut files = Vec::new();
        for path in paths {
            let found = repo.look_up(&snapshot, Some(path)).await?;
            files.push(file(path, found.inode)?);
        }
        let ahead = (AHEAD_BYTES / repo.header().chunk_bytes) as usize;
        let (walked, fetching) = (Arc::clone(repo), Arc::clone(repo));
        let pieces = stream::iter(files).flat_map(move |(size, content)| match content {
            Content::Pieces(pieces) => stream::iter(pieces.into_iter().map(Ok)).boxed_local(),
            Content::Tree(root) => in_tree(&walked, root, size),
        });
        let blocks = pieces.map(move |piece| fetch(Arc::clone(&fetching), piece));
        Ok(Self { blocks: blocks.buffered(ahead.clamp(2, AHEAD_MAX)).boxed_local() })
    }

    /// The next bytes; none at the end.
    ///
    /// # Errors
    /// An object is missing or damaged, or the store fails.
    pub async fn next(&mut self) -> Result<Option<Block>, RepoError> {
        self.blocks.try_next().await
    }
}

fn file(path: &Path, inode: Inode) -> Result<(u64, Content), RepoError> {
    let kind = match inode.body {
        Body::File { size, content } => return Ok((size, content)),
        Body::Directory { .. } => "directory",
        Body::Symlink { .. } => "symbolic link",
        Body::Fifo => "named pipe",
        Body::Socket => "socket",
        Body::CharDevice { .. } | Body::BlockDevice { .. } => "device",
    };
    Err(RepoError::NotAFile { path: path.to_path_buf(), kind })
}

/// A big file, and how far it was walked.
struct BigFile {
    pieces: InOrder<Pieces, ()>,
    root: NodeRef,
    size: u64,
    at: u64,
    /// The piece behind the hole that was answered last.
    held: Option<Piece>,
}

fn in_tree(
    repo: &Arc<Repo>,
    root: NodeRef,
    size: u64,
) -> LocalBoxStream<'static, Result<Piece, RepoError>> {
    let pieces = InOrder::new(repo, Some(root), (), |(), _, _| None);
    let file = BigFile { pieces, root, size, at: 0, held: None };
    stream::try_unfold(
        file,
        |mut file| async move { Ok(file.next().await?.map(|piece| (piece, file))) },
    )
    .boxed_local()
}

impl BigFile {
    /// The next piece, holes too.
    async fn next(&mut self) -> Result<Option<Piece>, RepoError> {
        let piece = match self.held.take() {
            Some(piece) => piece,
            None => match self.pieces.next().await? {
                Some(((), begin, piece)) if begin > self.at => {
                    self.held = Some(piece);
                    Piece::Hole { len: begin - self.at }
                }
                Some(((), _, piece)) => piece,
                None if self.at < self.size => Piece::Hole { len: self.size - self.at },
                None => return Ok(None),
            },
        };
        self.at = self.at.saturating_add(piece.len_bytes());
        if self.at > self.size { Err(past_the_end(&self.root)) } else { Ok(Some(piece)) }
    }
}

async fn fetch(repo: Arc<Repo>, piece: Result<Piece, RepoError>) -> Result<Block, RepoError> {
    let (hash, len, object, offset) = match piece? {
        Piece::Hole { len } => return Ok(Block::Zeros(len)),
        Piece::Data { hash, len, object, offset } => (hash, len, object, offset),
    };
    // A task of its own goes on while what came before it is written.
    let reading =
        tokio::spawn(async move { repo.read_data(&object, offset..offset + len, &hash).await });
    let bytes = reading.await.unwrap_or(Err(RepoError::Lost { doing: "read files" }))?;
    if bytes.as_bytes().len() as u64 == len {
        return Ok(Block::Data(bytes));
    }
    // The bytes are what their hash says; what names them is wrong.
    let error = FormatError::Invalid { record: "piece", field: "length" };
    Err(RepoError::Format { key: object_key(ObjectKind::Chunk, &object), error })
}
