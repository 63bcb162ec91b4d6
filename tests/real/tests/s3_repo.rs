//! Repositories in buckets, as their users work with them.

#![allow(clippy::unwrap_used)]

mod common;
mod mounted;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::tree::assert_same;
use hyper::Method;
use mounted::store::{Place, sign};
use mounted::{Bench, Mount, until};
use serde_json::Value;
use vellum_tests_real::s3::{
    Arranged, BUCKET, Credential, Fault, Mode, OWNER_KEYS, READER_KEYS, Tampering, WRITER_KEYS,
};

/// A tree with a bit of everything.
fn furnish(root: &Path) {
    fs::create_dir_all(root.join("dir/sub/empty")).unwrap();
    fs::write(root.join("dir/big"), (0..9 << 20).map(|n: u32| (n >> 8) as u8).collect::<Vec<_>>())
        .unwrap();
    fs::write(root.join("nothing"), b"").unwrap();
    std::os::unix::fs::symlink("dir/big", root.join("link")).unwrap();
    fs::hard_link(root.join("dir/big"), root.join("same")).unwrap();
    for n in 0..500 {
        fs::write(root.join(format!("dir/sub/n{n}")), format!("file {n}")).unwrap();
    }
}

/// Import, mount, edit, commit, and what another mount and an export show.
fn a_session(place: Place) {
    let bench = Bench::on(place);
    let (tree, edited, exported) = (bench.path("tree"), bench.path("edited"), bench.path("out"));
    furnish(&tree);
    let repository = bench.repository();
    let repository = repository.to_str().unwrap();
    common::ok(bench.vellum(["import"]).args([tree.to_str().unwrap(), repository]));

    let mount = bench.mount("mnt");
    assert_same(&tree, mount.root());
    for root in [mount.root(), &tree] {
        let mut big = fs::read(root.join("dir/big")).unwrap();
        big[5_000_000] ^= 1;
        fs::write(root.join("dir/big"), big).unwrap();
        fs::remove_file(root.join("nothing")).unwrap();
        fs::rename(root.join("dir/sub"), root.join("moved")).unwrap();
        fs::create_dir(root.join("made")).unwrap();
        fs::write(root.join("made/new"), vec![3; 100_000]).unwrap();
    }
    let committed = mount.commit();
    assert_eq!(committed["committed"], true, "{committed}");
    assert_eq!(mount.commit()["committed"], false);
    let copied = Command::new("cp").arg("-a").args([mount.root(), &edited]).status();
    assert!(copied.unwrap().success());
    mount.unmount();

    let again = bench.mount_with("again", &["--read-only"]);
    assert_same(&edited, again.root());
    common::ok(bench.vellum(["export", repository]).arg(&exported));
    assert_same(&edited, &exported);
    let read = |root: &Path| fs::read(root.join("dir/big")).unwrap();
    assert_eq!(read(&tree), read(&exported));
    let log = common::ok(&mut bench.vellum(["log", repository]));
    assert_eq!(log.lines().count(), 2, "{log}");
}

#[test]
fn a_session_works_in_a_bucket_of_a_strict_server() {
    a_session(Place::strict());
}

#[test]
fn a_session_works_in_a_bucket_of_a_strict_server_that_is_30_ms_away() {
    a_session(Place::strict_away());
}

#[test]
fn a_session_works_in_a_bucket_of_moto() {
    a_session(Place::moto());
}

#[test]
fn a_session_works_in_a_bucket_of_moto_that_is_30_ms_away() {
    a_session(Place::moto_away());
}

#[test]
fn of_two_mounts_that_commit_the_second_is_refused_and_keeps_its_edits() {
    for place in [Place::strict(), Place::moto()] {
        let bench = Bench::on(place);
        let (one, two) = (bench.mount("one"), bench.mount("two"));
        fs::write(one.path("a"), b"1").unwrap();
        fs::write(two.path("b"), b"2").unwrap();
        one.commit();
        common::fails(two.vellum("commit").args(["-m", "late"]), 5);
        assert_eq!(fs::read(two.path("b")).unwrap(), b"2");
        let third = bench.mount("three");
        assert_eq!(fs::read(third.path("a")).unwrap(), b"1");
        assert!(!third.path("b").exists());
    }
}

#[test]
fn a_server_that_does_not_keep_conditions_is_found_before_anything_is_written() {
    for (mode, words) in [(Mode::Ignores, "ignores If-None-Match"), (Mode::Races, "more than one")]
    {
        let bench = Bench::bare(Place::strict());
        let hooks = bench.place().server().hooks().clone();
        hooks.set_mode(mode);
        let refused = common::fails(bench.vellum(["init"]).arg(bench.repository()), 3);
        assert!(refused.contains(words), "{refused}");
        assert!(refused.contains("--single-writer"), "{refused}");
        assert_eq!(hooks.keys(BUCKET), Vec::<String>::new(), "{mode:?}");
        common::ok(bench.vellum(["init", "--single-writer"]).arg(bench.repository()));
        let mount = bench.mount("mnt");
        fs::write(mount.path("a"), b"1").unwrap();
        assert_eq!(mount.commit()["committed"], true);
    }
}

#[test]
fn a_host_asks_a_server_before_its_first_commit_whether_it_keeps_conditions() {
    let bench = Bench::on(Place::strict());
    let hooks = bench.place().server().hooks().clone();
    fs::remove_dir_all(bench.path("cache")).unwrap();
    let mount = bench.mount("mnt");
    fs::write(mount.path("a"), b"1").unwrap();
    hooks.set_mode(Mode::Ignores);
    let refused = common::fails(mount.vellum("commit").args(["-m", "x"]), 3);
    assert!(refused.contains("not safe to write to"), "{refused}");
    assert_eq!(fs::read(mount.path("a")).unwrap(), b"1");
    hooks.set_mode(Mode::Atomic);
    assert_eq!(mount.commit()["committed"], true);
    // It has seen that it does: now it does not ask again.
    let puts = hooks.counts().put.requests;
    fs::write(mount.path("a"), b"2").unwrap();
    mount.commit();
    let puts = hooks.counts().put.requests - puts;
    assert!(puts <= 5, "{puts} puts for one changed file");
}

#[test]
fn what_is_wrong_with_a_bucket_is_said_with_a_remedy() {
    let bench = Bench::on(Place::strict());
    let repository = bench.repository();
    let log = |place: &str| {
        let mut command = bench.vellum(["log"]);
        command.arg(place);
        command
    };
    let nothing = common::fails(&mut log(&format!("s3://{BUCKET}/elsewhere")), 2);
    assert!(nothing.contains("is not a Vellum repository"), "{nothing}");
    assert!(nothing.contains(&format!("vellum init s3://{BUCKET}/elsewhere")), "{nothing}");
    let no_bucket = common::fails(&mut log("s3://no-such-bucket/repo"), 3);
    assert!(no_bucket.contains("no such bucket"), "{no_bucket}");
    for bad in ["s3://", "s3:///repo", "s3://a b/repo", "s3://bucket/a/../b", "gs://bucket/repo"] {
        common::fails(&mut log(bad), 2);
    }
    let place = repository.to_str().unwrap();
    let mut denied = log(place);
    sign(&mut denied, OWNER_KEYS.id, "wrong");
    let denied = common::fails(&mut denied, 4);
    assert!(denied.contains("credentials"), "{denied}");
    assert!(denied.contains("SignatureDoesNotMatch"), "{denied}");
    let mut anonymous = log(place);
    anonymous.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    let anonymous = common::fails(&mut anonymous, 4);
    assert!(anonymous.contains("credentials"), "{anonymous}");
    let mut nowhere = log(place);
    nowhere.env("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    let nowhere = common::fails(&mut nowhere, 3);
    assert!(nowhere.contains("can't be reached"), "{nowhere}");
    common::fails(log(place).args(["--endpoint-url", "not a url"]), 2);
    let twice = common::fails(bench.vellum(["init"]).arg(&repository), 2);
    assert!(twice.contains("is a Vellum repository already"), "{twice}");
    bench.place().server().hooks().plant(BUCKET, "taken/x", b"");
    let taken = common::fails(&mut bench.vellum(["init", &format!("s3://{BUCKET}/taken")]), 2);
    assert!(taken.contains("is not empty"), "{taken}");
}

#[test]
fn a_reader_reads_and_a_writer_commits_with_no_more_rights_than_they_need() {
    let bench = Bench::on(Place::strict());
    let tree = bench.path("tree");
    furnish(&tree);
    let repository = bench.repository();
    let mut import = bench.vellum(["import"]);
    sign(&mut import, WRITER_KEYS.id, WRITER_KEYS.secret);
    common::ok(import.arg(&tree).arg(&repository));
    let mut export = bench.vellum(["export"]);
    sign(&mut export, READER_KEYS.id, READER_KEYS.secret);
    common::ok(export.arg(&repository).arg(bench.path("out")));
    assert_same(&tree, &bench.path("out"));
    let mut denied = bench.vellum(["import"]);
    sign(&mut denied, READER_KEYS.id, READER_KEYS.secret);
    let denied = common::fails(denied.arg(&tree).arg(format!("{}@dev", repository.display())), 4);
    assert!(denied.contains("AccessDenied"), "{denied}");
}

#[test]
fn a_copy_of_what_is_stored_is_compared_and_not_read_back() {
    for place in [Place::strict(), Place::moto()] {
        let bench = Bench::on(place);
        let tree = bench.path("tree");
        furnish(&tree);
        common::ok(bench.vellum(["import"]).arg(&tree).arg(bench.repository()));
        let mount = bench.mount("mnt");
        let big = fs::read(mount.path("dir/big")).unwrap();
        fs::write(mount.path("copy"), &big).unwrap();
        let before = mount.status()["requests"].clone();
        mount.commit();
        let after = mount.status()["requests"].clone();
        let more = |kind: &str, what: &str| {
            after[kind][what].as_u64().unwrap() - before[kind][what].as_u64().unwrap()
        };
        // Three chunks are there; nodes of the root were read by then.
        assert_eq!(more("head", "requests"), 3, "{before} {after}");
        assert_eq!(more("get", "bytes"), 0, "{before} {after}");
        let branch = format!("{}@again", bench.repository().display());
        let import = &mut bench.vellum(["import", "--json"]);
        let imported = common::ok_json(import.arg(&tree).arg(branch));
        assert!(imported["requests"]["get"]["bytes"].as_u64().unwrap() < 1 << 20, "{imported}");
        assert_eq!(imported["bytes_put"].as_u64().unwrap() >> 20, 0, "{imported}");
    }
}

fn write_keys(file: &Path, Credential { id, secret }: Credential) {
    let keys = format!("aws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    fs::write(file, format!("[default]\n{keys}")).unwrap();
}

/// A mount whose keys are those of the owner, in a file.
fn mount_with_keys_in<'a>(bench: &'a Bench, file: &Path) -> Mount<'a> {
    write_keys(file, OWNER_KEYS);
    fs::create_dir(bench.path("mnt")).unwrap();
    let mut mount = bench.vellum(["mount"]);
    mount.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    mount.env("AWS_SHARED_CREDENTIALS_FILE", file);
    common::ok(mount.arg(bench.repository()).arg(bench.path("mnt")));
    bench.mounted("mnt")
}

#[test]
fn keys_that_end_between_a_put_and_a_look_at_what_is_there_are_renewed() {
    let bench = Bench::on(Place::strict());
    let mount = mount_with_keys_in(&bench, &bench.path("credentials"));
    fs::write(mount.path("a"), vec![1; 5 << 20]).unwrap();
    mount.commit();
    fs::write(mount.path("b"), vec![1; 5 << 20]).unwrap();
    let hooks = bench.place().server().hooks();
    hooks.arrange(Arranged::once(Method::HEAD, "repo/chunks/", Fault::ExpiredToken));
    assert_eq!(mount.commit()["committed"], true);
    assert!(hooks.arranged().is_empty());
}

#[test]
fn what_rotted_under_its_checksum_is_replaced_by_an_import_that_reads_back() {
    let bench = Bench::on(Place::strict());
    let hooks = bench.place().server().hooks().clone();
    let tree = bench.path("tree");
    furnish(&tree);
    let import = |branch: &str, more: &[&str]| {
        let to = format!("{}@{branch}", bench.repository().display());
        common::ok(bench.vellum(["import"]).args(more).arg(&tree).arg(to));
    };
    import("main", &[]);
    let chunk = hooks.keys(BUCKET).into_iter().find(|key| key.contains("/chunks/")).unwrap();
    let right = hooks.body(BUCKET, &chunk);
    assert!(hooks.tamper(BUCKET, &chunk, &Tampering::Rotten));
    let is_right = || hooks.body(BUCKET, &chunk) == right;
    import("other", &[]);
    assert!(!is_right(), "its length and checksum are those of what is sent");
    let verify = common::fails(bench.vellum(["verify"]).arg(bench.repository()), 6);
    assert!(verify.contains("--read-back"), "{verify}");
    import("third", &["--read-back"]);
    assert!(is_right());
    common::ok(bench.vellum(["verify"]).arg(bench.repository()));
}

#[test]
fn keys_that_are_renewed_are_taken_up_by_a_mount_that_runs() {
    let bench = Bench::on(Place::strict());
    let hooks = bench.place().server().hooks().clone();
    let file = bench.path("credentials");
    let mount = mount_with_keys_in(&bench, &file);
    fs::write(mount.path("a"), vec![1; 5 << 20]).unwrap();
    hooks.expire(OWNER_KEYS.id);
    // Whoever renews them is not done yet.
    fs::write(&file, "").unwrap();
    let refused = common::fails(mount.vellum("commit").args(["--message", "one"]), 4);
    assert!(refused.contains("credentials"), "{refused}");
    write_keys(&file, WRITER_KEYS);
    // Nobody looks for keys all the time.
    std::thread::sleep(Duration::from_secs(11));
    assert_eq!(mount.commit()["committed"], true);
    assert_eq!(fs::read(mount.path("a")).unwrap(), vec![1; 5 << 20]);
}

#[test]
fn secrets_are_in_no_log_and_no_error() {
    let bench = Bench::bare(Place::strict());
    let repository = bench.repository();
    let mut said = String::new();
    let (token, secret) = ("A-SESSION-TOKEN-OF-THIS-TEST", "A-SECRET-OF-THIS-TEST");
    let mut call = |args: &[&str], is_owner: bool| {
        let mut command = bench.vellum(["-vvvv"]);
        command.args(args).env("AWS_LOG_LEVEL", "trace").env("RUST_LOG", "trace");
        if !is_owner {
            sign(&mut command, "SOMEBODY", secret);
            command.env("AWS_SESSION_TOKEN", token);
        }
        let (_, stdout, stderr) = common::run(&mut command);
        said.push_str(&stdout);
        said.push_str(&stderr);
    };
    let repository = repository.to_str().unwrap();
    for is_owner in [false, true] {
        call(&["init", repository], is_owner);
        call(&["log", repository], is_owner);
        call(&["log", repository, "--json"], is_owner);
        call(&["log", repository, "--endpoint-url", "http://127.0.0.1:1"], is_owner);
    }
    assert!(said.contains("InvalidAccessKeyId"), "the log is kept: {said}");
    for secret in [token, secret, OWNER_KEYS.secret] {
        assert!(!said.contains(secret), "{secret} in:\n{said}");
    }
    assert!(!said.contains("Signature="), "{said}");
}

#[test]
fn a_store_that_goes_away_comes_back_to_a_mount_that_lives() {
    let bench = Bench::on(Place::strict());
    let hooks = bench.place().server().hooks().clone();
    let tree = bench.path("tree");
    furnish(&tree);
    common::ok(bench.vellum(["import"]).arg(&tree).arg(bench.repository()));
    let mount = bench.mount("mnt");
    fs::write(mount.path("before"), b"1").unwrap();
    assert_eq!(fs::read(mount.path("dir/sub/n7")).unwrap(), b"file 7");
    hooks.set_outage(true);
    fs::write(mount.path("during"), vec![5; 1 << 20]).unwrap();
    assert_eq!(fs::read(mount.path("dir/sub/n7")).unwrap(), b"file 7");
    let point = mount.root().to_path_buf();
    let reader = std::thread::spawn(move || fs::read(point.join("dir/big")));
    until("the read has asked the store", || hooks.counts().get.requests > 0);
    hooks.set_outage(false);
    assert_eq!(reader.join().unwrap().unwrap(), fs::read(tree.join("dir/big")).unwrap());
    assert_eq!(mount.commit()["committed"], true);
}

/// What a mount or a command asked of the store: puts, gets, bytes sent and bytes got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked([u64; 4]);

impl Asked {
    fn of(requests: &Value) -> Self {
        let figure = |kind: &str, what: &str| requests[kind][what].as_u64().unwrap();
        Self([
            figure("put", "requests"),
            figure("get", "requests"),
            figure("put", "bytes"),
            figure("get", "bytes"),
        ])
    }

    fn by(mount: &Mount<'_>) -> Self {
        Self::of(&mount.status()["requests"])
    }

    fn since(self, before: Self) -> Self {
        let Self(now) = self;
        Self(std::array::from_fn(|at| now[at] - before.0[at]))
    }

    fn told(self, what: &str, took: Duration) {
        let (Self([puts, gets, sent, got]), seconds) = (self, took.as_secs_f64());
        let bytes = format!("{sent:>12} B sent {got:>12} B got");
        println!("{what:<26} {puts:>6} PUT {gets:>6} GET {bytes} {seconds:>8.3} s");
    }
}

/// What `work` answers, and how long it takes.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let done = work();
    (done, begun.elapsed())
}

/// Imports so many files of 4 KiB in directories of 1,000, looks at them, changes one.
fn requests_of(name: &str, place: Place, count: u64) {
    println!("{count} files of 4 KiB, {name}");
    let bench = Bench::bare(place);
    let json = |command: &mut Command| common::ok_json(command.arg(bench.repository()));
    let (made, took) = timed(|| json(&mut bench.vellum(["init", "--json"])));
    let init = Asked::of(&made["requests"]);
    init.told("init", took);
    // Nearly all of it are the probes of whether the server keeps conditions.
    assert!(init.0[0] <= 60 && init.0[1] <= 4 && init.0[2] < 1000, "{init:?}");
    let tree = bench.path("tree");
    for n in 0..count {
        let dir = tree.join(format!("d{:03}", n / 1000));
        fs::create_dir_all(&dir).unwrap();
        let bytes: Vec<u8> = n.to_le_bytes().into_iter().cycle().take(4096).collect();
        fs::write(dir.join(format!("file-{n}")), bytes).unwrap();
    }
    let (imported, took) = timed(|| json(bench.vellum(["import", "--json"]).arg(&tree)));
    let import = Asked::of(&imported["requests"]);
    import.told("import", took);
    // Packs of 4 MiB, nodes of 140 bytes for each entry, snapshot, ref, probes.
    let packs = count * 4096 / (4 << 20) + 1;
    let most = packs + count * 200 / (4 << 20) + 30;
    assert!(import.0[0] <= most, "{} puts, {most} expected", import.0[0]);
    let (mount, mounting) = timed(|| bench.mount("mnt"));
    let (entries, listing) = timed(|| fs::read_dir(mount.root()).unwrap().count() as u64);
    assert_eq!(entries, count.div_ceil(1000));
    let seen = Asked::by(&mount);
    seen.told("mount, and ls of the root", mounting + listing);
    assert!(seen.0[1] <= 5, "{seen:?}");
    let (bytes, took) = timed(|| fs::read(mount.path("d000/file-7")).unwrap());
    assert_eq!(bytes[0], 7);
    let read = Asked::by(&mount).since(seen);
    read.told("first read of one file", took);
    assert!(read.0[1] <= 8, "{read:?}");
    fs::write(mount.path("d000/file-7"), b"changed").unwrap();
    let before = Asked::by(&mount);
    let (_, took) = timed(|| mount.commit());
    let commit = Asked::by(&mount).since(before);
    commit.told("commit of one changed file", took);
    // Data, nodes, snapshot, ref; the probes of a host's first commit were those of the import.
    assert!(commit.0[0] == 4 && commit.0[1] <= 4 && commit.0[2] < 200_000, "{commit:?}");
    let before = Asked::by(&mount);
    let (unchanged, took) = timed(|| mount.commit());
    assert_eq!(unchanged["committed"], false);
    let nothing = Asked::by(&mount).since(before);
    nothing.told("commit without changes", took);
    assert_eq!(nothing.0, [0; 4]);
}

#[test]
fn requests_are_in_proportion_to_what_changes() {
    let is_long = std::env::var_os("VELLUM_LONG").is_some_and(|value| value == "1");
    let counts: &[u64] = if is_long { &[1_000, 10_000, 100_000] } else { &[1_000, 3_000] };
    for count in counts {
        requests_of("strict server", Place::strict(), *count);
        requests_of("moto", Place::moto(), *count);
        if is_long {
            requests_of("strict server, 30 ms away", Place::strict_away(), *count);
            requests_of("moto, 30 ms away", Place::moto_away(), *count);
        }
    }
}
