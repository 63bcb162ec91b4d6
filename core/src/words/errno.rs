//! The one file in which error numbers appear.

/// An error as POSIX names it, with the number that Linux gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i32)]
pub enum Errno {
    /// Operation not permitted.
    Perm = 1,
    /// No such file or directory.
    NoEnt = 2,
    /// Input or output failed: the store did not answer in time, or what it holds is damaged.
    Io = 5,
    /// No such device or address: SEEK_DATA or SEEK_HOLE past the end.
    NxIo = 6,
    /// Bad file descriptor.
    BadF = 9,
    /// Try again.
    Again = 11,
    /// Permission denied.
    Access = 13,
    /// Device or resource busy.
    Busy = 16,
    /// File exists.
    Exist = 17,
    /// Not a directory.
    NotDir = 20,
    /// Is a directory.
    IsDir = 21,
    /// Invalid argument.
    Inval = 22,
    /// Too many open files in the mount.
    NFile = 23,
    /// File too large.
    FBig = 27,
    /// No space left: the memory or changed-entry limit of the mount is reached.
    NoSpc = 28,
    /// Illegal seek.
    SPipe = 29,
    /// Read-only file system.
    RoFs = 30,
    /// Too many links.
    MLink = 31,
    /// Result too large: the buffer offered for an extended attribute is too small.
    Range = 34,
    /// File name too long.
    NameTooLong = 36,
    /// Function not implemented.
    NoSys = 38,
    /// Directory not empty.
    NotEmpty = 39,
    /// No data available: no such extended attribute.
    NoData = 61,
    /// Operation not supported.
    NotSup = 95,
    /// Stale file handle.
    Stale = 116,
}

impl Errno {
    /// The number that Linux gives this error.
    #[must_use]
    pub fn number(self) -> i32 {
        self as i32
    }
}
