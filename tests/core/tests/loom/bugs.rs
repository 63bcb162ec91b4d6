//! Teeth: each seeded bug is found by the model that is assigned to it; and a
//! model that expects what can't be is red.

use vellum_core::bugs::{Bug, SharedBug, switch};
use vellum_tests_core::threads::start::Start;
use vellum_tests_core::threads::start::Start::{Clean, Cold, Dirty, Landing, TightCold};
use vellum_tests_core::threads::verbs::{
    APPEND, COMMIT, EMPTY, EXTEND, FINISH, FORGET, GRANT, PRESS, READ, TRUNCATE, Verb, WRITE,
    WRITE_TWO,
};

use crate::check::{RUN, UNCOUNTED, linear, two};
use crate::explicit;

/// The model that must find a bug.
fn assigned(bug: SharedBug) -> fn() {
    fn pair(start: Start, one: &[Verb], other: &[Verb]) {
        linear(UNCOUNTED, start, &[one, other]);
    }
    match bug {
        SharedBug::EpochBeforeLock | SharedBug::CutWithoutEpoch => {
            || pair(Dirty, &[WRITE_TWO], &[COMMIT])
        }
        SharedBug::TornWrite | SharedBug::TornRead => || pair(Dirty, &[WRITE_TWO], &[READ]),
        SharedBug::SizeAfterData => || pair(Dirty, &[APPEND], &[TRUNCATE]),
        SharedBug::GuardOutsideLock => || pair(Dirty, &[WRITE_TWO], &[GRANT, READ]),
        SharedBug::StatAfterUnlock => || pair(Dirty, &[WRITE], &[EMPTY]),
        SharedBug::SlotWithoutGeneration => explicit::a_new_handle_in_an_old_slot_is_another,
        SharedBug::LoadOverWrite => || pair(Cold, &[WRITE], &[READ]),
        SharedBug::EvictsDirty => || pair(TightCold, &[WRITE, READ], &[PRESS]),
        SharedBug::CleanAtAdopt => || pair(Landing, &[WRITE], &[FINISH]),
        SharedBug::ForgetsRegister => || pair(Clean, &[WRITE], &[READ]),
        SharedBug::LostWakeUp => explicit::s25_an_input_left_behind_is_taken,
        SharedBug::BudgetInTwoSteps => explicit::s23_a_budget_gives_each_byte_once,
        SharedBug::TruncateKeepsTail => || pair(Dirty, &[EMPTY, EXTEND], &[READ]),
        SharedBug::FreesOpenFile => || pair(Clean, &[FORGET], &[READ]),
        SharedBug::StaleLoad => explicit::s07_what_was_loaded_before_a_commit_is_stale,
        SharedBug::EvictsSealed => explicit::s22_what_a_commit_has_taken_is_not_evicted,
        SharedBug::UnsealForgetsDirty => {
            explicit::s05_what_a_failed_upload_had_taken_is_in_the_next_commit
        }
    }
}

/// Interleavings until a model is red with a bug; none if it stays green. On a thread of its own,
/// as what fails leaves loom's state behind.
fn kill(bug: Option<SharedBug>, model: fn()) -> Option<u64> {
    let run = move || {
        switch(bug.map(Bug::Shared));
        let end = std::panic::catch_unwind(model);
        end.is_err().then(|| RUN.get())
    };
    let thread = std::thread::Builder::new().name(UNCOUNTED.to_owned());
    thread.spawn(run).unwrap().join().unwrap()
}

#[test]
fn every_bug_is_found_by_its_model() {
    let mut alive = Vec::new();
    for bug in SharedBug::ALL.iter().copied() {
        let model = assigned(bug);
        assert_eq!(kill(None, model), None, "{bug:?}: the model is red without it");
        match kill(Some(bug), model) {
            Some(run) => println!("{bug:?}\tloom\t{run}"),
            None => alive.push(bug),
        }
    }
    assert!(alive.is_empty(), "{alive:?}");
}

/// The canary: if this is not red, nothing would be.
#[test]
fn a_model_that_expects_what_cannot_be_is_red() {
    fn lies() {
        two(|| (), [|()| "a".into(), |()| "b".into()], |()| String::new(), &["a | c | "]);
    }
    fn expects_too_much() {
        let expected = &["a | b | ", "b | a | "];
        two(|| (), [|()| "a".into(), |()| "b".into()], |()| String::new(), expected);
    }
    for model in [lies, expects_too_much] {
        assert!(kill(None, model).is_some());
    }
}
