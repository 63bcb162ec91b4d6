//! The wrapper around `loom::model`.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use loom::thread;

use crate::golden::GOLDEN;

type Verb<W> = fn(&W) -> String;

/// Preemptions where not all interleavings are tried. With two, a flush that clears the mark of a
/// write is not found.
const PREEMPTIONS: usize = 3;

/// Runs two verbs on two threads in every interleaving and in both orders of spawning; then `look`
/// says what came of it. The outcomes must be exactly `expected`.
pub(crate) fn two<W: Send + Sync + 'static>(
    make: fn() -> W,
    verbs: [Verb<W>; 2],
    look: fn(&W) -> String,
    expected: &[&str],
) {
    all(make, verbs, [[0, 1], [1, 0]], None, look, expected);
}

/// The same for verbs of which there are too many interleavings: those with few enough
/// preemptions.
pub(crate) fn two_bounded<W: Send + Sync + 'static>(
    make: fn() -> W,
    verbs: [Verb<W>; 2],
    look: fn(&W) -> String,
    expected: &[&str],
) {
    all(make, verbs, [[0, 1], [1, 0]], Some(PREEMPTIONS), look, expected);
}

/// The same with three threads, in every interleaving with few enough preemptions.
pub(crate) fn three<W: Send + Sync + 'static>(
    make: fn() -> W,
    verbs: [Verb<W>; 3],
    look: fn(&W) -> String,
    expected: &[&str],
) {
    all(make, verbs, [[0, 1, 2], [2, 1, 0]], Some(PREEMPTIONS), look, expected);
}

fn all<W: Send + Sync + 'static, const N: usize>(
    make: fn() -> W,
    verbs: [Verb<W>; N],
    orders: [[usize; N]; 2],
    preemptions: Option<usize>,
    look: fn(&W) -> String,
    expected: &[&str],
) {
    for var in ["LOOM_MAX_PERMUTATIONS", "LOOM_MAX_DURATION", "LOOM_MAX_PREEMPTIONS"] {
        assert!(std::env::var_os(var).is_none(), "{var} would cut the model short silently");
    }
    let outcomes = Arc::new(Mutex::new(BTreeSet::new()));
    let counts = orders.map(|order| {
        let seen = Arc::clone(&outcomes);
        let count = Arc::new(Mutex::new(0_u64));
        let counted = Arc::clone(&count);
        let mut builder = loom::model::Builder::new();
        builder.max_branches = 20_000;
        builder.preemption_bound = preemptions;
        builder.check(move || {
            let world = loom::sync::Arc::new(make());
            let spawned = order.map(|at| {
                let world = loom::sync::Arc::clone(&world);
                (at, thread::spawn(move || verbs[at](&world)))
            });
            let mut said = [(); N].map(|()| String::new());
            for (at, handle) in spawned {
                said[at] = handle.join().unwrap();
            }
            let outcome = format!("{} {}", said.join(" "), look(&world));
            seen.lock().unwrap().insert(outcome.trim().to_owned());
            *counted.lock().unwrap() += 1;
        });
        *count.lock().unwrap()
    });
    let thread = std::thread::current();
    let name = thread.name().and_then(|path| path.rsplit("::").next()).unwrap_or("").to_owned();
    let seen = outcomes.lock().unwrap();
    println!("    (\"{name}\", {counts:?}), // {seen:?}");
    let wanted: BTreeSet<String> = expected.iter().map(|s| (*s).to_owned()).collect();
    assert_eq!(*seen, wanted);
    let golden = GOLDEN.iter().find(|(known, _)| *known == name).map(|(_, counts)| *counts);
    assert_eq!(golden, Some(counts), "interleavings of {name}, one count for each spawn order");
}

/// How an outcome is spelled.
pub(crate) fn say(value: impl Debug) -> String {
    format!("{value:?}").replace(' ', "")
}
