//! Reading bytes that somebody made up takes memory in proportion to them.
#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use vellum_core::format::{
    Directories, Entry, Hash, Hashed, Links, NodePlace, NodeRef, ObjectName, Pieces, RefBody,
    Snapshot, TreeKind, Verified, XattrMap, build, decode_node, decode_xattrs, encode_xattrs,
    node_hash,
};
use vellum_core::words::Ino;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// Counts what this thread holds.
struct Counting;

fn count(change: isize) {
    let live = LIVE.get() + change;
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
}

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`, which is that of the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: `at` came from `alloc` above with this layout.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A node has at most 1,024 entries, whatever they take; beyond that, in proportion to the input.
fn most_memory(input: usize) -> usize {
    (1 << 20) + 32 * input
}

fn decode_as_everything(bytes: &[u8]) {
    let verified = Verified::check(&Hash::of(bytes), bytes.to_vec()).unwrap();
    let place = NodePlace::of(ObjectName::first(Hash([3; 32])), 0, bytes);
    let node = NodeRef { hash: node_hash(bytes), level: 0, count: 1, place: Some(place) };
    let before = LIVE.get();
    PEAK.set(before);
    for level in 0..2 {
        let node = NodeRef { level, ..node };
        let _ = decode_node::<Directories>(&node, bytes);
        let _ = decode_node::<Links>(&node, bytes);
        let _ = decode_node::<Pieces>(&node, bytes);
    }
    let _ = Snapshot::decode(&verified);
    let _ = RefBody::decode(bytes);
    let _ = decode_xattrs(&verified);
    let peak = usize::try_from(PEAK.get() - before).unwrap();
    let most = most_memory(bytes.len());
    assert!(peak <= most, "{peak} bytes of memory for {} bytes", bytes.len());
}

#[test]
fn a_claimed_count_takes_no_memory() {
    let heads: [&[u8]; 4] = [&[0x9a], &[0x9b, 0, 0, 0, 0], &[0xba], &[0x5a]];
    for prefix in [&[0x84, 0, 0][..], &[0x84, 1, 0], &[0x84, 2, 1], &[]] {
        for head in heads {
            decode_as_everything(&[prefix, head, &[0x7f, 0xff, 0xff, 0xff], &[0; 100]].concat());
        }
    }
}

#[test]
fn memory_is_in_proportion_to_the_input() {
    fn nodes_of<T: TreeKind>(entries: impl Iterator<Item = (T::Key, T::Value)>) -> Vec<Vec<u8>> {
        // Each in an object of its own.
        let (_, packs) = build::<T>(entries).unwrap().laid(1).unwrap();
        packs.iter().map(Hashed::to_bytes).collect()
    }
    let name = |number: u64| format!("{number:06}").into_bytes();
    let entry = |number| (name(number).into(), Entry::Link(Ino(number + 2)));
    let mut inputs = nodes_of::<Directories>((0..20_000).map(entry));
    let pairs: XattrMap = (0..7_000).map(|number| (name(number).into(), b""[..].into())).collect();
    inputs.push(encode_xattrs(&pairs));
    // The smallest entries there are, as many as a node of each kind may claim.
    for item in [&[0x82, 0x41, b'a', 2][..], &[0x82, 2, 0x82], &[0x40]] {
        for tag in 0..3 {
            let mut bytes = vec![0x84, tag, 0, 0x99, 4, 0];
            bytes.extend(item.iter().cycle().take(200_000));
            inputs.push(bytes);
        }
    }
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for input in inputs {
        decode_as_everything(&input);
        for _ in 0..20 {
            let mut bytes = input.clone();
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = usize::try_from(random >> 33).unwrap() % bytes.len();
            bytes[at] ^= 1 << (random >> 60 & 7);
            decode_as_everything(&bytes);
        }
    }
}
