//! Models of what threads share, under loom: `--cfg core_loom` builds only.
//!
//! Each model runs in both orders of spawning, and asserts the SET of its outcomes: what every
//! permutation of its verbs gives, and nothing else.
#![cfg(core_loom)]
#![allow(clippy::unwrap_used)]

#[cfg(core_bugs)]
mod bugs;
mod check;
mod explicit;
mod generated;
mod golden;
mod named;
mod report;
