//! The generated set: every unordered pair of verbs, from every state that a file can be in.

use vellum_tests_core::threads::start::Start;
use vellum_tests_core::threads::verbs::VERBS;

use crate::check::linear;

fn all_pairs(start: Start) {
    for (at, one) in VERBS.iter().enumerate() {
        for other in &VERBS[at..] {
            let name = format!("{start:?}: {} \u{2016} {}", one.name, other.name);
            linear(&name, start, &[&[*one], &[*other]]);
        }
    }
}

#[test]
fn pairs_on_a_cold_file_are_linear() {
    all_pairs(Start::Cold);
}

#[test]
fn pairs_on_a_clean_file_are_linear() {
    all_pairs(Start::Clean);
}

#[test]
fn pairs_on_a_dirty_file_are_linear() {
    all_pairs(Start::Dirty);
}

#[test]
fn pairs_on_a_sealed_file_are_linear() {
    all_pairs(Start::Sealed);
}

#[test]
fn pairs_on_a_file_that_is_sent_are_linear() {
    all_pairs(Start::Flushing);
}
