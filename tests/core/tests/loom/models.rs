//! The models. `‖` in a name's comment stands for two threads.

use vellum_core::conc::{Budget, Fast, Handover};
use vellum_core::shapes::{Op, Reply};

use crate::check::{say, two, two_bounded};
use crate::world::{World, commit};

const OLD: &[u8] = b"oooooooooooooooo";
const NEW: &[u8] = b"nnnnnnnnnnnnnnnn";

fn warm() -> World {
    World::dirty(OLD, 1 << 20)
}

fn write_new(world: &World) -> String {
    say(world.write(0, NEW))
}

fn look(world: &World) -> String {
    world.content()
}

/// write ‖ write, both over two blocks.
#[test]
fn two_writes_of_two_blocks_are_each_one_step() {
    two(
        warm,
        [|w| say(w.write(0, b"aaaaaaaaaaaa")), |w| say(w.write(4, b"bbbbbbbbbbbb"))],
        look,
        &["Ok(12) Ok(12) aaaabbbbbbbbbbbb", "Ok(12) Ok(12) aaaaaaaaaaaabbbb"],
    );
}

/// write over two blocks ‖ read over two blocks.
#[test]
fn a_read_sees_all_of_a_write_or_nothing() {
    two(
        warm,
        [write_new, World::content],
        look,
        &["Ok(16) oooooooooooooooo nnnnnnnnnnnnnnnn", "Ok(16) nnnnnnnnnnnnnnnn nnnnnnnnnnnnnnnn"],
    );
}

/// growing write ‖ getattr.
#[test]
fn a_size_is_the_one_before_or_after_a_write() {
    two(
        warm,
        [|w| say(w.write(12, b"gggggggg")), |w| say(w.size())],
        look,
        &["Ok(8) 16 oooooooooooogggggggg", "Ok(8) 20 oooooooooooogggggggg"],
    );
}

/// cut and commit ‖ write over two blocks: in this epoch or the next, never both or neither.
#[test]
fn a_write_is_in_the_cut_or_after_it_whole() {
    fn cut(world: &World) -> String {
        match world.request(commit()) {
            Ok(Reply::Commit(_)) => String::new(),
            other => panic!("{other:?}"),
        }
    }
    two(
        warm,
        [write_new, cut],
        |w| format!("{} {} {}", w.content(), w.committed(), w.is_dirty()),
        &[
            "Ok(16)  nnnnnnnnnnnnnnnn oooooooooooooooo true",
            "Ok(16)  nnnnnnnnnnnnnnnn nnnnnnnnnnnnnnnn false",
        ],
    );
}

/// truncate ‖ write past the cut.
#[test]
fn bytes_past_a_cut_never_come_back() {
    fn cut(world: &World) -> String {
        world.resize(4);
        String::new()
    }
    two(
        warm,
        [|w| say(w.write(12, b"wwww")), cut],
        look,
        &["Ok(4)  oooo........wwww", "Ok(4)  oooo"],
    );
}

/// truncate to nothing, then extend ‖ read.
#[test]
fn an_extended_file_reads_zeros() {
    fn regrow(world: &World) -> String {
        world.resize(0);
        world.resize(8);
        String::new()
    }
    two(
        warm,
        [regrow, World::content],
        look,
        &["oooooooooooooooo ........", "........", "........ ........"],
    );
}

/// cold read, which loads from the store ‖ write.
#[test]
fn a_load_never_overwrites_a_write() {
    two_bounded(
        || World::cold(OLD),
        [|w: &World| say(w.write(4, b"wwww")), World::content],
        look,
        &["Ok(4) oooooooooooooooo oooowwwwoooooooo", "Ok(4) oooowwwwoooooooo oooowwwwoooooooo"],
    );
}

/// write without room for both ‖ the same: one waits until the other's data is sent and gone.
#[test]
fn two_writes_without_room_for_both_are_both_done() {
    fn both() -> World {
        World::dirty(b"o", 36)
    }
    fn far(world: &World, at: u64) -> String {
        say(world.write(at, b"wwwwwwww"))
    }
    two(
        both,
        [|w: &World| far(w, 8), |w: &World| far(w, 32)],
        |w| say(w.size()),
        &["Ok(8) Ok(8) 40"],
    );
}

/// write ‖ release of its handle.
#[test]
fn a_write_through_a_closed_handle_is_refused() {
    fn close(world: &World) -> String {
        world.request(Op::Release { fh: world.fh }).unwrap();
        String::new()
    }
    two(warm, [write_new, close], |_| String::new(), &["Ok(16)", "Err(BadF)"]);
}

/// submit ‖ submit: the machine is handed over, and no input is lost.
#[test]
fn an_input_left_behind_is_taken() {
    fn submit(world: &Handover<u64, u64>, input: u64) -> String {
        world.submit(input, |machine, input| *machine += input, |()| {});
        String::new()
    }
    two(
        || Handover::new(0),
        [|w: &Handover<u64, u64>| submit(w, 1), |w: &Handover<u64, u64>| submit(w, 2)],
        |w| w.with(|sum| sum.to_string()),
        &["3"],
    );
}

/// take ‖ give, take.
#[test]
fn a_budget_gives_each_byte_once() {
    fn make() -> Budget {
        let budget = Budget::new(10, 0);
        assert!(budget.take(6));
        budget
    }
    fn give_and_take(budget: &Budget) -> String {
        budget.give(6);
        say(budget.take(5))
    }
    two(
        make,
        [|b: &Budget| say(b.take(6)), give_and_take],
        |b| b.used_bytes().to_string(),
        &["true false 6", "false true 5"],
    );
}

/// getattr of a file ‖ its last forget.
#[test]
fn a_file_is_there_until_it_is_forgotten() {
    fn attr(world: &World) -> String {
        match world.shared.try_getattr(world.ino) {
            Fast::Done(attr) => attr.size.to_string(),
            Fast::Slow(_) => "gone".to_owned(),
            Fast::Failed(errno) => say(errno),
        }
    }
    fn forget(world: &World) -> String {
        world.request(Op::Release { fh: world.fh }).unwrap();
        world.request(Op::Forget { ino: world.ino, count: 1 }).unwrap();
        String::new()
    }
    two(|| World::cold(OLD), [attr, forget], |_| String::new(), &["16", "gone"]);
}
