//! Mounting: options, the event loop, and the way to the kernel's caches.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use fuser::{Config, INodeNo, MountOption, Notifier, Session, SessionACL};
use rustix::process::geteuid;
use tokio::sync::oneshot;
use vellum_core::shapes::Op;
use vellum_core::words::Ino;

use super::adapter::Adapter;
use crate::host::{Host, KernelCache};

/// Read-ahead of the page cache in KiB: one request of the largest size that is read ahead.
const READ_AHEAD_KIB: &str = "1024";

/// How files opened for writing are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OpenMode {
    /// Each read and write of such a handle is a request; the page cache is kept coherent.
    #[default]
    Direct,
    /// Through the page cache, written through.
    Cached,
}

/// How to mount.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What the mount table shows as the source.
    pub source: String,
    /// Refuse every change.
    pub read_only: bool,
    /// Let users other than the one who mounts in; their rights are checked by the kernel.
    pub allow_other: bool,
    /// How files opened for writing are served.
    pub open_mode: OpenMode,
}

/// A mount that answers.
pub struct Mounted {
    /// Told once, when the file system is no longer mounted.
    pub ended: oneshot::Receiver<io::Result<()>>,
}

/// Mounts `host` at `point`.
///
/// # Errors
/// The kernel, or `fusermount3`, refused.
pub fn mount(host: &Host, point: &Path, options: &Options) -> io::Result<Mounted> {
    let adapter = Adapter::new(host.clone(), options.open_mode);
    let session = Session::new(adapter, point, &config(options))?.spawn()?;
    host.set_kernel_cache(Some(Arc::new(Cache(session.notifier()))));
    raise_read_ahead(point);
    let (sender, ended) = oneshot::channel();
    let host = host.clone();
    thread::Builder::new().name("unmounted".into()).spawn(move || {
        let result = session.join();
        host.set_kernel_cache(None);
        host.tell(Op::Disconnect);
        // The daemon may be past waiting for it.
        drop(sender.send(result));
    })?;
    Ok(Mounted { ended })
}

/// Lets the kernel read further ahead than its default of 128 KiB. Only root may; without it
/// sequential reading is slower, and nothing else.
fn raise_read_ahead(point: &Path) {
    let Ok(root) = std::fs::metadata(point) else { return };
    let (major, minor) = (rustix::fs::major(root.dev()), rustix::fs::minor(root.dev()));
    let setting = format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb");
    if let Err(error) = std::fs::write(&setting, READ_AHEAD_KIB) {
        tracing::debug!(%error, setting, "read-ahead stays at the kernel's default");
    }
}

fn config(options: &Options) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(source_option(&options.source, geteuid().is_root())),
        // Not `MountOption::Subtype`, which is dropped when root mounts without a helper.
        MountOption::CUSTOM("subtype=vellum".into()),
        MountOption::DefaultPermissions,
        MountOption::NoSuid,
        MountOption::NoDev,
        if options.read_only { MountOption::RO } else { MountOption::RW },
    ];
    config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    // Measured: a second event-loop thread makes a single stream three times slower.
    config.n_threads = Some(1);
    config
}

/// The source as a mount option. Root gives it to the kernel, which takes it as it is; other
/// users' goes through fusermount3, which splits options at commas that no backslash precedes.
fn source_option(source: &str, is_root: bool) -> String {
    if is_root { source.to_owned() } else { source.replace('\\', r"\\").replace(',', r"\,") }
}

/// The kernel's caches of one mount.
struct Cache(Notifier);

impl KernelCache for Cache {
    fn drop_inode(&self, ino: Ino) -> io::Result<()> {
        known(self.0.inval_inode(INodeNo(ino.0), 0, 0))
    }

    fn drop_name(&self, parent: Ino, name: &OsStr) -> io::Result<()> {
        known(self.0.inval_entry(INodeNo(parent.0), name))
    }
}

/// Nothing is cached for what the kernel does not know, nor for a mount that is gone.
fn known(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => Ok(()),
        other => other,
    }
}
