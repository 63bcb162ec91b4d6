//! The figures of the mount, gathered from the core, the host and the store.

use std::fs;

use super::super::control::protocol::seconds;
use super::super::control::stats::{Gauges, StatsAnswer};
use super::Daemon;
use crate::cli::CliError;
use crate::store::ObjectStore;

impl Daemon {
    /// All figures, as of now. What the kernel holds of mapped files is not in them.
    pub(super) async fn stats(&self) -> Result<StatsAnswer, CliError> {
        let status = self.status().await?;
        let store = self.repo.store();
        let counts = store.counts();
        let now = Gauges {
            retries: status.retries,
            in_flight: store.requests().in_flight(),
            window: store.window().map(|window| window as u64),
            cache: store.cache_counts(),
            memory_bytes: status.memory_bytes,
            memory_limit_bytes: self.host.memory_limit_bytes(),
            cached_bytes: status.memory_bytes.saturating_sub(status.dirty_bytes),
            dirty_bytes: status.dirty_bytes,
            changed_inodes: status.changed_inodes,
            dirty_files: status.dirty_files,
            oldest_dirty_seconds: status.oldest_ns.map(seconds),
            committing: status.committing,
            resident_bytes: resident_bytes(),
        };
        Ok(StatsAnswer {
            uptime_seconds: self.began.elapsed().as_secs_f64(),
            operations: StatsAnswer::operations(&self.host.operations().totals()),
            store: StatsAnswer::store(&store.requests().totals()),
            up_bytes: counts.put.bytes,
            down_bytes: counts.get.bytes,
            now,
        })
    }
}

/// Memory of this process, as proc(5) says: pages, the second of them resident.
fn resident_bytes() -> Option<u64> {
    let pages = fs::read_to_string("/proc/self/statm").ok()?;
    let resident: u64 = pages.split_whitespace().nth(1)?.parse().ok()?;
    Some(resident * rustix::param::page_size() as u64)
}
