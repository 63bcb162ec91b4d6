//! Parked FUSE replies: each is a responder that turns the core's reply into the kernel's.
//!
//! Each kind of request has the replies that the contract names for it; another one would be a
//! fault of the core and is answered EIO, in one place, loudly.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fuser::{
    FileHandle, FopenFlags, Generation, INodeNo, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite,
    ReplyXattr,
};
use vellum_core::shapes::{Attr, DirEntry, Op, Reply, StatFs};
use vellum_core::words::{Errno, Fh, Ino};

use super::convert;
use crate::host::{Host, Responder};

/// How long the kernel may keep names and attributes: the mount is the only writer, and what
/// changes them from another side invalidates them. A year stands for ever.
pub(super) const TTL: Duration = Duration::from_secs(365 * 24 * 3600);

/// Bytes that `statfs` counts in.
const STATFS_BLOCK_BYTES: u64 = 4096;

/// Inode ids are never used twice, so every inode is of the first generation.
const GENERATION: Generation = Generation(0);

fn odd(reply: &Reply) -> fuser::Errno {
    debug_assert!(false, "not a reply to this request: {reply:?}");
    tracing::error!(?reply, "a request got the reply of another kind of request");
    fuser::Errno::EIO
}

pub(super) fn empty(to: ReplyEmpty) -> Responder {
    Box::new(move |reply| match reply {
        Ok(Reply::Done) => to.ok(),
        Ok(other) => to.error(odd(&other)),
        Err(errno) => to.error(convert::errno(errno)),
    })
}

pub(super) fn entry(to: ReplyEntry) -> Responder {
    Box::new(move |reply| match reply {
        Ok(Reply::Entry(attr)) => to.entry(&TTL, &convert::attr(&attr), GENERATION),
        Ok(Reply::Absent) => to.entry(&TTL, &convert::no_attr(), GENERATION),
        Ok(other) => to.error(odd(&other)),
        Err(errno) => to.error(convert::errno(errno)),
    })
}

pub(super) fn attr(to: ReplyAttr) -> Responder {
    Box::new(move |reply| match reply {
        Ok(Reply::Attr(attr)) => attr_now(to, Ok(attr)),
        Ok(other) => to.error(odd(&other)),
        Err(errno) => attr_now(to, Err(errno)),
    })
}

pub(super) fn attr_now(to: ReplyAttr, attr: Result<Attr, Errno>) {
    match attr {
        Ok(attr) => to.attr(&TTL, &convert::attr(&attr)),
        Err(errno) => to.error(convert::errno(errno)),
    }
}

pub(super) fn data(to: ReplyData) -> Responder {
    Box::new(move |reply| match reply {
        Ok(Reply::Data(bytes)) => to.data(&bytes),
        Ok(other) => to.error(odd(&other)),
        Err(errno) => to.error(convert::errno(errno)),
    })
}

pub(super) fn written(to: ReplyWrite) -> Responder {
    Box::new(move |reply| match reply {
        Ok(Reply::Written(bytes)) => to.written(bytes),
        Ok(other) => to.error(odd(&other)),
        Err(errno) => to.error(convert::errno(errno)),
    })
}

/// Answers a write of `bytes` bytes that is done once it is synced.
pub(super) fn synced(to: ReplyWrite, bytes: u32) -> Responder {
    Box::new(move |reply| match reply {
        Ok(Reply::Done) => to.written(bytes),
        Ok(other) => to.error(odd(&other)),
        Err(errno) => to.error(convert::errno(errno)),
    })
}

/// Answers a write that is synced after it is done.
pub(super) fn written_then_synced(host: Host, fh: Fh, to: ReplyWrite) -> Responder {
    Box::new(move |reply| match reply {
        Ok(Reply::Written(bytes)) => {
            host.request(Op::Fsync { fh }, synced(to, bytes));
        }
        Ok(other) => to.error(odd(&other)),
        Err(errno) => to.error(convert::errno(errno)),
    })
}

pub(super) fn opened(
    host: Host,
    ino: Ino,
    mode: FopenFlags,
    map: bool,
    to: ReplyOpen,
) -> Responder {
    Box::new(move |reply| match reply {
        Ok(Reply::Opened(fh)) => {
            if map {
                host.note_mappable(fh, ino);
            }
            to.opened(FileHandle(fh.0), mode);
        }
        Ok(other) => to.error(odd(&other)),
        Err(errno) => to.error(convert::errno(errno)),
    })
}

pub(super) fn created(host: Host, mode: FopenFlags, map: bool, to: ReplyCreate) -> Responder {
    Box::new(move |reply| match reply {
        Ok(Reply::Created(attr, fh)) => {
            if map {
                host.note_mappable(fh, attr.ino);
            }
            to.created(&TTL, &convert::attr(&attr), GENERATION, FileHandle(fh.0), mode);
        }
        Ok(other) => to.error(odd(&other)),
        Err(errno) => to.error(convert::errno(errno)),
    })
}

pub(super) fn statfs(to: ReplyStatfs) -> Responder {
    Box::new(move |reply| match reply {
        Ok(Reply::StatFs(StatFs { used_bytes, free_bytes, inodes, free_inodes })) => {
            let free = free_bytes / STATFS_BLOCK_BYTES;
            let all = used_bytes.div_ceil(STATFS_BLOCK_BYTES).saturating_add(free);
            let files = inodes.saturating_add(free_inodes);
            let unit = STATFS_BLOCK_BYTES as u32;
            to.statfs(all, free, free, files, free_inodes, unit, 255, unit);
        }
        Ok(other) => to.error(odd(&other)),
        Err(errno) => to.error(convert::errno(errno)),
    })
}

pub(super) fn offset(to: ReplyLseek) -> Responder {
    Box::new(move |reply| match reply {
        Ok(Reply::Offset(offset)) => match i64::try_from(offset) {
            Ok(offset) => to.offset(offset),
            Err(_) => to.error(fuser::Errno::EOVERFLOW),
        },
        Ok(other) => to.error(odd(&other)),
        Err(errno) => to.error(convert::errno(errno)),
    })
}

/// Answers with a value, or with its size when `room` is 0.
pub(super) fn xattr(room: u32, to: ReplyXattr) -> Responder {
    Box::new(move |reply| match reply {
        Ok(Reply::Data(value)) => xattr_now(room, &value, to),
        Ok(other) => to.error(odd(&other)),
        Err(errno) => to.error(convert::errno(errno)),
    })
}

/// Answers with names, those left out that `uid` may not see.
pub(super) fn xattr_names(room: u32, uid: u32, to: ReplyXattr) -> Responder {
    Box::new(move |reply| match reply {
        Ok(Reply::Data(names)) => xattr_now(room, &convert::visible_xattrs(&names, uid), to),
        Ok(other) => to.error(odd(&other)),
        Err(errno) => to.error(convert::errno(errno)),
    })
}

fn xattr_now(room: u32, value: &[u8], to: ReplyXattr) {
    match u32::try_from(value.len()) {
        Ok(len) if room == 0 => to.size(len),
        Ok(len) if len <= room => to.data(value),
        Ok(_) | Err(_) => to.error(convert::errno(Errno::Range)),
    }
}

pub(super) fn directory(fit: Arc<Fit>, mut to: ReplyDirectory) -> Responder {
    Box::new(move |reply| match reply {
        Ok(Reply::Entries(entries)) => {
            let mut added = 0;
            for entry in &entries {
                let (ino, name) = (INodeNo(entry.ino.0), OsStr::from_bytes(&entry.name));
                if to.add(ino, entry.cookie, convert::file_type(entry.kind), name) {
                    break;
                }
                added += 1;
            }
            fit.learn(added, entries.len());
            to.ok();
        }
        Ok(other) => to.error(odd(&other)),
        Err(errno) => to.error(convert::errno(errno)),
    })
}

/// Answers with names and attributes. The look-ups of entries that find no room are given back.
pub(super) fn directory_plus(host: Host, fit: Arc<Fit>, mut to: ReplyDirectoryPlus) -> Responder {
    Box::new(move |reply| match reply {
        Ok(Reply::Entries(entries)) => {
            let mut rest = entries.as_slice();
            while let Some((entry, after)) = rest.split_first() {
                if add_plus(&mut to, entry) {
                    break;
                }
                rest = after;
            }
            fit.learn(entries.len() - rest.len(), entries.len());
            to.ok();
            for entry in rest.iter().filter(|entry| entry.attr.is_some()) {
                host.tell(Op::Forget { ino: entry.ino, count: 1 });
            }
        }
        Ok(other) => to.error(odd(&other)),
        Err(errno) => to.error(convert::errno(errno)),
    })
}

/// Adds `entry`; true when it found no room.
fn add_plus(to: &mut ReplyDirectoryPlus, entry: &DirEntry) -> bool {
    let name = OsStr::from_bytes(&entry.name);
    let attr = match &entry.attr {
        Some(attr) => convert::attr(attr),
        // `.` and `..`: the kernel takes no look-up for them, but programs skip inode 0.
        None => fuser::FileAttr {
            ino: INodeNo(entry.ino.0),
            kind: convert::file_type(entry.kind),
            ..convert::no_attr()
        },
    };
    to.add(INodeNo(entry.ino.0), entry.cookie, name, &TTL, &attr, GENERATION)
}

/// How many entries to ask the core for, learnt from how many the kernel's buffer took: its size
/// is not told to a file system.
#[derive(Debug)]
pub(super) struct Fit(AtomicUsize);

impl Fit {
    /// Entries at first, and at least.
    const MIN: usize = 32;
    /// Entries at most: a step of the machine is bounded.
    const MAX: usize = 1024;

    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(Self::MIN)))
    }

    pub(super) fn ask(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// `added` of `offered` entries found room.
    fn learn(&self, added: usize, offered: usize) {
        let asked = self.ask();
        let next = if offered < asked {
            // The directory ended: nothing is known about the buffer.
            return;
        } else if added < offered {
            added + added / 8 + 1
        } else {
            asked * 2
        };
        self.0.store(next.clamp(Self::MIN, Self::MAX), Ordering::Relaxed);
    }
}
