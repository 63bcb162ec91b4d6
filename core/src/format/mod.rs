//! The native format: bytes and values, pure. docs/FORMAT.md is its specification.

mod hash;

pub use hash::Hash;
