//! What a commit comes to, in words.

use std::io;
use std::path::Path;

use vellum_core::shapes::{CommitResult, Op, Reply, StoreError};

use super::super::control::protocol::{CommitAnswer, Signed};
use super::{Daemon, odd};
use crate::cli::{CliError, Exit, quoted};
use crate::store::ObjectStore;

impl Daemon {
    pub(super) async fn commit(&self, signed: Signed) -> Result<CommitAnswer, CliError> {
        self.repo.check_conditions().await?;
        self.flush().await?;
        self.no_page_was_refused()?;
        let Signed { author, message } = signed;
        let attempt = attempt().map_err(|error| {
            let what = format!("can't get a random number for the commit: {error}");
            CliError::new(Exit::Store, what, "make /dev/urandom readable, then run it again")
        })?;
        match self.host.ask(Op::Commit { author, message, attempt }).await {
            Ok(Reply::Commit(result)) => {
                let answer = self.committed(result)?;
                self.warned.lock().committed();
                Ok(answer)
            }
            Ok(other) => Err(odd(&other)),
            Err(errno) => Err(self.failed("commit", errno)),
        }
    }

    fn committed(&self, result: CommitResult) -> Result<CommitAnswer, CliError> {
        let point = self.point.display();
        let (exit, what, remedy) = match result {
            CommitResult::Empty => {
                let (snapshot, committed) = (None, false);
                return Ok(CommitAnswer { snapshot, committed, objects: 0, bytes: 0 });
            }
            CommitResult::Unchanged { snapshot } => {
                let snapshot = Some(snapshot.to_string());
                return Ok(CommitAnswer { snapshot, committed: false, objects: 0, bytes: 0 });
            }
            CommitResult::Committed { snapshot, objects, bytes } => {
                let snapshot = Some(snapshot.to_string());
                return Ok(CommitAnswer { snapshot, committed: true, objects, bytes });
            }
            CommitResult::Conflict { theirs } => (
                Exit::Conflict,
                format!(
                    "the branch was moved by somebody else, to snapshot {theirs}; nothing was \
                         overwritten, and the edits are still at {point}"
                ),
                "mount the branch again elsewhere and copy your changes there (vellum diff lists \
                 them)"
                    .to_owned(),
            ),
            CommitResult::Busy => (
                Exit::Usage,
                format!("a commit of {point} is already under way"),
                "wait for it: vellum status shows when it has ended".to_owned(),
            ),
            CommitResult::NoBranch => (
                Exit::Usage,
                format!("there is no branch that a commit of {point} could move"),
                if self.about.read_only {
                    "mount a branch (REPO@BRANCH) without --read-only".to_owned()
                } else {
                    "mount a branch (REPO@BRANCH) elsewhere, and copy your changes there".to_owned()
                },
            ),
            CommitResult::Collected { key } => (
                Exit::Store,
                format!("{key}: the repository is garbage collected, by a newer Vellum"),
                "upgrade Vellum, mount the branch again elsewhere and copy your changes there"
                    .to_owned(),
            ),
            CommitResult::Unfit { error } => (
                Exit::Usage,
                format!("a snapshot can't hold this: {error}"),
                "the edits are still in the mount: commit them with a shorter message and author"
                    .to_owned(),
            ),
            CommitResult::Failed { key, error } => {
                let is_gone = error == StoreError::NoBucket || self.repo.store().is_gone();
                let places = (self.point.as_path(), self.repo.store().address());
                let (what, remedy) = not_committed(places, is_gone, &key, &error);
                (exit_of(&error), what, remedy)
            }
            CommitResult::Unknown => (
                Exit::Store,
                "the store did not say whether the branch was moved".to_owned(),
                "run the commit again: it finds out first".to_owned(),
            ),
        };
        Err(CliError::new(exit, what, remedy))
    }
}

/// Why the store did not take a commit, and what there is to do about it.
fn not_committed(
    (point, repository): (&Path, &Path),
    is_gone: bool,
    key: &str,
    error: &StoreError,
) -> (String, String) {
    let shown = repository.display();
    let kept = "the edits are still in the mount";
    let full = matches!(error, StoreError::NoSpace | StoreError::Denied);
    if !full && is_gone {
        let what = format!("{key}: the repository {shown} is gone");
        let remedy = format!(
            "{kept}, and can't be committed from it any more: copy your changes to a mount \
             of another repository (vellum diff {} lists them)",
            quoted(point)
        );
        return (what, remedy);
    }
    let what = format!("{key}: {}", describe(error));
    let remedy = match error {
        StoreError::NotFound | StoreError::Damaged | StoreError::Exists => format!(
            "{kept}, but every commit that needs this object fails. Put it back from a copy \
             of the repository {shown}, or write the files that use it anew from end to end, \
             or remove them; then run the commit again"
        ),
        StoreError::NoSpace => {
            format!("{kept}: make room for the repository {shown}, then run the commit again")
        }
        StoreError::Denied => format!(
            "{kept}: let the user who mounted it write to the repository {shown}, then run \
             the commit again"
        ),
        StoreError::Unsupported => format!(
            "{kept}: what holds {shown} lacks what a commit needs. Mount a copy of the \
             repository in another place, and copy your changes there"
        ),
        StoreError::NoBucket
        | StoreError::Mismatch
        | StoreError::Throttled
        | StoreError::Unreachable
        | StoreError::Ambiguous => format!("{kept}: run the commit again"),
    };
    (what, remedy)
}

/// A random number that tells one try to move a ref from every other.
fn attempt() -> io::Result<u128> {
    use std::io::Read;
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u128::from_le_bytes(bytes))
}

fn exit_of(error: &StoreError) -> Exit {
    match error {
        StoreError::NotFound | StoreError::Damaged => Exit::Integrity,
        StoreError::Denied => Exit::Credentials,
        StoreError::NoSpace => Exit::NoSpace,
        StoreError::Exists
        | StoreError::Mismatch
        | StoreError::Throttled
        | StoreError::Unreachable
        | StoreError::Ambiguous
        | StoreError::NoBucket
        | StoreError::Unsupported => Exit::Store,
    }
}

fn describe(error: &StoreError) -> &'static str {
    match error {
        StoreError::NotFound => "the object is missing from the store",
        StoreError::Exists => "the store holds another object of that name",
        StoreError::Mismatch => "the object was changed by somebody else",
        StoreError::Throttled => "the store asked for patience too often",
        StoreError::Unreachable => "the store can't be reached",
        StoreError::Ambiguous => "the store did not say whether it was written",
        StoreError::Denied => "the store does not allow it",
        StoreError::NoSpace => "the store is full",
        StoreError::Damaged => "what the store sent is damaged",
        StoreError::NoBucket => "there is no such bucket",
        StoreError::Unsupported => "the store can't do what a commit needs",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remedy(is_gone: bool, error: StoreError) -> String {
        let places = (Path::new("/a mount"), Path::new("/repo"));
        not_committed(places, is_gone, "chunks/ab", &error).1
    }

    #[test]
    fn each_failure_of_a_commit_has_a_remedy_that_is_true() {
        assert!(remedy(false, StoreError::NoSpace).contains("make room for the repository /repo"));
        assert!(remedy(false, StoreError::Denied).contains("write to the repository /repo"));
        for error in [StoreError::NotFound, StoreError::Damaged] {
            assert!(remedy(false, error).contains("every commit that needs this object fails"));
        }
        let again = remedy(false, StoreError::Unreachable);
        assert_eq!(again, "the edits are still in the mount: run the commit again");
    }

    #[test]
    fn what_can_not_be_committed_any_more_is_to_be_copied() {
        let gone = remedy(true, StoreError::Unreachable);
        assert!(gone.contains("can't be committed"), "{gone}");
        assert!(gone.contains("vellum diff '/a mount'"), "{gone}");
    }
}
