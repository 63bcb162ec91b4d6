//! The program as a person runs it: each kind of run once, briefly, and bad input.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use serde_json::Value;

fn bench(arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vellum-bench"))
        .args(arguments.split_whitespace())
        .output()
        .unwrap()
}

fn figures(arguments: &str) -> Value {
    let output = bench(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn names(case: &Value) -> Vec<&str> {
    case["series"]
        .as_array()
        .unwrap()
        .iter()
        .map(|series| series["name"].as_str().unwrap())
        .collect()
}

#[test]
fn in_process_every_candidate_is_told_against_memcpy() {
    let told =
        figures("process --rounds 1 --set l2 --form single --place pinned --threads 1 --json -");
    let case = &told["in_process"][0];
    for name in ["memcpy", "floor", "vellum", "improved", "naive"] {
        assert!(names(case).contains(&name), "{name} in {case}");
    }
    assert_eq!(case["series"][0]["ratio"], 1.0);
}

#[test]
fn mounted_every_server_is_told_against_the_floor_and_no_mount_stays() {
    let own = env!("CARGO_BIN_EXE_vellum-bench");
    let external = format!("other={own} serve floor {{mode}} {{mnt}}");
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(own)
        .env("TMPDIR", home.path())
        .args(
            "mounted --rounds 1 --mode direct --load 4k-random --place pinned --json -".split(' '),
        )
        .args(["--external", &external])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let case = &told["mounted"][0];
    assert_eq!(names(case), ["null", "floor", "vellum", "improved", "naive", "other"]);
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(home.path().to_str().unwrap()), "{mounts}");
    assert_eq!(home.path().read_dir().unwrap().count(), 0, "a mount point is left");
}

#[test]
fn writes_over_a_stuck_store_are_told_against_those_over_one_that_answers() {
    let told = figures("stuck --rounds 1 --json -");
    let case = &told["stuck"];
    assert_eq!(names(case), ["local", "free", "stuck"]);
    assert_eq!(case["base"], "free");
}

#[test]
fn a_check_tells_every_ratio_with_its_bound() {
    // The bounds are for the release profile, and a test must not depend on what else runs: so
    // only that it measures and tells.
    let output = bench("check --rounds 1");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(told.matches("of improved, at most 1.00").count(), 3, "{told}");
    assert_eq!(told.matches("of floor, at most 1.25").count(), 2, "{told}");
    assert_eq!(told.matches("of free, at most 2.00").count(), 1, "{told}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.success(), !said.contains("slower than promised"), "{said}");
}

#[test]
fn a_run_that_is_killed_leaves_no_mount() {
    let home = tempfile::tempdir().unwrap();
    let place = home.path().to_str().unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_vellum-bench"))
        .args("mounted --rounds 100000 --mode direct --place free --json -".split(' '))
        .env("TMPDIR", place)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mounts = || std::fs::read_to_string("/proc/self/mounts").unwrap().matches(place).count();
    let reaches = |wanted: usize| {
        (0..600).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            mounts() == wanted
        })
    };
    let all_mounted = reaches(5);
    run.kill().unwrap();
    run.wait().unwrap();
    assert!(all_mounted);
    assert!(reaches(0), "{} mounts are left", mounts());
}

#[test]
fn bad_input_is_answered_with_the_remedy() {
    for (arguments, remedy) in [
        ("process --cpu 1000000", "choose another with --cpu"),
        ("mounted --load 5k-random", "4k, 128k or 1m"),
        ("mounted --external vellum=mount", "{mnt}"),
        ("process --rounds 0", "rounds"),
    ] {
        let output = bench(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(remedy), "{arguments}: {said}");
    }
}
