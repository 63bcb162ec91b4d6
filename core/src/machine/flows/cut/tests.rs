//! Whatever changed, the pieces that stay and the ranges made anew are the file.
#![allow(clippy::unwrap_used, clippy::single_range_in_vec_init)]

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::conc::{File, FileAttr, Shared};
use crate::format::{Hash, ObjectName};
use crate::shapes::{Allocate, WriteFlags};
use crate::words::{Epoch, Ino, Limits, Time};

const GRID: Grid = Grid { chunk_bytes: 16 };

/// What a byte of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Byte {
    Hole,
    /// What the layout has there.
    Old,
    New,
}

#[derive(Clone, Debug)]
enum Edit {
    Write(u64, u64),
    Punch(u64, u64),
    Resize(u64),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let range = || (0..130_u64, 1..20_u64);
    let edit = prop_oneof![
        range().prop_map(|(at, len)| Edit::Write(at, len)),
        range().prop_map(|(at, len)| Edit::Punch(at, len)),
        (0..150_u64).prop_map(Edit::Resize),
    ];
    vec(edit, 0..5)
}

/// Pieces anywhere, or the chunks of a file.
fn layouts() -> impl Strategy<Value = (Vec<Range<u64>>, u64)> {
    let anywhere = (vec((0..20_u64, 1..30_u64), 0..8), 0..20_u64).prop_map(|(steps, rest)| {
        let mut end = 0;
        let pieces: Vec<_> = steps
            .into_iter()
            .map(|(gap, len)| {
                let start = end + gap;
                end = start + len;
                start..end
            })
            .collect();
        (pieces, end + rest)
    });
    let chunks = (vec(any::<bool>(), 9), 1..140_u64).prop_map(|(data, size)| {
        let chunks = GRID.parts(0..size).zip(data);
        (chunks.filter(|(_, data)| *data).map(|(chunk, _)| chunk).collect(), size)
    });
    prop_oneof![anywhere, chunks]
}

fn key(piece: &Range<u64>) -> PieceKey {
    let hash = Hash::of(&piece.start.to_le_bytes());
    let len = piece.end - piece.start;
    PieceKey { object: ObjectName::first(hash), offset: 0, len, hash }
}

/// A file of these pieces after edits, and what each of its bytes is. The cover of a file with a
/// piece tree claims its holes too.
fn edited(pieces: &[Range<u64>], size: u64, in_tree: bool, edits: &[Edit]) -> (Image, Vec<Byte>) {
    let limits = Limits { block_bytes: 8, ..Limits::default() };
    let shared = Shared::new(limits, false);
    let mut cover = Spans::default();
    let mut bytes = vec![Byte::Hole; size as usize];
    for piece in pieces {
        cover.insert(piece.clone());
        bytes[piece.start as usize..piece.end as usize].fill(Byte::Old);
    }
    if in_tree {
        cover = Spans::below(size);
    }
    let time = Time { ns: 0 };
    let attr = FileAttr { mode: 0, links: 1, uid: 0, gid: 0, mtime: time, ctime: time };
    let file = File::new(Ino(2), attr, size, cover, 8);
    let flags = WriteFlags { from_cache: false, kill_suidgid: false };
    let epoch = || Epoch(0);
    for edit in edits {
        match *edit {
            Edit::Write(at, len) => {
                let data = vec![1; len as usize];
                file.write(shared.around(), epoch, time, at, &data, flags).unwrap();
                let end = (at + len) as usize;
                bytes.resize(bytes.len().max(end), Byte::Hole);
                bytes[at as usize..end].fill(Byte::New);
            }
            Edit::Punch(at, len) => {
                let range = at..at + len;
                file.allocate(shared.around(), time, range, Allocate::Punch, |_| {}).unwrap();
                let end = bytes.len().min((at + len) as usize);
                if let Some(punched) = bytes.get_mut(at as usize..end) {
                    punched.fill(Byte::Hole);
                }
            }
            Edit::Resize(size) => {
                file.resize(shared.around(), time, size).unwrap();
                bytes.resize(size as usize, Byte::Hole);
            }
        }
    }
    (file.seal(), bytes)
}

/// What a search of these ranges of a layout finds.
fn located(pieces: &[Range<u64>], ranges: &[Range<u64>]) -> Located {
    let mut found = Located::default();
    for range in ranges {
        let mut at = range.start;
        for piece in pieces.iter().filter(|p| p.start < range.end && range.start < p.end) {
            if at < piece.start {
                found.holes.push(at..piece.start);
            }
            found.pieces.insert(piece.start, key(piece));
            at = piece.end;
        }
        if at < range.end {
            found.holes.push(at..range.end);
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_stays_and_what_is_made_is_the_file(
        (pieces, old_size) in layouts(),
        edits in edits(),
        is_whole in any::<bool>(),
        in_tree in any::<bool>(),
    ) {
        let scope = if is_whole || !in_tree { Scope::Whole } else { Scope::Touched };
        let (image, bytes) = edited(&pieces, old_size, in_tree, &edits);
        let ranges = GRID.to_locate(&image, old_size, scope);
        let cut = GRID.cut(&image, old_size, &located(&pieces, &ranges), scope);
        let of = |range: &Range<u64>| &bytes[range.start as usize..range.end as usize];
        let mut stays = pieces.clone();
        match scope {
            Scope::Whole => stays.retain(|piece| cut.kept.contains_key(&piece.start)),
            Scope::Touched => stays.retain(|piece| !cut.gone.contains(&piece.start)),
        }
        for piece in &stays {
            prop_assert!(piece.end <= image.size && of(piece).iter().all(|b| *b == Byte::Old));
        }
        for made in &cut.made {
            prop_assert!(made.end <= image.size && of(made).iter().any(|b| *b != Byte::Hole));
            prop_assert_eq!(GRID.parts(made.clone()).count(), 1);
        }
        let mut all: Vec<_> = stays.iter().chain(&cut.made).cloned().collect();
        all.sort_by_key(|range| range.start);
        prop_assert!(all.is_sorted_by(|a, b| a.end <= b.start), "{:?}", all);
        let mut held = Spans::default();
        all.iter().for_each(|range| held.insert(range.clone()));
        for (at, byte) in (0..).zip(&bytes) {
            prop_assert!(*byte == Byte::Hole || held.contains(&(at..at + 1)), "{} is lost", at);
        }
        let is_chunk = |piece: &Range<u64>| GRID.is_chunk(piece, image.size);
        prop_assert!(scope == Scope::Touched || all.iter().all(is_chunk), "{:?}", all);
        for piece in pieces.iter().filter(|p| is_chunk(p) && GRID.is_chunk(p, old_size)) {
            let same = of(piece).iter().all(|b| *b == Byte::Old);
            prop_assert!(!same || stays.contains(piece), "{:?} could stay", piece);
        }
    }
}

#[test]
fn a_small_change_of_a_file_of_a_tree_needs_the_chunk_around_it_and_what_was_cut_off() {
    let pieces: Vec<_> = GRID.parts(0..1_000).collect();
    let (image, _) = edited(&pieces, 1_000, true, &[Edit::Resize(990), Edit::Write(500, 3)]);
    let ranges = GRID.to_locate(&image, 1_000, Scope::Touched);
    assert_eq!(ranges, [496..512, 976..1_000]);
    let cut = GRID.cut(&image, 1_000, &located(&pieces, &ranges), Scope::Touched);
    assert_eq!((cut.made, cut.gone), (vec![496..512, 976..990], vec![496, 976, 992]));
}
