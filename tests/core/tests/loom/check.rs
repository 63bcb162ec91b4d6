//! The wrapper around `loom::model`.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use loom::thread;

type Verb<W> = fn(&W) -> String;

/// Runs two verbs on two threads in every interleaving and in both orders of spawning; then `look`
/// says what came of it. The outcomes must be exactly `expected`.
pub(crate) fn two<W: Send + Sync + 'static>(
    make: fn() -> W,
    verbs: [Verb<W>; 2],
    look: fn(&W) -> String,
    expected: &[&str],
) {
    for var in ["LOOM_MAX_PERMUTATIONS", "LOOM_MAX_DURATION", "LOOM_MAX_PREEMPTIONS"] {
        assert!(std::env::var_os(var).is_none(), "{var} would cut the model short silently");
    }
    let outcomes = Arc::new(Mutex::new(BTreeSet::new()));
    let mut interleavings = 0;
    for order in [[0, 1], [1, 0]] {
        let seen = Arc::clone(&outcomes);
        let count = Arc::new(Mutex::new(0_u64));
        let counted = Arc::clone(&count);
        let mut builder = loom::model::Builder::new();
        builder.max_branches = 20_000;
        builder.check(move || {
            let world = loom::sync::Arc::new(make());
            let spawned = order.map(|at| {
                let world = loom::sync::Arc::clone(&world);
                (at, thread::spawn(move || verbs[at](&world)))
            });
            let mut said = ["".to_owned(), "".to_owned()];
            for (at, handle) in spawned {
                said[at] = handle.join().unwrap();
            }
            let outcome = format!("{} {} {}", said[0], said[1], look(&world));
            seen.lock().unwrap().insert(outcome.trim().to_owned());
            *counted.lock().unwrap() += 1;
        });
        interleavings += *count.lock().unwrap();
    }
    let seen = outcomes.lock().unwrap();
    let wanted: BTreeSet<String> = expected.iter().map(|s| (*s).to_owned()).collect();
    println!("{interleavings} interleavings, outcomes {seen:?}");
    assert_eq!(*seen, wanted);
    assert!(interleavings > 2, "a model without interleavings goes past the sync door");
}

/// How an outcome is spelled.
pub(crate) fn say(value: impl Debug) -> String {
    format!("{value:?}").replace(' ', "")
}
