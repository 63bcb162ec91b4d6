//! Removal of names.

use super::attributes::check_name;
use super::machine::Machine;
use crate::machine::flows::{Cx, Stop};
use crate::machine::names::Node;
use crate::shapes::{FileKind, Name, Reply};
use crate::words::{Errno, Ino, Time};

impl Machine {
    pub(super) fn unlink(
        &mut self,
        cx: &mut Cx<'_>,
        parent: Ino,
        name: &Name,
    ) -> Result<Reply, Stop> {
        let ino = self.resident(cx, parent, name)?;
        if self.node(ino)?.kind() == FileKind::Directory {
            return Err(Stop::Errno(Errno::IsDir));
        }
        self.remove(cx, ino, parent, name)
    }

    pub(super) fn remove_dir(
        &mut self,
        cx: &mut Cx<'_>,
        parent: Ino,
        name: &Name,
    ) -> Result<Reply, Stop> {
        let ino = self.resident(cx, parent, name)?;
        self.node(ino)?.dir().ok_or(Errno::NotDir)?;
        self.is_empty(cx, ino)?;
        self.remove(cx, ino, parent, name)?;
        self.count_subdirs(parent, -1);
        Ok(Reply::Done)
    }

    fn remove(
        &mut self,
        cx: &mut Cx<'_>,
        ino: Ino,
        parent: Ino,
        name: &Name,
    ) -> Result<Reply, Stop> {
        self.engine.register(parent)?;
        self.engine.register(ino)?;
        self.point(parent, name, None);
        self.stamp(parent, cx.now.wall);
        self.drop_name(ino, parent, name, cx.now.wall);
        #[cfg(core_bugs)]
        if seeded!(UnlinkFreesOpen) {
            self.engine.table.wrong_lose(ino);
        }
        Ok(Reply::Done)
    }

    /// The inode that a name stands for, in memory.
    pub(super) fn resident(
        &mut self,
        cx: &mut Cx<'_>,
        parent: Ino,
        name: &Name,
    ) -> Result<Ino, Stop> {
        self.node(parent)?.dir().ok_or(Errno::NotDir)?;
        check_name(name)?;
        self.listed(cx, parent)?;
        self.engine.materialize(cx, parent, name)?.ok_or(Stop::Errno(Errno::NoEnt))
    }

    /// Whether a directory has no entries.
    pub(super) fn is_empty(&mut self, cx: &mut Cx<'_>, ino: Ino) -> Result<(), Stop> {
        self.listed(cx, ino)?;
        let dir = self.node(ino)?.dir().ok_or(Errno::NotDir)?;
        if dir.dir.listing.as_ref().is_some_and(|listing| listing.is_empty()) {
            Ok(())
        } else {
            Err(Stop::Errno(Errno::NotEmpty))
        }
    }

    /// A registered inode loses a name; without any, it lives as long as look-ups and handles do.
    pub(super) fn drop_name(&mut self, ino: Ino, parent: Ino, name: &Name, wall: Time) {
        let node = self.engine.table.node_mut(ino);
        node.edit_attr(|attr| {
            attr.links = attr.links.saturating_sub(1);
            attr.ctime = wall;
        });
        self.engine.table.remove_name(ino, parent, name);
        self.leave_link_table(ino);
        self.engine.table.release(ino);
    }

    /// A linked inode with one name left goes back into its directory, if that is in memory; else
    /// it stays in the link table, which readers accept.
    fn leave_link_table(&mut self, ino: Ino) {
        let node = self.engine.table.node(ino);
        let [last] = &node.names[..] else { return };
        let (parent, name) = (last.parent, last.name.clone());
        let dir = self.engine.table.get(parent).and_then(Node::dir);
        let slot = dir.and_then(|dir| dir.dir.listing.as_ref()?.get(&name));
        let is_known = slot.is_some_and(|slot| slot.ino == ino);
        if node.linked && is_known && self.engine.register(parent).is_ok() {
            self.engine.table.unlink_from_table(ino);
            if let Some(dir) = self.engine.table.node_mut(parent).dir_mut() {
                dir.dir.touch(&name);
            }
        }
    }
}
