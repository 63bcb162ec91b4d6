//! What threads did to a mount, each verb with its beginning and end, and whether there is an order
//! in which one thread would have been told the same.

use vellum_tests_core::threads::spec::Spec;
use vellum_tests_core::threads::verbs::{COMMIT, Verb};

/// A point in the history: they grow by one with each beginning and each end.
type Instant = usize;

/// What a commit says that finds another one under way.
const BUSY: &str = "Busy";

/// A verb that was carried out.
#[derive(Clone)]
struct Done {
    verb: Verb,
    start: Instant,
    end: Instant,
    said: String,
}

/// What each thread did, in its order.
#[derive(Clone, Default)]
pub(crate) struct History {
    now: Instant,
    threads: Vec<Vec<Done>>,
}

impl History {
    pub(crate) fn of(threads: usize) -> Self {
        Self { now: 0, threads: vec![Vec::new(); threads] }
    }

    /// A verb begins.
    pub(crate) fn start(&mut self) -> Instant {
        self.now += 1;
        self.now
    }

    /// A verb of a thread has ended.
    pub(crate) fn end(&mut self, thread: usize, verb: Verb, start: Instant, said: String) {
        let end = self.start();
        self.threads[thread].push(Done { verb, start, end, said });
    }

    /// There is an order of the verbs, in which each comes after those that ended before it began,
    /// and in which the specification says what was said, and shows `look` in the end.
    pub(crate) fn check(&self, spec: &Spec, look: &str) {
        let begin = vec![0; self.threads.len()];
        assert!(self.is_linear(spec, begin, look), "no order gives this:\n{}{look}", self.told());
    }

    fn is_linear(&self, spec: &Spec, at: Vec<usize>, look: &str) -> bool {
        let next = || self.threads.iter().zip(&at).filter_map(|(done, at)| done.get(*at));
        let Some(first_end) = next().map(|done| done.end).min() else {
            return spec.clone().look() == look;
        };
        (0..self.threads.len()).any(|thread| {
            let Some(done) = self.threads[thread].get(at[thread]) else { return false };
            if done.start > first_end {
                return false;
            }
            let mut spec = spec.clone();
            let told = if self.was_busy(thread, done) {
                true
            } else {
                done.verb.apply(&mut spec) == done.said
            };
            let mut at = at.clone();
            at[thread] += 1;
            told && self.is_linear(&spec, at, look)
        })
    }

    /// Whether a commit found another one under way, and there was one.
    fn was_busy(&self, thread: usize, done: &Done) -> bool {
        let others = self.threads.iter().enumerate().filter(|(other, _)| *other != thread);
        let meets = |other: &Done| {
            other.verb.name == COMMIT.name
                && other.said != BUSY
                && other.start < done.end
                && done.start < other.end
        };
        done.verb.name == COMMIT.name
            && done.said == BUSY
            && others.flat_map(|(_, done)| done).any(meets)
    }

    fn told(&self) -> String {
        let mut all: Vec<(Instant, String)> = Vec::new();
        for (thread, done) in self.threads.iter().enumerate() {
            for Done { verb, start, end, said } in done {
                all.push((*start, format!("  {thread}: {} begins\n", verb.name)));
                all.push((*end, format!("  {thread}: {} says {said}\n", verb.name)));
            }
        }
        all.sort();
        all.into_iter().map(|(_, line)| line).collect()
    }
}
