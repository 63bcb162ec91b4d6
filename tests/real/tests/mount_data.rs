//! The bytes of files through a real mount: writers, mappings, holes.

#![allow(clippy::unwrap_used)]

mod common;
mod mounted;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::Command;
use std::thread;

use mounted::{Bench, errno};
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;

fn open(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap()
}

/// Every byte tells where it is.
fn pattern(offset: u64, len: usize) -> Vec<u8> {
    (offset..).take(len).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

#[test]
fn any_offset_and_size_reads_back() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let file = open(&mount.path("file"));
    let mut end = 0;
    for (offset, len) in
        [(0, 1), (1, 4095), (65_530, 12), (100, 200_000), (3 << 20, 1 << 20), (131_071, 2)]
    {
        file.write_all_at(&pattern(offset, len), offset).unwrap();
        end = end.max(offset + len as u64);
        let mut back = vec![0; len];
        assert_eq!(file.read_at(&mut back, offset).unwrap(), len);
        assert!(back == pattern(offset, len), "{offset} {len}");
        assert_eq!(file.metadata().unwrap().len(), end);
    }
    assert_eq!(file.read_at(&mut [0; 10], end).unwrap(), 0);
    assert_eq!(file.read_at(&mut [0; 10], end - 3).unwrap(), 3);
    // Through the page cache, too.
    let mut all = Vec::new();
    File::open(mount.path("file")).unwrap().read_to_end(&mut all).unwrap();
    assert_eq!(all.len() as u64, end);
    assert!(all[100..200_100] == pattern(100, 200_000));
    assert!(all[200_100..3 << 20].iter().all(|byte| *byte == 0));
}

#[test]
fn appending_writers_never_overwrite_each_other() {
    const WRITERS: usize = 4;
    const LINES: usize = 1500;
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let path = mount.path("log");
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let path = &path;
            scope.spawn(move || {
                let mut log = OpenOptions::new().append(true).create(true).open(path).unwrap();
                for line in 0..LINES {
                    log.write_all(format!("{writer}:{line:06}\n").as_bytes()).unwrap();
                }
            });
        }
    });
    let log = fs::read_to_string(&path).unwrap();
    let lines: BTreeSet<&str> = log.lines().collect();
    assert_eq!(log.len(), WRITERS * LINES * 9);
    assert_eq!(lines.len(), WRITERS * LINES);
}

#[test]
fn readers_through_the_page_cache_see_direct_writes() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let path = mount.path("file");
    let writer = open(&path);
    writer.write_all_at(&[b'0'; 20_000], 0).unwrap();
    let reader = File::open(&path).unwrap();
    for round in b'1'..=b'9' {
        writer.write_all_at(&[round; 100], 8150).unwrap();
        let mut seen = [0; 100];
        reader.read_exact_at(&mut seen, 8150).unwrap();
        assert_eq!(seen, [round; 100]);
    }
    writer.set_len(8200).unwrap();
    assert_eq!(reader.read_at(&mut [0; 100], 8150).unwrap(), 50);
    writer.set_len(9000).unwrap();
    let mut seen = [1; 100];
    reader.read_exact_at(&mut seen, 8150).unwrap();
    assert_eq!(seen[49..51], [b'9', 0]);
}

/// Runs a small Python program: mappings need unsafe code, which tests do without.
fn python(mount: &Path, program: &str) {
    let output =
        std::process::Command::new("python3").arg("-c").arg(program).arg(mount).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn a_write_of_a_page_is_one_request() {
    const WRITES: u64 = 2000;
    for args in [&[][..], &["--cached-writes"]] {
        let bench = Bench::new();
        let mount = bench.mount_with("mnt", args);
        let file = open(&mount.path("file"));
        file.write_all_at(&[1; 4096], 0).unwrap();
        // The daemon's thread reads each request from the kernel by one call.
        let calls = format!("/proc/{}/io", mount.pid());
        let reads = || {
            let io = fs::read_to_string(&calls).unwrap();
            let reads = io.lines().find_map(|line| line.strip_prefix("syscr: "));
            reads.unwrap().parse::<u64>().unwrap()
        };
        let before = reads();
        for page in 0..WRITES {
            file.write_all_at(&[2; 4096], page % 16 * 4096).unwrap();
        }
        let requests = reads() - before;
        assert!((WRITES..WRITES + WRITES / 4).contains(&requests), "{args:?}: {requests}");
    }
}

#[test]
fn mappings_and_descriptors_see_the_same_bytes() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    python(
        mount.root(),
        "
import mmap, os, sys
path = sys.argv[1] + '/file'
fd = os.open(path, os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 100000)
shared = mmap.mmap(fd, 100000)
shared[5000:5005] = b'hello'
assert os.pread(fd, 5, 5000) == b'hello'
os.pwrite(fd, b'world', 70000)
assert shared[70000:70005] == b'world'
with open(path, 'rb') as cached:
    data = cached.read()
assert data[5000:5005] == b'hello' and data[70000:70005] == b'world'
reader = open(path, 'rb')
view = mmap.mmap(reader.fileno(), 0, prot=mmap.PROT_READ)
os.pwrite(fd, b'again', 90000)
assert view[90000:90005] == b'again'
shared[90001:90002] = b'G'
assert view[90000:90005] == b'aGain'
",
    );
}

#[test]
fn a_commit_has_what_a_mapping_still_holds() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let vellum = common::binary().display().to_string();
    let run = bench.path("run").display().to_string();
    python(
        mount.root(),
        &format!(
            "
import mmap, os, subprocess, sys
fd = os.open(sys.argv[1] + '/mapped', os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 200000)
shared = mmap.mmap(fd, 200000)
shared[100000:100006] = b'mapped'
os.environ['VELLUM_RUNTIME_DIR'] = '{run}'
subprocess.run(['{vellum}', 'commit', sys.argv[1], '-m', 'mapped'], check=True)
shared[0:4] = b'next'
assert shared[100000:100006] == b'mapped'
"
        ),
    );
    let again = bench.mount_with("again", &["--read-only"]);
    let seen = fs::read(again.path("mapped")).unwrap();
    assert_eq!(seen.len(), 200_000);
    assert_eq!(&seen[100_000..100_006], b"mapped");
    assert_eq!(&seen[..4], [0; 4]);
    again.unmount();
    // What came after the commit is an uncommitted change.
    common::fails(&mut mount.vellum("umount"), 1);
}

#[test]
fn holes_take_no_space_and_are_found() {
    const MB: u64 = 1 << 20;
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let file = open(&mount.path("sparse"));
    file.set_len(1 << 40).unwrap();
    assert_eq!(file.metadata().unwrap().blocks(), 0);
    file.write_all_at(&pattern(0, MB as usize), 8 * MB).unwrap();
    let blocks = file.metadata().unwrap().blocks() * 512;
    assert!((MB..2 * MB).contains(&blocks), "{blocks}");
    assert_eq!(seek(&file, SeekFrom::Data(0)), Ok(8 * MB));
    assert_eq!(seek(&file, SeekFrom::Hole(0)), Ok(0));
    assert_eq!(seek(&file, SeekFrom::Hole(8 * MB)), Ok(9 * MB));
    assert_eq!(seek(&file, SeekFrom::Data(8 * MB + 5)), Ok(8 * MB + 5));
    assert_eq!(seek(&file, SeekFrom::Data(9 * MB)), Err(Errno::NXIO));
    assert_eq!(seek(&file, SeekFrom::Hole(1 << 40)), Err(Errno::NXIO));
    let mut far = [1; 16];
    file.read_exact_at(&mut far, 1 << 39).unwrap();
    assert_eq!(far, [0; 16]);
}

#[test]
fn punched_and_zeroed_ranges_read_zeros() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let file = open(&mount.path("file"));
    let size = 400_000;
    file.write_all_at(&pattern(0, size), 0).unwrap();
    let before = file.metadata().unwrap().blocks();
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, punch, 100_001, 150_000).unwrap();
    fallocate(&file, FallocateFlags::ZERO_RANGE, 390_000, 20_000).unwrap();
    let keep = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, keep, 300_000, 10).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 410_000);
    assert!(file.metadata().unwrap().blocks() < before);
    let mut expected = pattern(0, size);
    expected.resize(410_000, 0);
    for hole in [100_001..250_001, 390_000..410_000, 300_000..300_010] {
        expected[hole].fill(0);
    }
    assert!(fs::read(mount.path("file")).unwrap() == expected);
    fallocate(&file, FallocateFlags::empty(), 0, 500_000).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 500_000);
    fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 600_000).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 500_000);
    let collapse = fallocate(&file, FallocateFlags::COLLAPSE_RANGE, 0, 4096);
    assert_eq!(collapse, Err(Errno::OPNOTSUPP));
}

#[test]
fn cut_bytes_never_come_back() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    fs::write(mount.path("file"), pattern(0, 300_000)).unwrap();
    mount.commit();
    mount.unmount();

    // Cut a file whose bytes are in the store and were never read.
    let mount = bench.mount("mnt");
    let file = open(&mount.path("file"));
    file.set_len(70_001).unwrap();
    file.set_len(300_000).unwrap();
    let mut expected = pattern(0, 70_001);
    expected.resize(300_000, 0);
    assert!(fs::read(mount.path("file")).unwrap() == expected);
    mount.commit();
    drop(file);
    mount.unmount();
    let mount = bench.mount("mnt");
    assert!(fs::read(mount.path("file")).unwrap() == expected);
}

#[test]
fn synchronous_writes_and_syncs_answer() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).custom_flags(libc::O_SYNC);
    let mut file = options.open(mount.path("file")).unwrap();
    file.write_all(b"synced").unwrap();
    file.sync_all().unwrap();
    file.sync_data().unwrap();
    File::open(mount.root()).unwrap().sync_all().unwrap();
    assert_eq!(fs::read(mount.path("file")).unwrap(), b"synced");
}

fn fill(path: &Path, mebibytes: u64) -> std::io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    for n in 0..mebibytes {
        file.write_all(&pattern(n, 1 << 20))?;
    }
    Ok(())
}

#[test]
fn more_than_memory_holds_is_sent_early_and_read_back() {
    let bench = Bench::new();
    let mount = bench.mount_with("mnt", &["--memory", "128M"]);
    fill(&mount.path("big"), 256).unwrap();
    let mut file = File::open(mount.path("big")).unwrap();
    let mut mebibyte = vec![0; 1 << 20];
    for n in 0..256 {
        file.read_exact(&mut mebibyte).unwrap();
        assert!(mebibyte == pattern(n, 1 << 20), "mebibyte {n}");
    }
    assert!(mount.status()["memory_bytes"].as_u64().unwrap() <= 128 << 20);
    // Its data is in the store, and nothing there names it.
    let held = |kind: &str| bench.holds(kind);
    assert_eq!(["chunks", "snapshots"].map(held), [true, false]);
    mount.commit();
    assert!(held("snapshots"));
}

#[test]
fn writes_past_the_memory_limit_get_enospc_when_the_store_is_full() {
    let bench = Bench::new();
    let mount = bench.mount_faulty_with("mnt", "nospace=1048576", &["--memory", "128M"]);
    assert_eq!(errno(fill(&mount.path("big"), 256)), libc::ENOSPC);
    std::fs::remove_file(mount.path("big")).unwrap();
    std::fs::write(mount.path("small"), pattern(0, 1 << 20)).unwrap();
    assert!(std::fs::read(mount.path("small")).unwrap() == pattern(0, 1 << 20));
}

#[test]
fn a_commit_tells_of_mapped_data_that_was_refused() {
    let bench = Bench::new();
    let mount = bench.mount_with("mnt", &["--memory", "64M"]);
    // Memory in which nothing can make room: the data of a file without a name.
    let mut pinned = File::create(mount.path("pinned")).unwrap();
    std::fs::remove_file(mount.path("pinned")).unwrap();
    while pinned.write_all(&pattern(0, 1 << 20)).is_ok() {}
    let program = "
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 8 << 20)
shared = mmap.mmap(fd, 8 << 20)
shared[:] = b'x' * (8 << 20)
try:
    shared.flush()
except OSError:
    sys.exit(5)
";
    let path = mount.path("mapped");
    let told = Command::new("python3").args(["-c", program]).arg(path).status().unwrap();
    assert_eq!(told.code(), Some(5));
    drop(pinned);
    let said = common::fails(mount.vellum("commit").args(["-m", "x"]), 7);
    assert!(said.contains("refused and is lost") && said.contains("commit again"), "{said}");
    assert_eq!(mount.commit()["committed"], true);
}

#[test]
fn a_file_ends_at_the_largest_offset_there_is() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let path = mount.path("file");
    let file = open(&path);
    let end = i64::MAX as u64;
    file.write_all_at(b"x", end - 1).unwrap();
    assert_eq!(file.metadata().unwrap().len(), end);
    let mut last = [0; 2];
    assert_eq!(file.read_at(&mut last, end - 2).unwrap(), 2);
    assert_eq!(&last, b"\0x");
    let mut append = OpenOptions::new().append(true).open(&path).unwrap();
    assert_eq!(errno(append.write(b"y")), libc::EFBIG);
    assert_eq!(file.metadata().unwrap().len(), end);
}
