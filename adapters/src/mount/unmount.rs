//! Taking a mount out of the tree.

use std::io;
use std::path::Path;
use std::process::Command;

use rustix::mount::UnmountFlags;

use super::point;
use super::table::{self, KIND, Table};
use crate::cli::{CliError, Exit, quoted};

/// Times that one file system may be mounted at one place, one over the other.
const STACKED_MAX: usize = 16;

/// What to do where the system refuses for a reason of its own.
const OTHERWISE: &str = "remove what it names, then unmount again; the daemon keeps every edit";

/// Whether programs that still use the mount keep it mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Busy {
    /// They do.
    Refuse,
    /// The mount is taken out of the tree at once, and ends when they let go.
    Detach,
}

/// Unmounts the file system `device` from `point`, and nothing else that is there. It may not be
/// there any more. Blocks until the kernel has written back what it holds.
pub(super) fn unmount(point: &Path, device: &str, busy: Busy) -> Result<(), CliError> {
    for _ in 0..STACKED_MAX {
        let table = Table::read().map_err(|error| {
            refused(point, &format!("the mount table can't be read: {error}"), "mount /proc")
        })?;
        if !table.has(point, device) {
            return Ok(());
        }
        match table.top(point) {
            Some(top) if top.device != device => return Err(covered(point, &top.kind)),
            Some(_) | None => unmount_top(point, busy)?,
        }
    }
    Ok(())
}

/// Takes away what a daemon that is gone left at `path`. Whether there was such a thing.
pub(super) fn clear_dead(path: &Path) -> Result<bool, CliError> {
    let Ok(full) = point::resolve(path) else { return Ok(false) };
    let ours = table::top(&full).is_some_and(|top| top.kind == KIND);
    if !ours || !point::is_dead_mount(&full) {
        return Ok(false);
    }
    unmount_top(&full, Busy::Detach)?;
    Ok(true)
}

fn unmount_top(point: &Path, busy: Busy) -> Result<(), CliError> {
    let flags = match busy {
        Busy::Refuse => UnmountFlags::empty(),
        Busy::Detach => UnmountFlags::DETACH,
    };
    match rustix::mount::unmount(point, flags) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::PERM) => with_helper(point, busy),
        Err(rustix::io::Errno::BUSY) => Err(in_use(point)),
        // Not a mount point: somebody else was faster.
        Err(rustix::io::Errno::INVAL) => Ok(()),
        Err(error) => Err(refused(point, &error.to_string(), OTHERWISE)),
    }
}

/// Only root may unmount; others do through the helper of FUSE, which is set-user-id.
fn with_helper(point: &Path, busy: Busy) -> Result<(), CliError> {
    let mut helper = Command::new("fusermount3");
    helper.arg("-u");
    if busy == Busy::Detach {
        helper.arg("-z");
    }
    match helper.arg("--").arg(point).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            if said.contains("busy") {
                Err(in_use(point))
            } else {
                Err(refused(point, said.trim(), OTHERWISE))
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let why = "only root may unmount without fusermount3, which is not installed";
            Err(refused(point, why, "install the package fuse3"))
        }
        Err(error) => Err(refused(point, &error.to_string(), OTHERWISE)),
    }
}

fn in_use(point: &Path) -> CliError {
    let shown = quoted(point);
    CliError::new(
        Exit::Usage,
        format!("the mount at {} is in use", point.display()),
        format!("end the programs that use it, and leave its directories: lsof +f -- {shown}"),
    )
}

fn covered(point: &Path, kind: &str) -> CliError {
    CliError::new(
        Exit::Usage,
        format!(
            "the mount at {} stays: something else ({kind}) is mounted over it",
            point.display()
        ),
        format!("unmount that first: umount {}", quoted(point)),
    )
}

/// The error for a file system that is not at `point` any more, and that something still uses.
pub(super) fn used_elsewhere(point: &Path, device: &str) -> CliError {
    let shown = point.display();
    let table = Table::read().unwrap_or_default();
    let places: Vec<_> = table.places(device).map(|place| place.display().to_string()).collect();
    let by = if places.is_empty() {
        "by another mount namespace, such as a container's, or by a program in a mount that was \
         unmounted lazily"
            .to_owned()
    } else {
        format!("it is mounted at {} too", places.join(", "))
    };
    CliError::new(
        Exit::Usage,
        format!(
            "nothing is mounted at {shown} any more, but the file system is still in use \
             elsewhere: {by}"
        ),
        format!(
            "its daemon goes on and keeps every edit; it ends when the last use ends. To end it \
             now, and drop what is uncommitted: vellum umount {} --discard",
            quoted(point)
        ),
    )
}

fn refused(point: &Path, why: &str, remedy: &str) -> CliError {
    CliError::new(Exit::Usage, format!("the mount at {} stays: {why}", point.display()), remedy)
}
