//! Shows how far a long command has come: a line that is redrawn on a terminal, else a line now
//! and then, always on standard error.

use std::future::Future;
use std::io::{self, IsTerminal};
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::future::{Either, select};
use indicatif::{ProgressBar, ProgressStyle};

use super::log::{is_json, note};

/// How often a terminal is redrawn.
const REDRAW: Duration = Duration::from_millis(100);
/// How often a line is written where there is no terminal.
const LINE: Duration = Duration::from_secs(10);

/// Waits for `work` and shows what `say` says meanwhile, unless `quiet`.
pub(super) async fn shown<T>(
    quiet: bool,
    say: impl Fn() -> String,
    work: impl Future<Output = T>,
) -> T {
    let bar = (!quiet && !is_json() && io::stderr().is_terminal()).then(spinner);
    let mut work = pin!(work);
    let mut last_line = Instant::now();
    loop {
        let tick = pin!(tokio::time::sleep(REDRAW));
        match select(work, tick).await {
            Either::Left((done, _)) => {
                if let Some(bar) = bar {
                    bar.finish_and_clear();
                }
                return done;
            }
            Either::Right(((), unfinished)) => work = unfinished,
        }
        match &bar {
            Some(bar) => {
                bar.set_message(say());
                bar.tick();
            }
            None if !quiet && last_line.elapsed() >= LINE => {
                last_line = Instant::now();
                note(&say());
            }
            None => {}
        }
    }
}

/// A line that is redrawn on a terminal.
pub(crate) fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    // Without a style of ours it would still be shown, in its own.
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}  {elapsed}") {
        bar.set_style(style);
    }
    bar
}
