//! Where the bytes of a file are: the pieces of its layout, from the list in the inode or from the
//! nodes of a piece tree that are loaded for it.

use std::collections::BTreeMap;
use std::ops::Range;

use super::engine::{Cx, Engine, WaitKey};
use super::gather::NodeKind;
use super::piece::PieceKey;
use super::trees::Asker;
use crate::conc::File;
use crate::format::{Content, NodeRef, Piece, UpdateError, covering};
use crate::machine::names::Layout;
use crate::shapes::Whence;
use crate::sync::Arc;
use crate::words::{Errno, Ino};

/// Pieces that a search for a hole looks at in one go: those of a full node.
const HOLE_SEARCH_PIECES: usize = 1024;

/// Pieces of a range of a layout, each with its place in the file, and the holes between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) pieces: BTreeMap<u64, PieceKey>,
    pub(crate) holes: Vec<Range<u64>>,
    /// Up to where all of this is known.
    end: u64,
}

impl Engine {
    /// Sees to it that the next data or hole at or after `offset` can be told; what has to come
    /// first, if anything. What would take more nodes than may be kept counts as data.
    pub(crate) fn find_holes(
        &mut self,
        cx: &mut Cx<'_>,
        ino: Ino,
        offset: u64,
        whence: Whence,
    ) -> Result<Option<WaitKey>, Errno> {
        let (file, layout) = self.file_and_layout(ino)?;
        let generation = file.generation();
        let most = match whence {
            Whence::Data => 1,
            Whence::Hole => HOLE_SEARCH_PIECES,
        };
        let mut at = offset;
        loop {
            let answer = file.seek(offset, whence).unwrap_or(u64::MAX);
            let (from, to) = match whence {
                Whence::Data => (answer.max(at), layout.size),
                Whence::Hole => (at, answer.min(layout.size)),
            };
            if from >= to || self.trees.gathered(&Asker::Layout(ino)) > self.cached_nodes() {
                return Ok(None);
            }
            let (asker, range) = (Asker::Layout(ino), from..to);
            let Some(part) = self.locate(cx, &asker, &layout, &[range], most)? else {
                return Ok(Some(WaitKey::Layout(ino)));
            };
            file.uncover(generation, &part.holes);
            at = part.end;
            if file.seek(offset, whence).is_ok_and(|answer| answer < part.end) {
                return Ok(None);
            }
        }
    }

    /// A file that knows where the holes of a range of its layout are, and what the range holds;
    /// `None` when [`WaitKey::Layout`] has to come first.
    pub(super) fn located(
        &mut self,
        cx: &mut Cx<'_>,
        ino: Ino,
        range: Range<u64>,
    ) -> Result<Option<(Arc<File>, Located)>, Errno> {
        let (file, layout) = self.file_and_layout(ino)?;
        let generation = file.generation();
        let asker = Asker::Layout(ino);
        let Some(located) = self.locate(cx, &asker, &layout, &[range], usize::MAX)? else {
            return Ok(None);
        };
        file.uncover(generation, &located.holes);
        Ok(Some((file, located)))
    }

    fn file_and_layout(&self, ino: Ino) -> Result<(Arc<File>, Layout), Errno> {
        let node = self.table.get(ino).and_then(|node| node.file()).ok_or(Errno::Stale)?;
        Ok((Arc::clone(&node.file), node.layout.clone()))
    }

    /// The pieces of ranges of a layout, of each the first `most`; `None` when the asker will be
    /// called once nodes of the piece tree are there. Whatever it was given stays at its hand until
    /// it is forgotten.
    pub(crate) fn locate(
        &mut self,
        cx: &mut Cx<'_>,
        asker: &Asker,
        layout: &Layout,
        ranges: &[Range<u64>],
        most: usize,
    ) -> Result<Option<Located>, Errno> {
        let root = match &layout.content {
            Content::Pieces(pieces) => return Ok(Some(inline(pieces, ranges, layout.size))),
            Content::Tree(root) => *root,
        };
        loop {
            let mut located = Located::default();
            let mut missing: Vec<NodeRef> = Vec::new();
            let node = |hash: &_| self.trees.piece_node(asker, hash);
            for range in ranges {
                let range = range.start..range.end.min(layout.size);
                if range.is_empty() {
                    continue;
                }
                match covering(Some(&root), range.clone(), most, &node) {
                    Ok(entries) => located.add(&entries, range, most, layout.size)?,
                    Err(UpdateError::Missing(nodes)) => missing.extend(nodes),
                    Err(UpdateError::Format(_)) => return Err(Errno::Io),
                }
            }
            if missing.is_empty() {
                return Ok(Some(located));
            }
            missing.sort_by_key(|node| node.hash);
            missing.dedup();
            if !self.ask(cx, asker, NodeKind::Pieces, &missing) {
                return Ok(None);
            }
        }
    }
}

impl Located {
    /// Adds the entries of a piece tree that overlap a range, at most `most`, and the gaps between
    /// them. No piece may end past the file.
    fn add(
        &mut self,
        entries: &[(u64, Piece)],
        range: Range<u64>,
        most: usize,
        size: u64,
    ) -> Result<(), Errno> {
        let mut at = range.start;
        for (offset, piece) in entries {
            if at < *offset {
                self.holes.push(at..*offset);
            }
            if let Some(key) = PieceKey::of(piece) {
                self.pieces.insert(*offset, key);
            }
            at = offset.saturating_add(piece.len_bytes());
            if at > size {
                return Err(Errno::Io);
            }
        }
        if entries.len() < most && at < range.end {
            self.holes.push(at..range.end);
            at = range.end;
        }
        self.end = at;
        Ok(())
    }
}

/// Pieces of a list that overlap ranges of a file.
fn inline(pieces: &[Piece], ranges: &[Range<u64>], size: u64) -> Located {
    let mut located = Located { end: size, ..Located::default() };
    let mut at = 0;
    for piece in pieces {
        let end = at + piece.len_bytes();
        if ranges.iter().any(|range| at < range.end && range.start < end) {
            match PieceKey::of(piece) {
                Some(key) => {
                    located.pieces.insert(at, key);
                }
                None => located.holes.push(at..end),
            }
        }
        at = end;
    }
    located
}
