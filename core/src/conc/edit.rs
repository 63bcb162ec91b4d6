//! Every change a file's state can make. Each is planned, then applied: a refusal leaves all as it
//! was, and so does empty input.

use std::ops::Range;

use rustc_hash::FxHashMap;

use super::block::{Block, Bytes};
use super::file::{Around, FileAttr, Installed, Slow, Why, WriteError};
use super::state::{BlockPart, NO_MARK, State, split};
use crate::shapes::{Allocate, Spans, WriteFlags};
use crate::words::{Epoch, Errno, Time};

/// Budget that a file takes at once, so that writes seldom touch the shared counter.
pub(super) const CREDIT_BYTES: u64 = 1 << 20;
/// Sizes of buffers below a whole block: small files must not take whole blocks.
const CLASSES: [usize; 2] = [4 << 10, 16 << 10];

impl State {
    /// Writes `data` at `offset`, all of it or nothing.
    #[inline]
    pub(super) fn write(
        &mut self,
        around: Around<'_>,
        epoch: Epoch,
        wall: Time,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
    ) -> Result<u32, WriteError> {
        if data.is_empty() && !seeded!(EmptyWrite) {
            return Ok(0);
        }
        let len = u32::try_from(data.len()).map_err(|_| WriteError::Errno(Errno::Inval))?;
        #[cfg(core_bugs)]
        self.wrong_write_what_fits(around, epoch, offset, data);
        let end = offset
            .checked_add(u64::from(len))
            .or_else(|| seeded!(EndWraps).then(|| offset.wrapping_add(u64::from(len))))
            .filter(|end| *end <= around.limits.file_bytes)
            .ok_or(WriteError::Errno(Errno::FBig))?;
        if self.epoch != epoch {
            return Err(WriteError::Slow(Slow(Why::Register)));
        }
        let Some(target) = in_place(&mut self.blocks, self.block_bytes, offset..end) else {
            self.write_planned(around, offset..end, data).map_err(WriteError::Slow)?;
            self.size = self.size.max(end);
            self.attr.written(wall, flags);
            self.version = self.version.next();
            return Ok(len);
        };
        // Before the copy: what is stored after it waits until the CPU has stored all of it.
        self.size = self.size.max(end);
        self.attr.written(wall, flags);
        self.version = self.version.next();
        target.copy_from_slice(data);
        Ok(len)
    }

    /// Any other write: room is taken for everything it needs before anything changes.
    pub(super) fn write_planned(
        &mut self,
        around: Around<'_>,
        range: Range<u64>,
        data: &[u8],
    ) -> Result<(), Slow> {
        let need = split(range.clone(), self.block_bytes).map(|part| self.need_bytes(&part)).sum();
        if need > self.credit && around.budget.is_pressed() {
            return Err(Slow(Why::Pressed));
        }
        if !self.reserve(around, need, false) {
            return Err(Slow(Why::NoRoom(need)));
        }
        let mut rest = data;
        for part in split(range, self.block_bytes) {
            let (head, tail) = rest.split_at(part.len());
            self.put(&part, head, true);
            rest = tail;
        }
        Ok(())
    }

    /// The most memory that writing a part can take.
    fn need_bytes(&self, part: &BlockPart) -> u64 {
        let class = class_of(part.end, self.block_bytes);
        let bytes = match self.blocks.get(&part.index) {
            Some(block) if block.writable(part.end) => 0,
            Some(block) => class.max(block.capacity()),
            None => class,
        };
        bytes as u64 + self.masks_bytes()
    }

    /// The most memory that the masks of a block can take beside the block.
    fn masks_bytes(&self) -> u64 {
        masks_bytes(self.block_bytes)
    }

    /// Writes a part whose memory is reserved.
    fn put(&mut self, part: &BlockPart, data: &[u8], dirty: bool) {
        let class = class_of(part.end, self.block_bytes);
        let block_bytes = self.block_bytes;
        let mut before = 0;
        let mut left = 0;
        let block = match self.blocks.entry(part.index) {
            std::collections::hash_map::Entry::Occupied(entry) => {
                let block = entry.into_mut();
                before = block.memory_bytes();
                if !block.writable(part.end) {
                    left = block.own(class).left_bytes as u64;
                }
                block
            }
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(Block::new(class)),
        };
        block.put(part.start, data);
        block.valid.insert(part.within(), block_bytes);
        if dirty {
            block.dirty.insert(part.within(), block_bytes);
        }
        let after = block.memory_bytes();
        self.recharge(before, after);
        self.leave(left);
    }

    /// Cuts or extends to `size`.
    pub(super) fn resize(
        &mut self,
        around: Around<'_>,
        wall: Time,
        size: u64,
    ) -> Result<(), Errno> {
        if size > around.limits.file_bytes {
            return Err(Errno::FBig);
        }
        if !seeded!(TruncateKeepsTail) {
            // Nothing, if it is extended.
            self.forget(size..self.size);
            self.settle(around, CREDIT_BYTES);
        }
        self.size = size;
        self.touch(wall);
        Ok(())
    }

    /// Allocates, punches or zeroes a range.
    pub(super) fn allocate(
        &mut self,
        around: Around<'_>,
        wall: Time,
        range: Range<u64>,
        how: Allocate,
    ) -> Result<(), Errno> {
        if range.is_empty() {
            return Err(Errno::Inval);
        }
        if range.end > around.limits.file_bytes {
            return Err(Errno::FBig);
        }
        let (clears, extends) = match how {
            Allocate::Extend => (false, true),
            Allocate::KeepSize => (false, false),
            Allocate::Punch => (true, false),
            Allocate::Zero { keep_size } => (true, !keep_size),
        };
        if clears {
            // A hole in the middle of a block may turn its masks into bitmaps.
            if !self.reserve(around, hole_bytes(self.block_bytes), true) {
                return Err(Errno::NoSpc);
            }
            self.forget(range.start..range.end.min(self.size));
            self.settle(around, CREDIT_BYTES);
        }
        if extends {
            self.size = self.size.max(range.end);
        }
        self.touch(wall);
        Ok(())
    }

    /// Makes a hole: the range is neither covered nor valid any more.
    fn forget(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        if !seeded!(HoleShowsLayout) {
            self.cover.remove(range.clone());
        }
        if let Some(sealed) = self.sealed.as_mut().filter(|_| !seeded!(HoleLostAtAdopt)) {
            sealed.cover.remove(range.clone());
        }
        let block_bytes = u64::from(self.block_bytes);
        let indices = range.start / block_bytes..range.end.div_ceil(block_bytes);
        let touched: Vec<u64> = if is_quick(&indices, self.blocks.len()) {
            indices.filter(|index| self.blocks.contains_key(index)).collect()
        } else {
            self.blocks.keys().copied().filter(|index| indices.contains(index)).collect()
        };
        for index in touched {
            self.forget_in_block(index, &range);
        }
    }

    fn forget_in_block(&mut self, index: u64, range: &Range<u64>) {
        let block_bytes = self.block_bytes;
        let base = index * u64::from(block_bytes);
        let start = range.start.saturating_sub(base) as u32;
        let end = (range.end - base).min(u64::from(block_bytes)) as u32;
        let Some(block) = self.blocks.get_mut(&index) else { return };
        let before = block.memory_bytes();
        block.forget(start..end, block_bytes);
        let (after, empty) = (block.memory_bytes(), block.valid.is_empty());
        self.recharge(before, after);
        if empty {
            self.drop_block(index);
        }
    }

    /// Drops a block; bytes that an image still holds stay charged until it is gone.
    fn drop_block(&mut self, index: u64) {
        if let Some(block) = self.blocks.remove(&index) {
            self.recharge(block.memory_bytes(), 0);
            self.leave(block.shared_bytes());
        }
    }

    /// Puts bytes of the layout in place, where they are still the file's and not there yet. A
    /// buffer that is a block of the file is taken for it, without a copy.
    pub(super) fn install(
        &mut self,
        around: Around<'_>,
        generation: u64,
        offset: u64,
        bytes: &mut [Vec<u8>],
    ) -> Installed {
        if generation != self.generation && !seeded!(StaleLoad) {
            return Installed::Stale;
        }
        if seeded!(LoadOverWrite) {
            self.blocks.values_mut().for_each(|block| block.valid = Default::default());
        }
        let end = offset + bytes.iter().map(|buffer| buffer.len() as u64).sum::<u64>();
        let wanted = self.wanted(offset..end);
        let parts = wanted.into_iter().flat_map(|range| split(range, self.block_bytes));
        let parts: Vec<BlockPart> = parts.collect();
        // However many gaps of a block are filled, it becomes owned and long enough once.
        let blocks = parts.chunk_by(|a, b| a.index == b.index);
        let need = blocks.filter_map(<[_]>::last).map(|last| self.need_bytes(last)).sum();
        if !self.reserve(around, need, true) {
            return Installed::NoRoom;
        }
        for part in parts {
            let from = (part.file_range(self.block_bytes).start - offset) as usize;
            self.place(&part, bytes, from);
        }
        self.settle(around, CREDIT_BYTES);
        Installed::Done
    }

    /// Fills a part with what lies at `from` in `bytes`. Its memory is reserved.
    fn place(&mut self, part: &BlockPart, bytes: &mut [Vec<u8>], mut from: usize) {
        let block_bytes = self.block_bytes as usize;
        let buffer = &mut bytes[from / block_bytes];
        let is_block =
            part.start == 0 && from.is_multiple_of(block_bytes) && buffer.len() == part.len();
        if is_block && !self.blocks.contains_key(&part.index) {
            let mut block = Block::of(std::mem::take(buffer));
            block.valid.insert(part.within(), self.block_bytes);
            self.recharge(0, block.memory_bytes());
            self.blocks.insert(part.index, block);
            return;
        }
        // Where a piece begins within a block, each block takes of two buffers.
        let mut start = part.start;
        while start < part.end {
            let (buffer, within) = (&bytes[from / block_bytes], from % block_bytes);
            let len = (part.end - start).min(buffer.len() - within);
            let filled = BlockPart { index: part.index, start, end: start + len };
            self.put(&filled, &buffer[within..within + len], false);
            start += len;
            from += len;
        }
    }

    /// Covered bytes of a range that are not valid yet.
    pub(super) fn wanted(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut wanted = Vec::new();
        for covered in self.cover.within(range) {
            for part in split(covered, self.block_bytes) {
                let base = part.index * u64::from(self.block_bytes);
                match self.blocks.get(&part.index) {
                    None => wanted.push(part.file_range(self.block_bytes)),
                    Some(block) => wanted.extend(
                        (block.valid.gaps(part.within()).into_iter())
                            .map(|gap| base + u64::from(gap.start)..base + u64::from(gap.end)),
                    ),
                }
            }
        }
        wanted
    }

    /// Drops blocks that the layout holds too, up to about `want` bytes; the bytes given back.
    pub(super) fn evict(&mut self, around: Around<'_>, want: u64) -> u64 {
        let mut clean: Vec<u64> = self
            .blocks
            .iter()
            .filter(|(index, block)| self.is_clean(**index, block))
            .map(|(index, _)| *index)
            .collect();
        clean.sort_unstable();
        let mut freed = 0;
        for index in clean {
            if freed >= want {
                break;
            }
            freed += self.blocks.get(&index).map_or(0, Block::memory_bytes);
            self.drop_block(index);
        }
        self.settle(around, 0);
        freed
    }

    fn is_clean(&self, index: u64, block: &Block) -> bool {
        let base = index * u64::from(self.block_bytes);
        let is_dirty = !block.dirty.is_empty() && !seeded!(EvictsDirty);
        let is_held = block.in_image && !seeded!(EvictsSealed);
        !is_dirty
            && !is_held
            && (block.valid.runs().iter())
                .all(|r| self.cover.contains(&(base + u64::from(r.start)..base + u64::from(r.end))))
    }

    /// Drops all blocks. What `stat` shows stays: a thread may be looking still.
    pub(super) fn clear(&mut self, around: Around<'_>) {
        let mut indices: Vec<u64> = self.blocks.keys().copied().collect();
        indices.sort_unstable();
        for index in indices {
            self.drop_block(index);
        }
        self.settle(around, 0);
    }

    /// Replaces everything: the content is a layout of `size` bytes that holds `cover`. The file is
    /// in no epoch after that, in the same step: the next write has to be registered, or it would
    /// be one that nobody knows of.
    pub(super) fn restore(&mut self, around: Around<'_>, attr: FileAttr, size: u64, cover: Spans) {
        assert!(self.sealed.is_none(), "a file is restored while an image of it is out");
        self.clear(around);
        (self.attr, self.size, self.cover) = (attr, size, cover);
        self.epoch = Epoch(0);
        self.generation += 1;
        self.version = self.version.next();
        self.mark = NO_MARK;
    }

    /// Gives back credit beyond `keep` bytes.
    pub(super) fn settle(&mut self, around: Around<'_>, keep: u64) {
        if let Some(surplus @ 1..) = self.credit.checked_sub(keep) {
            self.credit = keep;
            around.budget.give(surplus);
        }
    }

    /// Gives `len_bytes` back to the budget.
    pub(super) fn free(&mut self, around: Around<'_>, len_bytes: u64) {
        self.credit += len_bytes;
        self.settle(around, CREDIT_BYTES);
    }

    /// Makes sure that there is credit for `need` bytes.
    pub(super) fn reserve(&mut self, around: Around<'_>, need: u64, reserved: bool) -> bool {
        let Some(short) = need.checked_sub(self.credit).filter(|short| *short > 0) else {
            return true;
        };
        let take = |bytes| {
            if reserved { around.budget.take_reserved(bytes) } else { around.budget.take(bytes) }
        };
        let piece = self.charged.clamp(u64::from(self.block_bytes), CREDIT_BYTES);
        for bytes in [short + piece, short] {
            if take(bytes) {
                self.credit += bytes;
                return true;
            }
        }
        false
    }

    /// A block took `before` bytes and takes `after`: the difference is credit.
    pub(super) fn recharge(&mut self, before: u64, after: u64) {
        self.charged = self.charged + after - before;
        #[cfg(core_bugs)]
        if seeded!(GrowthUncharged) {
            return self.wrong_recharge(before, after);
        }
        self.credit = (self.credit + before)
            .checked_sub(after)
            .expect("memory for a change is reserved before it is made");
    }

    /// Bytes that were a block's stay with the image that froze them, and charged until it is gone.
    pub(super) fn leave(&mut self, left_bytes: u64) {
        if let Some(sealed) = &mut self.sealed {
            sealed.left_bytes += left_bytes;
            self.credit = self
                .credit
                .checked_sub(left_bytes)
                .expect("a block's bytes were credited before they are left");
        }
    }

    fn touch(&mut self, wall: Time) {
        self.attr.mtime = wall;
        self.attr.ctime = wall;
        self.version = self.version.next();
    }
}

/// The place of the usual write, which is dirty now: in one block that is there, owned and long
/// enough.
#[inline]
fn in_place(
    blocks: &mut FxHashMap<u64, Block>,
    block_bytes: u32,
    range: Range<u64>,
) -> Option<&mut [u8]> {
    let shift = block_bytes.trailing_zeros();
    let index = range.start >> shift;
    let block = blocks.get_mut(&index)?;
    let base = index << shift;
    let Bytes::Owned(bytes) = &mut block.bytes else { return None };
    // No buffer is longer than a block: what goes on in the next is not found in it.
    let target = bytes.get_mut((range.start - base) as usize..(range.end - base) as usize)?;
    let range = (range.start - base) as u32..(range.end - base) as u32;
    // What is called dirty for want of memory may not be valid.
    if !block.dirty.contains(range.clone()) || !block.valid.contains(range.clone()) {
        if !block.valid.has_room() || !block.dirty.has_room() {
            return None;
        }
        block.valid.insert(range.clone(), block_bytes);
        block.dirty.insert(range, block_bytes);
    }
    Some(target)
}

/// Whether going through indices is quicker than through all blocks. Both find the same.
fn is_quick(indices: &Range<u64>, blocks: usize) -> bool {
    indices.end - indices.start <= blocks as u64
}

/// The most memory that a hole takes: bitmaps for the block at each of its ends.
pub(crate) fn hole_bytes(block_bytes: u32) -> u64 {
    2 * masks_bytes(block_bytes)
}

fn masks_bytes(block_bytes: u32) -> u64 {
    u64::from(block_bytes.div_ceil(64)) * 16
}

/// The size of buffer for bytes below `end` of a block.
fn class_of(end: usize, block_bytes: u32) -> usize {
    let whole = block_bytes as usize;
    CLASSES.into_iter().find(|class| end <= *class).map_or(whole, |class| class.min(whole))
}
