//! The decisions of Vellum, without I/O, clock, thread or randomness.
//!
//! Floors, lowest first; a module imports only from lower ones: [`words`] and [`sync`], then
//! [`shapes`] and [`format`], then [`conc`], then [`machine`] (names, flows, face). [`model`] is
//! the obvious file system that tests compare with.
#![forbid(unsafe_code)]

pub mod conc;
pub mod format;
pub mod machine;
pub mod model;
pub mod shapes;
pub mod sync;
pub mod words;
