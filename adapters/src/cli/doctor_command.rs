//! The command that looks for what is in the way.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use serde_json::json;

use super::running::{LAST_WORDS, finish, runtime};
use super::{CliError, Exit, print, print_json};
use crate::doctor::{Asked, Finding, exit_of, is_repository, look_at, look_at_host};
use crate::mount::repository_of;
use crate::store::{CacheOptions, Location, StoreOptions};

#[derive(Args, Debug)]
pub(super) struct DoctorArgs {
    /// Repository, or mount point; only this host is looked at without one
    #[arg(value_name = "REPO|MNT")]
    target: Option<PathBuf>,
    /// Check too what --allow-other of a mount needs
    #[arg(long, env = "VELLUM_ALLOW_OTHER", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_value = "false")]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    allow_other: bool,
    /// Measure how fast data is written and read: 16 MiB each way
    #[arg(long)]
    bandwidth: bool,
    /// Print the answer as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    store: StoreOptions,
    #[command(flatten)]
    cache: CacheOptions,
}

pub(super) fn doctor(args: DoctorArgs) -> Result<Exit, CliError> {
    let asked = Asked { allow_other: args.allow_other, bandwidth: args.bandwidth };
    let mut findings = look_at_host(asked, &args.cache);
    if let Some(target) = &args.target {
        let location = if is_repository(target) {
            Location::new(target, args.store.clone())
        } else {
            match repository_of(target) {
                Ok(mount) => Location::new(&PathBuf::from(mount.address), mount.store),
                // Neither: as a repository it is said what is missing.
                Err(_) => Location::new(target, args.store.clone()),
            }
        };
        let runtime = runtime()?;
        let look = async { Ok::<_, CliError>(look_at(&location, asked).await) };
        findings.extend(finish(&runtime, look, || true)?);
        runtime.shutdown_timeout(LAST_WORDS);
    }
    let exit = exit_of(&findings);
    if args.json {
        let checks: Vec<_> = findings.iter().map(Finding::json).collect();
        print_json(&json!({"ok": exit == Exit::Ok, "checks": checks}))?;
    } else {
        print(&findings.iter().map(Finding::text).collect::<String>())?;
    }
    Ok(exit)
}
