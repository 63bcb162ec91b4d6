//! Bytes that somebody made up: an error or a value that encodes to them, never a panic.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::arb;
use super::records::{places, stored, verified};
use crate::format::tree::{decode_bytes, encode_node};
use crate::format::{
    Body, Child, Content, Directories, Entry, FormatError, Hash, Header, Inode, Linked, Links,
    Meta, NodeError, NodePlace, NodeRef, ObjectName, Piece, Pieces, RefBody, Snapshot, TreeKind,
    TreeNode, UpdateError, XattrMap, Xattrs, build, check_xattrs, decode_node, decode_xattrs,
    encode_xattrs, node_hash, scan, update,
};
use crate::shapes::Name;
use crate::sync::Arc;
use crate::words::{Ino, Time};

fn decode_as_node<T: TreeKind>(bytes: &[u8]) {
    let object = ObjectName::first(Hash([3; 32]));
    let place = Some(NodePlace::of(object, 0, bytes));
    for level in 0..=2 {
        let node = NodeRef { hash: node_hash(bytes), level, count: 1, place };
        if let Ok(decoded) = decode_node::<T>(&node, bytes) {
            assert_eq!(Hash::of(&encode_node(level, &decoded)), node.hash);
            assert!(places(&decoded).iter().all(Option::is_some));
        }
    }
}

/// Decodes a leaf, whatever its hash.
fn decode_as<T: TreeKind>(bytes: &[u8]) -> Result<TreeNode<T>, NodeError> {
    let object = ObjectName::first(Hash([3; 32]));
    let place = Some(NodePlace::of(object, 0, bytes));
    decode_node::<T>(&NodeRef { hash: node_hash(bytes), level: 0, count: 1, place }, bytes)
}

fn decode_as_everything(bytes: &[u8]) {
    decode_as_node::<Directories>(bytes);
    decode_as_node::<Links>(bytes);
    decode_as_node::<Pieces>(bytes);
    let verified = verified(bytes.to_vec());
    if let Ok(snapshot) = Snapshot::decode(&verified) {
        assert_eq!(snapshot.encode(), bytes);
    }
    if let Ok(body) = RefBody::decode(bytes) {
        assert_eq!(body.encode(), bytes);
    }
    if let Ok(map) = decode_xattrs(&verified) {
        assert_eq!(encode_xattrs(&map), bytes);
    }
    if let Ok(header) = Header::decode(bytes) {
        assert!(header.encode().is_ok());
    }
}

#[derive(Clone, Debug)]
enum Mutation {
    Flip(Index, u8),
    Set(Index, u8),
    Remove(Index),
    Insert(Index, Vec<u8>),
    Cut(Index),
    Repeat(Index, Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<Index>;
    // Heads of arrays, maps, strings and numbers with lengths of every size.
    let heads = prop_oneof![
        Just(0x9f_u8),
        Just(0x80),
        Just(0xa0),
        Just(0x5f),
        Just(0xf6),
        Just(0x1b),
        Just(0x9b),
        Just(0x5b),
        Just(0xbb),
        Just(0xff),
        any::<u8>(),
    ];
    prop_oneof![
        (index(), 0..8_u8).prop_map(|(at, bit)| Mutation::Flip(at, 1 << bit)),
        (index(), heads).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        index().prop_map(Mutation::Remove),
        (index(), vec(any::<u8>(), 1..10)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        index().prop_map(Mutation::Cut),
        (index(), index()).prop_map(|(from, to)| Mutation::Repeat(from, to)),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    if bytes.is_empty() {
        return;
    }
    let len = bytes.len();
    match mutation {
        Mutation::Flip(at, bit) => bytes[at.index(len)] ^= bit,
        Mutation::Set(at, byte) => bytes[at.index(len)] = *byte,
        Mutation::Remove(at) => drop(bytes.remove(at.index(len))),
        Mutation::Insert(at, more) => {
            let at = at.index(len);
            bytes.splice(at..at, more.iter().copied());
        }
        Mutation::Cut(at) => bytes.truncate(at.index(len)),
        Mutation::Repeat(from, to) => {
            let (from, to) = (from.index(len), to.index(len));
            let part = bytes[from.min(to)..from.max(to)].to_vec();
            bytes.splice(from..from, part);
        }
    }
}

fn valid() -> impl Strategy<Value = Vec<u8>> {
    fn leaf<T: TreeKind>(entries: BTreeMap<T::Key, T::Value>) -> Vec<u8> {
        stored(&TreeNode::<T>::Leaf(entries.into_iter().collect())).1
    }
    let inner = vec((any::<u32>(), arb::node_ref()), 1..10).prop_map(|children| {
        let children = children.into_iter().collect::<BTreeMap<_, _>>().into_iter();
        let child = |(at, node): (u32, NodeRef)| Child {
            first: u64::from(at),
            node: NodeRef { level: 0, count: 1 + (node.count >> 10), ..node },
        };
        stored(&TreeNode::<Pieces>::Inner(children.map(child).collect())).1
    });
    prop_oneof![
        arb::directory_entries().prop_map(leaf::<Directories>),
        arb::link_entries().prop_map(leaf::<Links>),
        arb::piece_entries().prop_map(leaf::<Pieces>),
        inner,
        arb::snapshot().prop_map(|snapshot| snapshot.encode()),
        arb::ref_body().prop_map(|body| body.encode()),
        arb::xattr_map(300).prop_map(|map| encode_xattrs(&map)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn random_bytes_are_refused_without_harm(bytes in vec(any::<u8>(), 0..300)) {
        decode_as_everything(&bytes);
    }

    #[test]
    fn mutated_bytes_are_refused_or_canonical(
        bytes in valid(),
        mutations in vec(mutation(), 1..4),
    ) {
        let mut bytes = bytes;
        for mutation in &mutations {
            mutate(&mut bytes, mutation);
        }
        decode_as_everything(&bytes);
    }

    #[test]
    fn a_tree_of_misplaced_nodes_is_refused(
        picks in vec(any::<Index>(), 30),
        key in 0..3000_u32,
    ) {
        let entry = |number: u32| {
            let name: Name = format!("{number:04}").into_bytes().into();
            (name, Entry::Link(Ino(u64::from(number) + 2)))
        };
        let built = build::<Directories>((0..3000).map(entry)).unwrap();
        let root = built.root.unwrap();
        let decode = |bytes: &[u8]| decode_bytes::<Directories>(bytes[2], bytes);
        let nodes: Vec<_> =
            built.nodes.iter().map(|node| Arc::new(decode(node.bytes()).unwrap())).collect();
        // Every node but the root is answered by some node, most often a wrong one.
        let answer = |hash: &Hash| {
            let at = built.nodes.iter().position(|node| node.hash() == *hash).unwrap();
            let is_root = *hash == root.hash;
            Some(nodes[if is_root { at } else { picks[at % 30].index(nodes.len()) }].clone())
        };
        let read = scan::<Directories>(Some(&root), None, None, usize::MAX, &answer);
        let refused = matches!(read, Err(UpdateError::Format(FormatError::Misplaced { .. })));
        prop_assert!(refused);
        let changes = BTreeMap::from([(entry(key).0, None)]);
        match update::<Directories>(Some(&root), &changes, &answer) {
            Ok(updated) => prop_assert!(updated.root.unwrap().count < 3000),
            Err(UpdateError::Format(error)) => {
                let misplaced = matches!(error, FormatError::Misplaced { .. });
                prop_assert!(misplaced, "{error}");
            }
            Err(UpdateError::Missing(_)) => prop_assert!(false, "every node is there"),
        }
    }
}

fn inode(body: Body) -> Inode {
    let (mtime, ctime) = (Time::default(), Time::default());
    let meta = Meta { mode: 0o644, uid: 0, gid: 0, mtime, ctime, xattrs: Xattrs::default() };
    Inode { ino: Ino(2), meta, body }
}

fn file(size: u64, pieces: Vec<Piece>) -> Inode {
    inode(Body::File { size, content: Content::Pieces(pieces) })
}

#[test]
fn every_bound_is_checked() {
    let ok = |inode: &Inode| inode.check().is_ok();
    let piece = || Piece::whole(Hash([1; 32]), 10);
    let hole = || Piece::Hole { len: 5 };
    assert!(ok(&file(15, vec![piece(), hole()])));
    assert!(!ok(&file(14, vec![piece(), hole()])), "the pieces are longer than the file");
    assert!(!ok(&file(10, vec![hole(), hole()])), "two holes in a row");
    assert!(ok(&file(160, vec![piece(); 16])));
    assert!(!ok(&file(170, vec![piece(); 17])));
    assert!(!ok(&file(0, vec![Piece::Hole { len: 0 }])));
    assert!(!ok(&file(1 << 63, vec![Piece::Hole { len: 1 << 63 }])));
    let huge = Piece::whole(Hash([1; 32]), (16 << 20) + 1);
    assert!(huge.check().is_err());
    let object = ObjectName::first(Hash([2; 32]));
    let part = |len, offset| Piece::Data { hash: Hash([1; 32]), len, object, offset };
    assert!(part(1, (16 << 20) - 1).check().is_ok());
    assert!(part(1, 16 << 20).check().is_err());
    assert!(part(1, u64::MAX).check().is_err());

    let target = |len| inode(Body::Symlink { target: vec![b'x'; len].into() });
    assert!(!ok(&target(0)) && ok(&target(4095)) && !ok(&target(4096)));
    assert!(!ok(&inode(Body::Directory { root: None, subdirs: 1 })));
    let mut numbered = inode(Body::Fifo);
    for (ino, fits) in [(0, false), (1, true), (i64::MAX as u64, true), (1 << 63, false)] {
        numbered.ino = Ino(ino);
        assert_eq!(ok(&numbered), fits, "{ino}");
    }
    numbered.ino = Ino::ROOT;
    assert!(Entry::Inode(numbered.clone()).check().is_err(), "the root has no name");
    assert!(Entry::Link(Ino::ROOT).check().is_err());
    numbered.ino = Ino(2);
    numbered.meta.mode = 0o10_000;
    assert!(!ok(&numbered));

    for (level, count, fits) in [(15, 1, true), (16, 1, false), (0, 0, false), (0, 1 << 49, false)]
    {
        let node = NodeRef { hash: object.hash, level, count, place: None };
        assert_eq!(node.check().is_ok(), fits, "{level} {count}");
    }
}

#[test]
fn names_of_a_linked_inode_are_checked() {
    let linked = |names: &[&[u8]]| {
        let names = names.iter().map(|name| (Ino::ROOT, Name::from(*name))).collect();
        Linked { inode: inode(Body::Fifo), names }.check().is_ok()
    };
    assert!(linked(&[b"a", b"b"]) && linked(&[&[b'x'; 255]]));
    assert!(!linked(&[]) && !linked(&[b"b", b"a"]) && !linked(&[b"a", b"a"]));
    for bad in [&b""[..], b".", b"..", b"a/b", b"a\0", &[b'x'; 256]] {
        assert!(!linked(&[bad]), "{bad:?}");
    }
    let directory = inode(Body::Directory { root: None, subdirs: 0 });
    let names = vec![(Ino::ROOT, Name::from(&b"a"[..]))];
    assert!(Linked { inode: directory, names }.check().is_err());
}

#[test]
fn attributes_are_stored_where_they_belong() {
    let map = |len: usize| XattrMap::from([(b"user.x"[..].into(), vec![0; len].into())]);
    let inline = |len| Xattrs::Inline(map(len)).check().is_ok();
    // Head, name and the head of the value take 11 bytes.
    assert!(inline(4096 - 11) && !inline(4096 - 10));
    let stored = |len| Xattrs::Stored(Piece::whole(Hash([1; 32]), len)).check().is_ok();
    assert!(!stored(4096) && stored(4097) && stored(1 << 20) && !stored((1 << 20) + 1));
    assert!(Xattrs::Stored(Piece::Hole { len: 5000 }).check().is_err());
    assert!(check_xattrs(&map(64 << 10)).is_ok());
    assert!(check_xattrs(&map((64 << 10) + 1)).is_err());
    let many = |count: usize| -> XattrMap {
        let name = |number| format!("{number:0>255}").into_bytes();
        (0..count).map(|number| (name(number).into(), b""[..].into())).collect()
    };
    assert!(check_xattrs(&many(256)).is_ok());
    assert!(check_xattrs(&many(257)).is_err());
}

#[test]
fn errors_name_record_and_field() {
    let error = decode_as::<Directories>(&[0x84, 1, 0, 0x80, 0x80]).unwrap_err();
    assert_eq!(error.to_string(), "directory node: `tag` is not valid");
    let snapshot = vec![0x8b, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let error = Snapshot::decode(&verified(snapshot)).unwrap_err();
    assert_eq!(error.to_string(), "inode: `fields` is cut short or of the wrong type");
}

#[test]
fn a_node_says_where_each_node_is_that_it_names_and_no_more() {
    let tree = NodeRef { hash: Hash([1; 32]), level: 0, count: 3, place: None };
    let (mtime, ctime) = (Time::default(), Time::default());
    let meta = Meta { mode: 0, uid: 0, gid: 0, mtime, ctime, xattrs: Xattrs::default() };
    let body = Body::Directory { root: Some(tree), subdirs: 0 };
    let entry = Entry::Inode(Inode { ino: Ino(5), meta, body });
    let bytes = encode_node(0, &TreeNode::<Directories>::Leaf(vec![(b"d"[..].into(), entry)]));
    let with = |places: &[u8]| decode_as::<Directories>(&[&[0x84], &bytes[1..], places].concat());
    let place = |node: &TreeNode<Directories>| places(node)[0].unwrap();
    let check = [&[0x48][..], &[6; 8]].concat();
    let checked = |place: &[u8]| [place, &check].concat();
    let found = with(&checked(&[0x81, 0x83, 7, 9])).unwrap();
    let object = ObjectName::first(Hash([3; 32]));
    let same = NodePlace { object, offset: 7, len: 9, check: [6; 8] };
    assert_eq!(place(&found), same, "without an object it lies in the same");
    let other = checked(&[&[0x81, 0x85, 0x58, 32][..], &[8; 32], &[2, 7, 9]].concat());
    let object = ObjectName { hash: Hash([8; 32]), copy: 2 };
    assert_eq!(place(&with(&other).unwrap()), NodePlace { object, ..same });
    // The same object, spelled out; none; two; no check; no length; too far; too long.
    let spelled = checked(&[&[0x81, 0x85, 0x58, 32][..], &[3; 32], &[0, 7, 9]].concat());
    let two = [&[0x82], &checked(&[0x83, 7, 9])[..], &checked(&[0x83, 7, 9])].concat();
    let none = checked(&[0x81, 0x83, 7, 0]);
    let far = checked(&[0x81, 0x83, 0x1a, 1, 0, 0, 1, 9]);
    let long = checked(&[0x81, 0x83, 0, 0x1a, 2, 0, 0, 1]);
    let bad: [&[u8]; 7] = [&spelled, &[0x80], &two, &[0x81, 0x82, 7, 9], &none, &far, &long];
    for places in bad {
        assert!(matches!(with(places), Err(NodeError::Format(_))), "{places:02x?}");
    }
}

#[test]
fn bytes_behind_the_node_count_as_damage_or_are_refused() {
    let bytes = encode_node(
        0,
        &TreeNode::<Directories>::Leaf(vec![(b"d"[..].into(), Entry::Link(Ino(4)))]),
    );
    let whole = [&[0x84], &bytes[1..], &[0x80]].concat();
    assert!(decode_as::<Directories>(&whole).is_ok());
    assert!(decode_as::<Directories>(&[&whole[..], &[0]].concat()).is_err());
    let hash = node_hash(&whole);
    let place = Some(NodePlace::of(ObjectName::first(hash), 0, &whole));
    for end in 0..whole.len() {
        let node = NodeRef { hash, level: 0, count: 1, place };
        let cut = decode_node::<Directories>(&node, &whole[..end]);
        assert!(matches!(cut, Err(NodeError::Damaged(_))), "{end}");
    }
    // Also one that says something else of places, which the hash of the node does not cover.
    let mut other = whole.clone();
    *other.last_mut().unwrap() = 0x81;
    let node = NodeRef { hash, level: 0, count: 1, place };
    assert!(matches!(decode_node::<Directories>(&node, &other), Err(NodeError::Damaged(_))));
}
