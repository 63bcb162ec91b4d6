//! Open handles: a slab of slots, each checked by generation.

use crate::conc::file::File;
use crate::shapes::OpenFlags;
use crate::sync::{Arc, RwLock};
use crate::words::Fh;

/// Generations of a slot: those of regular files leave the top bit of a handle's number, by which
/// directory streams are told from them.
const GENERATIONS: u32 = 1 << 31;

/// An open regular file.
#[derive(Clone, Debug)]
pub struct Handle {
    /// The file.
    pub file: Arc<File>,
    /// How it was opened.
    pub flags: OpenFlags,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    handle: Option<Handle>,
}

/// A slot in a cache line of its own: threads with two handles must not contend for one.
#[derive(Debug)]
#[repr(align(64))]
struct Line(RwLock<Slot>);

/// All open handles of a mount. The machine gives slots out; every thread uses them. The slab has
/// its full size from the start, so that finding a handle takes no lock but the slot's own.
#[derive(Debug)]
pub struct Handles {
    slots: Box<[Line]>,
}

impl Handles {
    /// Room for `count` handles.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let slot = || Line(RwLock::new(Slot { generation: 0, handle: None }));
        Self { slots: std::iter::repeat_with(slot).take(count).collect() }
    }

    /// Runs `f` on the handle, or gives `None` when it is not open. The slot's lock is held
    /// meanwhile (lock order: slot, then file).
    #[inline]
    pub fn with<R>(&self, fh: Fh, f: impl FnOnce(&Handle) -> R) -> Option<R> {
        let (index, generation) = split(fh);
        self.slots.get(index)?.0.read(|slot| {
            let is_right = slot.generation == generation || seeded!(SlotWithoutGeneration);
            let handle = slot.handle.as_ref().filter(|_| is_right)?;
            Some(f(handle))
        })
    }

    /// Opens slot `index`, which must be closed; the number of the handle.
    pub fn open(&self, index: usize, handle: Handle) -> Fh {
        self.slots[index].0.write(|slot| {
            assert!(slot.handle.is_none(), "slot {index} is opened twice");
            slot.generation = ((slot.generation + 1) % GENERATIONS).max(1);
            slot.handle = Some(handle);
            Fh((u64::from(slot.generation) << 32) + index as u64)
        })
    }

    /// Closes a handle; its slot and what it held, or `None` when it was not open.
    pub fn close(&self, fh: Fh) -> Option<(usize, Handle)> {
        let (index, generation) = split(fh);
        self.slots.get(index)?.0.write(|slot| {
            if slot.generation != generation {
                return None;
            }
            slot.handle.take().map(|handle| (index, handle))
        })
    }

    /// Closes all handles; their slots and what they held.
    pub fn close_all(&self) -> Vec<(usize, Handle)> {
        let slots = self.slots.iter().enumerate();
        let close = |(index, slot): (usize, &Line)| {
            slot.0.write(|slot| slot.handle.take()).map(|handle| (index, handle))
        };
        slots.filter_map(close).collect()
    }
}

fn split(fh: Fh) -> (usize, u32) {
    ((fh.0 & 0xffff_ffff) as usize, (fh.0 >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conc::FileAttr;
    use crate::shapes::Spans;
    use crate::words::{Ino, Time};

    #[test]
    fn the_top_bit_of_a_number_is_never_a_file_s() {
        let handles = Handles::new(1);
        handles.slots[0].0.write(|slot| slot.generation = GENERATIONS - 2);
        let (mtime, ctime) = (Time::default(), Time::default());
        let attr = FileAttr { mode: 0, links: 1, uid: 0, gid: 0, mtime, ctime };
        let file = Arc::new(File::new(Ino(2), attr, 0, Spans::default(), 8));
        let mut seen = Vec::new();
        for _ in 0..3 {
            let (file, flags) = (Arc::clone(&file), OpenFlags::default());
            let fh = handles.open(0, Handle { file, flags });
            assert_eq!(fh.0 >> 63, 0, "{fh:?}");
            assert!(!seen.contains(&fh), "{fh:?}");
            assert!(handles.close(fh).is_some());
            seen.push(fh);
        }
    }
}
