//! What is uncommitted, told name by name.

use vellum_core::shapes::{ChangeKind, Diff, Op, Reply};
use vellum_core::words::Ino;

use crate::scene::{Scene, dir, look, name, noise};

fn diff(scene: &mut Scene) -> Diff {
    let Reply::Diff(diff) = scene.ok(Op::Diff) else { panic!("no diff") };
    *diff
}

/// Where each path starts, the path, and how it differs.
fn told(diff: &Diff) -> Vec<(Option<Ino>, String, ChangeKind)> {
    let text = |path: &[u8]| String::from_utf8(path.to_vec()).unwrap();
    diff.changes.iter().map(|it| (it.below, text(&it.path), it.change)).collect()
}

/// A snapshot of one file with names in the root and in two directories; the directories.
fn linked(scene: &mut Scene) -> [Ino; 2] {
    scene.file("a", &noise(1000, 1));
    let ino = look(scene, Ino::ROOT, "a").unwrap().ino;
    let dirs = ["d", "e"].map(|text| dir(scene, Ino::ROOT, text));
    for to_parent in dirs {
        scene.ok(Op::Link { ino, to_parent, to_name: name("other") });
    }
    scene.committed();
    scene.remount();
    dirs
}

#[test]
fn all_names_of_a_changed_file_are_told_also_where_nobody_looked() {
    let mut scene = Scene::plain();
    let [d, e] = linked(&mut scene);
    let (_, fh) = scene.open("a");
    scene.write(fh, 0, b"changed");
    let gets = scene.gets();
    let changed = |below, path: &str| (below, path.to_owned(), ChangeKind::Modified);
    let first = diff(&mut scene);
    let names = [changed(None, "a"), changed(Some(d), "other"), changed(Some(e), "other")];
    assert_eq!(told(&first), names);
    assert_eq!(first.send_bytes, 1000, "they share the bytes that are sent");
    assert_eq!(scene.gets(), gets);
    // Once somebody has looked there, by its path.
    look(&mut scene, Ino::ROOT, "d");
    let names = [changed(None, "a"), changed(None, "d/other"), changed(Some(e), "other")];
    assert_eq!(told(&diff(&mut scene)), names);
}

#[test]
fn a_change_by_a_handle_is_told_when_the_name_that_it_came_by_is_gone() {
    let mut scene = Scene::plain();
    let [d, e] = linked(&mut scene);
    let (_, fh) = scene.open("a");
    scene.unlink("a");
    scene.committed();
    scene.write(fh, 0, b"changed");
    let changed = |below| (Some(below), "other".to_owned(), ChangeKind::Modified);
    assert_eq!(told(&diff(&mut scene)), [changed(d), changed(e)]);
    scene.ok(Op::Discard);
    assert_eq!(told(&diff(&mut scene)), []);
}
