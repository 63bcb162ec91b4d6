//! Commits: what becomes of the ref, of what leaves meanwhile, and of what is in flight.

use vellum_core::format::RefBody;
use vellum_core::shapes::{Caller, CommitResult, Name, Op, Reply, SetAttr, StoreError, XattrMode};
use vellum_core::words::{Errno, Ino, Limits};
use vellum_sim::mount;
use vellum_sim::store::{Arranged, End};

use crate::scene::{KIB, SECOND, Scene, always, dir, name, noise, rename};

#[test]
fn a_ref_whose_answer_was_lost_is_not_given_up_because_a_later_put_fails() {
    for error in [StoreError::Denied, StoreError::NoSpace, StoreError::Unreachable] {
        let mut scene = Scene::plain();
        scene.file("a", b"text");
        let late = Arranged::put("refs/", End::Late(300 * SECOND));
        let then = always(Arranged::put("refs/", End::Refused(error.clone())));
        scene.world.store.arranged = vec![late, then];
        assert_eq!(scene.commit(), CommitResult::Unknown, "{error:?}");
        scene.world.store.heal();
        scene.world.run_until_quiet();
        let head = mount::head(&scene.world.store);
        scene.file("b", b"more");
        scene.committed();
        assert_ne!(mount::head(&scene.world.store), head);
        scene.remount();
        assert_eq!(scene.open("a").0.size, 4);
    }
}

#[test]
fn a_ref_that_was_refused_is_given_up() {
    let mut scene = Scene::plain();
    scene.file("a", b"text");
    scene.world.store.arranged = vec![Arranged::put("refs/", End::Refused(StoreError::Denied))];
    assert!(matches!(scene.commit(), CommitResult::Failed { error: StoreError::Denied, .. }));
    scene.committed();
}

#[test]
fn a_collected_repository_is_not_committed_to() {
    let mut scene = Scene::plain();
    let now = mount::branch(&scene.world.store).unwrap();
    let body = RefBody { generation: now.generation + 1, gc_epoch: 1, attempt: 9, ..now };
    mount::move_head(&mut scene.world.store, &body).unwrap();
    scene.remount();
    scene.file("a", b"text");
    assert!(matches!(scene.commit(), CommitResult::Collected { .. }));
}

#[test]
fn names_removed_while_a_commit_is_under_way_leave_no_trace() {
    for removed in [&["a"][..], &["a", "b"]] {
        let mut scene = Scene::plain();
        let (attr, fh) = scene.create("a");
        scene.write(fh, 0, &noise(1000, 1));
        scene.ok(Op::Release { fh });
        scene.link(attr.ino, "b");
        let commit = scene.begin_commit();
        removed.iter().for_each(|name| scene.unlink(name));
        scene.end_commit(commit);
        assert_eq!(scene.linked(), [attr.ino]);
        scene.file("other", b"text");
        scene.committed();
        assert_eq!(scene.linked(), []);
        let names = 2 - removed.len() as u64;
        let snapshot = scene.snapshot();
        assert_eq!((snapshot.files, snapshot.bytes), (2 + names.min(1), 4 + names.min(1) * 1000));
    }
}

#[test]
fn the_last_name_of_what_stayed_in_the_link_table_takes_it_out() {
    let mut scene = Scene::plain();
    let (attr, fh) = scene.create("b");
    scene.ok(Op::Release { fh });
    let (parent, caller) = (Ino::ROOT, Caller::default());
    let made = scene.ok(Op::MakeDir { parent, name: name("d"), mode: 0o755, caller });
    let Reply::Entry(dir) = made else { panic!("{made:?}") };
    scene.ok(Op::Link { ino: attr.ino, to_parent: dir.ino, to_name: name("a") });
    scene.committed();
    scene.remount();
    // The directory of the other name was not looked at: the inode stays where it is.
    scene.unlink("b");
    scene.committed();
    assert_eq!(scene.linked(), [attr.ino]);
    scene.ok(Op::Lookup { parent, name: name("d") });
    scene.ok(Op::Unlink { parent: dir.ino, name: name("a") });
    scene.committed();
    assert_eq!((scene.linked(), scene.snapshot().files), (Vec::new(), 2));
}

#[test]
fn a_file_changed_and_removed_while_a_commit_is_under_way_is_counted_once() {
    for fails in [false, true] {
        let mut scene = Scene::plain();
        scene.file("a", &noise(1000, 1));
        scene.committed();
        let (_, fh) = scene.open("a");
        scene.write(fh, 1000, &noise(500, 2));
        if fails {
            let denied = End::Refused(StoreError::Denied);
            scene.world.store.arranged = vec![Arranged::put("refs/", denied)];
        }
        let commit = scene.begin_commit();
        scene.unlink("a");
        let result = scene.end_commit(commit);
        assert_eq!(matches!(result, CommitResult::Failed { .. }), fails, "{result:?}");
        scene.committed();
        assert_eq!((scene.snapshot().files, scene.snapshot().bytes), (1, 0));
    }
}

/// Bytes of a link's target: with as many, a few links fill an object of nodes.
const LONG: usize = 4_000;

/// Creates so many directories, each with one below it that holds a link: two nodes of the next
/// commit.
/// One put of it is refused for good, the other would be tried for two minutes.
#[test]
fn nothing_is_asked_again_for_a_commit_that_was_given_up() {
    let mut scene = Scene::plain();
    scene.file("a", &noise(64 * KIB, 1));
    scene.file("b", &noise(64 * KIB, 2));
    let refused = |error| Arranged::put("chunks/", End::Refused(error));
    let store = &mut scene.world.store;
    store.arranged = vec![refused(StoreError::Denied), always(refused(StoreError::Unreachable))];
    let before = store.counts().put.requests;
    let result = scene.commit();
    assert!(matches!(result, CommitResult::Failed { .. }), "{result:?}");
    let ended_ns = scene.world.now().mono_ns;
    scene.world.run_until_quiet();
    assert_eq!(scene.world.store.counts().put.requests - before, 2);
    assert!(scene.world.now().mono_ns - ended_ns < SECOND);
    scene.world.store.arranged.clear();
    scene.committed();
}

/// More than 64 bits can say, and then less again: what was there in between leaves no trace.
#[test]
fn sizes_that_are_too_much_together_are_right_again_when_they_are_not() {
    let mut scene = Scene::plain();
    let longest = scene.limits.file_bytes;
    let mut sum = 0_u64;
    for (at, text) in ["a", "b", "c"].into_iter().enumerate() {
        let (attr, fh) = scene.create(text);
        let size = longest - at as u64;
        let set = SetAttr { size: Some(size), ..SetAttr::default() };
        scene.ok(Op::SetAttr { ino: attr.ino, set });
        scene.ok(Op::Release { fh });
        scene.committed();
        sum = sum.wrapping_add(size);
        assert_eq!(scene.snapshot().bytes, sum);
    }
    for (at, text) in ["a", "b", "c"].into_iter().enumerate() {
        scene.unlink(text);
        scene.committed();
        sum = sum.wrapping_sub(longest - at as u64);
        assert_eq!(scene.snapshot().bytes, sum);
    }
    assert_eq!(sum, 0);
}

fn directories(scene: &mut Scene, count: u64) {
    for at in 0..count {
        let caller = Caller::default();
        let (parent, text) = (Ino::ROOT, format!("d{at}"));
        let made = scene.ok(Op::MakeDir { parent, name: name(&text), mode: 0o755, caller });
        let Reply::Entry(attr) = made else { panic!("{made:?}") };
        let op = Op::MakeDir { parent: attr.ino, name: name("e"), mode: 0o755, caller };
        let made = scene.ok(op);
        let Reply::Entry(attr) = made else { panic!("{made:?}") };
        let (parent, name) = (attr.ino, name_of(at));
        scene.ok(Op::Symlink { parent, name, target: vec![b't'; LONG].into(), caller });
    }
}

fn name_of(at: u64) -> Name {
    name(&format!("s{at}"))
}

#[test]
fn checks_of_what_is_there_already_count_as_in_flight() {
    let mut scene = Scene::new(Limits { in_flight: 4, ..Limits::default() });
    // Without checksums each has to be read.
    scene.world.store.objects.keep_sums(false);
    let chunks = (0..60_u8).flat_map(|chunk| vec![chunk; 64 << 10]);
    scene.file("big", &chunks.collect::<Vec<u8>>());
    scene.world.store.arranged = vec![Arranged::put("refs/", End::Refused(StoreError::Denied))];
    assert!(matches!(scene.commit(), CommitResult::Failed { .. }));
    let gets = scene.gets();
    let commit = scene.begin_commit();
    let mut most = 0;
    let result = loop {
        most = most.max(scene.world.in_flight(scene.mount));
        if let Some(reply) = scene.world.take_reply(scene.mount, commit) {
            break reply;
        }
        assert!(scene.world.run_one());
    };
    assert!(matches!(result, Ok(Reply::Commit(CommitResult::Committed { .. }))), "{result:?}");
    assert!(scene.gets() - gets >= 60, "each object is there already, and is checked");
    assert!((3..=4).contains(&most), "{most} in flight");
}

/// Objects of nodes put since the last call, and all objects and refs.
fn puts(scene: &mut Scene) -> (usize, usize) {
    let log = scene.world.take_log();
    let count = |what: &str| log.iter().filter(|line| line.contains(what)).count();
    (count("Put trees/"), count("Put "))
}

#[test]
fn the_nodes_of_many_trees_share_objects() {
    let mut scene = Scene::plain();
    scene.world.keep_log();
    directories(&mut scene, 100);
    puts(&mut scene);
    scene.committed();
    // 100 nodes of 4 KB, and as many small ones, in objects of 64 KiB.
    let (trees, _) = puts(&mut scene);
    assert!((7..=8).contains(&trees), "{trees}");
    scene.remount();
    directories_show(&mut scene, 100);
}

#[track_caller]
fn directories_show(scene: &mut Scene, count: u64) {
    for at in 0..count {
        let mut ino = Ino::ROOT;
        for text in [format!("d{at}"), "e".into(), format!("s{at}")] {
            let found = scene.ok(Op::Lookup { parent: ino, name: name(&text) });
            let Reply::Entry(attr) = found else { panic!("{found:?}") };
            ino = attr.ino;
        }
        let Reply::Data(target) = scene.ok(Op::ReadLink { ino }) else { panic!("{at}") };
        assert_eq!(target.len(), LONG);
    }
}

#[test]
fn a_change_deep_down_is_one_object_of_nodes() {
    let mut scene = Scene::plain();
    scene.world.keep_log();
    let mut parent = Ino::ROOT;
    for at in 0..20 {
        let (caller, name) = (Caller::default(), name_of(at));
        let made = scene.ok(Op::MakeDir { parent, name, mode: 0o755, caller });
        let Reply::Entry(attr) = made else { panic!("{made:?}") };
        parent = attr.ino;
    }
    scene.committed();
    puts(&mut scene);
    let (caller, target) = (Caller::default(), b"t"[..].into());
    scene.ok(Op::Symlink { parent, name: name("l"), target, caller });
    scene.committed();
    assert_eq!(puts(&mut scene), (1, 3), "the nodes of all levels, the snapshot, the ref");
    scene.remount();
}

#[test]
fn nodes_of_a_big_directory_are_asked_for_a_few_at_a_time() {
    let mut scene = Scene::plain();
    let caller = Caller::default();
    for at in 0..3_000 {
        let name = name_of(at);
        scene.ok(Op::Symlink { parent: Ino::ROOT, name, target: b"t"[..].into(), caller });
    }
    scene.committed();
    scene.limits.in_flight = 2;
    scene.remount();
    let gets = scene.gets();
    let look = scene.send(Op::Lookup { parent: Ino::ROOT, name: name_of(7) });
    let mut most = 0;
    while scene.world.take_reply(scene.mount, look).is_none() {
        most = most.max(scene.world.in_flight(scene.mount));
        assert!(scene.world.run_one());
    }
    assert!(scene.gets() - gets > 4, "{} nodes", scene.gets() - gets);
    assert_eq!(most, 2);
}

#[test]
fn a_store_that_contradicts_itself_is_not_asked_for_ever() {
    let mut scene = Scene::plain();
    scene.file("a", b"text");
    let exists = End::Refused(StoreError::Exists);
    scene.world.store.arranged = vec![always(Arranged::put("chunks/", exists))];
    let (start, heads) = (scene.world.now().mono_ns, scene.heads());
    let commit = scene.begin_commit();
    let result = loop {
        if let Some(reply) = scene.world.take_reply(scene.mount, commit) {
            break reply;
        }
        assert!(scene.heads() - heads < 60, "in {} ns", scene.world.now().mono_ns - start);
        scene.world.run_one();
    };
    let failed = |result: &CommitResult| {
        matches!(result, CommitResult::Failed { error: StoreError::NotFound, .. })
    };
    assert!(matches!(&result, Ok(Reply::Commit(result)) if failed(result)), "{result:?}");
    let waited = scene.world.now().mono_ns - start;
    assert!((60 * SECOND..=121 * SECOND).contains(&waited), "{waited} ns");
    scene.world.store.heal();
    scene.committed();
}

/// Objects of data that a commit of one file makes, by key.
fn data_of(scene: &Scene) -> Vec<(String, Vec<u8>)> {
    let objects = &scene.world.store.objects;
    let keys = objects.keys().filter(|key| key.starts_with("chunks/"));
    keys.map(|key| (key.clone(), objects.body(key).unwrap_or_default().to_vec())).collect()
}

#[test]
fn what_lies_under_a_name_already_is_compared_and_replaced_if_it_is_wrong() {
    let content = noise(3 * KIB, 1);
    let mut first = Scene::plain();
    first.file("a", &content);
    first.committed();
    let [(key, body)] = &data_of(&first)[..] else { panic!("one object of data") };
    let mut turned = body.clone();
    turned[100] ^= 1;
    let cut = body[..body.len() - 1].to_vec();
    for keeps_sums in [true, false] {
        // Only what has the right length and no checksum has to be read.
        let read = u64::from(!keeps_sums);
        for (there, is_right, gets) in
            [(body, true, read), (&turned, false, read), (&cut, false, 0)]
        {
            let mut scene = Scene::plain();
            scene.world.store.objects.keep_sums(keeps_sums);
            scene.world.store.objects.put(key, there.clone());
            scene.file("a", &content);
            let before = (scene.gets(), scene.heads(), scene.world.store.counts().put.requests);
            scene.committed();
            let puts = scene.world.store.counts().put.requests - before.2;
            let case = format!("{keeps_sums} {is_right} {} bytes", there.len());
            assert_eq!(scene.gets() - before.0, gets, "{case}");
            assert_eq!(scene.heads() - before.1, 1, "{case}");
            // Data, nodes, snapshot and ref; what is wrong is put once more.
            assert_eq!(puts, 4 + u64::from(!is_right), "{case}");
            assert_eq!(data_of(&scene), [(key.clone(), body.clone())], "{case}");
            scene.remount();
            let (_, fh) = scene.open("a");
            assert_eq!(scene.read(fh, 3 * KIB), content, "{case}");
        }
    }
}

#[test]
fn nothing_is_kept_of_a_commit_that_failed() {
    const COUNT: u64 = 60;
    let mut scene = Scene::plain();
    directories(&mut scene, COUNT);
    scene.committed();
    for round in 0..10 {
        scene.remount();
        // Trees of two levels: one is made after the one below it, at any time. Their nodes fill
        // four objects, which are put as they fill.
        for at in 0..COUNT {
            let mut ino = Ino::ROOT;
            for text in [format!("d{at}"), "e".into(), format!("s{at}")] {
                let found = scene.ok(Op::Lookup { parent: ino, name: name(&text) });
                let Reply::Entry(attr) = found else { panic!("{found:?}") };
                ino = attr.ino;
            }
            let (name, value) = (name("user.a"), vec![round as u8].into());
            scene.ok(Op::SetXattr { ino, name, value, mode: XattrMode::Either });
        }
        let denied = Arranged::put("trees/", End::Refused(StoreError::Denied));
        scene.world.store.arranged = vec![Arranged { skips: round % 3, ..denied }];
        assert!(matches!(scene.commit(), CommitResult::Failed { .. }));
        scene.world.run_until_quiet();
        let holdings = scene.world.actor(scene.mount).machine.holdings();
        assert_eq!((holdings.asked, holdings.loads), (0, 0), "{round}");
    }
}

#[test]
fn a_commit_does_not_inherit_the_patience_that_another_has_used_up() {
    // More chunks than a list names need a tree of pieces.
    for (loaded, chunks) in [("trees/", 20), ("chunks/", 4)] {
        let mut scene = Scene::plain();
        let (_, fh) = scene.create("big");
        for at in 0..chunks {
            scene.write(fh, at * 64 * KIB, &noise(64 * KIB, at));
        }
        scene.committed();
        scene.remount();
        let (_, fh) = scene.open("big");
        scene.write(fh, 100 * KIB, b"!");
        scene.file("small", b"!");
        let unreachable = End::Refused(StoreError::Unreachable);
        let denied = Arranged::put("chunks/", End::Refused(StoreError::Denied));
        scene.world.store.arranged = vec![always(Arranged::get(loaded, unreachable)), denied];
        let start = scene.world.now().mono_ns;
        let result = scene.commit();
        assert!(matches!(result, CommitResult::Failed { .. }), "{loaded} {result:?}");
        // What it loads goes on, and is given up at 120 s. The next commit joins it before.
        scene.world.run_until(start + 100 * SECOND);
        let commit = scene.begin_commit();
        scene.world.run_until(start + 150 * SECOND);
        scene.world.store.heal();
        let result = scene.end_commit(commit);
        assert!(matches!(result, CommitResult::Committed { .. }), "{loaded} {result:?}");
    }
}

/// Only the commit keeps the directory in memory while its listing is loaded.
#[test]
fn who_waits_for_a_directory_that_a_commit_lets_go_of_is_answered() {
    let mut scene = Scene::plain();
    let made = dir(&mut scene, Ino::ROOT, "a");
    dir(&mut scene, made, "below");
    scene.committed();
    scene.remount();
    rename(&mut scene, (Ino::ROOT, "a"), (Ino::ROOT, "b"));
    let commit = scene.begin_commit();
    let snapshots = |scene: &Scene| {
        scene.world.store.objects.keys().filter(|key| key.starts_with("snapshots/")).count()
    };
    let before = snapshots(&scene);
    while snapshots(&scene) == before {
        assert!(scene.world.run_one());
    }
    scene.world.store.slow = vec![("trees/".to_owned(), SECOND)];
    let removal = scene.send(Op::RemoveDir { parent: Ino::ROOT, name: name("b") });
    let result = scene.end_commit(commit);
    assert!(matches!(result, CommitResult::Committed { .. }), "{result:?}");
    assert_eq!(scene.wait(removal), Err(Errno::NotEmpty));
}
