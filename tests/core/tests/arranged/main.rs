//! Situations that random sequences seldom come to: each is arranged, step by step.
#![allow(clippy::unwrap_used)]

mod commits;
mod diff;
mod hostile;
mod limits;
mod memory;
mod reading;
mod scene;
mod takeback;
