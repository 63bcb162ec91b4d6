#![allow(clippy::unwrap_used)]

mod arb;
mod golden;
mod hostile;
mod records;
mod trees;
