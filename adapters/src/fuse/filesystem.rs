//! The handlers, one per kind of kernel request.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{
    AccessFlags, BsdFileFlags, FileHandle, Filesystem, FopenFlags, INodeNo, IoctlFlags,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen,
    ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use vellum_core::shapes::{Op, SetAttr};
use vellum_core::words::{Errno, Fh};

use super::adapter::Adapter;
use super::convert::{self, caller, ino, name};
use super::replies;

thread_local! {
    /// Where an event-loop thread assembles what it reads; its capacity is kept.
    static READ: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn fh(fh: FileHandle) -> Fh {
    Fh(fh.0)
}

/// The value, or the request is answered with the error and the handler returns.
macro_rules! checked {
    ($result:expr, $reply:ident) => {
        match $result {
            Ok(value) => value,
            Err(errno) => return $reply.error(convert::errno(errno)),
        }
    };
}

impl Filesystem for Adapter {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        self.negotiate(config);
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, child: &OsStr, reply: ReplyEntry) {
        let name = checked!(name(child), reply);
        let op = Op::Lookup { parent: ino(parent), name };
        self.host.request(op, replies::entry(reply));
    }

    fn forget(&self, _req: &Request, node: INodeNo, count: u64) {
        self.host.tell(Op::Forget { ino: ino(node), count });
    }

    fn getattr(&self, _req: &Request, node: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        let node = ino(node);
        match self.host.try_getattr(node) {
            Some(attr) => replies::attr_now(reply, attr),
            None => self.host.request(Op::GetAttr { ino: node }, replies::attr(reply)),
        }
    }

    fn setattr(
        &self,
        req: &Request,
        node: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let set = SetAttr {
            mode: mode.map(|mode| mode & 0o7777),
            uid,
            gid,
            size,
            mtime: mtime.map(convert::set_time),
            ctime: ctime.map(convert::time),
            kill_suidgid: size.is_some() && self.drops_set_id(req),
        };
        self.host.request(Op::SetAttr { ino: ino(node), set }, replies::attr(reply));
    }

    fn readlink(&self, _req: &Request, node: INodeNo, reply: ReplyData) {
        self.host.request(Op::ReadLink { ino: ino(node) }, replies::data(reply));
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        child: &OsStr,
        mode: u32,
        _umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let Some(kind) = convert::node_kind(mode) else {
            return reply.error(convert::errno(Errno::Inval));
        };
        let (parent, caller) = (ino(parent), caller(req));
        let name = checked!(name(child), reply);
        let op = Op::MakeNode { parent, name, kind, mode: mode & 0o7777, rdev, caller };
        self.host.request(op, replies::entry(reply));
    }

    fn mkdir(
        &self,
        req: &Request,
        parent: INodeNo,
        child: &OsStr,
        mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        let (parent, caller) = (ino(parent), caller(req));
        let name = checked!(name(child), reply);
        let op = Op::MakeDir { parent, name, mode: mode & 0o7777, caller };
        self.host.request(op, replies::entry(reply));
    }

    fn unlink(&self, _req: &Request, parent: INodeNo, child: &OsStr, reply: ReplyEmpty) {
        let name = checked!(name(child), reply);
        let op = Op::Unlink { parent: ino(parent), name };
        self.host.request(op, replies::empty(reply));
    }

    fn rmdir(&self, _req: &Request, parent: INodeNo, child: &OsStr, reply: ReplyEmpty) {
        let name = checked!(name(child), reply);
        let op = Op::RemoveDir { parent: ino(parent), name };
        self.host.request(op, replies::empty(reply));
    }

    fn symlink(
        &self,
        req: &Request,
        parent: INodeNo,
        child: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let target = Arc::from(target.as_os_str().as_bytes());
        let (parent, caller) = (ino(parent), caller(req));
        let name = checked!(name(child), reply);
        let op = Op::Symlink { parent, name, target, caller };
        self.host.request(op, replies::entry(reply));
    }

    fn rename(
        &self,
        _req: &Request,
        parent: INodeNo,
        child: &OsStr,
        to_parent: INodeNo,
        to_child: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let mode = checked!(convert::rename_mode(flags), reply);
        let (parent, to_parent) = (ino(parent), ino(to_parent));
        let name_of = name;
        let (name, to_name) = (checked!(name_of(child), reply), checked!(name_of(to_child), reply));
        let op = Op::Rename { parent, name, to_parent, to_name, mode };
        self.host.request(op, replies::empty(reply));
    }

    fn link(
        &self,
        _req: &Request,
        node: INodeNo,
        to_parent: INodeNo,
        to_child: &OsStr,
        reply: ReplyEntry,
    ) {
        let to_name = checked!(name(to_child), reply);
        let op = Op::Link { ino: ino(node), to_parent: ino(to_parent), to_name };
        self.host.request(op, replies::entry(reply));
    }

    fn open(&self, _req: &Request, node: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (node, flags) = (ino(node), flags.0);
        let (mode, mappable) = self.serve(flags);
        let op = Op::Open { ino: node, flags: convert::open_flags(flags) };
        let responder = replies::opened(self.host.clone(), node, mode, mappable, reply);
        self.host.request(op, responder);
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        child: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (parent, caller) = (ino(parent), caller(req));
        let name = checked!(name(child), reply);
        let (serve, mappable) = self.serve(flags);
        let flags = convert::open_flags(flags);
        let op = Op::Create { parent, name, mode: mode & 0o7777, flags, caller };
        self.host.request(op, replies::created(self.host.clone(), serve, mappable, reply));
    }

    fn read(
        &self,
        _req: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        len: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let handle = fh(handle);
        READ.with_borrow_mut(|buffer| match self.host.try_read(handle, offset, len, buffer) {
            Some(Ok(())) => reply.data(buffer),
            Some(Err(errno)) => reply.error(convert::errno(errno)),
            None => {
                self.host.request(Op::Read { fh: handle, offset, len }, replies::data(reply));
            }
        });
    }

    fn write(
        &self,
        _req: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let (handle, write) = (fh(handle), convert::write_flags(write_flags));
        // The kernel sends no FSYNC for O_SYNC and O_DSYNC on direct handles, and fcntl changes
        // the flags. O_SYNC contains O_DSYNC.
        let sync = flags.0 & libc::O_DSYNC != 0;
        match self.host.try_write(handle, offset, data, write) {
            Some(Ok(bytes)) if sync => {
                self.host.request(Op::Fsync { fh: handle }, replies::synced(reply, bytes));
            }
            Some(Ok(bytes)) => reply.written(bytes),
            Some(Err(errno)) => reply.error(convert::errno(errno)),
            None => {
                let op = Op::Write { fh: handle, offset, data: data.to_vec(), flags: write };
                let responder = if sync {
                    replies::written_then_synced(self.host.clone(), handle, reply)
                } else {
                    replies::written(reply)
                };
                self.host.request(op, responder);
            }
        }
    }

    fn flush(
        &self,
        _req: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        self.host.request(Op::Flush { fh: fh(handle) }, replies::empty(reply));
    }

    fn release(
        &self,
        _req: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.host.note_released(fh(handle));
        self.host.request(Op::Release { fh: fh(handle) }, replies::empty(reply));
    }

    fn fsync(
        &self,
        _req: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        self.host.request(Op::Fsync { fh: fh(handle) }, replies::empty(reply));
    }

    fn opendir(&self, _req: &Request, node: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let node = ino(node);
        let mode = FopenFlags::empty();
        let responder = replies::opened(self.host.clone(), node, mode, false, reply);
        self.host.request(Op::OpenDir { ino: node }, responder);
    }

    fn readdir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        cookie: u64,
        reply: ReplyDirectory,
    ) {
        let op = Op::ReadDir { fh: fh(handle), cookie, max: self.fit.ask(), plus: false };
        self.host.request(op, replies::directory(Arc::clone(&self.fit), reply));
    }

    fn readdirplus(
        &self,
        _req: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        cookie: u64,
        reply: ReplyDirectoryPlus,
    ) {
        let fit = Arc::clone(&self.fit_plus);
        let op = Op::ReadDir { fh: fh(handle), cookie, max: fit.ask(), plus: true };
        self.host.request(op, replies::directory_plus(self.host.clone(), fit, reply));
    }

    fn releasedir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.host.request(Op::Release { fh: fh(handle) }, replies::empty(reply));
    }

    fn fsyncdir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        self.host.request(Op::FsyncDir { fh: fh(handle) }, replies::empty(reply));
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        self.host.statfs(replies::statfs(reply));
    }

    fn setxattr(
        &self,
        _req: &Request,
        node: INodeNo,
        attr: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        checked!(convert::xattr_name(attr), reply);
        let mode = checked!(convert::xattr_mode(flags), reply);
        let name = checked!(name(attr), reply);
        let op = Op::SetXattr { ino: ino(node), name, value: Arc::from(value), mode };
        self.host.request(op, replies::empty(reply));
    }

    fn getxattr(&self, _req: &Request, node: INodeNo, attr: &OsStr, room: u32, reply: ReplyXattr) {
        checked!(convert::xattr_name(attr), reply);
        let name = checked!(name(attr), reply);
        let op = Op::GetXattr { ino: ino(node), name };
        self.host.request(op, replies::xattr(room, reply));
    }

    fn listxattr(&self, req: &Request, node: INodeNo, room: u32, reply: ReplyXattr) {
        let responder = replies::xattr_names(room, req.uid(), reply);
        self.host.request(Op::ListXattr { ino: ino(node) }, responder);
    }

    fn removexattr(&self, _req: &Request, node: INodeNo, attr: &OsStr, reply: ReplyEmpty) {
        checked!(convert::xattr_name(attr), reply);
        let name = checked!(name(attr), reply);
        let op = Op::RemoveXattr { ino: ino(node), name };
        self.host.request(op, replies::empty(reply));
    }

    fn access(&self, _req: &Request, _ino: INodeNo, _mask: AccessFlags, reply: ReplyEmpty) {
        // The kernel checks (`default_permissions`); it does not ask again after this.
        reply.error(convert::errno(Errno::NoSys));
    }

    fn ioctl(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        _command: u32,
        _data: &[u8],
        _room: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(fuser::Errno::ENOTTY);
    }

    fn fallocate(
        &self,
        req: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        len: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let how = checked!(convert::allocate(mode), reply);
        let kill_suidgid = self.drops_set_id(req);
        let op = Op::Fallocate { fh: fh(handle), offset, len, how, kill_suidgid };
        self.host.request(op, replies::empty(reply));
    }

    fn lseek(
        &self,
        _req: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let whence = checked!(convert::whence(whence), reply);
        // A negative offset is past every byte there is.
        let Ok(offset) = u64::try_from(offset) else {
            return reply.error(convert::errno(Errno::NxIo));
        };
        let op = Op::Seek { fh: fh(handle), offset, whence };
        self.host.request(op, replies::offset(reply));
    }
}
