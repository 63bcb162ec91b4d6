//! Seeded bugs: wrong versions of what threads share, in builds with `--cfg core_bugs` only. Tests
//! switch one on for the thread they run on, and must then fail: that shows what they can find.

use std::cell::Cell;

/// A bug, named by what is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A write reads the epoch before it has the file's lock.
    EpochBeforeLock,
    /// A write is carried out in two steps.
    TornWrite,
    /// A read is carried out in two steps.
    TornRead,
    /// A write's size comes in a step after its data.
    SizeAfterData,
    /// Whether there is a capability is asked before the write has the file's lock.
    GuardOutsideLock,
    /// What `stat` shows after a change is read in a step of its own.
    StatAfterUnlock,
    /// A handle's generation is not compared.
    SlotWithoutGeneration,
    /// A load replaces what was written meanwhile.
    LoadOverWrite,
    /// A load of what was the layout before is installed.
    StaleLoad,
    /// Eviction takes dirty blocks.
    EvictsDirty,
    /// Eviction takes blocks that only an image holds.
    EvictsSealed,
    /// The end of an upload clears dirty marks that are newer than it.
    CleanAtAdopt,
    /// A failed upload leaves nothing dirty.
    UnsealForgetsDirty,
    /// Registering a file does not note it as changed.
    ForgetsRegister,
    /// A cut does not begin an epoch.
    CutWithoutEpoch,
    /// The inbox is found empty in one step, and let go in the next.
    LostWakeUp,
    /// The budget is read in one step, and set in the next.
    BudgetInTwoSteps,
    /// A write takes room block by block, and may stop half way.
    WriteBlockByBlock,
    /// A truncate keeps the bytes past the end.
    TruncateKeepsTail,
    /// A forgotten inode goes although handles are open.
    FreesOpenFile,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::EpochBeforeLock,
        Self::TornWrite,
        Self::TornRead,
        Self::SizeAfterData,
        Self::GuardOutsideLock,
        Self::StatAfterUnlock,
        Self::SlotWithoutGeneration,
        Self::LoadOverWrite,
        Self::StaleLoad,
        Self::EvictsDirty,
        Self::EvictsSealed,
        Self::CleanAtAdopt,
        Self::UnsealForgetsDirty,
        Self::ForgetsRegister,
        Self::CutWithoutEpoch,
        Self::LostWakeUp,
        Self::BudgetInTwoSteps,
        Self::WriteBlockByBlock,
        Self::TruncateKeepsTail,
        Self::FreesOpenFile,
    ];
}

thread_local! {
    static ACTIVE: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Switches a bug on, and any other off, on this thread.
pub fn switch(bug: Option<Bug>) {
    ACTIVE.set(bug);
}

pub(crate) fn is(bug: Bug) -> bool {
    ACTIVE.get() == Some(bug)
}
