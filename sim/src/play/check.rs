//! Looking at everything: whole directories, whole trees, and what the end of a run must leave.

use std::collections::BTreeSet;

use vellum_core::machine::Holdings;
use vellum_core::model::Body;
use vellum_core::shapes::{DirEntry, Op, OpenFlags, Reply};
use vellum_core::words::{Fh, Ino};

use super::player::Player;
use super::reader::seen;
use super::stored::check_objects;

/// Bytes around data and edges that are read when a file is compared.
const MARGIN: u64 = 20;

impl Player {
    /// Reads a whole directory in pages of at most `max`, and compares. The entries as the model
    /// has them, unless excused.
    pub(super) fn list(
        &mut self,
        fh: Fh,
        max: usize,
        plus: bool,
    ) -> Result<Option<Vec<DirEntry>>, String> {
        // The stream that another step began on this handle begins again.
        self.seat.streams.remove(&fh);
        let wall = self.tick();
        let mut all: Vec<DirEntry> = Vec::new();
        loop {
            let cookie = all.last().map_or(0, |entry| entry.cookie);
            let reply = self.send(&Op::ReadDir { fh, cookie, max, plus }, false);
            if self.is_excused(&reply) {
                self.give_back(&all)?;
                return Ok(None);
            }
            let Ok(Reply::Entries(page)) = reply else { return Err(format!("no page: {reply:?}")) };
            if page.is_empty() {
                break;
            }
            if page.len() > max || all.len() > 1_000 {
                return Err(format!("a page of {}, after {}", page.len(), all.len()));
            }
            all.extend(page);
        }
        let whole = Op::ReadDir { fh, cookie: 0, max: usize::MAX, plus };
        let model = self.seat.model.apply(wall, &whole);
        let machine = Ok(Reply::Entries(all));
        self.seat.map.compare(&model, &machine).map_err(|why| format!("list: {why}"))?;
        match model {
            Ok(Reply::Entries(entries)) => Ok(Some(entries)),
            other => Err(format!("no stream: {other:?}")),
        }
    }

    /// Gives the look-ups of entries back that the model never saw.
    fn give_back(&mut self, entries: &[DirEntry]) -> Result<(), String> {
        for attr in entries.iter().filter_map(|entry| entry.attr) {
            let op = Op::Forget { ino: attr.ino, count: 1 };
            let reply = self.world.ask(self.seat.mount, op);
            if reply != Ok(Reply::Done) {
                return Err(format!("forget: {reply:?}"));
            }
        }
        Ok(())
    }

    /// Compares everything that can be reached from the root. Nothing is excused.
    pub(super) fn walk(&mut self) -> Result<(), String> {
        let was_strict = std::mem::replace(&mut self.strict, true);
        let mut seen = BTreeSet::new();
        let outcome = self.walk_below(Ino::ROOT, &mut seen);
        self.strict = was_strict;
        outcome?;
        let tree = self.seat.model.committed();
        let missed = tree.iter().find(|(ino, _)| !seen.contains(ino));
        missed.map_or(Ok(()), |(ino, _)| Err(format!("{ino:?} was not reached")))
    }

    fn walk_below(&mut self, directory: Ino, seen: &mut BTreeSet<Ino>) -> Result<(), String> {
        seen.insert(directory);
        self.both(&Op::GetAttr { ino: directory }, false)?;
        self.look_at_xattrs(directory)?;
        let fh = match self.both(&Op::OpenDir { ino: directory }, false)? {
            Some(Reply::Opened(fh)) => fh,
            other => return Err(format!("opendir: {other:?}")),
        };
        let entries = self.list(fh, 3, true)?.ok_or("nothing is excused here")?;
        self.both(&Op::Release { fh }, false)?;
        for entry in entries.iter().filter(|entry| entry.attr.is_some()) {
            let node = self.seat.model.tree().get(entry.ino).ok_or("listed, and not there")?;
            match &node.body {
                Body::Directory { .. } => self.walk_below(entry.ino, seen)?,
                Body::File(_) if seen.insert(entry.ino) => self.look_at_file(entry.ino)?,
                Body::Symlink(_) => drop(self.both(&Op::ReadLink { ino: entry.ino }, false)?),
                Body::File(_) | Body::Special(..) => {}
            }
            if seen.insert(entry.ino) {
                self.look_at_xattrs(entry.ino)?;
            }
            self.both(&Op::Forget { ino: entry.ino, count: 1 }, false)?;
        }
        Ok(())
    }

    fn look_at_xattrs(&mut self, ino: Ino) -> Result<(), String> {
        self.both(&Op::ListXattr { ino }, false)?;
        let node = self.seat.model.tree().get(ino).ok_or("no such inode")?;
        let names: Vec<_> = node.xattrs.keys().cloned().collect();
        for name in names {
            self.both(&Op::GetXattr { ino, name }, false)?;
        }
        Ok(())
    }

    /// Reads what is around data and edges; a sparse file may be too long to be read whole.
    fn look_at_file(&mut self, ino: Ino) -> Result<(), String> {
        self.look_at_xattrs(ino)?;
        let flags = OpenFlags { read: true, ..OpenFlags::default() };
        let fh = match self.both(&Op::Open { ino, flags }, false)? {
            Some(Reply::Opened(fh)) => fh,
            other => return Err(format!("open: {other:?}")),
        };
        for (start, end) in self.windows(ino) {
            let len = u32::try_from(end - start).unwrap_or(u32::MAX);
            self.both(&Op::Read { fh, offset: start, len }, start % 2 == 0)?;
        }
        self.both(&Op::Release { fh }, false)?;
        Ok(())
    }

    /// Ranges that hold all data, with a margin, and the edges of the file.
    fn windows(&self, ino: Ino) -> Vec<(u64, u64)> {
        let Some(Body::File(content)) = self.seat.model.tree().get(ino).map(|node| &node.body)
        else {
            return Vec::new();
        };
        let size = content.size();
        let mut windows = vec![(0, 4 * MARGIN), (size.saturating_sub(MARGIN), size)];
        let mut at = 0;
        while let Some(start) = content.next_data(at) {
            let end = content.next_hole(start);
            windows.push((start.saturating_sub(MARGIN), end.saturating_add(MARGIN)));
            at = end;
        }
        windows
    }

    /// What every run ends with: the faults stop, everything is as the model says, a commit goes
    /// through, and nothing is held: neither once the kernel knows nothing any more, nor once
    /// everything is removed.
    pub(super) fn finish(&mut self) -> Result<(), String> {
        self.note(|| "-- the end".into());
        self.world.store.heal();
        self.world.run_until_quiet();
        self.strict = true;
        self.walk()?;
        self.commit(true)?;
        self.let_go()?;
        if !self.seat.model.committed().shows_like(&self.committed) {
            // Open files without a name left no memory for it.
            self.commit(true)?;
        }
        self.nothing_is_held()?;
        check_objects(&self.world.store.objects, &mut BTreeSet::new()).map_err(seen)?;
        self.nothing_is_left()
    }

    /// Removes everything; then nothing may be left of it.
    pub(super) fn nothing_is_left(&mut self) -> Result<(), String> {
        self.remove_below(Ino::ROOT)?;
        self.let_go()?;
        self.nothing_is_held()
    }

    /// No request, effect, inode or memory is left.
    fn nothing_is_held(&mut self) -> Result<(), String> {
        self.world.run_until_quiet();
        let mount = self.seat.mount;
        let (unanswered, owed) = (self.world.unanswered(mount), self.world.owed_completions(mount));
        if (unanswered, owed) != (0, 0) {
            return Err(format!("{unanswered} requests and {owed} effects have no end"));
        }
        let holdings = self.world.actor(mount).machine.holdings();
        let root = Holdings { inodes: 1, streams: 0, parked: 0, asked: 0, loads: 0 };
        if holdings != root {
            return Err(format!("held for nothing: {holdings:?}"));
        }
        match self.world.actor(mount).shared.memory_bytes().0 {
            0 => Ok(()),
            used => Err(format!("{used} bytes of memory are held for nothing")),
        }
    }

    /// Closes and forgets everything.
    pub(super) fn let_go(&mut self) -> Result<(), String> {
        let open: Vec<Fh> = self.seat.model.open().map(|(fh, ..)| fh).collect();
        for fh in open {
            self.both(&Op::Release { fh }, false)?;
        }
        let known: Vec<Ino> = self.seat.model.known().collect();
        for ino in known {
            let count = self.seat.model.lookups(ino);
            self.both(&Op::Forget { ino, count }, false)?;
        }
        Ok(())
    }

    fn remove_below(&mut self, directory: Ino) -> Result<(), String> {
        let tree = self.seat.model.tree();
        let entries: Vec<_> =
            tree.entries(directory).map(|(name, ino)| (name.clone(), ino)).collect();
        for (name, ino) in entries {
            self.both(&Op::Lookup { parent: directory, name: name.clone() }, false)?;
            let is_directory =
                self.seat.model.tree().get(ino).is_some_and(|node| node.is_directory());
            let op = if is_directory {
                self.remove_below(ino)?;
                Op::RemoveDir { parent: directory, name }
            } else {
                Op::Unlink { parent: directory, name }
            };
            self.both(&op, false)?.ok_or("the removal is refused")?;
        }
        Ok(())
    }
}
