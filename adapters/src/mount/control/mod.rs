//! The control socket: one per mount, in a directory that only its owner may enter.
//!
//! Requests and answers are JSON, one per line, each with the version of the protocol.

pub(super) mod client;
pub(super) mod place;
pub(super) mod protocol;
pub(super) mod server;
pub(super) mod stats;
