//! What a file's lock guards: its state, reading it, and freezing it.

use std::ops::Range;

use rustc_hash::FxHashMap;

use super::block::Block;
use super::edit::CREDIT_BYTES;
use super::file::{Around, FileAttr, Slow, Why};
use super::image::{Image, ImageBlock};
use crate::shapes::{Attr, FileKind, Spans, Whence};
use crate::words::{Epoch, Errno, Ino, Version};

/// No read is past it.
pub(crate) const NO_MARK: u64 = u64::MAX;

/// What a file's lock guards. Changes are in the module `edit`.
#[derive(Debug)]
pub(super) struct State {
    pub(super) attr: FileAttr,
    /// Bytes of content. Nothing valid or covered lies at or past it.
    pub(super) size: u64,
    /// Bytes that the layout holds; a valid byte in memory goes before it. What is neither covered
    /// nor valid is a hole and reads as zeros.
    pub(super) cover: Spans,
    pub(super) blocks: FxHashMap<u64, Block>,
    pub(super) block_bytes: u32,
    pub(super) version: Version,
    /// The epoch it is registered in; a write in a later one is refused until it is registered.
    pub(super) epoch: Epoch,
    /// Grows when the layout is replaced; loads begun before are stale.
    pub(super) generation: u64,
    /// Budget taken and not used.
    pub(super) credit: u64,
    /// Budget used by blocks.
    pub(super) charged: u64,
    pub(super) sealed: Option<Sealed>,
    /// Reads past here tell the machine first, which loads what comes next.
    pub(super) mark: u64,
    /// Whether it may have a capability to lose, which only the machine can take away.
    pub(super) guarded: bool,
}

/// What is kept while an image is out.
#[derive(Debug)]
pub(super) struct Sealed {
    /// What would be covered if the image became the layout now.
    pub(super) cover: Spans,
    /// Bytes of memory that only the image holds any more.
    pub(super) left_bytes: u64,
}

impl State {
    pub(super) fn new(attr: FileAttr, size: u64, cover: Spans, block_bytes: u32) -> Self {
        Self {
            attr,
            size,
            cover,
            blocks: FxHashMap::default(),
            block_bytes,
            version: Version(0),
            epoch: Epoch(0),
            generation: 0,
            credit: 0,
            charged: 0,
            sealed: None,
            mark: NO_MARK,
            guarded: false,
        }
    }

    pub(super) fn allocated_bytes(&self) -> u64 {
        let blocks = self.charged.saturating_add(self.cover.len_bytes());
        blocks.min(self.size)
    }

    /// Everything `stat` shows.
    #[inline]
    pub(super) fn stat(&self, ino: Ino) -> Attr {
        let FileAttr { mode, links, uid, gid, mtime, ctime } = self.attr;
        let (kind, size, allocated) = (FileKind::File, self.size, self.allocated_bytes());
        Attr { ino, kind, mode, links, uid, gid, rdev: 0, size, allocated, mtime, ctime }
    }

    #[inline]
    pub(super) fn read(&self, offset: u64, len: u32, out: &mut Vec<u8>) -> Result<(), Slow> {
        out.clear();
        let size = self.size.saturating_sub(u64::from(seeded!(ReadMissesLast)));
        let end = offset.saturating_add(u64::from(len)).min(size);
        if offset >= end {
            return Ok(());
        }
        if end > self.mark {
            return Err(Slow(Why::Ahead { start: offset, end }));
        }
        let load = Slow(Why::Load { start: offset, end });
        for part in split(offset..end, self.block_bytes) {
            match self.blocks.get(&part.index) {
                Some(block) if block.valid.contains(part.within()) => {
                    out.extend_from_slice(&block.as_slice()[part.start..part.end]);
                }
                Some(block) => self.read_patchwork(block, &part, out).ok_or(load)?,
                None if self.cover.overlaps(&part.file_range(self.block_bytes)) => {
                    return Err(load);
                }
                None => out.resize(out.len() + part.len(), 0),
            }
        }
        Ok(())
    }

    /// Reads a part of a block of which only some bytes are valid; `None` when bytes are missing.
    fn read_patchwork(&self, block: &Block, part: &BlockPart, out: &mut Vec<u8>) -> Option<()> {
        let base = part.index * u64::from(self.block_bytes);
        for gap in block.valid.gaps(part.within()) {
            if self.cover.overlaps(&(base + u64::from(gap.start)..base + u64::from(gap.end))) {
                return None;
            }
        }
        let begin = out.len();
        out.resize(begin + part.len(), 0);
        for run in block.valid.runs() {
            let (start, end) = (part.start.max(run.start as usize), part.end.min(run.end as usize));
            if !(start..end).is_empty() {
                let to = begin + start - part.start;
                out[to..to + end - start].copy_from_slice(&block.as_slice()[start..end]);
            }
        }
        Some(())
    }

    /// The next offset that is data, or a hole. A covered byte counts as data.
    pub(super) fn seek(&self, offset: u64, whence: Whence) -> Result<u64, Errno> {
        if offset >= self.size {
            return Err(Errno::NxIo);
        }
        let mut data = self.cover.clone();
        for (index, block) in &self.blocks {
            let base = index * u64::from(self.block_bytes);
            for run in block.valid.runs() {
                data.insert(base + u64::from(run.start)..base + u64::from(run.end));
            }
        }
        let rest = offset..self.size;
        match whence {
            Whence::Data => data.within(rest).next().map(|r| r.start).ok_or(Errno::NxIo),
            Whence::Hole => Ok(data.gaps(rest).next().map_or(self.size, |r| r.start)),
        }
    }

    pub(super) fn dirty_bytes(&self) -> u64 {
        self.blocks.values().map(|block| block.dirty.len_bytes()).sum()
    }

    /// Freezes what it is now.
    pub(super) fn seal(&mut self, ino: Ino) -> Image {
        assert!(self.sealed.is_none(), "{ino:?} is sealed while an image of it is out");
        let mut blocks: Vec<ImageBlock> = self
            .blocks
            .iter_mut()
            .map(|(index, block)| {
                block.in_image = true;
                ImageBlock {
                    index: *index,
                    bytes: block.freeze(),
                    valid: block.valid.clone(),
                    dirty: std::mem::take(&mut block.dirty),
                }
            })
            .collect();
        blocks.sort_unstable_by_key(|block| block.index);
        self.sealed = Some(Sealed { cover: Spans::below(self.size), left_bytes: 0 });
        // The bitmaps of what was dirty are the image's now.
        let bitmaps = blocks.iter().map(|block| block.dirty.heap_bytes()).sum();
        self.recharge(bitmaps, 0);
        self.leave(bitmaps);
        Image {
            ino,
            version: self.version,
            size: self.size,
            attr: self.attr,
            cover: self.cover.clone(),
            blocks,
            block_bytes: self.block_bytes,
        }
    }

    /// The image's content is the layout now, but for `holes`.
    pub(super) fn adopt(&mut self, around: Around<'_>, holes: &[Range<u64>]) {
        let sealed = self.sealed.take().expect("an image is adopted once, while it is out");
        self.cover = sealed.cover;
        for hole in holes {
            self.cover.remove(hole.clone());
        }
        self.generation += 1;
        if seeded!(CleanAtAdopt) {
            self.blocks.values_mut().for_each(|block| block.dirty = Default::default());
        }
        self.let_go_of_image();
        self.free(around, sealed.left_bytes);
    }

    fn let_go_of_image(&mut self) {
        self.blocks.values_mut().for_each(|block| block.in_image = false);
    }

    /// The image came to nothing: what was dirty at the seal and is still there is dirty again.
    pub(super) fn unseal(&mut self, around: Around<'_>, image: &Image) {
        let sealed = self.sealed.take().expect("an image is dropped once, while it is out");
        self.credit += sealed.left_bytes;
        self.let_go_of_image();
        for was in image.blocks.iter().filter(|_| !seeded!(UnsealForgetsDirty)) {
            let Some(block) = self.blocks.get_mut(&was.index) else { continue };
            let before = block.memory_bytes();
            let mut dirty = was.dirty.clone();
            dirty.keep(&block.valid, self.block_bytes);
            dirty.merge(&block.dirty, self.block_bytes);
            let after = before - block.dirty.heap_bytes() + dirty.heap_bytes();
            if self.credit + before < after {
                // No memory for a bitmap: one run may say too much, never too little.
                dirty = dirty.hull(self.block_bytes);
            }
            block.dirty = dirty;
            let after = block.memory_bytes();
            self.recharge(before, after);
        }
        self.settle(around, CREDIT_BYTES);
    }

    /// The dirty bytes of every block, as ranges of the file.
    pub(super) fn dirty_spans(&self) -> Spans {
        let mut spans = Spans::default();
        for (index, block) in &self.blocks {
            let base = index * u64::from(self.block_bytes);
            for run in block.dirty.runs() {
                spans.insert(base + u64::from(run.start)..base + u64::from(run.end));
            }
        }
        spans
    }
}

/// The part of one block that a range of the file touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockPart {
    pub(super) index: u64,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl BlockPart {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    #[inline]
    pub(super) fn within(&self) -> Range<u32> {
        self.start as u32..self.end as u32
    }

    pub(super) fn file_range(&self, block_bytes: u32) -> Range<u64> {
        let base = self.index * u64::from(block_bytes);
        base + self.start as u64..base + self.end as u64
    }
}

/// The parts of blocks that a non-empty range touches, in order.
#[inline]
pub(super) fn split(range: Range<u64>, block_bytes: u32) -> impl Iterator<Item = BlockPart> {
    let shift = block_bytes.trailing_zeros();
    #[cfg(core_bugs)]
    let range = super::wrong::shortened(range);
    let (first, last) = (range.start >> shift, (range.end - 1) >> shift);
    (first..=last).map(move |index| {
        let base = index << shift;
        let start = range.start.saturating_sub(base) as usize;
        let end = (range.end - base).min(u64::from(block_bytes)) as usize;
        BlockPart { index, start, end }
    })
}

impl Block {
    /// Takes a range out of what is valid and dirty.
    pub(super) fn forget(&mut self, range: Range<u32>, block_bytes: u32) {
        self.valid.remove(range.clone(), block_bytes);
        self.dirty.remove(range, block_bytes);
    }

    /// Bytes of memory that it takes.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.capacity() as u64 + self.valid.heap_bytes() + self.dirty.heap_bytes()
    }
}
