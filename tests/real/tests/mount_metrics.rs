//! `/metrics` of a mount, as Prometheus reads it.

#![allow(clippy::unwrap_used)]

mod common;
mod mounted;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use hyper::Method;
use mounted::store::Place;
use mounted::{Bench, Mount};
use vellum_tests_real::s3::{Arranged, Fault};

/// What was scraped: kinds of metrics, and samples by name and labels.
#[derive(Debug, Default)]
struct Scraped {
    kinds: BTreeMap<String, String>,
    helped: BTreeSet<String>,
    samples: BTreeMap<(String, String), f64>,
}

impl Scraped {
    fn of(&self, name: &str, labels: &str) -> f64 {
        let sample = self.samples.get(&(name.to_owned(), labels.to_owned()));
        *sample.unwrap_or_else(|| panic!("{name}{{{labels}}} is not in {:#?}", self.samples))
    }
}

/// Asks for `path`: head and body of the answer.
fn get(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// The metric that a sample belongs to, by the kinds of metrics told before it.
fn metric<'a>(kinds: &BTreeMap<String, String>, sample: &'a str) -> &'a str {
    if kinds.contains_key(sample) {
        return sample;
    }
    let end = ["_total", "_bucket", "_sum", "_count"].into_iter().find(|end| sample.ends_with(end));
    let name =
        sample.strip_suffix(end.unwrap_or_else(|| panic!("{sample} is of no type"))).unwrap();
    let expected = if sample.ends_with("_total") { "counter" } else { "histogram" };
    assert_eq!(kinds.get(name).map(String::as_str), Some(expected), "{sample}");
    name
}

fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// Reads the text strictly: every line is known, every sample has a type and help, and stands with
/// the others of its metric.
fn parse(text: &str) -> Scraped {
    let mut scraped = Scraped::default();
    let body = text.strip_suffix("# EOF\n").expect("it ends with the mark of its end");
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (what, name) = (words.next().unwrap(), words.next().unwrap().to_owned());
            let rest = words.next().unwrap().to_owned();
            assert!(is_name(&name) && !rest.is_empty(), "{line}");
            match what {
                "HELP" => assert!(scraped.helped.insert(name), "{line}: twice"),
                "TYPE" => assert_eq!(scraped.kinds.insert(name, rest), None, "{line}: twice"),
                "UNIT" => assert!(name.ends_with(&format!("_{rest}")), "{line}"),
                _ => panic!("{line}"),
            }
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = match name.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
            None => (name, ""),
        };
        assert!(is_name(name) && !name.is_empty(), "{line}");
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (key, value) = label.split_once('=').unwrap();
            let value = value.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
            assert!(["operation", "kind", "outcome", "le"].contains(&key), "{line}");
            assert!(!value.contains(['/', '"', '\\']), "{line}");
        }
        let of = metric(&scraped.kinds, name).to_owned();
        assert!(scraped.helped.contains(&of), "{line} has no help");
        let value: f64 = value.parse().unwrap();
        let key = (name.to_owned(), labels.to_owned());
        assert_eq!(scraped.samples.insert(key, value), None, "{line}: twice");
    }
    scraped
}

fn address(mount: &Mount<'_>) -> String {
    mount.status()["mount"]["metrics"].as_str().unwrap().to_owned()
}

fn scrape(mount: &Mount<'_>) -> Scraped {
    let (head, body) = get(&address(mount), "/metrics");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.to_lowercase().contains("content-type: application/openmetrics-text"), "{head}");
    parse(&body)
}

#[test]
fn a_scrape_has_what_was_done_and_what_is_uncommitted_and_no_names() {
    let bench = Bench::on(Place::Directory);
    let mount = bench.mount_with("mnt", &["--metrics", "127.0.0.1:0"]);
    let idle = scrape(&mount);
    let count = "vellum_fuse_operation_duration_seconds_count";
    assert_eq!(idle.of(count, r#"operation="write""#), 0.0, "there from the beginning");
    assert_eq!(idle.of("vellum_oldest_dirty_seconds", ""), 0.0);

    fs::write(mount.path("secret-name"), vec![7; 100_000]).unwrap();
    let dirty = scrape(&mount);
    assert_eq!(dirty.of(count, r#"operation="create""#), 1.0);
    assert!(dirty.of("vellum_fuse_operation_duration_seconds_sum", r#"operation="write""#) > 0.0);
    assert!(dirty.of("vellum_dirty_bytes", "") >= 100_000.0);
    assert_eq!(dirty.of("vellum_dirty_files", ""), 1.0);
    assert!(dirty.of("vellum_oldest_dirty_seconds", "") > 0.0);
    assert!(dirty.of("process_resident_memory_bytes", "") > 1e6);
    assert!(dirty.of("vellum_memory_limit_bytes", "") >= dirty.of("vellum_memory_bytes", ""));

    let commit = mount.commit();
    let done = scrape(&mount);
    let objects = commit["objects"].as_f64().unwrap();
    assert_eq!(done.of("vellum_store_requests_total", r#"kind="put",outcome="ok""#), objects);
    assert_eq!(done.of("vellum_store_request_duration_seconds_count", r#"kind="put""#), objects);
    assert!(done.of("vellum_store_sent_bytes_total", "") >= commit["bytes"].as_f64().unwrap());
    assert_eq!(done.of("vellum_dirty_bytes", ""), 0.0);
    assert_eq!(done.of("vellum_store_retries_total", ""), 0.0);
    assert_eq!(done.of("vellum_store_requests_in_flight", ""), 0.0);
    let (_, text) = get(&address(&mount), "/metrics");
    for name in ["secret-name", "repo", "mnt", bench.path("").to_str().unwrap()] {
        assert!(!text.contains(name), "{name} is in {text}");
    }
    mount.unmount();
}

#[test]
fn refusals_of_a_bucket_are_counted_by_outcome_and_the_retries_and_window_that_follow() {
    let bench = Bench::on(Place::strict());
    let mount = bench.mount_with("mnt", &["--metrics=127.0.0.1:0"]);
    assert_eq!(scrape(&mount).of("vellum_store_requests_window", ""), 64.0);
    fs::write(mount.path("file"), b"text").unwrap();
    let refused = Arranged::once(Method::PUT, "repo/trees/", Fault::SlowDown);
    bench.place().server().hooks().arrange(refused);
    mount.commit();
    let scraped = scrape(&mount);
    let throttled = r#"kind="put",outcome="throttled""#;
    assert_eq!(scraped.of("vellum_store_requests_total", throttled), 1.0);
    assert_eq!(scraped.of("vellum_store_retries_total", ""), 1.0);
    assert_eq!(scraped.of("vellum_store_requests_window", ""), 32.0);
    assert_eq!(scraped.of("vellum_store_requests_in_flight", ""), 0.0);
    mount.unmount();
}

#[test]
fn the_cache_of_a_bucket_is_in_the_figures_and_a_directory_has_none() {
    let bench = Bench::on(Place::strict());
    let mount = bench.mount_with("mnt", &["--metrics=127.0.0.1:0"]);
    fs::write(mount.path("file"), vec![7; 300_000]).unwrap();
    mount.commit();
    mount.unmount();
    let mount = bench.mount_with("mnt", &["--metrics=127.0.0.1:0"]);
    assert_eq!(fs::read(mount.path("file")).unwrap(), vec![7; 300_000]);
    let scraped = scrape(&mount);
    // What the first mount committed is on the disk: snapshot, node, data.
    assert_eq!(scraped.of("vellum_cache_hits_total", ""), 3.0);
    assert_eq!(scraped.of("vellum_cache_misses_total", ""), 0.0);
    assert!(scraped.of("vellum_cache_hit_bytes_total", "") >= 300_000.0);
    let shown = common::ok(&mut mount.vellum("stats"));
    assert!(shown.contains("disk cache    3 read from disk, 0 not there\n"), "{shown}");
    mount.unmount();
    let plain = Bench::on(Place::Directory);
    let mount = plain.mount_with("mnt", &["--metrics=127.0.0.1:0"]);
    assert!(!scrape(&mount).kinds.contains_key("vellum_cache_hits"));
    assert!(common::ok(&mut mount.vellum("stats")).contains("disk cache    none\n"));
    mount.unmount();
}

#[test]
fn the_buckets_of_a_histogram_grow_to_its_count() {
    let bench = Bench::new();
    let mount = bench.mount_with("mnt", &["--metrics", "127.0.0.1:0"]);
    (0..50).for_each(|n| fs::write(mount.path(&format!("{n}")), b"text").unwrap());
    let scraped = scrape(&mount);
    let name = "vellum_fuse_operation_duration_seconds";
    let bucket = (format!("{name}_bucket"), r#"le="#);
    let mut buckets: Vec<(f64, f64)> = scraped
        .samples
        .iter()
        .filter(|((name, labels), _)| *name == bucket.0 && labels.contains(r#""write""#))
        .map(|((_, labels), count)| {
            let bound = labels.split(',').find_map(|label| label.strip_prefix(bucket.1)).unwrap();
            (bound.trim_matches('"').parse().unwrap(), *count)
        })
        .collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert!(buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{buckets:?}");
    let last = buckets.last().unwrap();
    assert_eq!((last.0, last.1), (f64::INFINITY, 50.0));
    assert_eq!(scraped.of(&format!("{name}_count"), r#"operation="write""#), 50.0);
}

#[test]
fn other_paths_are_not_found_and_other_methods_refused() {
    let bench = Bench::new();
    let mount = bench.mount_with("mnt", &["--metrics=127.0.0.1:0"]);
    let (head, body) = get(&address(&mount), "/");
    assert!(head.starts_with("HTTP/1.1 404 ") && body.contains("/metrics"), "{head}\n{body}");
    let mut stream = TcpStream::connect(address(&mount)).unwrap();
    write!(stream, "POST /metrics HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 405 "), "{text}");
    mount.unmount();
}

#[test]
fn an_address_that_is_taken_refuses_the_mount_and_none_is_served_unasked() {
    let bench = Bench::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let point = bench.path("mnt");
    fs::create_dir(&point).unwrap();
    let mut mount = bench.vellum(["mount", "--metrics", &address]);
    let said = common::fails(mount.arg(bench.repository()).arg(&point), 2);
    assert!(said.contains(&format!("can't serve metrics at {address}")), "{said}");
    assert!(!mounted::is_mounted(&point));
    let mut mount = bench.vellum(["mount", "--metrics", "nowhere"]);
    common::fails(mount.arg(bench.repository()).arg(&point), 2);

    let mount = bench.mount("mnt");
    assert_eq!(mount.status()["mount"]["metrics"], serde_json::Value::Null);
    mount.unmount();
}
