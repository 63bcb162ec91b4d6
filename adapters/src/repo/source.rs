//! Reads what a walk has met: contents of small files, attributes, link targets.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{
    FileType, Mode, OFlags, SeekFrom, Stat, fgetxattr, flistxattr, fstat, lgetxattr, llistxattr,
    openat, readlinkat, seek,
};
use rustix::io::Errno;
use vellum_core::format::bounds::PACKED_MAX_BYTES;
use vellum_core::format::{Body, Meta, XattrMap, packed_parts};
use vellum_core::shapes::Name;
use vellum_core::words::Time;

use super::error::RepoError;
use super::walk::{Met, SourceDir};

/// What was met, read.
#[derive(Debug)]
pub(super) enum Item {
    Enter { name: Name, about: About },
    Leave,
    Node { name: Name, about: About, content: Content },
}

/// Attributes of an inode.
#[derive(Debug)]
pub(super) struct About {
    pub(super) stat: Stat,
    pub(super) xattrs: XattrMap,
}

/// Content of what is not a directory.
#[derive(Debug)]
pub(super) enum Content {
    /// Everything but a regular file.
    Special(Body),
    /// A regular file of at most 128 KiB, in memory: its parts in order, holes as lengths.
    Small { size: u64, parts: Vec<Part> },
    /// A bigger file, still to be read.
    Big(BigFile),
}

/// A part of a small file.
#[derive(Debug)]
pub(super) enum Part {
    Hole(u64),
    Data(Vec<u8>),
}

/// A file that is read piece by piece.
#[derive(Debug)]
pub(super) struct BigFile {
    file: File,
    stat: Stat,
    dir: Arc<SourceDir>,
    name: Name,
}

/// One range that is all of a file.
fn whole(size: u64) -> Vec<Range<u64>> {
    std::iter::once(0..size).collect()
}

impl Content {
    /// Bytes of a regular file.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Special(_) => 0,
            Self::Small { size, .. } => *size,
            Self::Big(file) => file.size(),
        }
    }
}

/// Reads a batch; runs on a thread that may block.
pub(super) fn read_batch(batch: Vec<Met>) -> Result<Vec<Item>, RepoError> {
    batch.into_iter().map(read).collect()
}

fn read(met: Met) -> Result<Item, RepoError> {
    match met {
        Met::Leave => Ok(Item::Leave),
        Met::Enter { dir, name, stat } => {
            let failed = |errno| RepoError::local("read attributes of", &dir.path_of(b""), errno);
            let xattrs = xattrs_of_open(&dir.fd).map_err(failed)?;
            Ok(Item::Enter { name, about: About { stat, xattrs } })
        }
        Met::Node { dir, name, stat } => read_node(dir, name, stat),
    }
}

fn read_node(dir: Arc<SourceDir>, name: Name, stat: Stat) -> Result<Item, RepoError> {
    let failed = |errno| RepoError::local("read", &dir.path_of(&name), errno);
    let rdev = || u32::try_from(stat.st_rdev).map_err(|_| failed(Errno::OVERFLOW));
    let body = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => return read_file(dir, name),
        FileType::Symlink => {
            let target = readlinkat(&dir.fd, &*name, Vec::new()).map_err(failed)?;
            Body::Symlink { target: target.into_bytes().into() }
        }
        FileType::Fifo => Body::Fifo,
        FileType::Socket => Body::Socket,
        FileType::CharacterDevice => Body::CharDevice { rdev: rdev()? },
        FileType::BlockDevice => Body::BlockDevice { rdev: rdev()? },
        // A name that was a directory when it was met is opened as one.
        FileType::Directory | FileType::Unknown => return Err(failed(Errno::NOTSUP)),
    };
    let xattrs = xattrs_of_name(&dir, &name).map_err(failed)?;
    Ok(Item::Node { name, about: About { stat, xattrs }, content: Content::Special(body) })
}

fn read_file(dir: Arc<SourceDir>, name: Name) -> Result<Item, RepoError> {
    let failed = |errno| RepoError::local("read", &dir.path_of(&name), errno);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::from(openat(&dir.fd, &*name, flags, Mode::empty()).map_err(failed)?);
    // What was met may have been replaced since.
    let stat = fstat(&file).map_err(failed)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(RepoError::Changed { path: dir.path_of(&name) });
    }
    let xattrs = xattrs_of_open(&file).map_err(failed)?;
    let big = BigFile { file, stat, dir: Arc::clone(&dir), name: Arc::clone(&name) };
    let size = big.size();
    let content = if size > PACKED_MAX_BYTES {
        Content::Big(big)
    } else {
        let mut parts = Vec::new();
        let mut at = 0;
        for data in packed_parts(big.data_ranges()?, size) {
            if data.start > at {
                parts.push(Part::Hole(data.start - at));
            }
            at = data.end;
            parts.push(Part::Data(big.read(data)?));
        }
        if at < size {
            parts.push(Part::Hole(size - at));
        }
        big.check_unchanged()?;
        Content::Small { size, parts }
    };
    Ok(Item::Node { name, about: About { stat, xattrs }, content })
}

impl BigFile {
    pub(super) fn size(&self) -> u64 {
        u64::try_from(self.stat.st_size).unwrap_or(0)
    }

    /// The parts that are not holes, in order. One part when the file system can't say.
    pub(super) fn data_ranges(&self) -> Result<Vec<Range<u64>>, RepoError> {
        let size = self.size();
        let allocated = u64::try_from(self.stat.st_blocks).unwrap_or(0).saturating_mul(512);
        if size == 0 {
            return Ok(Vec::new());
        }
        if allocated >= size {
            return Ok(whole(size));
        }
        let mut ranges = Vec::new();
        let mut at = 0;
        while at < size {
            let start = match seek(&self.file, SeekFrom::Data(at)) {
                Ok(start) => start,
                Err(Errno::NXIO) => break,
                Err(Errno::INVAL | Errno::NOTSUP) => return Ok(whole(size)),
                Err(errno) => return Err(self.failed(errno)),
            };
            let end = seek(&self.file, SeekFrom::Hole(start)).map_err(|e| self.failed(e))?;
            let range = start.min(size)..end.min(size);
            at = end.max(at + 1);
            if !range.is_empty() {
                ranges.push(range);
            }
        }
        Ok(ranges)
    }

    pub(super) fn read(&self, range: Range<u64>) -> Result<Vec<u8>, RepoError> {
        let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len];
        match self.file.read_exact_at(&mut bytes, range.start) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(RepoError::Changed { path: self.path() })
            }
            Err(error) => Err(RepoError::Local { doing: "read", path: self.path(), error }),
        }
    }

    /// Refuses a file that was written to since it was opened.
    pub(super) fn check_unchanged(&self) -> Result<(), RepoError> {
        let now = fstat(&self.file).map_err(|errno| self.failed(errno))?;
        let of = |stat: &Stat| {
            let mtime = (stat.st_mtime, stat.st_mtime_nsec);
            (stat.st_size, mtime, (stat.st_ctime, stat.st_ctime_nsec))
        };
        if of(&self.stat) == of(&now) {
            Ok(())
        } else {
            Err(RepoError::Changed { path: self.path() })
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir.path_of(&self.name)
    }

    fn failed(&self, errno: Errno) -> RepoError {
        RepoError::local("read", &self.path(), errno)
    }
}

/// Whether an extended attribute belongs to the file rather than to the host: `system.` ones are
/// the file system's own, but for the access control lists.
fn is_carried(name: &[u8]) -> bool {
    !name.starts_with(b"system.") || name.starts_with(b"system.posix_acl_")
}

fn xattrs_of_open(fd: impl AsFd) -> Result<XattrMap, Errno> {
    let fd = fd.as_fd();
    xattrs(&mut |buffer| flistxattr(fd, buffer), &mut |name, buffer| fgetxattr(fd, name, buffer))
}

/// Attributes of what can't be opened to be read, such as a symbolic link.
fn xattrs_of_name(dir: &SourceDir, name: &[u8]) -> Result<XattrMap, Errno> {
    let mut path = OsString::from(format!("/proc/self/fd/{}/", dir.fd.as_raw_fd()));
    path.push(OsStr::from_bytes(name));
    xattrs(&mut |buffer| llistxattr(path.as_os_str(), buffer), &mut |name, buffer| {
        lgetxattr(path.as_os_str(), name, buffer)
    })
}

/// Bytes that no list of names and no value is longer than (Linux XATTR_LIST_MAX, XATTR_SIZE_MAX).
const XATTR_BUFFER_MAX: usize = 64 << 10;

type ListXattrs<'a> = &'a mut dyn FnMut(&mut [u8]) -> Result<usize, Errno>;
type GetXattr<'a> = &'a mut dyn FnMut(&OsStr, &mut [u8]) -> Result<usize, Errno>;

fn xattrs(list: ListXattrs<'_>, get: GetXattr<'_>) -> Result<XattrMap, Errno> {
    let names = match read_growing(512, list) {
        Ok(names) => names,
        Err(Errno::NOTSUP) => return Ok(XattrMap::new()),
        Err(errno) => return Err(errno),
    };
    let mut map = XattrMap::new();
    let names = names.split(|byte| *byte == 0);
    for name in names.filter(|name| !name.is_empty() && is_carried(name)) {
        let text = OsString::from_vec(name.to_vec());
        match read_growing(256, &mut |buffer| get(&text, buffer)) {
            Ok(value) => drop(map.insert(name.into(), value.into())),
            // Removed meanwhile.
            Err(Errno::NODATA) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(map)
}

fn read_growing(
    first_bytes: usize,
    read: &mut dyn FnMut(&mut [u8]) -> Result<usize, Errno>,
) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; first_bytes];
    let len = match read(&mut buffer) {
        Err(Errno::RANGE) => {
            buffer.resize(XATTR_BUFFER_MAX, 0);
            read(&mut buffer)?
        }
        other => other?,
    };
    buffer.truncate(len);
    Ok(buffer)
}

/// The attributes as a snapshot keeps them.
pub(super) fn meta_of(stat: &Stat) -> Meta {
    let time = |secs, nanos| Time::from_parts(secs, u32::try_from(nanos).unwrap_or(0));
    Meta {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
        ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        xattrs: vellum_core::format::Xattrs::default(),
    }
}
