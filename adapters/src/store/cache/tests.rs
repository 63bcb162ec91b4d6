#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};

use std::time::SystemTime;

use futures::future::{BoxFuture, join_all};
use vellum_sim::store::Objects;

use super::super::testing::run;
use super::*;

mod flight;

/// A store in memory that remembers what was read of it.
struct Remembering {
    objects: Mutex<Objects>,
    reads: Mutex<Vec<Option<Range<u64>>>>,
    /// Answers to come that have a bit turned.
    wrong: AtomicU64,
}

impl ObjectStore for Remembering {
    fn request(&self, request: StoreRequest) -> BoxFuture<'static, StoreOutcome> {
        if let StoreRequest::Get { range, .. } = &request {
            self.reads.lock().push(range.clone());
        }
        let mut outcome = self.objects.lock().apply(&request);
        let take = |left: u64| left.checked_sub(1);
        if let StoreOutcome::Got { body, .. } = &mut outcome
            && self.wrong.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
        {
            let bytes = std::mem::take(body).into_vec();
            *body = bytes.into_iter().map(|byte| byte ^ 1).collect::<Vec<u8>>().into();
        }
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            outcome
        })
    }
}

struct Bench {
    dir: tempfile::TempDir,
    store: Arc<Remembering>,
}

/// Bytes that are nowhere alike.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn options(cache_size: u64) -> CacheOptions {
    CacheOptions { cache_dir: None, cache_size, min_free: MinFree::Bytes(0) }
}

impl Bench {
    fn new() -> Self {
        let store = Remembering {
            objects: Mutex::new(Objects::new(0)),
            reads: Mutex::default(),
            wrong: AtomicU64::new(0),
        };
        Self { dir: tempfile::tempdir().unwrap(), store: Arc::new(store) }
    }

    /// An object of these bytes in the store.
    fn plant(&self, bytes: &[u8]) -> Key {
        let hash = Hash::of(bytes).to_string();
        let key = format!("chunks/{}/{hash}", &hash[..2]);
        self.store.objects.lock().put(&key, bytes.to_vec());
        key
    }

    /// The cache, as another process has it.
    fn cache(&self, cache_size: u64) -> Cache {
        Cache::new(self.dir.path().join("cache"), &options(cache_size))
    }

    fn read(&self, cache: &Cache, key: &str, range: Option<Range<u64>>) -> Vec<u8> {
        run(self.asked(cache, key, range, false))
    }

    async fn asked(
        &self,
        cache: &Cache,
        key: &str,
        range: Option<Range<u64>>,
        fresh: bool,
    ) -> Vec<u8> {
        let got = self.unsettled(cache, key, range, fresh).await;
        // On a slow disk the answer comes before it is kept.
        cache.settle().await;
        got
    }

    async fn unsettled(
        &self,
        cache: &Cache,
        key: &str,
        range: Option<Range<u64>>,
        fresh: bool,
    ) -> Vec<u8> {
        let store = Arc::clone(&self.store) as Arc<dyn ObjectStore>;
        cache.get(&store, key.to_owned(), range, fresh).await.got().unwrap().0
    }

    fn reads(&self) -> Vec<Option<Range<u64>>> {
        std::mem::take(&mut *self.store.reads.lock())
    }

    fn entry(&self, key: &str) -> PathBuf {
        let name = key.rsplit_once('/').unwrap().1;
        self.dir.path().join("cache").join(&name[..2]).join(format!("c{name}"))
    }

    /// What the entries take on disk.
    fn disk_bytes(&self) -> u64 {
        let mut sum = 0;
        for shard in fs::read_dir(self.dir.path().join("cache")).unwrap() {
            let shard = shard.unwrap().path();
            if shard.is_dir() {
                let entries = fs::read_dir(shard).unwrap();
                sum +=
                    entries.map(|it| it.unwrap().metadata().unwrap().blocks() * 512).sum::<u64>();
            }
        }
        sum
    }
}

const LOTS: u64 = 1 << 30;

#[test]
fn what_was_read_is_read_again_without_the_store() {
    let bench = Bench::new();
    let small = noise(700, 1);
    let exact = noise(4 << 20, 2);
    let odd = noise((1 << 20) + 777, 3);
    for bytes in [&small, &exact, &odd] {
        let len = bytes.len() as u64;
        for first in [None, Some(0..len), Some(len - 5..len)] {
            let bench = Bench { dir: tempfile::tempdir().unwrap(), ..Bench::new() };
            let key = bench.plant(bytes);
            let wanted = |range: &Option<Range<u64>>| match range {
                None => bytes.clone(),
                Some(range) => bytes[range.start as usize..range.end as usize].to_vec(),
            };
            assert_eq!(bench.read(&bench.cache(LOTS), &key, first.clone()), wanted(&first));
            assert_eq!(bench.reads().len(), 1);
            let again = bench.cache(LOTS);
            assert_eq!(bench.read(&again, &key, first.clone()), wanted(&first));
            assert_eq!(bench.reads(), [], "{len} {first:?}");
            let counts = again.counts();
            assert_eq!((counts.hits, counts.misses, counts.corrupt), (1, 0, 0));
        }
    }
    drop(bench);
}

#[test]
fn an_object_that_is_known_to_its_end_is_cut_there() {
    let bench = Bench::new();
    let bytes = noise(100_000, 1);
    let (key, cache) = (bench.plant(&bytes), bench.cache(LOTS));
    assert_eq!(bench.read(&cache, &key, Some(99_000..99_100)), bytes[99_000..99_100]);
    assert_eq!(bench.reads(), [Some(0..256 << 10)]);
    assert_eq!(bench.read(&cache, &key, Some(99_000..200_000)), bytes[99_000..]);
    assert_eq!(bench.read(&cache, &key, Some(150_000..200_000)), Vec::<u8>::new());
    assert_eq!(bench.read(&cache, &key, None), bytes);
    assert_eq!(bench.reads(), []);
}

#[test]
fn entries_that_are_not_what_was_written_are_noticed_and_replaced() {
    type Damage = fn(&Path, &Path);
    let damages: [(&str, Damage); 10] = [
        ("a bit of the data", |path, _| turn(path, SLOTS_AT + 70_000)),
        ("a bit of a check", |path, _| turn(path, 64 + 40)),
        ("a bit of a length", |path, _| turn(path, 64 + 40 + 32)),
        ("a bit of the magic", |path, _| turn(path, 3)),
        ("a bit of the key", |path, _| turn(path, 20)),
        ("cut in its data", |path, _| cut(path, SLOTS_AT + 70_000)),
        ("cut in its marks", |path, _| cut(path, 100)),
        ("a foreign file", |path, _| fs::write(path, vec![7; 300_000]).unwrap()),
        ("the entry of another", |path, other| {
            fs::copy(other, path).unwrap();
        }),
        ("a link to another", |path, other| {
            fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink(other, path).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let bench = Bench::new();
        let bytes = noise(200_000, 1);
        let (key, other) = (bench.plant(&bytes), bench.plant(&noise(200_000, 2)));
        let cache = bench.cache(LOTS);
        bench.read(&cache, &key, None);
        bench.read(&cache, &other, None);
        damage(&bench.entry(&key), &bench.entry(&other));
        bench.reads();
        assert_eq!(bench.read(&cache, &key, Some(0..150_000)), bytes[..150_000], "{what}");
        assert_eq!(bench.reads().len(), 1, "{what}");
        let is_link = what.contains("link");
        assert_eq!(cache.counts().corrupt, u64::from(!is_link), "{what}");
        assert_eq!(bench.read(&cache, &key, Some(0..150_000)), bytes[..150_000], "{what}");
        assert_eq!(bench.reads(), [], "{what}");
        bench.read(&cache, &other, None);
        assert_eq!(bench.reads(), [], "{what}: the other one is as it was");
    }
}

fn turn(path: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

fn cut(path: &Path, len: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
}

#[test]
fn an_entry_that_is_only_begun_is_no_entry_and_no_damage() {
    let bench = Bench::new();
    let bytes = noise(100_000, 1);
    let (key, cache) = (bench.plant(&bytes), bench.cache(LOTS));
    fs::create_dir_all(bench.entry(&key).parent().unwrap()).unwrap();
    for len in [0, SLOTS_AT, SLOTS_AT + 100_000] {
        fs::write(bench.entry(&key), vec![0; len as usize]).unwrap();
        assert_eq!(bench.read(&cache, &key, None), bytes);
        assert_eq!(bench.read(&cache, &key, None), bytes);
        assert_eq!(bench.reads().len(), 1);
        fs::remove_file(bench.entry(&key)).unwrap();
    }
    assert_eq!(cache.counts().corrupt, 0);
}

#[test]
fn what_comes_from_disk_holds_no_more_memory_than_it_has_bytes() {
    let bench = Bench::new();
    let bytes = noise(100_000, 1);
    let (key, cache) = (bench.plant(&bytes), bench.cache(LOTS));
    bench.read(&cache, &key, None);
    for range in [0..4096, 65_536..70_000, 5..9] {
        let got = bench.read(&cache, &key, Some(range.clone()));
        assert_eq!(got, bytes[range.start as usize..range.end as usize]);
        assert_eq!(got.capacity(), got.len());
    }
    assert_eq!(bench.reads(), [None]);
}

#[test]
fn what_was_fetched_beside_a_read_is_there_for_the_next_however_much_it_is() {
    let bench = Bench::new();
    let bytes = noise(14 << 20, 1);
    let (key, cache) = (bench.plant(&bytes), bench.cache(LOTS));
    run(async {
        let store = Arc::clone(&bench.store) as Arc<dyn ObjectStore>;
        // One behind the other, and nobody waits for the disk.
        for start in (0..bytes.len()).step_by(32 << 10) {
            let range = start as u64..start as u64 + 4096;
            let got = cache.get(&store, key.clone(), Some(range), false).await.got().unwrap().0;
            assert_eq!(got, bytes[start..start + 4096]);
        }
    });
    // 256 KiB, and twice as much each time, up to all of it.
    let reads = bench.reads();
    assert!(reads.len() <= 7, "{reads:?}");
}

#[test]
fn wrong_bytes_of_the_store_do_not_stay() {
    let bench = Bench::new();
    let bytes = noise(3 << 20, 1);
    let (key, cache) = (bench.plant(&bytes), bench.cache(LOTS));
    let ranges = [None, Some(0..3 << 20), Some(0..100), Some(2_000_000..2_000_100)];
    for range in ranges {
        let right = match &range {
            None => bytes.clone(),
            Some(range) => bytes[range.start as usize..range.end as usize].to_vec(),
        };
        run(async {
            // As the core asks: three times, and from the store itself after the first.
            bench.store.wrong.store(3, Ordering::Relaxed);
            for fresh in [false, true, true] {
                let wrong = bench.asked(&cache, &key, range.clone(), fresh).await;
                assert_ne!(wrong, right);
            }
            assert_eq!(bench.asked(&cache, &key, range.clone(), false).await, right, "{range:?}");
            assert_eq!(bench.reads().len(), 4, "{range:?}");
            assert_eq!(bench.asked(&cache, &key, range.clone(), false).await, right);
            assert_eq!(bench.reads(), [], "{range:?}");
            cache.forget(&key).await;
        });
    }
}

#[test]
fn a_fresh_answer_is_the_stores() {
    let bench = Bench::new();
    let bytes = noise(100_000, 1);
    let (key, cache) = (bench.plant(&bytes), bench.cache(LOTS));
    bench.read(&cache, &key, None);
    bench.reads();
    assert_eq!(run(bench.asked(&cache, &key, Some(7..9), true)), bytes[7..9]);
    assert_eq!(bench.reads(), [Some(7..9)]);
    assert!(!bench.entry(&key).exists());
}

#[test]
fn the_bound_holds_and_the_least_lately_used_goes_first() {
    let bench = Bench::new();
    let bound = 4 << 20;
    let cache = bench.cache(bound);
    let old = SystemTime::now() - Duration::from_secs(7200);
    let mut keys: Vec<Key> = Vec::new();
    for n in 0..40 {
        let key = bench.plant(&noise(200_000, n));
        bench.read(&cache, &key, None);
        assert!(bench.disk_bytes() <= bound, "{n}");
        let used = old + Duration::from_secs(60 * n);
        fs::File::open(bench.entry(&key)).unwrap().set_modified(used).unwrap();
        // The first one is used all the time.
        if n > 0 {
            bench.read(&cache, &keys[0], Some(0..1));
            let age = fs::metadata(bench.entry(&keys[0])).unwrap().modified().unwrap();
            assert!(age.elapsed().unwrap() < Duration::from_secs(3600), "a hit is a use");
        }
        keys.push(key);
    }
    let stays: Vec<bool> = keys.iter().map(|key| bench.entry(key).exists()).collect();
    assert!(stays[0], "what is used stays");
    let first = 1 + stays[1..].iter().position(|stays| *stays).unwrap();
    assert!(stays[first..].iter().all(|stays| *stays), "the oldest went: {stays:?}");
    assert!(stays.iter().filter(|stays| **stays).count() >= 12, "not more than had to: {stays:?}");
    let counts = cache.counts();
    assert!(counts.evictions >= 20 && counts.evicted_bytes > 4 << 20, "{counts:?}");
    assert!(cache.inner.room.taken().unwrap().abs_diff(bench.disk_bytes()) < 128 << 10);
}

#[test]
fn what_is_larger_than_the_cache_is_read_and_not_kept() {
    let bench = Bench::new();
    let bytes = noise(2 << 20, 1);
    let (key, cache) = (bench.plant(&bytes), bench.cache(1 << 20));
    assert_eq!(bench.read(&cache, &key, None), bytes);
    assert_eq!(bench.read(&cache, &key, None), bytes);
    assert_eq!((bench.reads().len(), cache.counts().not_kept), (2, 2));
}

#[test]
fn a_lost_count_does_not_lift_the_bound() {
    let bench = Bench::new();
    let bound = 2 << 20;
    for n in 0..30 {
        let cache = bench.cache(bound);
        let key = bench.plant(&noise(200_000, n));
        bench.read(&cache, &key, None);
        assert!(bench.disk_bytes() <= bound, "{n}");
        fs::remove_file(bench.dir.path().join("cache/total")).unwrap();
    }
}

#[test]
fn a_disk_without_room_to_spare_is_left_alone() {
    let bench = Bench::new();
    let bytes = noise(200_000, 1);
    let key = bench.plant(&bytes);
    let root = bench.dir.path().join("cache");
    fs::create_dir(&root).unwrap();
    let min_free = MinFree::Bytes(u64::MAX);
    let cache = Cache::new(root, &CacheOptions { min_free, ..options(LOTS) });
    assert_eq!(bench.read(&cache, &key, None), bytes);
    assert_eq!(bench.read(&cache, &key, None), bytes);
    assert_eq!((bench.reads().len(), cache.counts().kept_bytes), (2, 0));
    assert!(!cache.inner.has_complained.load(Ordering::Relaxed), "that is no failure");
}

#[test]
fn a_disk_that_fails_is_no_error_and_is_told_of_once() {
    let bench = Bench::new();
    let bytes = noise(200_000, 1);
    let (key, cache) = (bench.plant(&bytes), bench.cache(LOTS));
    fs::write(bench.dir.path().join("cache"), b"no directory").unwrap();
    assert_eq!(bench.read(&cache, &key, None), bytes);
    assert_eq!(bench.read(&cache, &key, Some(5..9)), bytes[5..9]);
    assert_eq!(run(bench.asked(&cache, &key, None, true)), bytes);
    assert!(cache.inner.has_complained.load(Ordering::Relaxed));
    assert!(cache.inner.rests());
}

#[test]
fn a_cache_that_is_removed_begins_anew() {
    let bench = Bench::new();
    let bytes = noise(200_000, 1);
    let (key, cache) = (bench.plant(&bytes), bench.cache(LOTS));
    for _ in 0..2 {
        assert_eq!(bench.read(&cache, &key, None), bytes);
        assert_eq!(bench.read(&cache, &key, None), bytes);
        assert_eq!(bench.reads().len(), 1);
        fs::remove_dir_all(bench.dir.path().join("cache")).unwrap();
    }
    assert!(!cache.inner.has_complained.load(Ordering::Relaxed));
}

#[test]
fn the_cache_is_the_users_own() {
    let bench = Bench::new();
    let (key, cache) = (bench.plant(&noise(200_000, 1)), bench.cache(LOTS));
    bench.read(&cache, &key, None);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let entry = bench.entry(&key);
    assert_eq!((mode(cache.root()), mode(&entry)), (0o700, 0o600));
}

#[test]
fn only_what_never_changes_is_kept() {
    let hash = Hash::of(b"x").to_string();
    for key in [
        format!("chunks/{}/{hash}", &hash[..2]),
        format!("trees/{}/{hash}.7", &hash[..2]),
        format!("snapshots/{hash}"),
    ] {
        assert!(Id::of(&key).is_some(), "{key}");
    }
    for key in [
        "refs/branches/main".to_owned(),
        "vellum.json".to_owned(),
        "gc/state".to_owned(),
        format!("refs/tags/{hash}"),
        format!("chunks/{}/{}", &hash[..2], &hash[..63]),
        format!("chunks/{}/{hash}.x", &hash[..2]),
        format!("chunks/{}/{hash}é", &hash[..2]),
    ] {
        assert_eq!(Id::of(&key), None, "{key}");
    }
}
