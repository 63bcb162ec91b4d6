//! The command `config show`.

use std::ffi::OsString;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::file::Setting;
use super::options::{Kind, OPTIONS, Opt, flag};
use super::{chosen, place, settings};
use crate::cli::text::one_line;
use crate::cli::{CliError, Exit, print, print_json};

#[derive(Args, Debug)]
pub(in crate::cli) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print each option, and what it is if no flag says otherwise
    Show(ShowArgs),
}

#[derive(Args, Debug)]
struct ShowArgs {
    /// With what is set for this repository
    #[arg(value_name = "REPO")]
    repo: Option<OsString>,
    /// Also print where each value comes from
    #[arg(long)]
    origin: bool,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

impl ConfigArgs {
    pub(in crate::cli) fn wants_json(&self) -> bool {
        let ConfigCommand::Show(args) = &self.command;
        args.json
    }
}

/// An option as it stands.
struct Row {
    option: &'static Opt,
    value: Option<String>,
    origin: String,
}

pub(in crate::cli) fn config(args: ConfigArgs) -> Result<Exit, CliError> {
    let ConfigCommand::Show(args) = args.command;
    let settings = settings()?;
    let repository = args.repo.as_deref().map(place);
    let chosen = chosen(&settings, repository.as_deref());
    let rows = OPTIONS.iter().map(|option| row(option, &chosen));
    let rows = rows.collect::<Result<Vec<Row>, CliError>>()?;
    if args.json {
        let all = rows.iter().map(|row| (row.option.key.to_owned(), json_of(row, args.origin)));
        print_json(&Value::Object(all.collect::<Map<String, Value>>()))?;
    } else {
        print(&table(&rows, args.origin))?;
    }
    Ok(Exit::Ok)
}

fn row(option: &'static Opt, chosen: &[&Setting]) -> Result<Row, CliError> {
    if let Some(value) = std::env::var_os(option.env) {
        let value = value.to_string_lossy().into_owned();
        if !option.kind.takes(&value) {
            let what = format!("the environment variable {} can't be {value:?}", option.env);
            let remedy = format!("give {}, or unset it", option.kind.words());
            return Err(CliError::new(Exit::Usage, what, remedy));
        }
        let origin = format!("environment {}", option.env);
        return Ok(Row { option, value: Some(value), origin });
    }
    Ok(match chosen.iter().find(|setting| setting.option.key == option.key) {
        Some(setting) => {
            let (value, origin) = (Some(setting.value.clone()), setting.origin.clone());
            Row { option, value, origin }
        }
        None => {
            let value = option.default.map(str::to_owned);
            Row { option, value, origin: "default".to_owned() }
        }
    })
}

fn json_of(row: &Row, origin: bool) -> Value {
    let value = match (&row.value, row.option.kind) {
        (None, _) => Value::Null,
        (Some(text), Kind::Flag) => flag(text).into(),
        (Some(text), Kind::Text | Kind::Size | Kind::Part | Kind::Address | Kind::Word(_)) => {
            text.as_str().into()
        }
    };
    if origin { json!({"value": value, "origin": row.origin}) } else { value }
}

fn table(rows: &[Row], origin: bool) -> String {
    let value = |row: &Row| row.value.as_deref().map_or_else(|| "-".to_owned(), one_line);
    let width = rows.iter().map(|row| value(row).chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        let origin = if origin { row.origin.as_str() } else { "" };
        let line = format!("{:<22} {:<width$}  {origin}", row.option.key, value(row));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
