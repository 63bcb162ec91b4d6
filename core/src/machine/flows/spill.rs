//! Spilling: under memory pressure the data of changed files is sent early, so that it may go from
//! memory. Nothing names it until a commit does.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::engine::{Cx, Engine, WaitKey};
use super::plan::{Plan, PlannedBody, planned};
use crate::machine::names::Node;
use crate::sync::Arc;
use crate::words::Ino;

impl Engine {
    /// Begins to send the largest changed files, until half of what is dirty is on its way; whether
    /// memory is on its way to being freed.
    pub(crate) fn begin_spill(&mut self, cx: &mut Cx<'_>) -> bool {
        let shared = Arc::clone(&self.shared);
        let budget = shared.around().budget;
        if self.commit.is_some() {
            budget.sends();
            self.settle_first(cx);
            return true;
        }
        let mut files: Vec<(Reverse<u64>, Ino)> = self
            .table
            .changed
            .iter()
            .filter_map(|ino| Some((self.table.get(*ino)?, *ino)))
            .filter(|(node, _)| !node.names.is_empty())
            .filter_map(|(node, ino)| Some((Reverse(node.file()?.file.dirty_bytes()), ino)))
            .filter(|(Reverse(dirty), _)| *dirty > 0)
            .collect();
        files.sort_unstable();
        let total: u64 = files.iter().map(|(Reverse(dirty), _)| dirty).sum();
        let mut chosen = BTreeMap::new();
        let mut bytes = 0;
        for (Reverse(dirty), ino) in files {
            if bytes * 2 > total {
                break;
            }
            bytes += dirty;
            chosen.insert(ino, planned(self.table.node(ino), true));
        }
        if chosen.is_empty() {
            budget.has_nothing_to_send();
            self.pressure.found_nothing = true;
            return false;
        }
        budget.sends();
        self.table.held = chosen.keys().copied().collect();
        let mut plan = Plan { inodes: chosen, ..Plan::default() };
        let inos: Vec<Ino> = plan.inodes.keys().copied().collect();
        inos.into_iter().for_each(|ino| plan.seal(ino));
        self.start_commit(cx, None, plan);
        // It may have failed at once.
        self.commit.is_some()
    }

    /// All data of a spill is stored: it is the layout of its files now.
    pub(crate) fn spilled(&mut self, cx: &mut Cx<'_>) {
        let Some(commit) = self.commit.take() else { return };
        let shared = Arc::clone(&self.shared);
        for (ino, planned) in &commit.plan.inodes {
            let PlannedBody::File(planned) = &planned.body else { continue };
            let Some(stored) = &planned.stored else { continue };
            if let Some(file) = self.table.get_mut(*ino).and_then(Node::file_mut) {
                file.layout = stored.clone();
                file.file.adopt(shared.around(), &stored.holes());
                self.pressure.note_clean(*ino);
            }
        }
        self.let_go(&commit);
        self.wake(WaitKey::Room, Ok(()));
        self.wake(WaitKey::Commit, Ok(()));
        if let Some(next) = commit.next {
            self.begin_commit(cx, next);
        }
    }
}
