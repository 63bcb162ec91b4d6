//! Games: random runs of mounts in a simulated world, with the model beside them and everything
//! checked that can be. What a game does follows from its choices alone.

mod check;
mod chunks;
mod commits;
mod during;
mod figures;
mod games;
mod many;
mod overlap;
mod player;
mod race;
mod reader;
mod small;
mod step;
mod stored;
mod streams;
mod verbs;
mod words;

pub use games::{CANARY, GAMES, Game, Ran, Red, SMALL};
pub use small::CASE;
pub use step::{Bigger, OnFiles, OnNames, Step, Verb};
