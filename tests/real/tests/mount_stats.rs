//! The figures of a mount: what it did, how long that took, and what it holds.

#![allow(clippy::unwrap_used)]

mod common;
mod mounted;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use mounted::store::Place;
use mounted::{Bench, Mount};
use serde_json::Value;

fn stats(mount: &Mount<'_>) -> Value {
    common::ok_json(mount.vellum("stats").arg("--json"))
}

#[test]
fn operations_requests_and_what_is_uncommitted_are_counted() {
    let bench = Bench::on(Place::Directory);
    let mount = bench.mount("mnt");
    let before = stats(&mount);
    assert_eq!(before["operations"]["write"], Value::Null);
    assert_eq!(before["now"]["oldest_dirty_seconds"], Value::Null);
    let file = File::create(mount.path("file")).unwrap();
    for n in 0..100 {
        file.write_all_at(&[7; 4096], n * 4096).unwrap();
    }
    fs::create_dir(mount.path("dir")).unwrap();
    let after = stats(&mount);
    let write = &after["operations"]["write"];
    assert_eq!((&write["count"], &after["operations"]["mkdir"]["count"]), (&100.into(), &1.into()));
    let [p50, p99] = ["p50_seconds", "p99_seconds"].map(|name| write[name].as_f64().unwrap());
    assert!(0.0 < p50 && p50 <= p99 && write["per_second"].as_f64().unwrap() > 0.0, "{write}");
    assert_eq!(after["now"]["dirty_files"], 1);
    assert!(after["now"]["dirty_bytes"].as_u64().unwrap() >= 409_600, "{after}");
    assert!(after["now"]["oldest_dirty_seconds"].as_f64().unwrap() >= 0.0);
    assert!(after["now"]["resident_bytes"].as_u64().unwrap() > 1 << 20);

    let commit = mount.commit();
    let done = stats(&mount);
    assert_eq!((&done["now"]["dirty_files"], &done["now"]["dirty_bytes"]), (&0.into(), &0.into()));
    assert_eq!(done["now"]["oldest_dirty_seconds"], Value::Null);
    assert_eq!(done["store"]["put"]["outcomes"]["ok"], commit["objects"]);
    assert!(done["up_bytes"].as_u64().unwrap() >= commit["bytes"].as_u64().unwrap());
    let said = common::ok(&mut mount.vellum("stats"));
    assert!(said.contains("write ") && said.contains("put ") && said.contains("p99"), "{said}");
    drop(file);
    mount.unmount();
    common::fails(bench.vellum(["stats"]).arg(bench.path("mnt")), 8);
}

#[test]
fn the_oldest_edit_grows_older_until_it_is_committed_and_not_with_later_ones() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    fs::write(mount.path("file"), b"first").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    fs::write(mount.path("other"), b"second").unwrap();
    let age = |mount: &Mount<'_>| mount.status()["oldest_dirty_seconds"].as_f64();
    assert!(age(&mount).unwrap() >= 0.3);
    mount.commit();
    assert_eq!(age(&mount), None);
    let began = Instant::now();
    fs::write(mount.path("file"), b"third").unwrap();
    let young = age(&mount).unwrap();
    assert!(young <= began.elapsed().as_secs_f64(), "{young}: it is that of the last edit");
}

#[test]
fn watching_appends_a_line_for_each_time_in_a_pipe() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    fs::write(mount.path("file"), b"text").unwrap();
    let mut watch = mount.vellum("stats");
    watch.args(["--watch", "0.1", "--json"]).stdout(Stdio::piped());
    let mut child = watch.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["operations"]["write"]["count"], 1, "first all since it was mounted");
    assert_eq!(next()["operations"]["write"], Value::Null, "then what happened since");
    fs::write(mount.path("file"), b"more").unwrap();
    common::wait_until(|| next()["operations"]["write"]["count"] == 1);
    child.kill().unwrap();
    child.wait().unwrap();

    let mut watch = mount.vellum("stats");
    let mut child = watch.args(["--watch=0.1"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    assert!(line.contains("write=") && line.contains("dirty="), "{line}");
    assert!(!lines.next().unwrap().unwrap().contains('\x1b'));
    child.kill().unwrap();
    child.wait().unwrap();
}
