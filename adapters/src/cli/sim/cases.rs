//! Every small case, one after the other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use vellum_sim::choice::{Exhaustive, Tape};
use vellum_sim::play::{CASE, Red, SMALL};

use super::campaign::quietly;

/// How far the cases were gone through.
pub(super) struct Cases {
    most: u64,
    played: AtomicU64,
    are_all: AtomicBool,
    is_stopped: AtomicBool,
}

impl Cases {
    pub(super) fn new(most: Option<u64>) -> Self {
        Self {
            most: most.unwrap_or(u64::MAX),
            played: AtomicU64::new(0),
            are_all: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
        }
    }

    pub(super) fn played(&self) -> u64 {
        self.played.load(Ordering::Relaxed)
    }

    /// Whether there was no other case left.
    pub(super) fn are_all(&self) -> bool {
        self.are_all.load(Ordering::Relaxed)
    }

    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    /// Plays them until one ends badly: its tape, and how, with its history.
    pub(super) fn play(&self) -> Option<(Tape, Red)> {
        let mut all = Exhaustive::new(CASE);
        while self.played() < self.most && !self.is_stopped.load(Ordering::Relaxed) {
            let end = quietly(|| all.play(|choices| (SMALL.run(choices), choices.tape())));
            let Some((end, tape)) = end else {
                self.are_all.store(true, Ordering::Relaxed);
                return None;
            };
            self.played.fetch_add(1, Ordering::Relaxed);
            if let Err(red) = end {
                let red = quietly(|| SMALL.tell(&tape)).err().unwrap_or(red);
                return Some((tape, red));
            }
        }
        None
    }
}
