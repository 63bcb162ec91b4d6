//! Listings in byte order.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Dir as Stream, FileType, Mode, OFlags, openat};
use vellum_core::shapes::{Key, StoreError, StoreOutcome};

use super::super::error::store_error;
use super::super::keys::is_component;
use super::Dir;

/// Most keys of one page, as on S3.
const PAGE_MAX: usize = 1000;
/// Deepest directory that is looked into: the deepest key that is allowed.
const DEPTH_MAX: usize = 512;

impl Dir {
    pub(super) fn list(
        &self,
        prefix: &str,
        after: &str,
        max: usize,
    ) -> Result<StoreOutcome, StoreError> {
        if !(1..=PAGE_MAX).contains(&max) {
            return Err(StoreError::Unsupported);
        }
        let mut page = Page { prefix, after, max, keys: Vec::new(), more: false };
        page.walk(self.root.as_fd(), "", 0)?;
        Ok(StoreOutcome::Listed { keys: page.keys, more: page.more })
    }
}

struct Page<'a> {
    prefix: &'a str,
    after: &'a str,
    max: usize,
    keys: Vec<Key>,
    more: bool,
}

impl Page<'_> {
    /// Adds the keys below `dir`, whose own path with its closing slash is `path`.
    fn walk(&mut self, dir: BorrowedFd<'_>, path: &str, depth: usize) -> Result<(), StoreError> {
        if depth > DEPTH_MAX {
            return Ok(());
        }
        for name in sorted_names(dir)? {
            if self.more {
                return Ok(());
            }
            let full = format!("{path}{name}");
            if let Some(below) = full.strip_suffix('/') {
                if self.may_hold_keys(&full)
                    && let Some(child) = open_directory(dir, below.rsplit('/').next())?
                {
                    self.walk(child.as_fd(), &full, depth + 1)?;
                }
            } else if full.starts_with(self.prefix) && full.as_str() > self.after {
                self.more = self.keys.len() == self.max;
                if !self.more {
                    self.keys.push(full);
                }
            }
        }
        Ok(())
    }

    /// Whether keys that begin with `dir` can belong to the page.
    fn may_hold_keys(&self, dir: &str) -> bool {
        let in_prefix = dir.starts_with(self.prefix) || self.prefix.starts_with(dir);
        in_prefix && (dir > self.after || self.after.starts_with(dir))
    }
}

/// Names of objects, and of directories with a `/` at their end, so that their byte order is that
/// of the keys below them.
fn sorted_names(dir: BorrowedFd<'_>) -> Result<Vec<String>, StoreError> {
    let mut names = Vec::new();
    for entry in Stream::read_from(dir).map_err(store_error)? {
        let entry = entry.map_err(store_error)?;
        let Some(name) = entry.file_name().to_str().ok().filter(|name| is_component(name)) else {
            continue;
        };
        match kind_of(dir, &entry) {
            FileType::RegularFile => names.push(name.to_owned()),
            FileType::Directory => names.push(format!("{name}/")),
            FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => {}
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Some file systems do not say the kind in the directory.
fn kind_of(dir: BorrowedFd<'_>, entry: &rustix::fs::DirEntry) -> FileType {
    if entry.file_type() != FileType::Unknown {
        return entry.file_type();
    }
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::statat(dir, entry.file_name(), flags)
        .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode))
}

/// Opens a child; none when it is gone meanwhile.
fn open_directory(dir: BorrowedFd<'_>, name: Option<&str>) -> Result<Option<OwnedFd>, StoreError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match openat(dir, name.unwrap_or_default(), flags, Mode::empty()) {
        Ok(child) => Ok(Some(child)),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(store_error(errno)),
    }
}
