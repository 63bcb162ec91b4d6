//! Proofs that faults are named and nothing is lost or wrong: damage, races, signals, a full store.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::process::Stdio;
use std::time::Duration;

use common::tree::assert_same;
use common::{
    export, fails, import, objects, ok, ok_json, overwrite, run, sparse, text, vellum, wait_until,
    world,
};

#[test]
fn damaged_cut_and_missing_objects_are_named_and_nothing_wrong_is_written() {
    let (dir, repo) = world();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("big"), vec![3; 5 << 20]).unwrap();
    fs::write(source.join("one"), b"one").unwrap();
    fs::write(source.join("two"), b"two").unwrap();
    import(&source, &repo);
    let mut all = objects(&repo, "chunks");
    all.extend(objects(&repo, "trees"));
    all.extend(objects(&repo, "snapshots"));
    assert_eq!(all.len(), 5);
    for (index, object) in all.iter().enumerate() {
        let key = object.strip_prefix(&repo).unwrap().to_str().unwrap();
        let sound = fs::read(object).unwrap();
        let damages: [(&str, &dyn Fn()); 3] = [
            ("damaged", &|| overwrite(object, |bytes| bytes[0] ^= 1)),
            ("damaged", &|| overwrite(object, |bytes| bytes.truncate(bytes.len() - 1))),
            ("missing", &|| fs::remove_file(object).unwrap()),
        ];
        for (number, (says, damage)) in damages.into_iter().enumerate() {
            damage();
            let out = dir.path().join(format!("out-{index}-{number}"));
            let error = fails(&mut vellum(["export", text(&repo), text(&out)]), 6);
            assert!(error.contains(key) && error.contains(says), "{key}: {error}");
            for name in ["big", "one", "two"] {
                let exact = fs::read(out.join(name)).ok().filter(|got| !got.is_empty());
                if let Some(got) = exact.filter(|got| got.iter().any(|byte| *byte != 0)) {
                    let sound = fs::read(source.join(name)).unwrap();
                    let written = got.iter().zip(&sound).all(|(a, b)| a == b || *a == 0);
                    assert!(written && got.len() == sound.len(), "{name}");
                }
            }
            fs::write(object, &sound).unwrap();
        }
    }
    export(text(&repo), &dir.path().join("out"));
}

#[test]
fn a_damaged_object_is_repaired_by_importing_its_content_again() {
    let (dir, repo) = world();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("big"), vec![3; 1 << 20]).unwrap();
    import(&source, &repo);
    let chunk = objects(&repo, "chunks").remove(0);
    overwrite(&chunk, |bytes| bytes[77] = 0);
    let other = format!("{}@other", text(&repo));
    let error = run(&mut vellum(["import", text(&source), &other])).2;
    assert!(error.contains("damaged: writing it anew"), "{error}");
    export(text(&repo), &dir.path().join("out"));
}

#[test]
fn of_two_imports_that_race_for_one_branch_one_is_told_of_a_conflict() {
    let (dir, repo) = world();
    let control = dir.path().join("control");
    let source = |name: &str| {
        let path = dir.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("file"), name).unwrap();
        path
    };
    let (slow, fast) = (source("slow"), source("fast"));
    fs::write(&control, b"").unwrap();
    let mut command = vellum(["import", text(&slow), text(&repo)]);
    let hook = format!("stuck=snapshots/@{}", text(&control));
    let command = command.env("VELLUM_TEST_STORE", hook).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It has read the branch when its first objects are there.
    wait_until(|| repo.join("trees").exists());
    let winner = import(&fast, &repo);
    fs::remove_file(&control).unwrap();
    let mut error = String::new();
    child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(5), "{error}");
    assert!(error.contains(winner["snapshot"].as_str().unwrap()), "{error}");
    let log = ok_json(&mut vellum(["log", text(&repo), "--json"]));
    assert_eq!((log.as_array().unwrap().len(), &log[0]["snapshot"]), (1, &winner["snapshot"]));
    import(&slow, &repo);
    assert_eq!(ok(&mut vellum(["log", text(&repo)])).lines().count(), 2);
}

#[test]
fn an_interrupted_import_ends_at_once_and_publishes_nothing() {
    let (dir, repo) = world();
    let (source, control) = (dir.path().join("source"), dir.path().join("control"));
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), b"x").unwrap();
    fs::write(&control, b"").unwrap();
    let mut command = vellum(["import", text(&source), text(&repo)]);
    let hook = format!("stuck=snapshots/@{}", text(&control));
    let command = command.env("VELLUM_TEST_STORE", hook).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    wait_until(|| repo.join("trees").exists());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    // The store is still stuck: nothing was waited for.
    assert!(control.exists());
    assert_eq!(ok(&mut vellum(["log", text(&repo)])), "");
}

#[test]
fn a_full_store_is_told_and_the_repository_stays_whole() {
    let (dir, repo) = world();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), b"first").unwrap();
    import(&source, &repo);
    fs::write(source.join("big"), vec![1; 30 << 20]).unwrap();
    let mut command = vellum(["import", text(&source), text(&repo)]);
    let error = fails(command.env("VELLUM_TEST_STORE", "nospace=3000000"), 7);
    assert!(error.contains("no space left in the store") && error.contains("chunks/"), "{error}");
    assert_eq!(ok(&mut vellum(["log", text(&repo)])).lines().count(), 1);
    import(&source, &repo);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_named() {
    let (dir, repo) = world();
    let (source, control) = (dir.path().join("source"), dir.path().join("control"));
    fs::create_dir(&source).unwrap();
    // More chunks than are in memory at once, so that reading waits for the store.
    sparse(&source.join("growing"), 200 << 20, &[]);
    let file = File::options().write(true).open(source.join("growing")).unwrap();
    for chunk in 0..50 {
        file.write_all_at(&[chunk as u8 + 1; 4096], chunk << 22).unwrap();
    }
    fs::write(&control, b"").unwrap();
    let mut command = vellum(["import", text(&source), text(&repo)]);
    let hook = format!("stuck=chunks/@{}", text(&control));
    let command = command.env("VELLUM_TEST_STORE", hook).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    wait_until(|| {
        let open = fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap();
        let names = |entry: fs::DirEntry| fs::read_link(entry.path()).ok();
        open.flatten().filter_map(names).any(|path| path.ends_with("growing"))
    });
    file.write_all_at(b"changed", 100 << 20).unwrap();
    fs::remove_file(&control).unwrap();
    let mut error = String::new();
    child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(2), "{error}");
    assert!(error.contains("growing changed while it was read"), "{error}");
}

/// An import is killed at many moments; what was published stays whole, and the next one succeeds.
#[test]
fn a_killed_import_leaves_the_old_head_or_the_new_one() {
    let (dir, repo) = world();
    let source = dir.path().join("source");
    for number in 0..300 {
        let folder = source.join(format!("{}", number % 30));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{number}")), format!("{number} of round 0")).unwrap();
    }
    fs::write(source.join("big"), vec![1; 9 << 20]).unwrap();
    import(&source, &repo);
    let (mut killed, mut moved) = (0, 0);
    for round in 1..=25 {
        let before = ok_json(&mut vellum(["log", text(&repo), "--json"]));
        for number in 0..300 {
            let path = source.join(format!("{}/{number}", number % 30));
            fs::write(path, format!("{number} of round {round}")).unwrap();
        }
        fs::write(source.join("big"), vec![round; 9 << 20]).unwrap();
        let mut child =
            vellum(["import", text(&source), text(&repo)]).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(u64::from(round) * 8));
        child.kill().unwrap();
        let was_killed = !child.wait().unwrap().success();
        killed += u32::from(was_killed);
        let log = ok_json(&mut vellum(["log", text(&repo), "--json"]));
        let out = dir.path().join(format!("out-{round}"));
        export(text(&repo), &out);
        if log == before {
            assert!(was_killed, "round {round} ended well and published nothing");
            let old = fs::read_to_string(out.join("7/7")).unwrap();
            assert!(!old.ends_with(&format!(" {round}")), "{old}");
        } else {
            moved += 1;
            assert_same(&source, &out);
        }
        fs::remove_dir_all(&out).unwrap();
    }
    assert!(killed > 0, "no import was killed");
    import(&source, &repo);
    let out = dir.path().join("out");
    export(text(&repo), &out);
    assert_same(&source, &out);
    println!("{killed} were killed, {moved} published");
}

#[test]
fn a_name_that_is_no_branch_is_not_made_one() {
    let (dir, repo) = world();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    let snapshot = import(&source, &repo)["snapshot"].as_str().unwrap()[..8].to_owned();
    let on_snapshot = format!("{}@{snapshot}", text(&repo));
    let error = fails(&mut vellum(["import", text(&source), &on_snapshot]), 2);
    assert!(error.contains("is not a branch"), "{error}");
    let error =
        fails(&mut vellum(["import", text(&source), &format!("{}@tags/v1", text(&repo))]), 2);
    assert!(error.contains("is not a branch"), "{error}");
}
