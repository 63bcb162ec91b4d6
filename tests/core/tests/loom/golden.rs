//! How many interleavings each model has: one count for each order of spawning. They repeat
//! exactly. A count that falls tells of a lock or counter that goes past the sync door, or of a
//! verb that no longer meets the other; one that rises, of a verb that locks more than it did.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

type Counts = BTreeMap<String, [u64; 2]>;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/loom/golden.txt")
}

fn known() -> &'static Mutex<Counts> {
    static KNOWN: OnceLock<Mutex<Counts>> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let text = std::fs::read_to_string(path()).unwrap_or_default();
        Mutex::new(text.lines().map(|line| parse(line).unwrap()).collect())
    })
}

fn parse(line: &str) -> Option<(String, [u64; 2])> {
    let (key, counts) = line.rsplit_once(": ")?;
    let (first, second) = counts.split_once(' ')?;
    Some((key.to_owned(), [first.parse().ok()?, second.parse().ok()?]))
}

/// What is written down of a model that is not bounded.
pub(crate) fn of(name: &str) -> Option<[u64; 2]> {
    known().lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get(name).copied()
}

fn key_of(name: &str, bound: Option<usize>) -> String {
    match bound {
        Some(bound) => format!("{name} (at most {bound} preemptions)"),
        None => name.to_owned(),
    }
}

/// Whether a count is written down of a model, with this bound.
pub(crate) fn is_known(name: &str, bound: Option<usize>) -> bool {
    of(&key_of(name, bound)).is_some()
}

/// No count is kept that nothing is compared with, of a model that is exhaustive each time.
#[test]
fn each_count_is_one_that_is_compared() {
    let known = known().lock().unwrap().clone();
    for key in known.keys() {
        let bounded = key.split_once(" (at most ").map(|(name, _)| name);
        let all = bounded.and_then(|name| known.get(name));
        let is_dead = all.is_some_and(|counts| counts.iter().sum::<u64>() <= crate::check::MANY);
        assert!(!is_dead, "{key}");
    }
}

/// Compares with what is written down, or with `UPDATE_GOLDEN` writes it down: the change of the
/// file is what has to be reviewed.
pub(crate) fn compare(name: &str, bound: Option<usize>, counts: [u64; 2]) {
    let key = key_of(name, bound);
    let mut known = known().lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        known.insert(key, counts);
        let lines = known.iter().map(|(key, [a, b])| format!("{key}: {a} {b}\n"));
        std::fs::write(path(), lines.collect::<String>()).unwrap();
        return;
    }
    let was = known.get(&key).copied();
    drop(known);
    let Some(was) = was else { panic!("{key}: no count is written down; it has {counts:?}") };
    let fell = counts.iter().zip(was).any(|(now, was)| *now < was);
    let how = if fell { "fell: what bypasses the sync door?" } else { "rose: is that meant?" };
    assert_eq!(counts, was, "interleavings of {key}, one count for each order of spawning {how}");
}
