//! Shared helpers of the core proofs.
#![allow(clippy::unwrap_used)]

pub mod play;
pub mod setup;
pub mod threads;
