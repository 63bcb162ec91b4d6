//! What was done, in figures: how often, how long it took, what came of it.
//!
//! Recording takes no lock, allocates nothing and makes no system call: a figure is a few atomic
//! counters, and those that the path of a write touches are striped by thread.

mod histogram;
mod operations;
mod requests;

pub(crate) use histogram::{Buckets, bound_ns};
pub(crate) use operations::{Operation, Operations};
pub(crate) use requests::{RequestKind, RequestTotals, Requests};
