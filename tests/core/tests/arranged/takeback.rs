//! Taking changes back: a mount shows its base again, and nothing was asked of the store for it.

use vellum_core::format::{Body, Directories, Entry, Inode};
use vellum_core::shapes::{
    Attr, ChangeKind, CommitResult, Diff, Name, Op, Reply, Restored, SetAttr, Status, StoreError,
};
use vellum_core::words::{Errno, Fh, Ino};
use vellum_sim::mount;
use vellum_sim::store::{Arranged, End};

use crate::scene::{KIB, RW, Scene, always, dir, look, name, noise, rename};

fn status(scene: &mut Scene) -> Status {
    let reply = scene.ok(Op::Status);
    let Reply::Status(status) = reply else { panic!("{reply:?}") };
    *status
}

fn discard(scene: &mut Scene) -> Diff {
    let reply = scene.ok(Op::Discard);
    let Reply::Diff(taken) = reply else { panic!("{reply:?}") };
    let status = status(scene);
    assert!(!status.dirty, "{status:?}");
    assert_eq!(status.changed_inodes, 0);
    *taken
}

fn paths(diff: &Diff) -> Vec<(String, ChangeKind)> {
    let text = |path: &[u8]| String::from_utf8(path.to_vec()).unwrap();
    diff.changes.iter().map(|change| (text(&change.path), change.change)).collect()
}

/// Reads all of a file below the root.
fn content(scene: &mut Scene, parent: Ino, text: &str) -> Vec<u8> {
    let ino = look(scene, parent, text).unwrap().ino;
    let flags = RW;
    let Reply::Opened(fh) = scene.ok(Op::Open { ino, flags }) else { panic!("not opened") };
    let data = scene.read(fh, 1 << 20);
    scene.ok(Op::Release { fh });
    data
}

/// A snapshot of `a`, `b` and `d/x`, and a directory stream's worth of names.
fn three(scene: &mut Scene) -> (Ino, Vec<u8>) {
    let data = noise(200 * KIB, 1);
    scene.file("a", &data);
    scene.file("b", b"bee");
    let d = dir(scene, Ino::ROOT, "d");
    scene.file("x", b"ex");
    rename(scene, (Ino::ROOT, "x"), (d, "x"));
    scene.committed();
    (d, data)
}

#[test]
fn all_that_is_uncommitted_goes_in_one_step_without_a_request() {
    let mut scene = Scene::plain();
    let (d, data) = three(&mut scene);
    scene.remount();
    let before = look(&mut scene, Ino::ROOT, "a").unwrap();
    let was = scene.ok(Op::GetAttr { ino: Ino::ROOT });
    let (_, fh) = scene.open("a");
    scene.write(fh, 100 * KIB, b"changed");
    let set = SetAttr { mode: Some(0o600), size: Some(150 * KIB), ..SetAttr::default() };
    scene.ok(Op::SetAttr { ino: before.ino, set });
    scene.unlink("b");
    look(&mut scene, Ino::ROOT, "d");
    look(&mut scene, d, "x");
    rename(&mut scene, (d, "x"), (Ino::ROOT, "y"));
    rename(&mut scene, (Ino::ROOT, "d"), (Ino::ROOT, "e"));
    scene.file("new", b"new");
    scene.link(before.ino, "link");
    let gets = scene.gets();
    let taken = discard(&mut scene);
    assert_eq!(scene.gets(), gets);
    let told: Vec<String> = paths(&taken).into_iter().map(|(path, _)| path).collect();
    for path in ["a", "b", "d", "e", "link", "new", "y"] {
        assert!(told.iter().any(|one| one == path), "{path}: {told:?}");
    }
    assert_eq!(scene.ok(Op::GetAttr { ino: Ino::ROOT }), was);
    for gone in ["new", "link", "y", "e"] {
        assert_eq!(look(&mut scene, Ino::ROOT, gone), None, "{gone}");
    }
    let after = look(&mut scene, Ino::ROOT, "a").unwrap();
    assert_eq!(after, Attr { allocated: after.allocated, ..before });
    assert_eq!(scene.read(fh, 1 << 20), data, "an open handle reads the base");
    assert_eq!(content(&mut scene, Ino::ROOT, "b"), b"bee");
    assert_eq!(content(&mut scene, d, "x"), b"ex");
    let Reply::Diff(diff) = scene.ok(Op::Diff) else { panic!("no diff") };
    assert_eq!(paths(&diff), []);
    // What comes after it counts again, and so does what a handle of before writes.
    scene.write(fh, 0, b"more");
    scene.committed();
    assert_eq!((scene.snapshot().files, scene.snapshot().bytes), (5, 200 * KIB + 5));
    scene.remount();
    assert_eq!(&content(&mut scene, Ino::ROOT, "a")[..8], [b"more", &data[4..8]].concat());
}

#[test]
fn what_was_created_and_is_open_lives_as_an_unlinked_file_does() {
    let mut scene = Scene::plain();
    let (attr, fh) = scene.create("a");
    scene.write(fh, 0, b"text");
    discard(&mut scene);
    assert_eq!(look(&mut scene, Ino::ROOT, "a"), None);
    assert_eq!(scene.read(fh, 10), b"text");
    scene.write(fh, 4, b" goes on");
    let Reply::Attr(now) = scene.ok(Op::GetAttr { ino: attr.ino }) else { panic!("no attr") };
    assert_eq!((now.links, now.size), (0, 12));
    assert!(!status(&mut scene).dirty);
    scene.ok(Op::Release { fh });
    scene.ok(Op::Forget { ino: attr.ino, count: 1 });
    assert_eq!(scene.holdings().inodes, 1);
}

#[test]
fn what_was_moved_out_of_a_directory_that_was_removed_is_found_there_again() {
    for linked in [false, true] {
        let mut scene = Scene::plain();
        let (d, _) = three(&mut scene);
        if linked {
            let x = look(&mut scene, d, "x").unwrap().ino;
            scene.link(x, "other");
            scene.committed();
        }
        scene.remount();
        look(&mut scene, Ino::ROOT, "d");
        let x = look(&mut scene, d, "x").unwrap().ino;
        rename(&mut scene, (d, "x"), (Ino::ROOT, "y"));
        scene.ok(Op::RemoveDir { parent: Ino::ROOT, name: name("d") });
        scene.ok(Op::Forget { ino: d, count: 1 });
        discard(&mut scene);
        look(&mut scene, Ino::ROOT, "d");
        assert_eq!(look(&mut scene, d, "x").unwrap().ino, x, "linked: {linked}");
        assert_eq!(content(&mut scene, d, "x"), b"ex");
        // Its directory stays as long as it is changed.
        scene.ok(Op::Forget { ino: d, count: 1 });
        let set = SetAttr { mode: Some(0o600), ..SetAttr::default() };
        scene.ok(Op::SetAttr { ino: x, set });
        scene.committed();
        scene.remount();
        look(&mut scene, Ino::ROOT, "d");
        assert_eq!(look(&mut scene, d, "x").unwrap().mode, 0o600);
    }
}

#[test]
fn changes_after_a_cut_are_taken_back_to_what_it_published() {
    for fails in [false, true] {
        let mut scene = Scene::plain();
        let (d, _) = three(&mut scene);
        let (b, held) = scene.open("b");
        scene.file("new", b"of the cut");
        scene.unlink("b");
        if fails {
            let denied = End::Refused(StoreError::Denied);
            scene.world.store.arranged = vec![Arranged::put("refs/", denied)];
        }
        let commit = scene.begin_commit();
        scene.unlink("new");
        scene.ok(Op::Unlink { parent: d, name: name("x") });
        scene.write(held, 0, b"bee");
        let waits = scene.send(Op::Discard);
        scene.end_commit(commit);
        let Ok(Reply::Diff(taken)) = scene.wait(waits) else { panic!("not discarded") };
        assert!(!taken.changes.is_empty());
        let new = look(&mut scene, Ino::ROOT, "new");
        assert_eq!((new.is_none(), look(&mut scene, Ino::ROOT, "b").is_some()), (fails, fails));
        if !fails {
            assert_eq!(content(&mut scene, Ino::ROOT, "new"), b"of the cut");
        }
        assert_eq!(content(&mut scene, d, "x"), b"ex");
        assert_eq!(scene.read(held, 9), b"bee", "it is open");
        let Reply::Attr(b) = scene.ok(Op::GetAttr { ino: b.ino }) else { panic!("no attr") };
        assert_eq!(b.links, u32::from(fails), "the snapshot that was published does not have it");
        assert!(!status(&mut scene).dirty);
        scene.file("last", b"1");
        scene.committed();
        let bytes = 200 * KIB + 2 + 1 + if fails { 3 } else { 10 };
        assert_eq!((scene.snapshot().files, scene.snapshot().bytes), (6, bytes));
    }
}

#[test]
fn a_discard_waits_for_a_commit_however_long_that_takes() {
    let mut scene = Scene::plain();
    three(&mut scene);
    scene.file("c", b"see");
    let away = End::Refused(StoreError::Unreachable);
    scene.world.store.arranged = vec![always(Arranged::put("", away))];
    let commit = scene.begin_commit();
    let begun = scene.world.now().mono_ns;
    let waits = scene.send(Op::Discard);
    assert!(matches!(scene.wait(waits), Ok(Reply::Diff(_))));
    let waited = scene.world.now().mono_ns - begun;
    assert!(waited > scene.limits.read_deadline_ns, "{waited}");
    let result = scene.end_commit(commit);
    assert!(matches!(result, CommitResult::Failed { .. }), "{result:?}");
    assert_eq!(look(&mut scene, Ino::ROOT, "c"), None);
}

#[test]
fn a_branch_that_was_never_committed_to_is_empty_again() {
    let mut scene = Scene::plain();
    let was = scene.ok(Op::GetAttr { ino: Ino::ROOT });
    let d = dir(&mut scene, Ino::ROOT, "d");
    dir(&mut scene, d, "e");
    let set = SetAttr { mode: Some(0o700), ..SetAttr::default() };
    scene.ok(Op::SetAttr { ino: Ino::ROOT, set });
    discard(&mut scene);
    assert_eq!(scene.ok(Op::GetAttr { ino: Ino::ROOT }), was);
    assert_eq!(look(&mut scene, Ino::ROOT, "d"), None);
}

/// What the branch's snapshot says of a name in the root.
fn record(scene: &mut Scene, text: &str) -> std::sync::Arc<Inode> {
    let snapshot = scene.snapshot();
    let Body::Directory { root, .. } = snapshot.root.body else { panic!("the root is one") };
    let objects = &scene.world.store.objects;
    let entries = mount::entries::<Directories>(objects, root.as_ref()).unwrap();
    let found = entries.into_iter().find(|(entry, _)| *entry == name(text));
    let Some((_, Entry::Inode(inode))) = found else { panic!("{text}: {found:?}") };
    inode.into()
}

fn restore(scene: &mut Scene, ino: Ino, inode: &std::sync::Arc<Inode>) -> Restored {
    let reply = scene.ok(Op::Restore { ino, inode: inode.clone() });
    let Reply::Restored(restored) = reply else { panic!("{reply:?}") };
    restored
}

#[test]
fn a_file_takes_an_earlier_content_and_neither_loads_nor_sends_data() {
    let mut scene = Scene::plain();
    let (_, data) = three(&mut scene);
    let (earlier, kept) = (record(&mut scene, "a"), scene.snapshot());
    let (attr, fh) = scene.open("a");
    scene.write(fh, 0, &noise(200 * KIB, 9));
    scene.committed();
    let gets = scene.gets();
    assert_eq!(restore(&mut scene, attr.ino, &earlier), Restored::Changed);
    assert_eq!(scene.gets(), gets);
    let Reply::Diff(diff) = scene.ok(Op::Diff) else { panic!("no diff") };
    assert_eq!(paths(&diff), [("a".to_owned(), ChangeKind::Modified)]);
    assert_eq!(diff.send_bytes, 0);
    assert_eq!(scene.read(fh, 1 << 20), data);
    scene.committed();
    assert_eq!(scene.snapshot().root.body, kept.root.body, "trees are the same again");
    let later = record(&mut scene, "a");
    assert_eq!(restore(&mut scene, attr.ino, &later), Restored::SameBelow);
}

#[test]
fn what_is_restored_to_the_base_is_no_change() {
    let mut scene = Scene::plain();
    let (_, data) = three(&mut scene);
    let base = record(&mut scene, "a");
    let (attr, fh) = scene.open("a");
    scene.write(fh, 70 * KIB, b"changed");
    assert_eq!(restore(&mut scene, attr.ino, &base), Restored::Changed);
    assert!(!status(&mut scene).dirty);
    assert_eq!(scene.read(fh, 1 << 20), data);
    scene.write(fh, 0, b"again");
    assert!(status(&mut scene).dirty, "a write after it counts");
}

fn revive(scene: &mut Scene, text: &str, inode: &std::sync::Arc<Inode>) {
    let op = Op::Revive { parent: Ino::ROOT, name: name(text), inode: inode.clone() };
    scene.ok(op);
    scene.ok(Op::Settle { ino: Ino::ROOT });
}

#[test]
fn a_name_that_comes_back_stands_for_the_inode_that_the_base_has() {
    for open in [false, true] {
        let mut scene = Scene::plain();
        three(&mut scene);
        let base = record(&mut scene, "b");
        let held = open.then(|| scene.open("b").1);
        let ino = look(&mut scene, Ino::ROOT, "b").unwrap().ino;
        scene.unlink("b");
        let lookups = 2 + u64::from(open);
        if !open {
            scene.ok(Op::Forget { ino, count: lookups });
        }
        revive(&mut scene, "b", &base);
        assert!(!status(&mut scene).dirty, "open: {open}");
        assert_eq!(look(&mut scene, Ino::ROOT, "b").unwrap().ino, ino);
        assert_eq!(content(&mut scene, Ino::ROOT, "b"), b"bee");
        held.into_iter().for_each(|fh: Fh| assert_eq!(scene.read(fh, 9), b"bee"));
        scene.file("c", b"1");
        scene.committed();
        assert_eq!((scene.snapshot().files, scene.snapshot().bytes), (6, 200 * KIB + 6));
    }
}

#[test]
fn a_renamed_file_comes_back_under_its_old_name_and_leaves_the_new_one() {
    let mut scene = Scene::plain();
    three(&mut scene);
    let base = record(&mut scene, "b");
    rename(&mut scene, (Ino::ROOT, "b"), (Ino::ROOT, "z"));
    revive(&mut scene, "b", &base);
    assert_eq!(look(&mut scene, Ino::ROOT, "z"), None);
    assert!(!status(&mut scene).dirty);
    rename(&mut scene, (Ino::ROOT, "b"), (Ino::ROOT, "z"));
    let reply = scene.ok(Op::Withdraw { parent: Ino::ROOT, name: name("z"), goes_home: true });
    let Reply::Withdrawn(Some((to, at, _))) = reply else { panic!("{reply:?}") };
    assert_eq!((to, at), (Ino::ROOT, name("b")));
    assert_eq!(content(&mut scene, Ino::ROOT, "b"), b"bee");
}

#[test]
fn what_no_snapshot_has_at_home_is_removed_when_it_is_withdrawn() {
    let mut scene = Scene::plain();
    three(&mut scene);
    scene.file("new", b"new");
    let reply = scene.ok(Op::Withdraw { parent: Ino::ROOT, name: name("new"), goes_home: true });
    assert_eq!(reply, Reply::Withdrawn(None));
    scene.ok(Op::Settle { ino: Ino::ROOT });
    assert!(!status(&mut scene).dirty);
}

#[test]
fn a_name_that_is_taken_is_not_revived_and_a_record_of_another_kind_not_taken() {
    let mut scene = Scene::plain();
    let (d, _) = three(&mut scene);
    let base = record(&mut scene, "b");
    assert!(matches!(base.body, Body::File { .. }));
    let (parent, name): (Ino, Name) = (Ino::ROOT, name("b"));
    let revive = Op::Revive { parent, name, inode: base.clone() };
    assert_eq!(scene.world.ask(scene.mount, revive), Err(Errno::Exist));
    let restore = Op::Restore { ino: d, inode: base };
    assert_eq!(scene.world.ask(scene.mount, restore), Err(Errno::Inval));
}
