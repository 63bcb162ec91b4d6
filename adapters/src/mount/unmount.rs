//! Taking a mount out of the tree.

use std::io;
use std::path::Path;
use std::process::Command;

use rustix::mount::UnmountFlags;

use crate::cli::{CliError, Exit};

/// Whether programs that still use the mount keep it mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Busy {
    /// They do.
    Refuse,
    /// The mount is taken out of the tree at once, and ends when they let go.
    Detach,
}

/// Unmounts `point`. Blocks until the kernel has written back what it holds.
pub(super) fn unmount(point: &Path, busy: Busy) -> Result<(), CliError> {
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
        Err(error) => Err(refused(point, &error.to_string())),
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
                Err(refused(point, said.trim()))
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(refused(point, "fusermount3 is not installed (package fuse3)"))
        }
        Err(error) => Err(refused(point, &error.to_string())),
    }
}

fn in_use(point: &Path) -> CliError {
    let shown = point.display();
    CliError::new(
        Exit::Usage,
        format!("the mount at {shown} is in use"),
        format!("end the programs that use it, and leave its directories: lsof +f -- {shown}"),
    )
}

fn refused(point: &Path, why: &str) -> CliError {
    CliError::new(Exit::Usage, format!("the mount at {} stays: {why}", point.display()), "")
}
