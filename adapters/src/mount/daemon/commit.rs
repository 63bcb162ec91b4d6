//! What a commit comes to, in words.

use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::{Either, select};
use tokio::sync::mpsc;
use vellum_core::shapes::{CommitResult, Key, Op, Reply, StoreError};
use vellum_core::words::Errno;

use super::super::control::protocol::{CommitAnswer, How, Progress, Signed};
use super::super::control::server::Say;
use super::{Daemon, odd};
use crate::cli::{CliError, Exit, no_branch, quoted};
use crate::host::SoFar;
use crate::repo::{What, read_back};
use crate::store::ObjectStore;

/// Events of a commit that may wait to be handed on.
const EVENTS_MAX: usize = 64;

/// How often is said how far reading back is.
const EVERY: Duration = Duration::from_millis(100);

impl Daemon {
    /// Publishes what is uncommitted; `say` hears how far that is, if that was asked.
    pub(super) async fn commit(
        &self,
        signed: Signed,
        how: How,
        say: Option<&Say>,
    ) -> Result<CommitAnswer, CliError> {
        let say = say.filter(|_| how.progress);
        tell(say, SoFar::default(), 0, None).await;
        self.repo.check_conditions().await?;
        self.flush().await?;
        self.no_page_was_refused()?;
        let Signed { author, message } = signed;
        let attempt = attempt().map_err(|error| {
            let what = format!("can't get a random number for the commit: {error}");
            CliError::new(Exit::Store, what, "make /dev/urandom readable, then run it again")
        })?;
        match self.publish(Op::Commit { author, message, attempt }, say).await {
            Ok(Reply::Commit(result)) => {
                let mut answer = self.committed(result)?;
                self.warned.lock().committed();
                if answer.committed {
                    // What is kept for this commit is nobody's any more.
                    let sent = self.host.take_sent();
                    if how.verify {
                        answer.verified = Some(self.read_back(sent, &answer, say).await?);
                    }
                }
                let CommitAnswer { objects, bytes, verified, .. } = answer;
                let so_far = SoFar { objects, bytes, ..SoFar::default() };
                tell(say, so_far, verified.unwrap_or(0), Some("done")).await;
                Ok(answer)
            }
            Ok(other) => Err(odd(&other)),
            Err(errno) => Err(self.failed("commit", errno)),
        }
    }

    /// Asks the core for a commit, and hands on how far it is.
    async fn publish(&self, commit: Op, say: Option<&Say>) -> Result<Reply, Errno> {
        let Some(say) = say else { return self.host.ask(commit).await };
        let (sender, mut heard) = mpsc::channel(EVENTS_MAX);
        self.host.commit_begins(sender);
        let mut work = pin!(self.host.ask(commit));
        let done = loop {
            match select(work.as_mut(), pin!(heard.recv())).await {
                Either::Left((done, _)) => break done,
                Either::Right((Some(so_far), _)) => tell(Some(say), so_far, 0, None).await,
                Either::Right((None, _)) => break work.await,
            }
        };
        self.host.commit_ended();
        while let Ok(so_far) = heard.try_recv() {
            tell(Some(say), so_far, 0, None).await;
        }
        done
    }

    /// Reads back what a commit put, and answers how many objects that were.
    async fn read_back(
        &self,
        keys: Option<Vec<Key>>,
        commit: &CommitAnswer,
        say: Option<&Say>,
    ) -> Result<u64, CliError> {
        let snapshot = commit.snapshot.as_deref().unwrap_or_default();
        let Some(keys) = keys else {
            let what = format!("committed {snapshot}, but it put more objects than are remembered");
            let source = quoted(Path::new(&self.about.source));
            let remedy = format!("vellum verify {source} reads all of them");
            return Err(CliError::new(Exit::Store, what, remedy));
        };
        let done = AtomicU64::new(0);
        let so_far = SoFar { objects: keys.len() as u64, bytes: commit.bytes, ..SoFar::default() };
        let mut work = pin!(read_back(&self.repo, keys, &done));
        let bad = loop {
            tell(say, so_far, done.load(Ordering::Relaxed), Some("verify")).await;
            match tokio::time::timeout(EVERY, work.as_mut()).await {
                Ok(bad) => break bad,
                Err(_) => continue,
            }
        };
        let Some((key, what, detail)) = bad.first() else {
            return Ok(done.load(Ordering::Relaxed));
        };
        let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
        let others = match bad.len() - 1 {
            0 => String::new(),
            more => format!(", and so it is with {more} more"),
        };
        for (key, what, detail) in &bad {
            tracing::error!("object {key}, put by commit {snapshot}: {} {detail}", what.word());
        }
        let unreadable = |what: &What| matches!(what, What::Unreadable(_));
        let exit = match bad.iter().all(|(_, what, _)| unreadable(what)) {
            true => Exit::Store,
            false => Exit::Integrity,
        };
        Err(CliError::new(
            exit,
            format!(
                "committed {snapshot}, but reading back what was put: object {key} is {}{detail}\
                 {others}",
                what.word()
            ),
            "the snapshot is published. Write the files that use it anew from end to end and \
             commit again, which puts it right, or restore it from a copy of the repository; \
             vellum verify names the paths",
        ))
    }

    fn committed(&self, result: CommitResult) -> Result<CommitAnswer, CliError> {
        let (point, verified) = (self.point.display(), None);
        let (exit, what, remedy) = match result {
            CommitResult::Empty => {
                let (snapshot, committed) = (None, false);
                return Ok(CommitAnswer { snapshot, committed, objects: 0, bytes: 0, verified });
            }
            CommitResult::Unchanged { snapshot } => {
                let snapshot = Some(snapshot.to_string());
                return Ok(CommitAnswer {
                    snapshot,
                    committed: false,
                    objects: 0,
                    bytes: 0,
                    verified,
                });
            }
            CommitResult::Committed { snapshot, objects, bytes } => {
                let snapshot = Some(snapshot.to_string());
                return Ok(CommitAnswer { snapshot, committed: true, objects, bytes, verified });
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
            CommitResult::NoBranch => {
                return Err(no_branch(&point.to_string(), self.about.read_only));
            }
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
            "{kept}: renew the credentials if they have expired, or let the user who mounted it \
             write to the repository {shown}, then run the commit again"
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

/// Says how far a commit is, in the phase that is named if it is none of the core's.
async fn tell(say: Option<&Say>, so_far: SoFar, verified: u64, phase: Option<&str>) {
    let SoFar { objects, bytes, phase: of_core } = so_far;
    let phase = phase.unwrap_or(of_core.word()).to_owned();
    if let Some(say) = say {
        // Whoever asked may have gone.
        drop(say.send(Progress { phase, objects, bytes, verified }).await);
    }
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
