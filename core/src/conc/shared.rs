//! What every thread of a mount shares, and the verbs that need no machine.

use super::budget::Budget;
use super::file::{Around, File, Slow, Why, WriteError};
use super::handles::{Handle, Handles};
use crate::shapes::{Attr, WriteFlags};
use crate::sync::{Arc, AtomicU64, ShardMap};
use crate::words::{Epoch, Errno, Fh, Ino, Limits, Time};

/// What a fast verb came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Fast<T> {
    /// Done, on this thread.
    Done(T),
    /// Refused; nothing was changed.
    Failed(Errno),
    /// Nothing was changed. Prepare and try once more, then park the request.
    Slow(Slow),
}

/// The part of a mount that every thread uses.
#[derive(Debug)]
pub struct Shared {
    pub(crate) limits: Limits,
    pub(crate) budget: Budget,
    pub(crate) handles: Handles,
    pub(crate) files: ShardMap<Ino, Arc<File>>,
    epoch: AtomicU64,
    read_only: bool,
}

impl Shared {
    /// An empty mount under these limits.
    ///
    /// # Panics
    /// When the block size is not a power of two.
    #[must_use]
    pub fn new(limits: Limits, read_only: bool) -> Self {
        assert!(limits.block_bytes.is_power_of_two(), "block_bytes must be a power of two");
        Self {
            budget: Budget::new(limits.memory_bytes, limits.reserve_bytes),
            handles: Handles::new(limits.handles),
            files: ShardMap::default(),
            epoch: AtomicU64::new(1),
            read_only,
            limits,
        }
    }

    /// Most bytes of file data that may be in memory.
    #[must_use]
    pub fn memory_limit_bytes(&self) -> u64 {
        self.limits.memory_bytes
    }

    /// Writes all of `data` at `offset`, as one step.
    #[inline]
    pub fn try_write(
        &self,
        fh: Fh,
        wall: Time,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
    ) -> Fast<u32> {
        self.write(fh, flags, |file| {
            file.write(self.around(), || self.epoch(), wall, offset, data, flags)
        })
    }

    /// As [`Self::try_write`], for the machine: it takes the capability away in the same step.
    pub(crate) fn write_guarded(
        &self,
        fh: Fh,
        wall: Time,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
    ) -> Fast<u32> {
        self.write(fh, flags, |file| {
            file.write_guarded(self.around(), || self.epoch(), wall, offset, data, flags)
        })
    }

    #[inline]
    fn write(
        &self,
        fh: Fh,
        flags: WriteFlags,
        f: impl FnOnce(&File) -> Result<u32, WriteError>,
    ) -> Fast<u32> {
        let written = self.handles.with(fh, |handle| {
            if self.read_only {
                return Err(WriteError::Errno(Errno::RoFs));
            }
            if !handle.flags.write && !flags.from_cache {
                return Err(WriteError::Errno(Errno::BadF));
            }
            f(&handle.file)
        });
        match written {
            None => Fast::Failed(Errno::BadF),
            Some(Ok(len)) => Fast::Done(len),
            Some(Err(WriteError::Errno(errno))) => Fast::Failed(errno),
            Some(Err(WriteError::Slow(slow))) => Fast::Slow(slow),
        }
    }

    /// Fills `out` with up to `len` bytes at `offset`; fewer only at the end of the file.
    #[inline]
    pub fn try_read(&self, fh: Fh, offset: u64, len: u32, out: &mut Vec<u8>) -> Fast<()> {
        let read = self.handles.with(fh, |handle| {
            // The kernel reads through handles opened for writing too, to fill its cache.
            handle.file.read(offset, len, out)
        });
        match read {
            None => Fast::Failed(Errno::BadF),
            Some(Ok(())) => Fast::Done(()),
            Some(Err(slow)) => Fast::Slow(slow),
        }
    }

    /// Attributes of a regular file that the machine holds.
    #[inline]
    pub fn try_getattr(&self, ino: Ino) -> Fast<Attr> {
        match self.files.get(&ino) {
            Some(file) => Fast::Done(file.stat()),
            None => Fast::Slow(Slow(Why::Ask)),
        }
    }

    /// Figures of memory: bytes in use, and bytes that writes may still take.
    #[must_use]
    pub fn memory_bytes(&self) -> (u64, u64) {
        (self.budget.used_bytes(), self.budget.free_bytes())
    }

    pub(crate) fn around(&self) -> Around<'_> {
        Around { limits: &self.limits, budget: &self.budget }
    }

    /// The present epoch.
    #[inline]
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load())
    }

    /// Begins the next epoch: writes that have not read the old one under their file's lock belong
    /// to the new one.
    pub(crate) fn cut(&self) {
        if !seeded!(CutWithoutEpoch) {
            self.epoch.store(self.epoch().next().0);
        }
    }

    /// Refuses every write in place from here on: the machine failed, and nothing could be
    /// committed any more. What is in memory can still be read.
    pub fn refuse_writes(&self) {
        self.epoch.store(u64::MAX);
    }

    pub(crate) fn handle(&self, fh: Fh) -> Option<Handle> {
        self.handles.with(fh, Handle::clone)
    }
}
