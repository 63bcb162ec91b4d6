//! Checks that every object that refs reach is there and is what its name says.
//!
//! First the trees: snapshots, their parents, and every node below them, each node once however
//! many snapshots share it, and each object of nodes whole, checked by its own name. That gathers
//! the data objects. Then these, each read once and whole, and checked by its own name: so the many
//! contents of a pack cost one read, and bytes of it that nothing names any more are checked too.
//! That a content lies in its pack where the trees say is checked as far as the pack is long
//! enough; its own hash is checked by whoever reads it.

mod back;
mod check;
mod data;
mod found;
mod packs;
mod trees;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use vellum_core::format::{Hash, ObjectName};
use vellum_core::shapes::Key;

pub(crate) use back::read_back;
pub use found::{Bad, NeededBy, Report, What};

use super::error::RepoError;
use super::{Repo, asks};
use check::Wrong;
use trees::{PATHS_MAX, Trees};

/// Objects in a row that can't be read, after which the rest is not tried: the store is gone.
const UNREADABLE_MAX: u64 = 32;

/// A part of the data objects, chosen by chance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The percentage of objects that is read: 0 to 100.
    pub percent: Percent,
    /// The same seed chooses the same objects.
    pub seed: u64,
}

/// A percentage from 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percent(f64);

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').unwrap_or(text);
        let percent = number.parse().map_err(|_| "give a percentage, such as 1%".to_owned())?;
        let range = 0.0..=100.0;
        if range.contains(&percent) { Ok(Self(percent)) } else { Err("0% to 100%".to_owned()) }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl Sample {
    /// A sample with a seed by chance.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn by_chance(percent: Percent) -> Result<Self, RepoError> {
        // The other half of an attempt's number is as random.
        let seed = u64::try_from(super::refs::attempt()? & u128::from(u32::MAX));
        Ok(Self { percent, seed: seed.unwrap_or(0) })
    }

    fn takes(&self, name: &ObjectName) -> bool {
        let parts = [&self.seed.to_le_bytes()[..], &name.hash.0, &name.copy.to_le_bytes()];
        let drawn = Hash::of(&parts.concat());
        let drawn = u32::from_le_bytes([drawn.0[0], drawn.0[1], drawn.0[2], drawn.0[3]]);
        f64::from(drawn) / (f64::from(u32::MAX) + 1.0) * 100.0 < self.percent.0
    }
}

/// A verification, and how far it has come.
pub struct Verify {
    repo: Arc<Repo>,
    sample: Option<Sample>,
    /// Snapshots that were read.
    pub snapshots: AtomicU64,
    /// Nodes of trees that were read.
    pub nodes: AtomicU64,
    /// Data objects that are needed, as far as the trees were read.
    pub data: AtomicU64,
    /// Data objects that were read.
    pub data_read: AtomicU64,
    /// Data objects that were only looked for.
    pub data_seen: AtomicU64,
    /// Bytes that were read.
    pub bytes: AtomicU64,
    unreadable_in_a_row: AtomicU64,
    complete: AtomicBool,
    bad: Mutex<Vec<Bad>>,
}

impl Verify {
    /// A verification of this repository; of only a part of its data, if there is a sample.
    #[must_use]
    pub fn new(repo: Arc<Repo>, sample: Option<Sample>) -> Self {
        Self {
            repo,
            sample,
            snapshots: AtomicU64::new(0),
            nodes: AtomicU64::new(0),
            data: AtomicU64::new(0),
            data_read: AtomicU64::new(0),
            data_seen: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            unreadable_in_a_row: AtomicU64::new(0),
            complete: AtomicBool::new(false),
            bad: Mutex::new(Vec::new()),
        }
    }

    /// Does it all, for all refs or for what one name stands for. What is bad is in the report.
    ///
    /// # Errors
    /// The name stands for nothing, or the store can't be read any more.
    pub async fn run(self: &Arc<Self>, only: Option<&str>) -> Result<(), RepoError> {
        let mut trees = Trees::new(Arc::clone(self));
        match only {
            Some(name) => {
                let snapshot = self.repo.resolve(name).await?.snapshot;
                trees.begin(name, snapshot);
            }
            None => self.begin_at_refs(&mut trees).await?,
        }
        let needed = trees.run().await?;
        data::run(self, needed).await?;
        self.complete.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// What is known so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let read = |at: &AtomicU64| at.load(Ordering::Relaxed);
        let mut bad = self.bad.lock().clone();
        bad.sort_by(|one, other| one.key.cmp(&other.key));
        Report {
            snapshots: read(&self.snapshots),
            nodes: read(&self.nodes),
            data_read: read(&self.data_read),
            data_seen: read(&self.data_seen),
            bytes: read(&self.bytes),
            sample: self.sample,
            complete: self.complete.load(Ordering::Relaxed),
            bad,
        }
    }

    /// Begins at every ref of every kind: also those that keep what a mount is based on.
    async fn begin_at_refs(&self, trees: &mut Trees) -> Result<(), RepoError> {
        let prefix = "refs/";
        let keys = asks::list_all(self.repo.store(), prefix).await;
        let keys = keys.map_err(|error| RepoError::store("list", prefix, error))?;
        for key in keys {
            let name = key.strip_prefix(prefix).unwrap_or(&key).replace("..", "/");
            match self.repo.read_ref(&key).await {
                Ok(Some((body, _))) => trees.begin(&name, body.snapshot),
                // It was removed meanwhile.
                Ok(None) => {}
                Err(RepoError::Format { error, .. }) => {
                    self.found_bad(key, Wrong::corrupted(error.to_string()), Vec::new())?;
                }
                Err(RepoError::Store { error, .. }) => {
                    self.found_bad(key, Wrong::Unreadable(error), Vec::new())?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn is_bad(&self, key: &str) -> bool {
        self.bad.lock().iter().any(|bad| bad.key == key)
    }

    fn found_good(&self, bytes: u64) {
        self.unreadable_in_a_row.store(0, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Notes what is wrong with an object. Of one that was noted before: what is wrong, if that is
    /// known better now, and who needs it, the one who was told last first.
    ///
    /// # Errors
    /// It is one of too many that can't be read.
    fn found_bad(&self, key: Key, wrong: Wrong, by: Vec<NeededBy>) -> Result<(), RepoError> {
        let (what, detail) = wrong.words();
        let mut bad = self.bad.lock();
        if let Some(known) = bad.iter_mut().find(|bad| bad.key == key) {
            if (&known.what, &what) == (&What::Corrupted, &What::Truncated) {
                (known.what, known.detail) = (what, detail);
            }
            known.needed_by.splice(0..0, by);
            known.needed_by.truncate(PATHS_MAX);
            return Ok(());
        }
        bad.push(Bad { key: key.clone(), what, detail, needed_by: by });
        drop(bad);
        let Wrong::Unreadable(error) = wrong else {
            self.unreadable_in_a_row.store(0, Ordering::Relaxed);
            return Ok(());
        };
        let in_a_row = self.unreadable_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        if in_a_row < UNREADABLE_MAX { Ok(()) } else { Err(RepoError::store("read", &key, error)) }
    }
}

#[cfg(test)]
mod tests;
