//! A mount that threads use, what each may do to it, and what comes of that when it is done in some
//! order. The models of loom and the schedules of shuttle are made of this.

pub mod door;
pub mod spec;
pub mod start;
pub mod verbs;
pub mod world;
