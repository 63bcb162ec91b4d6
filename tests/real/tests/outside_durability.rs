//! What a power loss may not take: seen in the system calls that the binary makes.

#![allow(clippy::unwrap_used)]

mod common;
mod mounted;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::programs::program;
use mounted::{Bench, is_mounted, until};

/// One object or ref that got its name.
#[derive(Debug)]
struct Named {
    temporary: String,
    key: String,
    line: usize,
}

/// What `strace -f -y` wrote of syncs and renames, in the order in which they began.
struct Trace {
    lines: Vec<String>,
    repository: PathBuf,
}

impl Trace {
    fn read(log: &Path, repository: &Path) -> Self {
        let lines = fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect();
        Self { lines, repository: repository.canonicalize().unwrap() }
    }

    /// The last rename of each temporary file: those before it had no directory to go to.
    fn named(&self) -> Vec<Named> {
        let mut named: Vec<Named> = Vec::new();
        for (line, text) in self.lines.iter().enumerate() {
            let quoted: Vec<&str> = text.split('"').collect();
            if let [call, temporary, _, key, ..] = quoted[..]
                && call.contains("renameat")
            {
                named.retain(|other| other.temporary != temporary);
                named.push(Named { temporary: temporary.into(), key: key.into(), line });
            }
        }
        named
    }

    /// The lines at which a sync of `path` begins.
    fn syncs<'a>(&'a self, path: &Path) -> impl Iterator<Item = usize> + 'a {
        let path = format!("<{}>", path.display());
        let is_sync = move |text: &String| text.contains("fsync(") && text.contains(&path);
        (0..self.lines.len()).filter(move |line| is_sync(&self.lines[*line]))
    }

    /// Asserts that the body was synced before it got its name, and every directory on the way
    /// afterwards; the line at which the last of these syncs begins.
    fn durable_from(&self, named: &Named) -> usize {
        let temporary = self.repository.join(".tmp").join(&named.temporary);
        assert!(self.syncs(&temporary).any(|sync| sync < named.line), "{named:?} is not synced");
        let key = Path::new(&named.key);
        let way = key.parent().unwrap().ancestors();
        let lasts = way.map(|dir| {
            // `join` of nothing would add a slash.
            let dir: PathBuf = self.repository.join(dir).components().collect();
            let sync = self.syncs(&dir).find(|sync| *sync > named.line);
            // A directory that was durable before needs no sync but the last one's.
            let known = dir != self.repository.join(key.parent().unwrap());
            sync.or(known.then_some(0)).unwrap_or_else(|| panic!("{named:?}: {}", dir.display()))
        });
        lasts.max().unwrap()
    }

    /// Asserts it of all that was named, and that refs come last; how many objects there were.
    fn check(&self) -> usize {
        let (refs, objects): (Vec<_>, Vec<_>) =
            self.named().into_iter().partition(|named| named.key.starts_with("refs/"));
        assert_eq!(refs.len(), 1, "{refs:?}");
        self.durable_from(&refs[0]);
        for object in &objects {
            let last = self.durable_from(object);
            assert!(last < refs[0].line, "{object:?} is not durable when the ref names it");
        }
        objects.len()
    }
}

fn strace(log: &Path) -> std::process::Command {
    let mut strace = program("strace");
    strace.args(["-f", "-y", "-e", "trace=fsync,renameat,renameat2", "-o"]).arg(log);
    strace
}

#[test]
fn an_import_names_nothing_that_is_not_durable() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("tree/dir")).unwrap();
    for n in 0..20 {
        fs::write(bench.path(&format!("tree/dir/{n}")), vec![n; 200_000]).unwrap();
    }
    let log = bench.path("log");
    let mut import = strace(&log);
    import.arg(common::binary()).arg("import").arg(bench.path("tree")).arg(bench.repository());
    common::ok(&mut import);
    // Twenty files, the nodes of two directories, a snapshot.
    assert_eq!(Trace::read(&log, &bench.repository()).check(), 22);
}

#[test]
fn a_commit_names_nothing_that_is_not_durable() {
    let bench = Bench::new();
    let (log, point) = (bench.path("log"), bench.path("mnt"));
    fs::create_dir(&point).unwrap();
    let mut mount = strace(&log);
    mount.env("VELLUM_RUNTIME_DIR", bench.path("run"));
    mount.arg(common::binary()).args(["mount", "--foreground"]).arg(bench.repository());
    let mut daemon = mount.arg(&point).stdout(Stdio::null()).spawn().unwrap();
    until("it is mounted", || is_mounted(&point));
    fs::create_dir(point.join("dir")).unwrap();
    for n in 0..20 {
        fs::write(point.join(format!("dir/{n}")), vec![n; 200_000]).unwrap();
    }
    until("it takes commands", || common::run(bench.vellum(["status"]).arg(&point)).0 == 0);
    common::ok(bench.vellum(["commit", "-m", "x"]).arg(&point));
    common::ok(bench.vellum(["umount"]).arg(&point));
    assert!(daemon.wait().unwrap().success());
    assert_eq!(Trace::read(&log, &bench.repository()).check(), 22);
}
