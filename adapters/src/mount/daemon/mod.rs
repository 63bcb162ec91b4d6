//! The daemon of one mount: serves the kernel and the control socket until it is told to end.
//!
//! Uncommitted edits are in its memory, so it ends by itself only when there are none. If the
//! tree is unmounted behind its back it stays and holds them, for `commit` or `umount --discard`.

mod commit;
mod figures;
mod leave;
mod refused;
mod restore;
mod service;
mod warned;

use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::{Either, select};
use parking_lot::Mutex;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use vellum_core::shapes::{Diff, Op, Reply, Status};
use vellum_core::words::Errno;

use super::control::place::Place;
use super::control::protocol::{
    Answer, Command, DiffAnswer, MountedAnswer, RepositoryAnswer, StatusAnswer, Uncommitted,
};
use super::control::server::{self, Say, Serve};
use super::metrics;
use super::notify::Notify;
use super::table::{self, Table};
use super::unmount::Busy;
use crate::cli::{CliError, Exit, quoted};
use crate::fuse::{self, Mounted, Options};
use crate::host::Host;
use crate::repo::Repo;
use refused::refused;
use warned::{Ask, Warned};

/// How long `status` and `diff` wait for what the kernel holds of mapped files.
const FIGURES_WAIT: Duration = Duration::from_secs(2);

/// How often a mount that ended by an error is put back.
const REMOUNTS: u32 = 16;

/// How long the answers to other commands may take when the daemon ends.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// What the daemon is told.
enum Event {
    /// A signal asks it to end.
    Signal(Ask),
    /// The file system is no longer mounted.
    Ended(io::Result<()>),
    /// A command unmounted and was answered.
    Quit,
}

/// Who is told of the mount beside the kernel and the commands.
pub(super) struct Sides {
    /// Serves figures.
    pub(super) metrics: Option<TcpListener>,
    /// The service manager.
    pub(super) notify: Notify,
}

/// The daemon of one mount.
pub(super) struct Daemon {
    host: Host,
    repo: Arc<Repo>,
    point: PathBuf,
    options: Options,
    about: MountedAnswer,
    source: RepositoryAnswer,
    events: mpsc::UnboundedSender<Event>,
    mounted: watch::Sender<bool>,
    /// The file system in the mount table: what else is at the mount point is not ours.
    device: Mutex<String>,
    /// A command unmounts: the end of the mount is no surprise.
    leaving: AtomicBool,
    warned: Mutex<Warned>,
    /// The daemon ends: what was not answered yet is told so.
    ending: watch::Sender<bool>,
    /// Commands that wait for their answer.
    unanswered: watch::Sender<usize>,
    began: Instant,
    notify: Notify,
    /// The service manager wants it to end.
    stops: AtomicBool,
}

impl Daemon {
    /// Mounts and serves until told to end. `ready` is called when commands are taken.
    pub(super) async fn run(
        (host, repo): (Host, Arc<Repo>),
        place: &Place,
        point: PathBuf,
        options: Options,
        (about, source, sides): (MountedAnswer, RepositoryAnswer, Sides),
        ready: impl FnOnce(),
    ) -> Result<Exit, CliError> {
        let (events, mut inbox) = mpsc::unbounded_channel();
        // All that can fail comes before the mount: nothing of it is left behind.
        let (listener, _socket) = server::listen(&place.socket)?;
        forward_signals(&events, sides.notify.is_heard())?;
        let mounted =
            fuse::mount(&host, &point, &options).map_err(|error| refused(&point, &error))?;
        tokio::spawn(forward_end(mounted, events.clone()));
        let daemon = Arc::new(Self {
            host,
            repo,
            device: Mutex::new(device_at(&point)),
            point,
            options,
            about,
            source,
            events,
            mounted: watch::Sender::new(true),
            leaving: AtomicBool::new(false),
            warned: Mutex::default(),
            ending: watch::Sender::new(false),
            unanswered: watch::Sender::new(0),
            began: Instant::now(),
            notify: sides.notify,
            stops: AtomicBool::new(false),
        });
        tokio::spawn(server::accept(listener, Arc::clone(&daemon)));
        if let Some(listener) = sides.metrics {
            tokio::spawn(metrics::serve(listener, Arc::clone(&daemon)));
        }
        ready();
        daemon.is_ready();
        let exit = daemon.follow(&mut inbox).await;
        daemon.notify.stopping();
        // A connection that was cut leaves a dead mount behind.
        drop(daemon.take_out(Busy::Detach).await);
        daemon.ending.send_replace(true);
        let mut unanswered = daemon.unanswered.subscribe();
        let answered = unanswered.wait_for(|count| *count == 0);
        // Those who do not hear it see that the daemon is gone.
        drop(tokio::time::timeout(LAST_ANSWERS, answered).await);
        exit
    }

    async fn follow(
        self: &Arc<Self>,
        inbox: &mut mpsc::UnboundedReceiver<Event>,
    ) -> Result<Exit, CliError> {
        let mut remounts_left = REMOUNTS;
        while let Some(event) = inbox.recv().await {
            match event {
                Event::Quit => return Ok(Exit::Ok),
                Event::Ended(result) => {
                    if let Err(error) = result {
                        tracing::error!(%error, "the mount ended by an error");
                        if remounts_left > 0 && self.mount_again().await {
                            remounts_left -= 1;
                            continue;
                        }
                    }
                    self.mounted.send_replace(false);
                    if !self.leaving.load(Ordering::Acquire) && !self.is_dirty_after_end().await? {
                        return Ok(Exit::Ok);
                    }
                }
                Event::Signal(ask) => {
                    if self.heard(ask) {
                        self.leaving.store(true, Ordering::Release);
                        self.take_out(Busy::Detach).await?;
                        return Ok(Exit::Interrupted);
                    }
                }
            }
        }
        Ok(Exit::Ok)
    }

    /// Puts a mount whose event loop failed back in its place; programs lose what they had open.
    /// Whether it is there again.
    async fn mount_again(&self) -> bool {
        // The dead one would stand there and keep programs out.
        if let Err(error) = self.take_out(Busy::Detach).await {
            tracing::error!("can't mount again: {error}");
            return false;
        }
        match fuse::mount(&self.host, &self.point, &self.options) {
            Ok(mounted) => {
                tracing::error!("mounted again; what programs had open is lost to them");
                *self.device.lock() = device_at(&self.point);
                tokio::spawn(forward_end(mounted, self.events.clone()));
                true
            }
            Err(error) => {
                tracing::error!(%error, "can't mount again");
                false
            }
        }
    }

    /// Whether edits are held although nothing is mounted any more. Says so, loudly.
    async fn is_dirty_after_end(&self) -> Result<bool, CliError> {
        let status = self.status().await?;
        if status.dirty {
            let (shown, point) = (self.point.display(), quoted(&self.point));
            let publish = self.how_to_publish();
            tracing::error!(
                changed = status.changed_inodes,
                "{shown} was unmounted with uncommitted edits. They are held in this process: \
                 {publish}; `vellum umount {point} --discard` drops them"
            );
        }
        Ok(status.dirty)
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
            let remedy = format!("nothing was lost or published; {} says more", self.log());
            CliError::new(exit, what, remedy)
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

    fn failed(&self, what: &str, errno: Errno) -> CliError {
        let what = format!("{what} of {} failed: {errno:?}", self.point.display());
        CliError::new(Exit::Store, what, format!("{} names the object that failed", self.log()))
    }

    /// Where the daemon says what it has to say.
    fn log(&self) -> String {
        match &self.about.log {
            Some(path) => format!("the daemon's log {path}"),
            None => "the standard error of `vellum mount --foreground`".to_owned(),
        }
    }

    fn how_to_publish(&self) -> String {
        if self.about.can_commit {
            format!("`vellum commit {} -m MESSAGE` publishes them", quoted(&self.point))
        } else {
            "no branch is mounted, so they can't be committed".to_owned()
        }
    }

    fn device(&self) -> String {
        self.device.lock().clone()
    }

    async fn carry_out(&self, command: Command, say: &Say) -> Result<Answer, CliError> {
        match command {
            Command::Status => {
                self.flush_for_figures().await;
                let status = self.status().await?;
                let there = Table::read().is_ok_and(|it| it.has(&self.point, &self.device()));
                let mounted = there && *self.mounted.borrow();
                let (about, store) = (self.about.clone(), self.repo.store());
                let answer = StatusAnswer::new(about, mounted, &status, store);
                Ok(Answer::Status(Box::new(answer)))
            }
            Command::Diff => {
                self.flush_for_figures().await;
                Ok(Answer::Diff(DiffAnswer::from(&self.diff().await?)))
            }
            Command::Stats => Ok(Answer::Stats(self.stats().await?)),
            Command::Commit(signed, how) => {
                Ok(Answer::Commit(self.commit(signed, how, Some(say)).await?))
            }
            Command::Unmount(uncommitted) => self.leave(uncommitted, Busy::Refuse).await,
            Command::Discard => Ok(Answer::Discarded(self.discard().await?)),
            Command::Restore(asked) => Ok(Answer::Restored(self.restore(asked).await?)),
            Command::Repository => {
                let base = self.status().await?.base.map(|hash| hash.to_string());
                Ok(Answer::Repository(Box::new(RepositoryAnswer { base, ..self.source.clone() })))
            }
        }
    }

    /// The error for a command that the end of the daemon left without an answer.
    fn ended_before(&self, commits: bool) -> CliError {
        let point = self.point.display();
        if !commits {
            let what = format!("the mount at {point} ended before its daemon could answer");
            return CliError::new(Exit::NotMounted, what, "mount it again");
        }
        CliError::new(
            Exit::NotMounted,
            format!(
                "the commit of {point} was broken off: its edits were dropped meanwhile, by \
                 umount --discard or a second signal"
            ),
            format!(
                "vellum log {} shows whether it was published before that",
                quoted(self.repo.store().address())
            ),
        )
    }
}

impl Serve for Daemon {
    async fn serve(&self, command: Command, say: Say) -> Result<Answer, CliError> {
        self.unanswered.send_modify(|count| *count += 1);
        let commits =
            matches!(command, Command::Commit(..) | Command::Unmount(Uncommitted::Commit(_)));
        let mut ending = self.ending.subscribe();
        let ended = pin!(ending.wait_for(|ending| *ending));
        match select(pin!(self.carry_out(command, &say)), ended).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => Err(self.ended_before(commits)),
        }
    }

    fn answered(&self, answer: Option<&Answer>) {
        self.unanswered.send_modify(|count| *count -= 1);
        let held = matches!(answer, Some(Answer::Commit(_))) && !*self.mounted.borrow();
        if held || matches!(answer, Some(Answer::Unmounted(_))) {
            self.quit();
        }
    }
}

/// Takes signals for as long as the process lives.
fn forward_signals(
    events: &mpsc::UnboundedSender<Event>,
    is_service: bool,
) -> Result<(), CliError> {
    let kinds = [
        (SignalKind::interrupt(), Ask::End),
        (SignalKind::terminate(), if is_service { Ask::Stop } else { Ask::End }),
        (SignalKind::hangup(), Ask::HangUp),
    ];
    for (kind, ask) in kinds {
        let signals = signal(kind).map_err(|error| {
            let what = format!("can't take signals: {error}");
            CliError::new(Exit::Usage, what, "free some memory, then run it again")
        })?;
        tokio::spawn(forward(signals, ask, events.clone()));
    }
    Ok(())
}

async fn forward(mut signals: Signal, ask: Ask, events: mpsc::UnboundedSender<Event>) {
    while signals.recv().await.is_some() {
        drop(events.send(Event::Signal(ask)));
    }
}

/// The file system that was just mounted at `point`.
fn device_at(point: &Path) -> String {
    table::top(point).map(|top| top.device).unwrap_or_default()
}

async fn forward_end(mounted: Mounted, events: mpsc::UnboundedSender<Event>) {
    let gone = || Err(io::Error::other("its watcher is gone"));
    drop(events.send(Event::Ended(mounted.ended.await.unwrap_or_else(|_| gone()))));
}

fn odd(reply: &Reply) -> CliError {
    debug_assert!(false, "not a reply to this request: {reply:?}");
    CliError::new(Exit::Store, format!("a request got another one's reply: {reply:?}"), "")
}
