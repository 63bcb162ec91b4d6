//! The daemon as a service: what its manager is told, and how it stops.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::control::protocol::{Answer, Uncommitted};
use super::super::control::stats::StatsAnswer;
use super::super::metrics::Scrape;
use super::super::unmount::Busy;
use super::Daemon;
use crate::cli::{CliError, count, size};

/// How often the status is told anew.
const STATUS: Duration = Duration::from_secs(10);

/// How often is looked whether a stop can go on.
const LOOK: Duration = Duration::from_secs(2);

/// How long whoever asks for figures waits for the core.
const FIGURES: Duration = Duration::from_secs(5);

impl Scrape for Daemon {
    async fn scrape(&self) -> Result<StatsAnswer, CliError> {
        let late = |_| self.failed("reading the figures", vellum_core::words::Errno::Io);
        tokio::time::timeout(FIGURES, self.stats()).await.map_err(late)?
    }
}

impl Daemon {
    /// Says that the mount answers, and from here on what is uncommitted.
    pub(super) fn is_ready(self: &Arc<Self>) {
        if !self.notify.is_heard() {
            return;
        }
        let about = &self.about;
        self.notify.ready(&format!("{} at {}", about.source, about.mount_point));
        let daemon = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(STATUS).await;
                if daemon.stops.load(Ordering::Acquire) {
                    return;
                }
                daemon.tell_status().await;
            }
        });
    }

    async fn tell_status(&self) {
        let Ok(status) = self.status().await else { return };
        let about = &self.about;
        let uncommitted = match (status.dirty, status.committing) {
            (false, _) => "nothing uncommitted".to_owned(),
            (true, committing) => format!(
                "{} changed, {} in memory only{}",
                count(status.changed_inodes, "inode"),
                size(status.dirty_bytes),
                if committing { "; committing" } else { "" }
            ),
        };
        // A stop that came meanwhile has the word.
        if !self.stops.load(Ordering::Acquire) {
            let at = format!("{} at {}", about.source, about.mount_point);
            self.notify.status(&format!("{at}: {uncommitted}"));
        }
    }

    /// The service manager wants it to end: it does as soon as nothing is uncommitted and nobody
    /// uses the mount, however long that takes. Nothing is uploaded, and nothing dropped.
    pub(super) fn stop(self: &Arc<Self>) {
        if self.stops.swap(true, Ordering::AcqRel) {
            return;
        }
        let daemon = Arc::clone(self);
        tokio::spawn(async move {
            let mut told = String::new();
            loop {
                let Some(why) = daemon.try_to_stop().await else { return daemon.quit() };
                if why != told {
                    tracing::error!("not stopped: {why}");
                    daemon.notify.status(&format!("not stopped: {why}"));
                    told = why;
                }
                tokio::time::sleep(LOOK).await;
            }
        });
    }

    /// Unmounts if nothing is uncommitted and nobody uses the mount; answers why not, if not.
    async fn try_to_stop(&self) -> Option<String> {
        let uncommitted = |changed: String| {
            let (publish, drops) = (self.how_to_publish(), "`vellum umount --discard` drops them");
            Some(format!("{changed} changed and uncommitted. {publish}; {drops}"))
        };
        // A list of what is uncommitted would be long work for nothing, every time.
        match self.status().await {
            Ok(status) if status.dirty => {
                return uncommitted(count(status.changed_inodes, "inode"));
            }
            Ok(_) => {}
            Err(error) => return Some(error.to_string()),
        }
        match self.leave(Uncommitted::Refuse, Busy::Refuse).await {
            Ok(Answer::Unmounted(_)) => None,
            Ok(Answer::Dirty(dirty)) => uncommitted(count(dirty.diff.changes.len() as u64, "path")),
            Ok(_) => Some("it is not known what is uncommitted".to_owned()),
            Err(error) => Some(error.to_string()),
        }
    }
}
