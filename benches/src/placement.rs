//! On which CPUs a run takes place.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::failure::{Doing, Failure};

/// Where the threads of a case may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Placement {
    /// Everything on one CPU: no wake-up crosses to another.
    Pinned,
    /// Wherever the scheduler likes.
    Free,
}

impl Placement {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pinned => "pinned",
            Self::Free => "free",
        }
    }
}

/// The CPUs that this process had when it began.
pub(crate) struct Cpus {
    all: CpuSet,
    pinned: usize,
}

impl Cpus {
    /// Takes the last CPU for pinned runs unless `wanted` names one: the first serves interrupts.
    pub(crate) fn find(wanted: Option<usize>) -> Result<Self, Failure> {
        let all = sched_getaffinity(None).doing(|| "ask for the CPUs of this process".into())?;
        let last = (0..CpuSet::MAX_CPU).rev().find(|&cpu| all.is_set(cpu)).unwrap_or(0);
        let pinned = wanted.unwrap_or(last);
        if pinned >= CpuSet::MAX_CPU || !all.is_set(pinned) {
            return Err(Failure::new(format!(
                "this process may not run on CPU {pinned}: choose another with --cpu \
                 (the last is {last})"
            )));
        }
        Ok(Self { all, pinned })
    }

    /// How many CPUs a case with this placement can use at once.
    pub(crate) fn usable(&self, placement: Placement) -> usize {
        match placement {
            Placement::Pinned => 1,
            Placement::Free => self.all.count() as usize,
        }
    }

    /// Moves the calling thread; threads and processes that it starts later inherit the place.
    pub(crate) fn enter(&self, placement: Placement) -> Result<(), Failure> {
        let set = match placement {
            Placement::Free => self.all,
            Placement::Pinned => {
                let mut one = CpuSet::new();
                one.set(self.pinned);
                one
            }
        };
        sched_setaffinity(None, &set).doing(|| format!("move to {} CPUs", placement.name()))
    }
}
