//! The tests of the project, in tiers: `cargo verify` and `cargo verify long`.
//!
//! Every step runs, whatever became of those before it. The last line is the sum of all totals;
//! the exit code is 0 when every step went well.

mod long;
mod mutants;
mod run;
mod simulated;
mod steps;
mod totals;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use run::Place;
use steps::{Step, Work};
use totals::Totals;

const USAGE: &str = "usage: cargo verify [fast|long [STEP…]]
  fast  formatting, lints, all tests, the models of what threads share (default)
  long  these and: licences and advisories, long random runs, all models and schedules of threads
        and the bugs that they find, fsx, pjdfstest, benchmarks;
        or only the steps that are named, after `needs` and `build`";

/// How a step ended.
struct Ended {
    name: &'static str,
    took: Duration,
    totals: Totals,
    result: Result<(), String>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (long, named) = match &arguments[..] {
        [] | ["fast"] => (false, &[][..]),
        ["long", named @ ..] => (true, named),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let place = match Place::find() {
        Ok(place) => place,
        Err(why) => {
            eprintln!("verify: {why}");
            return ExitCode::FAILURE;
        }
    };
    let mut steps = steps::fast(&place);
    if long {
        steps.extend(long::steps(&place));
    }
    if !named.is_empty() {
        let is_step = |name: &&str| steps.iter().any(|step| step.name == *name);
        if let Some(unknown) = named.iter().find(|name| !is_step(name)) {
            let all: Vec<&str> = steps.iter().map(|step| step.name).collect();
            eprintln!("verify: {unknown:?} is none of the steps: {}", all.join(", "));
            return ExitCode::from(2);
        }
        let is_first = |name| ["needs", "build"].contains(&name);
        steps.retain(|step| is_first(step.name) || named.contains(&step.name));
    }
    let ended: Vec<Ended> = steps.into_iter().map(|step| take(&place, step)).collect();
    summary(if long { "long" } else { "fast" }, &ended)
}

fn take(place: &Place, step: Step) -> Ended {
    let Step { name, about, work } = step;
    println!("\n== {name}: {about}");
    let begun = Instant::now();
    let (totals, result) = match work {
        Work::Own(work) => (Totals::default(), work(place)),
        Work::Command(mut command) => {
            let (_, result) = run::run(&mut command);
            (Totals::default(), result)
        }
        Work::Tests(mut command) => match run::run(&mut command) {
            (totals, Ok(())) if totals.is_none() => (totals, Err("no test ran".into())),
            other => other,
        },
    };
    if let Err(why) = &result {
        println!("verify: {name} failed: {why}");
    }
    Ended { name, took: begun.elapsed(), totals, result }
}

fn summary(tier: &str, ended: &[Ended]) -> ExitCode {
    let took: Duration = ended.iter().map(|step| step.took).sum();
    println!("\n== the {tier} tier, in {}", time(took));
    let mut sum = Totals::default();
    for Ended { name, took, totals, result } in ended {
        sum += *totals;
        let tests = if totals.is_none() {
            String::new()
        } else {
            format!(", {} passed, {} failed", totals.passed, totals.failed)
        };
        let verdict = match result {
            Ok(()) => "ok".to_owned(),
            Err(why) => format!("FAILED: {why}"),
        };
        println!("  {name:9} {:>9}  {verdict}{tests}", time(*took));
    }
    println!("{} passed, {} failed", sum.passed, sum.failed);
    if ended.iter().all(|step| step.result.is_ok()) && sum.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn time(time: Duration) -> String {
    let secs = time.as_secs();
    if secs < 60 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {:02} s", secs / 60, secs % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(passed: u64, failed: u64, result: Result<(), String>) -> Ended {
        let totals = Totals { passed, failed };
        Ended { name: "a step", took: Duration::ZERO, totals, result }
    }

    #[test]
    fn a_run_is_good_when_every_step_is() {
        let good = summary("fast", &[ended(2, 0, Ok(())), ended(0, 0, Ok(()))]);
        assert_eq!(good, ExitCode::SUCCESS);
        let bad = summary("fast", &[ended(0, 0, Err("why".into())), ended(2, 0, Ok(()))]);
        assert_eq!(bad, ExitCode::FAILURE);
        assert_eq!(summary("fast", &[ended(2, 1, Ok(()))]), ExitCode::FAILURE);
    }

    #[test]
    fn tests_that_do_not_run_are_a_failure() {
        let place = Place { root: ".".into(), target: ".".into() };
        let step = |script: &str| {
            let mut command = std::process::Command::new("sh");
            command.args(["-c", script]);
            take(&place, Step { name: "a step", about: "", work: Work::Tests(command) })
        };
        assert!(step("true").result.is_err());
        let passed = "echo 'test result: ok. 1 passed; 0 failed; 0 ignored'";
        assert!(step(passed).result.is_ok());
        assert!(step(&format!("{passed}; exit 1")).result.is_err());
    }

    #[test]
    fn times_are_short() {
        assert_eq!(time(Duration::from_millis(1234)), "1.2 s");
        assert_eq!(time(Duration::from_secs(754)), "12 min 34 s");
    }
}
