//! Floors 3 to 5: the machine. It decides everything that is not one step on one file, and knows
//! no clock, thread, randomness or I/O: inputs come in, effects go out.

mod face;
mod flows;
mod names;

pub use face::{Branch, Holdings, Machine, MountSpec};
pub use flows::{Job, Product};
