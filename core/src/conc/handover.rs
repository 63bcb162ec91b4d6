//! The hand-over of the machine: owned by a lock, run by whoever has an input.

use std::collections::VecDeque;

use crate::sync::Mutex;

/// A machine and its inbox. A thread that submits while another runs the machine leaves its input
/// and goes on: the one that runs it takes the input before it stops.
#[derive(Debug)]
pub struct Handover<M, I> {
    inbox: Mutex<Inbox<I>>,
    /// Lock order: `machine` before `inbox`; never the other way round.
    machine: Mutex<M>,
}

#[derive(Debug)]
struct Inbox<I> {
    inputs: VecDeque<I>,
    running: bool,
}

impl<M, I> Handover<M, I> {
    /// Puts `machine` behind the hand-over.
    pub fn new(machine: M) -> Self {
        let inbox = Inbox { inputs: VecDeque::new(), running: false };
        Self { inbox: Mutex::new(inbox), machine: Mutex::new(machine) }
    }

    /// Leaves an input. Unless another thread runs the machine, runs it until the inbox is empty:
    /// `step` under the machine's lock, and `after` with what it gave once the lock is free.
    pub fn submit<R>(
        &self,
        input: I,
        mut step: impl FnMut(&mut M, I) -> R,
        mut after: impl FnMut(R),
    ) {
        let runs = self.inbox.with(|inbox| {
            inbox.inputs.push_back(input);
            !std::mem::replace(&mut inbox.running, true)
        });
        if !runs {
            return;
        }
        while let Some(input) = self.next() {
            after(self.machine.with(|machine| step(machine, input)));
        }
    }

    /// Runs `f` on the machine at once, between two inputs.
    pub fn with<R>(&self, f: impl FnOnce(&mut M) -> R) -> R {
        self.machine.with(f)
    }

    fn next(&self) -> Option<I> {
        if seeded!(LostWakeUp) {
            let input = self.inbox.with(|inbox| inbox.inputs.pop_front());
            self.inbox.with(|inbox| inbox.running = input.is_some());
            return input;
        }
        self.inbox.with(|inbox| {
            let input = inbox.inputs.pop_front();
            inbox.running = input.is_some();
            input
        })
    }
}
