//! The main job, shown: import a tree, mount it, edit it with ordinary programs, commit it, and
//! find it again in another mount. `cargo demo` runs it.
//!
//! Everything happens in a directory that goes away at the end, however it ends.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use tempfile::TempDir;
use vellum_tests_core::setup;

/// A scene: what it is about, and the lines that are typed.
type Scene = (&'static str, &'static [Line]);

/// What is typed, and the exit code it ends with.
struct Line(&'static str, i32);

const IMPORT: Scene = (
    "A tree of files, and a repository that holds it",
    &[
        Line("mkdir -p tree/docs && echo 'Hello.' > tree/hello.txt", 0),
        Line("seq 1 100000 > tree/docs/numbers.txt", 0),
        Line("head -c 20000000 /dev/urandom > tree/film.bin", 0),
        Line("vellum init repo", 0),
        Line("vellum import tree repo --message 'The tree as it was'", 0),
    ],
);

const EDIT: Scene = (
    "Mounted, any program edits it",
    &[
        Line("mkdir mnt", 0),
        Line("vellum mount repo mnt", 0),
        Line("ls -l mnt", 0),
        Line("echo 'One line more.' >> mnt/hello.txt", 0),
        Line("sed -i 's/^4711$/here it was/' mnt/docs/numbers.txt", 0),
        Line("printf X | dd of=mnt/film.bin bs=1 seek=9999999 conv=notrunc status=none", 0),
        Line("mv mnt/docs mnt/texts", 0),
    ],
);

const SHOW: Scene = (
    "What changed, and what a commit would send of it",
    &[
        Line("vellum status mnt", 0),
        // As with diff(1), 1 says that there is something to show.
        Line("vellum diff mnt", 1),
    ],
);

const GIT: Scene = (
    "Git works in it, too",
    &[
        Line("git init --quiet --template= mnt/code", 0),
        Line("echo 'fn main() {}' > mnt/code/main.rs", 0),
        Line("git -C mnt/code add main.rs", 0),
        Line("git -C mnt/code commit --quiet --message 'A program'", 0),
        Line("git -C mnt/code fsck && git -C mnt/code log --oneline", 0),
    ],
);

const COMMIT: Scene = (
    "The commit publishes all of it as one snapshot",
    &[
        Line("vellum commit mnt --message 'Some edits'", 0),
        Line("cp -a mnt copy", 0),
        Line("vellum umount mnt", 0),
    ],
);

const COMPARE: Scene = (
    "Another mount shows exactly what was committed",
    &[
        Line("mkdir again", 0),
        Line("vellum mount --read-only repo again", 0),
        Line("diff --recursive --no-dereference copy again && echo 'no difference'", 0),
    ],
);

const END: Scene = ("The history", &[Line("vellum log repo", 0), Line("vellum umount again", 0)]);

/// Where the mounts' control sockets are: with all else, in the directory that goes away.
const SOCKETS: &str = "VELLUM_RUNTIME_DIR";

/// Names, kinds, modes, links, times and sizes of everything below the current directory.
const LISTING: &str = "find . ! -type d -printf '%p %y %m %n %T@ %s %l\\n' -o \
                       -printf '%p %y %m %T@\\n' | sort";

fn main() -> ExitCode {
    match demo() {
        Ok(()) => {
            println!("\nThat was all of it. Next: README.md, from \"A session\" on.");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("\ndemo: {why}");
            ExitCode::FAILURE
        }
    }
}

fn demo() -> Result<(), String> {
    setup::check_fuse()?;
    if !setup::is_root() {
        setup::install(&[setup::Need::fuse()])?;
    }
    let stage = Stage::new(binary()?)?;
    stage.play(&IMPORT)?;
    stage.play(&EDIT)?;
    stage.play(&SHOW)?;
    if setup::find("git").is_some() {
        stage.play(&GIT)?;
    }
    stage.play(&COMMIT)?;
    stage.play(&COMPARE)?;
    if stage.listing("copy")? != stage.listing("again")? {
        return Err("modes, times or links differ between the two mounts".into());
    }
    stage.play(&END)?;
    stage.end()
}

/// The binary: the one that `VELLUM_BIN` names, else built here as this program was.
fn binary() -> Result<PathBuf, String> {
    if let Some(given) = std::env::var_os("VELLUM_BIN") {
        return std::path::absolute(given).map_err(|error| format!("VELLUM_BIN: {error}"));
    }
    // TARGET/PROFILE/demo
    let own = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let profile = own.parent().ok_or("this program lies nowhere")?;
    let target = profile.parent().ok_or("this program lies in no target directory")?;
    println!("Building vellum. The first time, this takes some minutes.");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--bin", "vellum", "--manifest-path"]);
    cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"));
    cargo.arg("--target-dir").arg(target);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    match cargo.status() {
        Ok(status) if status.success() => Ok(profile.join("vellum")),
        Ok(_) => Err("vellum does not build; see above".into()),
        Err(error) => Err(format!("cargo: {error}")),
    }
}

/// The directory that it plays in, and the process that clears it away.
struct Stage {
    home: PathBuf,
    path: OsString,
    cleaner: Child,
}

impl Stage {
    fn new(binary: PathBuf) -> Result<Self, String> {
        let home = TempDir::with_prefix("vellum-demo-").map_err(|error| error.to_string())?;
        let folder = binary.parent().unwrap_or(Path::new("."));
        let usual = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(
            std::iter::once(folder.to_path_buf()).chain(std::env::split_paths(&usual)),
        );
        let path = path.map_err(|error| error.to_string())?;
        let cleaner = cleaner(home.path(), &path).map_err(|error| format!("sh: {error}"))?;
        // From here on the cleaner removes it.
        Ok(Self { home: home.keep(), path, cleaner })
    }

    fn play(&self, (about, lines): &Scene) -> Result<(), String> {
        println!("\n# {about}");
        for Line(line, code) in *lines {
            println!("$ {line}");
            let ended = self.shell(line).stdin(Stdio::null()).status();
            let ended = ended.map_err(|error| format!("sh: {error}"))?;
            if ended.code() != Some(*code) {
                return Err(format!("`{line}` ended with {ended}, not with {code}"));
            }
        }
        Ok(())
    }

    fn listing(&self, folder: &str) -> Result<Vec<u8>, String> {
        let output = self.shell(&format!("cd {folder} && {LISTING}")).output();
        let output = output.map_err(|error| format!("sh: {error}"))?;
        if output.status.success() && !output.stdout.is_empty() {
            Ok(output.stdout)
        } else {
            Err(format!("can't list {folder}: {}", String::from_utf8_lossy(&output.stderr)))
        }
    }

    fn shell(&self, line: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(&self.home).env("PATH", &self.path);
        shell.env(SOCKETS, self.home.join("run"));
        for (name, value) in [
            ("LC_ALL", "C.UTF-8"),
            ("TZ", "UTC"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_AUTHOR_NAME", "You"),
            ("GIT_AUTHOR_EMAIL", "you@example.org"),
            ("GIT_COMMITTER_NAME", "You"),
            ("GIT_COMMITTER_EMAIL", "you@example.org"),
        ] {
            shell.env(name, value);
        }
        shell
    }

    /// Clears away, and says what could not be.
    fn end(mut self) -> Result<(), String> {
        drop(self.cleaner.stdin.take());
        let ended = self.cleaner.wait().map_err(|error| format!("sh: {error}"))?;
        if ended.success() && !self.home.exists() {
            Ok(())
        } else {
            Err(format!("{} could not be cleared away", self.home.display()))
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.cleaner.stdin.take());
        // It is said elsewhere why this is not the usual end.
        drop(self.cleaner.wait());
    }
}

/// A process that unmounts and removes `home` once this program is gone or says that it is done:
/// then its standard input ends. It is in a group of its own, so Ctrl-C does not reach it.
fn cleaner(home: &Path, path: &OsString) -> std::io::Result<Child> {
    let script = "read -r _
        cd \"$1\" || exit 0
        for point in mnt again; do
            if mountpoint -q $point; then
                vellum umount --discard $point || umount -l $point || fusermount3 -uz $point
            fi
        done >/dev/null 2>&1
        cd / && rm -rf --one-file-system \"$1\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "cleaner"]).arg(home).env("PATH", path);
    shell.env(SOCKETS, home.join("run"));
    shell.stdin(Stdio::piped()).process_group(0).spawn()
}
