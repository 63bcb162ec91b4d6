//! Options from files and the environment, and lines of the log as JSON.

#![allow(clippy::unwrap_used)]

mod common;
mod mounted;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mounted::{Bench, until};
use serde_json::Value;

/// Files of settings: the host's and the user's.
struct Files {
    system: PathBuf,
    own: PathBuf,
}

impl Files {
    fn new(bench: &Bench, system: &str, own: &str) -> Self {
        let own_dir = bench.path("config/vellum");
        fs::create_dir_all(&own_dir).unwrap();
        let files = Self { system: bench.path("system.toml"), own: own_dir.join("config.toml") };
        fs::write(&files.system, system).unwrap();
        fs::write(&files.own, own).unwrap();
        files
    }

    fn given<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let config = self.own.parent().unwrap().parent().unwrap();
        command.env("VELLUM_SYSTEM_CONFIG", &self.system).env("XDG_CONFIG_HOME", config)
    }
}

fn show(bench: &Bench, files: &Files, args: &[&str]) -> Value {
    let mut show = bench.vellum(["config", "show", "--origin", "--json"]);
    common::ok_json(files.given(show.args(args)))
}

fn origin(path: &Path, line: u32) -> String {
    format!("{}:{line}", path.display())
}

#[test]
fn flags_go_before_the_environment_that_before_files_and_those_before_defaults() {
    let bench = Bench::new();
    let files =
        Files::new(&bench, "memory = \"256M\"\nallow_other = true\n", "memory = \"128M\"\n");
    let limit = |name: &str, args: &[&str], env: Option<&str>| {
        let point = bench.path(name);
        fs::create_dir_all(&point).unwrap();
        let mut command = bench.vellum(["mount"]);
        files.given(command.args(args).arg(bench.repository()).arg(&point));
        if let Some(value) = env {
            command.env("VELLUM_MEMORY", value);
        }
        common::ok(&mut command);
        let mount = bench.mounted(name);
        let stats = common::ok_json(mount.vellum("stats").arg("--json"));
        let table = fs::read_to_string("/proc/self/mounts").unwrap();
        let line = table.lines().find(|line| line.contains(point.to_str().unwrap())).unwrap();
        let others = line.contains("allow_other");
        mount.unmount();
        (stats["now"]["memory_limit_bytes"].as_u64().unwrap() >> 20, others)
    };
    assert_eq!(limit("a", &["--memory", "64M"], Some("96M")), (64, true));
    assert_eq!(limit("b", &["--allow-other=false"], Some("96M")), (96, false));
    assert_eq!(limit("c", &[], None), (128, true));
    fs::write(&files.own, "").unwrap();
    assert_eq!(limit("d", &[], None), (256, true));
    fs::remove_file(&files.system).unwrap();
    assert_eq!(limit("e", &[], None), (1024, false));
}

#[test]
fn the_author_of_a_file_signs_imports_and_commits() {
    let bench = Bench::new();
    let text = "author = \"everywhere\"\n[repository.\"REPO\"]\nauthor = \"here\"\n";
    let text = text.replace("REPO", bench.path("repo").to_str().unwrap());
    let files = Files::new(&bench, &text, "");
    fs::create_dir(bench.path("tree")).unwrap();
    let mut import = bench.vellum(["import"]);
    common::ok(files.given(import.arg(bench.path("tree")).arg(bench.path("repo"))));
    let mut log = bench.vellum(["log", "--json"]);
    let log = common::ok_json(log.arg(bench.path("repo")));
    // In a bucket it is another repository, for which the section does not count.
    let here = bench.repository() == bench.path("repo");
    assert!(!here || log[0]["author"] == "here", "{log}");
    if here {
        let mount = bench.mount("mnt");
        fs::write(mount.path("file"), b"text").unwrap();
        common::ok(files.given(mount.vellum("commit").args(["-m", "it"])));
        let log = common::ok_json(bench.vellum(["log", "--json"]).arg(bench.path("repo")));
        assert_eq!(log[0]["author"], "here", "the section of what is mounted counts");
        mount.unmount();
    }
}

#[test]
fn config_show_says_what_counts_and_where_it_is_from() {
    let bench = Bench::bare(mounted::store::Place::Directory);
    let system = "region = \"host\"\n\n[repository.\"s3://bucket/models\"]\nregion = \"models\"\n";
    let files = Files::new(&bench, system, "sse = \"AES256\"\npath_style = true\n");
    let plain = show(&bench, &files, &[]);
    assert_eq!(plain["region"]["value"], "host");
    assert_eq!(plain["region"]["origin"], origin(&files.system, 1));
    assert_eq!(plain["path_style"]["value"], true);
    assert_eq!(plain["path_style"]["origin"], origin(&files.own, 2));
    assert_eq!(
        (&plain["memory"]["value"], &plain["memory"]["origin"]),
        (&"1G".into(), &"default".into())
    );
    assert_eq!(plain["metrics"]["value"], Value::Null);
    let models = show(&bench, &files, &["s3://bucket/models/new@main"]);
    assert_eq!(models["region"]["value"], "models");
    assert_eq!(models["region"]["origin"], origin(&files.system, 4));
    let mut command = bench.vellum(["config", "show"]);
    let text = common::ok(files.given(command.arg("--origin").env("VELLUM_REGION", "env")));
    let line = text.lines().find(|line| line.starts_with("region")).unwrap();
    assert!(line.contains(" env ") && line.ends_with("environment VELLUM_REGION"), "{line}");
    let mut command = bench.vellum(["config", "show"]);
    let said = common::fails(files.given(command.env("VELLUM_MEMORY", "lots")), 2);
    assert!(said.contains("VELLUM_MEMORY") && said.contains("lots"), "{said}");
}

#[test]
fn a_file_with_a_mistake_stops_what_takes_settings_and_names_file_line_and_key() {
    let bench = Bench::new();
    let files = Files::new(&bench, "", "memory = \"1G\"\nmemroy = \"2G\"\n");
    for args in [vec!["log", "REPO"], vec!["config", "show"], vec!["init", "other"]] {
        let mut command = bench.vellum(std::iter::empty());
        let repo = bench.repository();
        let args = args.iter().map(|arg| if *arg == "REPO" { repo.to_str().unwrap() } else { arg });
        let said = common::fails(files.given(command.args(args)), 2);
        assert!(said.contains(&origin(&files.own, 2)) && said.contains("`memroy`"), "{said}");
        assert!(said.contains("memory, allow_other"), "the keys there are: {said}");
    }
    let mut help = bench.vellum(["mount", "--help"]);
    let said = common::ok(files.given(&mut help));
    assert!(said.contains("[env: VELLUM_MEMORY="), "{said}");
    common::ok(files.given(&mut bench.vellum(["completions", "bash"])));
    fs::write(&files.own, "secret_access_key = \"x\"\n").unwrap();
    let said = common::fails(files.given(bench.vellum(["log"]).arg(bench.repository())), 2);
    assert!(said.contains("Credentials stay where AWS tools keep them"), "{said}");
}

#[test]
fn a_file_with_a_mistake_keeps_nobody_from_a_mount_that_runs() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    fs::write(mount.path("a"), b"1").unwrap();
    let files = Files::new(&bench, "", "memroy = \"2G\"\n");
    let mut diff = bench.vellum(["diff"]);
    // There is something to say.
    common::fails(files.given(diff.arg(bench.path("mnt"))), 1);
    for words in [&["status"][..], &["stats"], &["discard", "--yes"], &["umount"]] {
        let mut command = bench.vellum(words.iter().copied());
        common::ok(files.given(command.arg(bench.path("mnt"))));
    }
    let mut umount = bench.vellum(["umount", "--commit"]);
    let said = common::fails(files.given(umount.arg(bench.path("mnt"))), 2);
    assert!(said.contains("memroy"), "{said}");
}

/// The lines of a log, each an object of the same form.
fn lines(text: &str) -> Vec<Value> {
    let read = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        for key in ["time", "level", "target", "message"] {
            assert!(line[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {line}");
        }
        assert!(line["fields"].is_object(), "{line}");
        let time = line["time"].as_str().unwrap();
        assert!(time.len() == 27 && time.ends_with('Z') && time.contains('T'), "{time}");
        line
    };
    text.lines().map(read).collect()
}

#[test]
fn every_line_of_a_json_log_is_an_object_that_of_the_daemon_too() {
    let bench = Bench::new();
    let mount = bench.mount_with("mnt", &["--log-format", "json", "-vvv"]);
    fs::write(mount.path("file"), b"text").unwrap();
    let pid = rustix::process::Pid::from_raw(mount.pid()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    until("the daemon says why it stays", || mount.log().contains("uncommitted"));
    let log = lines(&mount.log());
    let kept = log.iter().find(|line| line["level"] == "ERROR").unwrap();
    assert!(kept["message"].as_str().unwrap().contains("not unmounted"), "{kept}");
    assert_eq!(kept["fields"]["changed"], 1);
    assert!(kept["target"].as_str().unwrap().starts_with("vellum::"), "{kept}");

    let args = ["-m", "it", "--progress", "json", "--log-format=json"];
    let (code, _, stderr) = common::run(mount.vellum("commit").args(args));
    let events = lines(&stderr);
    assert!(code == 0 && events.last().unwrap()["phase"] == "done", "{stderr}");
    assert_eq!(events.last().unwrap()["fields"]["phase"], "done");
    mount.unmount();
}

#[test]
fn errors_are_lines_of_a_json_log_however_early_they_come() {
    let bench = Bench::new();
    let missing = bench.path("missing");
    let mut log = bench.vellum(["log", "--log-format", "json"]);
    let said = lines(&common::fails(log.arg(&missing), 2));
    assert_eq!(said.len(), 1);
    assert_eq!((&said[0]["level"], &said[0]["target"]), (&"ERROR".into(), &"vellum".into()));
    assert_eq!(
        (&said[0]["fields"]["exit"], &said[0]["fields"]["kind"]),
        (&2.into(), &"usage".into())
    );
    let mut log = bench.vellum(["log", "--json"]);
    let said = lines(&common::fails(log.env("VELLUM_LOG_FORMAT", "json").arg(&missing), 2));
    assert_eq!(said[0]["error"]["what"], said[0]["message"]);
    let wrong = common::fails(&mut bench.vellum(["--log-format=json", "log", "--nonsense"]), 2);
    assert_eq!(lines(&wrong).len(), 1);
    let files = Files::new(&bench, "", "x = 1");
    let mut log = bench.vellum(["log", "--log-format", "json"]);
    assert_eq!(lines(&common::fails(files.given(log.arg(&missing)), 2)).len(), 1);
    common::fails(bench.vellum(["log", "--log-format", "xml"]).arg(&missing), 2);
}
