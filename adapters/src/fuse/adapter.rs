//! What the handlers share, and what is agreed with the kernel.

use std::sync::Arc;

use fuser::{FopenFlags, InitFlags, KernelConfig};

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
}

impl Adapter {
    pub(super) fn new(host: Host, open_mode: OpenMode) -> Self {
        Self { host, open_mode, fit: Fit::new(), fit_plus: Fit::new() }
    }

    /// Agrees with the kernel on capabilities and sizes.
    ///
    /// Not asked for, each for a reason: ASYNC_DIO and WRITEBACK_CACHE (coherence), both
    /// HANDLE_KILLPRIV (SETATTR's order to drop set-id bits does not reach us; without it the
    /// kernel sends the new mode), ATOMIC_O_TRUNC (likewise), POSIX_LOCKS and FLOCK_LOCKS (the
    /// kernel keeps locks by itself), AUTO_INVAL_DATA (the mount is the only writer),
    /// OVER_IO_URING (fuser has no rings).
    pub(super) fn negotiate(&mut self, config: &mut KernelConfig) {
        for flag in [
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
        ] {
            if config.add_capabilities(flag).is_err() {
                tracing::info!(?flag, "this kernel does not know a FUSE capability");
                if flag == InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP {
                    self.open_mode = OpenMode::Cached;
                }
            }
        }
        // Each answers the nearest value when it does not like the one given.
        let _ = config.set_max_write(MAX_WRITE_BYTES).or_else(|near| config.set_max_write(near));
        let _ = config.set_max_background(MAX_BACKGROUND);
        let _ = config
            .set_max_readahead(MAX_WRITE_BYTES)
            .or_else(|near| config.set_max_readahead(near));
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
