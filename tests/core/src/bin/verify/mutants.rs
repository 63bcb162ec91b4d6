//! Mutants of what threads share: `.cargo/mutants.toml` says of what, and which are none.

use std::fs;
use std::path::Path;
use std::process::Command;

use vellum_tests_core::setup::shown;

use crate::long::tool;
use crate::run::Place;

const MUTANTS: (&str, &str) = ("cargo-mutants", "27.1.0");

/// What looks at a mutant, until one of them sees it: options of cargo-mutants, then of the tests.
/// The first takes three seconds, the second half a minute; only what the first has missed goes to
/// the second.
const LOOKS: [(&str, &str); 2] = [
    ("--test-package vellum-core --timeout 30", "--lib -- conc::"),
    (
        "--test-package vellum-tests-core --timeout 120",
        "--test arranged --test sequences -- --skip the_same_choices --skip a_store_that",
    ),
];

/// Looks at every mutant that no run before has seen noticed.
pub(crate) fn mutants(place: &Place) -> Result<(), String> {
    let program = tool(place, MUTANTS)?;
    let home = place.target.join("mutants");
    fs::create_dir_all(&home).map_err(|error| format!("{}: {error}", home.display()))?;
    let mut is_all = false;
    for (options, tests) in LOOKS {
        count_hanging_as_noticed(&home)?;
        let mut command = Command::new(&program);
        command.current_dir(&place.root).args(["mutants", "--iterate", "--baseline", "skip"]);
        command.arg("--output").arg(&home).args(options.split_whitespace());
        // What is compiled so often is not optimized.
        for package in ["core", "sim", "tests-core"] {
            let key = format!("profile.dev.package.vellum-{package}.opt-level=0");
            command.arg(format!("--cargo-arg=--config={key}"));
        }
        command.arg("--").args(tests.split_whitespace());
        command.env("CARGO_TARGET_DIR", place.target.join("target-mutants"));
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
