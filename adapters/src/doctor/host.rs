//! This host: kernel, FUSE, directories, limits and memory.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};
use rustix::process::{Resource, geteuid, getrlimit};

use super::{Asked, Finding};
use crate::cli::{Exit, size};
use crate::mount::runtime_dir;
use crate::store::CacheOptions;

/// The kernel since which programs map files shared that others have open for writing: before it,
/// mounts fall back to slower ways.
const KERNEL_GOOD: (u32, u32) = (6, 6);
/// The kernel below which nothing was tried.
const KERNEL_OLD: (u32, u32) = (5, 4);
/// Memory for file data unless it is said otherwise.
const MEMORY_BYTES: u64 = 1 << 30;
/// Open files below which a walk over a deep tree may fail.
const FILES_MIN: u64 = 4096;
/// Free space below which a cache keeps hardly anything.
const SPACE_MIN_BYTES: u64 = 1 << 30;

pub(super) fn findings(asked: Asked, cache: &CacheOptions) -> Vec<Finding> {
    let mut findings = vec![kernel(&rustix::system::uname().release().to_string_lossy())];
    findings.push(device(OpenOptions::new().read(true).write(true).open("/dev/fuse").map(drop)));
    findings.push(helper(geteuid().is_root(), on_path("fusermount3")));
    if asked.allow_other {
        let said = fs::read_to_string("/etc/fuse.conf").unwrap_or_default();
        findings.push(others(geteuid().is_root(), &said));
    }
    findings.push(runtime(&runtime_dir()));
    findings.push(match cache.directory() {
        None => Finding::ok("cache", "turned off"),
        Some(directory) => space(&directory),
    });
    let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    findings.push(if files < FILES_MIN {
        let what = format!("at most {files} files may be open at once");
        Finding::warning("open files", what, "raise it: ulimit -n, or LimitNOFILE= of a service")
    } else {
        Finding::ok("open files", format!("up to {files} at once").replace(MANY, "any number"))
    });
    findings.extend(memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default()));
    findings
}

/// How no limit is written.
const MANY: &str = "18446744073709551615";

fn kernel(release: &str) -> Finding {
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else {
        let what = format!("the kernel calls itself {release:?}");
        return Finding::warning("kernel", what, "Linux 6.6 or newer is what Vellum is made for");
    };
    let what = format!("Linux {release}");
    let upgrade = "Linux 6.6 or newer is what Vellum is made for";
    if (major, minor) >= KERNEL_GOOD {
        Finding::ok("kernel", what)
    } else if (major, minor) >= KERNEL_OLD {
        let what = format!("{what}: files open for writing are served through the page cache");
        Finding::warning("kernel", what, format!("writing is slower; {upgrade}"))
    } else {
        Finding::failed("kernel", Exit::Usage, format!("{what} is too old"), upgrade)
    }
}

fn device(opened: io::Result<()>) -> Finding {
    let Err(error) = opened else { return Finding::ok("fuse", "/dev/fuse can be opened") };
    let remedy = if error.kind() == io::ErrorKind::PermissionDenied {
        "let this user open it; in a container, give --device /dev/fuse and CAP_SYS_ADMIN"
    } else {
        "load the module: modprobe fuse; in a container, give --device /dev/fuse"
    };
    let what = format!("/dev/fuse can't be opened: {error}");
    Finding::failed("fuse", Exit::Usage, what, remedy)
}

fn helper(is_root: bool, found: Option<PathBuf>) -> Finding {
    match found {
        _ if is_root => Finding::ok("fusermount3", "not needed: root mounts by itself"),
        Some(path) => Finding::ok("fusermount3", path.display().to_string()),
        None => Finding::failed(
            "fusermount3",
            Exit::Usage,
            "not found: only root can mount without it",
            "install the package fuse3",
        ),
    }
}

fn others(is_root: bool, conf: &str) -> Finding {
    if is_root || conf.lines().any(|line| line.trim() == "user_allow_other") {
        return Finding::ok("allow other", "other users can be let into a mount");
    }
    let what = "/etc/fuse.conf lets only root let others into a mount";
    let remedy = "put the line user_allow_other into it, or mount without --allow-other";
    Finding::failed("allow other", Exit::Usage, what, remedy)
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut found = std::env::split_paths(&path).map(|directory| directory.join(program));
    found.find(|path| access(path, Access::EXEC_OK).is_ok())
}

/// The nearest directory at or above a path that is there.
fn nearest(path: &Path) -> &Path {
    path.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"))
}

fn runtime(directory: &Path) -> Finding {
    let shown = directory.display();
    match access(nearest(directory), Access::WRITE_OK) {
        Ok(()) => Finding::ok("runtime", format!("{shown} holds the sockets of mounts")),
        Err(errno) => Finding::failed(
            "runtime",
            Exit::Usage,
            format!("{shown}, for the sockets of mounts, can't be written: {errno}"),
            "set VELLUM_RUNTIME_DIR to a directory of yours with mode 0700",
        ),
    }
}

fn space(directory: &Path) -> Finding {
    let (shown, there) = (directory.display(), nearest(directory));
    if let Err(errno) = access(there, Access::WRITE_OK) {
        let what = format!("{shown} can't be written: {errno}; nothing is cached");
        return Finding::warning("cache", what, "name another with --cache-dir");
    }
    let free = statvfs(there).map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    let what = format!("{shown}, {} free", size(free));
    if free < SPACE_MIN_BYTES {
        return Finding::warning("cache", what, "make room, or name another with --cache-dir");
    }
    Finding::ok("cache", what)
}

fn memory(meminfo: &str) -> Option<Finding> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().split(' ').next()?.parse().ok()?;
    let what = format!("{} available", size(kib << 10));
    Some(if kib << 10 < MEMORY_BYTES {
        let remedy = "a mount holds up to 1 GiB of edits: give it less with --memory";
        Finding::warning("memory", what, remedy)
    } else {
        Finding::ok("memory", what)
    })
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn what_keeps_a_host_from_mounting_is_told_with_a_remedy() {
        let state = |finding: &Finding| finding.state;
        assert_eq!(state(&kernel("6.18.1-arch")), State::Ok);
        assert_eq!(state(&kernel("5.15.0-generic")), State::Warning);
        assert_eq!(state(&kernel("4.19.0")), State::Failed(Exit::Usage));
        assert_eq!(state(&kernel("odd")), State::Warning);
        let gone = device(Err(io::ErrorKind::NotFound.into()));
        assert_eq!(state(&gone), State::Failed(Exit::Usage));
        assert!(gone.remedy.contains("modprobe"), "{}", gone.remedy);
        assert!(device(Err(io::ErrorKind::PermissionDenied.into())).remedy.contains("user"));
        assert_eq!(state(&helper(false, None)), State::Failed(Exit::Usage));
        assert_eq!(state(&helper(true, None)), State::Ok);
        assert_eq!(state(&others(false, "# user_allow_other\n")), State::Failed(Exit::Usage));
        assert_eq!(state(&others(false, "user_allow_other\n")), State::Ok);
        let memory = |kib: u64| memory(&format!("MemAvailable:   {kib} kB\n")).map(|f| f.state);
        assert_eq!(memory(2 << 20), Some(State::Ok));
        assert_eq!(memory(100), Some(State::Warning));
    }
}
