//! Walks a directory in path order, with descriptors instead of paths: a tree may be deeper than
//! a path may be long, and nothing outside is reached through a link that is exchanged meanwhile.

use std::ffi::{CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, open, openat, statat};
use vellum_core::shapes::Name;

use super::error::RepoError;

/// Files that are read in one go by one thread.
const BATCH_ITEMS: usize = 64;
/// Bytes of content after which a batch ends.
const BATCH_BYTES: u64 = 2 << 20;

/// An open directory of the source.
#[derive(Debug)]
pub(super) struct SourceDir {
    pub(super) fd: OwnedFd,
    name: PathBuf,
    parent: Option<Arc<SourceDir>>,
}

impl SourceDir {
    /// The path of an entry, for messages.
    pub(super) fn path_of(&self, name: &[u8]) -> PathBuf {
        let mut path = self.path();
        if !name.is_empty() {
            path.push(OsStr::from_bytes(name));
        }
        path
    }

    fn path(&self) -> PathBuf {
        let mut names = vec![self.name.as_path()];
        let mut above = self.parent.as_deref();
        while let Some(dir) = above {
            names.push(&dir.name);
            above = dir.parent.as_deref();
        }
        names.into_iter().rev().collect()
    }
}

impl Drop for SourceDir {
    /// A chain of parents that nobody else needs goes one by one: a deep one would take more
    /// stack than there is.
    fn drop(&mut self) {
        let mut above = self.parent.take();
        while let Some(mut dir) = above.and_then(Arc::into_inner) {
            above = dir.parent.take();
        }
    }
}

/// Something that was met, in path order.
#[derive(Debug)]
pub(super) enum Met {
    /// A directory; what follows is in it, up to its `Leave`.
    Enter { dir: Arc<SourceDir>, name: Name, stat: Stat },
    /// The end of the directory that was entered last.
    Leave,
    /// Anything else.
    Node { dir: Arc<SourceDir>, name: Name, stat: Stat },
}

/// Walks `root` and hands what it meets to `send` in batches, until `send` answers `false`.
pub(super) fn walk(root: &Path, send: &mut dyn FnMut(Vec<Met>) -> bool) -> Result<(), RepoError> {
    let failed = |errno| RepoError::local("open", root, errno);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = open(root, flags, Mode::empty()).map_err(failed)?;
    let stat = rustix::fs::fstat(&fd).map_err(failed)?;
    let dir = Arc::new(SourceDir { fd, name: root.to_path_buf(), parent: None });
    let mut walker = Walker { send, batch: Vec::new(), batch_bytes: 0, stack: Vec::new() };
    if !walker.enter(dir, Name::from([]), stat)? {
        return Ok(());
    }
    walker.run()
}

struct Walker<'a> {
    send: &'a mut dyn FnMut(Vec<Met>) -> bool,
    batch: Vec<Met>,
    batch_bytes: u64,
    /// The directories that are open, with the names still to be met, last first.
    stack: Vec<(Arc<SourceDir>, Vec<CString>)>,
}

impl Walker<'_> {
    fn run(&mut self) -> Result<(), RepoError> {
        while let Some((dir, names)) = self.stack.last_mut() {
            let dir = Arc::clone(dir);
            let goes_on = match names.pop() {
                Some(name) => self.meet(&dir, &name)?,
                None => {
                    self.stack.pop();
                    self.add(Met::Leave, 0)
                }
            };
            if !goes_on {
                return Ok(());
            }
        }
        (self.send)(std::mem::take(&mut self.batch));
        Ok(())
    }

    fn meet(&mut self, dir: &Arc<SourceDir>, name: &CString) -> Result<bool, RepoError> {
        let bytes = name.as_bytes();
        let failed = |errno| RepoError::local("read", &dir.path_of(bytes), errno);
        let stat = statat(&dir.fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        let met = Name::from(bytes);
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let fd = openat(&dir.fd, name, flags, Mode::empty()).map_err(failed)?;
            let stat = rustix::fs::fstat(&fd).map_err(failed)?;
            let path = PathBuf::from(OsStr::from_bytes(bytes));
            let below = SourceDir { fd, name: path, parent: Some(Arc::clone(dir)) };
            return self.enter(Arc::new(below), met, stat);
        }
        let bytes = u64::try_from(stat.st_size).unwrap_or(0);
        Ok(self.add(Met::Node { dir: Arc::clone(dir), name: met, stat }, bytes))
    }

    fn enter(&mut self, dir: Arc<SourceDir>, name: Name, stat: Stat) -> Result<bool, RepoError> {
        let names = names_last_first(&dir)?;
        self.stack.push((Arc::clone(&dir), names));
        Ok(self.add(Met::Enter { dir, name, stat }, 0))
    }

    fn add(&mut self, met: Met, bytes: u64) -> bool {
        self.batch.push(met);
        self.batch_bytes = self.batch_bytes.saturating_add(bytes);
        if self.batch.len() < BATCH_ITEMS && self.batch_bytes < BATCH_BYTES {
            return true;
        }
        self.batch_bytes = 0;
        (self.send)(std::mem::take(&mut self.batch))
    }
}

fn names_last_first(dir: &Arc<SourceDir>) -> Result<Vec<CString>, RepoError> {
    let failed = |errno| RepoError::local("list", &dir.path(), errno);
    let mut names = Vec::new();
    for entry in Dir::read_from(&dir.fd).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if name.to_bytes() != b"." && name.to_bytes() != b".." {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}
