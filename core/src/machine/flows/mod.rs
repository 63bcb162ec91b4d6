//! Floor 4: what takes more than one step: loading, registration and pressure, the cut, commit.

mod ahead;
mod calls;
mod commit;
mod cut;
mod directory;
mod engine;
mod gather;
mod job;
mod lay;
mod locate;
mod piece;
mod plan;
mod pressure;
mod publish;
mod puts;
mod report;
mod since;
mod spill;
mod task;
mod trees;
mod upload;
#[cfg(core_bugs)]
mod wrong;

pub(crate) use calls::Due;
pub(crate) use commit::CommitRequest;
pub(crate) use directory::find;
pub use engine::Branch;
pub(crate) use engine::{Cx, Engine, Repo, Stop, WaitKey};
pub use job::{Job, Product};
