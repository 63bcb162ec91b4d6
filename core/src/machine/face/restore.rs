//! Taking changes back, all at once or one name at a time, and what snapshots say put in their
//! place. While a commit is under way they wait: what it has taken must not change.

use super::create::New;
use super::machine::Machine;
use crate::format::{Body, Inode};
use crate::machine::flows::{Cx, Stop};
use crate::machine::names::{Gone, Node, Record, Slot, What, XattrState};
use crate::shapes::{Caller, Effect, FileKind, Name, RenameMode, Reply, Restored};
use crate::sync::Arc;
use crate::words::{Errno, Ino};

impl Machine {
    /// All that is uncommitted goes, in one step, without a request to the store: with each change
    /// is remembered what the snapshot says.
    pub(super) fn discard(&mut self, cx: &mut Cx<'_>) -> Result<Reply, Stop> {
        self.engine.settled(cx)?;
        let taken = self.engine.diff();
        let files = self.engine.repo.snapshot.as_ref().map_or(1, |snapshot| snapshot.files);
        let first_root = self.engine.repo.first_root;
        let table = &mut self.engine.table;
        let changed: Vec<Ino> = std::mem::take(&mut table.changed).into_iter().collect();
        for ino in &changed {
            let Some(node) = table.get_mut(*ino) else { continue };
            let is_known = node.lookups > 0;
            let names = node.dir_mut().map(|dir| dir.dir.put_back()).unwrap_or_default();
            for name in names.into_iter().filter(|_| is_known) {
                cx.out.push(Effect::InvalidateName(*ino, name));
            }
        }
        for ino in &changed {
            let Some(node) = table.get_mut(*ino) else { continue };
            if node.lookups > 0 {
                cx.out.push(Effect::InvalidateInode(*ino));
            }
            if *ino == Ino::ROOT && node.base.is_none() {
                node.edit_attr(|attr| *attr = first_root);
                node.set_xattrs(XattrState::unstored(Default::default()));
                node.dir_mut().into_iter().for_each(|dir| dir.dir.subdirs = 0);
            }
            table.reset(*ino);
        }
        (table.gone, table.count) = (Gone::default(), files);
        for ino in changed {
            table.release(ino);
        }
        self.engine.since.discarded();
        Ok(Reply::Diff(Box::new(taken)))
    }

    pub(super) fn restore(
        &mut self,
        cx: &mut Cx<'_>,
        ino: Ino,
        inode: &Inode,
    ) -> Result<Reply, Stop> {
        self.engine.settled(cx)?;
        let node = self.node(ino)?;
        if node.kind() != inode.body.kind() {
            return Err(Stop::Errno(Errno::Inval));
        }
        let base = node.base.as_ref().map(Record::inode);
        let same = base.is_some_and(|base| base.meta == inode.meta && base.body == inode.body);
        if same && !self.engine.table.changed.contains(&ino) {
            // What changed keeps the directories above it in memory.
            let all = node.children == 0;
            return Ok(Reply::Restored(if all { Restored::SameBelow } else { Restored::Same }));
        }
        self.take(cx, ino, inode)?;
        Ok(Reply::Restored(Restored::Changed))
    }

    /// An inode takes what a record of its kind says.
    fn take(&mut self, cx: &mut Cx<'_>, ino: Ino, inode: &Inode) -> Result<(), Stop> {
        self.engine.register(ino)?;
        let shared = Arc::clone(&self.engine.shared);
        self.engine.table.node_mut(ino).assume(inode, shared.around());
        self.engine.table.settle(ino, inode);
        if self.engine.table.changed.contains(&ino) {
            self.engine.register(ino)?;
        }
        cx.out.push(Effect::InvalidateInode(ino));
        self.calm();
        Ok(())
    }

    /// What is not changed at all is not old either.
    fn calm(&mut self) {
        if self.engine.table.changed.is_empty() {
            self.engine.since.discarded();
        }
    }

    pub(super) fn revive(
        &mut self,
        cx: &mut Cx<'_>,
        parent: Ino,
        name: &Name,
        inode: &Inode,
    ) -> Result<Reply, Stop> {
        self.engine.settled(cx)?;
        self.room_for_name(cx, parent, name)?;
        if !self.come_back(cx, parent, name, inode)? {
            let (new, mode) = (new_of(&inode.body), inode.meta.mode);
            let caller = Caller { uid: inode.meta.uid, gid: inode.meta.gid };
            let ino = self.make(cx, (parent, name), new, mode, caller)?;
            self.take(cx, ino, inode)?;
        }
        // The kernel may remember that there was nothing.
        cx.out.push(Effect::InvalidateName(parent, Arc::clone(name)));
        cx.out.push(Effect::InvalidateInode(parent));
        Ok(Reply::Done)
    }

    /// The very inode that the last snapshot has there stands there again; whether it can be had.
    fn come_back(
        &mut self,
        cx: &mut Cx<'_>,
        parent: Ino,
        name: &Name,
        inode: &Inode,
    ) -> Result<bool, Stop> {
        let Some(was) = self.was(parent, name) else { return Ok(false) };
        let Some(record @ Record::Own(base)) = &was.record else { return Ok(false) };
        if **base != *inode {
            return Ok(false);
        }
        let now = self.engine.table.get(was.ino);
        let stands = now.and_then(|node| node.names.first()).map(|n| (n.parent, n.name.clone()));
        match (now.is_some(), stands) {
            (_, Some((from, old))) => {
                let node = self.node(was.ino)?;
                if node.names.len() > 1 || !node.base_names().contains(&(parent, name.clone())) {
                    return Ok(false);
                }
                self.rename(cx, (from, &old), (parent, name), RenameMode::NoReplace)?;
                cx.out.push(Effect::InvalidateName(from, old));
                cx.out.push(Effect::InvalidateInode(from));
                if was.kind != FileKind::Directory {
                    self.take(cx, was.ino, inode)?;
                }
                return Ok(true);
            }
            // What was in it is gone, name by name.
            _ if was.kind == FileKind::Directory => return Ok(false),
            (true, None) => {
                let table = &mut self.engine.table;
                table.reset(was.ino);
                table.changed.remove(&was.ino);
                cx.out.push(Effect::InvalidateInode(was.ino));
            }
            (false, None) => {}
        }
        let (table, record) = (&mut self.engine.table, record.clone());
        table.count_again(&record);
        if let Some(dir) = table.node_mut(parent).dir_mut() {
            dir.dir.put_back_name(name);
        }
        self.calm();
        Ok(true)
    }

    /// What the last snapshot has under a name that was changed.
    fn was(&self, parent: Ino, name: &Name) -> Option<Slot> {
        let dir = self.engine.table.get(parent).and_then(Node::dir)?;
        dir.dir.touched.get(name)?.clone()
    }

    pub(super) fn withdraw(
        &mut self,
        cx: &mut Cx<'_>,
        parent: Ino,
        name: &Name,
        goes_home: bool,
    ) -> Result<Reply, Stop> {
        self.engine.settled(cx)?;
        let ino = self.resident(cx, parent, name)?;
        let node = self.node(ino)?;
        let is_dir = node.dir().is_some();
        let base = node.base.as_ref().map(|base| Arc::new(base.inode().clone()));
        let elsewhere = |home: &(Ino, Name)| goes_home && *home != (parent, name.clone());
        let home = node.home.clone().filter(elsewhere);
        cx.out.push(Effect::InvalidateName(parent, Arc::clone(name)));
        cx.out.push(Effect::InvalidateInode(parent));
        if let (Some((to, at)), Some(base)) = (home, base)
            && self.is_free(ino, to, &at)
        {
            self.rename(cx, (parent, name), (to, &at), RenameMode::NoReplace)?;
            cx.out.push(Effect::InvalidateName(to, Arc::clone(&at)));
            cx.out.push(Effect::InvalidateInode(to));
            return Ok(Reply::Withdrawn(Some((to, at, base))));
        }
        if is_dir {
            self.remove_dir(cx, parent, name)?
        } else {
            self.unlink(cx, parent, name)?
        };
        Ok(Reply::Withdrawn(None))
    }

    /// Whether an inode can have its name of the last snapshot again.
    fn is_free(&self, ino: Ino, to: Ino, name: &Name) -> bool {
        let stands = |node: &Node| node.ino == Ino::ROOT || !node.names.is_empty();
        let one = self.engine.table.get(ino).is_some_and(|node| node.names.len() == 1);
        one && self.engine.table.get(to).is_some_and(stands)
            && self.find(to, name).is_none()
            && !self.is_below(to, ino)
    }

    pub(super) fn settle_times(&mut self, cx: &mut Cx<'_>, ino: Ino) -> Result<Reply, Stop> {
        self.engine.settled(cx)?;
        if self.engine.table.settle_times(ino) {
            cx.out.push(Effect::InvalidateInode(ino));
            self.calm();
        }
        Ok(Reply::Done)
    }
}

fn new_of(body: &Body) -> New {
    let special = |kind, rdev| New::Other(What::Special { kind, rdev });
    match body {
        Body::File { .. } => New::File,
        Body::Directory { .. } => New::Dir,
        Body::Symlink { target } => New::Other(What::Symlink(Arc::clone(target))),
        Body::Fifo => special(FileKind::Fifo, 0),
        Body::Socket => special(FileKind::Socket, 0),
        Body::CharDevice { rdev } => special(FileKind::CharDevice, *rdev),
        Body::BlockDevice { rdev } => special(FileKind::BlockDevice, *rdev),
    }
}
