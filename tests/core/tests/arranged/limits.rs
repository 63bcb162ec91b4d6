//! What a mount has no more of, and says so.

use std::sync::Arc;

use vellum_core::shapes::{Attr, Caller, Op, Reply, SetAttr, WriteFlags, XattrMode};
use vellum_core::words::{Errno, Ino, Limits};
use vellum_sim::mount;

use crate::scene::{RW, Scene, name};

#[test]
fn one_handle_too_many_is_enfile() {
    let mut scene = Scene::new(Limits { handles: 2, ..Limits::default() });
    let (a, first) = scene.create("a");
    let (_, second) = scene.create("b");
    let (ino, flags) = (a.ino, RW);
    assert_eq!(scene.world.ask(scene.mount, Op::Open { ino, flags }), Err(Errno::NFile));
    let (parent, caller) = (Ino::ROOT, Caller::default());
    let create = Op::Create { parent, name: name("c"), mode: 0o644, flags, caller };
    assert_eq!(scene.world.ask(scene.mount, create), Err(Errno::NFile));
    assert_eq!(scene.ok(Op::Lookup { parent, name: name("c") }), Reply::Absent);
    scene.ok(Op::Release { fh: second });
    let (_, third) = scene.open("a");
    assert_ne!(first, third);
}

#[test]
fn one_changed_inode_too_many_is_enospc() {
    let mut scene = Scene::new(Limits { changed_inodes: 3, ..Limits::default() });
    let (a, _) = scene.create("a");
    scene.file("b", b"");
    scene.committed();
    scene.remount();
    let (parent, caller) = (Ino::ROOT, Caller::default());
    scene.file("c", b"");
    assert_eq!(scene.open("a").0.ino, a.ino);
    let set = SetAttr { mode: Some(0o600), ..Default::default() };
    scene.ok(Op::SetAttr { ino: a.ino, set });
    let b = scene.open("b").0.ino;
    let refused = [
        Op::SetAttr { ino: b, set },
        Op::Unlink { parent, name: name("b") },
        Op::Create { parent, name: name("d"), mode: 0o644, flags: RW, caller },
        Op::Link { ino: b, to_parent: parent, to_name: name("d") },
    ];
    let before = (scene.world.actor(scene.mount).machine.holdings(), scene.ok(Op::StatFs));
    for op in refused {
        assert_eq!(scene.world.ask(scene.mount, op.clone()), Err(Errno::NoSpc), "{op:?}");
    }
    let after = (scene.world.actor(scene.mount).machine.holdings(), scene.ok(Op::StatFs));
    assert_eq!(before, after);
    let (fh, flags) = (scene.open("b").1, WriteFlags::default());
    let write = Op::Write { fh, offset: 0, data: vec![1], flags };
    assert_eq!(mount::fast(&mut scene.world, scene.mount, write), Err(Errno::NoSpc));
    scene.ok(Op::SetAttr { ino: a.ino, set });
    scene.committed();
    scene.ok(Op::SetAttr { ino: b, set });
}

#[test]
fn more_extended_attributes_than_are_stored_are_enospc() {
    let mut scene = Scene::plain();
    let (Attr { ino, .. }, _) = scene.create("a");
    let mode = XattrMode::Either;
    let set = |at: u32| {
        let value: Arc<[u8]> = vec![at as u8; 64 << 10].into();
        Op::SetXattr { ino, name: name(&format!("user.{at}")), value, mode }
    };
    let done = (0..100).take_while(|at| scene.world.ask(scene.mount, set(*at)).is_ok()).count();
    assert!((14..=15).contains(&done), "{done} of 64 KiB in 1 MiB");
    assert_eq!(scene.world.ask(scene.mount, set(100)), Err(Errno::NoSpc));
    scene.committed();
    scene.remount();
    let ino = scene.open("a").0.ino;
    let listed = scene.ok(Op::ListXattr { ino });
    let Reply::Data(names) = listed else { panic!("{listed:?}") };
    assert_eq!(names.iter().filter(|byte| **byte == 0).count(), done);
}
