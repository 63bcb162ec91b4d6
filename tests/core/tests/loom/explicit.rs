//! Models of what is no verb of a mount, or begins in a state that no other needs: each says by
//! itself what may come of it.

use vellum_core::conc::{Budget, Fast, Handover};
use vellum_core::shapes::{Op, Reply, WriteFlags};
use vellum_core::words::Time;
use vellum_tests_core::threads::start::Start;
use vellum_tests_core::threads::world::{RW, World, commit};

use crate::check::{say, three, two};

const OLD: &[u8] = b"oooooooooooooooo";
const NEW: &[u8] = b"nnnnnnnnnnnnnnnn";

/// Room for the two blocks of the file and for one more, with what is set aside for its masks.
const TIGHT_BYTES: u64 = 72;

fn write_four(world: &World) -> String {
    say(world.write(4, b"wwww"))
}

type Sum = Handover<Vec<u64>, u64>;

fn submit(sum: &Sum, input: u64) -> String {
    sum.submit(input, |inputs, input| inputs.push(input), |()| {});
    String::new()
}

fn sorted(sum: &Sum) -> String {
    let mut inputs = sum.with(|inputs| inputs.clone());
    inputs.sort_unstable();
    say(inputs)
}

/// submit ‖ submit: the machine is handed over, and no input is lost.
#[test]
pub(crate) fn s25_an_input_left_behind_is_taken() {
    two(|| Sum::new(Vec::new()), [|w| submit(w, 1), |w| submit(w, 2)], sorted, &[" |  | [1,2]"]);
}

/// submit ‖ submit ‖ submit.
#[test]
fn s25_of_three_inputs_none_is_lost() {
    three(
        || Sum::new(Vec::new()),
        [|w| submit(w, 1), |w| submit(w, 2), |w| submit(w, 3)],
        sorted,
        &[" |  |  | [1,2,3]"],
    );
}

/// submit, submit ‖ with: between two inputs, and a thread's own in their order.
#[test]
fn s25_what_comes_between_sees_whole_inputs() {
    fn both(sum: &Sum) -> String {
        submit(sum, 1) + &submit(sum, 2)
    }
    two(
        || Sum::new(Vec::new()),
        [both, |w| say(w.with(|inputs| inputs.clone()))],
        |w| say(w.with(|inputs| inputs.clone())),
        &[" | [] | [1,2]", " | [1] | [1,2]", " | [1,2] | [1,2]"],
    );
}

/// take ‖ give, take.
#[test]
pub(crate) fn s23_a_budget_gives_each_byte_once() {
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
        &["true | false | 6", "false | true | 5"],
    );
}

/// take ‖ take ‖ give: of a write and a load, which may use the reserve.
#[test]
fn s23_a_budget_keeps_its_reserve() {
    fn make() -> Budget {
        let budget = Budget::new(10, 4);
        assert!(budget.take(6));
        budget
    }
    fn give(budget: &Budget) -> String {
        budget.give(6);
        String::new()
    }
    three(
        make,
        [|b: &Budget| say(b.take(6)), |b| say(b.take_reserved(4)), give],
        |b| b.used_bytes().to_string(),
        &["false | true |  | 4", "true | true |  | 10"],
    );
}

/// getattr of a file ‖ its last forget.
#[test]
fn a_file_is_there_until_it_is_forgotten() {
    fn attr(world: &World) -> String {
        match world.shared.try_getattr(world.ids.f) {
            Fast::Done(attr) => attr.size.to_string(),
            Fast::Slow(_) => "gone".to_owned(),
            Fast::Failed(errno) => say(errno),
        }
    }
    fn forget(world: &World) -> String {
        world.request(Op::Release { fh: world.ids.fh }).unwrap();
        world.request(Op::Forget { ino: world.ids.f, count: 1 }).unwrap();
        String::new()
    }
    two(|| World::cold(OLD), [attr, forget], |_| String::new(), &["16 |  | ", "gone |  | "]);
}

/// restore ‖ write: it is taken back, or it is a new change.
#[test]
fn a_write_beside_a_restore_goes_or_counts_as_changed() {
    fn changed() -> World {
        let world = World::clean(OLD, 1 << 20);
        assert_eq!(world.write(0, NEW), Ok(16));
        world
    }
    fn restore(world: &World) -> String {
        let (ino, inode) = (world.ids.f, world.record());
        assert!(matches!(world.request(Op::Restore { ino, inode }), Ok(Reply::Restored(_))));
        String::new()
    }
    two(
        changed,
        [restore, write_four],
        |world| format!("{} {}", world.content(), world.is_dirty()),
        &[" | Ok(4) | oooooooooooooooo false", " | Ok(4) | oooowwwwoooooooo true"],
    );
}

/// A block that can go is evicted by a write that needs room ‖ write to it.
#[test]
fn a_block_is_evicted_or_written_never_both() {
    two(
        || World::clean(OLD, TIGHT_BYTES),
        [|w: &World| say(w.write(56, b"ffffffff")), write_four],
        World::content,
        &["Ok(8) | Ok(4) | oooowwwwoooooooo........................................ffffffff"],
    );
}

/// The same ‖ read.
#[test]
fn a_read_of_an_evicted_block_is_whole() {
    two(
        || World::clean(OLD, TIGHT_BYTES),
        [|w: &World| say(w.write(56, b"ffffffff")), |w| w.content()[..4].to_owned()],
        World::content,
        &["Ok(8) | oooo | oooooooooooooooo........................................ffffffff"],
    );
}

/// A load ends ‖ write ‖ truncate. What was loaded comes neither over the write nor past the cut.
#[test]
fn s07_a_load_ends_amid_a_write_and_a_truncate() {
    fn begin_read() -> World {
        let world = World::cold(OLD);
        world.begin(Op::Read { fh: world.ids.fh, offset: 0, len: 16 });
        world
    }
    fn finish(world: &World) -> String {
        world.finish();
        String::new()
    }
    fn resize_to_six(world: &World) -> String {
        world.resize(6);
        String::new()
    }
    three(
        begin_read,
        [finish, write_four, resize_to_six],
        World::content,
        &[" | Ok(4) |  | oooowwww", " | Ok(4) |  | ooooww"],
    );
}

/// A load is on its way ‖ a write, its commit, and its eviction. What comes in is stale.
#[test]
pub(crate) fn s07_what_was_loaded_before_a_commit_is_stale() {
    fn begin_read() -> World {
        let world = Start::TightCold.world();
        world.begin(Op::Read { fh: world.ids.fh, offset: 0, len: 16 });
        world.hold();
        world
    }
    fn land(world: &World) -> String {
        world.land();
        String::new()
    }
    fn write_commit_press(world: &World) -> String {
        assert_eq!(world.write(0, NEW), Ok(16));
        world.request(commit()).unwrap();
        say(world.write_to(world.ids.gh, 8, b"pppppppp"))
    }
    two(begin_read, [land, write_commit_press], World::content, &[" | Ok(8) | nnnnnnnnnnnnnnnn"]);
}

/// An upload fails ‖ read. What it had taken is dirty again, and the next commit takes it.
#[test]
pub(crate) fn s05_what_a_failed_upload_had_taken_is_in_the_next_commit() {
    fn refused() -> World {
        let world = Start::Flushing.world();
        world.refuse(Some("chunks/"));
        world
    }
    fn finish(world: &World) -> String {
        world.finish();
        world.refuse(None);
        String::new()
    }
    two(
        refused,
        [finish, World::content],
        World::look,
        &[concat!(
            " | nnnnnnnnnnnnnnnn | f=644x1:16:nnnnnnnnnnnnnnnn g=644x1:4:gggg ",
            "fh=nnnnnnnnnnnnnnnn / f=644x1:16:oooooooooooooooo g=644x1:4:gggg",
        )],
    );
}

/// A file is taken by a commit, and the rest of it is loaded: read ‖ a write that needs room. What
/// only the commit has stays.
#[test]
pub(crate) fn s22_what_a_commit_has_taken_is_not_evicted() {
    fn taken() -> World {
        let world = Start::TightCold.world();
        assert_eq!(world.write(4, b"wwww"), Ok(4));
        world.begin(commit());
        world.run_until_put("chunks/");
        world.hold();
        assert_eq!(world.content(), "oooowwwwoooooooo");
        world
    }
    fn press(world: &World) -> String {
        let len = say(world.write_to(world.ids.gh, 8, b"pppppppp"));
        len + " " + &world.content()
    }
    two(
        taken,
        [press, World::content],
        |world| {
            world.land();
            world.content()
        },
        &["Ok(8) oooowwwwoooooooo | oooowwwwoooooooo | oooowwwwoooooooo"],
    );
}

/// close, and open in the same slot ‖ write through the old handle.
#[test]
pub(crate) fn a_new_handle_in_an_old_slot_is_another() {
    fn make() -> World {
        let world = World::dirty(OLD, 1 << 20);
        while world.request(Op::Open { ino: world.ids.f, flags: RW }).is_ok() {}
        world
    }
    fn close_and_open(world: &World) -> String {
        world.request(Op::Release { fh: world.ids.fh }).unwrap();
        let fh = world.open();
        assert_ne!(fh, world.ids.fh);
        assert_eq!(fh.0 as u32, world.ids.fh.0 as u32, "the slot is used again");
        world.content_of(fh)
    }
    fn write(world: &World) -> String {
        let (flags, wall) = (WriteFlags::default(), Time::default());
        match world.shared.try_write(world.ids.fh, wall, 0, NEW, flags) {
            Fast::Done(len) => say(len),
            Fast::Failed(errno) => say(errno),
            Fast::Slow(_) => panic!("the file is warm"),
        }
    }
    two(
        make,
        [close_and_open, write],
        |_| String::new(),
        &["nnnnnnnnnnnnnnnn | 16 | ", "oooooooooooooooo | BadF | "],
    );
}

/// A machine that failed refuses writes ‖ write.
#[test]
fn s26_after_a_shutdown_nothing_is_written() {
    fn begun() -> World {
        let world = World::clean(OLD, 1 << 20);
        assert_eq!(world.write(0, NEW), Ok(16));
        world
    }
    fn refuse(world: &World) -> String {
        world.shared.refuse_writes();
        let late =
            world.shared.try_write(world.ids.fh, Time::default(), 0, OLD, Default::default());
        match late {
            Fast::Slow(_) => "refused".to_owned(),
            Fast::Done(_) | Fast::Failed(_) => say(late),
        }
    }
    fn write(world: &World) -> String {
        match world.shared.try_write(world.ids.fh, Time::default(), 4, b"wwww", Default::default())
        {
            Fast::Done(len) => say(len),
            Fast::Slow(_) => "refused".to_owned(),
            Fast::Failed(errno) => say(errno),
        }
    }
    two(
        begun,
        [refuse, write],
        World::content,
        &["refused | 4 | nnnnwwwwnnnnnnnn", "refused | refused | nnnnnnnnnnnnnnnn"],
    );
}
