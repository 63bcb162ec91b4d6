//! What the kernel asked for, and how long the answers took.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use vellum_core::shapes::Op;

use super::histogram::{Buckets, Histogram};

/// A kind of request of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Lookup,
    GetAttr,
    SetAttr,
    ReadLink,
    MakeNode,
    MakeDir,
    Symlink,
    Unlink,
    RemoveDir,
    Rename,
    Link,
    Open,
    Create,
    Read,
    Write,
    Flush,
    Fsync,
    Release,
    OpenDir,
    ReadDir,
    FsyncDir,
    StatFs,
    SetXattr,
    GetXattr,
    ListXattr,
    RemoveXattr,
    Fallocate,
    Seek,
}

impl Operation {
    /// All of them, with their names as FUSE has them.
    pub(crate) const ALL: [(Self, &'static str); 28] = [
        (Self::Lookup, "lookup"),
        (Self::GetAttr, "getattr"),
        (Self::SetAttr, "setattr"),
        (Self::ReadLink, "readlink"),
        (Self::MakeNode, "mknod"),
        (Self::MakeDir, "mkdir"),
        (Self::Symlink, "symlink"),
        (Self::Unlink, "unlink"),
        (Self::RemoveDir, "rmdir"),
        (Self::Rename, "rename"),
        (Self::Link, "link"),
        (Self::Open, "open"),
        (Self::Create, "create"),
        (Self::Read, "read"),
        (Self::Write, "write"),
        (Self::Flush, "flush"),
        (Self::Fsync, "fsync"),
        (Self::Release, "release"),
        (Self::OpenDir, "opendir"),
        (Self::ReadDir, "readdir"),
        (Self::FsyncDir, "fsyncdir"),
        (Self::StatFs, "statfs"),
        (Self::SetXattr, "setxattr"),
        (Self::GetXattr, "getxattr"),
        (Self::ListXattr, "listxattr"),
        (Self::RemoveXattr, "removexattr"),
        (Self::Fallocate, "fallocate"),
        (Self::Seek, "lseek"),
    ];

    /// The kind of `op`; none of what no program waits for, and of what commands ask.
    pub(crate) fn of(op: &Op) -> Option<Self> {
        Some(match op {
            Op::Lookup { .. } => Self::Lookup,
            Op::GetAttr { .. } => Self::GetAttr,
            Op::SetAttr { .. } => Self::SetAttr,
            Op::ReadLink { .. } => Self::ReadLink,
            Op::MakeNode { .. } => Self::MakeNode,
            Op::MakeDir { .. } => Self::MakeDir,
            Op::Symlink { .. } => Self::Symlink,
            Op::Unlink { .. } => Self::Unlink,
            Op::RemoveDir { .. } => Self::RemoveDir,
            Op::Rename { .. } => Self::Rename,
            Op::Link { .. } => Self::Link,
            Op::Open { .. } => Self::Open,
            Op::Create { .. } => Self::Create,
            Op::Read { .. } => Self::Read,
            Op::Write { .. } => Self::Write,
            Op::Flush { .. } => Self::Flush,
            Op::Fsync { .. } => Self::Fsync,
            Op::Release { .. } => Self::Release,
            Op::OpenDir { .. } => Self::OpenDir,
            Op::ReadDir { .. } => Self::ReadDir,
            Op::FsyncDir { .. } => Self::FsyncDir,
            Op::StatFs => Self::StatFs,
            Op::SetXattr { .. } => Self::SetXattr,
            Op::GetXattr { .. } => Self::GetXattr,
            Op::ListXattr { .. } => Self::ListXattr,
            Op::RemoveXattr { .. } => Self::RemoveXattr,
            Op::Fallocate { .. } => Self::Fallocate,
            Op::Seek { .. } => Self::Seek,
            Op::Forget { .. }
            | Op::Disconnect
            | Op::Status
            | Op::Diff
            | Op::Discard
            | Op::Restore { .. }
            | Op::Revive { .. }
            | Op::Withdraw { .. }
            | Op::Settle { .. }
            | Op::Commit { .. } => return None,
        })
    }
}

/// Threads that record without touching each other's cache lines: the one that reads requests,
/// and a few that complete what had to wait.
const STRIPES: usize = 4;

/// A thread's own histograms, one for each operation.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe([Histogram; Operation::ALL.len()]);

/// How long requests took, by operation.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    stripes: [Stripe; STRIPES],
}

impl Operations {
    /// Counts one that took so long.
    pub(crate) fn record(&self, operation: Operation, ns: u64) {
        self.stripes[stripe()].0[operation as usize].record(ns);
    }

    /// What was counted so far, in the order of [`Operation::ALL`].
    pub(crate) fn totals(&self) -> Vec<Buckets> {
        let total = |operation: usize| {
            let mut total = Buckets::default();
            self.stripes.iter().for_each(|stripe| stripe.0[operation].add_to(&mut total));
            total
        };
        (0..Operation::ALL.len()).map(total).collect()
    }
}

/// The stripe of this thread: each new thread has the next.
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    let mine = MINE.get();
    if mine != usize::MAX {
        return mine;
    }
    let mine = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
    MINE.set(mine);
    mine
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_threads_count_is_told_as_one() {
        let operations = Operations::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * STRIPES {
                scope.spawn(|| (0..1000).for_each(|_| operations.record(Operation::Write, 2000)));
            }
        });
        let totals = operations.totals();
        for (index, (operation, name)) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, index, "{name} is in its place");
            let is_write = operation == Operation::Write;
            let count = if is_write { 2 * STRIPES as u64 * 1000 } else { 0 };
            assert_eq!(totals[index].count(), count, "{name}");
        }
    }
}
