//! What is said on standard error, which is the daemon's log too: as text, or as JSON, an object in
//! a line.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use super::CliError;

/// How lines on standard error are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// Each line a JSON object with time, level, target, message and fields
    Json,
}

/// Chosen once, when the process starts.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// The name that lines of ours have which no part of the program logs.
const TARGET: &str = "vellum";

/// Whether every line on standard error has to be JSON.
pub(crate) fn is_json() -> bool {
    FORMAT.get() == Some(&LogFormat::Json)
}

/// Warnings go to standard error; with `--verbose` also what is being done.
pub(super) fn start(verbose: u8, format: LogFormat) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    choose(format);
    // What libraries log may hold signatures and tokens: only our own words are let through.
    let ours = Targets::new().with_target("vellum", level).with_target("vellum_core", level);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    // It fails if there is a log already, which is then as good.
    let _ = match format {
        LogFormat::Text => {
            let lines = lines.with_ansi(io::stderr().is_terminal()).with_target(false);
            tracing_subscriber::registry().with(lines.with_filter(ours)).try_init()
        }
        LogFormat::Json => {
            std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
            let lines = lines.event_format(Lines);
            tracing_subscriber::registry().with(lines.with_filter(ours)).try_init()
        }
    };
}

/// Says how lines are written, before the log starts.
pub(super) fn choose(format: LogFormat) {
    // Once chosen it stays.
    let _ = FORMAT.set(format);
}

/// Says on standard error what went wrong.
pub(crate) fn report(error: &CliError, json: bool) {
    let text = match (is_json(), json) {
        (false, false) => error.to_string(),
        (false, true) => error.json().to_string(),
        (true, _) => {
            let mut told = error.json();
            let fields = told["error"].clone();
            let mut line = line("ERROR", TARGET, &error.what, fields);
            if json {
                line["error"] = told["error"].take();
            }
            line.to_string()
        }
    };
    let _ = writeln!(io::stderr(), "{text}");
}

/// Says on standard error how far something is.
pub(crate) fn note(text: &str) {
    let text =
        if is_json() { line("INFO", TARGET, text, json!({})).to_string() } else { text.to_owned() };
    let _ = writeln!(io::stderr(), "{text}");
}

/// Says an event on standard error, as JSON in either format.
pub(crate) fn event(name: &str, event: &Value) {
    let mut told = event.clone();
    if is_json()
        && let (Some(told), Value::Object(line)) =
            (told.as_object_mut(), line("INFO", TARGET, name, event.clone()))
    {
        told.extend(line);
    }
    let _ = writeln!(io::stderr(), "{told}");
}

fn line(level: &str, target: &str, message: &str, fields: Value) -> Value {
    let time = Timestamp::now().strftime("%FT%T%.6fZ").to_string();
    json!({"time": time, "level": level, "target": target, "message": message, "fields": fields})
}

/// Writes events as JSON.
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (level, target) = (event.metadata().level(), event.metadata().target());
        let Fields { message, others } = fields;
        writeln!(writer, "{}", line(level.as_str(), target, &message, others.into()))
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn set(&mut self, field: &Field, value: Value) {
        self.others.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.set(field, text.into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.set(field, value.into());
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }
}
