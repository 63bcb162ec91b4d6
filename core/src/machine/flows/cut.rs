//! How a changed file is cut: which stored pieces stay, and which ranges are made anew. Pure.

use std::collections::BTreeMap;
use std::ops::Range;

use super::locate::Located;
use super::piece::PieceKey;
use crate::conc::Image;
use crate::shapes::Spans;

/// The chunks of a file, on the grid that the repository fixes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub(super) chunk_bytes: u64,
}

/// How much of a layout is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// All of it: its list of pieces is made anew, as an import would make it.
    Whole,
    /// What may have changed: its piece tree gets changes.
    Touched,
}

/// How a file is cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cut {
    /// Pieces that stay, by their offset.
    pub(super) kept: BTreeMap<u64, PieceKey>,
    /// Offsets of the pieces that go.
    pub(super) gone: Vec<u64>,
    /// Ranges that are made anew, each within one chunk.
    pub(super) made: Vec<Range<u64>>,
}

impl Grid {
    /// Whether a piece is one chunk of a file of `size` bytes.
    pub(super) fn is_chunk(self, piece: &Range<u64>, size: u64) -> bool {
        let end = piece.start.saturating_add(self.chunk_bytes).min(size);
        let ends = piece.end == end || (seeded!(EndMovesUnseen) && piece.end < end);
        piece.start.is_multiple_of(self.chunk_bytes) && ends
    }

    /// The whole chunks that a range touches.
    pub(super) fn around(self, range: &Range<u64>) -> Range<u64> {
        let end = range.end.div_ceil(self.chunk_bytes).saturating_mul(self.chunk_bytes);
        range.start / self.chunk_bytes * self.chunk_bytes..end
    }

    /// The parts of a range, one for each chunk that it touches.
    pub(super) fn parts(self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let end = range.end - if seeded!(ChunkTailLost) { range.end % self.chunk_bytes } else { 0 };
        let chunks = range.start / self.chunk_bytes..end.div_ceil(self.chunk_bytes);
        chunks.map(move |index| {
            let start = index * self.chunk_bytes;
            start.max(range.start)..start.saturating_add(self.chunk_bytes).min(range.end)
        })
    }

    /// The chunks in which a file may differ from a layout of `old_size` bytes: some of it is in
    /// memory only, is no longer covered, or the end moved there.
    pub(super) fn touched(self, image: &Image, old_size: u64) -> Spans {
        let mut touched = Spans::default();
        image.dirty_ranges().for_each(|range| touched.insert(self.around(&range)));
        let both = image.size.min(old_size);
        image.cover.gaps(0..both).for_each(|range| touched.insert(self.around(&range)));
        let moves = image.size != old_size && !seeded!(EndMovesUnseen);
        if moves && !both.is_multiple_of(self.chunk_bytes) {
            touched.insert(self.around(&(both - 1..both)));
        }
        touched
    }

    /// The ranges of a layout whose pieces must be known before the file is cut.
    pub(super) fn to_locate(self, image: &Image, old_size: u64, scope: Scope) -> Vec<Range<u64>> {
        match scope {
            Scope::Whole => std::iter::once(0..image.size.min(old_size)).collect(),
            Scope::Touched => {
                let mut touched = self.touched(image, old_size);
                touched.insert(image.size..old_size.max(image.size));
                touched.within(0..old_size).collect()
            }
        }
    }

    /// Cuts a file that is no longer packed. Of a layout of `old_size` bytes, `old` is what
    /// [`Grid::to_locate`] named.
    pub(super) fn cut(self, image: &Image, old_size: u64, old: &Located, scope: Scope) -> Cut {
        let mut held = image.cover.clone();
        old.holes.iter().for_each(|hole| held.remove(hole.clone()));
        let has_data = |range: &Range<u64>| held.overlaps(range) || image.has_valid(range);
        let mut made = self.chunks_to_make(image, old_size, &held);
        let mut cut = Cut::default();
        let mut lost = Spans::default();
        for (at, key) in &old.pieces {
            let piece = *at..at.saturating_add(key.len);
            let fits = scope == Scope::Touched || self.is_chunk(&piece, image.size);
            if fits && piece.end <= image.size && !image.changed(&piece) && !made.overlaps(&piece) {
                cut.kept.insert(*at, *key);
                continue;
            }
            cut.gone.push(*at);
            let rest = piece.start..piece.end.min(image.size);
            match scope {
                Scope::Whole if !rest.is_empty() => lost.insert(self.around(&rest)),
                Scope::Whole | Scope::Touched => lost.insert(rest),
            }
        }
        // What else lay in a piece that goes is still wanted.
        for part in lost.within(0..image.size).flat_map(|range| self.parts(range)) {
            if has_data(&part) {
                made.insert(part);
            }
        }
        cut.made = made.within(0..image.size).flat_map(|range| self.parts(range)).collect();
        cut
    }

    /// The touched chunks that hold data.
    fn chunks_to_make(self, image: &Image, old_size: u64, held: &Spans) -> Spans {
        let mut data = Spans::default();
        for range in held.iter().chain(image.valid_ranges()) {
            data.insert(self.around(&range));
        }
        let touched = self.touched(image, old_size);
        let mut made = Spans::default();
        touched.iter().flat_map(|range| data.within(range)).for_each(|range| made.insert(range));
        made
    }
}

#[cfg(test)]
mod tests;
