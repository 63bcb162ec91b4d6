//! What is fetched, and once for all who want it.

use super::*;

#[test]
fn small_files_in_order_take_few_requests() {
    let bench = Bench::new();
    let pack = noise(4 << 20, 1);
    let (key, cache) = (bench.plant(&pack), bench.cache(LOTS));
    run(async {
        for at in (0..pack.len() as u64).step_by(4096) {
            let read = bench.asked(&cache, &key, Some(at..at + 4096), false).await;
            assert_eq!(read, pack[at as usize..at as usize + 4096]);
        }
    });
    let spans: Vec<u64> = bench.reads().iter().map(|it| it.as_ref().unwrap().end >> 18).collect();
    // In spans of 256 KiB: 1, 2 more, 4 more, 8 more, and the rest.
    assert_eq!(spans, [1, 3, 7, 15, 31]);
}

#[test]
fn one_small_range_fetches_its_span_and_a_large_one_itself() {
    let bench = Bench::new();
    let (one, two) = (bench.plant(&noise(4 << 20, 1)), bench.plant(&noise(4 << 20, 2)));
    let cache = bench.cache(LOTS);
    bench.read(&cache, &one, Some(1_000_000..1_000_100));
    assert_eq!(bench.reads(), [Some(768 << 10..1 << 20)]);
    // Without what is there already.
    bench.read(&cache, &one, Some(700_000..700_100));
    assert_eq!(bench.reads(), [Some(512 << 10..768 << 10)]);
    bench.read(&cache, &two, Some(5..5 + (1 << 20)));
    assert_eq!(bench.reads(), [Some(5..5 + (1 << 20))]);
    // Its slots that were whole are there.
    bench.read(&cache, &two, Some(65_536..500_000));
    assert_eq!(bench.reads(), []);
}

#[test]
fn what_is_on_its_way_is_not_asked_for_again() {
    let bench = Bench::new();
    let pack = noise(4 << 20, 1);
    let (key, cache) = (bench.plant(&pack), bench.cache(LOTS));
    run(async {
        let ranges = (0..60).map(|n| n * 4096..n * 4096 + 4096);
        let reads = ranges.map(|range| bench.unsettled(&cache, &key, Some(range), false));
        for (n, read) in join_all(reads).await.into_iter().enumerate() {
            assert_eq!(read, pack[n * 4096..n * 4096 + 4096]);
        }
        assert_eq!(bench.reads().len(), 1);
        join_all((0..9).map(|_| bench.unsettled(&cache, &key, None, false))).await;
        assert_eq!(bench.reads(), [None]);
    });
}

#[test]
fn what_has_come_and_is_not_on_the_disk_yet_is_not_asked_for_again() {
    let bench = Bench::new();
    let pack = noise(200_000, 1);
    let (key, cache) = (bench.plant(&pack), bench.cache(LOTS));
    let (other, dir) = (bench.plant(b"other"), bench.dir.path().join("cache"));
    bench.read(&cache, &other, None);
    // Whoever writes an entry waits for this.
    let total = fs::File::open(dir.join("total")).unwrap();
    run(async {
        rustix::fs::flock(&total, rustix::fs::FlockOperation::LockExclusive).unwrap();
        bench.reads();
        for range in [0..4096, 90_000..150_000, 199_000..300_000] {
            let read = bench.unsettled(&cache, &key, Some(range.clone()), false).await;
            assert_eq!(read, pack[range.start as usize..(range.end as usize).min(pack.len())]);
        }
        assert_eq!(bench.unsettled(&cache, &key, None, false).await, pack);
        assert_eq!(bench.reads(), [Some(0..256 << 10)]);
        assert_eq!(cache.counts().kept_bytes, 5);
        rustix::fs::flock(&total, rustix::fs::FlockOperation::Unlock).unwrap();
        assert_eq!(bench.asked(&cache, &key, None, false).await, pack);
        assert_eq!(bench.reads(), []);
        assert_eq!(cache.counts().kept_bytes, 200_005);
    });
}
