//! The command `stats`.

use std::io::{self, IsTerminal};
use std::thread;

use serde_json::json;

use super::args::StatsArgs;
use super::commands::{print_json, unexpected};
use super::control::client;
use super::control::protocol::{Answer, Command};
use super::control::stats::{Gauges, Rate, Rates, StatsAnswer};
use crate::cli::{CliError, Exit, count, number, print, size};

/// Takes the terminal's cursor to its first line, and clears what follows.
const HOME: &str = "\x1b[H\x1b[J";

/// Shows what a mount does.
///
/// # Errors
/// Nothing is mounted there, or its daemon could not answer.
pub fn run_stats(args: StatsArgs) -> Result<Exit, CliError> {
    let mut before: Option<StatsAnswer> = None;
    let redraws = args.watch.is_some() && !args.json && io::stdout().is_terminal();
    loop {
        let Answer::Stats(now) = client::ask(&args.mount_point, Command::Stats)? else {
            return Err(unexpected());
        };
        let rates = Rates::between(before.as_ref(), &now);
        let is_whole = before.is_none();
        if args.json {
            print_json(&json!(rates))?;
        } else if redraws {
            print(&format!("{HOME}{}", table(&rates, is_whole)))?;
        } else if args.watch.is_some() {
            print(&line(&rates))?;
        } else {
            print(&table(&rates, is_whole))?;
        }
        let Some(pause) = args.watch else { return Ok(Exit::Ok) };
        before = Some(now);
        thread::sleep(pause);
    }
}

/// All of it, in lines.
fn table(rates: &Rates, is_whole: bool) -> String {
    let since = if is_whole { "since it was mounted" } else { "" };
    let mut text = format!("in {:.1} s {since}", rates.seconds).trim_end().to_owned();
    text.push_str(&format!(
        "\n\n{:<14}{:>12}{:>12}{:>12}{:>12}\n",
        "operation", "number", "per second", "p50", "p99"
    ));
    for (name, rate) in &rates.operations {
        text.push_str(&row(name, rate, ""));
    }
    text.push_str("\nrequests to the store\n");
    for (name, store) in &rates.store {
        let outcomes = store.outcomes.iter().map(|(name, n)| format!("{name} {}", number(*n)));
        text.push_str(&row(name, &store.rate, &outcomes.collect::<Vec<_>>().join(", ")));
    }
    let Gauges { in_flight, window, memory_limit_bytes, cached_bytes, dirty_bytes, .. } = rates.now;
    let window = window.map(|window| format!(" of {window}")).unwrap_or_default();
    let cache = match &rates.now.cache {
        Some(cache) => {
            format!("{} read from disk, {} not there", number(cache.hits), number(cache.misses))
        }
        None => "none".to_owned(),
    };
    let lines = [
        ("disk cache", cache),
        ("sent", size(rates.up_bytes)),
        ("received", size(rates.down_bytes)),
        ("retries", number(rates.retries)),
        ("in flight", format!("{in_flight}{window}")),
        ("memory", format!("{} clean of {}", size(cached_bytes), size(memory_limit_bytes))),
        ("uncommitted", format!("{} in {}", size(dirty_bytes), uncommitted(&rates.now))),
    ];
    text.push('\n');
    text.extend(lines.iter().map(|(name, value)| format!("{name:<14}{value}\n")));
    text
}

fn uncommitted(now: &Gauges) -> String {
    let files = count(now.dirty_files, "file");
    match now.oldest_dirty_seconds {
        Some(oldest) => format!("{files}, the oldest edit {oldest:.0} s ago"),
        None => files,
    }
}

fn row(name: &str, rate: &Rate, more: &str) -> String {
    let row = format!(
        "{name:<14}{:>12}{:>12.1}{:>12}{:>12}  {more}",
        number(rate.count),
        rate.per_second,
        time(rate.p50_seconds),
        time(rate.p99_seconds),
    );
    format!("{}\n", row.trim_end())
}

/// The same in one line, for a pipe.
fn line(rates: &Rates) -> String {
    let mut words = vec![format!("{:.1}s", rates.seconds)];
    let per_second = |(name, rate): (&String, &Rate)| {
        format!(
            "{name}={:.1}/s,p50={},p99={}",
            rate.per_second,
            time(rate.p50_seconds),
            time(rate.p99_seconds)
        )
    };
    words.extend(rates.operations.iter().map(per_second));
    let store = rates.store.iter().map(|(name, store)| (name, &store.rate));
    words.extend(store.map(|(name, rate)| format!("store:{}", per_second((name, rate)))));
    words.push(format!("sent={}", rates.up_bytes));
    words.push(format!("received={}", rates.down_bytes));
    words.push(format!("retries={}", rates.retries));
    if let Some(cache) = &rates.now.cache {
        words.push(format!("cache_hits={} cache_misses={}", cache.hits, cache.misses));
    }
    words.push(format!("dirty={}", rates.now.dirty_bytes));
    format!("{}\n", words.join(" "))
}

/// A time as people read it.
fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.1}us", s * 1e6),
        s if s < 1.0 => format!("{:.1}ms", s * 1e3),
        s => format!("{s:.1}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_fits() {
        let all = [1.5e-6, 0.0123, 61.0].map(time);
        assert_eq!(all, ["1.5us", "12.3ms", "61.0s"]);
    }
}
