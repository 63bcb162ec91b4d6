//! Arbitrary records.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use crate::format::bounds::{CHUNK_MAX_BYTES, NODE_MAX_BYTES};
use crate::format::{
    Body, Content, Entry, Hash, Inode, Linked, Meta, NodePlace, NodeRef, ObjectName, Piece,
    RefBody, Snapshot, XattrMap, Xattrs,
};
use crate::shapes::Name;
use crate::sync::Arc;
use crate::words::{Ino, Time};

const INO_MAX: u64 = i64::MAX as u64;

pub(super) fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash)
}

pub(super) fn name() -> impl Strategy<Value = Name> {
    // Nothing is filtered out: of many cases, too many would be.
    let byte = prop_oneof![1..b'/', b'/' + 1..=255];
    vec(byte, 1..40).prop_map(|mut name| {
        if name == b"." || name == b".." {
            name.push(b'.');
            name.push(b'.');
        }
        name.into()
    })
}

fn object() -> impl Strategy<Value = ObjectName> {
    (hash(), prop_oneof![9 => Just(0), 1 => any::<u32>()])
        .prop_map(|(hash, copy)| ObjectName { hash, copy })
}

pub(super) fn node_ref() -> impl Strategy<Value = NodeRef> {
    (hash(), 0..16_u8, 1..=1_u64 << 48, node_place())
        .prop_map(|(hash, level, count, place)| NodeRef { hash, level, count, place: Some(place) })
}

fn node_place() -> impl Strategy<Value = NodePlace> {
    let place = (object(), 0..=u64::from(CHUNK_MAX_BYTES), 1..=NODE_MAX_BYTES, any::<[u8; 8]>());
    place.prop_map(|(object, offset, len, check)| NodePlace { object, offset, len, check })
}

pub(super) fn data_piece() -> impl Strategy<Value = Piece> {
    let max = u64::from(CHUNK_MAX_BYTES);
    let part = (hash(), 1..=max).prop_flat_map(move |(hash, len)| {
        (object(), 0..=max - len).prop_map(move |(object, offset)| Piece::Data {
            hash,
            len,
            object,
            offset,
        })
    });
    let whole = (object(), 1..=max).prop_map(|(object, len)| Piece::Data {
        hash: object.hash,
        len,
        object,
        offset: 0,
    });
    prop_oneof![part, whole]
}

pub(super) fn content() -> impl Strategy<Value = (u64, Content)> {
    let runs = (any::<bool>(), vec((data_piece(), 1..1_u64 << 40), 0..8));
    let pieces = runs.prop_map(|(hole_first, runs)| {
        let mut pieces = Vec::new();
        for (data, hole) in runs {
            if hole_first || hole % 3 == 0 {
                pieces.push(Piece::Hole { len: hole });
            }
            pieces.push(data);
        }
        (pieces.iter().map(Piece::len_bytes).sum(), Content::Pieces(pieces))
    });
    let tree = (1..=INO_MAX, node_ref()).prop_map(|(size, node)| (size, Content::Tree(node)));
    prop_oneof![4 => pieces, 1 => tree]
}

pub(super) fn xattr_map(max_value: usize) -> impl Strategy<Value = XattrMap> {
    let name = vec(1..=255_u8, 1..30).prop_map(Name::from);
    btree_map(name, vec(any::<u8>(), 0..max_value).prop_map(Arc::from), 0..4)
}

fn xattrs() -> impl Strategy<Value = Xattrs> {
    let stored = (hash(), 4097..=1_u64 << 20, object()).prop_map(|(hash, len, object)| {
        Xattrs::Stored(Piece::Data { hash, len, object, offset: 7 })
    });
    prop_oneof![
        4 => Just(Xattrs::default()),
        4 => xattr_map(200).prop_map(Xattrs::Inline),
        1 => stored
    ]
}

fn meta() -> impl Strategy<Value = Meta> {
    (0..=0o7777_u32, any::<u32>(), any::<u32>(), any::<i64>(), any::<i64>(), xattrs()).prop_map(
        |(mode, uid, gid, mtime, ctime, xattrs)| {
            let (mtime, ctime) = (Time { ns: mtime }, Time { ns: ctime });
            Meta { mode, uid, gid, mtime, ctime, xattrs }
        },
    )
}

fn leaf_body() -> impl Strategy<Value = Body> {
    prop_oneof![
        4 => content().prop_map(|(size, content)| Body::File { size, content }),
        1 => vec(1..=255_u8, 1..100).prop_map(|target| Body::Symlink { target: target.into() }),
        1 => Just(Body::Fifo),
        1 => Just(Body::Socket),
        1 => any::<u32>().prop_map(|rdev| Body::CharDevice { rdev }),
        1 => any::<u32>().prop_map(|rdev| Body::BlockDevice { rdev }),
    ]
}

fn directory() -> impl Strategy<Value = Body> {
    prop_oneof![
        Just(Body::Directory { root: None, subdirs: 0 }),
        node_ref().prop_flat_map(|root| (0..=root.count)
            .prop_map(move |subdirs| Body::Directory { root: Some(root), subdirs })),
    ]
}

fn inode(body: impl Strategy<Value = Body>) -> impl Strategy<Value = Inode> {
    (2..=INO_MAX, meta(), body).prop_map(|(ino, meta, body)| Inode { ino: Ino(ino), meta, body })
}

pub(super) fn entry() -> impl Strategy<Value = Entry> {
    prop_oneof![
        6 => inode(leaf_body()).prop_map(Entry::Inode),
        2 => inode(directory()).prop_map(Entry::Inode),
        1 => (2..=INO_MAX).prop_map(|ino| Entry::Link(Ino(ino))),
    ]
}

pub(super) fn linked() -> impl Strategy<Value = Linked> {
    let names = btree_set((1..=INO_MAX, name()), 1..6);
    (inode(leaf_body()), names).prop_map(|(inode, names)| Linked {
        inode,
        names: names.into_iter().map(|(parent, name)| (Ino(parent), name)).collect(),
    })
}

pub(super) fn snapshot() -> impl Strategy<Value = Snapshot> {
    let root = inode(directory()).prop_map(|inode| Inode { ino: Ino::ROOT, ..inode });
    let words = ("\\PC{0,20}", "\\PC{0,200}");
    let figures = (2..=INO_MAX, any::<u64>(), any::<u64>());
    (root, option::of(node_ref()), vec(hash(), 0..=16), any::<i64>(), words, figures).prop_map(
        |(root, links, parents, time, (author, message), (next_ino, files, bytes))| Snapshot {
            root,
            links,
            parents,
            time: Time { ns: time },
            author,
            message,
            next_ino: Ino(next_ino),
            files,
            bytes,
        },
    )
}

pub(super) fn ref_body() -> impl Strategy<Value = RefBody> {
    (any::<u64>(), option::of(hash()), any::<u64>(), any::<u128>()).prop_map(
        |(generation, snapshot, gc_epoch, attempt)| RefBody {
            generation,
            snapshot,
            gc_epoch,
            attempt,
        },
    )
}

pub(super) fn directory_entries() -> impl Strategy<Value = BTreeMap<Name, Entry>> {
    btree_map(name(), entry(), 1..20)
}

pub(super) fn link_entries() -> impl Strategy<Value = BTreeMap<Ino, Linked>> {
    vec(linked(), 1..20)
        .prop_map(|all| all.into_iter().map(|linked| (linked.inode.ino, linked)).collect())
}

pub(super) fn piece_entries() -> impl Strategy<Value = BTreeMap<u64, Piece>> {
    let places = btree_set(0..1_u64 << 36, 1..20);
    (places, vec(data_piece(), 20)).prop_map(|(places, pieces): (BTreeSet<u64>, Vec<Piece>)| {
        let max = u64::from(CHUNK_MAX_BYTES);
        places.into_iter().map(|place| place * max).zip(pieces).collect()
    })
}
