//! Proofs of the commands that look into a repository and name what is in it, with the real binary.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use common::{fails, import, objects, ok, overwrite, sparse, text, vellum, world};
use serde_json::Value;
use tempfile::TempDir;

/// A repository with a small tree, imported to `main`.
fn tree() -> (TempDir, PathBuf) {
    let (dir, repo) = world();
    let source = dir.path().join("source");
    fs::create_dir_all(source.join("dir/below")).unwrap();
    fs::write(source.join("dir/b"), b"bytes of b\n").unwrap();
    fs::write(source.join("dir/a"), b"bytes of a\n").unwrap();
    fs::write(source.join("dir/below/cherry"), b"c").unwrap();
    fs::write(source.join("top"), b"top").unwrap();
    fs::hard_link(source.join("top"), source.join("dir/top-again")).unwrap();
    symlink("dir/a", source.join("link")).unwrap();
    fs::set_permissions(source.join("dir/a"), Permissions::from_mode(0o4640)).unwrap();
    import(&source, &repo);
    (dir, repo)
}

fn at(repo: &Path, name: &str) -> String {
    format!("{}@{name}", text(repo))
}

fn json_lines(shown: &str) -> Vec<Value> {
    shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The most memory that a process that still runs has had, in MiB.
fn peak_mib(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

#[test]
fn a_directory_is_listed_in_order_and_recursively_with_what_is_in_it_behind_it() {
    let (_dir, repo) = tree();
    let ls = |args: &[&str]| ok(vellum(["ls", text(&repo)]).args(args));
    assert_eq!(ls(&[]), "dir\nlink\ntop\n");
    for path in ["dir", "/dir/", "./dir"] {
        assert_eq!(ls(&[path]), "a\nb\nbelow\ntop-again\n");
    }
    assert_eq!(
        ls(&["-R"]),
        "dir\ndir/a\ndir/b\ndir/below\ndir/below/cherry\ndir/top-again\nlink\ntop\n"
    );
    assert_eq!(ls(&["dir", "--recursive"]), "a\nb\nbelow\nbelow/cherry\ntop-again\n");
    assert_eq!(ls(&["dir/a"]), "dir/a\n");
    let said = fails(&mut vellum(["ls", text(&repo), "dir/none"]), 2);
    assert!(said.contains("no such path: dir/none"), "{said}");
    fails(&mut vellum(["ls", text(&repo), "top/x"]), 2);
    fails(&mut vellum(["ls", &at(&repo, "nowhere")]), 2);
}

#[test]
fn a_long_listing_shows_mode_names_owner_size_time_and_target() {
    let (dir, repo) = tree();
    let shown = ok(&mut vellum(["ls", "-lR", text(&repo)]));
    let fields = |name: &str| -> Vec<String> {
        let line = shown.lines().find(|line| line.contains(&format!(" UTC {name}"))).unwrap();
        line.split_whitespace().map(str::to_owned).collect()
    };
    let owner = {
        use std::os::unix::fs::MetadataExt;
        let meta = fs::metadata(dir.path().join("source")).unwrap();
        format!("{}:{}", meta.uid(), meta.gid())
    };
    assert_eq!(fields("dir/a")[..4], ["-rwSr-----".to_owned(), "1".into(), owner, "11".into()]);
    assert_eq!(fields("dir/top-again")[1], "2");
    assert_eq!(fields("top")[3], "3");
    assert_eq!((&fields("dir")[0][..1], &fields("dir")[3][..]), ("d", "-"));
    assert!(shown.lines().any(|line| line.starts_with('l') && line.ends_with("link -> dir/a")));
    // Without its entry in the link table a name is still a name.
    assert_eq!(ok(&mut vellum(["ls", text(&repo), "dir"])).lines().count(), 4);
}

#[test]
fn names_are_raw_in_a_pipe_and_told_in_json_whatever_bytes_they_have() {
    let (dir, repo) = world();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    let odd = OsStr::from_bytes(b"odd \xff \n\x1b[2J");
    fs::write(source.join(odd), b"x").unwrap();
    symlink(OsStr::from_bytes(b"\xfe"), source.join("z")).unwrap();
    import(&source, &repo);
    let raw = vellum(["ls", text(&repo)]).output().unwrap().stdout;
    assert_eq!(raw, b"odd \xff \n\x1b[2J\nz\n");
    let rows = json_lines(&ok(&mut vellum(["ls", "--json", text(&repo)])));
    assert_eq!((rows.len(), &rows[0]["kind"], &rows[0]["size"]), (2, &"file".into(), &1.into()));
    assert_eq!(rows[0]["path_hex"], "6f646420ff200a1b5b324a");
    assert!(rows[1].get("path_hex").is_none());
    assert_eq!((&rows[1]["kind"], &rows[1]["target_hex"]), (&"symlink".into(), &"fe".into()));
}

#[test]
fn json_has_everything_of_a_name() {
    let (_dir, repo) = tree();
    let rows = json_lines(&ok(&mut vellum(["ls", "-R", "--json", text(&repo)])));
    let row = |path: &str| rows.iter().find(|row| row["path"] == path).unwrap();
    assert_eq!((&row("dir/a")["mode"], &row("dir/a")["names"]), (&"4640".into(), &1.into()));
    assert_eq!(row("top")["ino"], row("dir/top-again")["ino"]);
    assert_eq!((&row("top")["names"], &row("link")["target"]), (&2.into(), &"dir/a".into()));
    assert!(row("dir").get("size").is_none());
    assert!(row("dir")["time"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn only_the_nodes_that_a_listing_needs_are_read() {
    let (_dir, repo) = tree();
    let needed = ok(&mut vellum(["ls", "-v", text(&repo)]));
    let [nodes] = &objects(&repo, "trees")[..] else { panic!("one import, one object") };
    let sound = fs::read(nodes).unwrap();
    // The table of links comes last, and has no name that a directory before it does not have.
    let last = sound.len() - 3;
    let damages: [(&dyn Fn(), i32); 4] = [
        (&|| common::damage_node(nodes, b"cherry"), 0),
        (&|| common::damage_node(nodes, b"below"), 0),
        (&|| overwrite(nodes, |bytes| bytes[last] ^= 1), 0),
        (&|| common::damage_node(nodes, b"link"), 6),
    ];
    for (number, (damage, expected)) in damages.into_iter().enumerate() {
        damage();
        let (code, shown, _) = common::run(&mut vellum(["ls", text(&repo)]));
        assert_eq!(code, expected, "{number}: {shown}");
        if code == 0 {
            assert_eq!(shown, needed);
        }
        let (code, shown, _) = common::run(&mut vellum(["ls", "-lR", text(&repo)]));
        assert_eq!(code, 6, "{number}: {shown}");
        overwrite(nodes, |bytes| bytes.clone_from(&sound));
    }
}

#[test]
fn what_comes_before_a_damaged_directory_is_listed_before_it_is_named() {
    let (_dir, repo) = tree();
    let [nodes] = &objects(&repo, "trees")[..] else { panic!("one import, one object") };
    common::damage_node(nodes, b"cherry");
    let (code, shown, said) = common::run(&mut vellum(["ls", "-R", text(&repo)]));
    assert_eq!((code, shown.as_str()), (6, "dir\ndir/a\ndir/b\ndir/below\n"));
    assert!(said.contains(nodes.file_name().unwrap().to_str().unwrap()), "{said}");
}

#[test]
fn a_directory_of_100_000_names_is_listed_in_bounded_memory() {
    let (dir, repo) = world();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    for number in 0..100_000 {
        File::create(source.join(format!("{number:0100}"))).unwrap();
    }
    import(&source, &repo);
    for (args, mib) in [(&["-l"][..], 40), (&["-R"][..], 40)] {
        let mut command = vellum(["ls", text(&repo)]);
        let mut child = command.args(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for number in 0..99_000 {
            let line = lines.next().unwrap().unwrap();
            assert!(line.ends_with(&format!("{number:0100}")), "{number}: {line}");
        }
        // The rest does not fit into the pipe and the reader's buffer: it still runs.
        let peak = peak_mib(&child);
        assert_eq!(lines.count(), 1000);
        assert!(child.wait().unwrap().success());
        println!("{args:?}: {peak} MiB");
        assert!(peak < mib, "{args:?}: {peak} MiB");
    }
}

#[test]
fn files_are_written_one_behind_the_other_with_holes_as_zeros() {
    let (dir, repo) = world();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("small"), b"small\n").unwrap();
    fs::write(source.join("empty"), b"").unwrap();
    fs::hard_link(source.join("small"), source.join("linked")).unwrap();
    let big: Vec<u8> = (0..9_000_000_u32).map(|i| (i % 251) as u8).collect();
    fs::write(source.join("big"), &big).unwrap();
    // Piece trees: with holes before, between and behind the data.
    let many: Vec<(u64, &[u8])> = (1..30).map(|i| (i << 23, b"piece".as_slice())).collect();
    sparse(&source.join("sparse"), 250 << 20, &many);
    import(&source, &repo);
    let cat = |paths: &[&str]| {
        let output = vellum(["cat", text(&repo)]).args(paths).output().unwrap();
        assert!(output.status.success(), "{paths:?}");
        output.stdout
    };
    assert_eq!(cat(&["small"]), b"small\n");
    assert_eq!(cat(&["empty"]), b"");
    assert!(cat(&["big"]) == big);
    assert_eq!(cat(&["/small", "empty", "./linked"]), b"small\nsmall\n");
    assert!(cat(&["small", "sparse"])[6..] == fs::read(source.join("sparse")).unwrap());
}

#[test]
fn what_is_no_file_is_an_error_and_then_nothing_is_written() {
    let (_dir, repo) = tree();
    for (path, says) in [
        ("dir", "dir is a directory, not a file"),
        ("/", "/ is a directory"),
        ("link", "link is a symbolic link"),
        ("none", "no such path: none"),
    ] {
        let (code, shown, said) = common::run(&mut vellum(["cat", text(&repo), "top", path]));
        assert_eq!((code, shown.as_str()), (2, ""), "{path}");
        assert!(said.contains(says), "{said}");
    }
    fails(&mut vellum(["cat", text(&repo)]), 2);
}

#[test]
fn damaged_bytes_are_never_written() {
    let (dir, repo) = world();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    let big: Vec<u8> = (0..20_u8).flat_map(|chunk| vec![chunk; 4 << 20]).collect();
    fs::write(source.join("big"), &big).unwrap();
    import(&source, &repo);
    let is_13 = |object: &PathBuf| fs::read(object).unwrap()[0] == 13;
    let object = objects(&repo, "chunks").into_iter().find(is_13).unwrap();
    overwrite(&object, |bytes| bytes[4_000_000] ^= 1);
    let output = vellum(["cat", text(&repo), "big"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains(object.file_name().unwrap().to_str().unwrap()), "{said}");
    assert!(output.stdout == big[..13 * (4 << 20)]);
}

/// A file of 256 MiB that takes one chunk of a repository.
fn long_file() -> (TempDir, PathBuf) {
    let (dir, repo) = world();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    let file = File::create(source.join("long")).unwrap();
    for chunk in 0..128 {
        file.write_all_at(&[7; 4 << 20], chunk << 22).unwrap();
    }
    import(&source, &repo);
    (dir, repo)
}

#[test]
fn a_reader_that_goes_away_ends_a_command_without_an_error() {
    let (dir, repo) = long_file();
    let source = dir.path().join("names");
    fs::create_dir(&source).unwrap();
    for number in 0..3000 {
        File::create(source.join(format!("{number:0100}"))).unwrap();
    }
    ok(&mut vellum(["import", text(&source), &at(&repo, "names")]));
    for args in [
        vec!["cat".into(), text(&repo).into(), "long".into()],
        vec!["ls".into(), at(&repo, "names")],
    ] {
        let mut command = vellum(&args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 10];
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut first).unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            (output.status.code(), output.stderr.as_slice()),
            (Some(0), &b""[..]),
            "{args:?}"
        );
    }
}

#[test]
fn a_long_file_is_written_in_bounded_memory_and_a_signal_ends_it() {
    let (_dir, repo) = long_file();
    let mut command = vellum(["cat", text(&repo), "long"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut most = vec![0; 400 << 20];
    stdout.read_exact(&mut most).unwrap();
    assert!(most.iter().all(|byte| *byte == 7));
    let peak = peak_mib(&child);
    println!("{peak} MiB");
    // 64 MiB are read ahead, and the allocator keeps about as much again.
    assert!(peak < 240, "{peak} MiB");
    // Nobody reads, and it waits with a full pipe.
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.as_str()), (Some(130), "vellum: interrupted\n"));
}

/// The commands that the program has.
fn commands() -> BTreeSet<String> {
    let help = ok(&mut vellum(["--help"]));
    let listed = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let lines = listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let name = |line: &str| line.split_whitespace().next().unwrap().to_owned();
    lines.map(name).filter(|name| name != "help").collect()
}

#[test]
fn every_command_has_a_manual_page_and_a_row_in_the_readme() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man/pages");
    assert_eq!(ok(&mut vellum(["man", text(&pages)])), "");
    let commands = commands();
    assert!(commands.len() >= 16, "{commands:?}");
    let mut expected: BTreeSet<_> =
        commands.iter().map(|command| format!("vellum-{command}.1")).collect();
    expected.insert("vellum.1".to_owned());
    // Two commands have commands of their own.
    for below in
        ["config-show", "sim-run", "sim-replay", "sim-shrink", "sim-bench", "sim-exhaustive"]
    {
        expected.insert(format!("vellum-{below}.1"));
    }
    let names = fs::read_dir(&pages).unwrap().map(|entry| entry.unwrap().file_name());
    let written: BTreeSet<_> = names.map(|name| name.into_string().unwrap()).collect();
    assert_eq!(written, expected);
    let page = fs::read_to_string(pages.join("vellum-verify.1")).unwrap();
    assert!(page.contains(".TH vellum-verify") && page.contains("sample"), "{page}");
    let first = ok(&mut vellum(["man"]));
    assert!(first.contains(".TH vellum 1") && first.contains("import"), "{first}");
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    for command in commands {
        assert!(readme.contains(&format!("| `vellum {command} ")), "{command}");
    }
    let said = fails(&mut vellum(["man", "/proc/none"]), 2);
    assert!(said.contains("/proc/none"), "{said}");
}

#[test]
fn every_shell_is_told_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = ok(&mut vellum(["completions", shell]));
        for command in commands() {
            assert!(script.contains(&command), "{shell}: {command}");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script");
    fs::write(&script, ok(&mut vellum(["completions", "bash"]))).unwrap();
    let checked = std::process::Command::new("bash").arg("-n").arg(&script).status().unwrap();
    assert!(checked.success());
    fails(&mut vellum(["completions", "cmd"]), 2);
}

#[test]
fn the_help_of_a_removal_says_that_a_commit_may_come_between() {
    let help = ok(&mut vellum(["branch", "--help"]));
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("A commit to it that is under way at the same time may"), "{help}");
    let help = ok(&mut vellum(["ls", "--help"]));
    assert!(help.contains("On a terminal a name with"), "{help}");
}
