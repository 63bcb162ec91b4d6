//! What the commands are told: figures, and the list of what is uncommitted.

use std::collections::BTreeSet;
use std::ops::Range;

use super::engine::Engine;
use super::plan::{Planned, PlannedBody, PlannedFile};
use crate::format::{Body, Xattrs, bounds};
use crate::machine::names::{LinkName, Node, NodeBody, Slot, XattrState, shown_mode};
use crate::shapes::{Change, ChangeKind, Diff, FileKind, Name, Spans, StatFs, Status};
use crate::sync::Arc;
use crate::words::Ino;

impl Engine {
    /// Figures of what is uncommitted.
    pub(crate) fn status(&self) -> Status {
        let files = self.table.iter().filter_map(Node::file);
        let images = self.commit.iter().flat_map(|commit| commit.plan.inodes.values());
        let images = images.filter_map(|planned| match &planned.body {
            PlannedBody::File(PlannedFile { image: Some(image), .. }) => Some(image),
            PlannedBody::File(_) | PlannedBody::Dir(_) | PlannedBody::Other(_) => None,
        });
        let sealed_bytes: u64 = images.map(|image| image.dirty_spans().len_bytes()).sum();
        let dirty_bytes: u64 = files.map(|file| file.file.dirty_bytes()).sum();
        let changed = self.uncommitted();
        let is_file = |ino: &&Ino| self.table.get(**ino).is_some_and(|node| node.file().is_some());
        let dirty = self.is_dirty();
        Status {
            base: self.repo.base,
            branch: self.repo.branch.as_ref().map(|branch| branch.key.clone()),
            changed_inodes: changed.len() as u64,
            dirty_files: changed.iter().filter(is_file).count() as u64,
            oldest_ns: self.since.age_ns().filter(|_| dirty),
            retries: self.calls.retries,
            dirty_bytes: dirty_bytes + sealed_bytes,
            memory_bytes: self.shared.around().budget.used_bytes(),
            committing: self.commit.is_some(),
            dirty,
        }
    }

    /// Whether a commit would have anything to say. What is unlinked and still open does not count.
    fn is_dirty(&self) -> bool {
        let named = |ino: &Ino| {
            *ino == Ino::ROOT || self.table.get(*ino).is_some_and(|node| !node.names.is_empty())
        };
        self.table.changed.iter().any(named)
            || !self.table.gone.links.is_empty()
            || self.commit.is_some()
    }

    /// Figures of the file system.
    pub(crate) fn statfs(&self) -> StatFs {
        let changed = self.table.changed.len() as u64;
        StatFs {
            used_bytes: self.repo.snapshot.as_ref().map_or(0, |snapshot| snapshot.bytes),
            free_bytes: self.shared.around().budget.free_bytes(),
            inodes: self.table.count,
            free_inodes: self.shared.limits.changed_inodes.saturating_sub(changed),
        }
    }

    /// What is uncommitted, path by path.
    pub(crate) fn diff(&self) -> Diff {
        let (mut changes, mut send_bytes) = (Vec::new(), 0);
        for ino in self.uncommitted() {
            let Some(node) = self.table.get(ino) else { continue };
            if node.names.is_empty() && ino != Ino::ROOT {
                continue;
            }
            send_bytes += self.send_bytes(node);
            if let Some(change) = self.change_of(node) {
                let paths = self.kept_paths(node).into_iter();
                changes.extend(paths.map(|(below, path)| Change { below, path, ..change.clone() }));
            }
            for name in self.touched(ino) {
                let was = self.was(ino, name).and_then(Option::as_ref);
                changes.extend(self.change_of_name(ino, name, was));
            }
        }
        let order = |change: &Change| (change.below, Arc::clone(&change.path), change.change);
        changes.sort_by_key(order);
        changes.dedup_by_key(|change| order(change));
        Diff { changes, send_bytes }
    }

    /// Inodes that changed since the last cut, or that a commit has taken and not published yet.
    fn uncommitted(&self) -> BTreeSet<Ino> {
        let planned = self.commit.iter().flat_map(|commit| &commit.plan.inodes);
        let taken = planned.filter(|(_, planned)| planned.changed).map(|(ino, _)| *ino);
        self.table.changed.iter().copied().chain(taken).collect()
    }

    fn planned(&self, ino: Ino) -> Option<&Planned> {
        self.commit.as_ref()?.plan.inodes.get(&ino)
    }

    /// Names of a directory that may differ from the snapshot.
    fn touched(&self, ino: Ino) -> BTreeSet<&Name> {
        let now = self.table.get(ino).and_then(Node::dir);
        let now = now.into_iter().flat_map(|dir| dir.dir.touched.keys());
        let taken = match self.planned(ino).map(|planned| &planned.body) {
            Some(PlannedBody::Dir(dir)) => Some(dir.was.keys()),
            Some(PlannedBody::File(_) | PlannedBody::Other(_)) | None => None,
        };
        now.chain(taken.into_iter().flatten()).collect()
    }

    /// What such a name stood for in the snapshot; `None` for a name that does not differ.
    fn was(&self, parent: Ino, name: &Name) -> Option<&Option<Slot>> {
        // What a commit took is older than what was touched since.
        let taken = match self.planned(parent).map(|planned| &planned.body) {
            Some(PlannedBody::Dir(dir)) => dir.was.get(name),
            Some(PlannedBody::File(_) | PlannedBody::Other(_)) | None => None,
        };
        taken.or_else(|| self.table.get(parent)?.dir()?.dir.touched.get(name))
    }

    /// How a name differs from what it stood for.
    fn change_of_name(&self, parent: Ino, name: &Name, was: Option<&Slot>) -> Option<Change> {
        let now = super::directory::find(self, parent, name);
        let (change, kind, ino) = match (was, now) {
            (None, None) => return None,
            (None, Some(slot)) => (ChangeKind::Added, slot.kind, slot.ino),
            // Where the directory stands now was nothing; where it stood, all is gone.
            (Some(_), None) if !self.stays(parent) => return None,
            (Some(slot), None) => (ChangeKind::Deleted, slot.kind, slot.ino),
            (Some(old), Some(new)) if old.ino == new.ino => return None,
            (Some(_), Some(new)) => (ChangeKind::Modified, new.kind, new.ino),
        };
        let send_bytes = match change {
            ChangeKind::Deleted => 0,
            ChangeKind::Added | ChangeKind::Modified | ChangeKind::Attributes => {
                self.table.get(ino).map_or(0, |node| self.send_bytes(node))
            }
        };
        let path = join(&self.path(parent)?, name);
        Some(Change { below: None, path, change, kind, send_bytes })
    }

    /// Whether a directory stands where it stood in the snapshot.
    fn stays(&self, ino: Ino) -> bool {
        let mut at = ino;
        while at != Ino::ROOT {
            let node = self.table.get(at).and_then(|node| node.names.first());
            let Some(LinkName { parent, name, .. }) = node else { return false };
            let was = self.was(*parent, name);
            if was.is_some_and(|was| was.as_ref().is_none_or(|slot| slot.ino != at)) {
                return false;
            }
            at = *parent;
        }
        true
    }

    /// How an inode that keeps its names differs from the snapshot, to be told of each of them.
    fn change_of(&self, node: &Node) -> Option<Change> {
        let base = node.base.as_ref()?.inode();
        let send_bytes = self.send_bytes(node);
        let same_content = match (&node.body, &base.body) {
            (NodeBody::File(file), Body::File { size, content }) => {
                file.layout.size == *size
                    && file.layout.content == *content
                    && self.changed_ranges(node).is_empty()
                    && file.file.size() == *size
            }
            (NodeBody::File(_) | NodeBody::Dir(_) | NodeBody::Other(_), _) => true,
        };
        let attr = node.file_attr();
        let meta = &base.meta;
        let is_dir = node.kind() == FileKind::Directory;
        let same_attr = attr.mode == shown_mode(meta)
            && (attr.uid, attr.gid) == (meta.uid, meta.gid)
            && (is_dir || attr.mtime == meta.mtime)
            && same_xattrs(&node.xattrs, &meta.xattrs);
        let change = match (same_content, same_attr) {
            (false, _) => ChangeKind::Modified,
            (true, false) => ChangeKind::Attributes,
            (true, true) => return None,
        };
        Some(Change { below: None, path: Arc::from([]), change, kind: node.kind(), send_bytes })
    }

    /// The paths at which an inode stood before, each with the directory where it starts.
    fn kept_paths(&self, node: &Node) -> Vec<(Option<Ino>, Arc<[u8]>)> {
        if node.ino == Ino::ROOT {
            return vec![(None, Arc::from([]))];
        }
        let is_kept = |name: &&LinkName| {
            let was = self.was(name.parent, &name.name);
            was.is_none_or(|was| was.as_ref().is_some_and(|slot| slot.ino == node.ino))
        };
        let path = |name: &LinkName| match self.path(name.parent) {
            Some(above) => (None, join(&above, &name.name)),
            None => (Some(name.parent), Arc::clone(&name.name)),
        };
        node.names.iter().filter(is_kept).map(path).collect()
    }

    /// Bytes of content that a commit would send for an inode, an upper bound.
    fn send_bytes(&self, node: &Node) -> u64 {
        self.changed_ranges(node).iter().map(|range| range.end - range.start).sum()
    }

    /// Chunks that the layout does not hold as they are; the whole file when it is small.
    fn changed_ranges(&self, node: &Node) -> Vec<Range<u64>> {
        let Some(file) = node.file() else { return Vec::new() };
        let (mut dirty, cover, size) = file.file.spans();
        if let Some(PlannedBody::File(planned)) = self.planned(node.ino).map(|p| &p.body)
            && let Some(image) = &planned.image
        {
            image.dirty_spans().within(0..size).for_each(|range| dirty.insert(range));
        }
        let old_size = file.layout.size;
        if dirty.is_empty() && size == old_size && cover.contains(&(0..size)) {
            return Vec::new();
        }
        if size <= bounds::PACKED_MAX_BYTES {
            let stays = dirty.is_empty() && size == old_size && self.holes_match(node, &cover);
            return if stays || size == 0 {
                Vec::new()
            } else {
                std::iter::once(0..size).collect()
            };
        }
        let grid = self.grid();
        let mut chunks = Spans::default();
        dirty.iter().for_each(|range| chunks.insert(grid.around(&range)));
        if size != old_size {
            let end = size.min(old_size);
            let last = grid.around(&(end.saturating_sub(1)..end.max(1)));
            if cover.overlaps(&last) {
                chunks.insert(last);
            }
        }
        // What is no chunk of the file as it is now does not stay.
        let other = |piece: &Range<u64>| !grid.is_chunk(piece, size) && cover.overlaps(piece);
        let pieces = file.layout.data().into_iter();
        pieces.filter(other).for_each(|piece| chunks.insert(grid.around(&piece)));
        chunks.within(0..size).collect()
    }

    /// Whether exactly the known holes of the layout are not covered.
    fn holes_match(&self, node: &Node, cover: &Spans) -> bool {
        let Some(file) = node.file() else { return true };
        let mut with_holes = cover.clone();
        file.layout.holes().into_iter().for_each(|hole| with_holes.insert(hole));
        with_holes.contains(&(0..file.layout.size))
    }

    /// The path of a directory; none if it is not in memory.
    fn path(&self, ino: Ino) -> Option<Vec<u8>> {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut at = ino;
        while at != Ino::ROOT {
            let name = self.table.get(at)?.names.first()?;
            names.push(name.name.as_ref());
            at = name.parent;
        }
        names.reverse();
        Some(names.join(&b'/'))
    }
}

fn join(path: &[u8], name: &Name) -> Arc<[u8]> {
    if path.is_empty() { Arc::clone(name) } else { [path, name.as_ref()].join(&b'/').into() }
}

fn same_xattrs(state: &XattrState, base: &Xattrs) -> bool {
    state.record() == *base
}
