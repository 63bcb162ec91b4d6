//! A file system with one file, `data`, over a write path: the process that a control is.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use clap::Args;
use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite,
    Request, WriteFlags,
};
use rustix::mount::UnmountFlags;

use super::{Control, FILE_BYTES, Mode};
use crate::failure::{Doing, Failure};
use crate::paths::{Floor, Improved, Naive, Null, Refused, Shape, WritePath};

/// Options of `serve`, which only this program gives itself.
#[derive(Args)]
pub(crate) struct ServeArgs {
    #[arg(value_enum)]
    pub(crate) control: Control,
    #[arg(value_enum)]
    pub(crate) mode: Mode,
    pub(crate) mount_point: PathBuf,
}

/// Serves until standard input ends: it does when the process that started this one is gone.
pub(crate) fn serve(args: &ServeArgs) -> Result<(), Failure> {
    // One chunk for the whole file: the plan's single-chunk form, the quicker one.
    let shape = Shape { files: 1, file_bytes: FILE_BYTES, chunk_bytes: FILE_BYTES };
    match args.control {
        Control::Null => serve_path(Null::warm(shape), args),
        Control::Floor => serve_path(Floor::warm(shape), args),
        Control::Vellum => {
            Err(Failure::new("the product is no control: start this program under its name"))
        }
        Control::Improved => serve_path(Improved::warm(shape), args),
        Control::Naive => serve_path(Naive::warm(shape), args),
    }
}

fn serve_path<P: WritePath>(path: P, args: &ServeArgs) -> Result<(), Failure> {
    let mut config = fuser::Config::default();
    config.mount_options = vec![
        MountOption::FSName(format!("bench-{}", args.control.name())),
        MountOption::DefaultPermissions,
    ];
    let server = Server { path, mode: args.mode };
    let mount = fuser::spawn_mount(server, &args.mount_point, &config)
        .doing(|| format!("mount at {}", args.mount_point.display()))?;
    let mut ignored = Vec::new();
    std::io::stdin()
        .read_to_end(&mut ignored)
        .doing(|| "wait for the end of standard input".into())?;
    // Detached, since a client that was killed may not have let go of its file yet.
    if rustix::mount::unmount(&args.mount_point, UnmountFlags::DETACH).is_ok() {
        return mount.join().doing(|| "serve to the end".into());
    }
    mount.umount_and_join().doing(|| format!("unmount {}", args.mount_point.display()))
}

const DATA: INodeNo = INodeNo(2);
const FOREVER: Duration = Duration::from_secs(3600);

struct Server<P> {
    path: P,
    mode: Mode,
}

fn attr(ino: INodeNo) -> Option<FileAttr> {
    let (kind, perm, size) = match ino {
        INodeNo::ROOT => (FileType::Directory, 0o755, 0),
        DATA => (FileType::RegularFile, 0o644, FILE_BYTES as u64),
        _ => return None,
    };
    Some(FileAttr {
        ino,
        size,
        blocks: size / 512,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm,
        nlink: 1,
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    })
}

impl<P: WritePath> Filesystem for Server<P> {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match attr(DATA) {
            Some(data) if parent == INodeNo::ROOT && name == "data" => {
                reply.entry(&FOREVER, &data, Generation(0));
            }
            _ => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match attr(ino) {
            Some(attr) => reply.attr(&FOREVER, &attr),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let flags = match self.mode {
            Mode::Direct => FopenFlags::FOPEN_DIRECT_IO,
            Mode::Buffered => FopenFlags::FOPEN_KEEP_CACHE,
        };
        reply.opened(FileHandle(0), flags);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let left = (FILE_BYTES as u64).saturating_sub(offset);
        let mut bytes = vec![0; left.min(u64::from(size)) as usize];
        match self.path.read(fh.0 as usize, offset, &mut bytes) {
            Ok(()) => reply.data(&bytes),
            Err(Refused) => reply.error(Errno::EIO),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.path.write(fh.0 as usize, offset, data) {
            // The kernel never sends more than fits its 32-bit length field.
            Ok(written) => reply.written(written as u32),
            Err(Refused) => reply.error(Errno::EIO),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }
}
