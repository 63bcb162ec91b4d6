//! Programs that know nothing of Vellum do their work in a mount, and what they made is what
//! another mount shows. Sizes and programs: see `common/programs.rs`.

#![allow(clippy::unwrap_used)]

mod common;
mod mounted;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use common::programs::{done, long, program, rsync_finds_nothing, shell};
use mounted::{Bench, Mount};

/// Commits, and asserts that another mount and an export show exactly what this mount shows.
fn comes_back(bench: &Bench, mount: &Mount<'_>) {
    mount.commit();
    let other = bench.mount_with("other", &["--read-only"]);
    rsync_finds_nothing(mount.root(), other.root());
    rsync_finds_nothing(other.root(), mount.root());
    common::ok(bench.vellum(["export"]).arg(bench.repository()).arg(bench.path("out")));
    rsync_finds_nothing(&bench.path("out"), other.root());
    other.unmount();
}

#[test]
fn git_keeps_a_repository_in_a_mount() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let files = if long() { 5000 } else { 400 };
    for n in 0..files {
        let dir = mount.path(&format!("work/d{}", n % 20));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("f{n}")), format!("{n} ").repeat(n % 500)).unwrap();
    }
    let work = mount.path("work");
    let configure = "git init -q . && git config user.name N && git config user.email n@example";
    shell(&work, configure);
    shell(&work, "git add -A && git commit -q -m one && git fsck --strict");
    shell(&work, "echo more >> d3/f3; git rm -q -r d4; git mv d5 moved; git commit -q -a -m two");
    shell(&work, "git checkout -q -b side HEAD~1 && echo side > side && git add side");
    shell(
        &work,
        "git commit -q -m side && git merge -q -m merge master 2>/dev/null || \
         git merge -q -m merge main",
    );
    shell(&work, "git gc -q && git fsck --strict && test -z \"$(git status --porcelain)\"");
    let commits = shell(&work, "git rev-list --all | wc -l");
    assert_eq!(commits.trim(), "4");
    comes_back(&bench, &mount);
    let other = bench.mount("again");
    shell(&other.path("work"), "git fsck --strict && test -z \"$(git status --porcelain)\"");
}

#[test]
fn cargo_builds_and_tests_a_crate_in_a_mount() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let cargo = |args: &[&str]| {
        let mut cargo = program("cargo");
        done(cargo.current_dir(mount.root()).args(args).env("CARGO_NET_OFFLINE", "true"))
    };
    fs::write(mount.path("Cargo.toml"), "[package]\nname = \"hello\"\nedition = \"2024\"\n")
        .unwrap();
    fs::create_dir(mount.path("src")).unwrap();
    let source = "fn main() { println!(\"one\") }\n#[test]\nfn passes() {}\n";
    fs::write(mount.path("src/main.rs"), source).unwrap();
    cargo(&["build", "--quiet"]);
    let hello = mount.path("target/debug/hello");
    assert_eq!(done(&mut std::process::Command::new(&hello)), "one\n");
    // Rebuilt over a program that lies there, incrementally.
    fs::write(mount.path("src/main.rs"), source.replace("one", "two")).unwrap();
    cargo(&["build", "--quiet"]);
    assert_eq!(done(&mut std::process::Command::new(&hello)), "two\n");
    assert!(cargo(&["test", "--quiet"]).contains("1 passed"));
    comes_back(&bench, &mount);
}

/// Fills a table in ten transactions, changes and removes rows, gives a transaction up, and
/// checks. Answers what the last queries print.
fn sqlite(database: &Path, journal: &str, rows: usize) -> String {
    let each = rows / 10;
    let mut script = format!(
        "PRAGMA journal_mode={journal}; CREATE TABLE t(id INTEGER PRIMARY KEY, k TEXT, v BLOB);\
         CREATE INDEX i ON t(k);\n"
    );
    for _ in 0..10 {
        script += &format!(
            "BEGIN; WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n LIMIT {each}) \
             INSERT INTO t(k, v) SELECT (x * 7919) % 100003, zeroblob(x % 90) FROM n; COMMIT;\n"
        );
    }
    script += "BEGIN; DELETE FROM t; ROLLBACK;\n\
         UPDATE t SET v = hex(k) WHERE id % 5 = 0; DELETE FROM t WHERE id % 3 = 0; VACUUM;\n\
         PRAGMA integrity_check; SELECT count(*), sum(length(v)) FROM t;\n";
    done(program("sqlite3").arg(database).arg(script))
}

#[test]
fn sqlite_loads_changes_and_checks_a_database() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let rows = if long() { 100_000 } else { 10_000 };
    for journal in ["wal", "delete", "truncate"] {
        let said = sqlite(&mount.path(journal), journal, rows);
        // The same on a local file system is the measure.
        assert_eq!(said, sqlite(&bench.path(journal), journal, rows));
        assert!(said.contains("\nok\n"), "{said}");
    }
    comes_back(&bench, &mount);
    let again = bench.mount("again");
    let check = "PRAGMA integrity_check; SELECT count(*) FROM t;";
    let said = done(program("sqlite3").arg(again.path("wal")).arg(check));
    assert_eq!(said, format!("ok\n{}\n", rows - rows / 3));
}

#[test]
fn programs_that_share_a_database_lock_each_other_out() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let database = mount.path("db");
    done(program("sqlite3").arg(&database).arg("CREATE TABLE c(n); INSERT INTO c VALUES(0);"));
    const EACH: usize = 40;
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let add = "BEGIN IMMEDIATE; UPDATE c SET n = n + 1; COMMIT;\n".repeat(EACH);
                let wait = ["-cmd", ".timeout 60000"];
                done(program("sqlite3").args(wait).arg(&database).arg(add));
            });
        }
    });
    let said = done(program("sqlite3").arg(&database).arg("SELECT n FROM c;"));
    assert_eq!(said, format!("{}\n", 3 * EACH));
}

/// A tree with what trees have: the toolchain's documentation if it is there and the test is to
/// be big, else one that is made.
fn base_tree(bench: &Bench) -> PathBuf {
    let base = bench.path("base");
    fs::create_dir(&base).unwrap();
    for n in 0..1200_usize {
        let dir = base.join(format!("part{}/sub{}", n % 8, n % 5));
        fs::create_dir_all(&dir).unwrap();
        let text = format!("file {n} has words\n").repeat(1 + n % 300);
        fs::write(dir.join(format!("f{n}.txt")), text).unwrap();
    }
    let big: Vec<u8> =
        (0..10_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 23) as u8).collect();
    fs::write(base.join("big"), big).unwrap();
    if long() {
        let sysroot = done(program("rustc").args(["--print", "sysroot"]));
        let docs = Path::new(sysroot.trim()).join("share/doc/rust/html");
        assert!(docs.is_dir(), "rustup component add rust-docs: {} is missing", docs.display());
        shell(&base, &format!("cp -a '{}' docs", docs.display()));
    }
    shell(&base, "ln part1/sub1/f1.txt linked; ln -s big soft; mkdir empty; : > nothing");
    shell(
        &base,
        "truncate -s 200M sparse; printf x | dd of=sparse bs=1 seek=150000000 conv=notrunc",
    );
    shell(&base, "setfattr -n user.a -v one big; setfattr -n user.b -v two part1");
    base
}

/// What people do to trees, as a script that runs in any directory.
const TREE_WORK: &str = "
cp -a part0 copied
find part1 part2 -name '*.txt' | xargs sed -i 's/words/WORDS/'
tar --sort=name -cf packed.tar part3 && mkdir unpacked && tar xf packed.tar -C unpacked
rm -rf part4
mv part5 part1/moved
mv part6/sub1 part7/from6
mv part6/sub0/f0.txt part0/ 2>/dev/null || true
ln linked part2/again; rm part1/sub1/f1.txt; ln part7/sub2/f7.txt hard
ln -s ../soft part2/soft; rm soft; ln -s nowhere soft
printf middle | dd of=big bs=1 seek=5000000 conv=notrunc
printf end | dd of=sparse bs=1 seek=250000000 conv=notrunc
fallocate -p -o 4096 -l 1000000 big
truncate -s 9000000 big
setfattr -x user.b part1; setfattr -n user.c -v three part7; setfattr -n user.d -v 4 copied
chmod 600 part2/sub0/*; chmod 1777 empty; mkfifo pipe; rmdir empty; mkdir empty
cp --sparse=always sparse sparse2
for n in 1 2 3; do echo $n >> nothing; done
find . -name 'f10*.txt' -delete
";

#[test]
fn tools_do_to_a_mounted_base_what_they_do_to_a_plain_directory() {
    let bench = Bench::new();
    let base = base_tree(&bench);
    common::ok(bench.vellum(["import"]).arg(&base).arg(bench.repository()));
    let mount = bench.mount("mnt");
    rsync_finds_nothing(&base, mount.root());
    shell(&base, TREE_WORK);
    shell(mount.root(), TREE_WORK);
    comes_back(&bench, &mount);
    // They ran at different times: compare the rest.
    let same_times = "find . -print0 | xargs -0 touch -h -d @1700000000";
    shell(&base, same_times);
    shell(mount.root(), same_times);
    rsync_finds_nothing(&base, mount.root());
    rsync_finds_nothing(mount.root(), &base);
    shell(mount.root(), "rm -rf * && test -z \"$(ls -A)\"");
    mount.commit();
    mount.unmount();
}

#[test]
fn fio_reads_back_what_it_wrote_in_several_ways_at_once() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    let size = if long() { "96m" } else { "8m" };
    let job = format!(
        "[global]\ndirectory={}\nsize={size}\nverify=crc32c\nverify_fatal=1\ndo_verify=1\n\
         [direct]\nioengine=psync\ndirect=1\nrw=randwrite\nbsrange=4k-64k\n\
         [plain]\nioengine=psync\nrw=randwrite\nbsrange=512-12k\nbs_unaligned=1\n\
         [mapped]\nioengine=mmap\nrw=randwrite\nbs=4k\n\
         [big]\nioengine=psync\nrw=write\nbs=1m\nfsync=4\n\
         [mixed]\nioengine=psync\nrw=randrw\nbs=4k\nfallocate=none\n",
        mount.root().display()
    );
    fs::write(bench.path("job"), job).unwrap();
    let said = done(program("fio").current_dir(bench.path("")).arg(bench.path("job")));
    assert!(!said.contains("verify: bad"), "{said}");
    comes_back(&bench, &mount);
}
