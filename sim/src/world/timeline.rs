//! What happened when, for a picture of a run: the lives of actors, what they asked the store for,
//! and what was noted beside.

use std::collections::BTreeMap;

use super::ActorId;
use crate::store::Flight;

/// Everything that a picture shows, in the order in which it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// Actors, from their beginning.
    pub lives: BTreeMap<ActorId, Life>,
    /// Requests to the store.
    pub asked: BTreeMap<Flight, Asked>,
    /// What was noted.
    pub notes: Vec<Note>,
    /// When a request has moved a ref, in nanoseconds.
    pub moves_ns: Vec<u64>,
    /// When the run ended, in nanoseconds.
    pub end_ns: u64,
}

/// The life of an actor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// What it is called in notes.
    pub name: Option<String>,
    /// When it began, in nanoseconds.
    pub from_ns: u64,
    /// When it was killed, in nanoseconds.
    pub killed_ns: Option<u64>,
}

/// A request to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Who asked.
    pub actor: ActorId,
    /// What was asked for.
    pub text: String,
    /// When it was sent, in nanoseconds.
    pub from_ns: u64,
    /// When it was carried out, in nanoseconds.
    pub applied_ns: Option<u64>,
    /// When its sender heard of it, or would have, in nanoseconds.
    pub answered_ns: Option<u64>,
    /// What came of it.
    pub outcome: Option<String>,
    /// What went wrong.
    pub trouble: Option<&'static str>,
}

/// Something that was noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Of whom.
    pub actor: ActorId,
    /// When, in nanoseconds.
    pub at_ns: u64,
    /// What.
    pub text: String,
}

impl Timeline {
    pub(super) fn begins(&mut self, now_ns: u64, actor: ActorId) {
        self.lives.insert(actor, Life { from_ns: now_ns, ..Life::default() });
    }

    pub(super) fn killed(&mut self, now_ns: u64, actor: ActorId) {
        if let Some(life) = self.lives.get_mut(&actor) {
            life.killed_ns = Some(now_ns);
        }
    }

    pub(super) fn remark(&mut self, at_ns: u64, actor: ActorId, name: Option<&str>, text: &str) {
        self.notes.push(Note { actor, at_ns, text: text.to_owned() });
        if let (Some(life), Some(name)) = (self.lives.get_mut(&actor), name) {
            life.name = Some(name.to_owned());
        }
    }

    pub(super) fn asked(&mut self, from_ns: u64, flight: Flight, actor: ActorId, text: &str) {
        self.asked.entry(flight).or_insert_with(|| Asked {
            actor,
            text: text.to_owned(),
            from_ns,
            applied_ns: None,
            answered_ns: None,
            outcome: None,
            trouble: None,
        });
    }

    pub(super) fn applied(&mut self, now_ns: u64, flight: Flight) {
        if let Some(asked) = self.asked.get_mut(&flight) {
            asked.applied_ns = Some(now_ns);
        }
    }

    pub(super) fn answered(
        &mut self,
        now_ns: u64,
        flight: Flight,
        outcome: String,
        trouble: Option<&'static str>,
    ) {
        if let Some(asked) = self.asked.get_mut(&flight) {
            asked.answered_ns = Some(now_ns);
            (asked.outcome, asked.trouble) = (Some(outcome), trouble);
        }
    }
}
