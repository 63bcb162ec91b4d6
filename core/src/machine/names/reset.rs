//! Taking changes back: an inode becomes what a snapshot says of it. Nothing is loaded for that:
//! content is a layout, and what the last snapshot said is remembered with each change.

use crate::conc::Around;
use crate::format::{Body, Inode};
use crate::machine::names::ahead::Ahead;
use crate::machine::names::directory::Directory;
use crate::machine::names::node::{
    Layout, LinkName, Node, NodeBody, Record, What, XattrState, attr_of,
};
use crate::machine::names::table::{Table, size_of};
use crate::shapes::Name;
use crate::sync::Arc;
use crate::words::{Epoch, Ino};

impl Node {
    /// The names that the last snapshot gives it.
    pub(crate) fn base_names(&self) -> Vec<(Ino, Name)> {
        match &self.base {
            Some(Record::Linked(linked)) => linked.names.clone(),
            Some(Record::Own(_)) => self.home.iter().cloned().collect(),
            None => Vec::new(),
        }
    }

    /// Takes content, attributes and extended attributes from a record of the same kind; of a
    /// directory not what is in it. A file is registered no more: it must count as unchanged after
    /// this, or be registered again.
    pub(crate) fn assume(&mut self, inode: &Inode, around: Around<'_>) {
        let attr = attr_of(&inode.meta, self.file_attr().links);
        self.set_xattrs(XattrState::of(&inode.meta.xattrs));
        match (&mut self.body, &inode.body) {
            (NodeBody::File(node), Body::File { size, content }) => {
                node.layout = Layout { size: *size, content: content.clone() };
                node.ahead = Ahead::default();
                node.file.restore(around, attr, *size, node.layout.cover());
            }
            (NodeBody::Other(node), Body::Symlink { target }) => {
                node.attr = attr;
                node.what = What::Symlink(Arc::clone(target));
            }
            (
                NodeBody::Other(node),
                Body::CharDevice { rdev: to } | Body::BlockDevice { rdev: to },
            ) => {
                node.attr = attr;
                if let What::Special { rdev, .. } = &mut node.what {
                    *rdev = *to;
                }
            }
            (NodeBody::File(_) | NodeBody::Dir(_) | NodeBody::Other(_), _) => {
                self.edit_attr(|now| *now = attr);
            }
        }
    }

    /// Whether it stands where the last snapshot has it, and nowhere else.
    fn has_base_names(&self) -> bool {
        let base = self.base_names();
        let is_base = |n: &LinkName| base.iter().any(|(p, name)| *p == n.parent && *name == n.name);
        self.linked == matches!(self.base, Some(Record::Linked(_)))
            && self.names.len() == base.len()
            && self.names.iter().all(is_base)
    }
}

impl Directory {
    /// Its names stand for what they stood for in the last snapshot; those that did not.
    pub(crate) fn put_back(&mut self) -> Vec<Name> {
        let touched = std::mem::take(&mut self.touched);
        for (name, was) in &touched {
            match was {
                Some(slot) => self.listing_mut().insert(Arc::clone(name), slot.clone()),
                None => self.listing_mut().remove(name),
            }
        }
        touched.into_keys().collect()
    }

    /// One name stands for what it stood for in the last snapshot.
    pub(crate) fn put_back_name(&mut self, name: &Name) {
        if let Some(Some(slot)) = self.touched.get(name).cloned() {
            self.listing_mut().insert(Arc::clone(name), slot);
        }
    }
}

impl Table {
    /// An inode is what the last snapshot says of it; what that does not know has no name. The
    /// names of directories are put back apart.
    pub(crate) fn reset(&mut self, ino: Ino) {
        let shared = Arc::clone(&self.shared);
        let node = self.node_mut(ino);
        let names = node.base_names();
        node.linked = matches!(node.base, Some(Record::Linked(_)));
        let links = u32::try_from(names.len()).unwrap_or(u32::MAX);
        node.edit_attr(|attr| attr.links = links);
        if let Some(base) = node.base.clone() {
            node.assume(base.inode(), shared.around());
            if let (Some(dir), Body::Directory { subdirs, .. }) =
                (node.dir_mut(), &base.inode().body)
            {
                dir.dir.subdirs = *subdirs;
            }
        } else if let NodeBody::File(file) = &node.body {
            // It has no name any more: its next change has to register it.
            file.file.register(Epoch(0));
        }
        self.set_names(ino, names);
    }

    fn set_names(&mut self, ino: Ino, names: Vec<(Ino, Name)>) {
        let mut new = Vec::new();
        for (parent, name) in names {
            let resident = self.get_mut(parent);
            let pins = resident.map(|parent| parent.children += 1).is_some();
            new.push(LinkName { parent, name, pins });
        }
        let old = std::mem::replace(&mut self.node_mut(ino).names, new);
        for name in old.into_iter().filter(|name| name.pins) {
            self.node_mut(name.parent).children -= 1;
        }
    }

    /// An inode of the last snapshot that lost its only name has it again.
    pub(crate) fn count_again(&mut self, record: &Record) {
        self.count += 1;
        self.gone.bytes = self.gone.bytes.wrapping_sub(size_of(record.inode()));
    }

    /// Changes of names that came to nothing are forgotten; whether all did.
    pub(crate) fn prune(&mut self, ino: Ino) -> bool {
        let Some(dir) = self.get(ino).and_then(Node::dir) else { return true };
        let listing = dir.dir.listing.as_ref();
        let same = |name: &Name| {
            let was = dir.dir.touched.get(name).and_then(Option::as_ref);
            match (was, listing.and_then(|listing| listing.get(name))) {
                (None, None) => true,
                (Some(was), Some(now)) if was.ino == now.ino => {
                    let was_linked = matches!(was.record, Some(Record::Linked(_)));
                    self.get(now.ino).is_none_or(|node| node.linked == was_linked)
                }
                (Some(_) | None, Some(_) | None) => false,
            }
        };
        let names: Vec<Name> = dir.dir.touched.keys().filter(|name| same(name)).cloned().collect();
        let Some(dir) = self.node_mut(ino).dir_mut() else { return true };
        names.iter().for_each(|name| drop(dir.dir.touched.remove(name)));
        dir.dir.touched.is_empty()
    }

    /// An inode that has just taken what `inode` says counts as changed no more, if that is what
    /// the last snapshot says too.
    pub(crate) fn settle(&mut self, ino: Ino, inode: &Inode) {
        let names_are_same = self.prune(ino);
        let node = self.node(ino);
        let Some(base) = node.base.as_ref().map(Record::inode) else { return };
        let is_dir = node.dir().is_some();
        let same = base.meta == inode.meta && (is_dir || base.body == inode.body);
        if same && names_are_same && node.has_base_names() {
            self.changed.remove(&ino);
        }
    }

    /// A directory whose names all are those of the last snapshot again has its times again.
    pub(crate) fn settle_times(&mut self, ino: Ino) -> bool {
        let had_changes =
            self.get(ino).and_then(Node::dir).is_some_and(|d| !d.dir.touched.is_empty());
        if !had_changes || !self.prune(ino) {
            return false;
        }
        let node = self.node_mut(ino);
        let Some(base) = node.base.clone() else { return false };
        let meta = &base.inode().meta;
        let now = node.file_attr();
        let same = attr_of(meta, now.links);
        if (now.mode, now.uid, now.gid) != (same.mode, same.uid, same.gid)
            || node.xattrs.record() != meta.xattrs
        {
            return false;
        }
        node.edit_attr(|attr| (attr.mtime, attr.ctime) = (meta.mtime, meta.ctime));
        self.settle(ino, base.inode());
        true
    }
}
