//! Inodes, the entries of directories, and the entries of the link table.

use super::bounds::{FILE_MAX_BYTES, LINKS_MAX, NAME_MAX_BYTES, TARGET_MAX_BYTES};
use super::cbor::{Reader, Writer};
use super::xattr::Xattrs;
use super::{Content, FormatError, NodeRef};
use crate::shapes::{FileKind, Name};
use crate::sync::Arc;
use crate::words::{Ino, Time};

/// What every inode has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Meta {
    /// Permission bits with set-id and sticky bits: 12 bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// When the content last changed.
    pub mtime: Time,
    /// When content or attributes last changed.
    pub ctime: Time,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

/// What an inode of each kind has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// A regular file.
    File {
        /// Bytes of content.
        size: u64,
        /// Where they are.
        content: Content,
    },
    /// A directory.
    Directory {
        /// Tree of its entries; none when it is empty.
        root: Option<NodeRef>,
        /// How many of the entries are directories.
        subdirs: u64,
    },
    /// A symbolic link.
    Symlink {
        /// 1 to 4,095 bytes, no NUL.
        target: Arc<[u8]>,
    },
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A character device.
    CharDevice {
        /// Device number.
        rdev: u32,
    },
    /// A block device.
    BlockDevice {
        /// Device number.
        rdev: u32,
    },
}

/// An inode.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Inode {
    /// Its number: 1 to 2^63 - 1.
    pub ino: Ino,
    /// Attributes.
    pub meta: Meta,
    /// Kind and content.
    pub body: Body,
}

const INODE: &str = "inode";
const INO_MAX: u64 = i64::MAX as u64;
const MODE_MAX: u32 = 0o7777;

impl Inode {
    /// Whether it is what the format allows.
    ///
    /// # Errors
    /// The first field that is not.
    pub fn check(&self) -> Result<(), FormatError> {
        let invalid = |field| Err(FormatError::Invalid { record: INODE, field });
        let too_large = |field, limit| Err(FormatError::TooLarge { record: INODE, field, limit });
        check_ino(INODE, "ino", self.ino)?;
        if self.meta.mode > MODE_MAX {
            return too_large("mode", u64::from(MODE_MAX));
        }
        self.meta.xattrs.check()?;
        match &self.body {
            Body::File { size, .. } if *size > FILE_MAX_BYTES => too_large("size", FILE_MAX_BYTES),
            Body::File { size, content } => content.check(*size),
            Body::Directory { root, subdirs } => {
                root.as_ref().map_or(Ok(()), NodeRef::check)?;
                let entries = root.as_ref().map_or(0, |root| root.count);
                if *subdirs > entries { too_large("subdirs", entries) } else { Ok(()) }
            }
            Body::Symlink { target } if target.len() > TARGET_MAX_BYTES => {
                too_large("target", TARGET_MAX_BYTES as u64)
            }
            Body::Symlink { target } if target.is_empty() || target.contains(&0) => {
                invalid("target")
            }
            Body::Symlink { .. }
            | Body::Fifo
            | Body::Socket
            | Body::CharDevice { .. }
            | Body::BlockDevice { .. } => Ok(()),
        }
    }

    /// The tree that the inode names: of a directory, or of a file with many pieces.
    #[must_use]
    pub fn tree(&self) -> Option<&NodeRef> {
        if let Body::File { content: Content::Tree(root), .. } = &self.body {
            return Some(root);
        }
        let Body::Directory { root, .. } = &self.body else { return None };
        root.as_ref()
    }

    /// As [`Inode::tree`], to say where it lies.
    #[must_use]
    pub fn tree_mut(&mut self) -> Option<&mut NodeRef> {
        match &mut self.body {
            Body::File { content: Content::Tree(root), .. } => Some(root),
            Body::Directory { root, .. } => root.as_mut(),
            Body::File { content: Content::Pieces(_), .. }
            | Body::Symlink { .. }
            | Body::Fifo
            | Body::Socket
            | Body::CharDevice { .. }
            | Body::BlockDevice { .. } => None,
        }
    }

    pub(super) fn encode(&self, w: &mut Writer) {
        w.array(8);
        w.uint(self.ino.0);
        w.uint(self.meta.mode);
        w.uint(self.meta.uid);
        w.uint(self.meta.gid);
        w.int(self.meta.mtime.ns);
        w.int(self.meta.ctime.ns);
        self.meta.xattrs.encode(w);
        self.body.encode(w);
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        let outer = r.enter(INODE);
        r.fields(8)?;
        let ino = Ino(r.u64("ino")?);
        let meta = Meta {
            mode: r.u32("mode")?,
            uid: r.u32("uid")?,
            gid: r.u32("gid")?,
            mtime: Time { ns: r.int("mtime")? },
            ctime: Time { ns: r.int("ctime")? },
            xattrs: Xattrs::decode(r)?,
        };
        let inode = Self { ino, meta, body: Body::decode(r)? };
        inode.check()?;
        r.leave(outer);
        Ok(inode)
    }
}

const FILE: u8 = 0;
const DIRECTORY: u8 = 1;
const SYMLINK: u8 = 2;
const FIFO: u8 = 3;
const SOCKET: u8 = 4;
const CHAR_DEVICE: u8 = 5;
const BLOCK_DEVICE: u8 = 6;

impl Body {
    /// What kind of inode it is of.
    #[must_use]
    pub fn kind(&self) -> FileKind {
        match self {
            Self::File { .. } => FileKind::File,
            Self::Directory { .. } => FileKind::Directory,
            Self::Symlink { .. } => FileKind::Symlink,
            Self::Fifo => FileKind::Fifo,
            Self::Socket => FileKind::Socket,
            Self::CharDevice { .. } => FileKind::CharDevice,
            Self::BlockDevice { .. } => FileKind::BlockDevice,
        }
    }

    /// Tree of a directory's entries; none when it is empty, or no directory.
    #[must_use]
    pub fn entries(&self) -> Option<NodeRef> {
        let Self::Directory { root, .. } = self else { return None };
        *root
    }

    fn encode(&self, w: &mut Writer) {
        match self {
            Self::File { size, content } => {
                w.array(3);
                w.uint(FILE);
                w.uint(*size);
                content.encode(w);
            }
            Self::Directory { root, subdirs } => {
                w.array(3);
                w.uint(DIRECTORY);
                NodeRef::encode_optional(root.as_ref(), w);
                w.uint(*subdirs);
            }
            Self::Symlink { target } => {
                w.array(2);
                w.uint(SYMLINK);
                w.bytes(target);
            }
            Self::Fifo => {
                w.array(1);
                w.uint(FIFO);
            }
            Self::Socket => {
                w.array(1);
                w.uint(SOCKET);
            }
            Self::CharDevice { rdev } => {
                w.array(2);
                w.uint(CHAR_DEVICE);
                w.uint(*rdev);
            }
            Self::BlockDevice { rdev } => {
                w.array(2);
                w.uint(BLOCK_DEVICE);
                w.uint(*rdev);
            }
        }
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        let fields = r.array("body", 3)?;
        match (r.u8("kind", BLOCK_DEVICE)?, fields) {
            (FILE, 3) => Ok(Self::File { size: r.u64("size")?, content: Content::decode(r)? }),
            (DIRECTORY, 3) => Ok(Self::Directory {
                root: NodeRef::decode_optional(r, "root")?,
                subdirs: r.u64("subdirs")?,
            }),
            (SYMLINK, 2) => {
                Ok(Self::Symlink { target: r.bytes("target", TARGET_MAX_BYTES)?.into() })
            }
            (FIFO, 1) => Ok(Self::Fifo),
            (SOCKET, 1) => Ok(Self::Socket),
            (CHAR_DEVICE, 2) => Ok(Self::CharDevice { rdev: r.u32("rdev")? }),
            (BLOCK_DEVICE, 2) => Ok(Self::BlockDevice { rdev: r.u32("rdev")? }),
            _ => Err(r.malformed("body")),
        }
    }
}

/// What a name in a directory stands for.
// Nearly all entries are inodes: a box for each would take more memory, not less.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// An inode with this one name.
    Inode(Inode),
    /// A hard link: the inode stands in the snapshot's link table.
    Link(Ino),
}

const ENTRY: &str = "directory entry";

impl Entry {
    /// Whether it is what the format allows.
    ///
    /// # Errors
    /// An inode that is not, or the number of the root.
    pub fn check(&self) -> Result<(), FormatError> {
        let ino = match self {
            Self::Inode(inode) => {
                inode.check()?;
                inode.ino
            }
            Self::Link(ino) => *ino,
        };
        check_not_root(ENTRY, ino)
    }

    pub(super) fn encode(&self, w: &mut Writer) {
        match self {
            Self::Inode(inode) => inode.encode(w),
            Self::Link(ino) => w.uint(ino.0),
        }
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        let outer = r.enter(ENTRY);
        let entry = if r.is_array("entry")? {
            Self::Inode(Inode::decode(r)?)
        } else {
            Self::Link(Ino(r.u64("link")?))
        };
        entry.check()?;
        r.leave(outer);
        Ok(entry)
    }
}

/// An inode with several names, as it stands in the link table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linked {
    /// The inode, never a directory.
    pub inode: Inode,
    /// Its names, each with the directory it is in, sorted.
    pub names: Vec<(Ino, Name)>,
}

const LINKED: &str = "link table entry";

impl Linked {
    /// Whether it is what the format allows.
    ///
    /// # Errors
    /// An inode that is not or is a directory, or names that are bad, unsorted, none or too many.
    pub fn check(&self) -> Result<(), FormatError> {
        let record = LINKED;
        self.inode.check()?;
        check_not_root(record, self.inode.ino)?;
        if matches!(self.inode.body, Body::Directory { .. }) {
            return Err(FormatError::Invalid { record, field: "inode" });
        }
        if self.names.is_empty() {
            return Err(FormatError::Invalid { record, field: "names" });
        }
        if self.names.len() > LINKS_MAX {
            let limit = LINKS_MAX as u64;
            return Err(FormatError::TooLarge { record, field: "names", limit });
        }
        for (parent, name) in &self.names {
            check_ino(record, "parent", *parent)?;
            check_name(record, name)?;
        }
        if !self.names.is_sorted_by(|a, b| a < b) {
            return Err(FormatError::Unsorted { record, field: "names" });
        }
        Ok(())
    }

    pub(super) fn encode(&self, w: &mut Writer) {
        w.array(2);
        self.inode.encode(w);
        w.array(self.names.len());
        for (parent, name) in &self.names {
            w.array(2);
            w.uint(parent.0);
            w.bytes(name);
        }
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        let outer = r.enter(LINKED);
        r.fields(2)?;
        let inode = Inode::decode(r)?;
        let mut names = Vec::new();
        for _ in 0..r.array("names", LINKS_MAX)? {
            r.fields(2)?;
            names.push((Ino(r.u64("parent")?), r.bytes("name", NAME_MAX_BYTES)?.into()));
        }
        let linked = Self { inode, names };
        linked.check()?;
        r.leave(outer);
        Ok(linked)
    }
}

/// Whether a directory may hold this name.
///
/// # Errors
/// It is empty, too long, `.` or `..`, or holds `/` or NUL.
pub(super) fn check_name(record: &'static str, name: &[u8]) -> Result<(), FormatError> {
    let field = "name";
    if name.len() > NAME_MAX_BYTES {
        return Err(FormatError::TooLarge { record, field, limit: NAME_MAX_BYTES as u64 });
    }
    let bad =
        matches!(name, b"" | b"." | b"..") || name.iter().any(|byte| matches!(byte, 0 | b'/'));
    if bad { Err(FormatError::Invalid { record, field }) } else { Ok(()) }
}

pub(super) fn check_ino(
    record: &'static str,
    field: &'static str,
    ino: Ino,
) -> Result<(), FormatError> {
    match ino.0 {
        0 => Err(FormatError::Invalid { record, field }),
        1..=INO_MAX => Ok(()),
        _ => Err(FormatError::TooLarge { record, field, limit: INO_MAX }),
    }
}

fn check_not_root(record: &'static str, ino: Ino) -> Result<(), FormatError> {
    check_ino(record, "ino", ino)?;
    if ino == Ino::ROOT { Err(FormatError::Invalid { record, field: "ino" }) } else { Ok(()) }
}
