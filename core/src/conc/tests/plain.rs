//! A file beside the plainest one there is: an array of bytes, of which each is held or not, dirty
//! or not, covered or not. After every change all that can be asked of the file is compared.

use std::ops::Range;

use proptest::prelude::*;

use crate::conc::Budget;
use crate::conc::block::Block;
use crate::conc::file::{Around, File, FileAttr, Installed, Slow, Why, WriteError};
use crate::conc::image::{Image, Part};
use crate::shapes::{Allocate, Spans, Whence, WriteFlags};
use crate::words::{Epoch, Errno, Ino, Limits, Time, Version};

/// Largest size of a file here.
const FILE_BYTES: u64 = 100;
/// Largest size that a file may have.
const LIMIT: u64 = 150;
const TOTAL: u64 = 1 << 20;
const NOW: Epoch = Epoch(3);
const INO: Ino = Ino(9);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Byte {
    /// What a read shows.
    shows: u8,
    /// Memory has it.
    held: bool,
    /// The layout does not.
    dirty: bool,
    /// What the layout has here, if it has anything.
    covered: Option<u8>,
    /// While an image is out: whether the layout that it may become has something here.
    sealed: bool,
}

impl Byte {
    fn is_hole(self) -> bool {
        !self.held && self.covered.is_none()
    }
}

#[derive(Clone, Copy, Debug)]
enum Do {
    Write { fill: u8, is_late: bool },
    Resize,
    Allocate(Allocate),
    Load { is_stale: bool },
    Evict { want: u64 },
    Settle,
    Seal,
    Adopt,
    Unseal,
}

struct Game {
    limits: Limits,
    budget: Budget,
    file: File,
    plain: Vec<Byte>,
    image: Option<(Image, Vec<Byte>)>,
    changes: u64,
    uid: u32,
    mode: u32,
    wall: Time,
}

impl Game {
    fn new(block_bytes: u32, size: u64) -> Self {
        let time = Time { ns: -1 };
        let attr = FileAttr { mode: 0o6755, links: 1, uid: 5, gid: 6, mtime: time, ctime: time };
        // Every third byte of the layout is a hole.
        let covered = |at: u64| (!at.is_multiple_of(3)).then_some(at as u8 | 0x80);
        let plain: Vec<Byte> = (0..size)
            .map(|at| {
                let covered = covered(at);
                Byte { shows: covered.unwrap_or(0), covered, ..Byte::default() }
            })
            .collect();
        let cover = spans_of(&plain, |byte| byte.covered.is_some());
        let file = File::new(INO, attr, size, cover, block_bytes);
        file.register(NOW);
        assert_eq!(file.epoch(), NOW);
        Self {
            limits: Limits { file_bytes: LIMIT, block_bytes, ..Limits::default() },
            budget: Budget::new(TOTAL, 0),
            file,
            plain,
            image: None,
            changes: 0,
            uid: attr.uid,
            mode: attr.mode,
            wall: time,
        }
    }

    fn size(&self) -> u64 {
        self.plain.len() as u64
    }

    fn play(&mut self, what: Do, range: &Range<u64>) {
        let around = Around { limits: &self.limits, budget: &self.budget };
        match what {
            Do::Write { fill, is_late } => self.write(range, fill, is_late),
            Do::Resize => {
                let wall = self.wall;
                assert_eq!(self.file.resize(around, wall, LIMIT + 1), Err(Errno::FBig));
                if range.start.is_multiple_of(2) {
                    assert_eq!(self.file.resize(around, wall, range.start), Ok(()));
                } else {
                    let set = |attr: &mut FileAttr| attr.uid += 1;
                    let stat = self.file.resize_and_set(around, wall, range.start, set);
                    assert_eq!(stat, Ok(self.file.stat()));
                    self.uid += 1;
                }
                self.plain.resize(range.start as usize, Byte::default());
                self.changes += 1;
            }
            Do::Allocate(how) => self.allocate(range, how),
            Do::Load { is_stale } => self.load(range, is_stale),
            Do::Evict { want } => self.evict(want),
            Do::Settle => {
                self.file.settle(around);
                assert_eq!(self.file.state.read(|state| state.credit), 0);
            }
            Do::Seal if self.image.is_some() => {}
            Do::Seal => {
                let image = self.file.seal();
                let was = self.plain.clone();
                self.plain.iter_mut().for_each(|byte| (byte.dirty, byte.sealed) = (false, true));
                self.image = Some((image, was));
            }
            Do::Adopt => {
                let Some((image, was)) = self.image.take() else { return };
                let holes: Vec<_> = holes_of(&image).collect();
                let generation = self.file.generation();
                self.file.adopt(around, &holes);
                assert_eq!(self.file.generation(), generation + 1);
                for (byte, was) in self.plain.iter_mut().zip(&was) {
                    let is_there = byte.sealed && !was.is_hole();
                    byte.covered = is_there.then_some(was.shows);
                }
                self.not_sealed(was.len());
            }
            Do::Unseal => {
                let Some((image, was)) = self.image.take() else { return };
                self.file.unseal(around, &image);
                for (byte, was) in self.plain.iter_mut().zip(&was) {
                    byte.dirty |= was.dirty && byte.held;
                }
                self.not_sealed(was.len());
            }
        }
    }

    /// What lies past the end of the image was not covered by it.
    fn not_sealed(&mut self, len: usize) {
        for (at, byte) in self.plain.iter_mut().enumerate() {
            if at >= len && byte.sealed {
                byte.covered = None;
            }
            byte.sealed = false;
        }
    }

    fn write(&mut self, range: &Range<u64>, fill: u8, is_late: bool) {
        let around = Around { limits: &self.limits, budget: &self.budget };
        let data: Vec<u8> = range.clone().map(|at| (at as u8).wrapping_add(fill)).collect();
        let flags = WriteFlags { kill_suidgid: fill.is_multiple_of(2), ..WriteFlags::default() };
        let file = &self.file;
        let write = |epoch, at| file.write(around, || epoch, self.wall, at, &data, flags);
        if is_late {
            let expected = match data.len() {
                0 => Ok(0),
                _ => Err(WriteError::Slow(Slow(Why::Register))),
            };
            assert_eq!(write(Epoch(2), range.start), expected);
            return;
        }
        if !data.is_empty() {
            for at in [LIMIT - data.len() as u64 + 1, u64::MAX] {
                assert_eq!(write(NOW, at), Err(WriteError::Errno(Errno::FBig)));
            }
        }
        if fill.is_multiple_of(3) {
            file.guard(true);
            assert_eq!(write(NOW, range.start), Err(WriteError::Slow(Slow(Why::Ask))));
            let written = file.write_guarded(around, || NOW, self.wall, range.start, &data, flags);
            assert_eq!(written, Ok(data.len() as u32));
            file.guard(false);
        } else {
            assert_eq!(write(NOW, range.start), Ok(data.len() as u32));
        }
        if data.is_empty() {
            return;
        }
        let len = self.plain.len().max(range.end as usize);
        self.plain.resize(len, Byte::default());
        for (byte, new) in self.plain[range.start as usize..].iter_mut().zip(data) {
            (byte.shows, byte.held, byte.dirty) = (new, true, true);
        }
        self.mode &= if flags.kill_suidgid { 0o777 } else { 0o7777 };
        self.changes += 1;
    }

    fn allocate(&mut self, range: &Range<u64>, how: Allocate) {
        let around = Around { limits: &self.limits, budget: &self.budget };
        let gid = self.file.attr().gid;
        let set = |attr: &mut FileAttr| attr.gid += 1;
        let allocate = |range| self.file.allocate(around, self.wall, range, how, set);
        assert_eq!(allocate(LIMIT..LIMIT + 1), Err(Errno::FBig));
        assert_eq!(allocate(range.start..range.start), Err(Errno::Inval));
        if range.is_empty() {
            return;
        }
        assert_eq!(self.file.attr().gid, gid);
        assert_eq!(allocate(range.clone()), Ok(()));
        assert_eq!(self.file.attr().gid, gid + 1);
        let extends = matches!(how, Allocate::Extend | Allocate::Zero { keep_size: false });
        let clears = matches!(how, Allocate::Punch | Allocate::Zero { .. });
        if clears {
            let end = range.end.min(self.size());
            let start = range.start.min(end);
            self.plain[start as usize..end as usize].fill(Byte::default());
        }
        if extends {
            let len = self.plain.len().max(range.end as usize);
            self.plain.resize(len, Byte::default());
        }
        self.changes += 1;
    }

    /// Offers what the layout has in the range; garbage where it has nothing.
    fn load(&mut self, range: &Range<u64>, is_stale: bool) {
        let around = Around { limits: &self.limits, budget: &self.budget };
        let byte = |at: u64| self.plain.get(at as usize).and_then(|byte| byte.covered);
        let offered: Vec<u8> = range.clone().map(|at| byte(at).unwrap_or(0xee)).collect();
        let block_bytes = self.file.state.read(|state| state.block_bytes) as usize;
        let mut buffers: Vec<Vec<u8>> = offered.chunks(block_bytes).map(<[u8]>::to_vec).collect();
        let generation = self.file.generation() + u64::from(is_stale);
        let installed = self.file.install(around, generation, range.start, &mut buffers);
        if is_stale {
            assert_eq!(installed, Installed::Stale);
            return;
        }
        assert_eq!(installed, Installed::Done);
        for at in range.clone() {
            if let Some(byte) = self.plain.get_mut(at as usize) {
                byte.held |= byte.covered.is_some();
            }
        }
    }

    /// Blocks that can go, in their order, until enough have gone.
    fn evict(&mut self, want: u64) {
        let around = Around { limits: &self.limits, budget: &self.budget };
        let block_bytes = self.file.state.read(|state| state.block_bytes) as usize;
        let mut blocks: Vec<(u64, bool, u64)> = self.file.state.read(|state| {
            let blocks = state.blocks.iter();
            blocks.map(|(index, it)| (*index, it.in_image, it.memory_bytes())).collect()
        });
        blocks.sort_unstable();
        let mut freed = 0;
        for (index, in_image, memory_bytes) in blocks {
            let start = index as usize * block_bytes;
            let end = self.plain.len().min(start + block_bytes);
            let bytes = &mut self.plain[start..end];
            let stays = |byte: &Byte| byte.dirty || byte.held && byte.covered.is_none();
            if freed < want && !in_image && !bytes.iter().any(stays) {
                freed += memory_bytes;
                bytes.iter_mut().for_each(|byte| byte.held = false);
            }
        }
        assert_eq!(self.file.evict(around, want), freed);
        assert_eq!(self.file.state.read(|state| state.credit), 0);
    }

    fn compare(&self, ask: &Range<u64>) {
        let file = &self.file;
        assert_eq!((file.size(), file.version()), (self.size(), Version(self.changes)));
        assert_eq!((file.attr().uid, file.attr().mode), (self.uid, self.mode));
        assert_eq!(file.is_sealed(), self.image.is_some());
        let cover = spans_of(&self.plain, |byte| byte.covered.is_some());
        let dirty = spans_of(&self.plain, |byte| byte.dirty);
        assert_eq!(file.dirty_bytes(), dirty.len_bytes());
        assert_eq!(file.spans(), (dirty, cover, self.size()));
        let mut valid = Spans::default();
        file.state.read(|state| {
            for (index, block) in &state.blocks {
                let base = index * u64::from(state.block_bytes);
                let place =
                    |run: Range<u32>| base + u64::from(run.start)..base + u64::from(run.end);
                block.valid.runs().into_iter().for_each(|run| valid.insert(place(run)));
                assert!(!block.valid.is_empty(), "block {index} is kept for nothing");
                assert!(!block.in_image || self.image.is_some());
            }
        });
        assert_eq!(valid, spans_of(&self.plain, |byte| byte.held));
        self.compare_reads(ask);
        self.compare_memory();
        if let Some((image, was)) = &self.image {
            compare_image(image, was, ask);
        }
    }

    fn compare_reads(&self, ask: &Range<u64>) {
        let file = &self.file;
        let len = (ask.end - ask.start) as u32;
        let end = ask.end.min(self.size());
        let part = self.plain.get(ask.start as usize..end as usize).unwrap_or(&[]);
        let mut out = vec![1];
        let read = file.read(ask.start, len, &mut out);
        if part.iter().any(|byte| byte.covered.is_some() && !byte.held) {
            assert_eq!(read, Err(Slow(Why::Load { start: ask.start, end })));
        } else {
            assert_eq!(read, Ok(()));
            assert_eq!(out, part.iter().map(|byte| byte.shows).collect::<Vec<_>>());
        }
        let wanted = spans_of(&self.plain, |byte| byte.covered.is_some() && !byte.held);
        let within: Vec<u64> = wanted.within(ask.clone()).flatten().collect();
        let missing = file.missing(ask.clone());
        assert!(missing.iter().all(|range| !range.is_empty()), "{missing:?}");
        assert_eq!(missing.into_iter().flatten().collect::<Vec<_>>(), within);
        let from = self.plain.iter().enumerate().skip(ask.start as usize);
        let find = |hole: bool| from.clone().find(|(_, byte)| byte.is_hole() == hole);
        let offset = |found: Option<(usize, &Byte)>| found.map(|(at, _)| at as u64);
        let (data, hole) = match ask.start < self.size() {
            true => (
                offset(find(false)).ok_or(Errno::NxIo),
                Ok(offset(find(true)).unwrap_or(self.size())),
            ),
            false => (Err(Errno::NxIo), Err(Errno::NxIo)),
        };
        assert_eq!(file.seek(ask.start, Whence::Data), data);
        assert_eq!(file.seek(ask.start, Whence::Hole), hole);
    }

    fn compare_memory(&self) {
        self.file.state.read(|state| {
            let taken: u64 = state.blocks.values().map(Block::memory_bytes).sum();
            let left = state.sealed.as_ref().map_or(0, |sealed| sealed.left_bytes);
            assert_eq!(state.charged, taken);
            assert_eq!(self.budget.used_bytes(), state.charged + state.credit + left);
            let covered = state.cover.len_bytes();
            assert_eq!(state.allocated_bytes(), (taken + covered).min(state.size));
            // What the image alone has: its buffers that are no block's any more, and its bitmaps.
            let Some((image, _)) = &self.image else { return };
            let is_shared = |index: u64, bytes: &[u8]| {
                let block = state.blocks.get(&index);
                block.is_some_and(|block| block.as_slice().as_ptr() == bytes.as_ptr())
            };
            let alone = image.blocks.iter().filter(|it| !is_shared(it.index, &it.bytes));
            let bytes: u64 = alone.map(|block| block.bytes.len() as u64).sum();
            let bitmaps: u64 = image.blocks.iter().map(|block| block.dirty.heap_bytes()).sum();
            assert_eq!(left, bytes + bitmaps);
        });
    }

    /// What ends a file's life in memory: nothing is left of it, or it begins anew.
    fn end(mut self, is_restored: bool) {
        if self.image.is_some() {
            self.play(Do::Unseal, &(0..0));
        }
        let around = Around { limits: &self.limits, budget: &self.budget };
        let Self { file, budget, .. } = &self;
        if !is_restored {
            file.clear(around);
            assert_eq!((budget.used_bytes(), file.dirty_bytes()), (0, 0));
            assert!(file.state.read(|state| state.blocks.is_empty()));
            return;
        }
        let (before, generation) = (file.version(), file.generation());
        let attr = FileAttr { mode: 0o600, ..file.attr() };
        file.restore(around, attr, 7, Spans::below(5));
        assert_eq!((file.attr(), file.size(), budget.used_bytes()), (attr, 7, 0));
        assert_eq!(file.spans(), (Spans::default(), Spans::below(5), 7));
        assert_eq!((file.version(), file.generation()), (before.next(), generation + 1));
        assert_ne!(file.epoch(), NOW);
        // What the layout turns out not to hold, if it still is that one.
        let missing = || file.missing(0..7).into_iter().flatten().collect::<Vec<_>>();
        file.uncover(generation, std::slice::from_ref(&(0..2)));
        assert_eq!(missing(), [0, 1, 2, 3, 4]);
        file.uncover(generation + 1, std::slice::from_ref(&(0..2)));
        assert_eq!(missing(), [2, 3, 4]);
    }
}

fn holes_of(image: &Image) -> impl Iterator<Item = Range<u64>> + use<> {
    let mut data = Spans::default();
    image.data_ranges().into_iter().for_each(|range| data.insert(range));
    let holes: Vec<_> = data.gaps(0..image.size).collect();
    holes.into_iter()
}

fn compare_image(image: &Image, was: &[Byte], ask: &Range<u64>) {
    assert_eq!((image.ino, image.size), (INO, was.len() as u64));
    let all = |of: fn(&Byte) -> bool| spans_of(was, of);
    let listed = |ranges: Vec<Range<u64>>| {
        let mut spans = Spans::default();
        ranges.into_iter().for_each(|range| spans.insert(range));
        spans
    };
    assert_eq!(listed(image.valid_ranges().collect()), all(|byte| byte.held));
    assert_eq!(listed(image.dirty_ranges().collect()), all(|byte| byte.dirty));
    assert_eq!(image.dirty_spans(), all(|byte| byte.dirty));
    let data: Vec<Range<u64>> = all(|byte| !byte.is_hole()).iter().collect();
    assert_eq!(image.data_ranges(), data);
    let end = ask.end.min(image.size);
    let ask = ask.start.min(end)..end;
    let part = &was[ask.start as usize..ask.end as usize];
    assert_eq!(image.has_valid(&ask), part.iter().any(|byte| byte.held));
    assert_eq!(image.has_dirty(&ask), part.iter().any(|byte| byte.dirty));
    if ask.is_empty() {
        return;
    }
    let is_changed = |byte: &Byte| byte.covered.is_none() || byte.dirty;
    assert_eq!(image.changed(&ask), part.iter().any(is_changed));
    assert_eq!(image.is_hole(&ask), part.iter().all(|byte| byte.is_hole()));
    let mut at = ask.start as usize;
    for piece in image.parts(&ask) {
        let len = match piece {
            Part::Memory(slice) => {
                let bytes = slice.as_bytes();
                let of = &was[at..at + bytes.len()];
                assert!(
                    of.iter().zip(bytes).all(|(byte, shown)| byte.held && byte.shows == *shown)
                );
                bytes.len()
            }
            Part::Layout(range) => {
                assert_eq!(range.start, at as u64);
                let of = &was[at..range.end as usize];
                assert!(of.iter().all(|byte| byte.covered.is_some() && !byte.held));
                of.len()
            }
            Part::Zeros(len) => {
                assert!(was[at..at + len as usize].iter().all(|byte| byte.is_hole()));
                len as usize
            }
        };
        assert!(len > 0);
        at += len;
    }
    assert_eq!(at as u64, ask.end);
}

fn spans_of(bytes: &[Byte], is: impl Fn(&Byte) -> bool) -> Spans {
    let mut spans = Spans::default();
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| is(byte)) {
        spans.insert(at as u64..at as u64 + 1);
    }
    spans
}

fn what() -> impl Strategy<Value = Do> {
    prop_oneof![
        6 => (any::<u8>(), 0..9).prop_map(|(fill, late)| Do::Write { fill, is_late: late == 0 }),
        2 => Just(Do::Resize),
        1 => Just(Do::Allocate(Allocate::Extend)),
        1 => Just(Do::Allocate(Allocate::KeepSize)),
        2 => Just(Do::Allocate(Allocate::Punch)),
        1 => Just(Do::Allocate(Allocate::Zero { keep_size: true })),
        1 => Just(Do::Allocate(Allocate::Zero { keep_size: false })),
        4 => (0..9).prop_map(|stale| Do::Load { is_stale: stale == 0 }),
        2 => prop::sample::select(vec![0, 1, 20, u64::MAX]).prop_map(|want| Do::Evict { want }),
        1 => Just(Do::Settle),
        2 => Just(Do::Seal),
        1 => Just(Do::Adopt),
        1 => Just(Do::Unseal),
    ]
}

fn range() -> impl Strategy<Value = Range<u64>> {
    (0..FILE_BYTES, prop_oneof![4 => 0u64..4, 2 => 0u64..20, 1 => 0u64..FILE_BYTES])
        .prop_map(|(start, len)| start..(start + len).min(FILE_BYTES))
}

proptest! {
    #[test]
    fn a_file_is_what_the_plainest_file_is(
        block_bytes in prop_oneof![Just(8u32), Just(64)],
        size in 0..FILE_BYTES,
        is_restored in any::<bool>(),
        steps in proptest::collection::vec((what(), range(), range()), 1..60),
    ) {
        let mut game = Game::new(block_bytes, size);
        for (at, (what, range, ask)) in steps.into_iter().enumerate() {
            let (before, wall) = (game.changes, game.wall);
            game.wall = Time { ns: at as i64 };
            game.play(what, &range);
            let changed = if game.changes == before { wall } else { game.wall };
            game.wall = changed;
            let attr = game.file.attr();
            prop_assert_eq!((attr.mtime, attr.ctime), (changed, changed));
            game.compare(&ask);
            game.compare(&(0..FILE_BYTES));
        }
        game.end(is_restored);
    }
}
