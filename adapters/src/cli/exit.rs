//! How the command ends: exit codes, and the one shape of every error message.

use std::fmt;

use serde_json::{Value, json};

/// Exit codes. They are stable: scripts may rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// It was done.
    Ok = 0,
    /// What was compared differs, or there are uncommitted changes, where that was asked.
    Differs = 1,
    /// The command was called wrongly, or a local file or directory is not as it must be.
    Usage = 2,
    /// The store refused, or could not be reached.
    Store = 3,
    /// The credentials or permissions do not allow it.
    Credentials = 4,
    /// Somebody else moved the branch; nothing was overwritten.
    Conflict = 5,
    /// An object is missing, cut short or damaged.
    Integrity = 6,
    /// There is no space left.
    NoSpace = 7,
    /// Nothing is mounted there, or its daemon is gone.
    NotMounted = 8,
    /// The target can't represent what is asked.
    NotRepresentable = 9,
    /// Interrupted by a signal.
    Interrupted = 130,
}

impl Exit {
    /// The number that the process exits with.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// A stable word for programs that read JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Differs => "differs",
            Self::Usage => "usage",
            Self::Store => "store",
            Self::Credentials => "credentials",
            Self::Conflict => "conflict",
            Self::Integrity => "integrity",
            Self::NoSpace => "no-space",
            Self::NotMounted => "not-mounted",
            Self::NotRepresentable => "not-representable",
            Self::Interrupted => "interrupted",
        }
    }
}

/// An error as a person reads it: what happened, to which path or key, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CliError {
    /// How the process exits.
    pub exit: Exit,
    /// What happened, to which path or key.
    pub what: String,
    /// What to do about it; empty when there is nothing to do.
    pub remedy: String,
}

impl CliError {
    /// An error with its remedy.
    pub fn new(exit: Exit, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { exit, what: what.into(), remedy: remedy.into() }
    }

    /// The error as a JSON object: `{"error": {"kind", "exit", "what", "remedy"}}`.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({"error": {
            "kind": self.exit.word(),
            "exit": self.exit.code(),
            "what": self.what,
            "remedy": self.remedy,
        }})
    }
}

/// The error for a commit of a mount that has no branch to move.
pub(crate) fn no_branch(point: &str, read_only: bool) -> CliError {
    CliError::new(
        Exit::Usage,
        format!("there is no branch that a commit of {point} could move"),
        if read_only {
            "mount a branch (REPO@BRANCH) without --read-only"
        } else {
            "mount a branch (REPO@BRANCH) elsewhere, and copy your changes there"
        },
    )
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vellum: {}", self.what)?;
        for line in self.remedy.lines() {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for CliError {}
