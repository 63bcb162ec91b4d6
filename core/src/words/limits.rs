//! The limits that everything runs under.

/// Settings fixed for the life of a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a block, the unit of memory: a power of two. 65,536 in the product, 8 in tests.
    pub block_bytes: u32,
    /// Bytes of file data that memory may hold, clean, dirty and frozen together.
    pub memory_bytes: u64,
    /// Of `memory_bytes`, what writes may not use: commit and truncate draw on it.
    pub reserve_bytes: u64,
    /// Handles of regular files that may be open at once; one more is ENFILE.
    pub handles: usize,
    /// Largest file size in bytes; a write past it is EFBIG.
    pub file_bytes: u64,
    /// Inodes that may be changed and not committed; one more is ENOSPC.
    pub changed_inodes: u64,
    /// How long a parked read waits for the store before it is answered EIO.
    pub read_deadline_ns: u64,
    /// How long one store request is retried before its operation fails.
    pub retry_ns: u64,
    /// Back-off before the first retry; doubles up to `backoff_max_ns`.
    pub backoff_min_ns: u64,
    /// Longest back-off between two tries.
    pub backoff_max_ns: u64,
    /// Store requests that one flow keeps in flight.
    pub in_flight: usize,
    /// Most bytes that are loaded ahead of the reads of one file; 0 for none.
    pub ahead_bytes: u64,
    /// Decoded nodes of trees kept for the next question, beside those that a question at hand
    /// uses: at about 64 KiB each, 32 MiB.
    pub cached_nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            block_bytes: 64 << 10,
            memory_bytes: 1 << 30,
            reserve_bytes: 64 << 20,
            handles: 65_536,
            file_bytes: i64::MAX as u64,
            changed_inodes: 10_000_000,
            read_deadline_ns: 30_000_000_000,
            retry_ns: 120_000_000_000,
            backoff_min_ns: 50_000_000,
            backoff_max_ns: 5_000_000_000,
            in_flight: 16,
            ahead_bytes: 64 << 20,
            cached_nodes: 512,
        }
    }
}
