//! What may go wrong with a disk, and how often.

use crate::choice::Choices;

const US: u64 = 1_000;
const MS: u64 = 1_000 * US;

/// How long operations take, in nanoseconds, and how often in a thousand: a page cache, a fast
/// disk, a slow one, a queue.
const TIMES_NS: [u64; 5] = [5 * US, 50 * US, 500 * US, 8 * MS, 100 * MS];
const TIMES_PER_MILLE: [u32; 5] = [600, 300, 80, 18, 2];

/// A disk that resets its link, or a volume behind a network that is gone for a while.
const STALLS_NS: [u64; 3] = [1_000 * MS, 8_000 * MS, 60_000 * MS];

/// How often each thing goes wrong, in a thousand operations that it can happen to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskFaults {
    /// A write or reservation that needs room is refused.
    pub no_space: u32,
    /// What was written is given room only at the sync, and there is none.
    pub no_space_late: u32,
    /// A read is refused.
    pub read_fails: u32,
    /// A write or reservation is refused, and changes nothing.
    pub write_fails: u32,
    /// A sync fails; that of a file forgets what it was to write.
    pub sync_fails: u32,
    /// One bit of a sector that is read has turned, and stays so.
    pub bit_rot: u32,
    /// A sector is written over another one, and nobody is told.
    pub misdirected: u32,
    /// Fewer bytes are read or written than were asked for.
    pub short: u32,
    /// An operation takes seconds.
    pub stall: u32,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskFault {
    /// See [`DiskFaults::no_space`].
    NoSpace,
    /// See [`DiskFaults::no_space_late`].
    NoSpaceLate,
    /// See [`DiskFaults::read_fails`].
    ReadFails,
    /// See [`DiskFaults::write_fails`].
    WriteFails,
    /// See [`DiskFaults::sync_fails`].
    SyncFails,
    /// See [`DiskFaults::bit_rot`].
    BitRot,
    /// See [`DiskFaults::misdirected`].
    Misdirected,
    /// See [`DiskFaults::short`].
    Short,
    /// See [`DiskFaults::stall`].
    Stall,
}

impl DiskFault {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::NoSpace,
        Self::NoSpaceLate,
        Self::ReadFails,
        Self::WriteFails,
        Self::SyncFails,
        Self::BitRot,
        Self::Misdirected,
        Self::Short,
        Self::Stall,
    ];
}

impl DiskFaults {
    /// Nothing goes wrong.
    #[must_use]
    pub fn none() -> Self {
        Self {
            no_space: 0,
            no_space_late: 0,
            read_fails: 0,
            write_fails: 0,
            sync_fails: 0,
            bit_rot: 0,
            misdirected: 0,
            short: 0,
            stall: 0,
        }
    }

    /// Everything goes wrong now and then.
    #[must_use]
    pub fn rough() -> Self {
        Self {
            no_space: 20,
            no_space_late: 20,
            read_fails: 10,
            write_fails: 10,
            sync_fails: 40,
            bit_rot: 10,
            misdirected: 10,
            short: 100,
            stall: 5,
        }
    }

    pub(super) fn per_mille(&self, fault: DiskFault) -> u32 {
        match fault {
            DiskFault::NoSpace => self.no_space,
            DiskFault::NoSpaceLate => self.no_space_late,
            DiskFault::ReadFails => self.read_fails,
            DiskFault::WriteFails => self.write_fails,
            DiskFault::SyncFails => self.sync_fails,
            DiskFault::BitRot => self.bit_rot,
            DiskFault::Misdirected => self.misdirected,
            DiskFault::Short => self.short,
            DiskFault::Stall => self.stall,
        }
    }
}

/// How long an operation takes, in nanoseconds.
pub(super) fn time_ns(choices: &Choices, stalls: bool) -> u64 {
    if stalls { choices.pick(&STALLS_NS) } else { TIMES_NS[choices.weighted(&TIMES_PER_MILLE)] }
}
