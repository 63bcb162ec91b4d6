//! The steps of the fast tier.

use std::process::Command;

use vellum_tests_core::setup::{self, Need, find, shown};

use crate::run::{self, Place};
use crate::simulated;

/// One step of a tier.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) work: Work,
}

/// What a step does.
pub(crate) enum Work {
    /// A command that has to succeed.
    Command(Command),
    /// A command that has to succeed, and to run tests.
    Tests(Command),
    /// Something else.
    Own(fn(&Place) -> Result<(), String>),
}

/// Where the tests list the programs that they call, beside those that every Debian has.
const PROGRAMS: &str = "tests/real/tests/common/programs.txt";

/// The steps, in order. All builds but those of the models share one profile and one set of
/// features, so that every package is compiled once.
pub(crate) fn fast(place: &Place) -> Vec<Step> {
    let mut tests = place.cargo("test --workspace --no-fail-fast");
    tests.env("VELLUM_BIN", place.vellum());
    if !setup::is_root() {
        tests.env("VELLUM_TESTS_WITHOUT_ROOT", "1");
    }
    vec![
        Step { name: "needs", about: "what this machine lacks", work: Work::Own(needs) },
        Step {
            name: "format",
            about: "the source is as rustfmt leaves it",
            work: Work::Command(place.cargo("fmt --all --check")),
        },
        Step {
            name: "lints",
            about: "clippy has nothing to say",
            work: Work::Command(
                place.cargo("clippy --workspace --all-targets --keep-going -- --deny warnings"),
            ),
        },
        Step {
            name: "build",
            about: "the binary and the tests",
            work: Work::Command(place.cargo("build --workspace --all-targets")),
        },
        Step { name: "tests", about: "everything but the models", work: Work::Tests(tests) },
        Step {
            name: "simulated",
            about: "mounts in simulated worlds; the same runs are the same in two processes",
            work: Work::Own(simulated::twice),
        },
        Step {
            name: "loom",
            about: "interleavings of what threads share",
            work: Work::Tests(place.cargo_with(
                &["core_loom"],
                "test --package vellum-tests-core --test loom --test door",
            )),
        },
        Step {
            name: "shuttle",
            about: "the core on threads, in random schedules",
            work: Work::Tests(place.cargo_with(
                &["core_shuttle"],
                "test --package vellum-tests-core --test shuttle --test door",
            )),
        },
    ]
}

fn needs(place: &Place) -> Result<(), String> {
    let components = components(place);
    let packages = programs(place);
    let moto = setup::install_moto(&place.target);
    let fuse = setup::check_fuse();
    if !setup::is_root() {
        println!("not root: a few tests that need it are left out; run this as root to have them");
    }
    let wrong: Vec<String> =
        [components, packages, moto, fuse].into_iter().filter_map(Result::err).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

fn programs(place: &Place) -> Result<(), String> {
    let list = place.root.join(PROGRAMS);
    let list = std::fs::read_to_string(&list).map_err(|e| format!("{}: {e}", list.display()))?;
    let mut needs = vec![Need::fuse()];
    needs.extend(Need::list(&list));
    setup::install(&needs)
}

/// A minimal toolchain has neither rustfmt nor clippy.
fn components(place: &Place) -> Result<(), String> {
    let lacks = |tool: &str| {
        let called = place.cargo(tool).arg("--version").output();
        !called.is_ok_and(|output| output.status.success())
    };
    let missing: Vec<&str> = [("fmt", "rustfmt"), ("clippy", "clippy")]
        .into_iter()
        .filter_map(|(tool, component)| lacks(tool).then_some(component))
        .collect();
    add_components(place, &missing)
}

/// Adds parts of the Rust toolchain, after it said so.
pub(crate) fn add_components(place: &Place, missing: &[&str]) -> Result<(), String> {
    if missing.is_empty() {
        return Ok(());
    }
    println!("Installing by rustup, because the toolchain lacks it: {}", missing.join(", "));
    let rustup = find("rustup").ok_or_else(|| {
        format!("the Rust toolchain lacks {}, and there is no rustup", missing.join(", "))
    })?;
    let mut rustup = Command::new(rustup);
    rustup.current_dir(&place.root).args(["component", "add"]).args(missing);
    run::run(&mut rustup).1.map_err(|why| format!("{why}; run `{}`", shown(&rustup)))
}
