//! The commands that list, make and remove refs: branch and tag.

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use clap::Args;
use serde_json::{Value, json};
use vellum_core::format::{RefBody, RefKind};

use super::running::{LAST_WORDS, finish, runtime};
use super::text::{SHORT_HASH, one_line, rfc3339, time};
use super::{CliError, Exit, print, print_json};
use crate::repo::{Address, MAIN, Named, Naming, RefRow, Repo, list_refs};
use crate::store::StoreOptions;

#[derive(Args, Debug)]
pub(super) struct BranchArgs {
    /// Repository
    #[arg(value_name = "REPO")]
    repo: OsString,
    /// Branch to make, or with --delete to remove
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Branch, tag or snapshot that it begins at [default: main]; with --delete, remove the branch
    /// only if it is at this
    #[arg(value_name = "START")]
    start: Option<String>,
    /// Remove the branch, never its snapshots. A commit to it that is under way at the same time
    /// may come between: it then succeeds, and is not found by the branch's name
    #[arg(short, long, requires = "name")]
    delete: bool,
    /// Print the answer as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    store: StoreOptions,
}

#[derive(Args, Debug)]
pub(super) struct TagArgs {
    /// Repository
    #[arg(value_name = "REPO")]
    repo: OsString,
    /// Tag to make, or with --delete to remove
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Branch, tag or snapshot that it names [default: main]; with --delete, remove the tag only if
    /// it names this
    #[arg(value_name = "REF")]
    target: Option<String>,
    /// Remove the tag, never its snapshot
    #[arg(short, long, requires = "name")]
    delete: bool,
    /// Print the answer as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    store: StoreOptions,
}

/// What both commands take.
struct Asked {
    kind: RefKind,
    word: &'static str,
    repo: OsString,
    name: Option<String>,
    at: Option<String>,
    delete: bool,
    json: bool,
    store: StoreOptions,
}

pub(super) fn branch(args: BranchArgs) -> Result<Exit, CliError> {
    let BranchArgs { repo, name, start: at, delete, json, store } = args;
    run(Asked { kind: RefKind::Branch, word: "branch", repo, name, at, delete, json, store })
}

pub(super) fn tag(args: TagArgs) -> Result<Exit, CliError> {
    let TagArgs { repo, name, target: at, delete, json, store } = args;
    run(Asked { kind: RefKind::Tag, word: "tag", repo, name, at, delete, json, store })
}

fn run(asked: Asked) -> Result<Exit, CliError> {
    let address = Address::parse(&asked.repo);
    if let Some(name) = &address.name {
        let what = format!("a repository is needed, without @{name}");
        let remedy = format!("give the name behind it: `vellum {} REPO {name}`", asked.word);
        return Err(CliError::new(Exit::Usage, what, remedy));
    }
    let runtime = runtime()?;
    let repo = finish(&runtime, Repo::open(address.location(&asked.store)), || true)?;
    let naming = Naming::new(Arc::clone(&repo), asked.kind);
    let may_interrupt = || !naming.publishing.load(Ordering::Acquire);
    let exit = match &asked.name {
        None => {
            let rows = finish(&runtime, list_refs(&repo, asked.kind), || true)?;
            show(&rows, asked.json)
        }
        Some(name) if asked.delete => {
            let removing = naming.remove(name, asked.at.as_deref());
            let removed = finish(&runtime, removing, may_interrupt)?;
            show_removed(&asked, name, &removed)
        }
        Some(name) => {
            let at = asked.at.as_deref().unwrap_or(MAIN);
            let snapshot = finish(&runtime, naming.make(name, at), may_interrupt)?;
            let (word, hash) = (asked.word, snapshot.to_string());
            match asked.json {
                true => print_json(&json!({word: name, "snapshot": hash})),
                false => print(&format!("made {word} {name} at {}\n", &hash[..SHORT_HASH])),
            }
            .map(|()| Exit::Ok)
        }
    };
    runtime.shutdown_timeout(LAST_WORDS);
    exit
}

fn show_removed(asked: &Asked, name: &str, removed: &RefBody) -> Result<Exit, CliError> {
    let word = asked.word;
    let hash = removed.snapshot.map(|hash| hash.to_string());
    if asked.json {
        print_json(&json!({"removed": name, "snapshot": hash, "generation": removed.generation}))?;
    } else {
        let at = hash.map_or_else(|| "no snapshot".to_owned(), |hash| hash[..SHORT_HASH].into());
        print(&format!("removed {word} {name}, which was at {at}\n"))?;
    }
    Ok(Exit::Ok)
}

/// A ref that can't be read is told in its row, and the command ends as the first of them says.
fn show(rows: &[RefRow], json: bool) -> Result<Exit, CliError> {
    if json {
        print_json(&Value::Array(rows.iter().map(row_json).collect()))?;
    } else {
        print(&table(rows))?;
    }
    let first = rows.iter().find_map(|row| row.held.as_ref().err());
    Ok(first.map_or(Exit::Ok, |error| error.exit()))
}

fn row_json(row: &RefRow) -> Value {
    match &row.held {
        Err(error) => json!({"name": row.name, "error": error.to_string()}),
        Ok(Named { body, snapshot }) => json!({
            "name": row.name,
            "generation": body.generation,
            "snapshot": body.snapshot.map(|hash| hash.to_string()),
            "time": snapshot.as_ref().map(|snapshot| rfc3339(snapshot.time)),
            "time_ns": snapshot.as_ref().map(|snapshot| snapshot.time.ns),
            "author": snapshot.as_ref().map(|snapshot| &snapshot.author),
            "message": snapshot.as_ref().map(|snapshot| &snapshot.message),
        }),
    }
}

fn table(rows: &[RefRow]) -> String {
    let generation = |row: &RefRow| match &row.held {
        Ok(named) => named.body.generation.to_string(),
        Err(_) => String::new(),
    };
    let name_width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let generation_width = rows.iter().map(|row| generation(row).len()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        let held = match &row.held {
            Err(error) => error.to_string(),
            Ok(Named { body, snapshot: Some(snapshot) }) => {
                let hash = body.snapshot.map(|hash| hash.to_string()).unwrap_or_default();
                let message = one_line(snapshot.message.lines().next().unwrap_or_default());
                let hash = hash.get(..SHORT_HASH).unwrap_or_default();
                format!("{hash}  {}  {message}", time(snapshot.time))
            }
            Ok(Named { snapshot: None, .. }) => "no snapshot yet".to_owned(),
        };
        let (name, generation) = (&row.name, generation(row));
        text.push_str(&format!(
            "{name:<name_width$}  {generation:>generation_width$}  {}\n",
            held.trim_end()
        ));
    }
    text
}
