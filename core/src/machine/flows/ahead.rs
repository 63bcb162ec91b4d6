//! Read-ahead: of a file that is read in order, what comes next is loaded before it is asked for.
//!
//! Reads of what is in memory never come here. So the file is given a mark: the first read that
//! goes past it does come, and then the next window is loaded, while the last is still to be read.
//! Each window is longer than the one before; a read out of order ends it.

use std::ops::Range;

use super::engine::{Cx, Engine};
use super::piece::Target;
use crate::conc::NO_MARK;
use crate::words::{Errno, Ino};

/// Of the memory for file data, the part that one file may have loaded ahead: one in so many.
const MEMORY_PART: u64 = 16;

impl Engine {
    /// A read from `start` on wants what goes to `to`: loads what will be wanted next, if the file
    /// is read in order.
    pub(crate) fn read_ahead(
        &mut self,
        cx: &mut Cx<'_>,
        ino: Ino,
        start: u64,
        to: u64,
    ) -> Result<(), Errno> {
        let limits = &self.shared.limits;
        let most = limits.ahead_bytes.min(limits.memory_bytes / MEMORY_PART);
        let node = self.table.get_mut(ino).and_then(|node| node.file_mut()).ok_or(Errno::Stale)?;
        let before = node.ahead;
        let range = node.ahead.follow(start, to, most);
        let (mut ahead, size) = (node.ahead, node.layout.size);
        let in_file = range.start..range.end.min(size);
        // Nobody waits for it: it takes no memory that anything else might need.
        let bytes = in_file.end.saturating_sub(in_file.start);
        let is_wanted = bytes > 0 && self.has_room_ahead(ino, bytes * 2);
        let is_known = !is_wanted || self.load_ahead(cx, ino, in_file)?;
        if !is_known {
            // It goes on from here with the next read that lacks something.
            ahead = before;
        }
        let node = self.table.get_mut(ino).and_then(|node| node.file_mut()).ok_or(Errno::Stale)?;
        node.ahead = ahead;
        // Without a window there is no mark.
        if before.window > 0 || ahead.window > 0 {
            let is_under_way = is_known && ahead.window > 0 && ahead.next < size;
            node.file.set_mark(if is_under_way { ahead.mark() } else { NO_MARK });
        }
        Ok(())
    }

    /// Makes room for what is loaded ahead, out of clean data of other files first.
    fn has_room_ahead(&mut self, ino: Ino, bytes: u64) -> bool {
        let short = self.shared.budget.short_bytes(bytes);
        if short > 0 {
            self.make_room(short, Some(ino));
        }
        self.shared.budget.short_bytes(bytes) == 0
    }

    /// Loads the pieces of a range; false when the layout is not known yet.
    fn load_ahead(&mut self, cx: &mut Cx<'_>, ino: Ino, range: Range<u64>) -> Result<bool, Errno> {
        let Some((file, located)) = self.located(cx, ino, range)? else { return Ok(false) };
        let generation = file.generation();
        for (offset, key) in located.pieces {
            if !file.missing(offset..offset + key.len).is_empty() {
                self.load_piece(cx, key, Target::File { ino, generation, offset });
            }
        }
        Ok(true)
    }
}
