//! Mutants of what threads share, and of the simulator.

use std::fs;
use std::path::Path;
use std::process::Command;

use vellum_tests_core::setup::shown;

use crate::long::tool;
use crate::run::Place;

const MUTANTS: (&str, &str) = ("cargo-mutants", "27.1.0");

/// What is changed, and what looks at it.
struct Set {
    /// Says which source files, and what of them is left out.
    config: &'static str,
    /// Where the state of a run lies, below the target directory.
    home: &'static str,
    looks: [Look; 2],
}

/// What looks at a mutant. The first takes seconds, and only what it has missed goes to the second.
struct Look {
    options: &'static str,
    tests: &'static str,
    /// A cfg of the core.
    cfg: Option<&'static str>,
}

/// The part of the core that threads share.
const SHARED: Set = Set {
    config: ".cargo/mutants.toml",
    home: "mutants",
    looks: [
        Look {
            options: "--test-package vellum-core --timeout 30",
            tests: "--lib -- conc::",
            cfg: None,
        },
        Look {
            options: "--test-package vellum-tests-core --timeout 120",
            tests: "--test arranged --test sequences -- \
                    --skip the_same_choices --skip a_store_that",
            cfg: None,
        },
    ],
};

/// The simulator's store and disk, and its oracles: these are to find the seeded bugs.
const SIMULATOR: Set = Set {
    config: ".cargo/mutants-sim.toml",
    home: "mutants-sim",
    looks: [
        Look { options: "--test-package vellum-sim --timeout 30", tests: "--lib", cfg: None },
        Look {
            options: "--test-package vellum-tests-core --timeout 900",
            tests: "--test sequences --test disk",
            cfg: Some("core_bugs"),
        },
    ],
};

/// Looks at every mutant of what threads share that no run before has seen noticed.
pub(crate) fn of_shared(place: &Place) -> Result<(), String> {
    look_at(place, &SHARED)
}

/// The same of the simulator.
pub(crate) fn of_simulator(place: &Place) -> Result<(), String> {
    look_at(place, &SIMULATOR)
}

fn look_at(place: &Place, set: &Set) -> Result<(), String> {
    let program = tool(place, MUTANTS)?;
    let home = place.target.join(set.home);
    fs::create_dir_all(&home).map_err(|error| format!("{}: {error}", home.display()))?;
    let mut is_all = false;
    for Look { options, tests, cfg } in &set.looks {
        count_hanging_as_noticed(&home)?;
        let mut command = Command::new(&program);
        command.current_dir(&place.root).args(["mutants", "--iterate", "--baseline", "skip"]);
        command.arg("--config").arg(place.root.join(set.config));
        command.arg("--output").arg(&home).args(options.split_whitespace());
        let target = match cfg {
            Some(cfg) => {
                command.env("RUSTFLAGS", format!("--cfg {cfg}"));
                place.target.join(format!("target-mutants-{cfg}"))
            }
            None => {
                // What is compiled so often is not optimized.
                for package in ["core", "sim", "tests-core"] {
                    let key = format!("profile.dev.package.vellum-{package}.opt-level=0");
                    command.arg(format!("--cargo-arg=--config={key}"));
                }
                place.target.join("target-mutants")
            }
        };
        command.arg("--").args(tests.split_whitespace());
        command.env("CARGO_TARGET_DIR", target);
        command.env("CARGO_PROFILE_DEV_DEBUG", "0").env("VELLUM_SHORT", "1");
        command.env("PROPTEST_CASES", "200").env("PROPTEST_MAX_SHRINK_ITERS", "0");
        is_all = look(&mut command)?;
    }
    let missed = home.join("mutants.out/missed.txt");
    if is_all { Ok(()) } else { Err(format!("nothing notices those of {}", missed.display())) }
}

/// What made a test hang was noticed, and need not be waited for again.
fn count_hanging_as_noticed(home: &Path) -> Result<(), String> {
    let [from, to] = ["timeout", "caught"].map(|name| home.join(format!("mutants.out/{name}.txt")));
    let Ok(hanging) = fs::read(&from) else { return Ok(()) };
    let mut noticed = fs::read(&to).unwrap_or_default();
    noticed.extend(hanging);
    fs::write(&to, noticed).map_err(|error| format!("{}: {error}", to.display()))
}

/// Whether all were noticed. A test that does not end notices a mutant too (exit code 3).
fn look(command: &mut Command) -> Result<bool, String> {
    println!("$ {}", shown(command));
    let status = command.status().map_err(|error| error.to_string())?;
    match status.code() {
        Some(0 | 3) => Ok(true),
        Some(2) => Ok(false),
        Some(_) | None => Err(format!("cargo-mutants ended with {status}")),
    }
}
