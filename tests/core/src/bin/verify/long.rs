//! What the long tier has beside the fast one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::mutants;
use crate::run::{self, Place};
use crate::simulated;
use crate::steps::{Step, Work, add_components};

/// Tools of the long tier, with the version that was tried.
const DENY: (&str, &str) = ("cargo-deny", "0.20.2");
const FSX: (&str, &str) = ("fsx", "0.3.2");

const PJDFSTEST: (&str, &str) = ("pjdfstest", "0.2.2");

/// Every test that sets access times looks whether they are kept; a mount keeps none
/// (docs/SEMANTICS.md). One that succeeds is an error too.
const PJDFSTEST_CONFIG: &str = r#"[features]
posix_fallocate = {}
rename_ctime = {}
utime_now = {}
utimensat = {}

[settings]
naptime = 0.02
expected_failures = [
    "utimensat::changes_timestamps::block",
    "utimensat::changes_timestamps::char",
    "utimensat::changes_timestamps::dir",
    "utimensat::changes_timestamps::fifo",
    "utimensat::changes_timestamps::regular",
    "utimensat::changes_timestamps::socket",
    "utimensat::follow_symlink",
    "utimensat::subsecond",
    "utimensat::utime_omit",
    "utimensat::y2038",
]

[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"], ["bin", "bin"]]
"#;

/// Random cases of each property, in place of 256.
const PROPERTY_CASES: &str = "20000";

/// Makes sequences many and the work of outside programs as big as real work.
const LONG: (&str, &str) = ("VELLUM_LONG", "1");

/// Runs of fsx, and operations of each.
const FSX_SEEDS: u64 = 10;
const FSX_OPERATIONS: &str = "100000";

/// What fsx does beside its defaults: reading, writing and cutting, by calls and by mappings. It
/// reads by mappings less often: each is a page fault for every page.
const FSX_WEIGHTS: &str = "[weights]
mapread = 0.3
close_open = 0.5
invalidate = 0.2
fsync = 0.2
fdatasync = 0.2
posix_fallocate = 0.5
punch_hole = 0.5
sendfile = 0.5
posix_fadvise = 0.1
copy_file_range = 0.5
";

pub(crate) fn steps(place: &Place) -> Vec<Step> {
    let mut tests = place.cargo("test --workspace --no-fail-fast");
    tests.env("PROPTEST_CASES", PROPERTY_CASES).env(LONG.0, LONG.1);
    tests.env("VELLUM_BIN", place.vellum());
    let before = [
        Step {
            name: "docs",
            about: "the toolchain's documentation, which is real input for tests",
            work: Work::Own(documentation),
        },
        Step {
            name: "deny",
            about: "licences, sources, doubles and advisories of what we depend on",
            work: Work::Own(deny),
        },
        Step {
            name: "at length",
            about: "all tests again: random ones many times as long, programs at their real size",
            work: Work::Tests(tests),
        },
    ];
    let after = [
        Step {
            name: "simulated-long",
            about: "mounts in simulated worlds for an hour: all that is rare happens",
            work: Work::Command(simulated::long(place)),
        },
        Step {
            name: "loom-long",
            about: "every interleaving of all models of two threads",
            work: at_length(place, "loom", "core_loom"),
        },
        Step {
            name: "shuttle-long",
            about: "the core on threads, in millions of schedules",
            work: at_length(place, "shuttle", "core_shuttle"),
        },
        in_buckets(place, "strict", "mounts of buckets of our own server"),
        in_buckets(place, "strict-30ms", "the same, 30 ms away"),
        in_buckets(place, "moto", "mounts of buckets of moto"),
        in_buckets(place, "moto-30ms", "the same, 30 ms away"),
        Step { name: "fsx", about: "fsx on a mount, mappings included", work: Work::Own(fsx) },
        Step {
            name: "pjdfstest",
            about: "what POSIX asks of each call, on a mount; needs root",
            work: Work::Own(pjdfstest),
        },
        Step {
            name: "bench",
            about: "in-process benchmarks, beside their controls",
            work: Work::Command(
                place.cargo("run --release --bin vellum-bench -- process --rounds 5"),
            ),
        },
        Step {
            name: "mounted",
            about: "writes in process and through mounts, held to bounds beside their controls",
            work: Work::Command(place.cargo("run --release --bin vellum-bench -- check")),
        },
    ];
    before.into_iter().chain(with_bugs(place)).chain(after).collect()
}

/// What the tests notice of a core that is wrong.
fn with_bugs(place: &Place) -> [Step; 5] {
    [
        Step {
            name: "loom-teeth",
            about: "each seeded bug is found by its model",
            work: teeth(place, "loom", &["core_loom", "core_bugs"]),
        },
        Step {
            name: "shuttle-teeth",
            about: "each seeded bug that shuttle is to find is found",
            work: teeth(place, "shuttle", &["core_shuttle", "core_bugs"]),
        },
        Step {
            name: "sequences-teeth",
            about: "each seeded bug that sequences are to find is found",
            work: teeth(place, "sequences", &["core_bugs"]),
        },
        Step {
            name: "mutants",
            about: "each change of what threads share is noticed by a test; goes on where it ended",
            work: Work::Own(mutants::of_shared),
        },
        Step {
            name: "mutants-sim",
            about: "each change of the simulator is noticed by a test or lets a seeded bug live",
            work: Work::Own(mutants::of_simulator),
        },
    ]
}

/// What a test program finds in a core with bugs.
fn teeth(place: &Place, test: &str, cfgs: &[&str]) -> Work {
    let arguments = format!("test -p vellum-tests-core --test {test} -- bugs:: --nocapture");
    Work::Tests(place.cargo_with(cfgs, &arguments))
}

/// A test program with all that it leaves out in the fast tier.
fn at_length(place: &Place, test: &str, cfg: &str) -> Work {
    let mut command = place.cargo_with(&[cfg], &format!("test -p vellum-tests-core --test {test}"));
    command.env(LONG.0, LONG.1);
    Work::Tests(command)
}

/// Tests of mounts that do not care where the repository lies, with it in buckets.
fn in_buckets(place: &Place, server: &'static str, about: &'static str) -> Step {
    let tests =
        ["mount_commit", "mount_data", "mount_ops", "outside_programs", "outside_semantics"];
    let mut command = place.cargo("test --workspace --no-fail-fast");
    command.env("VELLUM_BIN", place.vellum()).env("VELLUM_TESTS_STORE", server);
    for test in tests {
        command.args(["--test", test]);
    }
    Step { name: server, about, work: Work::Tests(command) }
}

fn documentation(place: &Place) -> Result<(), String> {
    let mut rustc = Command::new("rustc");
    let said = rustc.current_dir(&place.root).args(["--print", "sysroot"]).output();
    let sysroot = said.map_err(|error| format!("rustc: {error}"))?.stdout;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot).trim());
    let here = sysroot.join("share/doc/rust/html").is_dir();
    add_components(place, if here { &[] } else { &["rust-docs"] })
}

/// Builds a tool from the registry unless it is here.
pub(crate) fn tool(place: &Place, (name, version): (&str, &str)) -> Result<PathBuf, String> {
    let program = place.tools().join("bin").join(name);
    if !program.exists() {
        println!("Building {name} {version} from the Rust registry, into {}", program.display());
        let mut install = place.cargo("install --locked --quiet");
        install.arg("--root").arg(place.tools()).args(["--version", version, name]);
        run::run(&mut install).1?;
    }
    Ok(program)
}

fn deny(place: &Place) -> Result<(), String> {
    let program = tool(place, DENY)?;
    let deny = |arguments: &str| {
        let mut command = Command::new(&program);
        command.current_dir(&place.root).args(arguments.split_whitespace());
        run::run(&mut command).1
    };
    deny("check licenses bans sources")?;
    if deny("fetch db").is_err() {
        println!("The list of advisories can't be reached: they are not checked.");
        return Ok(());
    }
    deny("check advisories")
}

/// Runs fsx with each seed on one mount, on a file of its own.
fn fsx(place: &Place) -> Result<(), String> {
    let program = tool(place, FSX)?;
    let home = place.target.join(format!("fsx-{}", std::process::id()));
    let mount = Mount::new(place, &home, &[])?;
    let config = home.join("fsx.toml");
    fs::write(&config, FSX_WEIGHTS).map_err(|error| format!("{}: {error}", config.display()))?;
    for seed in 1..=FSX_SEEDS {
        let mut command = Command::new(&program);
        command.args(["-q", "-N", FSX_OPERATIONS, "-S", &seed.to_string(), "-f"]).arg(&config);
        command.arg("-P").arg(&home).arg(mount.point.join(format!("file-{seed}")));
        run::run(&mut command).1?;
    }
    mount.end()
}

/// Runs pjdfstest on a mount that every user may enter.
fn pjdfstest(place: &Place) -> Result<(), String> {
    let program = tool(place, PJDFSTEST)?;
    let home = place.target.join(format!("pjdfstest-{}", std::process::id()));
    let mount = Mount::new(place, &home, &["--allow-other"])?;
    let config = home.join("pjdfstest.toml");
    let tests = mount.point.join("tests");
    let ready = fs::write(&config, PJDFSTEST_CONFIG)
        .and_then(|()| fs::create_dir(&tests))
        .and_then(|()| fs::set_permissions(&mount.point, fs::Permissions::from_mode(0o755)));
    ready.map_err(|error| format!("{}: {error}", home.display()))?;
    let mut command = Command::new(&program);
    run::run(command.arg("-c").arg(&config).arg("-p").arg(&tests)).1?;
    mount.end()
}

/// A repository and its mount, which go away whatever happens.
struct Mount<'a> {
    vellum: PathBuf,
    home: &'a Path,
    point: PathBuf,
}

impl<'a> Mount<'a> {
    fn new(place: &Place, home: &'a Path, options: &[&str]) -> Result<Self, String> {
        let point = home.join("mnt");
        fs::create_dir_all(&point).map_err(|error| format!("{}: {error}", point.display()))?;
        let mount = Self { vellum: place.vellum(), home, point };
        let repository = home.join("repo");
        run::run(mount.command("init").arg(&repository)).1?;
        let mut command = mount.command("mount");
        run::run(command.args(options).arg(&repository).arg(&mount.point)).1?;
        Ok(mount)
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.vellum);
        command.arg(name);
        command
    }

    /// Commits what was left and unmounts.
    fn end(self) -> Result<(), String> {
        run::run(self.command("umount").arg(&self.point).arg("--commit")).1
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        // Nothing is left to do about a failure here; what is not mounted is told so.
        drop(self.command("umount").arg(&self.point).arg("--discard").output());
        drop(fs::remove_dir_all(self.home));
    }
}
