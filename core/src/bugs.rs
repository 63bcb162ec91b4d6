//! Seeded bugs: wrong versions of the core, in builds with `--cfg core_bugs` only. Tests switch one
//! on for the thread they run on, and must then fail: that shows what they can find.

use std::cell::Cell;
use std::fmt;

/// A list of bugs, once for the type and once for all of them.
macro_rules! bugs {
    ($(#[$about:meta])* $list:ident, $kind:ident: $($(#[$doc:meta])* $name:ident,)*) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $list {
            $($(#[$doc])* $name,)*
        }

        pub(crate) use $list::*;

        impl $list {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }

        impl From<$list> for Bug {
            fn from(bug: $list) -> Self {
                Self::$kind(bug)
            }
        }
    };
}

/// A bug, named by what is wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// One of what threads share.
    Shared(SharedBug),
    /// Any other.
    Lone(LoneBug),
}

impl Bug {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let shared = SharedBug::ALL.iter().copied().map(Self::Shared);
        shared.chain(LoneBug::ALL.iter().copied().map(Self::Lone))
    }
}

impl fmt::Debug for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared(bug) => bug.fmt(f),
            Self::Lone(bug) => bug.fmt(f),
        }
    }
}

bugs! {
    /// A wrong version of what threads share: most of them take two threads.
    SharedBug, Shared:

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

bugs! {
    /// What is wrong on one thread.
    LoneBug, Lone:

    // Files.
    /// A write that goes past the largest size is refused, and carried out up to there.
    HalfOfAWrite,
    /// A write of nothing is carried out.
    EmptyWrite,
    /// The end of a write past the largest offset wraps around.
    EndWraps,
    /// A block that grows is not charged to the budget.
    GrowthUncharged,
    /// A hole over stored bytes shows them again once the file is as long.
    HoleShowsLayout,
    /// A hole that is made during a commit is forgotten when its data is stored.
    HoleLostAtAdopt,
    /// A read stops one byte before the end of the file.
    ReadMissesLast,
    /// A range that ends one byte into a block is cut as if it ended before it.
    SplitMissesOne,
    /// Set-id bits stay when somebody else writes.
    SetIdStays,
    /// A write does not change the time of modification.
    WriteKeepsMtime,
    /// A read changes the time of modification.
    ReadChangesMtime,

    // Names.
    /// A file that a rename replaces goes although it is open.
    RenameLosesTarget,
    /// A file that is unlinked goes although it is open.
    UnlinkFreesOpen,
    /// A page of a directory begins with the last entry of the page before.
    PageRepeats,
    /// Between two pages of a directory an entry is left out.
    PageSkips,
    /// A second name does not count as a link.
    LinkNotCounted,

    // Requests.
    /// A request that failed is sent again at once.
    RetriesAtOnce,
    /// A request that fails is sent again for ever.
    RetriesForEver,
    /// Bytes that came are taken for those that were asked for.
    WrongBytesAccepted,
    /// A body that is cut short is taken, and filled up with zeros.
    ShortBodyAccepted,
    /// The memory of a load that fails is not given back.
    FailedLoadKeepsMemory,
    /// Who waited for a load that fails is never answered.
    ErrorUnanswered,
    /// Who waited for a load that fails is answered twice.
    ErrorAnsweredTwice,

    // The data of a commit.
    /// Of the files that change during a commit, every other is taken as it is later.
    SealsEveryOther,
    /// The part of a range in a chunk that it does not fill to the end is not stored.
    ChunkTailLost,
    /// The last chunk of a file stays as it was when the file grows.
    EndMovesUnseen,
    /// Contents of one object are taken for each other.
    PlacesSwapped,
    /// An object whose put failed counts as stored.
    PutErrorSwallowed,
    /// The name of an object is made of other bytes than are sent.
    NameOfOtherBytes,
    /// A put of what is there already counts as failed.
    ExistsIsFailure,
    /// A put of what is there already counts as done, whatever is there.
    ExistsIsSuccess,
    /// What is there already is taken for the same if it is as long and has no checksum.
    LengthIsEnough,
    /// Puts that have ended count as under way.
    PutsNeverEnd,

    // The trees of a commit, and its end.
    /// The snapshot is put before all trees are stored.
    NamesBeforeObjects,
    /// A commit leaves names out that were removed.
    ForgetsRemovedName,
    /// An inode that is gone stays in the link table.
    LinkStaysInTable,
    /// A snapshot does not say which numbers its new inodes have.
    NextInoKept,
    /// A snapshot does not say what it is made from.
    SnapshotWithoutParent,
    /// After a commit a directory counts as stored where it was before.
    StaleDirectory,
    /// After a commit the content of a file counts as stored where it was before.
    StaleLayout,
    /// Names that a failed commit had taken are forgotten.
    FailedCommitForgetsNames,
    /// The generation of the ref does not grow.
    GenerationStays,
    /// A ref that another mount has moved is put all the same.
    HeadOverwritten,
    /// A ref whose put had an unknown outcome is put again over whatever is there.
    RefRetriedBlindly,
    /// A put of the ref with an unknown outcome counts as done.
    UnknownIsDone,
    /// A put of the ref with an unknown outcome counts as failed.
    UnknownIsFailure,
    /// A ref that is not what it was counts as a failure, without a look at what it is.
    MismatchIsFailure,
    /// A commit that lost to another is reported as published.
    ConflictIsSuccess,
    /// One's own put of the ref is taken for another mount's.
    OwnRefIsConflict,
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

pub(crate) fn is(bug: impl Into<Bug>) -> bool {
    ACTIVE.get() == Some(bug.into())
}
