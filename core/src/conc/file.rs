//! A regular file as threads share it: one lock around one [`State`].

use std::ops::Range;

use super::budget::Budget;
use super::image::Image;
use super::state::State;
use crate::shapes::{Allocate, Attr, Spans, Whence, WriteFlags};
use crate::sync::RwLock;
use crate::words::{Epoch, Errno, Ino, Limits, Time, Version};

#[cfg(core_bugs)]
mod wrong;

const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
const GROUP_EXEC: u32 = 0o0010;

/// Attributes of a regular file beside its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileAttr {
    /// Permission bits with set-id and sticky bits.
    pub mode: u32,
    /// Names.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// When the content last changed.
    pub mtime: Time,
    /// When content or attributes last changed.
    pub ctime: Time,
}

impl FileAttr {
    /// What a write changes.
    #[inline]
    pub(crate) fn written(&mut self, wall: Time, flags: WriteFlags) {
        self.mtime = if seeded!(WriteKeepsMtime) { self.mtime } else { wall };
        self.ctime = wall;
        if flags.kill_suidgid && !seeded!(SetIdStays) {
            self.drop_set_id();
        }
    }

    /// Takes the set-id bits away: set-gid only where the group may execute.
    pub(crate) fn drop_set_id(&mut self) {
        let gid = if self.mode & GROUP_EXEC != 0 { SET_GID } else { 0 };
        self.mode &= !SET_UID & !gid;
    }
}

/// Why a fast verb could not be carried out. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slow(pub(crate) Why);

/// What has to happen first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The file must be registered in the present epoch.
    Register,
    /// The budget has no room for this many bytes.
    NoRoom(u64),
    /// Memory runs short: data should be sent early.
    Pressed,
    /// Bytes of this range must be loaded.
    Load { start: u64, end: u64 },
    /// This range lies past the mark: it is time to load what comes after it.
    Ahead { start: u64, end: u64 },
    /// Only the machine knows, or can.
    Ask,
}

/// What a load came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Installed {
    /// The bytes that were still wanted are in place.
    Done,
    /// The layout changed since the load began: load again if the bytes are still wanted.
    Stale,
    /// The budget has no room.
    NoRoom,
}

/// A regular file. Everything in it changes under its one lock.
#[derive(Debug)]
pub struct File {
    /// Its inode.
    pub ino: Ino,
    /// Lock order: a handle's slot, then this. Nothing is locked under it.
    pub(super) state: RwLock<State>,
}

/// What a verb needs of its surroundings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) budget: &'a Budget,
}

impl File {
    /// A file of `size` bytes whose layout holds `cover`.
    #[must_use]
    pub fn new(ino: Ino, attr: FileAttr, size: u64, cover: Spans, block_bytes: u32) -> Self {
        Self { ino, state: RwLock::new(State::new(attr, size, cover, block_bytes)) }
    }

    /// Everything `stat` shows.
    #[inline]
    pub fn stat(&self) -> Attr {
        self.state.read(|s| s.stat(self.ino))
    }

    /// Its attributes.
    pub fn attr(&self) -> FileAttr {
        self.state.read(|s| s.attr)
    }

    /// Bytes of content.
    pub fn size(&self) -> u64 {
        self.state.read(|s| s.size)
    }

    /// How often it has changed.
    pub fn version(&self) -> Version {
        self.state.read(|s| s.version)
    }

    /// Copies what is at `offset` into `out`: `len` bytes, or fewer at the end.
    #[inline]
    pub(crate) fn read(&self, offset: u64, len: u32, out: &mut Vec<u8>) -> Result<(), Slow> {
        #[cfg(core_bugs)]
        if let Some(wrong) = self.wrong_read(offset, len, out) {
            return wrong;
        }
        self.state.read(|s| s.read(offset, len, out))
    }

    /// Writes `data` at `offset` in the epoch that `epoch` gives under the lock.
    #[inline]
    pub(crate) fn write(
        &self,
        around: Around<'_>,
        epoch: impl Fn() -> Epoch,
        wall: Time,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
    ) -> Result<u32, WriteError> {
        #[cfg(core_bugs)]
        if let Some(wrong) = self.wrong_write(around, &epoch, wall, offset, data, flags) {
            return wrong;
        }
        let before = seeded!(EpochBeforeLock).then(&epoch);
        #[cfg(core_bugs)]
        let unguarded = self.is_wrongly_unguarded();
        #[cfg(not(core_bugs))]
        let unguarded = false;
        self.state.write(|s| {
            if s.guarded && !unguarded {
                return Err(WriteError::Slow(Slow(Why::Ask)));
            }
            s.write(around, before.unwrap_or_else(&epoch), wall, offset, data, flags)
        })
    }

    /// As [`Self::write`], for the machine: it takes the capability away in the same step.
    pub(crate) fn write_guarded(
        &self,
        around: Around<'_>,
        epoch: impl FnOnce() -> Epoch,
        wall: Time,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
    ) -> Result<u32, WriteError> {
        self.state.write(|s| s.write(around, epoch(), wall, offset, data, flags))
    }

    /// Whether the file may have a capability that a write takes away: then only the machine
    /// writes.
    pub(crate) fn guard(&self, guarded: bool) {
        self.state.write(|s| s.guarded = guarded);
    }

    /// Cuts or extends to `size` bytes. The file must be registered.
    pub(crate) fn resize(&self, around: Around<'_>, wall: Time, size: u64) -> Result<(), Errno> {
        self.state.write(|s| s.resize(around, wall, size))
    }

    /// Cuts or extends, and changes attributes, in one step; what `stat` shows after it. The file
    /// must be registered.
    pub(crate) fn resize_and_set(
        &self,
        around: Around<'_>,
        wall: Time,
        size: u64,
        f: impl FnOnce(&mut FileAttr),
    ) -> Result<Attr, Errno> {
        let stat = self.state.write(|s| {
            s.resize(around, wall, size)?;
            f(&mut s.attr);
            Ok(s.stat(self.ino))
        });
        if seeded!(StatAfterUnlock) { stat.map(|_| self.stat()) } else { stat }
    }

    /// Allocates, punches or zeroes, and changes attributes, in one step. The file must be
    /// registered.
    pub(crate) fn allocate(
        &self,
        around: Around<'_>,
        wall: Time,
        range: Range<u64>,
        how: Allocate,
        f: impl FnOnce(&mut FileAttr),
    ) -> Result<(), Errno> {
        self.state.write(|s| {
            s.allocate(around, wall, range, how)?;
            f(&mut s.attr);
            Ok(())
        })
    }

    /// Next data or hole at or after `offset`.
    pub(crate) fn seek(&self, offset: u64, whence: Whence) -> Result<u64, Errno> {
        self.state.read(|s| s.seek(offset, whence))
    }

    /// Changes attributes; what `stat` shows after it. The file must be registered, unless only
    /// `links` changes with it.
    pub(crate) fn set_attr(&self, f: impl FnOnce(&mut FileAttr)) -> Attr {
        self.state.write(|s| {
            f(&mut s.attr);
            s.version = s.version.next();
            s.stat(self.ino)
        })
    }

    /// The epoch it is registered in.
    pub(crate) fn epoch(&self) -> Epoch {
        self.state.read(|s| s.epoch)
    }

    /// Registers it in `epoch`: changes from here on belong to it.
    pub(crate) fn register(&self, epoch: Epoch) {
        self.state.write(|s| s.epoch = epoch);
    }

    /// Freezes what it is now. One image at a time: the last must be adopted or dropped.
    pub(crate) fn seal(&self) -> Image {
        self.state.write(|s| s.seal(self.ino))
    }

    /// Whether an image of it is out.
    pub(crate) fn is_sealed(&self) -> bool {
        self.state.read(|s| s.sealed.is_some())
    }

    /// The image's content is the layout now, but for `holes`, ranges it does not hold.
    pub(crate) fn adopt(&self, around: Around<'_>, holes: &[Range<u64>]) {
        self.state.write(|s| s.adopt(around, holes));
    }

    /// The image came to nothing: what was dirty at the seal, and still is there, is dirty again.
    pub(crate) fn unseal(&self, around: Around<'_>, image: &Image) {
        self.state.write(|s| s.unseal(around, image));
    }

    /// Number of its layout, which a load must name.
    pub(crate) fn generation(&self) -> u64 {
        self.state.read(|s| s.generation)
    }

    /// Puts bytes of the layout in place, where they are still the file's and not there yet:
    /// buffers of a block's length each, of which the last may be shorter. They may be taken.
    pub(crate) fn install(
        &self,
        around: Around<'_>,
        generation: u64,
        offset: u64,
        bytes: &mut [Vec<u8>],
    ) -> Installed {
        self.state.write(|s| s.install(around, generation, offset, bytes))
    }

    /// Takes ranges out of the cover that the layout turned out not to hold.
    pub(crate) fn uncover(&self, generation: u64, holes: &[Range<u64>]) {
        self.state.write(|s| {
            if s.generation == generation {
                holes.iter().for_each(|hole| s.cover.remove(hole.clone()));
            }
        });
    }

    /// Sets the mark that the next reads past it tell the machine of.
    pub(crate) fn set_mark(&self, mark: u64) {
        self.state.write(|s| s.mark = mark);
    }

    /// Drops blocks that the layout holds too, up to about `want` bytes; the bytes given back.
    pub(crate) fn evict(&self, around: Around<'_>, want: u64) -> u64 {
        self.state.write(|s| s.evict(around, want))
    }

    /// Replaces everything: the content is a layout of `size` bytes that holds `cover`. No image of
    /// it may be out. It is registered no more.
    pub(crate) fn restore(&self, around: Around<'_>, attr: FileAttr, size: u64, cover: Spans) {
        self.state.write(|s| s.restore(around, attr, size, cover));
    }

    /// Drops everything it holds in memory. For files that nothing refers to any more.
    pub(crate) fn clear(&self, around: Around<'_>) {
        self.state.write(|s| s.clear(around));
    }

    /// Gives back budget that it holds and does not use.
    pub(crate) fn settle(&self, around: Around<'_>) {
        self.state.write(|s| s.settle(around, 0));
    }

    /// Bytes that the layout does not hold.
    pub(crate) fn dirty_bytes(&self) -> u64 {
        self.state.read(State::dirty_bytes)
    }

    /// Bytes of `range` that only the layout has.
    pub(crate) fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        self.state.read(|s| s.wanted(range))
    }

    /// Ranges of dirty bytes, the cover, and the size.
    pub(crate) fn spans(&self) -> (Spans, Spans, u64) {
        self.state.read(|s| (s.dirty_spans(), s.cover.clone(), s.size))
    }
}

/// Why a write was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteError {
    Slow(Slow),
    Errno(Errno),
}
