//! Makes files and directories of a tree on a local file system.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, XattrFlags, chmodat,
    chownat, fchmod, fchown, fsetxattr, futimens, lsetxattr, mkdirat, mknodat, open, openat,
    symlinkat, utimensat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, getegid, geteuid};
use vellum_core::format::{Body, Meta, XattrMap};

use super::error::RepoError;

/// Sets one extended attribute.
type SetXattr<'a> = &'a dyn Fn(&OsStr, &[u8]) -> Result<(), Errno>;

/// What all files of one export share.
#[derive(Debug)]
pub(super) struct Target {
    /// Whether owners can be given.
    is_root: bool,
    /// Extended attributes that only root may set, left out.
    pub(super) skipped: AtomicU64,
    /// The first error of finishing a directory, which nobody waits for.
    error: Mutex<Option<RepoError>>,
}

/// A directory under way. When nobody needs it any more it gets its attributes, so a directory
/// gets its times after all that is in it.
#[derive(Debug)]
pub(super) struct TargetDir {
    target: Arc<Target>,
    fd: OwnedFd,
    name: PathBuf,
    parent: Option<Arc<TargetDir>>,
    meta: Meta,
    xattrs: XattrMap,
    is_finished: bool,
}

impl Target {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            is_root: geteuid().is_root(),
            skipped: AtomicU64::new(0),
            error: Mutex::new(None),
        })
    }

    /// The directory that everything goes to: made if it is not there, else empty.
    pub(super) fn root(
        self: &Arc<Self>,
        path: &Path,
        meta: Meta,
        xattrs: XattrMap,
    ) -> Result<Arc<TargetDir>, RepoError> {
        let failed = |doing, error| RepoError::Local { doing, path: path.to_path_buf(), error };
        std::fs::create_dir_all(path).map_err(|error| failed("create", error))?;
        let mut names = std::fs::read_dir(path).map_err(|error| failed("list", error))?;
        if names.next().is_some() {
            return Err(RepoError::NotEmpty { path: path.to_path_buf() });
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = open(path, flags, Mode::empty()).map_err(|e| RepoError::local("open", path, e))?;
        let (target, name) = (Arc::clone(self), path.to_path_buf());
        let is_finished = false;
        Ok(Arc::new(TargetDir { target, fd, name, parent: None, meta, xattrs, is_finished }))
    }

    /// The error of a directory that could not be finished.
    pub(super) fn take_error(&self) -> Option<RepoError> {
        self.error.lock().take()
    }

    /// Mode bits to give: set-id bits only together with the owner they speak of.
    fn mode(&self, meta: &Meta) -> Mode {
        let own = meta.uid == geteuid().as_raw() && meta.gid == getegid().as_raw();
        Mode::from_raw_mode(if self.is_root || own { meta.mode } else { meta.mode & 0o1777 })
    }

    fn owner(&self, meta: &Meta) -> Option<(Uid, Gid)> {
        self.is_root.then(|| (Uid::from_raw(meta.uid), Gid::from_raw(meta.gid)))
    }

    fn set_xattrs(
        &self,
        xattrs: &XattrMap,
        path: &dyn Fn() -> PathBuf,
        set: SetXattr<'_>,
    ) -> Result<(), RepoError> {
        for (name, value) in xattrs {
            match set(OsStr::from_bytes(name), value) {
                Ok(()) => {}
                Err(Errno::PERM | Errno::ACCESS) if !self.is_root => {
                    self.skipped.fetch_add(1, Ordering::Relaxed);
                }
                Err(Errno::NOTSUP) => {
                    let doing = "set extended attributes of";
                    return Err(RepoError::NotSupported { doing, path: path() });
                }
                Err(errno) => {
                    return Err(RepoError::local("set extended attributes of", &path(), errno));
                }
            }
        }
        Ok(())
    }
}

impl TargetDir {
    /// Makes a directory in this one.
    pub(super) fn directory(
        self: &Arc<Self>,
        name: &[u8],
        meta: Meta,
        xattrs: XattrMap,
    ) -> Result<Arc<Self>, RepoError> {
        let failed = |errno| RepoError::local("create", &self.path_of(name), errno);
        mkdirat(&self.fd, name, Mode::RWXU).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = openat(&self.fd, name, flags, Mode::empty()).map_err(failed)?;
        Ok(Arc::new(Self {
            target: Arc::clone(&self.target),
            fd,
            name: PathBuf::from(OsStr::from_bytes(name)),
            parent: Some(Arc::clone(self)),
            meta,
            xattrs,
            is_finished: false,
        }))
    }

    /// Makes a file of `size` bytes that is all hole.
    pub(super) fn create(&self, name: &[u8], size: u64) -> Result<File, RepoError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = openat(&self.fd, name, flags, mode)
            .map_err(|errno| RepoError::local("create", &self.path_of(name), errno))?;
        let file = File::from(file);
        file.set_len(size).map_err(|error| self.failed("extend", name, error))?;
        Ok(file)
    }

    pub(super) fn write(
        &self,
        name: &[u8],
        file: &File,
        bytes: &[u8],
        at: u64,
    ) -> Result<(), RepoError> {
        file.write_all_at(bytes, at).map_err(|error| self.failed("write", name, error))
    }

    /// Gives a file its attributes; the times come last.
    pub(super) fn finish_file(
        &self,
        name: &[u8],
        file: &File,
        meta: &Meta,
        xattrs: &XattrMap,
    ) -> Result<(), RepoError> {
        let failed = |errno| RepoError::local("set attributes of", &self.path_of(name), errno);
        if let Some((uid, gid)) = self.target.owner(meta) {
            fchown(file, Some(uid), Some(gid)).map_err(failed)?;
        }
        fchmod(file, self.target.mode(meta)).map_err(failed)?;
        let set = |name: &OsStr, value: &[u8]| fsetxattr(file, name, value, XattrFlags::empty());
        self.target.set_xattrs(xattrs, &|| self.path_of(name), &set)?;
        futimens(file, &times(meta)).map_err(failed)
    }

    /// Makes what is neither file nor directory.
    pub(super) fn special(
        &self,
        name: &[u8],
        body: &Body,
        meta: &Meta,
        xattrs: &XattrMap,
    ) -> Result<(), RepoError> {
        let path = || self.path_of(name);
        let node =
            |kind: FileType, rdev: u32| mknodat(&self.fd, name, kind, Mode::RUSR, u64::from(rdev));
        let made = match body {
            Body::Symlink { target } => symlinkat(&**target, &self.fd, name),
            Body::Fifo => node(FileType::Fifo, 0),
            Body::Socket => node(FileType::Socket, 0),
            Body::CharDevice { rdev } => node(FileType::CharacterDevice, *rdev),
            Body::BlockDevice { rdev } => node(FileType::BlockDevice, *rdev),
            Body::File { .. } | Body::Directory { .. } => Err(Errno::INVAL),
        };
        made.map_err(|errno| RepoError::local("create", &path(), errno))?;
        let failed = |errno| RepoError::local("set attributes of", &path(), errno);
        let at = AtFlags::SYMLINK_NOFOLLOW;
        if let Some((uid, gid)) = self.target.owner(meta) {
            chownat(&self.fd, name, Some(uid), Some(gid), at).map_err(failed)?;
        }
        if !matches!(body, Body::Symlink { .. }) {
            chmodat(&self.fd, name, self.target.mode(meta), AtFlags::empty()).map_err(failed)?;
        }
        let mut by_name = OsString::from(format!("/proc/self/fd/{}/", self.fd.as_raw_fd()));
        by_name.push(OsStr::from_bytes(name));
        let set = |xattr: &OsStr, value: &[u8]| {
            lsetxattr(by_name.as_os_str(), xattr, value, XattrFlags::empty())
        };
        self.target.set_xattrs(xattrs, &path, &set)?;
        utimensat(&self.fd, name, &times(meta), at).map_err(failed)
    }

    /// Gives the file `first_name` in `first` one more name here.
    pub(super) fn link(
        &self,
        name: &[u8],
        first: &Self,
        first_name: &[u8],
    ) -> Result<(), RepoError> {
        rustix::fs::linkat(&first.fd, first_name, &self.fd, name, AtFlags::empty())
            .map_err(|errno| RepoError::local("link", &self.path_of(name), errno))
    }

    /// The path of an entry, for messages.
    pub(super) fn path_of(&self, name: &[u8]) -> PathBuf {
        let mut names = vec![OsString::from_vec(name.to_vec()), self.name.clone().into()];
        let mut above = self.parent.as_deref();
        while let Some(dir) = above {
            names.push(dir.name.clone().into());
            above = dir.parent.as_deref();
        }
        names.into_iter().rev().filter(|name| !name.is_empty()).collect()
    }

    fn failed(&self, doing: &'static str, name: &[u8], error: std::io::Error) -> RepoError {
        RepoError::Local { doing, path: self.path_of(name), error }
    }

    fn note_finish(&mut self) {
        self.is_finished = true;
        if let Err(error) = self.finish() {
            self.target.error.lock().get_or_insert(error);
        }
    }

    fn finish(&self) -> Result<(), RepoError> {
        let path = || self.path_of(b"");
        let failed = |errno| RepoError::local("set attributes of", &path(), errno);
        if let Some((uid, gid)) = self.target.owner(&self.meta) {
            fchown(&self.fd, Some(uid), Some(gid)).map_err(failed)?;
        }
        let set =
            |name: &OsStr, value: &[u8]| fsetxattr(&self.fd, name, value, XattrFlags::empty());
        // Before the mode, which may take away the right to do it.
        self.target.set_xattrs(&self.xattrs, &path, &set)?;
        fchmod(&self.fd, self.target.mode(&self.meta)).map_err(failed)?;
        futimens(&self.fd, &times(&self.meta)).map_err(failed)
    }
}

impl Drop for TargetDir {
    /// Parents that nobody else needs are finished one by one: a deep chain of them would take
    /// more stack than there is.
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        self.note_finish();
        let mut above = self.parent.take();
        while let Some(mut dir) = above.and_then(Arc::into_inner) {
            dir.note_finish();
            above = dir.parent.take();
        }
    }
}

fn times(meta: &Meta) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: meta.mtime.secs(),
            tv_nsec: i64::from(meta.mtime.nanos()),
        },
    }
}
