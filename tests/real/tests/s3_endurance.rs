//! Work over a bucket that is nearly always broken, and one that is gone for long.

#![allow(clippy::unwrap_used)]

mod common;
mod mounted;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::tree::assert_same;
use mounted::Bench;
use mounted::store::Place;

/// Each happens to one request in twenty.
const FAULTS: [&str; 15] = [
    "slow503=0.05",
    "err500=0.05",
    "err500_after=0.05",
    "reset_before=0.05",
    "reset_after=0.05",
    "reset_mid=0.05,PUT",
    "truncate=0.05,GET",
    "corrupt=0.05,GET",
    "stall=0.05",
    "stall_before=0.05",
    "dup=0.05,PUT",
    "dup_late=0.05,PUT",
    "late=0.05,PUT",
    "cond409=0.05,PUT",
    "expired=0.05",
];

/// How long the work goes on: `VELLUM_LONG` asks for the minutes that an issue of a store lasts.
fn lasts(long: Duration) -> Duration {
    let is_long = std::env::var_os("VELLUM_LONG").is_some_and(|value| value == "1");
    if is_long { long } else { Duration::ZERO }
}

/// Random numbers that are the same with each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        let (len, first) = (self.below(most), self.below(251));
        (0..len).map(|at| (at * 7 + first) as u8).collect()
    }
}

/// Ends the process if nothing happens for long: a test that hangs tells nobody where.
struct Watch(Arc<AtomicU64>);

impl Watch {
    fn new() -> Self {
        let ticks = Arc::new(AtomicU64::new(0));
        let seen = Arc::downgrade(&ticks);
        thread::spawn(move || {
            let mut last = (u64::MAX, Instant::now());
            while let Some(ticks) = seen.upgrade() {
                let now = ticks.load(Ordering::Relaxed);
                if now != last.0 {
                    last = (now, Instant::now());
                } else if last.1.elapsed() > Duration::from_secs(600) {
                    eprintln!("step {now} hangs");
                    std::process::abort();
                }
                drop(ticks);
                thread::sleep(Duration::from_secs(1));
            }
        });
        Self(ticks)
    }

    fn tick(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A change of a tree, to be made in a mount and in a directory alike.
enum Change {
    Write(String, Vec<u8>),
    Patch(String, u64, Vec<u8>),
    Rename(String, String),
    Remove(String),
    Directory(String),
}

impl Change {
    fn draw(random: &mut Random) -> Self {
        let file = |random: &mut Random| format!("d{}/f{}", random.below(6), random.below(12));
        match random.below(10) {
            0..=3 => Self::Write(file(random), random.bytes(300_000)),
            4..=6 => Self::Patch(file(random), random.below(400_000), random.bytes(20_000)),
            7 => Self::Rename(file(random), file(random)),
            8 => Self::Remove(file(random)),
            _ => Self::Directory(format!("d{}/sub{}", random.below(6), random.below(4))),
        }
    }

    fn make(&self, root: &Path) -> io::Result<()> {
        match self {
            Self::Write(path, bytes) => fs::write(root.join(path), bytes),
            Self::Patch(path, at, bytes) => {
                File::options().write(true).open(root.join(path))?.write_all_at(bytes, *at)
            }
            Self::Rename(from, to) => fs::rename(root.join(from), root.join(to)),
            Self::Remove(path) => fs::remove_file(root.join(path)),
            Self::Directory(path) => fs::create_dir(root.join(path)),
        }
    }
}

/// What came of the work.
#[derive(Debug, Default)]
struct Tally {
    changes: u64,
    refused: u64,
    reads: u64,
    reads_refused: u64,
    commits: u64,
    commits_failed: u64,
    mounts_failed: u64,
}

/// Runs a command that may fail for what the store does: then it says so as it always does. Answers
/// whether it was done.
fn attempt(command: &mut Command) -> bool {
    let (code, shown, said) = common::run(command);
    if code == 0 {
        return true;
    }
    assert!(matches!(code, 3 | 4 | 6), "exit {code}: {shown}{said}");
    assert!(said.contains("vellum: ") && said.trim_end().lines().count() >= 2, "{said}");
    assert!(!said.contains("panicked"), "{said}");
    false
}

/// Makes a change in the mount, and, if it was made there, in the twin. A mount may refuse only for
/// the store's sake, and only with EIO.
fn change(mount: &Path, twin: &Path, random: &mut Random, tally: &mut Tally) {
    let change = Change::draw(random);
    match change.make(mount) {
        Err(error) if error.raw_os_error() == Some(libc::EIO) => tally.refused += 1,
        here => {
            let there = change.make(twin);
            let code =
                |done: &io::Result<()>| done.as_ref().err().and_then(io::Error::raw_os_error);
            assert_eq!(code(&here), code(&there));
            tally.changes += 1;
        }
    }
}

fn read(mount: &Path, twin: &Path, random: &mut Random, tally: &mut Tally) {
    let path = format!("d{}/f{}", random.below(6), random.below(12));
    tally.reads += 1;
    match (fs::read(mount.join(&path)), fs::read(twin.join(&path))) {
        (Err(error), _) if error.raw_os_error() == Some(libc::EIO) => tally.reads_refused += 1,
        (Ok(here), Ok(there)) => assert!(here == there, "{path} has wrong bytes"),
        (here, there) => {
            assert_eq!(here.map_err(|error| error.kind()), there.map_err(|error| error.kind()));
        }
    }
}

/// What the branch holds, seen by somebody whose way to the store is sound.
fn seen_directly(bench: &Bench, endpoint: &str, number: u64) -> PathBuf {
    let out = bench.path(&format!("out-{number}"));
    let mut export = bench.vellum(["export"]);
    export.env("AWS_ENDPOINT_URL", endpoint).env("XDG_CACHE_HOME", bench.path("none"));
    common::ok(export.arg(bench.repository()).arg(&out));
    out
}

#[test]
fn behind_faults_of_every_kind_no_byte_is_wrong_and_no_commit_is_lost() {
    let bench = Bench::on(Place::behind_faults(11));
    let (proxy, direct) = bench.place().proxy();
    let twin = bench.path("twin");
    for number in 0..6 {
        fs::create_dir_all(twin.join(format!("d{number}"))).unwrap();
        fs::write(twin.join(format!("d{number}/f0")), vec![number; 70_000]).unwrap();
    }
    common::ok(bench.vellum(["import"]).arg(&twin).arg(bench.repository()));
    proxy.set_faults(&FAULTS).unwrap();
    let (watch, began, long) = (Watch::new(), Instant::now(), lasts(Duration::from_secs(30 * 60)));
    let (mut random, mut tally) = (Random(0x5eed), Tally::default());
    let point = bench.path("mnt");
    let mut rounds = 0;
    while rounds < 3 || began.elapsed() < long {
        rounds += 1;
        fs::create_dir_all(&point).unwrap();
        let mount = || attempt(bench.vellum(["mount"]).arg(bench.repository()).arg(&point));
        while !mount() {
            tally.mounts_failed += 1;
            watch.tick();
        }
        let mounted = bench.mounted("mnt");
        for _ in 0..4 {
            for _ in 0..15 {
                change(&point, &twin, &mut random, &mut tally);
                read(&point, &twin, &mut random, &mut tally);
                watch.tick();
            }
            // One that changed nothing, as the one before was published after all, is as good.
            let commit = || {
                let mut command = bench.vellum(["commit"]);
                attempt(command.arg(&point).args(["-m", "work", "--if-changed"]))
            };
            while !commit() {
                tally.commits_failed += 1;
                watch.tick();
            }
            tally.commits += 1;
        }
        let out = seen_directly(&bench, &direct, rounds);
        assert_same_content(&twin, &out);
        fs::remove_dir_all(&out).unwrap();
        mounted.unmount();
        watch.tick();
    }
    // Each commit is there, one upon the other: the import too.
    let mut log = bench.vellum(["log"]);
    let log = common::ok(log.env("AWS_ENDPOINT_URL", &direct).arg(bench.repository()));
    let published = log.lines().count() as u64;
    assert!(published <= tally.commits + 1 && published >= rounds, "{published}: {tally:?}");
    let mut verify = bench.vellum(["verify"]);
    common::ok(verify.env("AWS_ENDPOINT_URL", &direct).arg(bench.repository()));
    println!("{rounds} rounds, {published} snapshots, {tally:?}, {}", proxy.stats().unwrap());
}

/// The trees have the same paths, and the files the same bytes.
fn assert_same_content(expected: &Path, found: &Path) {
    let told = Command::new("diff").arg("-r").args([expected, found]).output().unwrap();
    let text = String::from_utf8_lossy(&told.stdout);
    assert!(told.status.success(), "{text}");
}

#[test]
fn while_the_store_is_away_work_goes_on_and_drains_without_a_remount() {
    let bench = Bench::on(Place::behind_faults(12));
    let (proxy, direct) = bench.place().proxy();
    let tree = bench.path("tree");
    fs::create_dir_all(tree.join("seen")).unwrap();
    fs::create_dir_all(tree.join("unseen")).unwrap();
    fs::write(tree.join("seen/warm"), vec![1; 3 << 20]).unwrap();
    fs::write(tree.join("seen/cold"), vec![2; 9 << 20]).unwrap();
    fs::write(tree.join("unseen/file"), b"unseen").unwrap();
    common::ok(bench.vellum(["import"]).arg(&tree).arg(bench.repository()));
    // Nodes lie together, so the cache would have those of the directory that was not looked at.
    let mount = bench.mount_with("mnt", &["--cache-size", "0"]);
    assert_eq!(fs::read(mount.path("seen/warm")).unwrap(), vec![1; 3 << 20]);
    proxy.outage("blackhole").unwrap();
    let (watch, away) = (Watch::new(), Instant::now());
    let point = mount.root().to_path_buf();
    let refused = |what: &'static str, work: fn(&Path) -> io::Result<()>| {
        let point = point.clone();
        thread::spawn(move || {
            let (began, error) = (Instant::now(), work(&point).unwrap_err());
            println!("{what}: {error} after {:.0} s", began.elapsed().as_secs_f64());
            assert_eq!(error.raw_os_error(), Some(libc::EIO), "{what}");
        })
    };
    let cold = refused("a cold read", |at| fs::read(at.join("seen/cold")).map(drop));
    let list = refused("a listing", |at| {
        let entries = fs::read_dir(at.join("unseen"))?.collect::<io::Result<Vec<_>>>();
        entries.map(drop)
    });
    // What needs nothing of the store goes on meanwhile.
    for number in 0..200 {
        fs::write(mount.path(&format!("seen/new-{number}")), vec![number as u8; 50_000]).unwrap();
        watch.tick();
    }
    File::options()
        .write(true)
        .open(mount.path("seen/cold"))
        .unwrap()
        .write_all_at(b"patched", 5 << 20)
        .unwrap();
    assert_eq!(fs::read(mount.path("seen/warm")).unwrap(), vec![1; 3 << 20]);
    fs::rename(mount.path("seen/warm"), mount.path("seen/renamed")).unwrap();
    assert_eq!(mount.status()["dirty"], true);
    let began = Instant::now();
    let (code, _, said) = common::run(mount.vellum("commit").args(["-m", "away"]));
    println!("a commit: exit {code} after {:.0} s: {said}", began.elapsed().as_secs_f64());
    assert_eq!(code, 3, "{said}");
    cold.join().unwrap();
    list.join().unwrap();
    watch.tick();
    while away.elapsed() < lasts(Duration::from_secs(600)) {
        fs::write(mount.path("seen/late"), away.elapsed().as_secs().to_string()).unwrap();
        watch.tick();
        thread::sleep(Duration::from_secs(5));
    }
    proxy.outage("none").unwrap();
    assert_eq!(fs::read(mount.path("unseen/file")).unwrap(), b"unseen");
    assert_eq!(mount.commit()["committed"], true);
    let cold = fs::read(mount.path("seen/cold")).unwrap();
    assert!(cold.len() == 9 << 20 && cold[5 << 20..].starts_with(b"patched"));
    let out = seen_directly(&bench, &direct, 0);
    assert_same(mount.root(), &out);
}
