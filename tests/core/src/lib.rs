//! Shared helpers of the core proofs.
#![allow(clippy::unwrap_used)]

pub mod setup;
pub mod threads;
