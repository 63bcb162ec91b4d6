//! Floor 2: the only code that threads share: files and their blocks, handles, budget, hand-over.

mod block;
mod budget;
mod edit;
mod file;
mod handles;
mod handover;
mod image;
mod mask;
mod shared;
mod state;
#[cfg(test)]
mod tests;
#[cfg(core_bugs)]
mod wrong;

pub use budget::Budget;
pub(crate) use edit::hole_bytes;
pub(crate) use file::{Around, Installed, Why};
pub use file::{File, FileAttr, Slow};
pub use handles::{Handle, Handles};
pub use handover::Handover;
pub use image::{Image, ImageBlock, Part};
pub use mask::Mask;
pub use shared::{Fast, Shared};
pub(crate) use state::NO_MARK;
