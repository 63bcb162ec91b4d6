//! Every back end of the sync door does the same. One of them is built at a time: this runs in the
//! product's build, and beside the models in those of the checkers.

use vellum_tests_core::threads::door::conforms;

#[test]
fn the_back_end_does_what_the_door_says() {
    for seed in 0..200 {
        #[cfg(core_loom)]
        loom::model(move || conforms(seed));
        #[cfg(core_shuttle)]
        shuttle::check_random(move || conforms(seed), 1);
        #[cfg(not(any(core_loom, core_shuttle)))]
        conforms(seed);
    }
}
