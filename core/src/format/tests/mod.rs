#![allow(clippy::unwrap_used)]

mod arb;
mod records;
mod trees;
