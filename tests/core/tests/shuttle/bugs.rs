//! Teeth: the seeded bugs that shuttle is to find.

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use vellum_core::bugs::{Bug, SharedBug, switch};

use crate::{RUN, run, seed};

/// Most schedules of each kind until a bug is found.
const BUDGET: usize = 20_000;

/// Whether shuttle is to find it.
fn is_assigned(bug: SharedBug) -> bool {
    match bug {
        SharedBug::EpochBeforeLock
        | SharedBug::TornWrite
        | SharedBug::TornRead
        | SharedBug::SizeAfterData
        | SharedBug::StatAfterUnlock
        | SharedBug::SlotWithoutGeneration
        | SharedBug::LoadOverWrite
        | SharedBug::EvictsDirty
        | SharedBug::CleanAtAdopt
        | SharedBug::ForgetsRegister
        | SharedBug::CutWithoutEpoch
        | SharedBug::BudgetInTwoSteps
        | SharedBug::TruncateKeepsTail => true,
        // The hand-over has models of its own, the store never fails here, no inode is forgotten,
        // and the rest is too rare for programs drawn at random.
        SharedBug::GuardOutsideLock
        | SharedBug::StaleLoad
        | SharedBug::EvictsSealed
        | SharedBug::UnsealForgetsDirty
        | SharedBug::LostWakeUp
        | SharedBug::FreesOpenFile => false,
    }
}

/// Schedules until one is red; none if all are green.
fn kill(bug: Option<SharedBug>, schedules: fn()) -> Option<u64> {
    let run = move || {
        switch(bug.map(Bug::Shared));
        let end = std::panic::catch_unwind(schedules);
        end.is_err().then(|| RUN.get())
    };
    std::thread::spawn(run).join().unwrap()
}

#[test]
fn every_bug_that_is_assigned_to_shuttle_is_found() {
    let random: fn() = || run(RandomScheduler::new_from_seed(seed(0), BUDGET));
    let pct: fn() = || run(PctScheduler::new_from_seed(seed(3), 3, BUDGET));
    assert_eq!([random, pct].map(|schedules| kill(None, schedules)), [None, None]);
    let mut alive = Vec::new();
    for bug in SharedBug::ALL.iter().copied() {
        let [random, pct] = [random, pct].map(|schedules| kill(Some(bug), schedules));
        println!("{bug:?}\tshuttle\trandom {random:?}\tpct {pct:?}");
        if is_assigned(bug) && random.is_none() && pct.is_none() {
            alive.push(bug);
        }
    }
    assert!(alive.is_empty(), "{alive:?}");
}
