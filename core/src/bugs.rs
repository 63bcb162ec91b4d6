//! Seeded bugs: wrong versions of what threads share, in builds with `--cfg core_bugs` only. Tests
//! switch one on for the thread they run on, and must then fail: that shows what they can find.

use std::cell::Cell;

/// The list of bugs, once for the type and once for all of them.
macro_rules! bugs {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A bug, named by what is wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug {
            $($(#[$doc])* $name,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

bugs! {
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
    /// A truncate keeps the bytes past the end.
    TruncateKeepsTail,
    /// A forgotten inode goes although handles are open.
    FreesOpenFile,
}

thread_local! {
    static ACTIVE: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Switches a bug on, and any other off, on this thread; the one that was on.
pub fn switch(bug: Option<Bug>) -> Option<Bug> {
    ACTIVE.replace(bug)
}

/// Does something without any bug.
pub fn without<R>(f: impl FnOnce() -> R) -> R {
    let bug = switch(None);
    let made = f();
    switch(bug);
    made
}

pub(crate) fn is(bug: Bug) -> bool {
    ACTIVE.get() == Some(bug)
}
