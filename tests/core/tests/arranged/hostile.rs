//! Snapshots whose every object decodes, and that no mount ever made: parts of them can't be shown,
//! and the rest can.

use vellum_core::format::{
    Body, Content, Directories, Entry, Hash, Hashed, Inode, Linked, Links, Meta, NodeRef,
    ObjectKind, ObjectName, Piece, RefBody, Snapshot, TreeKind, Xattrs, build, object_key,
};
use vellum_core::shapes::{
    Attr, Caller, CommitResult, Condition, Op, RenameMode, Reply, StoreRequest,
};
use vellum_core::words::{Errno, Ino, Time};
use vellum_sim::mount;

use crate::scene::{RW, Scene, name};

fn meta() -> Meta {
    let (mtime, ctime) = (Time::default(), Time::default());
    Meta { mode: 0o755, uid: 0, gid: 0, mtime, ctime, xattrs: Xattrs::default() }
}

fn fifo(ino: u64) -> Entry {
    Entry::Inode(Inode { ino: Ino(ino), meta: meta(), body: Body::Fifo })
}

fn store_object(scene: &mut Scene, kind: ObjectKind, object: Hashed) -> Hash {
    let hash = object.hash();
    let key = object_key(kind, &ObjectName::first(hash));
    let (body, condition) = (object.into_body(), Condition::Absent);
    scene.world.store.at_once(&StoreRequest::Put { key, body, condition });
    hash
}

fn store_tree<T: TreeKind>(
    scene: &mut Scene,
    entries: impl IntoIterator<Item = (T::Key, T::Value)>,
) -> Option<NodeRef> {
    let (root, packs) = build::<T>(entries.into_iter()).unwrap().laid(64 << 10).unwrap();
    for pack in packs {
        store_object(scene, ObjectKind::Tree, pack);
    }
    root
}

/// A directory with these entries.
fn directory(scene: &mut Scene, ino: u64, entries: &[(&str, Entry)]) -> Inode {
    let is_dir =
        |entry: &Entry| matches!(entry, Entry::Inode(Inode { body: Body::Directory { .. }, .. }));
    let subdirs = entries.iter().filter(|(_, entry)| is_dir(entry)).count() as u64;
    let entries = entries.iter().map(|(text, entry)| (name(text), entry.clone()));
    let root = store_tree::<Directories>(scene, entries);
    Inode { ino: Ino(ino), meta: meta(), body: Body::Directory { root, subdirs } }
}

/// Mounts a snapshot of this root and this link table that claims whatever it likes.
fn hostile(root: Inode, links: &[(u64, &[(u64, &str)])], scene: &mut Scene, next_ino: u64) {
    let links = links.iter().map(|(ino, names)| {
        let inode = Inode { ino: Ino(*ino), meta: meta(), body: Body::Fifo };
        let names = names.iter().map(|(parent, text)| (Ino(*parent), name(text))).collect();
        (Ino(*ino), Linked { inode, names })
    });
    let links: Vec<_> = links.collect();
    let links = store_tree::<Links>(scene, links);
    let (author, message) = (String::new(), String::new());
    let (files, bytes, parents) = (0, 0, Vec::new());
    let (time, next_ino) = (Time::default(), Ino(next_ino));
    let snapshot = Snapshot { root, links, parents, time, author, message, next_ino, files, bytes };
    let hash = store_object(scene, ObjectKind::Snapshot, snapshot.seal().unwrap());
    let now = mount::branch(&scene.world.store).unwrap();
    let generation = now.generation + 1;
    let body = RefBody { generation, snapshot: Some(hash), attempt: 7, ..now };
    mount::move_head(&mut scene.world.store, &body).unwrap();
    scene.remount();
}

/// All that can be tried on two names of the root; the mount lives, and a commit goes through.
fn try_all(scene: &mut Scene) -> Vec<Result<Reply, Errno>> {
    let (parent, caller, to_parent) = (Ino::ROOT, Caller::default(), Ino::ROOT);
    let both = [("a", "b"), ("b", "a")];
    let mut replies = Vec::new();
    let mut ask = |scene: &mut Scene, op| replies.push(scene.world.ask(scene.mount, op));
    for (from, to) in both {
        ask(scene, Op::Lookup { parent, name: name(from) });
        for mode in [RenameMode::NoReplace, RenameMode::Exchange, RenameMode::Replace] {
            let (name, to_name) = (name(from), name(to));
            ask(scene, Op::Rename { parent, name, to_parent, to_name, mode });
        }
        let (name, to_name) = (name(from), name("c"));
        ask(scene, Op::Rename { parent, name, to_parent, to_name, mode: RenameMode::Replace });
    }
    for text in ["a", "b", "c"] {
        ask(scene, Op::Unlink { parent, name: name(text) });
        ask(scene, Op::RemoveDir { parent, name: name(text) });
        ask(scene, Op::MakeDir { parent, name: name(text), mode: 0o755, caller });
    }
    ask(scene, Op::Status);
    ask(scene, Op::Diff);
    let opened = scene.ok(Op::OpenDir { ino: Ino::ROOT });
    let Reply::Opened(fh) = opened else { panic!("{opened:?}") };
    let listed = scene.world.ask(scene.mount, Op::ReadDir { fh, cookie: 0, max: 9, plus: true });
    replies.push(listed);
    let result = scene.commit();
    let through = |r: &CommitResult| {
        matches!(r, CommitResult::Committed { .. } | CommitResult::Unchanged { .. })
    };
    assert!(through(&result), "{result:?}");
    replies
}

#[track_caller]
fn is_reported(scene: &mut Scene, replies: &[Result<Reply, Errno>]) {
    assert!(replies.contains(&Err(Errno::Io)), "{replies:?}");
    let reports = scene.world.take_reports(scene.mount);
    assert!(reports.iter().any(|report| report.contains("object trees/")), "{reports:?}");
}

#[test]
fn a_link_that_its_inode_knows_nothing_of_is_an_error_and_no_end() {
    let mut scene = Scene::plain();
    let entries = [("a", Entry::Link(Ino(2))), ("b", Entry::Link(Ino(2)))];
    let root = directory(&mut scene, 1, &entries);
    for names in [&[(1, "a")][..], &[(1, "x"), (5, "y")]] {
        hostile(root.clone(), &[(2, names)], &mut scene, 9);
        let unlink = Op::Unlink { parent: Ino::ROOT, name: name("b") };
        assert_eq!(scene.world.ask(scene.mount, unlink), Err(Errno::Io));
        let replies = try_all(&mut scene);
        is_reported(&mut scene, &replies);
    }
}

#[test]
fn a_name_that_only_the_link_table_knows_takes_no_entry_s_place() {
    let mut scene = Scene::plain();
    let entries = [("a", fifo(3)), ("b", Entry::Link(Ino(2)))];
    let root = directory(&mut scene, 1, &entries);
    hostile(root, &[(2, &[(1, "a"), (1, "b")])], &mut scene, 9);
    scene.unlink("b");
    scene.committed();
    scene.remount();
    let found = scene.ok(Op::Lookup { parent: Ino::ROOT, name: name("a") });
    assert!(matches!(found, Reply::Entry(Attr { ino: Ino(3), .. })), "{found:?}");
}

#[test]
fn two_inodes_of_one_number_are_an_error_and_no_end() {
    let mut scene = Scene::plain();
    let below = |scene: &mut Scene, ino| directory(scene, ino, &[("x", fifo(2))]);
    let outer = below(&mut scene, 5);
    let cycle = directory(&mut scene, 3, &[("x", fifo(3))]);
    let roots = [
        vec![("a", fifo(2)), ("b", fifo(2))],
        vec![("a", fifo(2)), ("b", Entry::Link(Ino(2)))],
        vec![("a", Entry::Inode(outer.clone())), ("b", fifo(5))],
        vec![("a", Entry::Inode(outer)), ("b", Entry::Inode(cycle))],
    ];
    for (at, entries) in roots.iter().enumerate() {
        let root = directory(&mut scene, 1, entries);
        hostile(root, &[(2, &[(1, "b")])], &mut scene, 9);
        for text in ["a", "b"] {
            let found =
                scene.world.ask(scene.mount, Op::Lookup { parent: Ino::ROOT, name: name(text) });
            let Ok(Reply::Entry(attr)) = found else { continue };
            let lost = Op::Lookup { parent: attr.ino, name: name("x") };
            let _ = scene.world.ask(scene.mount, lost);
            let lost = Op::Unlink { parent: attr.ino, name: name("x") };
            let _ = scene.world.ask(scene.mount, lost);
        }
        let replies = try_all(&mut scene);
        if at < 3 {
            is_reported(&mut scene, &replies);
        }
    }
}

#[test]
fn a_number_that_a_new_inode_may_get_is_an_error() {
    let mut scene = Scene::plain();
    let root = directory(&mut scene, 1, &[("a", fifo(3)), ("b", fifo(4))]);
    hostile(root, &[], &mut scene, 4);
    let replies = try_all(&mut scene);
    is_reported(&mut scene, &replies);
    let root = directory(&mut scene, 1, &[("a", fifo(3))]);
    hostile(root, &[], &mut scene, 4);
    scene.file("b", b"text");
    scene.committed();
}

#[test]
fn claims_of_a_snapshot_are_no_more_than_claims() {
    let mut scene = Scene::plain();
    let size = i64::MAX as u64;
    let hole = Content::Pieces(vec![Piece::Hole { len: size }]);
    let sparse = |ino| {
        let body = Body::File { size, content: hole.clone() };
        Entry::Inode(Inode { ino: Ino(ino), meta: meta(), body })
    };
    let all = [("a", sparse(2)), ("b", sparse(3)), ("c", sparse(4))];
    let root = directory(&mut scene, 1, &all);
    hostile(root, &[], &mut scene, 5);
    ["a", "b", "c"].iter().for_each(|text| scene.unlink(text));
    assert!(matches!(scene.ok(Op::StatFs), Reply::StatFs(_)));
    scene.committed();
    // All numbers are used up.
    let root = directory(&mut scene, 1, &[("a", fifo(2))]);
    hostile(root, &[], &mut scene, i64::MAX as u64);
    let (parent, name, caller) = (Ino::ROOT, name("b"), Caller::default());
    let create = Op::Create { parent, name, mode: 0o644, flags: RW, caller };
    assert_eq!(scene.world.ask(scene.mount, create), Err(Errno::NoSpc));
    scene.unlink("a");
    scene.committed();
}
