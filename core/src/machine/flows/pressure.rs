//! Memory pressure: clean data goes, oldest loads first.

use std::collections::{BTreeSet, VecDeque};

use super::engine::{Cx, Engine};
use crate::sync::Arc;
use crate::words::Ino;

/// Files that may hold clean data, in the order in which they got it.
#[derive(Debug, Default)]
pub(crate) struct Pressure {
    order: VecDeque<Ino>,
    queued: BTreeSet<Ino>,
    /// Whether the last look for data to be sent early found none.
    pub(super) found_nothing: bool,
}

impl Pressure {
    /// A file got clean data.
    pub(crate) fn note_clean(&mut self, ino: Ino) {
        if self.queued.insert(ino) {
            self.order.push_back(ino);
        }
    }
}

impl Engine {
    /// Drops clean data until `want` more bytes are free, or none is left; not that of `spare`
    /// unless there is no other.
    pub(crate) fn make_room(&mut self, want: u64, spare: Option<Ino>) {
        let shared = Arc::clone(&self.shared);
        let mut freed = 0;
        for _ in 0..self.pressure.order.len() {
            if freed >= want {
                return;
            }
            let Some(ino) = self.pressure.order.pop_front() else { return };
            if Some(ino) == spare && !self.pressure.order.is_empty() {
                self.pressure.order.push_back(ino);
                continue;
            }
            self.pressure.queued.remove(&ino);
            let Some(node) = self.table.get(ino).and_then(|node| node.file()) else { continue };
            freed += node.file.evict(shared.around(), want - freed);
            if node.file.is_sealed() || freed >= want {
                self.pressure.note_clean(ino);
            }
        }
    }

    /// Takes memory for a load or a commit, after evicting if there is no room.
    pub(crate) fn take_reserved(&mut self, len: u64) -> bool {
        let shared = Arc::clone(&self.shared);
        let budget = shared.around().budget;
        if budget.take_reserved(len) {
            return true;
        }
        self.make_room(len.saturating_mul(2), None);
        if budget.take_reserved(len) {
            return true;
        }
        self.collect_credit();
        budget.take_reserved(len)
    }

    /// Memory runs short: clean data goes, and if that is not enough, dirty data is sent early.
    pub(crate) fn relieve(&mut self, cx: &mut Cx<'_>) -> bool {
        let shared = Arc::clone(&self.shared);
        let budget = shared.around().budget;
        self.make_room(budget.used_bytes() / 2, None);
        if budget.is_pressed() {
            self.begin_spill(cx);
        }
        true
    }

    /// What could not be sent early may have gone another way: then it is looked for again when
    /// memory runs short the next time.
    pub(crate) fn forget_fruitless_spill(&mut self) {
        if !self.pressure.found_nothing || self.commit.is_some() {
            return;
        }
        let budget = &self.shared.budget;
        if !budget.is_low() {
            budget.rest();
            self.pressure.found_nothing = false;
        }
    }

    /// Makes room for a write; whether there is some now.
    pub(crate) fn room_for_write(&mut self, len: u64) -> bool {
        let shared = Arc::clone(&self.shared);
        let budget = shared.around().budget;
        self.make_room(budget.short_bytes(len), None);
        if budget.short_bytes(len) > 0 {
            self.collect_credit();
        }
        budget.short_bytes(len) == 0
    }

    /// Changed files give back what they took ahead and do not use.
    pub(crate) fn collect_credit(&mut self) {
        for ino in &self.table.changed {
            if let Some(node) = self.table.get(*ino).and_then(|node| node.file()) {
                node.file.settle(self.shared.around());
            }
        }
    }
}
