//! Commits and remounts, and what `status` and `diff` say in between.

use std::collections::BTreeMap;

use crate::mount;
use vellum_core::model::{Body, Mapping, Tree};
use vellum_core::shapes::{Attr, Change, ChangeKind, CommitResult, Op, Reply, StoreError};
use vellum_core::words::Ino;

use super::player::Player;
use super::reader::seen;
use super::stored::check_snapshot;

impl Player {
    /// Commits, and with `look` mounts the result beside and compares.
    pub(super) fn commit(&mut self, look: bool) -> Result<(), String> {
        self.tick();
        self.attempt += 1;
        let (author, message) = ("somebody".into(), format!("commit {}", self.attempt));
        let tree = self.seat.model.committed();
        let reply = self.send(&Op::Commit { author, message, attempt: self.attempt }, false);
        let Ok(Reply::Commit(result)) = reply else { return Err(format!("commit: {reply:?}")) };
        match result {
            CommitResult::Unchanged { .. } => {
                if !self.maybe.iter().chain([&self.committed]).any(|old| old.shows_like(&tree)) {
                    return Err("something changed, and the commit says that nothing did".into());
                }
            }
            CommitResult::Committed { snapshot, .. } => {
                let shown = mount::head(&self.world.store);
                if shown != Some(snapshot) {
                    return Err(format!("committed {snapshot}, the branch names {shown:?}"));
                }
                self.snapshot_is_sound(&tree).map_err(seen)?;
                check_snapshot(&self.world.store.objects, &snapshot).map_err(seen)?;
            }
            CommitResult::Failed { .. } if !self.strict => return Ok(()),
            CommitResult::Failed { error: StoreError::NoSpace, .. } if self.is_pinned() => {
                return Ok(());
            }
            CommitResult::Unknown if !self.strict => {
                self.maybe.push(tree);
                return Ok(());
            }
            CommitResult::Failed { .. }
            | CommitResult::Unknown
            | CommitResult::Conflict { .. }
            | CommitResult::Busy
            | CommitResult::Empty
            | CommitResult::Collected { .. }
            | CommitResult::NoBranch
            | CommitResult::Unfit { .. } => return Err(format!("commit: {result:?}")),
        }
        (self.committed, self.maybe) = (tree.clone(), Vec::new());
        if look { self.look_beside(&tree) } else { Ok(()) }
    }

    /// Mounts what the store holds beside the present mount; it must show `tree`.
    pub(super) fn look_beside(&mut self, tree: &Tree) -> Result<(), String> {
        self.note(|| "-- a mount beside".into());
        let map = self.seat.map.clone();
        let outcome = self.without_faults(|player| {
            let beside = player.fresh_seat(tree, &map)?;
            let seat = std::mem::replace(&mut player.seat, beside);
            let outcome = player.walk();
            let beside = std::mem::replace(&mut player.seat, seat);
            player.world.kill(beside.mount);
            outcome
        });
        self.note(|| "-- back".into());
        outcome
    }

    /// Closes everything, and takes back all that is uncommitted: then the mount shows what the
    /// branch does.
    pub(super) fn discard(&mut self) -> Result<(), String> {
        if !self.maybe.is_empty() {
            // Nobody can say what the branch shows.
            return Ok(());
        }
        self.let_go()?;
        self.tick();
        let reply = self.send(&Op::Discard, false);
        if self.is_excused(&reply) {
            return Ok(());
        }
        let Ok(Reply::Diff(_)) = reply else { return Err(format!("discard: {reply:?}")) };
        let tree = self.committed.clone();
        self.seat.map.remount(|ino| tree.get(ino).is_some());
        self.seat.model.discard(&tree);
        self.seat.streams.clear();
        let reply = self.send(&Op::Status, false);
        match reply {
            Ok(Reply::Status(status)) if !status.dirty => self.without_faults(|player| {
                // What is being loaded may fail yet.
                player.world.run_until_quiet();
                player.walk()
            }),
            other => Err(format!("after all was taken back: {other:?}")),
        }
    }

    /// The machine dies with everything uncommitted, and a fresh one takes its place.
    pub(super) fn remount(&mut self) -> Result<(), String> {
        self.note(|| "-- remount".into());
        self.world.kill(self.seat.mount);
        // What it sent may arrive yet.
        self.world.run_until_quiet();
        let candidates: Vec<Tree> =
            std::mem::take(&mut self.maybe).into_iter().chain([self.committed.clone()]).collect();
        let map = self.seat.map.clone();
        let candidates = candidates.into_iter().map(|tree| (tree, map.clone())).collect();
        let (tree, _) = self.without_faults(|player| player.mount_one_of(candidates))?;
        self.committed = tree;
        Ok(())
    }

    /// Mounts what the branch shows, which must be one of `candidates`; that one.
    pub(super) fn mount_one_of(
        &mut self,
        candidates: Vec<(Tree, Mapping)>,
    ) -> Result<(Tree, Mapping), String> {
        let mut why = vec!["the branch shows nothing that was committed".to_owned()];
        for (tree, map) in candidates {
            self.seat = self.fresh_seat(&tree, &map)?;
            let walked = self.walk();
            self.world.kill(self.seat.mount);
            match walked {
                Ok(()) => {
                    // It has looked at everything: the run goes on with a cold one.
                    let map = self.seat.map.clone();
                    self.seat = self.fresh_seat(&tree, &map)?;
                    return Ok((tree, map));
                }
                Err(text) => why.push(text),
            }
        }
        Err(why.join("\nnor: "))
    }

    pub(super) fn status(&mut self) -> Result<(), String> {
        let reply = self.send(&Op::Status, false);
        let Ok(Reply::Status(status)) = reply else { return Err(format!("status: {reply:?}")) };
        let clean = self.seat.model.committed().shows_like(&self.committed);
        if self.maybe.is_empty() && !clean && !status.dirty {
            return Err(format!("there are changes, and the status is {status:?}"));
        }
        Ok(())
    }

    /// Every path that differs must be listed; what is listed must exist on one side.
    pub(super) fn diff(&mut self) -> Result<(), String> {
        let reply = self.send(&Op::Diff, false);
        if self.is_excused(&reply) || !self.maybe.is_empty() {
            return Ok(());
        }
        let Ok(Reply::Diff(diff)) = reply else { return Err(format!("diff: {reply:?}")) };
        let (old, new) = (&self.committed, self.seat.model.committed());
        let (before, after) = (paths(old), paths(&new));
        let mut listed = BTreeMap::new();
        for change in &diff.changes {
            let Some(path) = self.path_of(change, &after) else {
                return Err(format!("{change:?} is listed, in a directory that is nowhere"));
            };
            if listed.insert(path, change.change).is_some() {
                return Err(format!("a path is listed twice: {diff:?}"));
            }
        }
        for path in before.keys().chain(after.keys()) {
            let differs = match (before.get(path), after.get(path)) {
                (Some(a), Some(b)) => differs(old, *a, &new, *b),
                (Some(_), None) | (None, Some(_)) => true,
                (None, None) => false,
            };
            if differs && !is_told(&listed, path) {
                let path = path.escape_ascii();
                return Err(format!("{path} differs, and the diff is {diff:?}"));
            }
        }
        let known = |path: &Vec<u8>| before.contains_key(path) || after.contains_key(path);
        match listed.keys().find(|path| !path.is_empty() && !known(path)) {
            Some(path) => Err(format!("{} is listed, and is nowhere", path.escape_ascii())),
            None => Ok(()),
        }
    }

    /// The path from the root of what a diff lists.
    fn path_of(&self, change: &Change, paths: &BTreeMap<Vec<u8>, Ino>) -> Option<Vec<u8>> {
        let Some(below) = change.below else { return Some(change.path.to_vec()) };
        let above = paths.iter().find(|(_, ino)| self.seat.map.ino(**ino) == below)?.0;
        Some([above, &b"/"[..], &change.path].concat())
    }
}

/// Whether a diff tells of a path: itself, or a directory above it that came, went or was replaced.
fn is_told(listed: &BTreeMap<Vec<u8>, ChangeKind>, path: &[u8]) -> bool {
    let above = (0..path.len()).filter(|at| path[*at] == b'/').map(|at| &path[..at]);
    let moved = |dir: &[u8]| listed.get(dir).is_some_and(|how| *how != ChangeKind::Attributes);
    listed.contains_key(path) || above.into_iter().any(moved)
}

/// Whether a path shows another thing: another inode, content or attributes. The times and links
/// of a directory follow from its entries.
fn differs(old: &Tree, a: Ino, new: &Tree, b: Ino) -> bool {
    let (Some(x), Some(y)) = (old.get(a), new.get(b)) else { return true };
    let content = match (&x.body, &y.body) {
        (Body::File(x), Body::File(y)) => !x.reads_like(y),
        (Body::Directory { .. }, Body::Directory { .. }) => false,
        (x, y) => x != y,
    };
    let attributes = |attr: Attr| (attr.mode, attr.uid, attr.gid);
    a != b || content || attributes(x.attr(a)) != attributes(y.attr(b)) || x.xattrs != y.xattrs
}

/// Every path of a tree, and its inode.
fn paths(tree: &Tree) -> BTreeMap<Vec<u8>, Ino> {
    let mut out = BTreeMap::new();
    let mut left = vec![(Vec::new(), Ino::ROOT)];
    while let Some((path, directory)) = left.pop() {
        for (name, ino) in tree.entries(directory) {
            let mut below: Vec<u8> = path.clone();
            if !below.is_empty() {
                below.push(b'/');
            }
            below.extend_from_slice(name);
            left.push((below.clone(), ino));
            out.insert(below, ino);
        }
    }
    out
}
