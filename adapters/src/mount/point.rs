//! The mount point: what it must be, and what a path says about the mount it is in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

use super::table::{self, KIND};
use crate::cli::{CliError, Exit, quoted};

/// Checks that `path` is an empty directory on which nothing is mounted; answers it in full.
pub(super) fn check(path: &Path) -> Result<PathBuf, CliError> {
    let shown = path.display();
    let usage = |what: String, remedy: &str| CliError::new(Exit::Usage, what, remedy);
    let full = match path.canonicalize() {
        Ok(full) => full,
        Err(error) if is_dead(&error) => return Err(dead(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let remedy = format!("make it: mkdir -p {}", quoted(path));
            return Err(usage(format!("the mount point {shown} does not exist"), &remedy));
        }
        Err(error) => {
            let what = format!("the mount point {shown} can't be used: {error}");
            return Err(usage(what, "give an empty directory that you may enter"));
        }
    };
    if is_dead_mount(&full) {
        return Err(dead(path));
    }
    if !full.is_dir() {
        let remedy = "give an empty directory";
        return Err(usage(format!("the mount point {shown} is not a directory"), remedy));
    }
    if is_mount_root(&full) {
        let what = format!("something is already mounted at {shown}");
        let unmount = match table::top(&full) {
            Some(top) if top.kind == KIND => format!("vellum umount {}", quoted(path)),
            Some(_) if full != Path::new("/") => format!("umount {}", quoted(path)),
            Some(_) | None => return Err(usage(what, "give an empty directory")),
        };
        let remedy = format!("give another directory, or unmount it first: {unmount}");
        return Err(usage(what, &remedy));
    }
    let mut entries = fs::read_dir(&full).map_err(|error| {
        let what = format!("the mount point {shown} can't be read: {error}");
        usage(what, "give an empty directory that you may read")
    })?;
    if entries.next().is_some() {
        let remedy = "its files would be hidden: give an empty directory";
        return Err(usage(format!("the mount point {shown} is not empty"), remedy));
    }
    Ok(full)
}

/// `path` without links and dots, as far as that can be found out without asking the mount: a
/// dead one does not answer.
pub(super) fn resolve(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if is_dead(&error) => {
            let full = std::path::absolute(path)?;
            match (full.parent(), full.file_name()) {
                (Some(parent), Some(name)) => Ok(resolve(parent)?.join(name)),
                _ => Ok(full),
            }
        }
        other => other,
    }
}

/// Whether `path` is in a mount whose daemon is gone. Attributes may come from the kernel's cache;
/// the figures of a file system never do.
pub(super) fn is_dead_mount(path: &Path) -> bool {
    rustix::fs::statfs(path).is_err_and(|error| is_dead(&error.into()))
}

/// The error for a mount whose daemon is gone.
pub(super) fn dead(path: &Path) -> CliError {
    let shown = path.display();
    CliError::new(
        Exit::NotMounted,
        format!("the daemon of the mount at {shown} is gone; its uncommitted edits are lost"),
        format!("clear the mount point: vellum umount --discard {}", quoted(path)),
    )
}

fn is_dead(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOTCONN | libc::ECONNABORTED))
}

fn is_mount_root(path: &Path) -> bool {
    // The attribute is known to every kernel that has what the mount itself needs.
    statx(CWD, path, AtFlags::NO_AUTOMOUNT, StatxFlags::empty())
        .is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_mount_point_must_be_an_empty_directory_with_nothing_on_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(check(dir.path()).is_ok());

        let missing = check(&dir.path().join("missing")).unwrap_err();
        assert!(missing.what.ends_with("does not exist"), "{missing}");

        fs::write(dir.path().join("file"), b"").unwrap();
        let full = check(dir.path()).unwrap_err();
        assert!(full.what.ends_with("is not empty"), "{full}");
        let file = check(&dir.path().join("file")).unwrap_err();
        assert!(file.what.ends_with("is not a directory"), "{file}");

        let mounted = check(Path::new("/proc")).unwrap_err();
        assert!(mounted.what.contains("already mounted"), "{mounted}");
    }
}
