//! The daemon of one mount: serves the kernel and the control socket until it is told to end.
//!
//! Uncommitted edits are in its memory, so it ends by itself only when there are none. If the
//! tree is unmounted behind its back it stays and holds them, for `commit` or `umount --discard`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use vellum_core::shapes::{CommitResult, Diff, Op, Reply, Status, StoreError};
use vellum_core::words::Errno;

use super::control::place::Place;
use super::control::protocol::{
    Answer, Command, CommitAnswer, DiffAnswer, MountedAnswer, Signed, StatusAnswer, Uncommitted,
};
use super::control::server::{self, Serve};
use super::unmount::{Busy, unmount};
use crate::cli::{CliError, Exit};
use crate::fuse::{self, Mounted, Options};
use crate::host::Host;
use crate::store::Store;

/// Times that `umount --commit` commits what was written while it unmounted, before it gives up.
const COMMITS_ON_UNMOUNT: usize = 3;

/// How long `status` and `diff` wait for what the kernel holds of mapped files.
const FIGURES_WAIT: Duration = Duration::from_secs(2);

/// How often a mount that ended by an error is put back.
const REMOUNTS: u32 = 16;

/// What the daemon is told.
enum Event {
    /// SIGINT, SIGTERM or SIGHUP.
    Signal,
    /// The file system is no longer mounted.
    Ended(io::Result<()>),
    /// A command unmounted and was answered.
    Quit,
}

/// The daemon of one mount.
pub(super) struct Daemon {
    host: Host,
    store: Arc<Store>,
    point: PathBuf,
    options: Options,
    about: MountedAnswer,
    events: mpsc::UnboundedSender<Event>,
    mounted: watch::Sender<bool>,
    /// A command unmounts: the end of the mount is no surprise.
    leaving: AtomicBool,
}

impl Daemon {
    /// Mounts and serves until told to end. `ready` is called when commands are taken.
    pub(super) async fn run(
        (host, store): (Host, Arc<Store>),
        point: PathBuf,
        options: Options,
        about: MountedAnswer,
        ready: impl FnOnce(),
    ) -> Result<Exit, CliError> {
        let mounted =
            fuse::mount(&host, &point, &options).map_err(|error| refused(&point, &error))?;
        let (events, mut inbox) = mpsc::unbounded_channel();
        let place = Place::of(&point);
        let failed = |error: io::Error| {
            let what =
                format!("can't serve the control socket {}: {error}", place.socket.display());
            CliError::new(Exit::Usage, what, "")
        };
        let listener = server::listen(&place.socket).map_err(failed)?;
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            tokio::spawn(forward_signals(signal(kind).map_err(failed)?, events.clone()));
        }
        tokio::spawn(forward_end(mounted, events.clone()));
        let daemon = Arc::new(Self {
            host,
            store,
            point,
            options,
            about,
            events,
            mounted: watch::Sender::new(true),
            leaving: AtomicBool::new(false),
        });
        tokio::spawn(server::accept(listener, Arc::clone(&daemon)));
        ready();
        let exit = daemon.follow(&mut inbox).await;
        // A later daemon at the same point has removed it already.
        drop(std::fs::remove_file(&place.socket));
        exit
    }

    async fn follow(
        self: &Arc<Self>,
        inbox: &mut mpsc::UnboundedReceiver<Event>,
    ) -> Result<Exit, CliError> {
        let mut warned = false;
        let mut remounts_left = REMOUNTS;
        while let Some(event) = inbox.recv().await {
            match event {
                Event::Quit => return Ok(Exit::Ok),
                Event::Ended(result) => {
                    if let Err(error) = result {
                        tracing::error!(%error, "the mount ended by an error");
                        if remounts_left > 0 && self.mount_again().await? {
                            remounts_left -= 1;
                            continue;
                        }
                    }
                    self.mounted.send_replace(false);
                    if !self.leaving.load(Ordering::Acquire) && !self.is_dirty_after_end().await? {
                        return Ok(Exit::Ok);
                    }
                }
                Event::Signal if warned => {
                    tracing::error!("a second signal: uncommitted edits are dropped");
                    self.leaving.store(true, Ordering::Release);
                    self.unmount_now(Busy::Detach).await?;
                    return Ok(Exit::Interrupted);
                }
                Event::Signal => {
                    warned = true;
                    let daemon = Arc::clone(self);
                    tokio::spawn(async move { daemon.leave_if_clean().await });
                }
            }
        }
        Ok(Exit::Ok)
    }

    /// Puts a mount whose event loop failed back in its place; programs lose what they had open.
    /// Whether it is there again.
    async fn mount_again(&self) -> Result<bool, CliError> {
        // The dead one would stand there and keep programs out.
        self.unmount_now(Busy::Detach).await?;
        match fuse::mount(&self.host, &self.point, &self.options) {
            Ok(mounted) => {
                tracing::error!("mounted again; what programs had open is lost to them");
                tokio::spawn(forward_end(mounted, self.events.clone()));
                Ok(true)
            }
            Err(error) => {
                tracing::error!(%error, "can't mount again");
                Ok(false)
            }
        }
    }

    /// Whether edits are held although nothing is mounted any more. Says so, loudly.
    async fn is_dirty_after_end(&self) -> Result<bool, CliError> {
        let status = self.status().await?;
        if status.dirty {
            let point = self.point.display();
            tracing::error!(
                changed = status.changed_inodes,
                "{point} was unmounted with uncommitted edits. They are held in this process: \
                 `vellum commit {point} -m MESSAGE` publishes them, `vellum umount {point} \
                 --discard` drops them"
            );
        }
        Ok(status.dirty)
    }

    /// On a signal: unmounts and ends when nothing is uncommitted and nobody uses the mount.
    async fn leave_if_clean(&self) {
        let point = self.point.display();
        match self.leave(Uncommitted::Refuse).await {
            Ok(Answer::Unmounted(_)) => self.quit(),
            Ok(Answer::Dirty(diff)) => tracing::error!(
                changed = diff.changes.len(),
                "not unmounted: there are uncommitted edits. `vellum commit {point} -m MESSAGE` \
                 publishes them; a second signal drops them"
            ),
            Ok(_) => {}
            Err(error) => tracing::error!("not unmounted: {error}. A second signal forces it"),
        }
    }

    fn quit(&self) {
        // The daemon may be ending already.
        drop(self.events.send(Event::Quit));
    }

    async fn status(&self) -> Result<Status, CliError> {
        match self.host.ask(Op::Status).await {
            Ok(Reply::Status(status)) => Ok(*status),
            Ok(other) => Err(odd(&other)),
            Err(errno) => Err(self.failed("status", errno)),
        }
    }

    async fn diff(&self) -> Result<Diff, CliError> {
        match self.host.ask(Op::Diff).await {
            Ok(Reply::Diff(diff)) => Ok(*diff),
            Ok(other) => Err(odd(&other)),
            Err(errno) => Err(self.failed("diff", errno)),
        }
    }

    /// Takes in what the kernel holds for mapped files, so that figures and commits have it.
    async fn flush(&self) -> Result<(), CliError> {
        self.host.flush_kernel_pages().await.map_err(|error| {
            let exit = match error.raw_os_error() {
                Some(libc::ENOSPC) => Exit::NoSpace,
                _ => Exit::Store,
            };
            let what = format!(
                "what programs wrote into mapped files of {} could not be taken in: {error}",
                self.point.display()
            );
            CliError::new(exit, what, "nothing was lost or published; see the daemon's log")
        })
    }

    /// What the kernel could not write back is lost, and it tells only the program that mapped the
    /// file: a commit that leaves it out must not go unnoticed.
    fn no_page_was_refused(&self) -> Result<(), CliError> {
        let Some(errno) = self.host.take_refused_page() else { return Ok(()) };
        let exit = if errno == Errno::NoSpc { Exit::NoSpace } else { Exit::Store };
        let point = self.point.display();
        let what = format!(
            "data that programs wrote into mapped files of {point} was refused and is lost \
             ({errno:?}); they were told at msync or close"
        );
        let remedy = "nothing was published. Have it written again, then commit; or commit again \
                      to publish what is there. With more --memory there is more room";
        Err(CliError::new(exit, what, remedy))
    }

    /// As [`Daemon::flush`], but figures need not wait for a store that is stuck: they then leave
    /// out what the kernel holds.
    async fn flush_for_figures(&self) {
        if let Ok(Err(error)) = tokio::time::timeout(FIGURES_WAIT, self.flush()).await {
            tracing::warn!("{error}");
        }
    }

    async fn commit(&self, signed: Signed) -> Result<CommitAnswer, CliError> {
        self.flush().await?;
        self.no_page_was_refused()?;
        let Signed { author, message } = signed;
        let attempt = attempt().map_err(|error| {
            let what = format!("can't get a random number for the commit: {error}");
            CliError::new(Exit::Store, what, "")
        })?;
        match self.host.ask(Op::Commit { author, message, attempt }).await {
            Ok(Reply::Commit(result)) => self.committed(result),
            Ok(other) => Err(odd(&other)),
            Err(errno) => Err(self.failed("commit", errno)),
        }
    }

    fn committed(&self, result: CommitResult) -> Result<CommitAnswer, CliError> {
        let point = self.point.display();
        let again = "the edits are still in the mount: run the commit again";
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
                "mount a branch: REPO@BRANCH, without --read-only".to_owned(),
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
                (exit_of(&error), format!("{key}: {}", describe(&error)), again.to_owned())
            }
            CommitResult::Unknown => (
                Exit::Store,
                "the store did not say whether the branch was moved".to_owned(),
                "run the commit again: it finds out first".to_owned(),
            ),
        };
        Err(CliError::new(exit, what, remedy))
    }

    /// Unmounts; what is uncommitted goes as `uncommitted` says.
    async fn leave(&self, uncommitted: Uncommitted) -> Result<Answer, CliError> {
        self.leaving.store(true, Ordering::Release);
        let answer = self.try_leave(uncommitted).await;
        if !matches!(answer, Ok(Answer::Unmounted(_))) {
            self.leaving.store(false, Ordering::Release);
        }
        answer
    }

    async fn try_leave(&self, uncommitted: Uncommitted) -> Result<Answer, CliError> {
        let mut committed = None;
        // What is written between the check and the unmounting is found by a second look, when
        // nobody can write any more.
        for _ in 0..COMMITS_ON_UNMOUNT {
            if uncommitted != Uncommitted::Discard {
                self.flush().await?;
                if self.status().await?.dirty {
                    match &uncommitted {
                        Uncommitted::Commit(signed) => {
                            committed = Some(self.commit(signed.clone()).await?);
                            continue;
                        }
                        Uncommitted::Refuse | Uncommitted::Discard => {
                            let diff = self.diff().await?;
                            return Ok(Answer::Dirty(DiffAnswer::from(&diff)));
                        }
                    }
                }
            }
            if !*self.mounted.borrow() {
                return Ok(Answer::Unmounted(committed));
            }
            self.unmount_now(Busy::Refuse).await?;
            if uncommitted == Uncommitted::Discard {
                return Ok(Answer::Unmounted(committed));
            }
        }
        let what =
            format!("{} is written to faster than it can be committed", self.point.display());
        Err(CliError::new(Exit::Differs, what, "end the programs that write to it"))
    }

    async fn unmount_now(&self, busy: Busy) -> Result<(), CliError> {
        if !*self.mounted.borrow() {
            return Ok(());
        }
        let point = self.point.clone();
        let done = tokio::task::spawn_blocking(move || unmount(&point, busy)).await;
        match done {
            Ok(result) => result?,
            Err(error) => {
                let what = format!("unmounting {} failed: {error}", self.point.display());
                return Err(CliError::new(Exit::Usage, what, ""));
            }
        }
        if busy == Busy::Refuse {
            let mut mounted = self.mounted.subscribe();
            // The sender is ours: it does not close.
            drop(mounted.wait_for(|mounted| !mounted).await);
        }
        Ok(())
    }

    fn failed(&self, what: &str, errno: Errno) -> CliError {
        let what = format!("{what} of {} failed: {errno:?}", self.point.display());
        CliError::new(Exit::Store, what, "the daemon's log names the object that failed")
    }
}

impl Serve for Daemon {
    async fn serve(&self, command: Command) -> Result<Answer, CliError> {
        match command {
            Command::Status => {
                self.flush_for_figures().await;
                let status = self.status().await?;
                let mounted = *self.mounted.borrow();
                let (about, requests) = (self.about.clone(), self.store.counts());
                Ok(Answer::Status(StatusAnswer::new(about, mounted, &status, requests)))
            }
            Command::Diff => {
                self.flush_for_figures().await;
                Ok(Answer::Diff(DiffAnswer::from(&self.diff().await?)))
            }
            Command::Commit(signed) => Ok(Answer::Commit(self.commit(signed).await?)),
            Command::Unmount(uncommitted) => self.leave(uncommitted).await,
        }
    }

    fn answered(&self, answer: &Answer) {
        let held = matches!(answer, Answer::Commit(_)) && !*self.mounted.borrow();
        if held || matches!(answer, Answer::Unmounted(_)) {
            self.quit();
        }
    }
}

async fn forward_signals(mut signals: Signal, events: mpsc::UnboundedSender<Event>) {
    while signals.recv().await.is_some() {
        drop(events.send(Event::Signal));
    }
}

async fn forward_end(mounted: Mounted, events: mpsc::UnboundedSender<Event>) {
    let gone = || Err(io::Error::other("its watcher is gone"));
    drop(events.send(Event::Ended(mounted.ended.await.unwrap_or_else(|_| gone()))));
}

/// A random number that tells one try to move a ref from every other.
fn attempt() -> io::Result<u128> {
    use std::io::Read;
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u128::from_le_bytes(bytes))
}

fn refused(point: &Path, error: &io::Error) -> CliError {
    let remedy = if error.kind() == io::ErrorKind::NotFound {
        "FUSE is missing: install the package fuse3 and load the kernel module (modprobe fuse)"
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "--allow-other needs user_allow_other in /etc/fuse.conf; users other than root need the \
         package fuse3"
    } else {
        ""
    };
    let what = format!("can't mount at {}: {}", point.display(), error.to_string().trim());
    CliError::new(Exit::Usage, what, remedy)
}

fn odd(reply: &Reply) -> CliError {
    debug_assert!(false, "not a reply to this request: {reply:?}");
    CliError::new(Exit::Store, format!("a request got another one's reply: {reply:?}"), "")
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
        StoreError::Unsupported => "the store can't do what a commit needs",
    }
}
