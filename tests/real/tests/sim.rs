//! Proofs of `vellum sim`, with the real binary.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{fails, ok, text, vellum};
use serde_json::{Value, json};

/// Runs of the game that is to end badly: some of them do.
const SEEDS: &str = "12";

fn json_of(shown: &str) -> Value {
    serde_json::from_str(shown).unwrap()
}

/// The tape of a run that ends badly.
fn red_tape(dir: &Path) -> PathBuf {
    let said = fails(vellum(["sim", "run", "forgetful", "--seeds", SEEDS, "--keep"]).arg(dir), 1);
    assert!(said.contains("is not there") && said.contains("vellum sim replay"), "{said}");
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|it| it == "json")).min().unwrap()
}

#[test]
fn games_are_played_and_told_of() {
    let listed = ok(&mut vellum(["sim", "run", "--list"]));
    assert!(listed.contains("many-faults") && listed.contains("forgetful"), "{listed}");
    let args = ["sim", "run", "plain", "during", "--seeds", "30", "--twice", "--jobs", "2"];
    let said = ok(&mut vellum(args));
    assert!(said.starts_with("plain                 30 runs"), "{said}");
    assert!(said.contains(" rare things have happened\n60 runs, "), "{said}");
    let report = json_of(&ok(vellum(args).arg("--json")));
    assert_eq!(report["games"][1]["runs"], 30);
    assert_eq!(report["red"], json!([]));
    let fails = &report["sites"]["a commit fails that something changed beside"];
    assert!(fails.as_u64().unwrap() > 0, "{report}");
    let other = json_of(&ok(vellum(args).args(["--first", "2", "--json"])));
    assert_ne!(report["games"], other["games"]);
}

/// The same seeds are the same runs, event for event, in every process.
#[test]
fn the_runs_of_a_report_are_played_again_and_compared() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report");
    let args = ["sim", "run", "many-faults", "plain", "--steps", "100", "--seconds", "1", "--json"];
    let mut report = json_of(&ok(&mut vellum(args)));
    let runs = report["games"][0]["runs"].as_u64().unwrap();
    assert!(runs > 0 && report["games"][1]["runs"] == runs && report["seeds"] == runs, "{report}");
    fs::write(&path, report.to_string()).unwrap();
    let again = || vellum(["sim", "run", "--json", "--like", text(&path)]);
    let second = json_of(&ok(&mut again()));
    assert_eq!((&report["games"], &report["sites"]), (&second["games"], &second["sites"]));
    report["games"][1]["trace"] = json!("0123456789abcdef");
    fs::write(&path, report.to_string()).unwrap();
    let said = fails(&mut again(), 1);
    assert!(said.contains("runs of plain come to something else"), "{said}");
    fs::write(&path, "{}").unwrap();
    let said = fails(&mut again(), 2);
    assert!(said.contains("no report that can be played again"), "{said}");
}

#[test]
fn what_is_rare_can_be_asked_for() {
    let args = ["sim", "run", "plain", "--seeds", "3", "--every-site"];
    let said = fails(&mut vellum(args), 1);
    assert!(said.contains("rare things never happened: ") && said.contains("more runs"), "{said}");
}

#[test]
fn a_run_that_ends_badly_leaves_a_tape_that_tells_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let tape = red_tape(dir.path());
    let replay =
        |json: &[&str]| vellum(["sim", "replay", text(&tape)]).args(json).output().unwrap();
    let [first, again] = [(); 2].map(|()| replay(&["--json"]));
    assert_eq!(first.stdout, again.stdout);
    assert_eq!(first.status.code(), Some(1));
    let told = json_of(std::str::from_utf8(&first.stdout).unwrap());
    assert_eq!(told["game"], "forgetful");
    assert!(told["why"].as_str().unwrap().ends_with("is not there"), "{told}");
    let story = told["story"].as_array().unwrap();
    let is_commit = |line: &Value| {
        let line = line.as_str().unwrap();
        line.ends_with("-- begin commit 1") && line.contains(" s  mount ")
    };
    assert!(story.iter().any(is_commit), "{told}");
    let lines = String::from_utf8(replay(&[]).stdout).unwrap();
    assert_eq!(lines.lines().count(), story.len());

    // The same as a page, beside the tape and wherever it is wanted.
    let beside = text(&tape).replace(".tape.json", ".html");
    let wanted = dir.path().join("picture");
    fails(vellum(["sim", "replay", text(&tape), "--picture"]).arg(&wanted), 1);
    let page = fs::read_to_string(&wanted).unwrap();
    assert_eq!(fs::read_to_string(beside).unwrap(), page);
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("it ends badly: "), "{page}");
    assert!(page.contains("-- begin commit 1") && page.contains("class=\"head\""), "{page}");
    let unwritten = fails(&mut vellum(["sim", "replay", text(&tape), "--picture", "/proc/x"]), 2);
    assert!(unwritten.contains("can't write /proc/x"), "{unwritten}");

    let before = fs::read(&tape).unwrap();
    let shorter = dir.path().join("shorter");
    let said = ok(vellum(["sim", "shrink", text(&tape), "--tries", "200", "-o"]).arg(&shorter));
    assert!(said.contains("is not there"), "{said}");
    assert_eq!(fs::read(&tape).unwrap(), before);
    assert!(fs::metadata(&shorter).unwrap().len() <= before.len() as u64);
    fails(&mut vellum(["sim", "replay", text(&shorter)]), 1);

    // Units that a tape only claims to have are not believed.
    let mut claims = json_of(std::str::from_utf8(&before).unwrap());
    claims["lanes"]["steps"]["units"] = json!([0, 9999, 3]);
    claims["lanes"]["nowhere"] = json!({"values": [1], "units": [7]});
    fs::write(&shorter, claims.to_string()).unwrap();
    ok(&mut vellum(["sim", "shrink", text(&shorter), "--tries", "50"]));
}

#[test]
fn a_tape_that_can_t_be_played_is_named_with_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let tape = dir.path().join("tape");
    for (content, why) in [
        ("", "EOF"),
        ("7", "invalid type"),
        (r#"{"vellum_tape":2,"game":"plain","lanes":{}}"#, "version is 2"),
        (r#"{"vellum_tape":1,"game":"chess","lanes":{}}"#, "no game \"chess\""),
        (r#"{"vellum_tape":1,"game":"plain","lanes":{"steps":{"values":[-1]}}}"#, "-1"),
    ] {
        fs::write(&tape, content).unwrap();
        for command in ["replay", "shrink"] {
            let said = fails(&mut vellum(["sim", command, text(&tape)]), 2);
            assert!(said.contains(text(&tape)) && said.contains(why), "{said}");
        }
    }
    let said = fails(&mut vellum(["sim", "replay", "/nowhere/tape"]), 2);
    assert!(said.contains("/nowhere/tape"), "{said}");
    // One that has nothing in it is the plainest of runs.
    fs::write(&tape, r#"{"vellum_tape":1,"game":"plain","lanes":{}}"#).unwrap();
    assert!(ok(&mut vellum(["sim", "replay", text(&tape)])).contains("-- the end"));
    let said = fails(&mut vellum(["sim", "shrink", text(&tape)]), 2);
    assert!(said.contains("ends well"), "{said}");
}

/// Tapes of runs that have found a bug, each named for what was wrong.
#[test]
fn what_has_found_a_bug_once_ends_well() {
    let tapes = Path::new(env!("CARGO_MANIFEST_DIR")).join("tapes");
    let mut played = 0;
    for tape in fs::read_dir(tapes).unwrap() {
        ok(vellum(["sim", "replay"]).arg(tape.unwrap().path()));
        played += 1;
    }
    assert!(played >= 3, "{played} tapes");
}

#[test]
fn wrong_arguments_are_refused() {
    for (args, why) in [
        (&["run", "chess"][..], "many-faults"),
        (&["run", "--seeds", "1", "--seconds", "1"], "cannot be used with"),
        (&["bench", "--jobs", "x"], "--jobs"),
        (&["replay"], "TAPE"),
    ] {
        let said = fails(vellum(["sim"]).args(args), 2);
        assert!(said.contains(why), "{said}");
    }
    let said = fails(
        &mut vellum(["sim", "run", "forgetful", "--seeds", SEEDS, "--keep", "/proc/none"]),
        2,
    );
    assert!(said.contains("can't create /proc/none"), "{said}");
}

#[test]
fn small_cases_are_played_in_turn() {
    let said = ok(&mut vellum(["sim", "exhaustive", "--most", "2000"]));
    assert!(said.starts_with("the first 2,000 cases end well"), "{said}");
    let report = json_of(&ok(&mut vellum(["sim", "exhaustive", "--most", "30", "--json"])));
    assert_eq!((&report["cases"], &report["all"]), (&json!(30), &json!(false)));
}

#[test]
fn the_benchmark_says_how_fast_it_is() {
    let report = json_of(&ok(&mut vellum(["sim", "bench", "--seconds", "1", "--json"])));
    assert!(report["requests"].as_u64().unwrap() > 1_000, "{report}");
    for share in ["changes", "refused"] {
        assert!((0.01..0.9).contains(&report[share].as_f64().unwrap()), "{report}");
    }
    assert!(report["virtual_per_wall"].as_f64().unwrap() > 10.0, "{report}");
    let said = ok(&mut vellum(["sim", "bench", "plain", "--seconds", "1", "--jobs", "2"]));
    assert!(said.contains("requests a second and thread"), "{said}");
}
