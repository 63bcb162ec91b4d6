//! Floor 5: the machine's face. Dispatch only: one handler for each request, and the parking of
//! those that wait.

mod attributes;
mod create;
mod data;
mod machine;
mod parking;
mod remove;
mod rename;
mod restore;
mod streams;

pub use super::flows::Branch;
pub use machine::{Holdings, Machine, MountSpec};
