#![allow(clippy::unwrap_used)]

use super::*;
use crate::shapes::{
    Allocate, Caller, RenameMode, SetAttr, SetTime, Whence, WriteFlags, XattrMode,
};

const RW: OpenFlags = OpenFlags { read: true, write: true, truncate: false };
const WHO: Caller = Caller { uid: 7, gid: 8 };

fn name(text: &str) -> Name {
    Name::from(text.as_bytes())
}

fn at(ns: i64) -> Time {
    Time { ns }
}

fn fresh() -> Model {
    let limits = Limits { file_bytes: 1 << 40, ..Limits::default() };
    Model::new(&limits, Tree::empty(0o755, 0, 0, at(0)))
}

fn entry(reply: Result<Reply, Errno>) -> Attr {
    let (Ok(Reply::Entry(attr)) | Ok(Reply::Attr(attr)) | Ok(Reply::Created(attr, _))) = reply
    else {
        panic!("no attributes in {reply:?}");
    };
    attr
}

fn create(model: &mut Model, parent: Ino, text: &str) -> (Ino, Fh) {
    let op = Op::Create { parent, name: name(text), mode: 0o644, flags: RW, caller: WHO };
    let Ok(Reply::Created(attr, fh)) = model.apply(at(1), &op) else { panic!("{op:?}") };
    (attr.ino, fh)
}

fn mkdir(model: &mut Model, parent: Ino, text: &str) -> Ino {
    entry(model.apply(at(1), &Op::MakeDir { parent, name: name(text), mode: 0o755, caller: WHO }))
        .ino
}

fn write(model: &mut Model, fh: Fh, offset: u64, data: &[u8]) -> Result<Reply, Errno> {
    let flags = WriteFlags::default();
    model.apply(at(2), &Op::Write { fh, offset, data: data.to_vec(), flags })
}

fn fallocate(fh: Fh, offset: u64, len: u64, how: Allocate) -> Op {
    Op::Fallocate { fh, offset, len, how, kill_suidgid: false }
}

fn rename(m: &mut Model, from: (Ino, &str), to: (Ino, &str), mode: RenameMode) -> Errno {
    let op = Op::Rename {
        parent: from.0,
        name: name(from.1),
        to_parent: to.0,
        to_name: name(to.1),
        mode,
    };
    m.apply(at(5), &op).expect_err("the rename is refused")
}

fn move_to(m: &mut Model, from: (Ino, &str), to: (Ino, &str), mode: RenameMode) {
    let op = Op::Rename {
        parent: from.0,
        name: name(from.1),
        to_parent: to.0,
        to_name: name(to.1),
        mode,
    };
    assert_eq!(m.apply(at(5), &op), Ok(Reply::Done));
}

fn attr(model: &mut Model, ino: Ino) -> Attr {
    entry(model.apply(at(9), &Op::GetAttr { ino }))
}

#[test]
fn holes_read_zero_and_are_found() {
    let mut model = fresh();
    let (ino, fh) = create(&mut model, Ino::ROOT, "f");
    write(&mut model, fh, 4, b"abcd").unwrap();
    let read = model.apply(at(3), &Op::Read { fh, offset: 2, len: 4 });
    assert_eq!(read, Ok(Reply::Data(b"\0\0ab".to_vec())));
    let seek =
        |model: &mut Model, offset, whence| model.apply(at(3), &Op::Seek { fh, offset, whence });
    assert_eq!(seek(&mut model, 0, Whence::Data), Ok(Reply::Offset(4)));
    assert_eq!(seek(&mut model, 4, Whence::Hole), Ok(Reply::Offset(8)));
    assert_eq!(seek(&mut model, 8, Whence::Hole), Err(Errno::NxIo));
    let punch = fallocate(fh, 5, 2, Allocate::Punch);
    model.apply(at(4), &punch).unwrap();
    let read = model.apply(at(3), &Op::Read { fh, offset: 0, len: 100 });
    assert_eq!(read, Ok(Reply::Data(b"\0\0\0\0a\0\0d".to_vec())));
    assert_eq!(seek(&mut model, 4, Whence::Hole), Ok(Reply::Offset(5)));
    let cut = SetAttr { size: Some(5), ..SetAttr::default() };
    model.apply(at(4), &Op::SetAttr { ino, set: cut }).unwrap();
    let grow = SetAttr { size: Some(8), ..SetAttr::default() };
    model.apply(at(4), &Op::SetAttr { ino, set: grow }).unwrap();
    let read = model.apply(at(3), &Op::Read { fh, offset: 0, len: 100 });
    assert_eq!(read, Ok(Reply::Data(b"\0\0\0\0a\0\0\0".to_vec())));
}

#[test]
fn impossible_offsets_are_refused_before_anything_changes() {
    let mut model = fresh();
    let (ino, fh) = create(&mut model, Ino::ROOT, "f");
    assert_eq!(write(&mut model, fh, u64::MAX, b"a"), Err(Errno::FBig));
    assert_eq!(write(&mut model, fh, (1 << 40) - 1, b"ab"), Err(Errno::FBig));
    assert_eq!(write(&mut model, fh, u64::MAX, b""), Ok(Reply::Written(0)));
    let extend = |offset, len| fallocate(fh, offset, len, Allocate::Extend);
    assert_eq!(model.apply(at(3), &extend(0, 0)), Err(Errno::Inval));
    assert_eq!(model.apply(at(3), &extend(u64::MAX, 1)), Err(Errno::FBig));
    assert_eq!(attr(&mut model, ino).size, 0);
    let read = model.apply(at(3), &Op::Read { fh, offset: u64::MAX, len: u32::MAX });
    assert_eq!(read, Ok(Reply::Data(Vec::new())));
    assert_eq!(write(&mut model, fh, (1 << 40) - 1, b"a"), Ok(Reply::Written(1)));
    assert_eq!(attr(&mut model, ino).size, 1 << 40);
}

#[test]
fn an_unlinked_file_lives_to_its_last_close_and_forget() {
    let mut model = fresh();
    let (ino, fh) = create(&mut model, Ino::ROOT, "f");
    model.apply(at(2), &Op::Unlink { parent: Ino::ROOT, name: name("f") }).unwrap();
    assert_eq!(attr(&mut model, ino).links, 0);
    write(&mut model, fh, 0, b"still here").unwrap();
    let link = Op::Link { ino, to_parent: Ino::ROOT, to_name: name("g") };
    assert_eq!(model.apply(at(3), &link), Err(Errno::NoEnt));
    model.apply(at(3), &Op::Forget { ino, count: 1 }).unwrap();
    assert_eq!(attr(&mut model, ino).size, 10);
    model.apply(at(3), &Op::Release { fh }).unwrap();
    assert_eq!(model.apply(at(3), &Op::GetAttr { ino }), Err(Errno::Stale));
    assert_eq!(model.apply(at(3), &Op::Release { fh }), Err(Errno::BadF));
    assert_eq!(model.tree().iter().count(), 1);
}

#[test]
fn names_are_refused_as_linux_refuses_them() {
    let mut model = fresh();
    let root = Ino::ROOT;
    let (file, _) = create(&mut model, root, "f");
    let dir = mkdir(&mut model, root, "d");
    create(&mut model, dir, "x");
    let long = Name::from(&[b'a'; 256][..]);
    let look = |m: &mut Model, parent, name| m.apply(at(2), &Op::Lookup { parent, name });
    assert_eq!(look(&mut model, root, long), Err(Errno::NameTooLong));
    assert_eq!(look(&mut model, file, name("x")), Err(Errno::NotDir));
    assert_eq!(look(&mut model, root, name("none")), Ok(Reply::Absent));
    let unlink = Op::Unlink { parent: root, name: name("d") };
    assert_eq!(model.apply(at(2), &unlink), Err(Errno::IsDir));
    let rmdir = |text| Op::RemoveDir { parent: root, name: name(text) };
    assert_eq!(model.apply(at(2), &rmdir("f")), Err(Errno::NotDir));
    assert_eq!(model.apply(at(2), &rmdir("d")), Err(Errno::NotEmpty));
    assert_eq!(model.apply(at(2), &rmdir("none")), Err(Errno::NoEnt));
    let link = |text| Op::Link { ino: dir, to_parent: root, to_name: name(text) };
    assert_eq!(model.apply(at(2), &link("e")), Err(Errno::Perm));
    assert_eq!(model.apply(at(2), &link("f")), Err(Errno::Exist));
}

#[test]
fn rename_refuses_what_linux_refuses() {
    let mut m = fresh();
    let root = Ino::ROOT;
    create(&mut m, root, "f");
    let d = mkdir(&mut m, root, "d");
    let e = mkdir(&mut m, d, "e");
    let (replace, swap) = (RenameMode::Replace, RenameMode::Exchange);
    assert_eq!(rename(&mut m, (root, "d"), (e, "x"), replace), Errno::Inval);
    assert_eq!(rename(&mut m, (root, "d"), (d, "x"), swap), Errno::NoEnt);
    assert_eq!(rename(&mut m, (d, "e"), (root, "d"), replace), Errno::NotEmpty);
    assert_eq!(rename(&mut m, (d, "e"), (root, "d"), swap), Errno::Inval);
    assert_eq!(rename(&mut m, (root, "f"), (d, "e"), replace), Errno::IsDir);
    assert_eq!(rename(&mut m, (d, "e"), (root, "f"), replace), Errno::NotDir);
    assert_eq!(rename(&mut m, (root, "f"), (root, "f"), RenameMode::NoReplace), Errno::Exist);
    assert_eq!(rename(&mut m, (root, "none"), (root, "f"), replace), Errno::NoEnt);
    let other = mkdir(&mut m, root, "o");
    create(&mut m, other, "x");
    assert_eq!(rename(&mut m, (d, "e"), (root, "o"), replace), Errno::NotEmpty);
}

#[test]
fn rename_moves_links_times_and_the_parent() {
    let mut m = fresh();
    let root = Ino::ROOT;
    let (a, b) = (mkdir(&mut m, root, "a"), mkdir(&mut m, root, "b"));
    let moved = mkdir(&mut m, a, "d");
    let (file, _) = create(&mut m, b, "f");
    move_to(&mut m, (a, "d"), (b, "f"), RenameMode::Exchange);
    assert_eq!((attr(&mut m, a).links, attr(&mut m, b).links), (2, 3));
    assert_eq!((attr(&mut m, a).mtime, attr(&mut m, moved).ctime), (at(5), at(5)));
    assert_eq!((attr(&mut m, moved).mtime, attr(&mut m, file).ctime), (at(1), at(5)));
    move_to(&mut m, (b, "f"), (root, "d"), RenameMode::Replace);
    assert_eq!((attr(&mut m, root).links, attr(&mut m, b).links), (5, 2));
    move_to(&mut m, (root, "d"), (root, "b"), RenameMode::Replace);
    assert_eq!((attr(&mut m, root).links, attr(&mut m, b).links), (4, 0));
    let dead = Op::MakeDir { parent: b, name: name("x"), mode: 0, caller: WHO };
    assert_eq!(m.apply(at(6), &dead), Err(Errno::NoEnt));
}

#[test]
fn renaming_a_file_to_its_other_name_changes_nothing() {
    let mut m = fresh();
    let (ino, _) = create(&mut m, Ino::ROOT, "f");
    m.apply(at(2), &Op::Link { ino, to_parent: Ino::ROOT, to_name: name("g") }).unwrap();
    let before = m.tree().clone();
    move_to(&mut m, (Ino::ROOT, "f"), (Ino::ROOT, "g"), RenameMode::Replace);
    move_to(&mut m, (Ino::ROOT, "f"), (Ino::ROOT, "f"), RenameMode::Exchange);
    assert_eq!(m.tree(), &before);
    assert_eq!(attr(&mut m, ino).links, 2);
}

#[test]
fn set_id_bits_are_inherited_and_dropped() {
    let mut m = fresh();
    let dir = mkdir(&mut m, Ino::ROOT, "d");
    let set = SetAttr { mode: Some(0o2775), gid: Some(50), ..SetAttr::default() };
    m.apply(at(2), &Op::SetAttr { ino: dir, set }).unwrap();
    let below = mkdir(&mut m, dir, "e");
    assert_eq!((attr(&mut m, below).mode, attr(&mut m, below).gid), (0o2755, 50));
    let (file, fh) = create(&mut m, dir, "f");
    assert_eq!((attr(&mut m, file).mode, attr(&mut m, file).gid), (0o644, 50));
    let chmod = |mode| SetAttr { mode: Some(mode), ..SetAttr::default() };
    m.apply(at(2), &Op::SetAttr { ino: file, set: chmod(0o6755) }).unwrap();
    write(&mut m, fh, 0, b"a").unwrap();
    assert_eq!(attr(&mut m, file).mode, 0o6755);
    let flags = WriteFlags { kill_suidgid: true, ..WriteFlags::default() };
    m.apply(at(2), &Op::Write { fh, offset: 0, data: vec![1], flags }).unwrap();
    assert_eq!(attr(&mut m, file).mode, 0o755);
    m.apply(at(2), &Op::SetAttr { ino: file, set: chmod(0o6745) }).unwrap();
    let chown = SetAttr { uid: Some(1), ..SetAttr::default() };
    m.apply(at(2), &Op::SetAttr { ino: file, set: chown }).unwrap();
    assert_eq!(attr(&mut m, file).mode, 0o2745);
    m.apply(at(2), &Op::SetAttr { ino: dir, set: chown }).unwrap();
    assert_eq!(attr(&mut m, dir).mode, 0o2775);
    for kill_suidgid in [false, true] {
        let mode = if kill_suidgid { 0o755 } else { 0o6755 };
        let cut = SetAttr { size: Some(0), kill_suidgid, ..SetAttr::default() };
        m.apply(at(2), &Op::SetAttr { ino: file, set: chmod(0o6755) }).unwrap();
        m.apply(at(2), &Op::SetAttr { ino: file, set: cut }).unwrap();
        assert_eq!(attr(&mut m, file).mode, mode);
        let (how, offset, len) = (Allocate::Extend, 0, 9);
        m.apply(at(2), &Op::SetAttr { ino: file, set: chmod(0o6755) }).unwrap();
        m.apply(at(2), &Op::Fallocate { fh, offset, len, how, kill_suidgid }).unwrap();
        assert_eq!(attr(&mut m, file).mode, mode);
    }
}

#[test]
fn a_capability_goes_with_every_change_of_content_or_owner() {
    let mut m = fresh();
    let (ino, fh) = create(&mut m, Ino::ROOT, "f");
    let capability = name("security.capability");
    let (value, mode) = (name("all"), XattrMode::Either);
    let grant = Op::SetXattr { ino, name: capability.clone(), value, mode };
    let mut keeps = |op: &Op| {
        m.apply(at(2), &grant).unwrap();
        m.apply(at(3), op).unwrap();
        m.apply(at(4), &Op::GetXattr { ino, name: capability.clone() }).is_ok()
    };
    let write = |data: &[u8]| {
        let flags = WriteFlags::default();
        Op::Write { fh, offset: 0, data: data.to_vec(), flags }
    };
    let set = |set: SetAttr| Op::SetAttr { ino, set };
    let nothing = SetAttr::default();
    let cut = OpenFlags { truncate: true, ..RW };
    let changes = [
        write(b"a"),
        fallocate(fh, 0, 9, Allocate::Extend),
        fallocate(fh, 0, 1, Allocate::Punch),
        set(SetAttr { size: Some(9), ..nothing }),
        set(SetAttr { uid: Some(WHO.uid), ..nothing }),
        set(SetAttr { gid: Some(1), ..nothing }),
        Op::Open { ino, flags: cut },
    ];
    for op in changes {
        assert!(!keeps(&op), "{op:?}");
    }
    let others = [
        write(b""),
        fallocate(fh, 0, 99, Allocate::KeepSize),
        set(SetAttr { mode: Some(0o700), mtime: Some(SetTime::Now), ..nothing }),
        Op::Open { ino, flags: RW },
        Op::Read { fh, offset: 0, len: 9 },
    ];
    for op in others {
        assert!(keeps(&op), "{op:?}");
    }
}

#[test]
fn a_stream_shows_the_directory_as_it_was_when_it_began() {
    let mut m = fresh();
    let dir = mkdir(&mut m, Ino::ROOT, "d");
    for text in ["a", "b", "c"] {
        create(&mut m, dir, text);
    }
    let Ok(Reply::Opened(fh)) = m.apply(at(2), &Op::OpenDir { ino: dir }) else { panic!() };
    let read = |m: &mut Model, cookie, max| -> Vec<String> {
        let op = Op::ReadDir { fh, cookie, max, plus: false };
        let Ok(Reply::Entries(entries)) = m.apply(at(2), &op) else { panic!() };
        entries.iter().map(|e| String::from_utf8_lossy(&e.name).into_owned()).collect()
    };
    assert_eq!(read(&mut m, 0, 3), [".", "..", "a"]);
    m.apply(at(3), &Op::Unlink { parent: dir, name: name("b") }).unwrap();
    create(&mut m, dir, "aa");
    assert_eq!(read(&mut m, 3, 9), ["c"]);
    assert_eq!(read(&mut m, 0, 9), [".", "..", "a", "aa", "c"]);
    let plus = Op::ReadDir { fh, cookie: 0, max: 3, plus: true };
    let Ok(Reply::Entries(entries)) = m.apply(at(3), &plus) else { panic!() };
    assert_eq!(m.lookups(entries[2].ino), 2);
}

#[test]
fn xattrs_answer_as_the_manual_page_says() {
    let mut m = fresh();
    let ino = Ino::ROOT;
    let set = |mode| Op::SetXattr { ino, name: name("user.a"), value: (*b"v").into(), mode };
    let get = Op::GetXattr { ino, name: name("user.a") };
    assert_eq!(m.apply(at(2), &get), Err(Errno::NoData));
    assert_eq!(m.apply(at(2), &set(XattrMode::Replace)), Err(Errno::NoData));
    assert_eq!(m.apply(at(2), &set(XattrMode::Create)), Ok(Reply::Done));
    assert_eq!(m.apply(at(2), &set(XattrMode::Create)), Err(Errno::Exist));
    assert_eq!(m.apply(at(2), &get), Ok(Reply::Data(b"v".to_vec())));
    let list = m.apply(at(2), &Op::ListXattr { ino });
    assert_eq!(list, Ok(Reply::Data(b"user.a\0".to_vec())));
    let remove = Op::RemoveXattr { ino, name: name("user.a") };
    assert_eq!(m.apply(at(4), &remove), Ok(Reply::Done));
    assert_eq!(m.apply(at(4), &remove), Err(Errno::NoData));
    assert_eq!((attr(&mut m, ino).ctime, attr(&mut m, ino).mtime), (at(4), at(0)));
}

#[test]
fn the_mapping_is_one_to_one() {
    let mut a = fresh();
    let mut b = fresh();
    create(&mut b, Ino::ROOT, "first");
    let mut map = Mapping::default();
    let op = Op::Create { parent: Ino::ROOT, name: name("f"), mode: 0, flags: RW, caller: WHO };
    let (from_a, from_b) = (a.apply(at(3), &op), b.apply(at(3), &op));
    map.compare(&from_a, &from_b).unwrap();
    let read = Op::Read { fh: Fh(1), offset: 0, len: 1 };
    assert_eq!(map.translate(&read), Op::Read { fh: Fh(2), offset: 0, len: 1 });
    let op = Op::Lookup { parent: Ino::ROOT, name: name("first") };
    let stranger = b.apply(at(3), &op);
    assert!(map.compare(&from_a, &stranger).is_err());
    assert!(map.compare(&Ok(Reply::Done), &Err(Errno::Io)).is_err());
}

#[test]
fn xattrs_end_where_they_could_not_be_listed_or_stored() {
    let (mut m, ino) = (fresh(), Ino::ROOT);
    let set = |name: String, len| {
        let value = vec![0; len].into();
        Op::SetXattr { ino, name: name.as_bytes().into(), value, mode: XattrMode::Either }
    };
    let fit = XATTR_NAMES_MAX / 251;
    for index in 0..fit {
        assert_eq!(m.apply(at(2), &set(format!("user.{index:0245}"), 0)), Ok(Reply::Done));
    }
    assert_eq!(m.apply(at(2), &set(format!("user.{fit:0245}"), 0)), Err(Errno::NoSpc));
    // Beside the names, 14 of the longest values.
    for index in 0..14 {
        let set = set(format!("user.{index:0245}"), XATTR_MAX);
        assert_eq!(m.apply(at(2), &set), Ok(Reply::Done), "{index}");
    }
    assert_eq!(m.apply(at(2), &set(format!("user.{:0245}", 14), XATTR_MAX)), Err(Errno::NoSpc));
}

#[test]
fn what_is_discarded_is_as_the_base_has_it_and_what_is_held_lives_on_without_a_name() {
    let mut model = fresh();
    let write = |model: &mut Model, fh: Fh, text: &str| {
        let (data, flags) = (text.as_bytes().to_vec(), WriteFlags::default());
        model.apply(at(2), &Op::Write { fh, offset: 0, data, flags }).unwrap();
    };
    let read = |model: &mut Model, fh: Fh| model.apply(at(2), &Op::Read { fh, offset: 0, len: 9 });
    let (_, old) = create(&mut model, Ino::ROOT, "old");
    write(&mut model, old, "base");
    let base = model.committed();
    write(&mut model, old, "edit");
    let (ino, new) = create(&mut model, Ino::ROOT, "new");
    write(&mut model, new, "mine");
    model.apply(at(2), &Op::Unlink { parent: Ino::ROOT, name: name("old") }).unwrap();
    model.discard(&base);
    assert_eq!(model.committed(), base);
    assert_eq!(read(&mut model, old), Ok(Reply::Data(b"base".to_vec())));
    assert_eq!(read(&mut model, new), Ok(Reply::Data(b"mine".to_vec())));
    assert_eq!(entry(model.apply(at(2), &Op::GetAttr { ino })).links, 0);
}
