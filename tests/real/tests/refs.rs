//! Proofs of the commands that list, make and remove refs, with the real binary.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::{export, fails, import, ok, ok_json, overwrite, text, vellum, world};
use serde_json::Value;
use tempfile::TempDir;

/// A repository with a small tree, imported to `main`.
fn tree() -> (TempDir, PathBuf) {
    let (dir, repo) = world();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("top"), b"top").unwrap();
    import(&source, &repo);
    (dir, repo)
}

fn at(repo: &Path, name: &str) -> String {
    format!("{}@{name}", text(repo))
}

#[test]
fn branches_are_made_listed_and_removed() {
    let (dir, repo) = tree();
    let branch = |args: &[&str]| ok(vellum(["branch", text(&repo)]).args(args));
    let names = || -> Vec<String> {
        let listed = ok_json(&mut vellum(["branch", "--json", text(&repo)]));
        let rows = listed.as_array().unwrap().iter();
        rows.map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    let first = ok_json(&mut vellum(["log", "--json", text(&repo)]))[0]["snapshot"].clone();
    let first = first.as_str().unwrap().to_owned();
    assert_eq!(branch(&["dev"]), format!("made branch dev at {}\n", &first[..16]));
    fs::write(dir.path().join("source/top"), b"changed").unwrap();
    let mut second = vellum(["import", text(&dir.path().join("source")), &at(&repo, "dev")]);
    ok(second.args(["-m", "Second\nand more"]));
    for (name, start) in [("release/1", "dev"), ("old", &first[..8]), ("too", "branches/main")] {
        branch(&[name, start]);
    }
    assert_eq!(names(), ["dev", "main", "old", "release/1", "too"]);
    let rows = ok_json(&mut vellum(["branch", "--json", text(&repo)]));
    assert_eq!(
        (&rows[0]["generation"], &rows[0]["message"]),
        (&2.into(), &"Second\nand more".into())
    );
    assert_eq!((&rows[2]["snapshot"], &rows[2]["generation"]), (&first.as_str().into(), &1.into()));
    assert_eq!(rows[3]["snapshot"], rows[0]["snapshot"]);
    let shown = branch(&[]);
    let dev = shown.lines().find(|line| line.starts_with("dev ")).unwrap();
    let snapshot = rows[0]["snapshot"].as_str().unwrap();
    assert!(dev.contains(&snapshot[..16]) && dev.contains("  2  "), "{shown}");
    assert!(dev.ends_with("  Second") && dev.contains(" UTC"), "{shown}");
    let removed = branch(&["--delete", "release/1"]);
    assert_eq!(removed, format!("removed branch release/1, which was at {}\n", &snapshot[..16]));
    assert_eq!(names(), ["dev", "main", "old", "too"]);
    // Its name is free again, and its snapshots are still there.
    branch(&["release/1", snapshot]);
    assert_eq!(ok(&mut vellum(["log", &at(&repo, "release/1")])).lines().count(), 2);
}

#[test]
fn a_branch_is_not_made_over_another_nor_from_nothing() {
    let (_dir, repo) = tree();
    ok(&mut vellum(["branch", text(&repo), "dev"]));
    ok(&mut vellum(["tag", text(&repo), "v1"]));
    let before = ok(&mut vellum(["branch", text(&repo)]));
    let snapshot = ok_json(&mut vellum(["log", "--json", text(&repo)]))[0]["snapshot"].clone();
    let snapshot = &snapshot.as_str().unwrap()[..8];
    for (args, says) in [
        (&["dev", "main"][..], "goes by the name `dev` already"),
        (&["main"], "goes by the name `main` already"),
        (&["v1"], "goes by the name `v1` already"),
        (&[snapshot], "already"),
        (&["new", "none"], "no branch, tag or snapshot `none`"),
        (&["a..b"], "can't be the name of a ref"),
        (&["tags/x"], "no branch `tags/x`"),
        (&["--delete", "none"], "no branch `none`"),
        (&["--delete", "main"], "`main` can't be removed"),
        (&["--delete", "branches/main"], "`main` can't be removed"),
        (&["--delete"], "required"),
    ] {
        let said = fails(vellum(["branch", text(&repo)]).args(args), 2);
        assert!(said.contains(says), "{args:?}: {said}");
    }
    let said = fails(&mut vellum(["branch", &at(&repo, "dev")]), 2);
    assert!(said.contains("without @dev"), "{said}");
    assert_eq!(ok(&mut vellum(["branch", text(&repo)])), before);
}

#[test]
fn a_ref_is_removed_only_if_it_names_what_is_said() {
    let (dir, repo) = tree();
    ok(&mut vellum(["branch", text(&repo), "dev"]));
    ok(&mut vellum(["tag", text(&repo), "v1"]));
    fs::write(dir.path().join("source/top"), b"changed").unwrap();
    import(&dir.path().join("source"), &repo);
    for (command, name) in [("branch", "dev"), ("tag", "v1")] {
        let said = fails(&mut vellum([command, text(&repo), "--delete", name, "main"]), 5);
        assert!(said.contains(&format!("{command} `{name}` names another snapshot")), "{said}");
        assert!(ok(&mut vellum([command, text(&repo)])).contains(name));
        let parent = ok_json(&mut vellum(["log", "--json", text(&repo)]))[1]["snapshot"].clone();
        ok(&mut vellum([command, text(&repo), "--delete", name, parent.as_str().unwrap()]));
        assert!(!ok(&mut vellum([command, text(&repo)])).contains(name));
    }
}

#[test]
fn a_branch_without_a_snapshot_is_as_good_as_a_new_one() {
    let (_dir, repo) = world();
    let other = tree();
    assert_eq!(ok(&mut vellum(["branch", text(&repo)])), "main  0  no snapshot yet\n");
    let said = fails(&mut vellum(["branch", text(&repo), "dev"]), 2);
    assert!(said.contains("`main` has no snapshot yet"), "{said}");
    let source = other.0.path().join("source");
    ok(&mut vellum(["import", text(&source), &at(&repo, "dev")]));
    ok(&mut vellum(["branch", text(&repo), "main", "dev"]));
    assert_eq!(ok(&mut vellum(["log", text(&repo)])).lines().count(), 1);
    fails(&mut vellum(["branch", text(&repo), "main", "dev"]), 2);
}

#[test]
fn a_ref_that_can_not_be_read_is_told_beside_the_others() {
    let (_dir, repo) = tree();
    ok(&mut vellum(["branch", text(&repo), "dev"]));
    ok(&mut vellum(["branch", text(&repo), "a/b"]));
    overwrite(&repo.join("refs/branches/dev"), |bytes| bytes.truncate(5));
    let (code, shown, _) = common::run(&mut vellum(["branch", text(&repo)]));
    assert_eq!((code, shown.lines().count()), (6, 3), "{shown}");
    assert!(shown.contains("refs/branches/dev is not valid"), "{shown}");
    let (code, shown, _) = common::run(&mut vellum(["branch", "--json", text(&repo)]));
    let rows: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((code, &rows[0]["name"]), (6, &"a/b".into()));
    assert!(rows[1]["error"].is_string() && rows[2]["snapshot"].is_string(), "{rows}");
}

#[test]
fn a_tag_never_moves_and_names_its_snapshot_for_ever() {
    let (dir, repo) = tree();
    assert_eq!(ok(&mut vellum(["tag", text(&repo)])), "");
    let tagged = ok_json(&mut vellum(["tag", text(&repo), "v1.0", "--json"]));
    fs::write(dir.path().join("source/top"), b"changed").unwrap();
    import(&dir.path().join("source"), &repo);
    let said = fails(&mut vellum(["tag", text(&repo), "v1.0"]), 2);
    assert!(said.contains("`v1.0` already") && said.contains("--delete"), "{said}");
    let out = dir.path().join("out");
    export(&at(&repo, "v1.0"), &out);
    assert_eq!(fs::read(out.join("top")).unwrap(), b"top");
    let rows = ok_json(&mut vellum(["tag", text(&repo), "--json"]));
    assert_eq!((&rows[0]["name"], &rows[0]["snapshot"]), (&"v1.0".into(), &tagged["snapshot"]));
    let said = fails(&mut vellum(["tag", text(&repo), "main"]), 2);
    assert!(said.contains("`main` already"), "{said}");
    let source = dir.path().join("source");
    let said = fails(&mut vellum(["import", text(&source), &at(&repo, "v1.0")]), 2);
    assert!(said.contains("not a branch"), "{said}");
    ok(&mut vellum(["tag", text(&repo), "--delete", "tags/v1.0"]));
    ok(&mut vellum(["tag", text(&repo), "v1.0", "main"]));
    let rows = ok_json(&mut vellum(["tag", text(&repo), "--json"]));
    assert_ne!(rows[0]["snapshot"], tagged["snapshot"]);
}

#[test]
fn of_many_who_make_one_branch_one_does() {
    let (dir, repo) = tree();
    let control = dir.path().join("control");
    fs::write(&control, b"").unwrap();
    let hook = format!("stuck=refs/branches/new@{}", text(&control));
    let make = || {
        let mut command = vellum(["branch", text(&repo), "new"]);
        command.env("VELLUM_TEST_STORE", &hook).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let children: Vec<_> = (0..6).map(|_| make()).collect();
    fs::remove_file(&control).unwrap();
    let outputs = children.into_iter().map(|child| child.wait_with_output().unwrap());
    let codes: Vec<_> = outputs.map(|output| output.status.code().unwrap()).collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    // The others found it, or were overtaken.
    assert!(codes.iter().all(|code| matches!(code, 0 | 2 | 5)), "{codes:?}");
    let rows = ok_json(&mut vellum(["branch", text(&repo), "--json"]));
    assert_eq!((&rows[1]["name"], &rows[1]["generation"]), (&"new".into(), &1.into()));
}
