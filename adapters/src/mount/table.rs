//! The kernel's mount table: what is mounted where, without asking what is mounted.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Type that a mount of ours has in the table.
pub(super) const KIND: &str = "fuse.vellum";

/// The table as this process sees it.
const TABLE: &str = "/proc/self/mountinfo";

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    id: u64,
    parent: u64,
    /// Number of its file system; a bind mount has that of what it shows.
    pub(super) device: String,
    /// Where it is mounted.
    pub(super) point: PathBuf,
    /// Type of its file system.
    pub(super) kind: String,
}

/// All that is mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table(Vec<Entry>);

impl Table {
    /// The table as it is now.
    pub(super) fn read() -> io::Result<Self> {
        Ok(Self::parse(&fs::read(TABLE)?))
    }

    /// Lines are as proc_pid_mountinfo(5) says; what is no such line is left out.
    fn parse(text: &[u8]) -> Self {
        Self(text.split(|byte| *byte == b'\n').filter_map(parse).collect())
    }

    /// What a program meets at `point`, if something is mounted there.
    pub(super) fn top(&self, point: &Path) -> Option<&Entry> {
        let here = || self.0.iter().filter(|entry| entry.point == point);
        // Mounts that are stacked are each the parent of the next.
        here().rfind(|entry| here().all(|other| other.parent != entry.id))
    }

    /// Whether the file system `device` is mounted at `point`, be it under something else.
    pub(super) fn has(&self, point: &Path, device: &str) -> bool {
        self.places(device).any(|place| place == point)
    }

    /// Where the file system `device` is mounted.
    pub(super) fn places(&self, device: &str) -> impl Iterator<Item = &Path> {
        let ours = move |entry: &&Entry| entry.device == device && entry.kind == KIND;
        self.0.iter().filter(ours).map(|entry| entry.point.as_path())
    }
}

fn parse(line: &[u8]) -> Option<Entry> {
    let mut words = line.split(|byte| *byte == b' ');
    let number = |word: &[u8]| std::str::from_utf8(word).ok()?.parse().ok();
    let text = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
    let id = number(words.next()?)?;
    let parent = number(words.next()?)?;
    let device = text(words.next()?);
    let _root = words.next()?;
    let point = unescaped(words.next()?);
    // Options, then a number of tags, then a dash.
    let kind = text(words.skip_while(|word| *word != b"-").nth(1)?);
    Some(Entry { id, parent, device, point, kind })
}

/// Blanks and backslashes are written as a backslash and three octal digits.
fn unescaped(word: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&byte, tail)) = rest.split_first() {
        let octal = tail
            .get(..3)
            .filter(|_| byte == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match octal {
            Some(octal) => {
                out.push(octal);
                rest = &tail[3..];
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    OsString::from_vec(out).into()
}

/// What a program meets at `point`; nothing also when the table can't be read.
pub(super) fn top(point: &Path) -> Option<Entry> {
    Table::read().ok()?.top(point).cloned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    const SAMPLE: &[u8] = b"\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:51 / /mnt/a\\040b rw,nosuid shared:9 master:2 - fuse.vellum /repo@main rw,user_id=0
41 40 0:52 / /mnt/a\\040b rw - tmpfs tmpfs rw
42 22 0:51 /sub /mnt/\\134bind rw - fuse.vellum /repo@main rw
not a line
";

    #[test]
    fn the_top_of_what_is_stacked_is_found_whatever_the_order() {
        let table = Table::parse(SAMPLE);
        assert_eq!(table.0.len(), 4);
        let point = Path::new("/mnt/a b");
        assert_eq!(table.top(point).unwrap().kind, "tmpfs");
        let mut turned = table.clone();
        turned.0.reverse();
        assert_eq!(turned.top(point).unwrap().kind, "tmpfs");
        assert!(table.has(point, "0:51") && !table.has(point, "0:52"));
        assert_eq!(table.top(Path::new("/mnt")), None);
    }

    #[test]
    fn a_file_system_is_found_wherever_it_is_mounted() {
        let table = Table::parse(SAMPLE);
        let places: Vec<&OsStr> = table.places("0:51").map(Path::as_os_str).collect();
        assert_eq!(places, [OsStr::from_bytes(b"/mnt/a b"), OsStr::from_bytes(b"/mnt/\\bind")]);
    }

    #[test]
    fn the_table_of_this_machine_is_read() {
        assert!(Table::read().unwrap().top(Path::new("/proc")).is_some());
    }
}
