//! The servers that a daemon is measured against.

use clap::ValueEnum;

/// A file system of one kind of file, and one way to write into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Control {
    /// Throws the data away.
    Null,
    /// One look-up, one lock, one copy.
    Floor,
    /// The naive path after the plan: synchronous, without the extra copies.
    Improved,
    /// Two maps and a global lock behind a runtime.
    Naive,
}

impl Control {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Floor => "floor",
            Self::Improved => "improved",
            Self::Naive => "naive",
        }
    }
}
