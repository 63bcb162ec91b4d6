//! `vellum doctor`: looks at the host, and at a repository, for what would keep Vellum from
//! working, and says what to do about it.

mod bucket;
mod host;
mod repository;

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::{CliError, Exit};
use crate::repo::RepoError;
use crate::store::{CacheOptions, Location, Meant};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// All is well.
    Ok,
    /// It works, with something that one should know.
    Warning,
    /// It does not work; a command that needs it exits so.
    Failed(Exit),
}

/// What was checked, and what was found.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) check: &'static str,
    pub(crate) state: State,
    pub(crate) what: String,
    /// What to do about it; empty when all is well.
    pub(crate) remedy: String,
}

impl Finding {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, state: State::Ok, what: what.into(), remedy: String::new() }
    }

    fn warning(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, state: State::Warning, what: what.into(), remedy: remedy.into() }
    }

    fn failed(
        check: &'static str,
        exit: Exit,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { check, state: State::Failed(exit), what: what.into(), remedy: remedy.into() }
    }

    fn of(check: &'static str, error: impl Into<CliError>) -> Self {
        let CliError { exit, what, remedy } = error.into();
        Self::failed(check, exit, what, remedy)
    }

    fn word(&self) -> &'static str {
        match self.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Failed(_) => "failed",
        }
    }

    /// In a line, and one more for the remedy.
    pub(crate) fn text(&self) -> String {
        let line = format!("{:<8} {:<12} {}\n", self.word(), self.check, self.what);
        if self.remedy.is_empty() { line } else { format!("{line}{:22}-> {}\n", "", self.remedy) }
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "check": self.check,
            "state": self.word(),
            "what": self.what,
            "remedy": (!self.remedy.is_empty()).then_some(&self.remedy),
        })
    }
}

/// How the whole ends: as the first check that failed.
pub(crate) fn exit_of(findings: &[Finding]) -> Exit {
    let failed = findings.iter().find_map(|finding| match finding.state {
        State::Failed(exit) => Some(exit),
        State::Ok | State::Warning => None,
    });
    failed.unwrap_or(Exit::Ok)
}

/// What is asked beside the usual.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    /// Whether other users are to be let into mounts.
    pub(crate) allow_other: bool,
    /// Whether to measure how fast data goes.
    pub(crate) bandwidth: bool,
}

/// Looks at this host.
pub(crate) fn look_at_host(asked: Asked, cache: &CacheOptions) -> Vec<Finding> {
    host::findings(asked, cache)
}

/// Looks at a repository and the way to it.
pub(crate) async fn look_at(location: &Location, asked: Asked) -> Vec<Finding> {
    let mut findings = Vec::new();
    match location.meant() {
        Ok(Meant::Directory) => {}
        Ok(Meant::Bucket(place)) => {
            findings.extend(bucket::findings(&place, location).await);
            let lacks =
                |finding: &Finding| finding.check == "credentials" && finding.state != State::Ok;
            if exit_of(&findings) == Exit::Store || findings.iter().any(lacks) {
                // There is nobody to ask anything else, or nothing to ask with.
                return findings;
            }
        }
        Err(error) => return vec![Finding::of("address", RepoError::from(error))],
    }
    findings.extend(repository::findings(location, asked).await);
    findings
}

/// Whether a path is a repository in a directory, or in a bucket.
pub(crate) fn is_repository(address: &Path) -> bool {
    address.as_os_str().as_encoded_bytes().starts_with(b"s3://")
        || address.join(vellum_core::format::HEADER_KEY).exists()
}
