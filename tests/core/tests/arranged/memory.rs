//! Memory that runs short: of reads, of commits, and of what is sent early.

use vellum_core::shapes::{Allocate, Attr, CommitResult, Op, Reply, SetAttr, StoreError};
use vellum_core::words::{Errno, Fh, Ino, Limits};
use vellum_sim::store::{Arranged, End};

use crate::scene::{KIB, SECOND, Scene, always, noise};

#[test]
fn many_small_gaps_of_a_block_are_filled_in_little_memory() {
    let limits = Limits { memory_bytes: 1 << 20, reserve_bytes: 256 * KIB, ..Limits::default() };
    for during_a_commit in [false, true] {
        let mut scene = Scene::new(limits.clone());
        let mut data = noise(64 * KIB, 1);
        scene.file("a", &data);
        scene.committed();
        scene.remount();
        let (_, fh) = scene.open("a");
        for at in (0..64 * KIB).step_by(16) {
            scene.write(fh, at, b"!");
            data[at as usize] = b'!';
        }
        let commit = during_a_commit.then(|| scene.begin_commit());
        let gets = scene.gets();
        assert_eq!(scene.read(fh, 64 * KIB), data);
        assert!(scene.gets() - gets <= 2, "{} gets", scene.gets() - gets);
        if let Some(commit) = commit {
            assert!(matches!(scene.end_commit(commit), CommitResult::Committed { .. }));
        }
        assert_eq!(scene.read(fh, 64 * KIB), data);
    }
}

/// A cold file, in little memory, of which so much is for loads and commits alone.
fn with_cold_file(reserve_bytes: u64) -> (Scene, Fh, Vec<u8>) {
    let limits = Limits { memory_bytes: 640 * KIB, reserve_bytes, ..Limits::default() };
    let mut scene = Scene::new(limits);
    let data = noise(64 * KIB, 1);
    scene.file("cold", &data);
    scene.committed();
    scene.remount();
    let (_, cold) = scene.open("cold");
    (scene, cold, data)
}

/// A cold file, and so much dirty data that there is room to fetch it, and none to keep it.
fn without_room() -> (Scene, Fh, Vec<u8>) {
    let (mut scene, cold, data) = with_cold_file(100 * KIB);
    let (Attr { ino: dirty_ino, .. }, dirty) = scene.create("dirty");
    let refused = End::Refused(StoreError::Unreachable);
    scene.world.store.arranged = vec![always(Arranged::put("chunks/", refused))];
    // Whole blocks first; then a byte in each, which takes 20 KiB at most.
    for (len, room) in [(64 * KIB, 200 * KIB), (1, 24 * KIB)] {
        while scene.room() > room {
            let end = scene.size(dirty_ino).next_multiple_of(64 * KIB);
            scene.write(dirty, end, &noise(len, end));
        }
    }
    (scene, cold, data)
}

#[test]
fn a_read_without_room_waits_for_some_and_does_not_fetch_in_a_loop() {
    let (mut scene, cold, data) = without_room();
    let gets = scene.gets();
    let read = scene.send(Op::Read { fh: cold, offset: 0, len: 64 << 10 });
    let until = scene.world.now().mono_ns + 3 * SECOND;
    scene.world.run_until(until);
    assert_eq!(scene.gets() - gets, 1);
    scene.world.store.heal();
    assert_eq!(scene.wait(read), Ok(Reply::Data(data)));
    assert!(scene.gets() - gets <= 3, "{} gets", scene.gets() - gets);
}

#[test]
fn a_read_that_never_gets_room_is_eio() {
    let (mut scene, cold, _) = without_room();
    let start = scene.world.now().mono_ns;
    let read = Op::Read { fh: cold, offset: 0, len: 64 << 10 };
    assert_eq!(scene.world.ask(scene.mount, read), Err(Errno::Io));
    assert!(scene.world.now().mono_ns - start <= scene.limits.read_deadline_ns);
}

/// A file that was written, and cut to nothing, may still have memory for what comes next. Without
/// it there is none to keep what is fetched, or none to fetch it.
#[test]
fn memory_that_files_took_ahead_is_there_for_those_who_read() {
    for (reserve, room) in [(100 * KIB, 60 * KIB), (20 * KIB, 40 * KIB)] {
        let (mut scene, cold, data) = with_cold_file(reserve);
        let mut count = 0;
        // Each takes a block more than it needs, as long as there is one.
        while scene.room() > room && count < 200 {
            let (Attr { ino, .. }, fh) = scene.create(&format!("file {count}"));
            scene.write(fh, 0, b"x");
            let set = SetAttr { size: Some(0), ..SetAttr::default() };
            scene.ok(Op::SetAttr { ino, set });
            count += 1;
        }
        assert!((6..200).contains(&count), "{count} files take all of the memory");
        assert_eq!(scene.read(cold, 64 * KIB), data);
    }
}

#[test]
fn a_piece_that_a_task_gave_back_is_loaded_once_for_all_that_want_it() {
    let (memory_bytes, reserve_bytes) = (KIB * KIB, 32 * KIB);
    let limits = Limits { memory_bytes, reserve_bytes, block_bytes: 1 << 10, ..Limits::default() };
    let mut scene = Scene::new(Limits { in_flight: 3, ..limits });
    // Three files of one content, each in an object of its own: one piece.
    for text in ["2", "4", "5"] {
        scene.file(text, &noise(11 * KIB, 2));
        scene.committed();
    }
    scene.file("1", &noise(28 * KIB, 1));
    scene.committed();
    scene.file("3", &noise(5 * KIB, 3));
    scene.committed();
    scene.remount();
    // Three objects that need no load, then those of 1, of 2 and 3, and of 4.
    for (seed, text) in (10..).zip(["00", "01", "02"]) {
        scene.file(text, &noise(60 * KIB, seed));
    }
    let mut open = Vec::new();
    for text in ["1", "2", "3", "4"] {
        let (_, fh) = scene.open(text);
        scene.write(fh, 0, b"!");
        open.push(fh);
    }
    let read = scene.open("5");
    scene.world.store.slow = vec![("chunks/".into(), SECOND)];
    let refused = Arranged::put("chunks/", End::Refused(StoreError::Throttled));
    scene.world.store.arranged = vec![Arranged { skips: 2, ..refused }];
    let commit = scene.begin_commit();
    // What is written after the cut takes all memory but the reserve.
    let (_, filler) = scene.create("filler");
    let mut at = 0;
    while scene.room() > 2 * KIB {
        scene.write(filler, at, &noise(KIB, at));
        at += KIB;
    }
    let half = scene.world.now().mono_ns + SECOND / 2;
    scene.world.run_until(half);
    // Who asks for the piece before the tasks do is gone when it comes.
    scene.send(Op::Read { fh: read.1, offset: 0, len: 11 << 10 });
    scene.ok(Op::Release { fh: read.1 });
    scene.ok(Op::Forget { ino: read.0.ino, count: 1 });
    let result = scene.end_commit(commit);
    assert!(matches!(result, CommitResult::Committed { .. }), "{result:?}");
    scene.world.store.heal();
    scene.world.run_until_quiet();
    for fh in open.into_iter().chain([filler]) {
        scene.ok(Op::Release { fh });
    }
    scene.committed();
    scene.remount();
    for (text, len, seed) in [("1", 28, 1), ("2", 11, 2), ("3", 5, 3), ("4", 11, 2)] {
        let (_, fh) = scene.open(text);
        let mut data = noise(len * KIB, seed);
        data[0] = b'!';
        assert_eq!(scene.read(fh, len * KIB), data, "{text}");
    }
}

#[test]
fn what_is_read_of_a_file_during_its_commit_goes_when_memory_is_needed() {
    let limits = Limits { memory_bytes: 1 << 20, reserve_bytes: 256 * KIB, ..Limits::default() };
    let mut scene = Scene::new(limits);
    let mut data = noise(64 * 64 * KIB, 1);
    let (_, fh) = scene.create("a");
    for (at, part) in (0..).step_by(64 << 10).zip(data.chunks(64 << 10)) {
        scene.write(fh, at, part);
    }
    scene.committed();
    scene.remount();
    let (_, fh) = scene.open("a");
    scene.write(fh, 100 * KIB, b"!");
    data[100 << 10] = b'!';
    let refused = End::Refused(StoreError::Throttled);
    scene.world.store.arranged = vec![always(Arranged::put("chunks/", refused))];
    let commit = scene.begin_commit();
    // All of it, though a quarter would fill memory; and written where it was read.
    for (at, part) in (0..).step_by(64 << 10).zip(data.chunks(64 << 10)) {
        let read = scene.ok(Op::Read { fh, offset: at, len: 64 << 10 });
        assert_eq!(read, Reply::Data(part.to_vec()), "at {at}");
    }
    scene.write(fh, 300 * KIB, b"?");
    scene.world.store.heal();
    assert!(matches!(scene.end_commit(commit), CommitResult::Committed { .. }));
    data[300 << 10] = b'?';
    scene.committed();
    scene.remount();
    let (_, fh) = scene.open("a");
    for (at, part) in (0..).step_by(64 << 10).zip(data.chunks(64 << 10)) {
        let read = scene.ok(Op::Read { fh, offset: at, len: 64 << 10 });
        assert_eq!(read, Reply::Data(part.to_vec()), "at {at}");
    }
}

#[test]
fn a_kernel_that_is_gone_holds_nothing_but_edits_stay() {
    let mut scene = Scene::plain();
    scene.file("clean", &noise(KIB, 1));
    scene.committed();
    let room = scene.room();
    let (_, open) = scene.open("clean");
    let (_, kept) = scene.create("kept");
    scene.write(kept, 0, b"kept");
    let (_, temporary) = scene.create("temporary");
    scene.write(temporary, 0, &noise(1 << 20, 2));
    scene.unlink("temporary");
    scene.ok(Op::OpenDir { ino: Ino::ROOT });
    scene.ok(Op::Disconnect);
    for fh in [open, kept, temporary] {
        let read = Op::Read { fh, offset: 0, len: 1 };
        assert_eq!(scene.world.ask(scene.mount, read), Err(Errno::BadF));
    }
    let held = scene.holdings();
    assert_eq!((held.inodes, held.streams), (2, 0), "the root and what was edited");
    assert!(room - scene.room() < 100 * KIB, "{room} {}", scene.room());
    let (_, fh) = scene.open("kept");
    assert_eq!(scene.read(fh, 10), b"kept");
    scene.committed();
    scene.remount();
    let (_, fh) = scene.open("kept");
    assert_eq!(scene.read(fh, 10), b"kept");
}

#[test]
fn data_is_sent_early_again_once_what_could_not_be_sent_is_gone() {
    let (memory_bytes, reserve_bytes) = (64 * KIB * KIB, 64 * KIB);
    let mut scene = Scene::new(Limits { memory_bytes, reserve_bytes, ..Limits::default() });
    let data = noise(64 * KIB, 1);
    let fill = |scene: &mut Scene, fh, mib: u64| {
        (0..mib * 16).for_each(|at| scene.write(fh, at * 64 * KIB, &data));
    };
    let puts = |scene: &mut Scene| {
        scene.world.run_until_quiet();
        scene.world.store.counts().put.requests
    };
    let (Attr { ino, .. }, temporary) = scene.create("temporary");
    scene.unlink("temporary");
    fill(&mut scene, temporary, 40);
    assert_eq!(puts(&mut scene), 0, "a file without a name is sent");
    scene.ok(Op::Release { fh: temporary });
    scene.ok(Op::Forget { ino, count: 1 });
    assert!(scene.room() > 63 * KIB * KIB);
    let (_, fh) = scene.create("named");
    fill(&mut scene, fh, 34);
    assert!(puts(&mut scene) > 0, "more than half is taken, and nothing is sent");
}

#[test]
fn data_is_sent_early_although_something_else_can_not_be() {
    let (memory_bytes, reserve_bytes) = (4 << 20, 64 * KIB);
    let mut scene = Scene::new(Limits { memory_bytes, reserve_bytes, ..Limits::default() });
    let (_, temporary) = scene.create("temporary");
    let (_, second) = scene.open("temporary");
    scene.unlink("temporary");
    for at in (0..33 << 16).step_by(64 << 10) {
        scene.write(temporary, at, &noise(64 * KIB, at));
    }
    // What it took ahead goes with a handle.
    scene.ok(Op::Release { fh: second });
    let (_, fh) = scene.create("named");
    for at in (0..3 << 19).step_by(64 << 10) {
        scene.write(fh, at, &noise(64 * KIB, at));
    }
    scene.world.run_until_quiet();
    assert!(scene.world.store.counts().put.requests > 0, "nothing is sent");
}

/// What has to be sent first is sent, as for a write.
#[test]
fn a_hole_waits_for_room_for_its_bitmaps() {
    let (block_bytes, memory_bytes) = (8, 120);
    let mut scene =
        Scene::new(Limits { block_bytes, memory_bytes, reserve_bytes: 0, ..Limits::default() });
    let (_, fh) = scene.create("a");
    let (_, other) = scene.create("b");
    scene.write(fh, 0, &noise(8, 1));
    scene.committed();
    // Of two bitmaps for each mask of a block there is room for one.
    for at in 0.. {
        if scene.room() < 32 {
            break;
        }
        scene.write(other, at * 8, &noise(8, at));
    }
    assert!(scene.room() >= 8, "{}", scene.room());
    let (offset, len, how) = (2, 3, Allocate::Punch);
    let op = Op::Fallocate { fh, offset, len, how, kill_suidgid: false };
    assert_eq!(scene.ok(op), Reply::Done);
    let mut data = noise(8, 1);
    data[2..5].fill(0);
    assert_eq!(scene.read(fh, 8), data);
}

/// What is being loaded holds the reserve, and there is nothing to send: what can go is enough.
#[test]
fn a_hole_needs_no_more_room_than_its_bitmaps() {
    let (block_bytes, memory_bytes, reserve_bytes) = (8, 72, 40);
    let mut scene =
        Scene::new(Limits { block_bytes, memory_bytes, reserve_bytes, ..Limits::default() });
    for (text, len) in [("a", 8), ("b", 40)] {
        let (_, fh) = scene.create(text);
        for at in (0..len).step_by(8) {
            scene.write(fh, at, &noise(8, at));
        }
        scene.ok(Op::Release { fh });
        scene.committed();
    }
    scene.remount();
    let ((_, a), (_, b)) = (scene.open("a"), scene.open("b"));
    assert_eq!(scene.read(a, 8), noise(8, 0));
    scene.world.store.slow = vec![("chunks/".into(), SECOND)];
    scene.send(Op::Read { fh: b, offset: 0, len: 40 });
    let used = scene.world.actor(scene.mount).shared.memory_bytes().0;
    assert_eq!(
        used, 72,
        "all of it: 40 are loaded, and 32 are the file's, which it can do without"
    );
    let (offset, len, how) = (2, 3, Allocate::Punch);
    let op = Op::Fallocate { fh: a, offset, len, how, kill_suidgid: false };
    assert_eq!(scene.ok(op), Reply::Done);
}

#[test]
fn what_was_evicted_is_read_again_in_little_memory() {
    let (block_bytes, memory_bytes, reserve_bytes) = (8, 112, 40);
    let mut scene =
        Scene::new(Limits { block_bytes, memory_bytes, reserve_bytes, ..Limits::default() });
    let (_, fh) = scene.create("a");
    let (_, other) = scene.create("b");
    let mut data = noise(16, 1);
    scene.write(fh, 0, &data);
    scene.committed();
    scene.write(other, 0, &noise(16, 2));
    scene.write(fh, 12, &noise(8, 3));
    data.truncate(12);
    data.extend(noise(8, 3));
    // To have all of it in memory, something has to be sent first.
    let puts = scene.world.store.counts().put.requests;
    assert_eq!(scene.read(fh, 64), data);
    assert!(scene.world.store.counts().put.requests > puts);
}
