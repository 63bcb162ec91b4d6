//! The wrapper around `loom::model`: every model runs in both orders of spawning, unbounded or with
//! a bound that is said, and is asserted by the SET of its outcomes and by its count.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use loom::thread;
use vellum_tests_core::threads::start::Start;
use vellum_tests_core::threads::verbs::Verb;
use vellum_tests_core::threads::world::World;

use crate::golden;
use crate::report::{self, Row};

/// What one thread does; what it says of it.
type Task<W> = Arc<dyn Fn(&W) -> String + Send + Sync>;

/// Preemptions where not all interleavings are tried. With two, a flush that clears the mark of a
/// write is not found.
pub(crate) const PREEMPTIONS: usize = 3;

/// Models of two threads that are known to have no more interleavings than this, both orders
/// together, are exhaustive each time, and the others in the long tier. Those of three threads have
/// one preemption more there.
pub(crate) const MANY: u64 = 2_000;

/// Whether all models are to be exhaustive, however long it takes.
pub(crate) fn is_long() -> bool {
    std::env::var_os("VELLUM_LONG").is_some_and(|value| value == "1")
}

/// Threads that each carry out verbs, one after the other. What they say, and what is there in the
/// end, must be what the specification gives for some order of the verbs, and each such outcome
/// must be seen.
pub(crate) fn linear(name: &str, start: Start, threads: &[&[Verb]]) {
    let expected = outcomes(start, threads);
    let task = |verbs: &&[Verb]| -> Task<World> {
        let verbs = verbs.to_vec();
        Arc::new(move |world| {
            let said: Vec<String> = verbs.iter().map(|verb| verb.run(world)).collect();
            said.join(" ")
        })
    };
    let tasks = threads.iter().map(task).collect();
    let model = Model::new(name, threads.len());
    model.check(move || start.world(), tasks, World::look, &expected);
}

/// What may come of it: one outcome for each order of the verbs that keeps each thread's own.
fn outcomes(start: Start, threads: &[&[Verb]]) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    let mut left = vec![(start.spec(), vec![Vec::<String>::new(); threads.len()])];
    while let Some((spec, said)) = left.pop() {
        let mut is_end = true;
        for (at, verbs) in threads.iter().enumerate() {
            let Some(verb) = verbs.get(said[at].len()) else { continue };
            is_end = false;
            let (mut spec, mut said) = (spec.clone(), said.clone());
            said[at].push(verb.apply(&mut spec));
            left.push((spec, said));
        }
        if is_end {
            let said = said.iter().map(|said| said.join(" ")).collect();
            out.insert(outcome(said, spec.clone().look()));
        }
    }
    out
}

fn outcome(said: Vec<String>, look: String) -> String {
    format!("{} | {look}", said.join(" | "))
}

/// Runs two verbs on two threads in every interleaving; then `look` says what came of it. The
/// outcomes must be exactly `expected`.
pub(crate) fn two<W: Send + Sync + 'static>(
    make: fn() -> W,
    verbs: [fn(&W) -> String; 2],
    look: fn(&W) -> String,
    expected: &[&str],
) {
    explicit(make, &verbs, look, expected);
}

/// The same with three threads.
pub(crate) fn three<W: Send + Sync + 'static>(
    make: fn() -> W,
    verbs: [fn(&W) -> String; 3],
    look: fn(&W) -> String,
    expected: &[&str],
) {
    explicit(make, &verbs, look, expected);
}

fn explicit<W: Send + Sync + 'static>(
    make: fn() -> W,
    verbs: &[fn(&W) -> String],
    look: fn(&W) -> String,
    expected: &[&str],
) {
    let thread = std::thread::current();
    let name = thread.name().and_then(|path| path.rsplit("::").next()).unwrap_or("").to_owned();
    let task = |verb: &fn(&W) -> String| -> Task<W> {
        let verb = *verb;
        Arc::new(move |world: &W| verb(world))
    };
    let expected = expected.iter().map(|outcome| (*outcome).to_owned()).collect();
    let model = Model::new(&name, verbs.len());
    model.check(make, verbs.iter().map(task).collect(), look, &expected);
}

thread_local! {
    /// Interleavings that ran on this thread.
    pub(crate) static RUN: Cell<u64> = const { Cell::new(0) };
}

struct Model {
    name: String,
    bound: Option<usize>,
}

impl Model {
    fn new(name: &str, threads: usize) -> Self {
        let is_few = golden::of(name).is_some_and(|counts| counts.iter().sum::<u64>() <= MANY);
        let bound = match (is_long(), threads) {
            (_, 2) if is_few => None,
            (true, 2) => None,
            (true, _) => Some(PREEMPTIONS + 1),
            (false, _) => Some(PREEMPTIONS),
        };
        Self { name: name.to_owned(), bound }
    }

    fn check<W: Send + Sync + 'static>(
        &self,
        make: impl Fn() -> W + Copy + Send + Sync + 'static,
        tasks: Vec<Task<W>>,
        look: fn(&W) -> String,
        expected: &BTreeSet<String>,
    ) {
        if std::env::var("UPDATE_GOLDEN").is_ok_and(|what| what == "new")
            && golden::is_known(&self.name, self.bound)
        {
            return;
        }
        for var in ["LOOM_MAX_PERMUTATIONS", "LOOM_MAX_DURATION", "LOOM_MAX_PREEMPTIONS"] {
            assert!(std::env::var_os(var).is_none(), "{var} would cut the model short silently");
        }
        let begun = Instant::now();
        let threads = tasks.len();
        let orders = [(0..threads).collect::<Vec<_>>(), (0..threads).rev().collect()];
        let seen = Arc::new(Mutex::new(BTreeSet::new()));
        let counts = orders.map(|order| self.run(make, &tasks, &order, look, (expected, &seen)));
        let seen = seen.lock().unwrap();
        let seconds = begun.elapsed().as_secs_f64();
        report::add(&Row { name: &self.name, threads, bound: self.bound, counts, seconds });
        let name = &self.name;
        let missing: Vec<_> = expected.difference(&seen).collect();
        assert!(missing.is_empty(), "{name}: never seen: {missing:#?}\nbut {seen:#?}");
        if self.name != UNCOUNTED {
            golden::compare(name, self.bound, counts);
        }
    }

    /// All interleavings for one order of spawning; how many.
    fn run<W: Send + Sync + 'static>(
        &self,
        make: impl Fn() -> W + Send + Sync + 'static,
        tasks: &[Task<W>],
        order: &[usize],
        look: fn(&W) -> String,
        (expected, seen): (&BTreeSet<String>, &Arc<Mutex<BTreeSet<String>>>),
    ) -> u64 {
        let count = Arc::new(Mutex::new(0_u64));
        let (counted, seen) = (Arc::clone(&count), Arc::clone(seen));
        let (tasks, order, expected) = (tasks.to_vec(), order.to_vec(), expected.clone());
        let mut builder = loom::model::Builder::new();
        builder.max_branches = 20_000;
        builder.preemption_bound = self.bound;
        builder.check(move || {
            RUN.set(RUN.get() + 1);
            let world = loom::sync::Arc::new(without_bugs(&make));
            let spawn = |at: &usize| {
                let (world, task) = (loom::sync::Arc::clone(&world), Arc::clone(&tasks[*at]));
                (*at, thread::spawn(move || task(&world)))
            };
            let spawned: Vec<_> = order.iter().map(spawn).collect();
            let mut said = vec![String::new(); order.len()];
            for (at, handle) in spawned {
                said[at] = handle.join().unwrap();
            }
            *counted.lock().unwrap() += 1;
            let outcome = outcome(said, look(&world));
            assert!(
                expected.contains(&outcome),
                "no order gives this: {outcome}\nbut {expected:#?}"
            );
            seen.lock().unwrap().insert(outcome);
        });
        let count = *count.lock().unwrap();
        count
    }
}

/// The name of models of which no count is kept: a seeded bug changes it.
pub(crate) const UNCOUNTED: &str = "not counted";

/// A mount is made by a core without bugs.
fn without_bugs<W>(make: impl Fn() -> W) -> W {
    #[cfg(core_bugs)]
    return vellum_core::bugs::without(make);
    #[cfg(not(core_bugs))]
    make()
}

/// How an outcome is spelled.
pub(crate) fn say(value: impl Debug) -> String {
    format!("{value:?}").replace(' ', "")
}
