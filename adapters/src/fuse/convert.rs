//! Between the words of the core and those of the FUSE protocol.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo, OpenAccMode, RenameFlags, TimeOrNow};
use vellum_core::shapes::{
    Allocate, Attr, Caller, FileKind, Name, OpenFlags, RenameMode, SetTime, Whence, WriteFlags,
    XattrMode,
};
use vellum_core::words::{Errno, Ino, Time};

/// Preferred I/O size that `stat` shows, in bytes: copy tools read and write in units of it.
const BLOCK_BYTES: u32 = 64 << 10;

/// Longest name in bytes.
pub(super) const NAME_MAX_BYTES: usize = 255;

pub(super) fn errno(errno: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(errno.number())
}

/// A name of an entry or an extended attribute. Newer kernels pass on longer ones than any file
/// system takes.
pub(super) fn name(name: &OsStr) -> Result<Name, Errno> {
    if name.len() > NAME_MAX_BYTES {
        return Err(Errno::NameTooLong);
    }
    Ok(Arc::from(name.as_bytes()))
}

pub(super) fn caller(request: &fuser::Request) -> Caller {
    Caller { uid: request.uid(), gid: request.gid() }
}

pub(super) fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::File => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
        FileKind::CharDevice => FileType::CharDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
    }
}

/// What `mknod` is to make; none for what it can't.
pub(super) fn node_kind(mode: u32) -> Option<FileKind> {
    match mode & libc::S_IFMT {
        libc::S_IFREG | 0 => Some(FileKind::File),
        libc::S_IFIFO => Some(FileKind::Fifo),
        libc::S_IFSOCK => Some(FileKind::Socket),
        libc::S_IFCHR => Some(FileKind::CharDevice),
        libc::S_IFBLK => Some(FileKind::BlockDevice),
        _ => None,
    }
}

pub(super) fn attr(attr: &Attr) -> FileAttr {
    let mtime = system_time(attr.mtime);
    FileAttr {
        ino: INodeNo(attr.ino.0),
        size: attr.size,
        blocks: attr.allocated.div_ceil(512),
        atime: mtime,
        mtime,
        ctime: system_time(attr.ctime),
        crtime: UNIX_EPOCH,
        kind: file_type(attr.kind),
        perm: u16::try_from(attr.mode & 0o7777).unwrap_or(0),
        nlink: attr.links,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

/// Attributes that stand for "no inode": in a lookup the name does not exist (and the kernel may
/// remember that), in a directory stream the kernel learns the name only.
pub(super) fn no_attr() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

fn system_time(time: Time) -> SystemTime {
    let distance = Duration::from_nanos(time.ns.unsigned_abs());
    if time.ns < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}

/// A time that a program sets.
pub(super) fn set_time(set: TimeOrNow) -> SetTime {
    match set {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(at) => SetTime::At(time(at)),
    }
}

/// The inverse of what fuser makes of the kernel's seconds and nanoseconds. Before 1970 it counts
/// the nanoseconds in the wrong direction, so that its distance has the kernel's very fields.
pub(super) fn time(at: SystemTime) -> Time {
    match at.duration_since(UNIX_EPOCH) {
        Ok(after) => Time::from_parts(
            i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            after.subsec_nanos(),
        ),
        Err(before) => {
            let distance = before.duration();
            let secs = i64::try_from(distance.as_secs()).map_or(i64::MIN, |secs| -secs);
            Time::from_parts(secs, distance.subsec_nanos())
        }
    }
}

pub(super) fn open_flags(flags: i32) -> OpenFlags {
    let mode = fuser::OpenFlags(flags).acc_mode();
    OpenFlags {
        read: matches!(mode, OpenAccMode::O_RDONLY | OpenAccMode::O_RDWR),
        write: matches!(mode, OpenAccMode::O_WRONLY | OpenAccMode::O_RDWR),
        truncate: flags & libc::O_TRUNC != 0,
    }
}

pub(super) fn write_flags(flags: fuser::WriteFlags) -> WriteFlags {
    WriteFlags {
        from_cache: flags.contains(fuser::WriteFlags::FUSE_WRITE_CACHE),
        kill_suidgid: flags.contains(fuser::WriteFlags::FUSE_WRITE_KILL_SUIDGID),
    }
}

pub(super) fn rename_mode(flags: RenameFlags) -> Result<RenameMode, Errno> {
    if flags.is_empty() {
        Ok(RenameMode::Replace)
    } else if flags == RenameFlags::RENAME_NOREPLACE {
        Ok(RenameMode::NoReplace)
    } else if flags == RenameFlags::RENAME_EXCHANGE {
        Ok(RenameMode::Exchange)
    } else {
        Err(Errno::Inval)
    }
}

pub(super) fn allocate(mode: i32) -> Result<Allocate, Errno> {
    const KEEP: i32 = libc::FALLOC_FL_KEEP_SIZE;
    const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE | KEEP;
    const ZERO: i32 = libc::FALLOC_FL_ZERO_RANGE;
    const ZERO_KEEP: i32 = ZERO | KEEP;
    match mode {
        0 => Ok(Allocate::Extend),
        KEEP => Ok(Allocate::KeepSize),
        PUNCH => Ok(Allocate::Punch),
        ZERO => Ok(Allocate::Zero { keep_size: false }),
        ZERO_KEEP => Ok(Allocate::Zero { keep_size: true }),
        _ => Err(Errno::NotSup),
    }
}

pub(super) fn whence(whence: i32) -> Result<Whence, Errno> {
    match whence {
        libc::SEEK_DATA => Ok(Whence::Data),
        libc::SEEK_HOLE => Ok(Whence::Hole),
        _ => Err(Errno::Inval),
    }
}

pub(super) fn xattr_mode(flags: i32) -> Result<XattrMode, Errno> {
    match flags {
        0 => Ok(XattrMode::Either),
        libc::XATTR_CREATE => Ok(XattrMode::Create),
        libc::XATTR_REPLACE => Ok(XattrMode::Replace),
        _ => Err(Errno::Inval),
    }
}

/// The inode that the kernel means.
pub(super) fn ino(ino: INodeNo) -> Ino {
    Ino(ino.0)
}

/// Whether extended attributes of this name are kept. POSIX ACLs and other `system.` names are
/// not: they answer ENOTSUP.
pub(super) fn xattr_name(name: &OsStr) -> Result<(), Errno> {
    const KEPT: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
    let kept = KEPT.iter().any(|prefix| name.as_bytes().starts_with(prefix));
    if kept { Ok(()) } else { Err(Errno::NotSup) }
}

/// `names`, each ended by NUL, without those that only root may see.
pub(super) fn visible_xattrs(names: &[u8], uid: u32) -> Vec<u8> {
    if uid == 0 {
        return names.to_vec();
    }
    names
        .split_inclusive(|byte| *byte == 0)
        .filter(|name| !name.starts_with(b"trusted."))
        .flatten()
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn times_before_1970_survive_the_way_in_and_out() {
        // -1.5 s is said as second -2 and 0.5 s; fuser turns that into 2.5 s before 1970.
        let mangled = UNIX_EPOCH - Duration::new(2, 500_000_000);
        let time = super::time(mangled);
        assert_eq!(time, Time { ns: -1_500_000_000 });
        assert_eq!(system_time(time), UNIX_EPOCH - Duration::from_millis(1500));
        let last = Time { ns: i64::MIN };
        assert!(system_time(last) < system_time(time));
    }

    #[test]
    fn unknown_modes_are_refused() {
        assert_eq!(allocate(libc::FALLOC_FL_COLLAPSE_RANGE), Err(Errno::NotSup));
        assert_eq!(allocate(libc::FALLOC_FL_PUNCH_HOLE | 1), Ok(Allocate::Punch));
        assert_eq!(whence(0), Err(Errno::Inval));
        assert_eq!(rename_mode(RenameFlags::RENAME_WHITEOUT), Err(Errno::Inval));
        assert_eq!(rename_mode(RenameFlags::all()), Err(Errno::Inval));
        assert_eq!(xattr_mode(3), Err(Errno::Inval));
        assert_eq!(node_kind(libc::S_IFDIR), None);
    }

    #[test]
    fn only_root_is_shown_trusted_names() {
        let names = b"user.a\0trusted.b\0security.c\0";
        assert_eq!(visible_xattrs(names, 0), names);
        assert_eq!(visible_xattrs(names, 1000), b"user.a\0security.c\0");
        assert_eq!(xattr_name(OsStr::new("system.posix_acl_access")), Err(Errno::NotSup));
    }
}
