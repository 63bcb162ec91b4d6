//! A tree depends on its entries alone, whatever its history.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::format::bounds::CHUNK_MIN_BYTES;
use crate::format::tree::{Split, build_with, update_with};
use crate::format::{
    Body, Built, Directories, Entry, FormatError, Hash, Inode, Linked, Links, Meta, NodeDraft,
    NodePacker, NodeRef, ObjectName, Part, Piece, Pieces, TreeKind, TreeNode, UpdateError,
    XattrMap, Xattrs, build, covering, decode_node, get, scan, update,
};
use crate::shapes::Name;
use crate::sync::Arc;
use crate::words::{Ino, Time};

/// All nodes ever made, of which only the asked-for ones are loaded.
struct Store<T: TreeKind> {
    /// Hashes of all nodes that were laid.
    nodes: BTreeSet<Hash>,
    packer: NodePacker,
    packs: HashMap<ObjectName, Vec<u8>>,
    loaded: RefCell<HashMap<Hash, Arc<TreeNode<T>>>>,
    loads: Cell<usize>,
}

impl<T: TreeKind> Store<T> {
    fn new() -> Self {
        Self {
            nodes: BTreeSet::new(),
            packer: NodePacker::new(CHUNK_MIN_BYTES),
            packs: HashMap::new(),
            loaded: RefCell::default(),
            loads: Cell::new(0),
        }
    }

    /// Lays the nodes of a tree; answers its root.
    fn keep(&mut self, built: &Built) -> Option<NodeRef> {
        self.nodes.extend(built.nodes.iter().map(NodeDraft::hash));
        let mut packs = self.packer.push_all(&built.nodes).unwrap();
        packs.extend(self.packer.close());
        let packs = packs.into_iter();
        self.packs.extend(packs.map(|pack| (ObjectName::first(pack.hash()), pack.to_bytes())));
        let mut root = built.root;
        root.iter_mut().for_each(|root| self.packer.locate(root));
        root
    }

    fn node(&self, hash: &Hash) -> Option<Arc<TreeNode<T>>> {
        self.loaded.borrow().get(hash).cloned()
    }

    fn load(&self, missing: &[NodeRef]) {
        let unique: BTreeSet<_> = missing.iter().map(|node| node.hash).collect();
        assert_eq!(unique.len(), missing.len(), "a node is asked for once");
        for node in missing {
            let place = node.place.expect("a node that lies somewhere names none that does not");
            let range = place.range();
            let bytes = &self.packs[&place.object][range.start as usize..range.end as usize];
            let decoded = decode_node::<T>(node, bytes).unwrap();
            assert!(self.loaded.borrow_mut().insert(node.hash, Arc::new(decoded)).is_none());
            self.loads.set(self.loads.get() + 1);
        }
    }

    /// Repeats a call until all nodes that it needs are loaded.
    fn complete<R>(&self, call: impl Fn() -> Result<R, UpdateError>) -> R {
        loop {
            match call() {
                Ok(outcome) => return outcome,
                Err(UpdateError::Missing(missing)) => self.load(&missing),
                Err(error @ UpdateError::Format(_)) => panic!("{error}"),
            }
        }
    }

    fn update(
        &self,
        split: &Split,
        root: Option<&NodeRef>,
        changes: &BTreeMap<T::Key, Option<T::Value>>,
    ) -> Built {
        self.loaded.borrow_mut().clear();
        self.complete(|| update_with::<T>(split, root, changes, &|hash| self.node(hash)))
    }
}

/// The one that the format prescribes.
fn real_split() -> Split {
    Split { bits: 8, max_entries: 1024, max_bytes: 256 << 10 }
}

fn number_name(number: u32) -> Name {
    format!("{number:05}").into_bytes().into()
}

fn link(ino: u64) -> Entry {
    Entry::Link(Ino(ino + 2))
}

type Edits = BTreeMap<u32, Option<u64>>;

fn splits() -> impl Strategy<Value = Split> {
    (1..=3_u32, 2..=8_usize, prop_oneof![Just(24_usize), Just(40), Just(10_000)])
        .prop_map(|(bits, max_entries, max_bytes)| Split { bits, max_entries, max_bytes })
}

/// Applies rounds of edits by update and checks each outcome against build.
fn check_history<T: TreeKind>(
    split: &Split,
    rounds: &[BTreeMap<T::Key, Option<T::Value>>],
) -> Result<(), TestCaseError> {
    let mut entries = BTreeMap::new();
    let mut store = Store::<T>::new();
    let mut root = None;
    for edits in rounds {
        let updated = store.update(split, root.as_ref(), edits);
        for (key, value) in edits {
            match value {
                Some(value) => entries.insert(key.clone(), value.clone()),
                None => entries.remove(key),
            };
        }
        let built = build_with::<T>(split, entries.clone().into_iter()).unwrap();
        prop_assert_eq!(updated.root, built.root);
        let of_tree: BTreeSet<_> = built.nodes.iter().map(|node| node.hash()).collect();
        let new: BTreeSet<_> = updated.nodes.iter().map(|node| node.hash()).collect();
        prop_assert_eq!(new.len(), updated.nodes.len());
        for hash in &new {
            prop_assert!(of_tree.contains(hash), "a node that no parent names");
            prop_assert!(!store.nodes.contains(hash) || root != built.root);
        }
        root = store.keep(&updated);
        for hash in &of_tree {
            prop_assert!(store.nodes.contains(hash), "a node is left out");
        }
        let listed = store.complete(|| {
            scan::<T>(root.as_ref(), None, None, usize::MAX, &|hash| store.node(hash))
        });
        prop_assert!(listed.into_iter().eq(entries.clone()));
    }
    Ok(())
}

fn names(edits: &Edits) -> BTreeMap<Name, Option<Entry>> {
    edits.iter().map(|(key, value)| (number_name(*key), value.map(link))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn update_makes_the_tree_that_build_makes(
        split in splits(),
        first in btree_map(0..400_u32, (0..9_u64).prop_map(Some), 0..200),
        later in vec(btree_map(0..400_u32, prop::option::of(0..1_u64 << 40), 0..12), 1..6),
    ) {
        let rounds: Vec<_> = [first].iter().chain(&later).map(names).collect();
        check_history::<Directories>(&split, &rounds)?;
    }

    #[test]
    fn removing_most_or_all_of_a_tree_shrinks_it(
        split in splits(),
        keys in prop::collection::btree_set(0..1000_u32, 1..150),
        keep in vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let keys: Vec<_> = keys.into_iter().collect();
        let kept: BTreeSet<_> = keep.iter().map(|index| *index.get(&keys)).collect();
        let insert: Edits = keys.iter().map(|key| (*key, Some(1))).collect();
        let remove = keys.iter().filter(|key| !kept.contains(key)).map(|key| (*key, None));
        let rounds = [names(&insert), names(&remove.collect()), names(&insert)];
        check_history::<Directories>(&split, &rounds)?;
    }

    #[test]
    fn piece_trees_find_what_covers_a_range(
        split in splits(),
        places in prop::collection::btree_map(0..300_u64, 1..=10_u64, 1..100),
        from in 0..3100_u64,
        len in 1..200_u64,
        most in 1..30_usize,
    ) {
        let piece = |place: u64, len| Piece::whole(Hash::of(&place.to_le_bytes()), len);
        let entries = places.iter().map(|(place, len)| (place * 10, piece(*place, *len)));
        let entries: Vec<_> = entries.collect();
        let built = build_with::<Pieces>(&split, entries.clone().into_iter()).unwrap();
        let mut store = Store::<Pieces>::new();
        let root = store.keep(&built);
        let root = root.as_ref();
        let found = store.complete(|| {
            covering(root, from..from + len, most, &|hash| store.node(hash))
        });
        let end = |(at, piece): &(u64, Piece)| at + piece.len_bytes();
        let overlaps = |entry: &(u64, Piece)| entry.0 < from + len && end(entry) > from;
        prop_assert_eq!(found, entries.into_iter().filter(overlaps).take(most).collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn with_the_real_parameters_too(
        seed in any::<u32>(),
        later in vec(btree_map(0..30_000_u32, prop::option::of(0..1_u64 << 40), 0..200), 1..4),
    ) {
        let first: Edits =
            (0..30_000).step_by(7).map(|key| (key, Some(u64::from(key ^ seed)))).collect();
        let rounds: Vec<_> = [first].iter().chain(&later).map(names).collect();
        check_history::<Directories>(&real_split(), &rounds)?;
    }
}

fn wide_tree() -> (BTreeMap<Name, Entry>, Built, Store<Directories>) {
    let entries: BTreeMap<_, _> =
        (0..100_000).map(|number| (number_name(number), link(u64::from(number)))).collect();
    let mut built = build::<Directories>(entries.clone().into_iter()).unwrap();
    let mut store = Store::new();
    built.root = store.keep(&built);
    (entries, built, store)
}

#[test]
fn one_change_reads_and_writes_one_path() {
    let (mut entries, built, store) = wide_tree();
    let changes = BTreeMap::from([(number_name(50_000), Some(link(7)))]);
    let split = Split { bits: 8, max_entries: 1024, max_bytes: 256 << 10 };
    let updated = store.update(&split, built.root.as_ref(), &changes);
    let height = usize::from(built.root.unwrap().level) + 1;
    assert_eq!(store.loads.get(), height);
    assert_eq!(updated.nodes.len(), height);
    entries.insert(number_name(50_000), link(7));
    assert_eq!(updated.root, build::<Directories>(entries.into_iter()).unwrap().root);
}

#[test]
fn a_change_that_changes_nothing_makes_nothing() {
    let (_, built, store) = wide_tree();
    let changes = BTreeMap::from([
        (number_name(50_000), Some(link(50_000))),
        (b"no such name"[..].into(), None),
    ]);
    let nodes = |hash: &Hash| store.node(hash);
    let updated = store.complete(|| update::<Directories>(built.root.as_ref(), &changes, &nodes));
    assert_eq!(updated, Built { root: built.root, nodes: Vec::new() });
}

#[test]
fn missing_nodes_are_named_all_at_once() {
    let (_, built, store) = wide_tree();
    let changes: BTreeMap<_, _> =
        (0..100_000).step_by(10_000).map(|number| (number_name(number), Some(link(1)))).collect();
    let mut rounds = Vec::new();
    let updated = loop {
        let nodes = |hash: &Hash| store.node(hash);
        match update::<Directories>(built.root.as_ref(), &changes, &nodes) {
            Ok(updated) => break updated,
            Err(UpdateError::Missing(missing)) => {
                rounds.push(missing.len());
                store.load(&missing);
            }
            Err(error @ UpdateError::Format(_)) => panic!("{error}"),
        }
    };
    assert!(updated.nodes.len() > 10);
    let height = usize::from(built.root.unwrap().level) + 1;
    assert_eq!(rounds.len(), height, "one round for each level: {rounds:?}");
    assert_eq!(rounds.last(), Some(&10));
}

#[test]
fn get_and_scan_read_only_what_they_need() {
    let (entries, built, store) = wide_tree();
    let root = built.root.as_ref();
    let height = usize::from(built.root.unwrap().level) + 1;
    let key = number_name(77_777);
    let value = store.complete(|| get::<Directories>(root, &key, &|hash| store.node(hash)));
    assert_eq!(value.as_ref(), entries.get(&key));
    assert_eq!(store.loads.get(), height);
    let absent: Name = b"77777a"[..].into();
    let found = store.complete(|| get::<Directories>(root, &absent, &|hash| store.node(hash)));
    assert_eq!(found, None);
    let (from, to) = (number_name(77_000), number_name(77_010));
    let nodes = |hash: &Hash| store.node(hash);
    let some = store.complete(|| scan::<Directories>(root, Some(&from), Some(&to), 1000, &nodes));
    assert!(some.into_iter().map(|(name, _)| name).eq((77_000..77_010).map(number_name)));
    let first = store.complete(|| scan::<Directories>(root, Some(&from), None, 3, &nodes));
    assert_eq!(first.len(), 3);
    assert!(store.loads.get() <= height + 4, "{} loads", store.loads.get());
}

#[test]
fn nodes_keep_to_their_caps() {
    let never = |number: &u32| Hash::of(&number_name(*number)).0[0] != 0;
    let entries = (0..5_000).filter(never).map(|number| (number_name(number), link(9)));
    let built = build::<Directories>(entries).unwrap();
    let mut store = Store::<Directories>::new();
    let root = store.keep(&built).unwrap();
    store.load(&[root]);
    let root = store.node(&root.hash).unwrap();
    let Part::Children(children) = root.range(None, None) else { panic!("a leaf") };
    let counts: Vec<_> = children.iter().map(|child| child.node.count).collect();
    assert!(counts[..counts.len() - 1].iter().all(|count| *count == 1024), "{counts:?}");
}

#[test]
fn the_largest_entries_fit_their_nodes() {
    fn check<T: TreeKind>(entries: Vec<(T::Key, T::Value)>) {
        let built = build::<T>(entries.clone().into_iter()).unwrap();
        let mut store = Store::<T>::new();
        let root = store.keep(&built);
        let root = root.as_ref();
        let nodes = |hash: &Hash| store.node(hash);
        let read = store.complete(|| scan::<T>(root, None, None, usize::MAX, &nodes));
        assert!(read == entries);
    }
    let pair = (b"user.x"[..].into(), vec![0; 4085].into());
    let meta = Meta {
        mode: 0o7777,
        uid: u32::MAX,
        gid: u32::MAX,
        mtime: Time { ns: i64::MIN },
        ctime: Time { ns: i64::MIN },
        xattrs: Xattrs::Inline(XattrMap::from([pair])),
    };
    let inode = |below: u64| Inode {
        ino: Ino(i64::MAX as u64 - below),
        meta: meta.clone(),
        body: Body::Symlink { target: vec![b'x'; 4095].into() },
    };
    let name = |number: u64| Name::from(format!("{number:0>255}").into_bytes());
    check::<Directories>((0..200).map(|at| (name(at), Entry::Inode(inode(at)))).collect());
    let parent = Ino(i64::MAX as u64);
    let linked = |at, names| Linked {
        inode: inode(at),
        names: (0..names).map(|number| (parent, name(number))).collect(),
    };
    // The inode before the one with most names fills its node almost, as far as one can.
    let links = [linked(2, 900), linked(1, 65_000)];
    check::<Links>(links.map(|linked| (linked.inode.ino, linked)).into());
}

#[test]
fn a_tree_that_a_reader_would_refuse_is_not_made() {
    let unsorted = Err(FormatError::Unsorted { record: "piece node", field: "entries" });
    let piece = |at: u64, len| (at, Piece::whole(Hash::of(&at.to_le_bytes()), len));
    // The same in one node and across the end of one.
    for split in [real_split(), Split { bits: 1, max_entries: 1, max_bytes: 1 << 10 }] {
        let build = |entries: Vec<_>| build_with::<Pieces>(&split, entries.into_iter());
        assert_eq!(build(vec![piece(0, 10), piece(9, 10)]), unsorted);
        assert_eq!(build(vec![piece(10, 1), piece(0, 1)]), unsorted);
        assert!(build(vec![(0, Piece::Hole { len: 1 })]).is_err());

        let entries: Vec<_> = (0..50).map(|index| piece(index * 10, 10)).collect();
        let built = build(entries).unwrap();
        let mut store = Store::<Pieces>::new();
        let root = store.keep(&built).unwrap();
        for (at, len) in [(100, 11), (105, 5), (490, 1 << 40)] {
            let changes = BTreeMap::from([(at, Some(piece(at, len).1))]);
            let updated = loop {
                match update_with::<Pieces>(&split, Some(&root), &changes, &|h| store.node(h)) {
                    Err(UpdateError::Missing(missing)) => store.load(&missing),
                    outcome => break outcome,
                }
            };
            assert!(matches!(updated, Err(UpdateError::Format(_))), "{at}: {updated:?}");
        }
    }
    let name = |text: &str| Name::from(text.as_bytes());
    let entries = ["b", "a"].map(|text| (name(text), Entry::Link(Ino(2))));
    assert!(build::<Directories>(entries.into_iter()).is_err());
    assert!(build::<Directories>([(name("a/b"), Entry::Link(Ino(2)))].into_iter()).is_err());
}
