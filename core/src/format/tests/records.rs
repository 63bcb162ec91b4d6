//! Every record decodes to what was encoded, and only from its canonical bytes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::arb;
use crate::format::tree::encode_node;
use crate::format::{
    Access, Directories, FormatError, Hash, Header, HeaderError, Links, NodeDraft, NodeError,
    NodePacker, NodePlace, NodeRef, ObjectKind, ObjectName, PackBuilder, Pieces, RefBody, RefKind,
    RefNameFault, Snapshot, TreeKind, TreeNode, Verified, decode_node, decode_xattrs,
    encode_xattrs, object_key, packed_parts, parse_object_key, parse_ref_key, ref_key,
};
use crate::shapes::Slice;
use crate::words::{Ino, Time};

pub(super) fn verified(bytes: Vec<u8>) -> Verified {
    Verified::check(&Hash::of(&bytes), bytes).unwrap()
}

/// The node laid alone, and a reference to it.
pub(super) fn stored<T: TreeKind>(node: &TreeNode<T>) -> (NodeRef, Vec<u8>) {
    let bytes = encode_node(node.level(), node);
    let hash = Hash::of(&bytes);
    let refs = (0..node.len()).filter_map(|index| node.item(index).1.node()).collect();
    let mut packer = NodePacker::new(4 << 20);
    assert_eq!(packer.push(&NodeDraft::new(hash, bytes, refs)), Ok(None));
    let pack = packer.close().unwrap();
    let mut node = NodeRef { hash, level: node.level(), count: node.count(), place: None };
    packer.locate(&mut node);
    (node, pack.to_bytes())
}

/// Where the nodes are that a node names.
pub(super) fn places<T: TreeKind>(node: &TreeNode<T>) -> Vec<Option<NodePlace>> {
    let refs = (0..node.len()).filter_map(|index| node.item(index).1.node());
    refs.map(|node| node.place).collect()
}

fn leaf_round_trip<T: TreeKind>(entries: BTreeMap<T::Key, T::Value>) -> Result<(), TestCaseError> {
    let node = TreeNode::<T>::Leaf(entries.into_iter().collect());
    let (at, bytes) = stored(&node);
    let decoded = decode_node::<T>(&at, &bytes).unwrap();
    prop_assert_eq!(places(&decoded), places(&node));
    prop_assert_eq!(decoded, node);
    let above = NodeRef { level: 1, ..at };
    prop_assert!(decode_node::<T>(&above, &bytes).is_err());
    let other = NodeRef { hash: Hash([7; 32]), ..at };
    let damaged = matches!(decode_node::<T>(&other, &bytes), Err(NodeError::Damaged(_)));
    prop_assert!(damaged);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn snapshot_decodes_to_what_was_encoded(snapshot in arb::snapshot()) {
        let sealed = snapshot.seal().unwrap();
        let bytes = Verified::check(&sealed.hash(), sealed.to_bytes()).unwrap();
        let decoded = Snapshot::decode(&bytes).unwrap();
        let places = |snapshot: &Snapshot| {
            let roots = snapshot.root.tree().into_iter().chain(&snapshot.links);
            roots.map(|root| root.place).collect::<Vec<_>>()
        };
        prop_assert_eq!(places(&decoded), places(&snapshot));
        prop_assert_eq!(decoded, snapshot);
    }

    #[test]
    fn ref_body_decodes_to_what_was_encoded(body in arb::ref_body()) {
        prop_assert_eq!(RefBody::decode(&body.encode()), Ok(body));
    }

    #[test]
    fn xattrs_decode_to_what_was_encoded(map in arb::xattr_map(5000)) {
        prop_assert_eq!(decode_xattrs(&verified(encode_xattrs(&map))), Ok(map));
    }

    #[test]
    fn directory_leaf_decodes_to_what_was_encoded(entries in arb::directory_entries()) {
        leaf_round_trip::<Directories>(entries)?;
    }

    #[test]
    fn link_leaf_decodes_to_what_was_encoded(entries in arb::link_entries()) {
        leaf_round_trip::<Links>(entries)?;
    }

    #[test]
    fn piece_leaf_decodes_to_what_was_encoded(entries in arb::piece_entries()) {
        leaf_round_trip::<Pieces>(entries)?;
    }

    #[test]
    fn object_key_parses_to_what_it_names(hash in arb::hash(), copy in any::<u32>()) {
        for kind in [ObjectKind::Chunk, ObjectKind::Tree] {
            let name = ObjectName { hash, copy };
            prop_assert_eq!(parse_object_key(&object_key(kind, &name)), Some((kind, name)));
        }
    }

    #[test]
    fn ref_key_parses_to_the_name(name in "[a-zA-Z0-9._/-]{1,30}") {
        if let Ok(key) = ref_key(RefKind::Branch, &name) {
            prop_assert_eq!(parse_ref_key(RefKind::Branch, &key), Some(name));
        }
    }

    #[test]
    fn pack_holds_every_content_where_it_says(
        contents in prop::collection::vec(prop::collection::vec(0..3_u8, 1..6), 1..40)
    ) {
        let mut pack = PackBuilder::new(64 << 10);
        let mut places = Vec::new();
        for content in &contents {
            prop_assert!(pack.has_room(content.len() as u64));
            places.push(pack.push(vec![Slice::whole(content.clone())]));
        }
        let (object, stored) = pack.finish();
        let bytes = object.to_bytes();
        let mut sum = 0;
        for (content, place) in contents.iter().zip(&places) {
            let from = usize::try_from(place.offset).unwrap();
            prop_assert_eq!(&bytes[from..from + content.len()], &content[..]);
            prop_assert_eq!(place.hash, Hash::of(content));
            prop_assert!(stored.contains(place));
        }
        for place in &stored {
            prop_assert_eq!(place.offset, sum);
            sum += place.len;
        }
        prop_assert_eq!(sum, object.len_bytes(), "equal contents are stored once");
    }
}

#[test]
fn pack_ends_at_the_chunk_size() {
    let mut pack = PackBuilder::new(64 << 10);
    assert!(pack.has_room(128 << 10), "an empty pack has room for whatever may be packed");
    pack.push(vec![Slice::whole(vec![1; 60_000])]);
    assert!(pack.has_room(5_536) && !pack.has_room(5_537) && !pack.full());
    pack.push(vec![Slice::whole(vec![2; 5_536])]);
    assert!(pack.full());
}

#[test]
fn verified_refuses_other_bytes() {
    let mismatch = Verified::check(&Hash::of(b"a"), b"b".to_vec()).unwrap_err();
    assert_eq!(mismatch.found, Hash::of(b"b"));
}

#[test]
fn hash_reads_its_own_digits_and_nothing_else() {
    let hash = Hash::of(b"x");
    let digits = hash.to_string();
    assert_eq!(Hash::from_hex(&digits), Some(hash));
    assert_eq!(Hash::from_hex(&digits.to_uppercase()), None);
    assert_eq!(Hash::from_hex(&digits[1..]), None);
    assert_eq!(Hash::from_hex(&format!("{digits}0")), None);
}

#[test]
fn refs_have_names_like_those_of_git() {
    let key = |name: &str| ref_key(RefKind::Branch, name).map_err(|error| error.why);
    assert_eq!(key("main"), Ok("refs/branches/main".to_owned()));
    assert_eq!(key("v1.2/fix_a-b"), Ok("refs/branches/v1.2..fix_a-b".to_owned()));
    assert_eq!(ref_key(RefKind::Tag, "t").unwrap(), "refs/tags/t");
    assert_eq!(ref_key(RefKind::Pin, "p").unwrap(), "refs/pins/p");
    assert_eq!(key(""), Err(RefNameFault::Empty));
    assert_eq!(key(&"a".repeat(201)), Err(RefNameFault::Long));
    for bad in ["/a", "a/", "a//b"] {
        assert_eq!(key(bad), Err(RefNameFault::Slash), "{bad}");
    }
    for bad in [".a", "a/.b", "a..b", "a.", "a./b", "-a", "..", "."] {
        assert_eq!(key(bad), Err(RefNameFault::Dot), "{bad}");
    }
    assert_eq!(key("a.lock"), Err(RefNameFault::Lock));
    for bad in ["a b", "ä", "a@{0}", "a\n", "a\\b"] {
        assert_eq!(key(bad), Err(RefNameFault::Letter), "{bad}");
    }
    let error = ref_key(RefKind::Branch, "a\n").unwrap_err();
    assert!(error.to_string().starts_with("`a\\n` can't be the name of a ref: use only"));
}

#[test]
fn header_decodes_to_what_was_encoded() {
    let header = Header::new(4 << 20, Time { ns: 1_700_000_000_123_456_789 });
    let decoded = Header::decode(&header.encode().unwrap()).unwrap();
    assert_eq!(decoded, header);
    assert_eq!(decoded.access(), Access::ReadWrite);
}

#[test]
fn header_says_what_is_too_new_or_too_old() {
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let bytes = Header::new(64 << 10, Time::default()).encode().unwrap();
        let mut json = serde_json::from_slice(&bytes).unwrap();
        change(&mut json);
        Header::decode(&serde_json::to_vec(&json).unwrap())
    };
    let newer = with(&|json| json["vellum"] = 3.into()).unwrap_err();
    let text = "made by a newer Vellum (format 3; this program reads up to 2): upgrade";
    assert_eq!(newer.to_string(), text);
    let older = with(&|json| json["vellum"] = 1.into());
    assert_eq!(older, Err(HeaderError::OlderFormat { format: 1 }));
    let feature = || Vec::from(["frob".to_owned()]);
    assert_eq!(
        with(&|json| json["read_features"] = feature().into()),
        Err(HeaderError::NewerFeature { feature: "frob".to_owned() })
    );
    let header = with(&|json| json["write_features"] = feature().into()).unwrap();
    assert_eq!(header.access(), Access::ReadOnly { feature: "frob".to_owned() });
    assert_eq!(with(&|json| json["more"] = 1.into()), Err(HeaderError::NotAHeader));
    assert_eq!(
        with(&|json| json["chunk_bytes"] = 100_000.into()),
        Err(HeaderError::ChunkSize { chunk_bytes: 100_000 })
    );
    assert!(with(&|json| json["hash"] = "md5".into()).is_err());
    assert_eq!(Header::decode(b"{}"), Err(HeaderError::NotAHeader));
}

#[test]
fn only_the_canonical_bytes_are_accepted() {
    let body = RefBody { generation: 1, snapshot: None, gc_epoch: 0, attempt: 2 };
    let bytes = body.encode();
    let mut long = bytes.clone();
    assert_eq!(long[2], 1);
    long.splice(2..3, [0x18, 1]);
    assert_eq!(RefBody::decode(&long), Err(FormatError::NotCanonical { record: "ref" }));
    let mut more = bytes.clone();
    more[0] += 1;
    more.push(0);
    let fields = FormatError::Malformed { record: "ref", field: "fields" };
    assert_eq!(RefBody::decode(&more), Err(fields), "an unknown field");
    let mut tail = bytes;
    tail.push(0);
    let end = FormatError::Malformed { record: "ref", field: "end" };
    assert_eq!(RefBody::decode(&tail), Err(end));
}

#[test]
fn a_snapshot_that_a_reader_would_refuse_is_not_sealed() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let snapshot = arb::snapshot().new_tree(&mut runner).unwrap().current();
    assert!(snapshot.seal().is_ok());
    for (author, message) in [(1025, 0), (0, (64 << 10) + 1)] {
        let (author, message) = ("a".repeat(author), "m".repeat(message));
        let refused = Snapshot { author, message, ..snapshot.clone() }.seal();
        assert!(matches!(refused, Err(FormatError::TooLarge { .. })), "{refused:?}");
    }
    assert!(Snapshot { next_ino: Ino::ROOT, ..snapshot }.seal().is_err());
}

#[test]
fn a_packed_file_of_too_many_parts_is_one() {
    let parts = |count: u64, first: u64| -> Vec<_> {
        (0..count).map(|index| first + index * 10..first + index * 10 + 5).collect()
    };
    let whole = |size| std::iter::once(0..size).collect::<Vec<_>>();
    // Eight parts and eight holes may stand in an inode; one more hole or part may not.
    assert_eq!(packed_parts(parts(8, 0), 80), parts(8, 0));
    assert_eq!(packed_parts(parts(8, 5), 80), parts(8, 5));
    assert_eq!(packed_parts(parts(8, 5), 81), whole(81));
    assert_eq!(packed_parts(parts(9, 0), 90), whole(90));
    assert_eq!(packed_parts(Vec::new(), 90), []);
}
