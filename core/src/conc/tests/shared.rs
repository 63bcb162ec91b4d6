//! What threads find files by: handles, the epoch, the budget's figures; and the hand-over.

use std::cell::RefCell;
use std::collections::VecDeque;

use crate::conc::file::{File, FileAttr, Slow, Why};
use crate::conc::{Fast, Handle, Handover, Shared};
use crate::shapes::{OpenFlags, Spans, WriteFlags};
use crate::sync::Arc;
use crate::words::{Epoch, Errno, Fh, Ino, Limits, Time};

const ATTR: FileAttr = FileAttr {
    mode: 0o6711,
    links: 1,
    uid: 0,
    gid: 0,
    mtime: Time { ns: 0 },
    ctime: Time { ns: 0 },
};

fn shared(read_only: bool) -> Shared {
    let limits =
        Limits { handles: 3, memory_bytes: 1 << 20, reserve_bytes: 0, ..Limits::default() };
    Shared::new(limits, read_only)
}

/// Opens a file of no bytes in a slot, registered in the present epoch.
fn open(shared: &Shared, index: usize, write: bool) -> Fh {
    let file = File::new(Ino(2), ATTR, 0, Spans::default(), shared.limits.block_bytes);
    file.register(shared.epoch());
    let flags = OpenFlags { read: true, write, truncate: false };
    shared.handles.open(index, Handle { file: Arc::new(file), flags })
}

fn write(shared: &Shared, fh: Fh, from_cache: bool) -> Fast<u32> {
    let flags = WriteFlags { from_cache, kill_suidgid: true };
    shared.try_write(fh, Time { ns: 7 }, 0, b"abc", flags)
}

#[test]
fn a_write_goes_to_the_file_that_the_handle_is_of() {
    let shared = shared(false);
    let (one, two) = (open(&shared, 1, true), open(&shared, 2, true));
    assert_eq!(write(&shared, two, false), Fast::Done(3));
    let size = |fh| shared.handle(fh).map(|handle| handle.file.size());
    assert_eq!((size(one), size(two)), (Some(0), Some(3)));
    let mut out = Vec::new();
    assert_eq!(shared.try_read(two, 1, 9, &mut out), Fast::Done(()));
    assert_eq!(out, b"bc");
    let attr = shared.handle(two).map(|handle| handle.file.attr());
    // Set-gid goes too, since the group may execute.
    assert_eq!(attr.map(|attr| (attr.mode, attr.mtime.ns)), Some((0o711, 7)));
    assert_eq!(shared.memory_limit_bytes(), 1 << 20);
    let (used, free) = shared.memory_bytes();
    assert!(used > 3 && used + free == 1 << 20, "{used}, {free}");
}

#[test]
fn set_gid_without_the_right_to_execute_is_no_privilege() {
    let dropped = |mode| {
        let mut attr = FileAttr { mode, ..ATTR };
        attr.drop_set_id();
        attr.mode
    };
    let modes = [0o6777, 0o6767, 0o2710, 0o2704, 0o4644, 0o1755, 0];
    assert_eq!(modes.map(dropped), [0o777, 0o2767, 0o710, 0o2704, 0o644, 0o1755, 0]);
}

#[test]
fn handles_that_may_not_or_are_not_open_are_refused() {
    let bad = Fast::Failed(Errno::BadF);
    let shared = shared(false);
    let fh = open(&shared, 0, false);
    assert_eq!(write(&shared, fh, false), bad);
    // What a mapping changed comes through any handle.
    assert_eq!(write(&shared, fh, true), Fast::Done(3));
    for wrong in [Fh(fh.0 + (1 << 32)), Fh(fh.0 - (1 << 32)), Fh(fh.0 + 1), Fh(fh.0 + 99)] {
        assert_eq!(write(&shared, wrong, true), bad);
        assert!(shared.handle(wrong).is_none());
        assert_eq!(shared.try_read(wrong, 0, 1, &mut Vec::new()), Fast::Failed(Errno::BadF));
    }
    let read_only = self::shared(true);
    let fh = open(&read_only, 0, true);
    assert_eq!(write(&read_only, fh, false), Fast::Failed(Errno::RoFs));
}

#[test]
fn closing_all_gives_back_what_was_open() {
    let shared = shared(false);
    let (one, two) = (open(&shared, 0, true), open(&shared, 2, true));
    let closed = shared.handles.close_all();
    assert_eq!(closed.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 2]);
    assert!(shared.handle(one).is_none() && shared.handle(two).is_none());
    let again = open(&shared, 0, true);
    assert_eq!(again.0, one.0 + (1 << 32), "the next generation of the slot");
}

#[test]
fn a_cut_begins_an_epoch_in_which_nothing_is_registered() {
    let shared = shared(false);
    let (fh, before) = (open(&shared, 0, true), shared.epoch());
    shared.cut();
    assert_eq!(shared.epoch(), before.next());
    assert_eq!(write(&shared, fh, false), Fast::Slow(Slow(Why::Register)));
    shared.refuse_writes();
    let file = shared.handle(fh).map(|handle| handle.file);
    file.iter().for_each(|file| file.register(before.next()));
    assert_eq!(write(&shared, fh, false), Fast::Slow(Slow(Why::Register)));
    assert_eq!(shared.epoch(), Epoch(u64::MAX));
}

#[test]
fn reads_past_the_mark_tell_of_it() {
    let cover = Spans::default();
    let file = File::new(Ino(2), ATTR, 10, cover, 8);
    let read = |start, len| file.read(start, len, &mut Vec::new());
    assert_eq!(read(0, 10), Ok(()));
    file.set_mark(6);
    assert_eq!(read(0, 6), Ok(()));
    for (start, len, end) in [(0, 7, 7), (6, 1, 7), (9, 5, 10)] {
        assert_eq!(read(start, len), Err(Slow(Why::Ahead { start, end })));
    }
}

/// What is submitted while the machine runs is taken before whoever runs it stops.
#[test]
fn the_machine_takes_all_inputs_in_their_order() {
    let handover = Handover::new(Vec::new());
    let more = RefCell::new(VecDeque::from([2, 3]));
    let told = RefCell::new(Vec::new());
    submit(&handover, 1, &more, &told);
    assert_eq!(handover.with(|machine| machine.clone()), [1, 2, 3]);
    assert_eq!(*told.borrow(), [10, 20, 30]);
    submit(&handover, 4, &more, &told);
    assert_eq!(handover.with(|machine| machine.len()), 4);
}

fn submit(
    handover: &Handover<Vec<u32>, u32>,
    input: u32,
    more: &RefCell<VecDeque<u32>>,
    told: &RefCell<Vec<u32>>,
) {
    let step = |machine: &mut Vec<u32>, input| {
        machine.push(input);
        input * 10
    };
    let after = |answer| {
        told.borrow_mut().push(answer);
        let next = more.borrow_mut().pop_front();
        next.into_iter().for_each(|next| submit(handover, next, more, told));
    };
    handover.submit(input, step, after);
}
