//! Reading what is not in memory: how often, and how far ahead.

use vellum_core::shapes::{Op, Reply};
use vellum_core::words::{Fh, Limits};
use vellum_sim::mount;

use crate::scene::{KIB, Scene, noise};

/// Chunks of the file that is read.
const CHUNKS: u64 = 64;

/// A mount with these limits, and a cold file of so many chunks.
fn cold(limits: Limits, chunks: u64) -> (Scene, Fh, Vec<u8>) {
    let mut scene = Scene::plain();
    let data = noise(chunks * 64 * KIB, 1);
    scene.file("a", &data);
    scene.committed();
    scene.limits = limits;
    scene.remount();
    let (_, fh) = scene.open("a");
    (scene, fh, data)
}

/// Reads as a thread of the kernel's side does.
fn read(scene: &mut Scene, fh: Fh, offset: u64, len: u64) -> Vec<u8> {
    let op = Op::Read { fh, offset, len: len as u32 };
    match mount::fast(&mut scene.world, scene.mount, op) {
        Ok(Reply::Data(data)) => data,
        other => panic!("{other:?}"),
    }
}

/// Reads all of the file in pieces of 16 KiB; how long it takes in virtual time, and how many
/// requests it costs.
fn read_in_order(limits: Limits, chunks: u64) -> (u64, u64) {
    let (mut scene, fh, data) = cold(limits, chunks);
    let (begun, gets) = (scene.world.now().mono_ns, scene.gets());
    for (index, expected) in data.chunks(16 << 10).enumerate() {
        assert_eq!(read(&mut scene, fh, index as u64 * 16 * KIB, 16 * KIB), expected);
    }
    (scene.world.now().mono_ns - begun, scene.gets() - gets)
}

#[test]
fn a_file_read_in_order_is_loaded_ahead() {
    let limits = |ahead_bytes| Limits { ahead_bytes, ..Limits::default() };
    let (one_by_one_ns, gets) = read_in_order(limits(0), CHUNKS);
    let (ahead_ns, gets_ahead) = read_in_order(limits(16 * 64 * KIB), CHUNKS);
    assert!(ahead_ns * 5 < one_by_one_ns, "{ahead_ns} ns, one by one {one_by_one_ns} ns");
    assert_eq!(gets_ahead, gets, "each chunk is fetched once");
}

#[test]
fn a_file_read_at_random_is_not_loaded_ahead() {
    let (mut scene, fh, data) = cold(Limits::default(), CHUNKS);
    read(&mut scene, fh, 0, 1);
    let gets = scene.gets();
    for step in 1..=20 {
        let at = (step * 29 % CHUNKS) * 64 * KIB + step * 100;
        let expected = &data[at as usize..(at + 4 * KIB) as usize];
        assert_eq!(read(&mut scene, fh, at, 4 * KIB), expected);
    }
    assert_eq!(scene.gets() - gets, 20);
}

#[test]
fn what_is_loaded_ahead_fits_into_memory_and_is_there_when_it_is_read() {
    let (memory_bytes, reserve_bytes) = (1 << 20, 128 * KIB);
    for ahead_bytes in [0, 256 * KIB, u64::MAX] {
        let limits = Limits { memory_bytes, reserve_bytes, ahead_bytes, ..Limits::default() };
        let (_, gets) = read_in_order(limits, CHUNKS);
        assert!(gets <= CHUNKS + 3, "{gets} gets with {ahead_bytes} bytes ahead");
    }
}

#[test]
fn a_file_that_is_read_in_order_again_from_elsewhere_is_loaded_ahead_again() {
    let (mut scene, fh, data) = cold(Limits::default(), CHUNKS);
    for at in [10, 11, 12, 13, 40, 41, 42] {
        let offset = at * 64 * KIB;
        let expected = &data[offset as usize..(offset + 64 * KIB) as usize];
        assert_eq!(read(&mut scene, fh, offset, 64 * KIB), expected);
    }
    scene.world.run_until_quiet();
    let gets = scene.gets();
    read(&mut scene, fh, 43 * 64 * KIB, 64 * KIB);
    assert_eq!(scene.gets(), gets, "the next chunk is there before it is read");
}

#[test]
fn a_layout_that_is_not_known_yet_does_not_end_reading_in_order() {
    // Its piece tree has several nodes, each of which is asked for when reading comes to it.
    let chunks = 1500;
    let (ahead_ns, gets) = read_in_order(Limits::default(), chunks);
    let (one_by_one_ns, _) = read_in_order(Limits { ahead_bytes: 0, ..Limits::default() }, chunks);
    assert!((chunks + 4..chunks + 30).contains(&gets), "{gets} gets");
    assert!(ahead_ns * 5 < one_by_one_ns, "{ahead_ns} ns, one by one {one_by_one_ns} ns");
}
