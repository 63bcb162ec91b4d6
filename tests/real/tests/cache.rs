//! The cache on disk, through real mounts and commands, over a server that counts.

#![allow(clippy::unwrap_used)]

mod common;
mod mounted;

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::tree::assert_same;
use mounted::store::Place;
use mounted::{Bench, Mount, errno};
use serde_json::Value;
use vellum_tests_real::s3::{Arranged, Fault, Hooks};

/// Bytes that are nowhere alike.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A repository in a bucket of a server of our own, with 500 files of 4 KiB in `small`, and `big`.
/// Nothing of it is cached.
fn furnished() -> Bench {
    let bench = Bench::on(Place::strict());
    let tree = bench.path("tree");
    fs::create_dir_all(tree.join("small")).unwrap();
    for n in 0..500 {
        fs::write(tree.join(format!("small/{n:03}")), noise(4096, n)).unwrap();
    }
    fs::write(tree.join("big"), noise((9 << 20) + 12_345, 1000)).unwrap();
    let import = &mut bench.vellum(["import", "--cache-size", "0"]);
    common::ok(import.arg(&tree).arg(bench.repository()));
    bench
}

fn hooks(bench: &Bench) -> Hooks {
    bench.place().server().hooks().clone()
}

/// Reads the server was asked for since it was at `before`.
fn gets_since(bench: &Bench, before: u64) -> u64 {
    hooks(bench).counts().get.requests - before
}

fn gets(bench: &Bench) -> u64 {
    hooks(bench).counts().get.requests
}

fn read_small(mount: &Mount<'_>) {
    for n in 0..500 {
        assert!(fs::read(mount.path(&format!("small/{n:03}"))).unwrap() == noise(4096, n), "{n}");
    }
}

/// The entries of a cache whose names begin with `kind`, biggest first.
fn entries(cache: &Path, kind: char) -> Vec<PathBuf> {
    let shards = fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path());
    let files = shards.filter(|path| path.is_dir() && !path.ends_with("seen"));
    let files = files.flat_map(|shard| fs::read_dir(shard).unwrap());
    let mut found: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with(kind));
    found.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).unwrap().blocks()));
    found
}

fn usual_cache(bench: &Bench) -> PathBuf {
    bench.path("cache/vellum/objects")
}

#[test]
fn what_was_read_once_is_not_asked_for_after_a_remount() {
    let bench = furnished();
    let mount = bench.mount("mnt");
    let counts = || mount.status()["cache"].clone();
    assert_same(&bench.path("tree"), mount.root());
    assert!(counts()["misses"].as_u64().unwrap() > 0, "{}", counts());
    mount.unmount();

    let mount = bench.mount("mnt");
    let before = gets(&bench);
    assert_same(&bench.path("tree"), mount.root());
    assert_eq!(gets_since(&bench, before), 0);
    let counts = mount.status()["cache"].clone();
    assert_eq!((counts["misses"].as_u64(), counts["corrupt"].as_u64()), (Some(0), Some(0)));
    mount.unmount();
    let out = bench.path("out");
    let before = gets(&bench);
    common::ok(bench.vellum(["export"]).arg(bench.repository()).arg(&out));
    // The header and the ref.
    assert_eq!(gets_since(&bench, before), 2);
    assert_same(&bench.path("tree"), &out);
}

#[test]
fn small_files_that_are_read_in_order_take_few_requests() {
    let bench = furnished();
    let mount = bench.mount("mnt");
    let before = gets(&bench);
    read_small(&mount);
    // 2 MB in spans of 256 KiB that double, and the nodes of the directory.
    let took = gets_since(&bench, before);
    assert!(took <= 20, "{took}");
    mount.unmount();
}

#[test]
fn without_a_cache_every_mount_asks_anew() {
    let bench = furnished();
    for _ in 0..2 {
        let mount = bench.mount_with("mnt", &["--cache-size", "0"]);
        let before = gets(&bench);
        read_small(&mount);
        assert!(gets_since(&bench, before) >= 500);
        assert!(mount.status()["cache"].is_null());
        mount.unmount();
    }
    assert!(!usual_cache(&bench).exists());
}

#[test]
fn a_repository_in_a_directory_is_not_cached() {
    let bench = Bench::on(Place::Directory);
    let mount = bench.mount("mnt");
    fs::write(mount.path("file"), b"1").unwrap();
    mount.commit();
    assert!(mount.status()["cache"].is_null());
    let said = common::fails(bench.vellum(["prefetch"]).arg(mount.root()), 2);
    assert!(said.contains("is not cached"), "{said}");
    mount.unmount();
    assert!(!usual_cache(&bench).exists());
}

#[test]
fn what_a_mount_commits_is_cached() {
    let bench = Bench::on(Place::strict());
    let mount = bench.mount("mnt");
    let (big, small) = (noise(5 << 20, 1), noise(5000, 2));
    fs::write(mount.path("big"), &big).unwrap();
    fs::write(mount.path("small"), &small).unwrap();
    // This is in the bucket already, and was never read from there.
    let there = bench.path("there");
    fs::create_dir(&there).unwrap();
    fs::write(there.join("there"), noise(9 << 20, 3)).unwrap();
    let branch = format!("{}@other", bench.repository().display());
    common::ok(bench.vellum(["import"]).arg(&there).arg(branch));
    fs::write(mount.path("there"), noise(9 << 20, 3)).unwrap();
    mount.commit();
    mount.unmount();
    let before = gets(&bench);
    let mount = bench.mount("mnt");
    assert!(fs::read(mount.path("big")).unwrap() == big);
    assert!(fs::read(mount.path("there")).unwrap() == noise(9 << 20, 3));
    assert!(fs::read(mount.path("small")).unwrap() == small);
    // The header and the ref.
    assert_eq!(gets_since(&bench, before), 2);
    mount.unmount();
}

#[test]
fn with_the_server_away_what_is_cached_is_read_and_what_is_not_is_eio() {
    let bench = furnished();
    let mount = bench.mount("warm");
    read_small(&mount);
    fs::metadata(mount.path("big")).unwrap();
    mount.unmount();

    let mount = bench.mount("mnt");
    hooks(&bench).set_outage(true);
    assert_eq!(fs::read_dir(mount.path("small")).unwrap().count(), 500);
    read_small(&mount);
    // Not through the page cache, which asks twice.
    let mut direct = fs::OpenOptions::new();
    let big = direct.read(true).custom_flags(libc::O_DIRECT).open(mount.path("big")).unwrap();
    assert_eq!(errno(big.read_at(&mut [0; 4096], 0)), libc::EIO);
    drop(big);
    read_small(&mount);
    hooks(&bench).heal();
    assert!(fs::read(mount.path("big")).unwrap() == noise((9 << 20) + 12_345, 1000));
    mount.unmount();
}

#[test]
fn a_mount_of_what_was_last_seen_needs_no_server() {
    let bench = furnished();
    let mount = bench.mount("warm");
    read_small(&mount);
    let snapshot = mount.status()["base"].as_str().unwrap().to_owned();
    mount.unmount();

    hooks(&bench).set_outage(true);
    let mount = bench.mount_with("mnt", &["--offline"]);
    let status = mount.status();
    let offline = status["mount"]["offline"].as_str().unwrap();
    assert!(offline.starts_with("main as of 20"), "{offline}");
    assert_eq!((&status["base"], &status["mount"]["read_only"]), (&snapshot.into(), &true.into()));
    read_small(&mount);
    assert_eq!(errno(fs::read(mount.path("big"))), libc::EIO);
    assert_eq!(errno(fs::write(mount.path("new"), b"1")), libc::EROFS);
    let said = common::fails(bench.vellum(["prefetch"]).arg(mount.root()), 2);
    assert!(said.contains("offline"), "{said}");
    mount.unmount();

    // By a part of the snapshot's name, too.
    let snapshot = status["base"].as_str().unwrap()[..12].to_owned();
    let mut source = bench.repository().into_os_string();
    source.push(format!("@{snapshot}"));
    fs::create_dir(bench.path("old")).unwrap();
    common::ok(bench.vellum(["mount", "--offline"]).arg(source).arg(bench.path("old")));
    let mount = bench.mounted("old");
    read_small(&mount);
    mount.unmount();
}

#[test]
fn offline_what_was_never_seen_is_told() {
    let bench = furnished();
    fs::create_dir(bench.path("mnt")).unwrap();
    let mount = |args: &[&str], source: &Path| {
        let mut command = bench.vellum(["mount", "--offline"]);
        command.args(args).arg(source).arg(bench.path("mnt"));
        command
    };
    let said = common::fails(&mut mount(&[], &bench.repository()), 3);
    assert!(said.contains("can't be reached"), "{said}");
    let said = common::fails(&mut mount(&["--cache-size", "0"], &bench.repository()), 2);
    assert!(said.contains("there is no cache"), "{said}");
    let directory = Bench::on(Place::Directory);
    let said = common::fails(&mut mount(&[], &directory.repository()), 2);
    assert!(said.contains("is in a directory"), "{said}");
}

#[test]
fn a_bit_that_turns_in_the_cache_is_noticed_and_fetched_again() {
    let bench = furnished();
    let mount = bench.mount("warm");
    assert_same(&bench.path("tree"), mount.root());
    mount.unmount();
    for kind in ['c', 't'] {
        for entry in entries(&usual_cache(&bench), kind) {
            let file = fs::OpenOptions::new().read(true).write(true).open(entry).unwrap();
            let (at, mut byte) = ((12 << 10) + 50, [0]);
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
        }
        let mount = bench.mount("mnt");
        let before = gets(&bench);
        assert_same(&bench.path("tree"), mount.root());
        let counts = mount.status()["cache"].clone();
        assert!(counts["corrupt"].as_u64().unwrap() > 0, "{kind}: {counts}");
        assert!(gets_since(&bench, before) > 0, "{kind}");
        mount.unmount();
        // What was read of an entry before its damage was found went with it.
        let mount = bench.mount("mnt");
        assert_same(&bench.path("tree"), mount.root());
        mount.unmount();
        let mount = bench.mount("mnt");
        let before = gets(&bench);
        assert_same(&bench.path("tree"), mount.root());
        assert_eq!(gets_since(&bench, before), 0, "{kind}");
        mount.unmount();
    }
}

#[test]
fn a_wrong_body_of_the_server_is_not_kept() {
    let bench = furnished();
    let mount = bench.mount("mnt");
    let fault = |times| Arranged {
        method: Some("GET".parse().unwrap()),
        prefix: "repo/chunks/".into(),
        skips: 0,
        times,
        fault: Fault::Corrupted,
    };
    // The bit is somewhere in the span around it.
    hooks(&bench).arrange(fault(1));
    assert!(fs::read(mount.path("small/000")).unwrap() == noise(4096, 0));
    mount.unmount();
    for _ in 0..2 {
        let mount = bench.mount("mnt");
        read_small(&mount);
        assert_eq!(mount.status()["cache"]["corrupt"], 0);
        mount.unmount();
    }
    let mount = bench.mount("mnt");
    let before = gets(&bench);
    read_small(&mount);
    assert_eq!(gets_since(&bench, before), 0);
    mount.unmount();
}

#[test]
fn processes_that_fill_one_cache_at_once_keep_its_bound() {
    let bench = furnished();
    let cache = bench.path("shared");
    // Less than a third of what there is.
    let bound: u64 = 3 << 20;
    let export = |name: &str| {
        let mut command = bench.vellum(["export", "--cache-size", &bound.to_string()]);
        command.arg("--cache-dir").arg(&cache).arg(bench.repository()).arg(bench.path(name));
        command.stdout(Stdio::null());
        command
    };
    let taken = || {
        let all = ['c', 't', 's'].into_iter().flat_map(|kind| entries(&cache, kind));
        // What has gone since it was listed takes nothing.
        all.filter_map(|path| Some(fs::metadata(path).ok()?.blocks() * 512)).sum::<u64>()
    };
    for round in 0..3 {
        let names: Vec<String> = (0..3).map(|n| format!("out{round}-{n}")).collect();
        let spawn = |name: &String| export(name).spawn().unwrap();
        let exports: Vec<_> = names.iter().map(spawn).collect();
        for mut export in exports {
            assert!(export.wait().unwrap().success());
        }
        let taken = taken();
        assert!(taken <= bound && taken > bound / 3, "{taken}");
        names.iter().for_each(|name| assert_same(&bench.path("tree"), &bench.path(name)));
    }
}

#[test]
fn a_cache_that_can_not_be_written_keeps_nobody_from_reading() {
    let bench = furnished();
    fs::write(bench.path("nothing"), b"no directory").unwrap();
    let nowhere = bench.path("nothing/cache");
    let nowhere = nowhere.to_str().unwrap();
    let mount = bench.mount_with("mnt", &["--cache-dir", nowhere]);
    assert_same(&bench.path("tree"), mount.root());
    let said = mount.log();
    assert_eq!(said.matches("can't be used").count(), 1, "{said}");
    mount.unmount();
}

#[test]
fn prefetched_paths_are_read_without_the_server() {
    let bench = furnished();
    let mount = bench.mount("mnt");
    let prefetch = |paths: &[&str]| {
        common::ok_json(bench.vellum(["prefetch", "--json"]).arg(mount.root()).args(paths))
    };
    let first = prefetch(&["small"]);
    assert_eq!((&first["files"], &first["bytes_present"]), (&500.into(), &0.into()), "{first}");
    assert!(first["bytes_fetched"].as_u64().unwrap() >= 500 * 4096, "{first}");
    assert!(first["requests"]["get"]["requests"].as_u64().unwrap() <= 40, "{first}");
    let again = prefetch(&["small", mount.path("small").to_str().unwrap()]);
    assert_eq!(again["bytes_present"], 2 * 500 * 4096, "{again}");
    assert_eq!(again["requests"]["get"]["requests"], 1, "the header: {again}");
    // The mount has the same cache, and asks for nothing.
    fs::metadata(mount.path("big")).unwrap();
    hooks(&bench).set_outage(true);
    read_small(&mount);
    hooks(&bench).heal();
    let said = common::fails(bench.vellum(["prefetch"]).arg(mount.root()).arg("nowhere"), 2);
    assert!(said.contains("nowhere"), "{said}");
    prefetch(&[]);
    hooks(&bench).set_outage(true);
    assert_same(&bench.path("tree"), mount.root());
    hooks(&bench).heal();
    mount.unmount();
}

#[test]
fn prefetching_more_than_the_cache_holds_is_told_before() {
    let bench = furnished();
    let mount = bench.mount_with("mnt", &["--cache-size", "2M"]);
    let mut prefetch = bench.vellum(["prefetch"]);
    let (exit, _, said) = common::run(prefetch.arg(mount.root()));
    assert_eq!(exit, 0, "{said}");
    assert!(said.contains("not all of it will stay"), "{said}");
    mount.unmount();
}

#[test]
fn an_interrupted_prefetch_keeps_what_it_fetched() {
    let bench = furnished();
    let mount = bench.mount("mnt");
    // The last chunk of the big file does not come.
    let held = |skips| Arranged {
        method: Some("GET".parse().unwrap()),
        prefix: "repo/chunks/".into(),
        skips,
        times: 1,
        fault: Fault::Held(std::time::Duration::from_secs(60)),
    };
    hooks(&bench).arrange(held(2));
    let before = gets(&bench);
    let mut command = bench.vellum(["prefetch", "-j", "1"]);
    let prefetch = command.arg(mount.root()).arg("big").stderr(Stdio::piped()).spawn().unwrap();
    common::wait_until(|| hooks(&bench).arranged().is_empty());
    let pid = prefetch.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = prefetch.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("what was fetched is kept"), "{said}");
    let first = gets_since(&bench, before);
    let again = common::ok_json(bench.vellum(["prefetch", "--json"]).arg(mount.root()).arg("big"));
    assert_eq!(again["bytes_present"], 8 << 20, "{first} {again}");
    mount.unmount();
}

#[test]
fn an_import_reads_what_the_branch_has_from_the_cache_and_keeps_nothing_of_what_it_sends() {
    let bench = Bench::on(Place::strict());
    let tree = bench.path("tree");
    for n in 0..200 {
        fs::create_dir_all(tree.join(format!("d{n:03}"))).unwrap();
        fs::write(tree.join(format!("d{n:03}/file")), noise(20_000, n)).unwrap();
    }
    let import = || {
        let mut import = bench.vellum(["import", "--json"]);
        common::ok_json(import.arg(&tree).arg(bench.repository()))
    };
    let get = |import: &Value| import["requests"]["get"]["requests"].as_u64().unwrap();
    assert_eq!(import()["unchanged"], false);
    let cache = usual_cache(&bench);
    assert!(!cache.exists() || entries(&cache, 'c').is_empty(), "what was sent is kept");
    // 201 nodes of directories in one object, in few requests.
    let (again, once_more) = (import(), import());
    assert_eq!((&again["unchanged"], &once_more["unchanged"]), (&true.into(), &true.into()));
    assert!((4..=12).contains(&get(&again)), "{again}");
    // The header, the ref, and the ref once more before all is said to be as it was.
    assert!(get(&once_more) <= 3, "{once_more}");
}
