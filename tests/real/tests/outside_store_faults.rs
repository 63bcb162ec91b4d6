//! Programs over a store that is slow or stuck: who needs nothing from it is not held up, and
//! who does gets an answer in time. Sizes: see `common/programs.rs`.

#![allow(clippy::unwrap_used)]

mod common;
mod mounted;

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::programs::long;
use mounted::{Bench, errno};
use rustix::fs::{XattrFlags, setxattr};
use rustix::process::{Pid, Signal, kill_process};
use vellum_core::format::Hash;

const MB: u64 = 1 << 20;

/// What a busy machine may take longer.
const SLACK: Duration = Duration::from_secs(25);

/// Bytes that differ from chunk to chunk.
fn bytes(seed: u64, len: u64) -> Vec<u8> {
    let word = |n: u64| (n ^ (seed << 40)).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    (0..len / 8).flat_map(word).collect()
}

fn import(bench: &Bench, name: &str) {
    common::ok(bench.vellum(["import"]).arg(bench.path(name)).arg(bench.repository()));
}

#[test]
fn writes_to_files_that_were_never_read_need_nothing_of_a_stuck_store() {
    let bench = Bench::new();
    fs::create_dir(bench.path("base")).unwrap();
    for n in 0..60 {
        fs::write(bench.path(&format!("base/f{n}")), bytes(n, 200_000)).unwrap();
    }
    import(&bench, "base");
    let control = bench.path("stuck");
    fs::write(&control, b"").unwrap();
    let mount = bench.mount_faulty("mnt", &format!("stuck=chunks/@{}", control.display()));
    // Who waited for the store would end with EIO at the deadline.
    for n in 0..60 {
        let path = mount.path(&format!("f{n}"));
        let file = OpenOptions::new().write(true).open(path).unwrap();
        (0..100).for_each(|n| file.write_all_at(&[1; 4096], (n * 7919) % 100_000).unwrap());
    }
    fs::remove_file(&control).unwrap();
    let mut expected = bytes(7, 200_000);
    (0..100).for_each(|n| expected[(n * 7919) % 100_000..][..4096].fill(1));
    assert!(fs::read(mount.path("f7")).unwrap() == expected);
}

#[test]
fn opening_for_writing_loads_long_extended_attributes_and_no_more() {
    let bench = Bench::new();
    let mount = bench.mount("first");
    for (name, len) in [("short", 10), ("long", 5000)] {
        fs::write(mount.path(name), bytes(1, 200_000)).unwrap();
        setxattr(mount.path(name), "user.a", &vec![7; len], XattrFlags::empty()).unwrap();
    }
    mount.commit();
    mount.unmount();
    let control = bench.path("stuck");
    fs::write(&control, b"").unwrap();
    let mount = bench.mount_faulty("mnt", &format!("stuck=chunks/@{}", control.display()));
    let write = |name: &str| {
        let file = OpenOptions::new().write(true).open(mount.path(name)).unwrap();
        file.write_all_at(b"new", 0).unwrap();
    };
    write("short");
    thread::scope(|scope| {
        let long = scope.spawn(|| write("long"));
        thread::sleep(Duration::from_millis(300));
        assert!(!long.is_finished());
        fs::remove_file(&control).unwrap();
    });
    assert_eq!(&fs::read(mount.path("long")).unwrap()[..3], b"new");
}

#[test]
fn a_stuck_object_holds_up_only_its_own_file() {
    let bench = Bench::new();
    fs::create_dir(bench.path("base")).unwrap();
    let (stuck, free) = (bytes(1, MB), bytes(2, MB));
    fs::write(bench.path("base/stuck"), &stuck).unwrap();
    fs::write(bench.path("base/free"), &free).unwrap();
    fs::write(bench.path("base/small"), b"small").unwrap();
    import(&bench, "base");
    let hash = Hash::of(&stuck).to_string();
    let control = bench.path("control");
    fs::write(&control, b"").unwrap();
    let key = format!("chunks/{}/{hash}", &hash[..2]);
    let mount = bench.mount_faulty("mnt", &format!("stuck={key}@{}", control.display()));
    thread::scope(|scope| {
        let readers: Vec<_> =
            (0..3).map(|_| scope.spawn(|| fs::read(mount.path("stuck")).unwrap())).collect();
        thread::sleep(Duration::from_millis(200));
        // Each of these would end with EIO, or not at all, if it waited for the stuck one.
        assert!(fs::read(mount.path("free")).unwrap() == free);
        assert_eq!(fs::read(mount.path("small")).unwrap(), b"small");
        assert_eq!(fs::metadata(mount.path("stuck")).unwrap().len(), MB);
        fs::write(mount.path("new"), b"new").unwrap();
        assert_eq!(fs::read_dir(mount.root()).unwrap().count(), 4);
        assert!(readers.iter().all(|reader| !reader.is_finished()));
        fs::remove_file(&control).unwrap();
        assert!(readers.into_iter().all(|reader| reader.join().unwrap() == stuck));
    });
}

#[test]
fn a_read_that_waits_ends_with_eio_in_time_and_ctrl_c_ends_its_program() {
    let bench = Bench::new();
    fs::create_dir(bench.path("base")).unwrap();
    fs::write(bench.path("base/big"), bytes(1, MB)).unwrap();
    fs::write(bench.path("base/other"), bytes(2, MB)).unwrap();
    fs::write(bench.path("base/third"), bytes(3, MB)).unwrap();
    import(&bench, "base");
    let control = bench.path("control");
    fs::write(&control, b"").unwrap();
    let mount = bench.mount_faulty("mnt", &format!("stuck=chunks/@{}", control.display()));
    let begun = Instant::now();
    // Ctrl-C is ignored by what a script starts in the background, and what that starts.
    let mut cat = Command::new("env")
        .args(["--default-signal=INT", "cat"])
        .arg(mount.path("other"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(200));
    kill_process(Pid::from_child(&cat), Signal::INT).unwrap();
    thread::scope(|scope| {
        let plain = scope.spawn(|| {
            assert_eq!(errno(fs::read(mount.path("big"))), libc::EIO);
            begun.elapsed()
        });
        let direct = scope.spawn(|| {
            let path = mount.path("third");
            let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
            assert_eq!(errno(file.read_at(&mut [0; 10], MB / 2)), libc::EIO);
            begun.elapsed()
        });
        let ended = cat.wait().unwrap();
        assert_eq!(ended.signal(), Some(libc::SIGINT), "{ended:?}");
        let (interrupted, direct) = (begun.elapsed(), direct.join().unwrap());
        let plain = plain.join().unwrap();
        println!("interrupted {interrupted:?}, direct {direct:?}, through the cache {plain:?}");
        // The deadline is 30 s. Through its cache the kernel asks twice: read-ahead, then a page.
        let deadline = Duration::from_secs(30);
        assert!(interrupted < deadline + SLACK, "{interrupted:?}");
        assert!(direct > deadline / 2 && direct < deadline + SLACK, "{direct:?}");
        assert!(plain < 2 * deadline + SLACK, "{plain:?}");
    });
    // Loading went on meanwhile: once the store answers, so does the file.
    fs::remove_file(&control).unwrap();
    assert!(fs::read(mount.path("big")).unwrap() == bytes(1, MB));
}

#[test]
fn a_commit_over_a_slow_store_publishes_all_of_it() {
    let bench = Bench::new();
    let mount = bench.mount_faulty("mnt", "delay=40");
    for n in 0..30 {
        fs::create_dir(mount.path(&format!("d{n}"))).unwrap();
        fs::write(mount.path(&format!("d{n}/file")), bytes(n, 300_000)).unwrap();
    }
    mount.commit();
    let other = bench.mount("other");
    for n in 0..30 {
        assert!(fs::read(other.path(&format!("d{n}/file"))).unwrap() == bytes(n, 300_000));
    }
    other.unmount();
    mount.unmount();
}

#[test]
fn writing_goes_on_while_a_commit_is_stuck_and_each_state_is_kept() {
    let bench = Bench::new();
    let control = bench.path("control");
    let mount = bench.mount_faulty("mnt", &format!("stuck=chunks/@{}", control.display()));
    fs::write(mount.path("file"), bytes(1, MB)).unwrap();
    fs::write(&control, b"").unwrap();
    let mut commit = mount.vellum("commit");
    let commit = thread::spawn(move || common::run(commit.args(["-m", "stuck"])).0);
    mounted::until("the commit is under way", || mount.status()["committing"] == true);
    // What is taken and not published yet is uncommitted.
    let (code, listed, _) = common::run(&mut mount.vellum("diff"));
    assert_eq!((code, listed.lines().next()), (1, Some("A file")), "{listed}");
    assert!(mount.status()["dirty_bytes"].as_u64().unwrap() >= MB);
    let file = OpenOptions::new().write(true).open(mount.path("file")).unwrap();
    file.write_all_at(&bytes(2, MB), 0).unwrap();
    fs::remove_file(mount.path("file")).unwrap();
    fs::write(mount.path("later"), b"later").unwrap();
    assert!(!commit.is_finished());
    fs::remove_file(&control).unwrap();
    assert_eq!(commit.join().unwrap(), 0);
    let other = bench.mount("other");
    assert!(fs::read(other.path("file")).unwrap() == bytes(1, MB));
    assert!(!other.path("later").exists());
    other.unmount();
    assert_eq!(mount.status()["dirty"], true);
}

#[test]
fn one_byte_in_a_big_file_needs_no_fetch_to_write_and_sends_one_chunk() {
    let bench = Bench::new();
    let size = if long() { 4096 * MB } else { 128 * MB };
    fs::create_dir(bench.path("base")).unwrap();
    let mut big = BufWriter::new(File::create(bench.path("base/big")).unwrap());
    (0..size / MB).for_each(|n| big.write_all(&bytes(n, MB)).unwrap());
    drop(big);
    import(&bench, "base");
    fs::remove_file(bench.path("base/big")).unwrap();
    let control = bench.path("control");
    fs::write(&control, b"").unwrap();
    let mount = bench.mount_faulty("mnt", &format!("stuck=chunks/@{}", control.display()));
    let at = size / 2 + 12_345;
    let file = OpenOptions::new().write(true).open(mount.path("big")).unwrap();
    let fetched = || mount.status()["requests"]["get"].clone();
    let before = fetched();
    file.write_all_at(b"!", at).unwrap();
    assert_eq!(fetched(), before);
    drop(file);
    fs::remove_file(&control).unwrap();
    let commit = mount.commit();
    let (objects, sent) = (commit["objects"].as_u64().unwrap(), commit["bytes"].as_u64().unwrap());
    println!("{size} bytes, one changed: {objects} objects, {sent} bytes sent");
    // The chunk, nodes of pieces, the root directory, the snapshot.
    assert!(objects <= 8, "{commit}");
    assert!(sent > 4 * MB && sent < 4 * MB + (256 << 10), "{commit}");
    let other = bench.mount("other");
    let file = File::open(other.path("big")).unwrap();
    for start in [0, at - at % MB, size - MB] {
        let mut seen = vec![0; MB as usize];
        file.read_exact_at(&mut seen, start).unwrap();
        let mut expected = bytes(start / MB, MB);
        if (start..start + MB).contains(&at) {
            expected[(at - start) as usize] = b'!';
        }
        assert!(seen == expected, "{start}");
    }
}
