//! How bytes come into a file, and what memory they take.
#![allow(clippy::unwrap_used)]

mod plain;
mod shared;

use std::ops::Range;

use super::Budget;
use super::block::{Block, Bytes};
use super::file::{Around, FileAttr, Installed, Slow, Why, WriteError};
use super::state::State;
use crate::shapes::{Allocate, Spans, WriteFlags};
use crate::words::{Epoch, Errno, Ino, Limits, Time};

const BLOCK: u32 = 64 << 10;
const TOTAL: u64 = 64 << 20;
const LEN: u64 = 3 * BLOCK as u64 + 1000;

struct Play {
    limits: Limits,
    budget: Budget,
    state: State,
    /// What the layout holds.
    bytes: Vec<u8>,
}

impl Play {
    fn new() -> Self {
        let (mtime, ctime) = (Time::default(), Time::default());
        let attr = FileAttr { mode: 0, links: 1, uid: 0, gid: 0, mtime, ctime };
        Self {
            limits: Limits::default(),
            budget: Budget::new(TOTAL, 0),
            state: State::new(attr, LEN, Spans::below(LEN), BLOCK),
            bytes: (0..LEN).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect(),
        }
    }

    /// Loads a range; where its buffers were.
    fn load(&mut self, range: Range<u64>) -> Vec<*const u8> {
        let bytes = &self.bytes[range.start as usize..range.end as usize];
        let mut buffers: Vec<Vec<u8>> = bytes.chunks(BLOCK as usize).map(<[u8]>::to_vec).collect();
        let addresses = buffers.iter().map(|buffer| buffer.as_ptr()).collect();
        let around = Around { limits: &self.limits, budget: &self.budget };
        let generation = self.state.generation;
        let installed = self.state.install(around, generation, range.start, &mut buffers);
        assert_eq!(installed, Installed::Done);
        addresses
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let around = Around { limits: &self.limits, budget: &self.budget };
        let flags = WriteFlags::default();
        let written = self.state.write(around, Epoch(0), Time::default(), offset, data, flags);
        assert_eq!(written, Ok(data.len() as u32));
        let end = offset as usize + data.len();
        self.bytes.resize(self.bytes.len().max(end), 0);
        self.bytes[offset as usize..end].copy_from_slice(data);
    }

    /// Cuts or extends, as the layout's bytes then do.
    fn resize(&mut self, size: u64) {
        let around = Around { limits: &self.limits, budget: &self.budget };
        assert_eq!(self.state.resize(around, Time::default(), size), Ok(()));
        self.bytes.resize(size as usize, 0);
    }

    fn address(&self, index: u64) -> *const u8 {
        self.state.blocks[&index].as_slice().as_ptr()
    }

    fn assert_whole(&self) {
        let mut out = Vec::new();
        assert_eq!(self.state.read(0, LEN as u32, &mut out), Ok(()));
        assert!(out == self.bytes, "the file shows other bytes than were loaded and written");
        assert_eq!(TOTAL - self.budget.free_bytes(), self.state.charged + self.state.credit);
        let held: u64 = self.state.blocks.values().map(Block::memory_bytes).sum();
        assert_eq!(self.state.charged, held);
    }
}

#[test]
fn what_is_loaded_in_blocks_is_not_copied() {
    let mut play = Play::new();
    let buffers = play.load(0..LEN);
    assert_eq!(buffers, [0, 1, 2, 3].map(|index| play.address(index)));
    play.assert_whole();
    assert_eq!(play.state.charged, LEN);
}

#[test]
fn a_write_to_what_was_loaded_takes_neither_a_copy_nor_memory() {
    let mut play = Play::new();
    let buffers = play.load(0..LEN);
    assert!(play.budget.take(play.budget.free_bytes()));
    play.state.credit = 0;
    for index in [1, 3] {
        play.write(index * u64::from(BLOCK) + 7, b"new");
        assert!(matches!(play.state.blocks[&index].bytes, Bytes::Owned(_)));
        assert_eq!(play.address(index), buffers[index as usize]);
    }
}

#[test]
fn pieces_that_lie_across_blocks_are_put_together() {
    let block = u64::from(BLOCK);
    for cuts in [vec![1000], vec![block - 1, block + 1], vec![block / 2, 2 * block + 5, LEN - 1]] {
        let mut play = Play::new();
        let ends = cuts.iter().copied().chain([LEN]);
        let starts = [0].into_iter().chain(cuts.iter().copied());
        for piece in starts.zip(ends) {
            play.load(piece.0..piece.1);
        }
        play.assert_whole();
    }
}

#[test]
fn what_was_written_or_cut_meanwhile_stays() {
    let block = u64::from(BLOCK);
    let mut play = Play::new();
    play.write(block + 5, b"kept");
    play.load(0..LEN);
    play.assert_whole();

    let mut play = Play::new();
    let layout = play.bytes.clone();
    play.resize(block + 10);
    play.resize(LEN);
    let shown = std::mem::replace(&mut play.bytes, layout);
    play.load(0..LEN);
    play.bytes = shown;
    play.assert_whole();
}

/// A file that is written from its beginning takes the memory of a small one first.
#[test]
fn small_files_take_small_buffers() {
    let mut play = Play::new();
    play.resize(0);
    let mut takes = |end: u64, bytes: u64| {
        play.write(end - 1, b"x");
        assert_eq!(play.state.charged, bytes, "up to {end}");
        assert_eq!(play.state.blocks[&0].capacity() as u64, bytes, "up to {end}");
    };
    takes(1, 4 << 10);
    takes(4 << 10, 4 << 10);
    takes((4 << 10) + 1, 16 << 10);
    takes(16 << 10, 16 << 10);
    takes((16 << 10) + 1, 64 << 10);
    takes(64 << 10, 64 << 10);
}

/// Room is taken for all blocks before anything changes.
#[test]
fn a_write_that_finds_no_room_for_all_of_it_changes_nothing() {
    let mut play = Play::new();
    play.resize(0);
    let block = u64::from(BLOCK);
    // For one block and its masks, and nearly for the second.
    let room = 2 * (block + block / 64 * 16) - 1;
    assert!(play.budget.take(TOTAL - room));
    let around = Around { limits: &play.limits, budget: &play.budget };
    let before = play.state.version;
    // Half of the budget is taken, so that it would be time to send first.
    play.budget.sends();
    let data = vec![1; 2 * BLOCK as usize];
    let flags = WriteFlags::default();
    let written = play.state.write(around, Epoch(0), Time::default(), 0, &data, flags);
    let need = room + 1;
    assert_eq!(written, Err(WriteError::Slow(Slow(Why::NoRoom(need)))));
    assert_eq!((play.state.size, play.state.version), (0, before));
    assert!(play.state.blocks.is_empty());
    assert_eq!((play.state.charged, play.state.credit, play.budget.free_bytes()), (0, 0, room));

    play.budget.give(1);
    let around = Around { limits: &play.limits, budget: &play.budget };
    let written = play.state.write(around, Epoch(0), Time::default(), 0, &data, flags);
    assert_eq!(written, Ok(2 * BLOCK));
}

/// All of the budget is taken but for the file's credit, and it would be time to send data.
fn with_credit_alone(play: &mut Play, credit: u64) {
    let around = Around { limits: &play.limits, budget: &play.budget };
    play.state.settle(around, 0);
    assert!(play.budget.take(play.budget.free_bytes()));
    play.state.credit = credit;
    assert!(play.budget.is_pressed());
}

/// What a block and its masks can take at most, and the masks alone.
const NEW: u64 = BLOCK as u64 + MASKS;
const MASKS: u64 = BLOCK as u64 / 64 * 16;

#[test]
fn a_write_that_credit_is_enough_for_asks_nobody() {
    let mut play = Play::new();
    play.resize(0);
    with_credit_alone(&mut play, NEW);
    play.write(u64::from(BLOCK) - 1, b"x");
    assert_eq!(play.state.credit, MASKS);

    let mut play = Play::new();
    play.resize(0);
    with_credit_alone(&mut play, NEW - 1);
    let around = Around { limits: &play.limits, budget: &play.budget };
    let (at, flags) = (u64::from(BLOCK) - 1, WriteFlags::default());
    let written = play.state.write(around, Epoch(0), Time::default(), at, b"x", flags);
    assert_eq!(written, Err(WriteError::Slow(Slow(Why::Pressed))));
}

#[test]
fn a_write_to_bytes_that_are_owned_takes_room_for_masks_alone() {
    let mut play = Play::new();
    play.resize(0);
    play.write(u64::from(BLOCK) - 1, b"x");
    for at in [10, 20, 30] {
        play.write(at, b"x");
    }
    // A fifth run takes a bitmap.
    with_credit_alone(&mut play, MASKS);
    play.write(40, b"x");
    assert_eq!(play.state.credit, 0);
}

#[test]
fn a_file_may_be_as_long_as_the_limit_says() {
    let mut play = Play::new();
    let longest = play.limits.file_bytes;
    let around = Around { limits: &play.limits, budget: &play.budget };
    let (state, wall) = (&mut play.state, Time::default());
    state.resize(around, wall, longest).unwrap();
    assert_eq!(state.size, longest);
    state.resize(around, wall, 0).unwrap();
    state.allocate(around, wall, longest - 1..longest, Allocate::Extend).unwrap();
    assert_eq!(state.size, longest);
}

#[test]
fn room_is_taken_only_for_what_credit_lacks_with_a_block_more() {
    let mut play = Play::new();
    play.resize(0);
    play.state.settle(Around { limits: &play.limits, budget: &play.budget }, 0);
    play.write(u64::from(BLOCK) - 1, b"x");
    assert_eq!(play.state.credit, MASKS + u64::from(BLOCK));
    // What is there is enough, and no more is taken.
    assert!(play.budget.take(NEW - play.state.credit));
    play.state.credit = NEW;
    play.write(2 * u64::from(BLOCK) - 1, b"x");
    assert_eq!(play.state.credit, MASKS);
}

#[test]
fn a_hole_takes_room_for_the_bitmaps_of_two_blocks() {
    for (credit, expected) in [(2 * MASKS, Ok(())), (2 * MASKS - 1, Err(Errno::NoSpc))] {
        let mut play = Play::new();
        play.load(0..LEN);
        with_credit_alone(&mut play, credit);
        let around = Around { limits: &play.limits, budget: &play.budget };
        let range = 5..u64::from(BLOCK) + 5;
        let punched = play.state.allocate(around, Time::default(), range, Allocate::Punch);
        assert_eq!(punched, expected, "{credit}");
    }
}

/// A block may be called dirty where nothing was written, for want of memory.
#[test]
fn what_is_written_where_a_block_is_only_called_dirty_is_valid() {
    let mut play = Play::new();
    play.resize(0);
    play.write(0, &[1; 20]);
    let block = play.state.blocks.get_mut(&0).unwrap();
    block.valid.remove(5..15, BLOCK);
    play.write(8, b"new");
    let valid = play.state.blocks[&0].valid.runs();
    assert_eq!(valid, [0..5, 8..11, 15..20]);
}

/// Bytes at these places, each a run of its own.
fn dots(play: &mut Play, at: impl Iterator<Item = u64>) {
    at.for_each(|at| play.write(at * 10, b"x"));
}

#[test]
fn what_is_dirty_again_is_told_exactly_as_far_as_there_is_memory() {
    let bitmap = MASKS / 2;
    // Runs before the seal and after it, memory, and how many runs it is told in.
    for (before, after, credit, runs) in
        [(4, 4, bitmap, 8), (4, 4, bitmap - 1, 1), (1, 5, 0, 6), (5, 1, 0, 6)]
    {
        let mut play = Play::new();
        play.resize(0);
        dots(&mut play, 0..before);
        let image = play.state.seal(Ino(2));
        dots(&mut play, before..before + after);
        // The image gives back what it alone has.
        let left = play.state.sealed.as_ref().unwrap().left_bytes;
        with_credit_alone(&mut play, credit.saturating_sub(left));
        let around = Around { limits: &play.limits, budget: &play.budget };
        play.state.unseal(around, &image);
        let dirty = &play.state.blocks[&0].dirty;
        assert_eq!(dirty.runs().len(), runs, "{before}, {after}, {credit}, {left}");
        assert!((0..before + after).all(|at| dirty.contains(at as u32 * 10..at as u32 * 10 + 1)));
    }
}
