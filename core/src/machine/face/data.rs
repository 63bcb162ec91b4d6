//! Handles and what is done through them.

use super::machine::Machine;
use crate::conc::{Handle, Shared, hole_bytes};
use crate::machine::flows::{Cx, Stop};
use crate::machine::names::{Layout, NodeBody};
use crate::shapes::{Allocate, OpenFlags, Reply, Whence, WriteFlags};
use crate::sync::Arc;
use crate::words::{Errno, Fh, Ino};

impl Machine {
    pub(super) fn open(
        &mut self,
        cx: &mut Cx<'_>,
        ino: Ino,
        flags: OpenFlags,
    ) -> Result<Reply, Stop> {
        match &self.node(ino)?.body {
            NodeBody::File(_) => {}
            NodeBody::Dir(_) => return Err(Stop::Errno(Errno::IsDir)),
            NodeBody::Other(_) => return Err(Stop::Errno(Errno::Inval)),
        }
        if self.engine.repo.read_only && (flags.write || flags.truncate) {
            return Err(Stop::Errno(Errno::RoFs));
        }
        self.slot_is_free()?;
        if flags.write || flags.truncate {
            // Here, so that no write waits for it.
            self.know_capability(cx, ino)?;
        }
        if flags.truncate {
            self.truncate(cx, ino)?;
        }
        self.open_file(ino, flags).map(Reply::Opened)
    }

    /// Cuts a file to nothing.
    fn truncate(&mut self, cx: &Cx<'_>, ino: Ino) -> Result<(), Stop> {
        self.engine.register(ino)?;
        let shared = Arc::clone(&self.engine.shared);
        let node = self.engine.table.node_mut(ino);
        let file = &node.file().ok_or(Errno::Inval)?.file;
        file.resize(shared.around(), cx.now.wall, 0)?;
        node.drop_capability();
        Ok(())
    }

    /// Whether one more handle can be opened.
    pub(super) fn slot_is_free(&self) -> Result<(), Stop> {
        let free =
            !self.free_slots.is_empty() || self.next_slot < self.engine.shared.limits.handles;
        if free { Ok(()) } else { Err(Stop::Errno(Errno::NFile)) }
    }

    /// Opens a handle of a regular file.
    pub(super) fn open_file(&mut self, ino: Ino, flags: OpenFlags) -> Result<Fh, Stop> {
        self.slot_is_free()?;
        let index = self.free_slots.pop().unwrap_or_else(|| {
            self.next_slot += 1;
            self.next_slot - 1
        });
        let node = self.engine.table.node_mut(ino);
        node.opens += 1;
        let file = Arc::clone(&node.file().ok_or(Errno::Inval)?.file);
        Ok(self.engine.shared.handles.open(index, Handle { file, flags }))
    }

    pub(super) fn release(&mut self, fh: Fh) -> Result<Reply, Stop> {
        if let Some(ino) = self.streams.close(fh) {
            return self.closed(ino);
        }
        let shared = Arc::clone(&self.engine.shared);
        let (index, handle) = shared.handles.close(fh).ok_or(Errno::BadF)?;
        self.free_slots.push(index);
        handle.file.settle(shared.around());
        self.closed(handle.file.ino)
    }

    /// Nothing is open any more, and nobody knows an inode.
    pub(super) fn disconnect(&mut self) -> Result<Reply, Stop> {
        for ino in self.streams.close_all() {
            self.closed(ino)?;
        }
        let shared = Arc::clone(&self.engine.shared);
        for (index, handle) in shared.handles.close_all() {
            self.free_slots.push(index);
            handle.file.settle(shared.around());
            self.closed(handle.file.ino)?;
        }
        self.engine.table.forget_all();
        Ok(Reply::Done)
    }

    /// One handle or stream fewer.
    fn closed(&mut self, ino: Ino) -> Result<Reply, Stop> {
        let node = self.engine.table.node_mut(ino);
        node.opens = node.opens.saturating_sub(1);
        self.engine.table.release(ino);
        Ok(Reply::Done)
    }

    /// Until there is a journal, there is nothing to wait for: what is written is in memory.
    pub(super) fn sync(&self, fh: Fh) -> Result<Reply, Stop> {
        self.handle_of(fh).map(|_| Reply::Done)
    }

    pub(super) fn read(
        &mut self,
        cx: &mut Cx<'_>,
        fh: Fh,
        offset: u64,
        len: u32,
    ) -> Result<Reply, Stop> {
        let mut data = Vec::new();
        self.insist(cx, fh, |shared| shared.try_read(fh, offset, len, &mut data))?;
        if seeded!(ReadChangesMtime) {
            self.handle_of(fh)?.file.set_attr(|attr| attr.mtime = cx.now.wall);
        }
        Ok(Reply::Data(data))
    }

    pub(super) fn write(
        &mut self,
        cx: &mut Cx<'_>,
        fh: Fh,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
    ) -> Result<Reply, Stop> {
        let (wall, ino) = (cx.now.wall, self.handle_of(fh)?.file.ino);
        self.know_capability(cx, ino)?;
        let write = |shared: &Shared| shared.write_guarded(fh, wall, offset, data, flags);
        let len = self.insist(cx, fh, write)?;
        if len > 0 {
            self.engine.table.node_mut(ino).drop_capability();
        }
        Ok(Reply::Written(len))
    }

    pub(super) fn fallocate(
        &mut self,
        cx: &mut Cx<'_>,
        fh: Fh,
        offset: u64,
        len: u64,
        (how, kill_suidgid): (Allocate, bool),
    ) -> Result<Reply, Stop> {
        let handle = self.handle_of(fh)?;
        if !handle.flags.write {
            return Err(Stop::Errno(Errno::BadF));
        }
        if len == 0 {
            return Err(Stop::Errno(Errno::Inval));
        }
        let limit = self.engine.shared.limits.file_bytes;
        let end = offset.checked_add(len).filter(|end| *end <= limit).ok_or(Errno::FBig)?;
        if how == Allocate::KeepSize {
            return Ok(Reply::Done);
        }
        let ino = handle.file.ino;
        self.know_capability(cx, ino)?;
        self.engine.register(ino)?;
        let shared = Arc::clone(&self.engine.shared);
        let wall = cx.now.wall;
        let allocate = || {
            handle.file.allocate(shared.around(), wall, offset..end, how, |attr| {
                if kill_suidgid {
                    attr.drop_set_id();
                }
            })
        };
        let mut done = allocate();
        if done == Err(Errno::NoSpc) {
            // A hole may need bitmaps, for which it may use the reserve; there is room for them
            // once something has gone, unless threads are faster.
            self.engine.room_for_write(hole_bytes(shared.limits.block_bytes));
            done = allocate();
            if done == Err(Errno::NoSpc) {
                return Err(self.out_of_room(cx));
            }
        }
        done?;
        self.engine.table.node_mut(ino).drop_capability();
        Ok(Reply::Done)
    }

    pub(super) fn seek(
        &mut self,
        cx: &mut Cx<'_>,
        fh: Fh,
        offset: u64,
        whence: Whence,
    ) -> Result<Reply, Stop> {
        let file = self.handle_of(fh)?.file;
        let layout = self.node(file.ino)?.file().map(|node| node.layout.clone());
        let Layout { size, .. } = layout.ok_or(Errno::Inval)?;
        if offset < size
            && let Some(key) = self.engine.find_holes(cx, file.ino, offset, whence)?
        {
            return Err(Stop::Wait(key));
        }
        Ok(Reply::Offset(file.seek(offset, whence)?))
    }

    fn handle_of(&self, fh: Fh) -> Result<Handle, Stop> {
        self.engine.shared.handle(fh).ok_or(Stop::Errno(Errno::BadF))
    }
}
