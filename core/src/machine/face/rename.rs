//! Rename: one step, over files and directories, or as an exchange.

use super::attributes::check_name;
use super::machine::Machine;
use crate::machine::flows::{Cx, Stop};
use crate::machine::names::Slot;
use crate::shapes::{FileKind, Name, RenameMode, Reply};
use crate::words::{Errno, Ino, Time};

/// A name, and what it stands for.
#[derive(Clone)]
struct Place {
    parent: Ino,
    name: Name,
    slot: Slot,
}

impl Place {
    fn is_dir(&self) -> bool {
        self.slot.kind == FileKind::Directory
    }
}

impl Machine {
    pub(super) fn rename(
        &mut self,
        cx: &mut Cx<'_>,
        from: (Ino, &Name),
        to: (Ino, &Name),
        mode: RenameMode,
    ) -> Result<Reply, Stop> {
        self.node(to.0)?.dir().ok_or(Errno::NotDir)?;
        let source_ino = self.resident(cx, from.0, from.1)?;
        check_name(to.1)?;
        if self.node(to.0)?.names.is_empty() && to.0 != Ino::ROOT {
            return Err(Stop::Errno(Errno::NoEnt));
        }
        self.listed(cx, to.0)?;
        let source = self.place(from).ok_or(Errno::NoEnt)?;
        let target = self.place(to);
        if let Some(target) = &target {
            if mode == RenameMode::NoReplace {
                return Err(Stop::Errno(Errno::Exist));
            }
            self.engine.materialize(cx, target.parent, &target.name)?;
        } else if mode == RenameMode::Exchange {
            return Err(Stop::Errno(Errno::NoEnt));
        }
        if source.is_dir() && self.is_below(to.0, source_ino) {
            return Err(Stop::Errno(Errno::Inval));
        }
        match target {
            Some(target) if target.slot.ino == source_ino => Ok(Reply::Done),
            Some(target) if mode == RenameMode::Exchange => {
                self.exchange(&source, &target, cx.now.wall)
            }
            Some(target) => self.replace(cx, &source, &target),
            None => self.move_name(&source, to, cx.now.wall),
        }
    }

    fn place(&self, at: (Ino, &Name)) -> Option<Place> {
        let slot = self.find(at.0, at.1)?;
        Some(Place { parent: at.0, name: at.1.clone(), slot })
    }

    /// Whether `ino` is `above`, or somewhere below it.
    pub(super) fn is_below(&self, ino: Ino, above: Ino) -> bool {
        let mut at = Some(ino);
        while let Some(ino) = at {
            if ino == above {
                return true;
            }
            let node = self.engine.table.get(ino);
            at = node.and_then(|node| node.names.first()).map(|name| name.parent);
        }
        false
    }

    fn replace(&mut self, cx: &mut Cx<'_>, source: &Place, target: &Place) -> Result<Reply, Stop> {
        if target.is_dir() && self.is_below(source.parent, target.slot.ino) {
            return Err(Stop::Errno(Errno::NotEmpty));
        }
        match (source.is_dir(), target.is_dir()) {
            (true, false) => return Err(Stop::Errno(Errno::NotDir)),
            (false, true) => return Err(Stop::Errno(Errno::IsDir)),
            (true, true) => self.is_empty(cx, target.slot.ino)?,
            (false, false) => {}
        }
        self.register_all(&[source.parent, target.parent, source.slot.ino, target.slot.ino])?;
        let wall = cx.now.wall;
        if target.is_dir() {
            self.count_subdirs(target.parent, -1);
        }
        self.drop_name(target.slot.ino, target.parent, &target.name, wall);
        #[cfg(core_bugs)]
        if seeded!(RenameLosesTarget) {
            self.engine.table.wrong_lose(target.slot.ino);
        }
        self.move_name(source, (target.parent, &target.name), wall)
    }

    fn move_name(&mut self, source: &Place, to: (Ino, &Name), wall: Time) -> Result<Reply, Stop> {
        let ino = source.slot.ino;
        self.register_all(&[source.parent, to.0, ino])?;
        self.point(source.parent, &source.name, None);
        self.point(to.0, to.1, Some(source.slot.clone()));
        self.engine.table.add_name(ino, to.0, to.1);
        self.engine.table.remove_name(ino, source.parent, &source.name);
        if source.is_dir() {
            self.count_subdirs(source.parent, -1);
            self.count_subdirs(to.0, 1);
        }
        self.stamp_rename(&[ino], &[source.parent, to.0], wall);
        Ok(Reply::Done)
    }

    fn exchange(&mut self, a: &Place, b: &Place, wall: Time) -> Result<Reply, Stop> {
        if b.is_dir() && self.is_below(a.parent, b.slot.ino) {
            return Err(Stop::Errno(Errno::Inval));
        }
        self.register_all(&[a.parent, b.parent, a.slot.ino, b.slot.ino])?;
        self.point(a.parent, &a.name, Some(b.slot.clone()));
        self.point(b.parent, &b.name, Some(a.slot.clone()));
        for (from, to) in [(a, b), (b, a)] {
            self.engine.table.add_name(from.slot.ino, to.parent, &to.name);
            self.engine.table.remove_name(from.slot.ino, from.parent, &from.name);
            if from.is_dir() {
                self.count_subdirs(from.parent, -1);
                self.count_subdirs(to.parent, 1);
            }
        }
        self.stamp_rename(&[a.slot.ino, b.slot.ino], &[a.parent, b.parent], wall);
        Ok(Reply::Done)
    }

    fn register_all(&mut self, inos: &[Ino]) -> Result<(), Stop> {
        inos.iter().try_for_each(|ino| self.engine.register(*ino))
    }

    fn stamp_rename(&mut self, moved: &[Ino], parents: &[Ino], wall: Time) {
        for ino in moved {
            self.engine.table.node_mut(*ino).edit_attr(|attr| attr.ctime = wall);
        }
        for parent in parents {
            self.stamp(*parent, wall);
        }
    }
}
