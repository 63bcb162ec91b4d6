//! Where the control sockets of a user's mounts are.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use vellum_core::format::Hash;

use crate::cli::{CliError, Exit, quoted};

/// Names another directory for the control sockets, for tests and for hosts where the usual
/// ones can't be used.
pub(super) const OVERRIDE: &str = "VELLUM_RUNTIME_DIR";

/// Longest path of a socket that Linux takes, in bytes.
const SOCKET_PATH_MAX: usize = 107;

/// How long a daemon that has just unmounted may take to end.
const ENDING: Duration = Duration::from_secs(5);

/// How often to look whether it has.
const LOOK: Duration = Duration::from_millis(10);

/// The files of one mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::mount) struct Place {
    /// The control socket.
    pub(in crate::mount) socket: PathBuf,
    /// What its daemon has to say, when it runs in the background.
    pub(in crate::mount) log: PathBuf,
    /// Locked by its daemon as long as that lives.
    lock: PathBuf,
}

/// The right to serve a mount point; no other daemon has it meanwhile, not even one whose mount
/// is gone and that still holds uncommitted edits.
#[derive(Debug)]
pub(in crate::mount) struct Claim {
    // The kernel lets go of it when the process ends, however it does.
    _lock: File,
}

impl Place {
    /// The files of the mount at `point`, a full path. The directory need not exist.
    pub(in crate::mount) fn of(point: &Path) -> Self {
        Self::inside(&directory(), point)
    }

    fn inside(directory: &Path, point: &Path) -> Self {
        let mut id = Hash::of(point.as_os_str().as_bytes()).to_string();
        id.truncate(16);
        let socket = directory.join(format!("{id}.sock"));
        let [log, lock] = ["log", "lock"].map(|kind| directory.join(format!("{id}.{kind}")));
        Self { socket, log, lock }
    }

    /// Makes the directory, or checks that the one there is ours alone.
    pub(in crate::mount) fn prepare(&self) -> Result<(), CliError> {
        let directory = self.socket.parent().unwrap_or(Path::new("/"));
        make_private(directory)?;
        if self.socket.as_os_str().len() > SOCKET_PATH_MAX {
            return Err(CliError::new(
                Exit::Usage,
                format!("the path of the control socket {} is too long", self.socket.display()),
                format!("set {OVERRIDE} to a directory with a shorter path"),
            ));
        }
        Ok(())
    }

    /// Removes the log of a daemon that ended well and had nothing to say.
    pub(in crate::mount) fn tidy(&self) {
        if fs::metadata(&self.log).is_ok_and(|log| log.len() == 0) {
            drop(fs::remove_file(&self.log));
        }
    }

    /// Claims the mount point `point`, whose files these are and whose directory is prepared.
    pub(in crate::mount) fn claim(&self, point: &Path) -> Result<Claim, CliError> {
        let failed = |error: io::Error| {
            let what = format!("can't lock {}: {error}", self.lock.display());
            let remedy = format!("make it writable, or set {OVERRIDE} to a directory of yours");
            CliError::new(Exit::Usage, what, remedy)
        };
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false).write(true).mode(0o600);
        let lock = options.open(&self.lock).map_err(failed)?;
        let patience = Instant::now() + ENDING;
        loop {
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Claim { _lock: lock }),
                Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < patience => {
                    std::thread::sleep(LOOK);
                }
                Err(Errno::WOULDBLOCK) => break,
                Err(errno) => return Err(failed(errno.into())),
            }
        }
        let (shown, at) = (point.display(), quoted(point));
        Err(CliError::new(
            Exit::Usage,
            format!("the daemon of an earlier mount at {shown} still runs: it may hold edits"),
            format!(
                "vellum status {at} shows them, vellum commit {at} -m MESSAGE publishes them, \
                 vellum umount {at} --discard drops them"
            ),
        ))
    }
}

/// Where control sockets are.
pub(crate) fn directory() -> PathBuf {
    if let Some(directory) = std::env::var_os(OVERRIDE) {
        // The daemon leaves the directory that it is started from.
        return std::path::absolute(&directory).unwrap_or(directory.into());
    }
    let user = rustix::process::geteuid();
    if user.is_root() {
        return "/run/vellum".into();
    }
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(runtime) if Path::new(&runtime).is_absolute() => Path::new(&runtime).join("vellum"),
        _ => format!("/tmp/vellum-{}", user.as_raw()).into(),
    }
}

fn make_private(directory: &Path) -> Result<(), CliError> {
    let refuse = |why: String| {
        CliError::new(
            Exit::Usage,
            format!("the directory {} for control sockets {why}", directory.display()),
            format!("remove it, or set {OVERRIDE} to a directory of yours with mode 0700"),
        )
    };
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(refuse(format!("can't be made: {error}"))),
    }
    // A link, or somebody else's directory, would hand them the socket.
    let found = fs::symlink_metadata(directory)
        .map_err(|error| refuse(format!("can't be looked at: {error}")))?;
    if !found.is_dir() {
        return Err(refuse("is not a directory".into()));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(refuse("belongs to somebody else".into()));
    }
    if found.mode() & 0o077 != 0 {
        return Err(refuse("can be entered by others".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn the_directory_must_be_private_and_no_link() {
        let temp = tempfile::tempdir().unwrap();
        let place = Place::inside(&temp.path().join("vellum"), Path::new("/mnt/a"));
        place.prepare().unwrap();
        place.prepare().unwrap();

        let open = temp.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        let error = Place::inside(&open, Path::new("/mnt/a")).prepare().unwrap_err();
        assert!(error.what.contains("can be entered by others"), "{error}");

        let link = temp.path().join("link");
        symlink(temp.path().join("vellum"), &link).unwrap();
        let error = Place::inside(&link, Path::new("/mnt/a")).prepare().unwrap_err();
        assert!(error.what.contains("is not a directory"), "{error}");

        let long = temp.path().join("x".repeat(100));
        let error = Place::inside(&long, Path::new("/mnt/a")).prepare().unwrap_err();
        assert!(error.what.contains("too long"), "{error}");
    }

    #[test]
    fn a_mount_point_has_one_daemon_at_a_time() {
        let temp = tempfile::tempdir().unwrap();
        let place = Place::inside(&temp.path().join("vellum"), Path::new("/mnt/a"));
        place.prepare().unwrap();
        let claim = place.claim(Path::new("/mnt/a")).unwrap();
        let refused = place.claim(Path::new("/mnt/a")).unwrap_err();
        assert!(refused.what.contains("still runs"), "{refused}");
        assert!(refused.remedy.contains("commit /mnt/a"), "{refused}");
        drop(claim);
        place.claim(Path::new("/mnt/a")).unwrap();
    }

    #[test]
    fn two_mount_points_never_share_a_socket() {
        let directory = Path::new("/run/vellum");
        let [a, b] = ["/mnt/a", "/mnt/b"].map(|at| Place::inside(directory, Path::new(at)));
        assert_ne!(a.socket, b.socket);
        assert_ne!(a.log, b.log);
    }
}
