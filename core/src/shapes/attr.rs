//! Attributes of an inode.

use crate::words::{Ino, Time};

/// What an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// Everything `stat` shows. There is no access time: `atime` is answered as `mtime`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attr {
    /// Inode number.
    pub ino: Ino,
    /// Kind of inode.
    pub kind: FileKind,
    /// Permission bits with set-id and sticky bits: 12 bits.
    pub mode: u32,
    /// Names that the inode has; for a directory 2 + its subdirectories.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number, for devices.
    pub rdev: u32,
    /// Bytes of content; for a symbolic link the length of its target.
    pub size: u64,
    /// Bytes that the content takes, holes left out.
    pub allocated: u64,
    /// When the content last changed.
    pub mtime: Time,
    /// When content or attributes last changed.
    pub ctime: Time,
}

/// A time to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetTime {
    /// The time at which the request is carried out.
    Now,
    /// A given time.
    At(Time),
}

/// What `setattr` is to change; `None` leaves a field as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SetAttr {
    /// Permission bits with set-id and sticky bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size in bytes: cuts or extends with a hole.
    pub size: Option<u64>,
    /// Time of the last change of content.
    pub mtime: Option<SetTime>,
    /// Time of the last change of attributes (the kernel sends it in writeback mode only).
    pub ctime: Option<Time>,
    /// Set-id bits go in the same step, before the mode is set; with an owner or group they do
    /// anyway.
    pub kill_suidgid: bool,
}
