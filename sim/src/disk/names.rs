//! The one directory: what it shows, and what a power loss leaves of it.

use std::collections::BTreeMap;

use super::Ino;
use crate::choice::Choices;

/// Names and the files they stand for. No file has two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    now: BTreeMap<String, Ino>,
    durable: BTreeMap<String, Ino>,
    /// Since the last sync, in their order.
    changes: Vec<Change>,
}

/// A file gets this name in place of the one it has, and takes it from another; or loses it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    ino: Ino,
    to: Option<String>,
    replaced: Option<Ino>,
}

impl Change {
    /// A change that can't be without an earlier one, since a file has the name that got it only
    /// after that, does not happen either.
    fn apply(&self, names: &mut BTreeMap<String, Ino>) {
        let taken = self.to.as_ref().and_then(|to| names.get(to));
        if taken.is_some() && taken != self.replaced.as_ref() {
            return;
        }
        names.retain(|_, ino| *ino != self.ino);
        if let Some(to) = &self.to {
            names.insert(to.clone(), self.ino);
        }
    }
}

impl Names {
    pub(super) fn get(&self, name: &str) -> Option<Ino> {
        self.now.get(name).copied()
    }

    pub(super) fn list(&self) -> Vec<String> {
        self.now.keys().cloned().collect()
    }

    /// Whether a file has a name now.
    pub(super) fn show(&self, ino: Ino) -> bool {
        self.now.values().any(|named| *named == ino)
    }

    /// Whether a file has a name, or may have one after a power loss.
    pub(super) fn may_show(&self, ino: Ino) -> bool {
        self.show(ino)
            || self.durable.values().any(|named| *named == ino)
            || self.changes.iter().any(|change| change.ino == ino)
    }

    /// Gives a file its only name, or none.
    pub(super) fn give(&mut self, ino: Ino, to: Option<&str>) {
        let replaced = to.and_then(|to| self.get(to));
        let change = Change { ino, to: to.map(str::to_owned), replaced };
        change.apply(&mut self.now);
        self.changes.push(change);
    }

    pub(super) fn sync(&mut self) {
        self.changes.clear();
        self.durable = self.now.clone();
    }

    /// Of what was not synced, each change happens or does not.
    pub(super) fn power_loss(&mut self, choices: &Choices) {
        for change in std::mem::take(&mut self.changes) {
            if choices.index(2) == 0 {
                change.apply(&mut self.durable);
            }
        }
        self.now = self.durable.clone();
    }
}
