//! The bytes that docs/FORMAT.md spells out. They never change.

use std::collections::BTreeMap;

use super::records::{places, stored, verified};
use crate::format::{
    Body, Child, Content, Directories, Entry, Hash, Header, Inode, Linked, Links, Meta, NodePacker,
    NodePlace, NodeRef, ObjectKind, ObjectName, PackBuilder, Piece, Pieces, RefBody, Snapshot,
    TreeKind, TreeNode, XattrMap, Xattrs, build, decode_node, decode_xattrs, encode_xattrs,
    object_key,
};
use crate::shapes::Slice;
use crate::words::{Ino, Time};

const SPECIFICATION: &str = include_str!("../../../../docs/FORMAT.md");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes are these, and the specification spells them out, in lines of 32 bytes.
#[track_caller]
fn check(bytes: &[u8], digits: &str) {
    let spelled: String = digits.split_whitespace().collect();
    assert_eq!(hex(bytes), spelled);
    let lines = spelled.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line));
    let lines = lines.map(|line| format!("    {line}\n")).collect::<String>();
    assert!(SPECIFICATION.contains(&lines), "not in docs/FORMAT.md:\n{lines}");
}

fn hello() -> Hash {
    Hash::of(b"hello\n")
}

fn hash(byte: u8) -> Hash {
    Hash([byte; 32])
}

fn inode(ino: u64, mode: u32, body: Body) -> Inode {
    let mtime = Time { ns: 1_700_000_000_123_456_789 };
    let ctime = Time { ns: -1 };
    let meta = Meta { mode, uid: 1000, gid: 100, mtime, ctime, xattrs: Xattrs::default() };
    Inode { ino: Ino(ino), meta, body }
}

fn file(ino: u64, size: u64, pieces: Vec<Piece>) -> Inode {
    inode(ino, 0o644, Body::File { size, content: Content::Pieces(pieces) })
}

#[track_caller]
fn check_node<T: TreeKind>(node: TreeNode<T>, digits: &str) {
    let (at, bytes) = stored(&node);
    check(&bytes, digits);
    let decoded = decode_node::<T>(&at, &bytes).unwrap();
    assert_eq!(places(&decoded), places(&node));
    assert_eq!(decoded, node);
}

#[test]
fn hash_of_nothing() {
    let digits = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
    check(&Hash::of(b"").0, digits);
}

#[test]
fn header() {
    let header = Header::new(4 << 20, Time { ns: 1_700_000_000_123_456_789 });
    let text = String::from_utf8(header.encode().unwrap()).unwrap();
    let quoted: String = text.lines().map(|line| format!("    {line}\n")).collect();
    assert!(SPECIFICATION.contains(&quoted), "not in docs/FORMAT.md:\n{quoted}");
}

#[test]
fn keys() {
    let second = ObjectName { hash: hello(), copy: 2 };
    for key in [
        object_key(ObjectKind::Chunk, &ObjectName::first(hello())),
        object_key(ObjectKind::Tree, &second),
        object_key(ObjectKind::Snapshot, &ObjectName::first(hello())),
    ] {
        assert!(SPECIFICATION.contains(&format!("    {key}\n")), "not in docs/FORMAT.md: {key}");
    }
}

#[test]
fn refs() {
    let attempt = 0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f;
    let born = RefBody { generation: 0, snapshot: None, gc_epoch: 0, attempt };
    check(&born.encode(), "850400f60050000102030405060708090a0b0c0d0e0f");
    assert_eq!(RefBody::decode(&born.encode()), Ok(born.clone()));
    let moved = RefBody { generation: 300, snapshot: Some(hash(0x11)), ..born };
    check(
        &moved.encode(),
        "
        850419012c582011111111111111111111111111111111111111111111111111
        111111111111110050000102030405060708090a0b0c0d0e0f
    ",
    );
    assert_eq!(RefBody::decode(&moved.encode()), Ok(moved));
}

#[test]
fn attributes() {
    let map = XattrMap::from([
        (b"user.b"[..].into(), b""[..].into()),
        (b"user.aa"[..].into(), b"1"[..].into()),
    ]);
    let bytes = encode_xattrs(&map);
    check(&bytes, "a247757365722e6161413146757365722e6240");
    assert_eq!(decode_xattrs(&verified(bytes)), Ok(map));
}

#[test]
fn pack() {
    let mut pack = PackBuilder::new(4 << 20);
    pack.push(vec![Slice::whole(b"hello\n".to_vec())]);
    let world = pack.push(vec![Slice::whole(b"world\n".to_vec())]);
    let again = pack.push(vec![Slice::whole(b"hello\n".to_vec())]);
    assert_eq!((world.offset, again.offset), (6, 0));
    let (object, contents) = pack.finish();
    assert_eq!(contents.len(), 2);
    check(&object.to_bytes(), "68656c6c6f0a776f726c640a");
    check(&object.hash().0, "e55980c788fb1801601cc1aca0af926bf091d52cf906c60ef5b341d108e881a9");
}

/// The directory of the worked example.
fn example() -> BTreeMap<&'static [u8], Entry> {
    let target = b"hello.txt"[..].into();
    BTreeMap::from([
        (&b"hello.txt"[..], Entry::Inode(file(2, 6, vec![Piece::whole(hello(), 6)]))),
        (&b"twin"[..], Entry::Link(Ino(9))),
        (&b"twin2"[..], Entry::Link(Ino(9))),
        (&b"zlink"[..], Entry::Inode(inode(3, 0o777, Body::Symlink { target }))),
    ])
}

#[test]
fn directory_leaf() {
    let entries = example().into_iter().map(|(name, entry)| (name.into(), entry));
    check_node::<Directories>(
        TreeNode::Leaf(entries.collect()),
        "
        84000084824968656c6c6f2e74787488021901a41903e818641b17979cfe3d85
        cd1520a0830006820081840158208e4c7c1b99dbfd50e7a95185fead5ee1448f
        a904a2fdd778eaf5f2dbfd629a99060082447477696e0982457477696e320982
        457a6c696e6b88031901ff1903e818641b17979cfe3d85cd1520a08202496865
        6c6c6f2e74787480
    ",
    );
}

#[test]
fn every_kind_of_inode() {
    let object = ObjectName { hash: hash(0x33), copy: 1 };
    let part = Piece::Data { hash: hash(0x22), len: 70_000, object, offset: 4096 };
    let place = NodePlace {
        object: ObjectName::first(hash(0x4a)),
        offset: 300,
        len: 4000,
        check: [0x4b; 8],
    };
    let node = NodeRef { hash: hash(0x44), level: 1, count: 500, place: Some(place) };
    let tree = Body::File { size: 1 << 40, content: Content::Tree(node) };
    let stored = Piece::whole(hash(0x55), 5000);
    let mut with_stored = inode(7, 0o4755, Body::Directory { root: Some(node), subdirs: 3 });
    with_stored.meta.xattrs = Xattrs::Stored(stored);
    let mut with_inline = inode(8, 0, Body::Fifo);
    with_inline.meta.xattrs =
        Xattrs::Inline(XattrMap::from([(b"user.a"[..].into(), b"1"[..].into())]));
    let entries = [
        (&b"a"[..], file(4, 0, vec![])),
        (b"b", file(5, 170_000, vec![part, Piece::Hole { len: 100_000 }])),
        (b"c", inode(6, 0o600, tree)),
        (b"d", with_stored),
        (b"e", inode(10, 0o755, Body::Directory { root: None, subdirs: 0 })),
        (b"f", with_inline),
        (b"g", inode(11, 0, Body::Socket)),
        (b"h", inode(12, 0, Body::CharDevice { rdev: 0x0103 })),
        (b"i", inode(13, 0, Body::BlockDevice { rdev: 0x0801 })),
    ];
    let entries = entries.map(|(name, inode)| (name.into(), Entry::Inode(inode)));
    check_node::<Directories>(
        TreeNode::Leaf(entries.into()),
        "
        8400008982416188041901a41903e818641b17979cfe3d85cd1520a083000082
        008082416288051901a41903e818641b17979cfe3d85cd1520a083001a000298
        1082008286025820222222222222222222222222222222222222222222222222
        22222222222222221a0001117058203333333333333333333333333333333333
        3333333333333333333333333333330119100082001a000186a0824163880619
        01801903e818641b17979cfe3d85cd1520a083001b0000010000000000820183
        5820444444444444444444444444444444444444444444444444444444444444
        4444011901f482416488071909ed1903e818641b17979cfe3d85cd1520840158
        2055555555555555555555555555555555555555555555555555555555555555
        5519138800830183582044444444444444444444444444444444444444444444
        44444444444444444444011901f403824165880a1901ed1903e818641b17979c
        fe3d85cd1520a08301f6008241668808001903e818641b17979cfe3d85cd1520
        a146757365722e6141318103824167880b001903e818641b17979cfe3d85cd15
        20a08104824168880c001903e818641b17979cfe3d85cd1520a0820519010382
        4169880d001903e818641b17979cfe3d85cd1520a08206190801828558204a4a
        4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a0019
        012c190fa0484b4b4b4b4b4b4b4b8558204a4a4a4a4a4a4a4a4a4a4a4a4a4a4a
        4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a0019012c190fa0484b4b4b4b4b4b4b
        4b
    ",
    );
}

#[test]
fn directory_inner_node() {
    let child = |first: &[u8], digit, count, object, offset| Child {
        first: first.into(),
        node: NodeRef {
            hash: hash(digit),
            level: 0,
            count,
            place: Some(NodePlace { object, offset, len: 9000, check: [digit; 8] }),
        },
    };
    let node = TreeNode::<Directories>::Inner(vec![
        child(b"a", 0x66, 300, ObjectName::first(hash(0x6a)), 0),
        child(b"k", 0x77, 20, ObjectName { hash: hash(0x7a), copy: 1 }, 70_000),
    ]);
    check_node(
        node,
        "
        8400018283416158206666666666666666666666666666666666666666666666
        66666666666666666619012c83416b5820777777777777777777777777777777
        777777777777777777777777777777777714828558206a6a6a6a6a6a6a6a6a6a
        6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a00001923284866666666
        666666668558207a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a
        7a7a7a7a7a7a7a011a00011170192328487777777777777777
    ",
    );
}

#[test]
fn link_table_leaf() {
    let names = vec![(Ino::ROOT, b"twin"[..].into()), (Ino::ROOT, b"twin2"[..].into())];
    let inode = file(9, 6, vec![Piece::whole(hello(), 6)]);
    check_node::<Links>(
        TreeNode::Leaf(vec![(Ino(9), Linked { inode, names })]),
        "
        8401008182098288091901a41903e818641b17979cfe3d85cd1520a083000682
        0081840158208e4c7c1b99dbfd50e7a95185fead5ee1448fa904a2fdd778eaf5
        f2dbfd629a990600828201447477696e8201457477696e3280
    ",
    );
}

#[test]
fn piece_leaf() {
    let object = ObjectName::first(hash(0x99));
    let part = Piece::Data { hash: hash(0x88), len: 10, object, offset: 20 };
    let entries = vec![(0, Piece::whole(hash(0xaa), 4 << 20)), (8 << 20, part)];
    check_node::<Pieces>(
        TreeNode::Leaf(entries),
        "
        84020082820084015820aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        aaaaaaaaaaaaaaaaaaaa1a0040000000821a0080000086025820888888888888
        88888888888888888888888888888888888888888888888888880a5820999999
        9999999999999999999999999999999999999999999999999999999999001480
    ",
    );
}

#[test]
fn snapshot() {
    let entries = example().into_iter().map(|(name, entry)| (name.into(), entry));
    let root = build::<Directories>(entries).unwrap().laid(4 << 20).unwrap().0;
    let names = vec![(Ino::ROOT, b"twin"[..].into()), (Ino::ROOT, b"twin2"[..].into())];
    let inode_9 = file(9, 6, vec![Piece::whole(hello(), 6)]);
    let links = [(Ino(9), Linked { inode: inode_9, names })];
    let snapshot = Snapshot {
        root: inode(1, 0o755, Body::Directory { root, subdirs: 0 }),
        links: build::<Links>(links.into_iter()).unwrap().laid(4 << 20).unwrap().0,
        parents: vec![hash(0x11)],
        time: Time { ns: 1_700_000_001_000_000_000 },
        author: "ada@example.org".to_owned(),
        message: "Say hello".to_owned(),
        next_ino: Ino(10),
        files: 4,
        bytes: 12,
    };
    let sealed = snapshot.seal().unwrap();
    check(
        &sealed.to_bytes(),
        "
        8b0388011901ed1903e818641b17979cfe3d85cd1520a08301835820caee8352
        1cacb4acda1979ee538fd639977f40b43e889ea4cde745c3d59608ea00040083
        582055c1d783babfe9d68a3058043a6569bfc3be07ad5a17da5eecb493407930
        1bc0000181582011111111111111111111111111111111111111111111111111
        111111111111111b17979cfe71c4ca006f616461406578616d706c652e6f7267
        695361792068656c6c6f0a040c82855820dde2f704eb8980a3ad9c4c1f39beb6
        ac8a1742efa151993e8f45bd1c4a9a76e20000188848dde2f704eb8980a38558
        2085bec5a3e6f31f17079e5562efc828c5898ceab6562589c8001c2eebeb6b02
        5c000018594885bec5a3e6f31f17
    ",
    );
    check(&sealed.hash().0, "5df80a5daa6eeb423a369ba7caea94d6da65376543702003eec2c3cbea41a689");
    assert_eq!(Snapshot::decode(&verified(sealed.to_bytes())), Ok(snapshot));
}

#[test]
fn a_pack_of_two_nodes() {
    let mut packer = NodePacker::new(4 << 20);
    let below = [(b"a"[..].into(), Entry::Inode(file(3, 0, vec![])))];
    let below = build::<Directories>(below.into_iter()).unwrap();
    packer.push(&below.nodes[0]).unwrap();
    let body = Body::Directory { root: below.root, subdirs: 0 };
    let above = [(b"d"[..].into(), Entry::Inode(inode(2, 0o755, body)))];
    let above = build::<Directories>(above.into_iter()).unwrap();
    packer.push(&above.nodes[0]).unwrap();
    let pack = packer.close().unwrap();
    check(
        &pack.to_bytes(),
        "
        8400008182416188031901a41903e818641b17979cfe3d85cd1520a083000082
        0080808400008182416488021901ed1903e818641b17979cfe3d85cd1520a083
        018358209e707110fb9bd0840be4877c39f59374e81e7ab0e9dcd5dc45718fe8
        8a3030f6000100818300182348a2044dc9b58a0a3b
    ",
    );
    check(&pack.hash().0, "a4789afca90a77a425596ca4c9f6dd1f32764f3014fbeee778a9045adab71333");
    let mut root = above.root.unwrap();
    packer.locate(&mut root);
    assert_eq!(root.place.unwrap().range(), 35..117);
}

#[test]
fn directory_of_10_000_entries() {
    let entries = (0..10_000_u64).map(|number| {
        let name = format!("file-{number:05}").into_bytes().into();
        (name, Entry::Inode(file(number + 2, 0, vec![])))
    });
    let built = build::<Directories>(entries).unwrap();
    let root = built.root.unwrap();
    assert_eq!((root.level, root.count, built.nodes.len()), (1, 10_000, 54));
    check(&root.hash.0, "5156fe3ce94cde31e6f35357b18d58e3a2fc7849dc9f5d85c5c6b7d11299b6e1");
}

#[test]
fn a_leaf_ends_after_a_name_whose_hash_begins_with_a_zero_byte() {
    let names = (0..10_000).map(|number| format!("file-{number:05}"));
    let ends = names.filter(|name| Hash::of(name.as_bytes()).0[0] == 0);
    for name in ends.take(2) {
        let line = format!("    {name}  {}\n", Hash::of(name.as_bytes()));
        assert!(SPECIFICATION.contains(&line), "not in docs/FORMAT.md:\n{line}");
    }
}
