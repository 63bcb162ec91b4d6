//! What the kernel, or a command, asks of the core, and what it is answered.

use super::attr::{Attr, FileKind, SetAttr};
use crate::format::Inode;
use crate::sync::Arc;
use crate::words::{Fh, Ino};

/// A file name: 1 to 255 bytes, no `/`, no NUL, neither `.` nor `..`.
pub type Name = Arc<[u8]>;

/// Who asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Caller {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// How a handle was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OpenFlags {
    /// Reads are allowed.
    pub read: bool,
    /// Writes are allowed.
    pub write: bool,
    /// The content is cut to nothing on opening.
    pub truncate: bool,
}

/// What a WRITE request carries beside its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct WriteFlags {
    /// Written back from the page cache: short counts are not allowed.
    pub from_cache: bool,
    /// Set-id bits go in the same step.
    pub kill_suidgid: bool,
}

/// What rename does with an existing target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RenameMode {
    /// Replace it.
    Replace,
    /// Refuse with EEXIST.
    NoReplace,
    /// Swap the two names.
    Exchange,
}

/// What `setxattr` does with an existing value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum XattrMode {
    /// Set it in either case.
    Either,
    /// EEXIST when it exists.
    Create,
    /// ENODATA when it does not.
    Replace,
}

/// What `lseek` looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whence {
    /// The next byte that is data.
    Data,
    /// The next byte that is a hole; the end of the file counts as one.
    Hole,
}

/// What `fallocate` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Allocate {
    /// Extend the size if the range ends past it; content is unchanged.
    Extend,
    /// Change nothing that can be seen (space cannot be reserved in a bucket).
    KeepSize,
    /// Make a hole; the size is unchanged.
    Punch,
    /// Make the range read as zeros; extends unless `keep_size`.
    Zero {
        /// Leave the size as it is.
        keep_size: bool,
    },
}

/// One request. The caller's rights were checked by the kernel (`default_permissions`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Look a name up; adds one to the inode's look-up count.
    Lookup { parent: Ino, name: Name },
    /// Give `count` look-ups back. Answered with `Reply::Done`.
    Forget { ino: Ino, count: u64 },
    /// The kernel's side of the mount is gone: it gives all look-ups back and closes all handles
    /// and streams. Answered with `Reply::Done`.
    Disconnect,
    /// Attributes of an inode.
    GetAttr { ino: Ino },
    /// Change attributes; a size cuts or extends.
    SetAttr { ino: Ino, set: SetAttr },
    /// Target of a symbolic link.
    ReadLink { ino: Ino },
    /// Make a regular file, fifo, socket or device; no handle.
    MakeNode { parent: Ino, name: Name, kind: FileKind, mode: u32, rdev: u32, caller: Caller },
    /// Make a directory.
    MakeDir { parent: Ino, name: Name, mode: u32, caller: Caller },
    /// Make a symbolic link.
    Symlink { parent: Ino, name: Name, target: Arc<[u8]>, caller: Caller },
    /// Remove a name that is not a directory's.
    Unlink { parent: Ino, name: Name },
    /// Remove an empty directory.
    RemoveDir { parent: Ino, name: Name },
    /// Move or exchange names.
    Rename { parent: Ino, name: Name, to_parent: Ino, to_name: Name, mode: RenameMode },
    /// Give an inode one more name.
    Link { ino: Ino, to_parent: Ino, to_name: Name },
    /// Open a regular file.
    Open { ino: Ino, flags: OpenFlags },
    /// Make a regular file and open it. The kernel has already looked the name up in vain.
    Create { parent: Ino, name: Name, mode: u32, flags: OpenFlags, caller: Caller },
    /// Read; short only at the end of the file.
    Read { fh: Fh, offset: u64, len: u32 },
    /// Write, all of it or an error.
    Write { fh: Fh, offset: u64, data: Vec<u8>, flags: WriteFlags },
    /// A descriptor of the handle was closed.
    Flush { fh: Fh },
    /// Make the file durable as far as the mount's mode promises.
    Fsync { fh: Fh },
    /// The last descriptor is gone. Works for files and directories.
    Release { fh: Fh },
    /// Open a directory stream.
    OpenDir { ino: Ino },
    /// Entries after `cookie` (0 begins), at most `max` of them. `.` and `..` come first, as
    /// cookies 1 and 2. With `plus`, each entry but those two adds one to its look-up count.
    ReadDir { fh: Fh, cookie: u64, max: usize, plus: bool },
    /// Make a directory durable as far as the mount's mode promises.
    FsyncDir { fh: Fh },
    /// Figures of the file system.
    StatFs,
    /// Set an extended attribute.
    SetXattr { ino: Ino, name: Name, value: Arc<[u8]>, mode: XattrMode },
    /// Value of an extended attribute.
    GetXattr { ino: Ino, name: Name },
    /// Names of all extended attributes.
    ListXattr { ino: Ino },
    /// Remove an extended attribute.
    RemoveXattr { ino: Ino, name: Name },
    /// Allocate, punch or zero. With `kill_suidgid`, set-id bits go in the same step, if the
    /// request changes anything.
    Fallocate { fh: Fh, offset: u64, len: u64, how: Allocate, kill_suidgid: bool },
    /// Next data or hole at or after `offset`.
    Seek { fh: Fh, offset: u64, whence: Whence },
    /// What is uncommitted, in figures.
    Status,
    /// What is uncommitted, path by path.
    Diff,
    /// Take all uncommitted changes back, in one step.
    Discard,
    /// Make an inode what a record of the same kind says: content, attributes and extended
    /// attributes; of a directory not what is in it. No data is read or sent for it.
    Restore { ino: Ino, inode: Arc<Inode> },
    /// Make a name stand for what a record says: for the very inode that the last snapshot has
    /// there, if it can be had, else for a new one. No data is read or sent for it.
    Revive { parent: Ino, name: Name, inode: Arc<Inode> },
    /// Take away a name that the last snapshot does not have. What that has elsewhere goes back
    /// there, if that is wanted and its name is free.
    Withdraw { parent: Ino, name: Name, goes_home: bool },
    /// Give a directory, whose names all are what they were in the last snapshot, its times again.
    Settle { ino: Ino },
    /// Publish what changed as a new snapshot. `attempt` is a fresh random number.
    Commit { author: String, message: String, attempt: u128 },
}

/// One entry of a directory stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DirEntry {
    /// Name; also `.` and `..`.
    pub name: Name,
    /// Inode.
    pub ino: Ino,
    /// Kind.
    pub kind: FileKind,
    /// Where the stream goes on after this entry.
    pub cookie: u64,
    /// Attributes, when `plus` was asked and the entry is neither `.` nor `..`.
    pub attr: Option<Attr>,
}

/// Figures of the file system, in bytes and inodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StatFs {
    /// Bytes of all files of the mounted tree, as of its last snapshot.
    pub used_bytes: u64,
    /// Bytes that writes may still take before they wait for the store.
    pub free_bytes: u64,
    /// Inodes of the mounted tree.
    pub inodes: u64,
    /// Inodes that may still be changed before ENOSPC.
    pub free_inodes: u64,
}

/// The answer to an [`Op`] that succeeded.
#[derive(Clone, Debug, PartialEq, Hash)]
pub enum Reply {
    /// Done; there is nothing to say.
    Done,
    /// Lookup, MakeNode, MakeDir, Symlink, Link: the inode, with one look-up more.
    Entry(Attr),
    /// Lookup found nothing. The kernel may remember that.
    Absent,
    /// GetAttr, SetAttr.
    Attr(Attr),
    /// ReadLink, Read, GetXattr, ListXattr (names each ended by NUL).
    Data(Vec<u8>),
    /// Write: bytes written.
    Written(u32),
    /// Open, OpenDir.
    Opened(Fh),
    /// Create.
    Created(Attr, Fh),
    /// ReadDir.
    Entries(Vec<DirEntry>),
    /// StatFs.
    StatFs(StatFs),
    /// Seek: the offset found.
    Offset(u64),
    /// Status.
    Status(Box<super::report::Status>),
    /// Diff; Discard: what was taken back.
    Diff(Box<super::report::Diff>),
    /// Restore: whether anything changed, and whether the same holds of all below.
    Restored(super::report::Restored),
    /// Withdraw: where the inode went back to, if it did, and what the last snapshot says of it.
    Withdrawn(Option<(Ino, Name, Arc<Inode>)>),
    /// Commit.
    Commit(super::report::CommitResult),
}
