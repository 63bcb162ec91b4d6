//! Proofs that `vellum verify` finds what is wrong, names it, and says which paths need it.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::{
    damage_node, fails, import, objects, ok, ok_json, overwrite, run, sparse, text, vellum, world,
};
use serde_json::Value;
use tempfile::TempDir;
use vellum_core::format::Hash;

/// A repository with one of each kind of object, and its objects by what needs them.
fn everything() -> (TempDir, PathBuf) {
    let (dir, repo) = world();
    let source = dir.path().join("source");
    fs::create_dir_all(source.join("dir/below")).unwrap();
    fs::write(source.join("big"), vec![3; 3 << 20]).unwrap();
    fs::write(source.join("dir/other"), vec![4; 5 << 20]).unwrap();
    for (name, bytes) in [("one", "one"), ("dir/two", "two"), ("dir/below/three", "three")] {
        fs::write(source.join(name), bytes).unwrap();
    }
    fs::hard_link(source.join("dir/two"), source.join("two-again")).unwrap();
    let pieces: Vec<(u64, &[u8])> = (0..20).map(|at| (at << 23, b"piece".as_slice())).collect();
    sparse(&source.join("dir/pieces"), 200 << 20, &pieces);
    import(&source, &repo);
    (dir, repo)
}

fn verify(repo: &Path, args: &[&str]) -> (i32, Value) {
    let (code, stdout, stderr) = run(vellum(["verify", "--json", text(repo)]).args(args));
    let report = serde_json::from_str(&stdout);
    (code, report.unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}")))
}

fn key<'a>(repo: &Path, object: &'a Path) -> &'a str {
    object.strip_prefix(repo).unwrap().to_str().unwrap()
}

fn all_objects(repo: &Path) -> Vec<PathBuf> {
    ["chunks", "trees", "snapshots"].iter().flat_map(|folder| objects(repo, folder)).collect()
}

/// The keys that a report calls bad, each with what is wrong.
fn bad(report: &Value) -> Vec<(String, String)> {
    let bad = report["bad"].as_array().unwrap().iter();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    bad.map(|bad| (word(&bad["key"]), word(&bad["what"]))).collect()
}

/// All that one bad object is said to be needed by.
fn needed_by(report: &Value) -> Vec<String> {
    let by = report["bad"][0]["needed_by"].as_array().unwrap().iter();
    let word = |by: &Value| match (&by["path"], &by["ref"]) {
        (Value::String(path), _) => path.clone(),
        (_, Value::String(name)) => name.clone(),
        _ => by.to_string(),
    };
    by.map(word).collect()
}

#[test]
fn a_sound_repository_is_read_whole_each_object_once() {
    let (dir, repo) = everything();
    ok(&mut vellum(["branch", text(&repo), "dev"]));
    ok(&mut vellum(["tag", text(&repo), "v1"]));
    fs::write(dir.path().join("source/one"), b"changed").unwrap();
    import(&dir.path().join("source"), &repo);
    let (code, report) = verify(&repo, &[]);
    assert_eq!(
        (code, &report["complete"], &report["bad"]),
        (0, &true.into(), &Value::Array(vec![]))
    );
    let count = |folder: &str| objects(&repo, folder).len() as u64;
    assert_eq!(report["snapshots"], 2);
    // Three directories, the pieces, the link table; then the root again.
    assert_eq!((&report["nodes"], count("trees")), (&6.into(), 2));
    assert_eq!(report["data_read"], count("chunks"));
    let bytes: u64 = all_objects(&repo).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert_eq!(report["bytes"], bytes);
    // The header and three refs, and every object once, though two snapshots share most of them.
    assert_eq!(report["requests"]["get"]["requests"], all_objects(&repo).len() + 4);
    let shown = ok(&mut vellum(["verify", text(&repo)]));
    assert!(shown.starts_with("all is as it must be: checked 2 snapshots, "), "{shown}");
    assert_eq!(shown.lines().count(), 1);
}

/// What some path or ref must be named for when this object is bad.
fn expected_need(repo: &Path, object: &Path) -> &'static [&'static str] {
    let bytes = fs::read(object).unwrap();
    match (key(repo, object).split('/').next().unwrap(), bytes.as_slice()) {
        ("snapshots", _) => &["branches/main"],
        ("chunks", [3, ..]) => &["big"],
        ("chunks", [4, ..]) => &["dir/other"],
        ("chunks", [b'p', b'i', ..]) => &["dir/pieces"],
        // The pack.
        ("chunks", _) => &["dir/below/three", "dir/two", "one", "two-again"],
        // All nodes: of directories, of pieces, of the link table.
        ("trees", _) => &["", "dir", "dir/below", "dir/pieces"],
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_object_that_is_missing_truncated_corrupted_or_swapped_is_named_with_a_path() {
    let (_dir, repo) = everything();
    let all = all_objects(&repo);
    // Three chunks of big files, one of pieces, a pack; an object of nodes; a snapshot.
    assert_eq!(all.len(), 7, "{all:?}");
    for (index, object) in all.iter().enumerate() {
        let sound = fs::read(object).unwrap();
        let expected = expected_need(&repo, object);
        let others = (1..4).map(|step| fs::read(&all[(index + step * 2) % all.len()]).unwrap());
        let mut damages: Vec<(&str, Option<Vec<u8>>)> = vec![
            ("missing", None),
            ("truncated", Some(sound[..sound.len() - 1].to_vec())),
            ("truncated", Some(sound[..sound.len() / 2].to_vec())),
            ("truncated", Some(Vec::new())),
            ("corrupted", Some([&sound[..], b"x"].concat())),
        ];
        // Heads of fields may change lengths, and then it looks cut short: not so the first byte,
        // the last, and those of a hash. Data has no such thing.
        let hash = sound.windows(2).position(|head| head == [0x58, 32]).map(|head| head + 9);
        for at in [0, hash.unwrap_or(sound.len() / 2), sound.len() - 1] {
            let mut changed = sound.clone();
            changed[at] ^= 0x20;
            damages.push(("corrupted", Some(changed)));
        }
        damages.extend(others.map(|other| ("corrupted", Some(other))));
        for (number, (what, bytes)) in damages.into_iter().enumerate() {
            match &bytes {
                None => fs::remove_file(object).unwrap(),
                Some(bytes) => overwrite(object, |at| at.clone_from(bytes)),
            }
            let (code, report) = verify(&repo, &[]);
            let key = key(&repo, object);
            assert_eq!(code, 6, "{key}, {number}: {report}");
            let [(bad_key, bad_what)] = &bad(&report)[..] else { panic!("{key}: {report}") };
            assert_eq!((bad_key.as_str(), bad_what.as_str()), (key, what), "{number}: {report}");
            let needed = needed_by(&report);
            let named = |by: &String| expected.iter().any(|one| by == one || by.contains("link_t"));
            assert!(!needed.is_empty() && needed.iter().all(named), "{key}: {needed:?}");
            fs::write(object, &sound).unwrap();
        }
    }
    assert_eq!(verify(&repo, &[]).0, 0);
}

#[test]
fn of_a_damaged_object_of_nodes_the_paths_are_named_whose_nodes_are_damaged() {
    let (_dir, repo) = everything();
    let [nodes] = &objects(&repo, "trees")[..] else { panic!("one import, one object") };
    let sound = fs::read(nodes).unwrap();
    // The root is met first, and then what is below it as far as that is sound.
    for (name, path, reached) in
        [("three", "dir/below", 5), ("below", "dir", 3), ("two-again", "", 2)]
    {
        damage_node(nodes, name.as_bytes());
        let (code, report) = verify(&repo, &[]);
        let named = [(key(&repo, nodes).to_owned(), "corrupted".to_owned())];
        assert_eq!((code, bad(&report)), (6, named.to_vec()));
        let needed = needed_by(&report);
        assert!(needed.iter().any(|by| by == path), "{name}: {needed:?}");
        assert!(report["nodes"].as_u64().unwrap() < reached, "{name}: {report}");
        overwrite(nodes, |bytes| bytes.clone_from(&sound));
    }
}

#[test]
fn swapped_objects_are_both_named_and_whose_bytes_they_have() {
    let (_dir, repo) = everything();
    let chunks = objects(&repo, "chunks");
    let (one, other) = (fs::read(&chunks[0]).unwrap(), fs::read(&chunks[1]).unwrap());
    overwrite(&chunks[0], |bytes| *bytes = other);
    overwrite(&chunks[1], |bytes| *bytes = one);
    let said = vellum(["verify", text(&repo)]).output().unwrap();
    let (shown, error) = (said.stdout, String::from_utf8(said.stderr).unwrap());
    let shown = String::from_utf8(shown).unwrap();
    let (first, second) = (key(&repo, &chunks[0]), key(&repo, &chunks[1]));
    for (bad, has) in [(first, second), (second, first)] {
        let line = format!("corrupted {bad}: it has the bytes of {has}\n");
        assert!(shown.contains(&line), "{shown}");
    }
    assert_eq!(said.status.code(), Some(6));
    assert!(shown.contains("\n  needed by ") && shown.contains("2 objects are bad"), "{shown}");
    assert!(error.starts_with("vellum: 2 objects are not as they must be\n  restore"), "{error}");
}

#[test]
fn one_bad_object_never_stops_the_rest() {
    let (_dir, repo) = everything();
    let gone = objects(&repo, "chunks");
    gone.iter().for_each(|object| fs::remove_file(object).unwrap());
    let [nodes] = &objects(&repo, "trees")[..] else { panic!("one import, one object") };
    damage_node(nodes, b"three");
    let (code, report) = verify(&repo, &[]);
    assert_eq!(code, 6);
    let mut expected: Vec<_> =
        gone.iter().map(|object| (key(&repo, object).to_owned(), "missing".to_owned())).collect();
    // The pack of small files is named by the other directories too.
    expected.push((key(&repo, nodes).to_owned(), "corrupted".to_owned()));
    assert_eq!(bad(&report), expected);
    overwrite(&repo.join("refs/branches/main"), |bytes| bytes.truncate(3));
    let (_, report) = verify(&repo, &[]);
    assert_eq!(bad(&report), [("refs/branches/main".to_owned(), "corrupted".to_owned())]);
}

#[test]
fn parents_are_checked_and_what_nothing_reaches_is_not() {
    let (dir, repo) = world();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), b"first").unwrap();
    import(&source, &repo);
    let old = objects(&repo, "chunks").remove(0);
    let first = objects(&repo, "snapshots").remove(0);
    fs::write(source.join("file"), b"second").unwrap();
    import(&source, &repo);
    fs::write(repo.join("chunks/stray"), b"x").unwrap();
    fs::remove_file(&old).unwrap();
    let (code, report) = verify(&repo, &[]);
    assert_eq!((code, bad(&report)), (6, vec![(key(&repo, &old).into(), "missing".into())]));
    assert_eq!(
        report["bad"][0]["needed_by"][0]["snapshot"],
        first.file_name().unwrap().to_str().unwrap()
    );
    assert_eq!(needed_by(&report), ["file"]);
    fs::remove_file(&first).unwrap();
    let (_, report) = verify(&repo, &[]);
    assert_eq!(bad(&report), [(key(&repo, &first).into(), "missing".to_owned())]);
    let newest = objects(&repo, "snapshots").remove(0);
    let newest = newest.file_name().unwrap().to_str().unwrap();
    assert_eq!(report["bad"][0]["needed_by"][0]["child"], newest);
}

#[test]
fn a_name_checks_what_it_reaches_and_no_more() {
    let (dir, repo) = everything();
    let source = dir.path().join("small");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), b"content of dev").unwrap();
    ok(&mut vellum(["import", text(&source), &format!("{}@dev", text(&repo))]));
    let snapshot = ok_json(&mut vellum(["log", "--json", &format!("{}@dev", text(&repo))]));
    let snapshot = &snapshot[0]["snapshot"].as_str().unwrap()[..10];
    for object in objects(&repo, "chunks") {
        if fs::read(&object).unwrap() != b"content of dev" {
            fs::remove_file(object).unwrap();
        }
    }
    assert_eq!(verify(&repo, &[]).0, 6);
    for name in ["dev", snapshot] {
        let named = PathBuf::from(format!("{}@{name}", text(&repo)));
        let (code, report) = verify(&named, &[]);
        assert_eq!((code, &report["data_read"], &report["nodes"]), (0, &1.into(), &1.into()));
    }
    fails(&mut vellum(["verify", &format!("{}@none", text(&repo))]), 2);
}

/// A repository with 128 chunks of one file.
fn chunks() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let repo = dir.path().join("repo");
    ok(&mut vellum(["init", text(&repo), "--chunk-size", "64K"]));
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    let file = File::create(source.join("file")).unwrap();
    for chunk in 0..128_u64 {
        file.write_all_at(&vec![chunk as u8 + 1; 64 << 10], chunk << 16).unwrap();
    }
    import(&source, &repo);
    (dir, repo)
}

#[test]
fn a_sample_reads_a_part_by_its_seed_and_looks_for_the_rest() {
    let (_dir, repo) = chunks();
    let (code, half) = verify(&repo, &["--sample", "50%", "--seed", "7"]);
    let read = half["data_read"].as_u64().unwrap();
    assert_eq!(code, 0);
    assert!((40..90).contains(&read), "{read}");
    assert_eq!(half["data_seen"], 128 - read);
    assert_eq!(half["requests"]["head"]["requests"], 128 - read);
    assert_eq!((&half["seed"], &half["sample"]), (&7.into(), &"50%".into()));
    for (percent, expected) in [("0", 0), ("100%", 128)] {
        let (_, report) = verify(&repo, &["--sample", percent]);
        assert_eq!(report["data_read"], expected);
        assert!(report["seed"].is_u64());
    }
    // Which chunks are read is told by those in which a flipped bit is found.
    for object in objects(&repo, "chunks") {
        overwrite(&object, |bytes| bytes[9] ^= 1);
    }
    let found = |seed: &str| bad(&verify(&repo, &["--sample", "50%", "--seed", seed]).1);
    assert_eq!(found("7").len() as u64, read);
    assert_eq!(found("7"), found("7"));
    assert_ne!(found("7"), found("8"));
    assert_eq!(verify(&repo, &["--sample", "0%"]).0, 0);
    for sample in ["101%", "-1", "x", ""] {
        fails(&mut vellum(["verify", text(&repo), &format!("--sample={sample}")]), 2);
    }
    fails(&mut vellum(["verify", text(&repo), "--seed", "7"]), 2);
}

#[test]
fn a_sample_of_nothing_still_finds_what_is_missing_or_cut_and_every_bad_node() {
    let (_dir, repo) = chunks();
    let chunks = objects(&repo, "chunks");
    fs::remove_file(&chunks[3]).unwrap();
    overwrite(&chunks[5], |bytes| bytes.truncate(100));
    overwrite(&chunks[7], |bytes| bytes.push(0));
    let (code, report) = verify(&repo, &["--sample", "0%"]);
    let named = [(3, "missing"), (5, "truncated"), (7, "corrupted")];
    let expected = named.map(|(at, what)| (key(&repo, &chunks[at]).to_owned(), what.to_owned()));
    assert_eq!((code, bad(&report)), (6, expected.to_vec()));
    for node in objects(&repo, "trees") {
        fs::remove_file(node).unwrap();
    }
    let (_, report) = verify(&repo, &["--sample", "0%"]);
    let root = bad(&report);
    assert!(root.len() == 1 && root[0].0.starts_with("trees/"), "{report}");
}

#[test]
fn an_interrupted_verification_tells_what_it_has_done() {
    let (dir, repo) = everything();
    let control = dir.path().join("control");
    fs::write(&control, b"").unwrap();
    let pack = objects(&repo, "chunks").remove(0);
    fs::remove_file(&pack).unwrap();
    let kept = objects(&repo, "chunks").remove(0);
    let mut command = vellum(["verify", text(&repo)]);
    command.env("VELLUM_TEST_STORE", format!("stuck={}@{}", key(&repo, &kept), text(&control)));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Its first line comes after some seconds, when all but one object is done.
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let progress = lines.next().unwrap().unwrap();
    assert!(progress.starts_with("verifying: 1 snapshot, 5 tree nodes; 4 of 5 data"), "{progress}");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(130), "{shown}");
    assert!(shown.starts_with(&format!("missing {}\n", key(&repo, &pack))), "{shown}");
    assert!(shown.contains("not finished; 1 object is bad so far: checked 1 snapshot"), "{shown}");
    assert_eq!(lines.next().unwrap().unwrap(), "vellum: interrupted");
}

#[test]
fn a_repaired_object_is_sound_again() {
    let (dir, repo) = everything();
    let chunk = objects(&repo, "chunks").remove(0);
    overwrite(&chunk, |bytes| bytes[0] ^= 1);
    assert_eq!(verify(&repo, &[]).0, 6);
    let other = format!("{}@other", text(&repo));
    ok(&mut vellum(["import", text(&dir.path().join("source")), &other]));
    assert_eq!(verify(&repo, &[]).0, 0);
    let name = chunk.file_name().unwrap().to_str().unwrap();
    assert_eq!(Hash::of(&fs::read(&chunk).unwrap()).to_string(), name);
}
