//! What a file was when it was sealed.

use std::ops::Range;

use super::file::FileAttr;
use super::mask::Mask;
use crate::shapes::{Slice, Spans};
use crate::sync::Arc;
use crate::words::{Ino, Version};

/// One block as it was at the seal.
#[derive(Clone, Debug)]
pub struct ImageBlock {
    /// Number of the block in the file.
    pub index: u64,
    /// Its bytes, shared with the file until the file's next write to them.
    pub bytes: Arc<Vec<u8>>,
    /// Bytes that are what the file holds.
    pub valid: Mask,
    /// Bytes that the layout does not hold.
    pub dirty: Mask,
}

/// A file as it was at one instant between two requests. Never changes.
#[derive(Clone, Debug)]
pub struct Image {
    /// The file.
    pub ino: Ino,
    /// Which of its states this is.
    pub version: Version,
    /// Size in bytes.
    pub size: u64,
    /// Its attributes.
    pub attr: FileAttr,
    /// Bytes that the layout of that instant holds, unless a block has them.
    pub cover: Spans,
    /// Resident blocks, in order.
    pub blocks: Vec<ImageBlock>,
    /// Bytes of a block.
    pub block_bytes: u32,
}

/// Where a part of an image's content comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// From memory.
    Memory(Slice),
    /// From the layout: this range of the file.
    Layout(Range<u64>),
    /// Zeros: a hole of this many bytes.
    Zeros(u64),
}

impl Image {
    /// Whether the layout does not already hold all of `range`.
    #[must_use]
    pub fn changed(&self, range: &Range<u64>) -> bool {
        !self.cover.contains(range) || self.has_dirty(range)
    }

    /// Whether `range` holds no byte that was ever written.
    #[must_use]
    pub fn is_hole(&self, range: &Range<u64>) -> bool {
        !self.cover.overlaps(range) && !self.blocks_in(range).any(|(b, r)| overlaps(&b.valid, &r))
    }

    /// The ranges that are not holes, in order.
    #[must_use]
    pub fn data_ranges(&self) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let mut at = 0;
        for part in self.parts(&(0..self.size)) {
            let (len, data) = match &part {
                Part::Memory(slice) => (slice.range.len() as u64, true),
                Part::Layout(range) => (range.end - range.start, true),
                Part::Zeros(len) => (*len, false),
            };
            match ranges.last_mut() {
                Some(last) if data && last.end == at => last.end += len,
                Some(_) | None if data => ranges.push(at..at + len),
                Some(_) | None => {}
            }
            at += len;
        }
        ranges
    }

    /// Whether memory holds bytes of `range` that the layout does not.
    #[must_use]
    pub fn has_dirty(&self, range: &Range<u64>) -> bool {
        self.blocks_in(range).any(|(b, r)| overlaps(&b.dirty, &r))
    }

    /// The bytes that the layout does not hold.
    #[must_use]
    pub fn dirty_spans(&self) -> Spans {
        let mut spans = Spans::default();
        for block in &self.blocks {
            let base = block.index * u64::from(self.block_bytes);
            for run in block.dirty.runs() {
                spans.insert(base + u64::from(run.start)..base + u64::from(run.end));
            }
        }
        spans
    }

    /// Where the bytes of `range` come from, in order and without a gap.
    #[must_use]
    pub fn parts(&self, range: &Range<u64>) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut at = range.start;
        for (block, within) in self.blocks_in(range) {
            let base = block.index * u64::from(self.block_bytes);
            for run in block.valid.runs() {
                let run = run.start.max(within.start)..run.end.min(within.end);
                if run.is_empty() {
                    continue;
                }
                self.unheld(at..base + u64::from(run.start), &mut parts);
                at = base + u64::from(run.end);
                let bytes = Arc::clone(&block.bytes);
                let range = run.start as usize..run.end as usize;
                parts.push(Part::Memory(Slice { bytes, range }));
            }
        }
        self.unheld(at..range.end, &mut parts);
        parts
    }

    /// Parts of a range that no block holds.
    fn unheld(&self, range: Range<u64>, parts: &mut Vec<Part>) {
        let mut at = range.start;
        for held in self.cover.within(range.clone()) {
            if at < held.start {
                parts.push(Part::Zeros(held.start - at));
            }
            at = held.end;
            parts.push(Part::Layout(held));
        }
        if at < range.end {
            parts.push(Part::Zeros(range.end - at));
        }
    }

    /// Blocks that overlap `range`, each with the part of it that does.
    fn blocks_in(&self, range: &Range<u64>) -> impl Iterator<Item = (&ImageBlock, Range<u32>)> {
        let block_bytes = u64::from(self.block_bytes);
        let range = range.clone();
        let first = self.blocks.partition_point(|b| (b.index + 1) * block_bytes <= range.start);
        self.blocks[first..].iter().map_while(move |block| {
            let base = block.index * block_bytes;
            let start = range.start.saturating_sub(base);
            let end = range.end.saturating_sub(base).min(block_bytes);
            (start < end).then_some((block, start as u32..end as u32))
        })
    }
}

fn overlaps(mask: &Mask, range: &Range<u32>) -> bool {
    mask.runs().iter().any(|run| run.start < range.end && range.start < run.end)
}
