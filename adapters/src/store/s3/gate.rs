//! How many requests may be under way: as many as the store bears.
//!
//! The bound is halved when the store asks for patience, and grows by one for each window of
//! requests that succeed (additive increase, multiplicative decrease, as TCP does).

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use vellum_core::shapes::{StoreError, StoreOutcome};

/// Most requests under way.
const WINDOW_MAX: usize = 64;
/// Fewest that may be: one that is slow must not hold up the next.
const WINDOW_MIN: usize = 2;

pub(super) struct Gate {
    permits: Semaphore,
    window: Mutex<Window>,
}

/// The bound, and what was learnt since it was last moved.
#[derive(Debug)]
struct Window {
    size: usize,
    /// Permits still to be taken away, as they come back.
    owed: usize,
    /// Successes since the last move.
    good: usize,
    /// Answers since the last halving: those of requests that were under way then say no more
    /// than the first.
    since: usize,
}

impl Gate {
    pub(super) fn new() -> Self {
        let window = Window { size: WINDOW_MAX, owed: 0, good: 0, since: WINDOW_MAX };
        Self { permits: Semaphore::new(WINDOW_MAX), window: Mutex::new(window) }
    }

    /// Waits for its turn.
    pub(super) async fn enter(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.permits.acquire().await.ok()
    }

    /// The bound.
    pub(super) fn size(&self) -> usize {
        self.window.lock().size
    }

    /// Moves the bound by what came of a request.
    pub(super) fn learn(&self, done: &Result<StoreOutcome, StoreError>) {
        let mut window = self.window.lock();
        let before = window.size;
        window.learn(matches!(done, Err(StoreError::Throttled)), done.is_ok());
        if window.size > before {
            let back = (window.size - before).min(window.owed);
            window.owed -= back;
            self.permits.add_permits(window.size - before - back);
        } else {
            window.owed += before - window.size;
        }
        window.owed -= self.permits.forget_permits(window.owed);
    }
}

impl Window {
    fn learn(&mut self, is_throttled: bool, is_good: bool) {
        self.since = self.since.saturating_add(1);
        if is_throttled {
            if self.since >= self.size {
                self.size = (self.size / 2).max(WINDOW_MIN);
                self.since = 0;
            }
            self.good = 0;
        } else if is_good {
            self.good += 1;
            if self.good >= self.size && self.size < WINDOW_MAX {
                self.size += 1;
                self.good = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn told(gate: &Gate, times: usize, error: Option<StoreError>) {
        for _ in 0..times {
            gate.learn(&error.clone().map_or(Ok(StoreOutcome::Deleted), Err));
        }
    }

    #[test]
    fn one_burst_of_refusals_halves_the_window_once() {
        let gate = Gate::new();
        told(&gate, WINDOW_MAX / 2, Some(StoreError::Throttled));
        assert_eq!(gate.permits.available_permits(), WINDOW_MAX / 2);
        told(&gate, 1000, Some(StoreError::Throttled));
        assert_eq!(gate.permits.available_permits(), WINDOW_MIN);
        told(&gate, 1000, Some(StoreError::NotFound));
        assert_eq!(gate.permits.available_permits(), WINDOW_MIN);
        told(&gate, WINDOW_MAX * WINDOW_MAX, None);
        assert_eq!(gate.permits.available_permits(), WINDOW_MAX);
    }

    #[test]
    fn permits_that_are_out_are_taken_away_when_they_come_back() {
        let gate = Gate::new();
        let out: Vec<_> = (0..WINDOW_MAX).map(|_| gate.permits.try_acquire().unwrap()).collect();
        told(&gate, 1, Some(StoreError::Throttled));
        drop(out);
        told(&gate, 1, None);
        assert_eq!(gate.permits.available_permits(), WINDOW_MAX / 2);
    }
}
