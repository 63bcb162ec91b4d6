//! Teeth: each seeded bug is found by the model that is assigned to it; and a
//! model that expects what can't be is red.

use vellum_core::bugs::{Bug, switch};
use vellum_tests_core::threads::start::Start;
use vellum_tests_core::threads::start::Start::{Clean, Cold, Dirty, Landing, TightCold};
use vellum_tests_core::threads::verbs::{
    APPEND, COMMIT, EMPTY, EXTEND, FINISH, FORGET, GRANT, PRESS, READ, TRUNCATE, Verb, WRITE,
    WRITE_TWO,
};

use crate::check::{RUN, UNCOUNTED, linear, two};
use crate::explicit;

/// The model that must find a bug.
fn assigned(bug: Bug) -> fn() {
    fn pair(start: Start, one: &[Verb], other: &[Verb]) {
        linear(UNCOUNTED, start, &[one, other]);
    }
    match bug {
        Bug::EpochBeforeLock | Bug::CutWithoutEpoch => || pair(Dirty, &[WRITE_TWO], &[COMMIT]),
        Bug::TornWrite | Bug::TornRead => || pair(Dirty, &[WRITE_TWO], &[READ]),
        Bug::SizeAfterData => || pair(Dirty, &[APPEND], &[TRUNCATE]),
        Bug::GuardOutsideLock => || pair(Dirty, &[WRITE_TWO], &[GRANT, READ]),
        Bug::StatAfterUnlock => || pair(Dirty, &[WRITE], &[EMPTY]),
        Bug::SlotWithoutGeneration => explicit::a_new_handle_in_an_old_slot_is_another,
        Bug::LoadOverWrite => || pair(Cold, &[WRITE], &[READ]),
        Bug::EvictsDirty => || pair(TightCold, &[WRITE, READ], &[PRESS]),
        Bug::CleanAtAdopt => || pair(Landing, &[WRITE], &[FINISH]),
        Bug::ForgetsRegister => || pair(Clean, &[WRITE], &[READ]),
        Bug::LostWakeUp => explicit::s25_an_input_left_behind_is_taken,
        Bug::BudgetInTwoSteps => explicit::s23_a_budget_gives_each_byte_once,
        Bug::TruncateKeepsTail => || pair(Dirty, &[EMPTY, EXTEND], &[READ]),
        Bug::FreesOpenFile => || pair(Clean, &[FORGET], &[READ]),
        Bug::StaleLoad => explicit::s07_what_was_loaded_before_a_commit_is_stale,
        Bug::EvictsSealed => explicit::s22_what_a_commit_has_taken_is_not_evicted,
        Bug::UnsealForgetsDirty => {
            explicit::s05_what_a_failed_upload_had_taken_is_in_the_next_commit
        }
    }
}

/// Interleavings until a model is red with a bug; none if it stays green. On a thread of its own,
/// as what fails leaves loom's state behind.
fn kill(bug: Option<Bug>, model: fn()) -> Option<u64> {
    let run = move || {
        switch(bug);
        let end = std::panic::catch_unwind(model);
        end.is_err().then(|| RUN.get())
    };
    let thread = std::thread::Builder::new().name(UNCOUNTED.to_owned());
    thread.spawn(run).unwrap().join().unwrap()
}

#[test]
fn every_bug_is_found_by_its_model() {
    let mut alive = Vec::new();
    for bug in Bug::ALL.iter().copied() {
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
