//! How a mount ends: on a command, or on a signal.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::control::protocol::{Answer, DiffAnswer, DirtyAnswer, How, Uncommitted};
use super::super::unmount::{Busy, unmount, used_elsewhere};
use super::warned::{ANSWER, Ask, Owed, Warned};
use super::{Daemon, Event};
use crate::cli::{CliError, Exit, quoted};

/// Times that `umount --commit` commits what was written while it unmounted, before it gives up.
const COMMITS_ON_UNMOUNT: usize = 3;

/// How long the end of a file system that was unmounted is waited for. It is at once when nothing
/// else uses it.
const END_WAIT: Duration = Duration::from_secs(5);

/// Whether the file system ended when it was unmounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gone {
    /// It has.
    Ended,
    /// Something elsewhere still uses it.
    UsedElsewhere,
}

impl Daemon {
    /// Unmounts; what is uncommitted goes as `uncommitted` says.
    pub(super) async fn leave(
        &self,
        uncommitted: Uncommitted,
        busy: Busy,
    ) -> Result<Answer, CliError> {
        self.leaving.store(true, Ordering::Release);
        let answer = self.try_leave(uncommitted, busy).await;
        if !matches!(answer, Ok(Answer::Unmounted(_))) {
            self.leaving.store(false, Ordering::Release);
            if !*self.mounted.borrow() {
                // It ended after all, and nobody was to be surprised: look at it again.
                drop(self.events.send(Event::Ended(Ok(()))));
            }
        }
        answer
    }

    async fn try_leave(&self, uncommitted: Uncommitted, busy: Busy) -> Result<Answer, CliError> {
        let mut committed = None;
        // What is written between the check and the unmounting is found by a second look, when
        // nobody can write any more.
        for _ in 0..COMMITS_ON_UNMOUNT {
            if uncommitted != Uncommitted::Discard {
                self.flush().await?;
                if self.status().await?.dirty {
                    match &uncommitted {
                        Uncommitted::Commit(signed) => {
                            committed =
                                Some(self.commit(signed.clone(), How::default(), None).await?);
                            continue;
                        }
                        Uncommitted::Refuse | Uncommitted::Discard => {
                            let diff = DiffAnswer::from(&self.diff().await?);
                            let can_commit = self.about.can_commit;
                            return Ok(Answer::Dirty(DirtyAnswer { diff, can_commit }));
                        }
                    }
                }
            }
            let ended = !*self.mounted.borrow();
            let unmounted = self.unmount_now(if ended { Busy::Detach } else { busy }).await;
            let gone = unmounted.map_err(|mut error| {
                if let Some(snapshot) = committed.as_ref().and_then(|it| it.snapshot.as_ref()) {
                    error.what = format!("committed {snapshot}, but {}", error.what);
                }
                error
            })?;
            if ended || uncommitted == Uncommitted::Discard || busy == Busy::Detach {
                return Ok(Answer::Unmounted(committed));
            }
            if gone == Gone::UsedElsewhere {
                return Err(used_elsewhere(&self.point, &self.device()));
            }
        }
        let what =
            format!("{} is written to faster than it can be committed", self.point.display());
        Err(CliError::new(Exit::Differs, what, "end the programs that write to it"))
    }

    async fn unmount_now(&self, busy: Busy) -> Result<Gone, CliError> {
        self.take_out(busy).await?;
        if busy == Busy::Detach {
            return Ok(Gone::Ended);
        }
        let mut mounted = self.mounted.subscribe();
        // The sender is ours: it does not close.
        match tokio::time::timeout(END_WAIT, mounted.wait_for(|mounted| !mounted)).await {
            Ok(_) => Ok(Gone::Ended),
            Err(_) => Ok(Gone::UsedElsewhere),
        }
    }

    /// Takes the mount out of the tree, if it is there.
    pub(super) async fn take_out(&self, busy: Busy) -> Result<(), CliError> {
        let (point, device) = (self.point.clone(), self.device());
        match tokio::task::spawn_blocking(move || unmount(&point, &device, busy)).await {
            Ok(result) => result,
            Err(error) => {
                let what = format!("unmounting {} failed: {error}", self.point.display());
                Err(CliError::new(Exit::Usage, what, format!("umount {}", quoted(&self.point))))
            }
        }
    }

    /// Does what a signal asks for. Answers whether what is uncommitted is to be dropped.
    pub(super) fn heard(self: &Arc<Self>, ask: Ask) -> bool {
        if ask == Ask::Stop {
            self.stop();
            return false;
        }
        let owed = self.warned.lock().hear(ask, Instant::now());
        let look = |busy| {
            let daemon = Arc::clone(self);
            tokio::spawn(async move { daemon.leave_if_clean(ask, busy).await });
        };
        match owed {
            Owed::Look => look(Busy::Refuse),
            Owed::Detach => look(Busy::Detach),
            Owed::Wait => {}
            Owed::Warn => tracing::error!(
                "it is not known yet whether anything is uncommitted; one more signal within {} s \
                 drops what is",
                ANSWER.as_secs()
            ),
            Owed::Drop => {
                tracing::error!("a second signal: uncommitted edits are dropped");
                return true;
            }
        }
        false
    }

    /// On a signal: unmounts and ends when nothing is uncommitted and nobody uses the mount.
    async fn leave_if_clean(&self, ask: Ask, busy: Busy) {
        let (point, seconds) = (quoted(&self.point), ANSWER.as_secs());
        let now = || Instant::now();
        let warned = match self.leave(Uncommitted::Refuse, busy).await {
            Ok(Answer::Unmounted(_)) => {
                self.quit();
                return;
            }
            Ok(Answer::Dirty(dirty)) => {
                let publish = self.how_to_publish();
                let drops = match ask {
                    Ask::End => format!("a second signal within {seconds} s drops them"),
                    Ask::HangUp | Ask::Stop => {
                        format!("`vellum umount {point} --discard` drops them")
                    }
                };
                let changed = dirty.diff.changes.len();
                tracing::error!(
                    changed,
                    "not unmounted: there are uncommitted edits, and they are kept. {publish}; \
                     {drops}"
                );
                Warned::Edits(now())
            }
            Ok(_) => Warned::Nothing,
            // It is the mount point that is not as it must be: all is committed.
            Err(error) if error.exit == Exit::Usage => {
                tracing::error!(
                    "not unmounted: {error}. A second signal within {seconds} s takes it from \
                     those who use it, as long as nothing is uncommitted"
                );
                Warned::InUse(now())
            }
            Err(error) => {
                tracing::error!(
                    "not unmounted: {error}. A second signal within {seconds} s drops what is \
                     uncommitted"
                );
                Warned::Edits(now())
            }
        };
        if ask == Ask::End {
            *self.warned.lock() = warned;
        }
    }
}
