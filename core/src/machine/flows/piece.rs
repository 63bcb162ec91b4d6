//! Loading of pieces: each is fetched once, checked against its hash, and put where it is wanted.

use std::collections::VecDeque;
use std::ops::Range;

use rustc_hash::FxHashMap;

use super::calls::{Owner, Retry};
use super::engine::{Cx, Engine, Stop, WaitKey};
use super::job::{Job, JobOwner, Made, Product, Work};
use super::task::Loaded;
use super::trees::{CHECKS, said};
use crate::conc::Installed;
use crate::format::{
    Hash, ObjectKind, ObjectName, Piece, VerifiedBlocks, decode_xattrs, object_key,
};
use crate::machine::names::XattrState;
use crate::shapes::{StoreError, StoreOutcome, StoreRequest};
use crate::sync::Arc;
use crate::words::{Errno, Ino};

/// Where the bytes of a piece are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PieceKey {
    pub(crate) object: ObjectName,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) hash: Hash,
}

impl PieceKey {
    /// The piece that it is the place of.
    pub(crate) fn piece(&self) -> Piece {
        let Self { object, offset, len, hash } = *self;
        Piece::Data { hash, len, object, offset }
    }

    pub(super) fn of(piece: &Piece) -> Option<Self> {
        match piece {
            Piece::Hole { .. } => None,
            Piece::Data { hash, len, object, offset } => {
                Some(Self { object: *object, offset: *offset, len: *len, hash: *hash })
            }
        }
    }
}

/// Where the bytes of a piece go.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    /// To this offset of a file, if its layout is still of this generation.
    File { ino: Ino, generation: u64, offset: u64 },
    /// To an inode's extended attributes.
    Xattrs(Ino),
    /// To the object of this task of a commit.
    Commit(u64, u64),
}

#[derive(Debug)]
struct Loading {
    targets: Vec<Target>,
    checks: u32,
    /// How many of the targets the patience of the fetch began with: the first so many.
    early: usize,
}

/// All pieces being loaded.
#[derive(Debug, Default)]
pub(crate) struct PieceLoads {
    /// Their memory is taken.
    loading: FxHashMap<PieceKey, Loading>,
    /// They wait for memory, none of them twice: in this order.
    queue: VecDeque<PieceKey>,
    queued: FxHashMap<PieceKey, Vec<Target>>,
}

impl PieceLoads {
    /// Notes where a piece is wanted: by its load under way, by the one that waits for memory, or
    /// by a new one.
    fn add(&mut self, key: PieceKey, target: Target) {
        let targets = match self.loading.get_mut(&key) {
            Some(loading) => &mut loading.targets,
            None => self.queued.entry(key).or_insert_with(|| {
                self.queue.push_back(key);
                Vec::new()
            }),
        };
        if !targets.contains(&target) {
            targets.push(target);
        }
    }

    /// Takes the first load in the queue out of it.
    fn pop(&mut self) -> Option<(PieceKey, Vec<Target>)> {
        let key = self.queue.pop_front()?;
        Some((key, self.queued.remove(&key).unwrap_or_default()))
    }

    /// Puts the loads that `target` waits for first; whether that changes which one is the first.
    fn favour(&mut self, target: &Target) -> bool {
        let waits = |key: &PieceKey| self.queued.get(key).is_some_and(|all| all.contains(target));
        let in_order = self.queue.front().is_some_and(waits);
        let (mut first, rest): (VecDeque<_>, VecDeque<_>) =
            self.queue.iter().partition(|k| waits(k));
        first.extend(rest);
        self.queue = first;
        !in_order
    }

    /// Loads that are under way or wait for memory.
    pub(crate) fn len(&self) -> usize {
        self.loading.len() + self.queue.len()
    }
}

impl Engine {
    /// Starts to load what a read of `range` lacks; what the read has to wait for, or `None` when
    /// it should be tried again at once.
    pub(crate) fn want(
        &mut self,
        cx: &mut Cx<'_>,
        ino: Ino,
        range: Range<u64>,
    ) -> Result<Option<WaitKey>, Errno> {
        let Some((file, located)) = self.located(cx, ino, range.clone())? else {
            return Ok(Some(WaitKey::Layout(ino)));
        };
        let generation = file.generation();
        let mut first = None;
        let mut to = range.end;
        for (offset, key) in located.pieces {
            to = to.max(offset + key.len);
            let of_piece = offset.max(range.start)..(offset + key.len).min(range.end);
            if !file.missing(of_piece).is_empty() {
                let target = Target::File { ino, generation, offset };
                self.load_piece(cx, key, target);
                first = first.or(Some(WaitKey::Piece(key)));
            }
        }
        if first.is_some() {
            self.read_ahead(cx, ino, range.start, to)?;
        }
        Ok(first)
    }

    /// Loads a piece, or joins a load of it that is under way.
    pub(crate) fn load_piece(&mut self, cx: &mut Cx<'_>, key: PieceKey, target: Target) {
        self.pieces.add(key, target);
        self.start_loads(cx);
    }

    /// Sees to it that loads which wait for memory get some: from a spill, from the end of a commit
    /// that goes on without them, or from its other tasks. A load that none of these helps fails.
    pub(crate) fn relieve_loads(&mut self, cx: &mut Cx<'_>) {
        let mut has_spilled = false;
        loop {
            self.start_loads(cx);
            if self.pieces.queue.is_empty() || !self.pieces.loading.is_empty() {
                return;
            }
            if self.commit.is_some() {
                self.settle_first(cx);
                if self.commit_goes_on() {
                    return;
                }
                if self.favour_oldest_task() {
                    continue;
                }
            } else if !has_spilled && self.begin_spill(cx) {
                // Once: a spill that lacks memory itself would be begun for ever.
                has_spilled = true;
                continue;
            }
            self.refuse_load(cx);
        }
    }

    /// The first load in the queue can't have memory.
    fn refuse_load(&mut self, cx: &mut Cx<'_>) {
        let Some((key, targets)) = self.pieces.pop() else { return };
        self.wake(WaitKey::Piece(key), Err(Stop::Errno(Errno::Io)));
        for target in targets {
            if let Target::Commit(serial, _) = target
                && self.is_commit(serial)
            {
                let object = object_key(ObjectKind::Chunk, &key.object);
                self.commit_failed(cx, object, StoreError::NoSpace);
            }
        }
    }

    /// The oldest task of the commit loads first, and the others give back what they loaded. False
    /// when that changes nothing.
    fn favour_oldest_task(&mut self) -> bool {
        let serial = self.commit_serial;
        let Some(commit) = &mut self.commit else { return false };
        let mut tasks = commit.uploads.tasks.iter_mut();
        let Some((oldest, _)) = tasks.next() else { return false };
        let oldest = Target::Commit(serial, *oldest);
        let mut given = 0;
        for (id, task) in tasks {
            given += task.charged;
            for key in task.unload() {
                self.pieces.add(key, Target::Commit(serial, *id));
            }
        }
        let is_other = self.pieces.favour(&oldest);
        self.shared.around().budget.give(given);
        given > 0 || is_other
    }

    /// Starts queued loads, as far as memory goes.
    pub(crate) fn start_loads(&mut self, cx: &mut Cx<'_>) {
        while let Some(len) = self.pieces.queue.front().map(|key| key.len) {
            // The bytes as they come in; their place in the file is taken when they are there.
            if !self.take_reserved(len) {
                return;
            }
            if let Some((key, targets)) = self.pieces.pop() {
                let early = targets.len();
                self.pieces.loading.insert(key, Loading { targets, checks: 0, early });
                self.fetch_piece(cx, key);
            }
        }
    }

    fn fetch_piece(&mut self, cx: &mut Cx<'_>, key: PieceKey) {
        let range = Some(key.offset..key.offset + key.len);
        let object = object_key(ObjectKind::Chunk, &key.object);
        let fresh = self.pieces.loading.get(&key).is_some_and(|loading| loading.checks > 0);
        let request = StoreRequest::Get { key: object, range, fresh };
        self.calls.send(cx, &self.shared.limits, request, Owner::Piece(key), Retry::Always);
    }

    pub(crate) fn piece_fetched(&mut self, cx: &mut Cx<'_>, key: PieceKey, outcome: StoreOutcome) {
        match outcome.got_segments() {
            Ok((bytes, _)) => {
                let block_bytes = self.shared.limits.block_bytes;
                let work = Work::Verify { hash: key.hash, bytes, block_bytes };
                #[cfg(core_bugs)]
                let work = super::wrong::believing(&key, work);
                self.calls.compute(cx, Job(work), JobOwner::Piece(key));
            }
            Err(error) => self.piece_failed(cx, key, &error, "can't be read"),
        }
    }

    pub(crate) fn piece_checked(&mut self, cx: &mut Cx<'_>, key: PieceKey, product: Product) {
        let Made::Verified(made) = product.0 else { unreachable!("a verify job verifies") };
        match made {
            Ok(bytes) => self.piece_loaded(cx, key, bytes),
            Err(why) => {
                let Some(loading) = self.pieces.loading.get_mut(&key) else { return };
                loading.checks += 1;
                if loading.checks < CHECKS {
                    self.fetch_piece(cx, key);
                } else {
                    self.piece_failed(cx, key, &StoreError::Damaged, &why);
                }
            }
        }
    }

    fn piece_loaded(&mut self, cx: &mut Cx<'_>, key: PieceKey, bytes: VerifiedBlocks) {
        let Some(loading) = self.pieces.loading.remove(&key) else { return };
        let mut result = Ok(());
        let mut kept = false;
        let is_task = |target: &Target| matches!(target, Target::Commit(..));
        let (tasks, files): (Vec<_>, Vec<_>) = loading.targets.into_iter().partition(is_task);
        let mut left = Some(bytes);
        for (index, target) in files.iter().enumerate() {
            // Files have blocks of their own: all but the last get a copy, and nearly always there
            // is one. Tasks share what is left.
            let is_last = index + 1 == files.len() && tasks.is_empty();
            let Some(bytes) = (if is_last { left.take() } else { left.clone() }) else { break };
            result = result.and(match *target {
                Target::File { ino, generation, offset } => {
                    self.install(cx, ino, generation, offset, bytes)
                }
                Target::Xattrs(ino) => self.install_xattrs(ino, bytes),
                Target::Commit(..) => Ok(()),
            });
        }
        if let Some(bytes) = left {
            let loaded = Loaded::new(bytes, self.shared.limits.block_bytes as usize);
            for task in tasks {
                if let Target::Commit(serial, id) = task
                    && self.is_commit(serial)
                {
                    kept |= self.task_loaded(cx, id, key, loaded.clone(), !kept);
                }
            }
        }
        if !kept {
            self.shared.around().budget.give(key.len);
        }
        self.wake(WaitKey::Piece(key), result);
        self.start_loads(cx);
    }

    /// Puts verified bytes into a file, after evicting others if there is no room.
    fn install(
        &mut self,
        cx: &mut Cx<'_>,
        ino: Ino,
        generation: u64,
        offset: u64,
        bytes: VerifiedBlocks,
    ) -> Result<(), Stop> {
        let Some(node) = self.table.get(ino).and_then(|node| node.file()) else { return Ok(()) };
        let file = Arc::clone(&node.file);
        let shared = Arc::clone(&self.shared);
        let mut blocks = bytes.into_blocks();
        let len_bytes: u64 = blocks.iter().map(|block| block.len() as u64).sum();
        for attempt in 0.. {
            match file.install(shared.around(), generation, offset, &mut blocks) {
                Installed::Done => {
                    self.pressure.note_clean(ino);
                    return Ok(());
                }
                Installed::Stale => return Ok(()),
                Installed::NoRoom if attempt == 0 => self.make_room(len_bytes * 2, Some(ino)),
                Installed::NoRoom if attempt == 1 => self.collect_credit(),
                Installed::NoRoom => break,
            }
        }
        // Who waits for it waits for dirty data to go, and only then asks for it again.
        let spills = self.begin_spill(cx);
        Err(if spills { Stop::Wait(WaitKey::Room) } else { Stop::Errno(Errno::Io) })
    }

    fn install_xattrs(&mut self, ino: Ino, bytes: VerifiedBlocks) -> Result<(), Stop> {
        let map = decode_xattrs(&bytes.joined()).map_err(|_| Errno::Io)?;
        if let Some(node) = self.table.get_mut(ino)
            && node.xattrs.map.is_none()
        {
            let stored = node.xattrs.stored.clone();
            node.set_xattrs(XattrState { map: Some(Arc::new(map)), stored });
        }
        Ok(())
    }

    fn piece_failed(&mut self, cx: &mut Cx<'_>, key: PieceKey, error: &StoreError, why: &str) {
        let Some(mut loading) = self.pieces.loading.remove(&key) else { return };
        let late = loading.targets.split_off(loading.early);
        let object = object_key(ObjectKind::Chunk, &key.object);
        self.report(cx, object.clone(), &said(error, why));
        let waits = |target: &Target| match target {
            Target::Commit(serial, _) => self.is_commit(*serial),
            Target::File { .. } | Target::Xattrs(_) => false,
        };
        if error.is_temporary() && late.iter().any(waits) {
            // A commit that came later has patience left.
            let early = late.len();
            self.pieces.loading.insert(key, Loading { targets: late, checks: 0, early });
            self.fetch_piece(cx, key);
        } else {
            loading.targets.extend(late);
            let len = if seeded!(FailedLoadKeepsMemory) { 0 } else { key.len };
            self.shared.around().budget.give(len);
        }
        self.wake(WaitKey::Piece(key), Err(Stop::Errno(Errno::Io)));
        for target in loading.targets {
            match target {
                Target::Commit(serial, _) if self.is_commit(serial) => {
                    self.commit_failed(cx, object.clone(), error.clone());
                }
                Target::Commit(..) | Target::File { .. } | Target::Xattrs(_) => {}
            }
        }
        self.start_loads(cx);
    }

    /// Extended attributes are in memory, or the request waits for them.
    pub(crate) fn want_xattrs(&mut self, cx: &mut Cx<'_>, ino: Ino) -> Option<WaitKey> {
        let XattrState { map: None, stored: Some(piece) } = &self.table.get(ino)?.xattrs else {
            return None;
        };
        let key = PieceKey::of(piece)?;
        self.load_piece(cx, key, Target::Xattrs(ino));
        Some(WaitKey::Piece(key))
    }
}
