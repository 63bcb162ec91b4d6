//! Models of the machine's steps against the fast verbs: cuts, seals, loads, evictions, handles.

use vellum_core::conc::Fast;
use vellum_core::shapes::{Op, Reply, WriteFlags};
use vellum_core::words::Time;

use crate::check::{say, three, two};
use crate::world::{World, commit};

const OLD: &[u8] = b"oooooooooooooooo";
const NEW: &[u8] = b"nnnnnnnnnnnnnnnn";

/// Room for the two blocks of the file and for one more, with what is set aside for its masks.
const TIGHT_BYTES: u64 = 72;

fn warm() -> World {
    World::dirty(OLD, 1 << 20)
}

fn clean() -> World {
    World::clean(OLD, 1 << 20)
}

fn write_new(world: &World) -> String {
    say(world.write(0, NEW))
}

fn write_four(world: &World) -> String {
    say(world.write(4, b"wwww"))
}

fn resize_to_six(world: &World) -> String {
    world.resize(6);
    String::new()
}

fn cut(world: &World) -> String {
    match world.request(commit()) {
        Ok(Reply::Commit(_)) => String::new(),
        other => panic!("{other:?}"),
    }
}

/// What is in the file, in the snapshot, and whether they differ.
fn both_sides(world: &World) -> String {
    format!("{} {} {}", world.content(), world.committed(), world.is_dirty())
}

/// cut ‖ truncate.
#[test]
fn a_truncate_is_in_the_cut_or_after_it() {
    two(
        warm,
        [cut, resize_to_six],
        both_sides,
        &["oooooo oooooo false", "oooooo oooooooooooooooo true"],
    );
}

/// write ‖ grant, read: what was granted to the old bytes is never the new ones'.
#[test]
fn a_write_after_a_grant_takes_the_capability_away() {
    fn grant(world: &World) -> String {
        world.grant();
        world.content()
    }
    two(
        warm,
        [write_new, grant],
        |w| say(w.has_capability()),
        &[
            "Ok(16) nnnnnnnnnnnnnnnn true",
            "Ok(16) nnnnnnnnnnnnnnnn false",
            "Ok(16) oooooooooooooooo false",
        ],
    );
}

/// cut ‖ write that takes a capability away: both are in the snapshot, or neither.
#[test]
fn a_write_and_the_loss_of_a_capability_are_in_one_cut() {
    fn granted() -> World {
        let world = warm();
        world.grant();
        world
    }
    two(
        granted,
        [cut, write_new],
        |w| format!("{} {} {}", both_sides(w), w.committed_capability(), w.has_capability()),
        &[
            "Ok(16) nnnnnnnnnnnnnnnn nnnnnnnnnnnnnnnn false false false",
            "Ok(16) nnnnnnnnnnnnnnnn oooooooooooooooo true true false",
        ],
    );
}

/// cut ‖ write ‖ read.
#[test]
fn a_cut_shows_no_half_of_a_write_that_is_read() {
    three(
        warm,
        [cut, write_new, World::content],
        both_sides,
        &[
            " Ok(16) nnnnnnnnnnnnnnnn nnnnnnnnnnnnnnnn nnnnnnnnnnnnnnnn false",
            " Ok(16) nnnnnnnnnnnnnnnn nnnnnnnnnnnnnnnn oooooooooooooooo true",
            " Ok(16) oooooooooooooooo nnnnnnnnnnnnnnnn nnnnnnnnnnnnnnnn false",
            " Ok(16) oooooooooooooooo nnnnnnnnnnnnnnnn oooooooooooooooo true",
        ]
        .map(str::trim),
    );
}

fn begin_commit() -> World {
    let world = warm();
    world.begin(commit());
    world
}

fn finish(world: &World) -> String {
    world.finish();
    String::new()
}

/// A file is cut: write, which copies frozen blocks ‖ read. The snapshot has what was cut.
#[test]
fn a_write_to_frozen_blocks_leaves_the_cut_alone() {
    two(
        begin_commit,
        [write_new, World::content],
        |w| {
            w.finish();
            both_sides(w)
        },
        &[
            "Ok(16) oooooooooooooooo nnnnnnnnnnnnnnnn oooooooooooooooo true",
            "Ok(16) nnnnnnnnnnnnnnnn nnnnnnnnnnnnnnnn oooooooooooooooo true",
        ],
    );
}

/// A file is cut: its upload ends, and it is clean ‖ write, which makes it dirty.
#[test]
fn the_end_of_an_upload_leaves_a_later_write_dirty() {
    two(
        begin_commit,
        [finish, write_four],
        both_sides,
        &["Ok(4) oooowwwwoooooooo oooooooooooooooo true"],
    );
}

/// A committed file with a change of all of it.
fn changed() -> World {
    let world = clean();
    assert_eq!(world.write(0, NEW), Ok(16));
    world
}

/// What is in the file, and whether it is known to differ from the snapshot.
fn content_and_state(world: &World) -> String {
    format!("{} {}", world.content(), world.is_dirty())
}

/// discard ‖ write: it is taken back, or it is a new change.
#[test]
fn a_write_beside_a_discard_goes_or_counts_as_changed() {
    fn discard(world: &World) -> String {
        assert!(matches!(world.request(Op::Discard), Ok(Reply::Diff(_))));
        String::new()
    }
    two(
        changed,
        [discard, write_four],
        content_and_state,
        &["Ok(4) oooooooooooooooo false", "Ok(4) oooowwwwoooooooo true"],
    );
}

/// The same of one file.
#[test]
fn a_write_beside_a_restore_goes_or_counts_as_changed() {
    fn restore(world: &World) -> String {
        let (ino, inode) = (world.ino, world.record());
        assert!(matches!(world.request(Op::Restore { ino, inode }), Ok(Reply::Restored(_))));
        String::new()
    }
    two(
        changed,
        [restore, write_four],
        content_and_state,
        &["Ok(4) oooooooooooooooo false", "Ok(4) oooowwwwoooooooo true"],
    );
}

/// A block that can go is evicted by a write that needs room ‖ write to it.
#[test]
fn a_block_is_evicted_or_written_never_both() {
    two(
        || World::clean(OLD, TIGHT_BYTES),
        [|w: &World| say(w.write(56, b"ffffffff")), write_four],
        World::content,
        &["Ok(8) Ok(4) oooowwwwoooooooo........................................ffffffff"],
    );
}

/// The same ‖ read.
#[test]
fn a_read_of_an_evicted_block_is_whole() {
    two(
        || World::clean(OLD, TIGHT_BYTES),
        [|w: &World| say(w.write(56, b"ffffffff")), |w| w.content()[..4].to_owned()],
        World::content,
        &["Ok(8) oooo oooooooooooooooo........................................ffffffff"],
    );
}

fn begin_read() -> World {
    let world = World::cold(OLD);
    world.begin(Op::Read { fh: world.fh, offset: 0, len: 16 });
    world
}

/// A load ends ‖ write ‖ truncate. What was loaded comes neither over the write nor past the cut.
#[test]
fn a_load_ends_amid_a_write_and_a_truncate() {
    three(
        begin_read,
        [finish, write_four, resize_to_six],
        World::content,
        &["Ok(4)  oooowwww", "Ok(4)  ooooww"],
    );
}

/// close, and open in the same slot ‖ write through the old handle.
#[test]
fn a_new_handle_in_an_old_slot_is_another() {
    fn make() -> World {
        let world = warm();
        world.create(b"g");
        world
    }
    fn close_and_open(world: &World) -> String {
        world.request(Op::Release { fh: world.fh }).unwrap();
        let fh = world.open();
        assert_ne!(fh, world.fh);
        assert_eq!(fh.0 as u32, world.fh.0 as u32, "the slot is used again");
        world.content_of(fh)
    }
    fn write(world: &World) -> String {
        let (flags, wall) = (WriteFlags::default(), Time::default());
        match world.shared.try_write(world.fh, wall, 0, NEW, flags) {
            Fast::Done(len) => say(len),
            Fast::Failed(errno) => say(errno),
            Fast::Slow(_) => panic!("the file is warm"),
        }
    }
    two(
        make,
        [close_and_open, write],
        |_| String::new(),
        &["nnnnnnnnnnnnnnnn 16", "oooooooooooooooo BadF"],
    );
}

/// prepare ‖ prepare: two writes after a cut, each of which registers the file.
#[test]
fn two_writes_that_prepare_are_each_one_step() {
    two(
        clean,
        [|w| say(w.write(0, b"aaaaaaaaaaaa")), |w| say(w.write(4, b"bbbbbbbbbbbb"))],
        |w| format!("{} {}", w.content(), w.is_dirty()),
        &["Ok(12) Ok(12) aaaabbbbbbbbbbbb true", "Ok(12) Ok(12) aaaaaaaaaaaabbbb true"],
    );
}
