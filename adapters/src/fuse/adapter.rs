//! What the handlers share, and what is agreed with the kernel.

use std::sync::Arc;

use fuser::{FopenFlags, InitFlags, KernelConfig, Request};

use super::convert;
use super::replies::Fit;
use super::session::OpenMode;
use crate::host::Host;

/// Largest WRITE that the kernel may send, in bytes; larger ones gain nothing (measured).
const MAX_WRITE_BYTES: u32 = 1 << 20;

/// Requests that the kernel keeps in flight without a waiting program: read-ahead, mostly.
const MAX_BACKGROUND: u16 = 128;

/// Serves the kernel from a host.
pub(super) struct Adapter {
    pub(super) host: Host,
    open_mode: OpenMode,
    pub(super) fit: Arc<Fit>,
    pub(super) fit_plus: Arc<Fit>,
    /// Whether set-id bits that a change takes away are dropped here, and not by the kernel.
    drops_set_id: bool,
}

impl Adapter {
    pub(super) fn new(host: Host, open_mode: OpenMode) -> Self {
        Self { host, open_mode, fit: Fit::new(), fit_plus: Fit::new(), drops_set_id: false }
    }

    /// Agrees with the kernel on capabilities and sizes.
    ///
    /// With HANDLE_KILLPRIV_V2 the kernel leaves set-id bits and `security.capability` to the
    /// daemon, so it need not ask for the latter before each write into the page cache. A kernel
    /// that does not know it sends modes without the bits, and asks.
    ///
    /// Not asked for, each for a reason: ASYNC_DIO and WRITEBACK_CACHE (coherence),
    /// HANDLE_KILLPRIV (drops set-id bits for root's changes too), ATOMIC_O_TRUNC (OPEN's order
    /// to drop set-id bits does not reach us), POSIX_LOCKS and FLOCK_LOCKS (the kernel keeps locks
    /// by itself), AUTO_INVAL_DATA (the mount is the only writer), OVER_IO_URING (fuser has no
    /// rings).
    pub(super) fn negotiate(&mut self, config: &mut KernelConfig) {
        for flag in [
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
            InitFlags::FUSE_HANDLE_KILLPRIV_V2,
        ] {
            let known = config.add_capabilities(flag).is_ok();
            if !known {
                tracing::info!(?flag, "this kernel does not know a FUSE capability");
            }
            if flag == InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP && !known {
                self.open_mode = OpenMode::Cached;
            }
            if flag == InitFlags::FUSE_HANDLE_KILLPRIV_V2 {
                self.drops_set_id = known;
            }
        }
        // Each answers the nearest value when it does not like the one given.
        let _ = config.set_max_write(MAX_WRITE_BYTES).or_else(|near| config.set_max_write(near));
        let _ = config.set_max_background(MAX_BACKGROUND);
        let _ = config
            .set_max_readahead(MAX_WRITE_BYTES)
            .or_else(|near| config.set_max_readahead(near));
    }

    /// Whether a change of size, or of what is allocated, takes the set-id bits away.
    ///
    /// The kernel keeps them for a caller with CAP_FSETID. What it says of that in SETATTR
    /// (FATTR_KILL_SUIDGID) fuser does not hand over, and FALLOCATE has no place for it. So every
    /// user but root is taken to lack it.
    pub(super) fn drops_set_id(&self, request: &Request) -> bool {
        self.drops_set_id && request.uid() != 0
    }

    /// How the kernel is to serve a handle, and whether programs can map it shared and writable.
    ///
    /// A handle that can't be mapped writable has nothing to report when it is closed: its
    /// FLUSH is spared.
    pub(super) fn serve(&self, flags: i32) -> (FopenFlags, bool) {
        let open = convert::open_flags(flags);
        let mappable = open.read && open.write;
        // On direct handles too: else opening for writing waits for every read of the file that
        // the kernel has under way. Direct writes drop the pages they change by themselves.
        let mut mode = FopenFlags::FOPEN_KEEP_CACHE;
        if open.write && self.open_mode == OpenMode::Direct {
            mode |= FopenFlags::FOPEN_DIRECT_IO;
        }
        if !mappable {
            mode |= FopenFlags::FOPEN_NOFLUSH;
        }
        (mode, mappable)
    }
}
