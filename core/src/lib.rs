//! The decisions of Vellum, without I/O, clock, thread or randomness.
//!
//! Floors, lowest first; a module imports only from lower ones: [`words`] and [`sync`], then
//! [`shapes`] and [`format`], then [`conc`], then [`machine`] (names, flows, face). [`model`] is
//! the obvious file system that tests compare with.
#![forbid(unsafe_code)]

/// Whether a seeded bug is there: never, but in builds that test the tests.
#[cfg(core_bugs)]
macro_rules! seeded {
    ($bug:ident) => {
        crate::bugs::is(crate::bugs::$bug)
    };
}
#[cfg(not(core_bugs))]
macro_rules! seeded {
    ($bug:ident) => {
        false
    };
}

#[cfg(core_bugs)]
pub mod bugs;
pub mod conc;
pub mod format;
pub mod machine;
pub mod model;
pub mod shapes;
pub mod sync;
pub mod words;
