//! The product and the servers that it is measured against.

use clap::ValueEnum;

/// A file system, or of the controls, one kind of file and one way to write into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Control {
    /// Throws the data away.
    Null,
    /// One look-up, one lock, one copy.
    Floor,
    /// The product, on a directory store.
    Vellum,
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
            Self::Vellum => "vellum",
            Self::Improved => "improved",
            Self::Naive => "naive",
        }
    }
}
