//! The named scenarios: more than two verbs, or a mount with little memory. Those of two verbs are
//! in the generated set.

use vellum_tests_core::threads::start::Start;
use vellum_tests_core::threads::verbs::{
    APPEND, COMMIT, DISCARD, EMPTY, EXTEND, FINISH, FORGET, FSYNC, GRANT, LOOKUP, OPEN, PRESS,
    READ, RELEASE, RENAME_BACK, TRUNCATE, UNLINK, Verb, WRITE, WRITE_TWO,
};

use crate::check::linear;

/// A scenario, by its number and what its threads do.
fn scenario(number: &str, start: Start, threads: &[&[Verb]]) {
    let said = |verbs: &&[Verb]| verbs.iter().map(|verb| verb.name).collect::<Vec<_>>().join(", ");
    let said: Vec<String> = threads.iter().map(said).collect();
    linear(&format!("{number} {start:?}: {}", said.join(" ‖ ")), start, threads);
}

/// The upload ends, and its data may go.
#[test]
fn s02_write_beside_an_upload_that_ends_and_an_eviction() {
    scenario("02", Start::TightLanding, &[&[WRITE], &[FINISH, PRESS]]);
}

#[test]
fn s03_write_beside_the_end_of_an_upload_beside_an_eviction() {
    scenario("03", Start::TightLanding, &[&[WRITE], &[FINISH], &[PRESS]]);
}

#[test]
fn s04_the_end_of_an_upload_beside_the_next() {
    scenario("04", Start::Landing, &[&[FINISH], &[WRITE, COMMIT, WRITE_TWO]]);
}

/// What was loaded before the layout changed is stale.
#[test]
fn s07_a_cold_read_beside_a_write_and_its_commit() {
    scenario("07", Start::Cold, &[&[READ], &[WRITE_TWO, COMMIT]]);
}

#[test]
fn s10_a_file_is_emptied_and_extended_beside_a_read() {
    for start in [Start::Clean, Start::Dirty] {
        scenario("10", start, &[&[EMPTY, EXTEND], &[READ]]);
    }
}

#[test]
fn s11_a_truncate_beside_an_upload_that_ends_and_a_write() {
    scenario("11", Start::Landing, &[&[TRUNCATE], &[FINISH, APPEND]]);
}

/// There is no journal yet: fsync promises an order, and no more.
#[test]
fn s13_a_write_and_fsync_beside_a_write() {
    scenario("13", Start::Dirty, &[&[WRITE, FSYNC], &[WRITE_TWO]]);
}

#[test]
fn s16_an_unlink_beside_a_write_and_read_through_the_handle() {
    for start in [Start::Clean, Start::Dirty] {
        scenario("16", start, &[&[UNLINK], &[WRITE, READ]]);
    }
}

#[test]
fn s17_a_rename_over_a_file_beside_writes_to_it() {
    scenario("17", Start::Dirty, &[&[RENAME_BACK], &[WRITE, READ]]);
}

#[test]
fn s19_a_lookup_beside_the_last_forget_beside_an_unlink() {
    scenario("19", Start::Dirty, &[&[LOOKUP], &[RELEASE, FORGET], &[UNLINK]]);
}

/// Whole writes, in the order of the thread that made them.
#[test]
fn s20_a_cut_beside_two_writes_of_one_thread() {
    scenario("20", Start::Dirty, &[&[WRITE, APPEND], &[COMMIT]]);
}

#[test]
fn s21_a_cut_beside_the_end_of_an_upload_beside_a_write() {
    scenario("21", Start::Landing, &[&[COMMIT], &[FINISH], &[WRITE]]);
    scenario("21", Start::Sealed, &[&[WRITE, READ], &[FINISH]]);
}

#[test]
fn s22_a_cut_beside_an_eviction() {
    scenario("22", Start::TightDirty, &[&[COMMIT], &[PRESS]]);
}

#[test]
fn s24_writes_without_room_for_both() {
    scenario("24", Start::TightDirty, &[&[APPEND], &[PRESS]]);
}

/// What was written of a block that is loaded then is not evicted with it.
#[test]
fn s24_a_cold_file_is_written_and_read_beside_an_eviction() {
    scenario("24", Start::TightCold, &[&[WRITE, READ], &[PRESS]]);
}

/// The layout is replaced.
#[test]
fn s27_an_upload_ends_beside_two_reads() {
    scenario("27", Start::Landing, &[&[FINISH], &[READ], &[READ]]);
}

#[test]
fn s29_a_discard_beside_a_write_that_is_committed() {
    scenario("29", Start::Dirty, &[&[DISCARD], &[WRITE, COMMIT]]);
}

#[test]
fn s30_a_handle_is_closed_and_opened_beside_a_write() {
    scenario("30", Start::Dirty, &[&[RELEASE, OPEN], &[WRITE]]);
}

/// What was granted to the old bytes is never the new ones'.
#[test]
fn s31_a_grant_beside_a_write() {
    scenario("31", Start::Dirty, &[&[WRITE_TWO], &[GRANT, READ]]);
}

/// A write and the loss of a capability are in one cut.
#[test]
fn s32_a_write_that_takes_a_capability_away_beside_a_cut() {
    scenario("32", Start::Dirty, &[&[GRANT, WRITE_TWO], &[COMMIT]]);
}

#[test]
fn s33_a_cut_beside_a_write_that_is_read() {
    scenario("33", Start::Dirty, &[&[COMMIT], &[WRITE_TWO], &[READ]]);
}

#[test]
fn s34_three_writes() {
    scenario("34", Start::Dirty, &[&[WRITE], &[WRITE_TWO], &[APPEND]]);
    scenario("34", Start::Clean, &[&[WRITE], &[WRITE_TWO], &[TRUNCATE]]);
}
