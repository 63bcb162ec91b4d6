//! The commands that look into a snapshot without a mount: ls and cat.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Map, Value};
use vellum_core::format::{Body, Inode};

use super::output::Output;
use super::running::perform_reading;
use super::text::{hex, path_json, quoted, rfc3339, time};
use super::{CliError, Exit};
use crate::repo::{Address, Block, Cat, List, ListWhat, Listed, Repo};
use crate::store::{CacheOptions, StoreOptions};

/// Zeros that are written at once.
const ZEROS_BYTES: u64 = 256 << 10;

#[derive(Args, Debug)]
pub(super) struct LsArgs {
    /// Repository, and what of it: a branch, a tag, or a snapshot by four digits or more
    #[arg(value_name = "REPO[@REF]")]
    repo: OsString,
    /// Directory of the snapshot, or file [default: the root]
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// Show mode, number of names, owner, size in bytes (of a device its numbers), time of the last
    /// change of the content, and the target of links
    #[arg(short, long)]
    long: bool,
    /// List what is in directories too, by its path from PATH
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Print everything about each name as one JSON object per line
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    store: StoreOptions,
    #[command(flatten)]
    cache: CacheOptions,
}

#[derive(Args, Debug)]
pub(super) struct CatArgs {
    /// Repository, and what of it: a branch, a tag, or a snapshot by four digits or more
    #[arg(value_name = "REPO[@REF]")]
    repo: OsString,
    /// Files of the snapshot, written one behind the other; symbolic links are not followed
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    store: StoreOptions,
    #[command(flatten)]
    cache: CacheOptions,
}

pub(super) fn ls(args: LsArgs) -> Result<Exit, CliError> {
    let address = Address::parse(&args.repo);
    let what = ListWhat { recursive: args.recursive, inodes: args.long || args.json };
    perform_reading(async {
        let repo = Repo::open(address.location(&args.store).cached(&args.cache)).await?;
        let snapshot = repo.snapshot_of(address.name()).await?;
        let mut list = List::open(&repo, snapshot, args.path.as_deref(), what).await?;
        let output = Output::open()?;
        loop {
            let page = list.next_page().await?;
            if page.is_empty() {
                break;
            }
            let lines = if args.json {
                page.iter().flat_map(|row| format!("{}\n", row_json(row)).into_bytes()).collect()
            } else {
                lines(&page, args.long, output.is_terminal())
            };
            if !output.write(Arc::new(lines)).await? {
                break;
            }
        }
        repo.store().settle().await;
        Ok(())
    })?;
    Ok(Exit::Ok)
}

pub(super) fn cat(args: CatArgs) -> Result<Exit, CliError> {
    let address = Address::parse(&args.repo);
    perform_reading(async {
        let repo = Repo::open(address.location(&args.store).cached(&args.cache)).await?;
        let snapshot = repo.snapshot_of(address.name()).await?;
        let mut cat = Cat::open(&repo, snapshot, &args.paths).await?;
        let output = Output::open()?;
        while let Some(block) = cat.next().await? {
            let read = match block {
                Block::Data(bytes) => output.write(bytes.shared()).await?,
                Block::Zeros(len) => write_zeros(&output, len).await?,
            };
            if !read {
                break;
            }
        }
        repo.store().settle().await;
        Ok(())
    })?;
    Ok(Exit::Ok)
}

async fn write_zeros(output: &Output, mut len: u64) -> Result<bool, CliError> {
    let zeros = |len: u64| Arc::new(vec![0; usize::try_from(len).unwrap_or(0)]);
    let block = zeros(ZEROS_BYTES.min(len));
    while len > 0 {
        let part = if len < ZEROS_BYTES { zeros(len) } else { Arc::clone(&block) };
        len -= part.len() as u64;
        if !output.write(part).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The names of a page; with columns that are as wide as this page needs, if `long`.
fn lines(page: &[Listed], long: bool, terminal: bool) -> Vec<u8> {
    let columns: Vec<[String; 5]> =
        page.iter().filter(|_| long).map(|row| columns(row.inode.as_ref(), row.names)).collect();
    let width = |column: usize| columns.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let [names_width, owner_width, size_width] = [1, 2, 3].map(width);
    let mut text = Vec::new();
    for (index, row) in page.iter().enumerate() {
        if let Some([mode, names, owner, size, time]) = columns.get(index) {
            let columns = format!(
                "{mode} {names:>names_width$} {owner:<owner_width$} {size:>size_width$} {time} "
            );
            text.extend(columns.into_bytes());
        }
        text.extend(name(&row.path, terminal));
        if let Some(Inode { body: Body::Symlink { target }, .. }) = row.inode.as_ref()
            && long
        {
            text.extend(b" -> ");
            text.extend(name(Path::new(std::ffi::OsStr::from_bytes(target)), terminal));
        }
        text.push(b'\n');
    }
    text
}

/// What others chose must not steer the terminal.
fn name(path: &Path, terminal: bool) -> Vec<u8> {
    let plain = path.to_str().is_some_and(|text| !text.contains(char::is_control));
    if terminal && !plain {
        return quoted(path).into_bytes();
    }
    path.as_os_str().as_bytes().to_vec()
}

fn columns(inode: Option<&Inode>, names: u64) -> [String; 5] {
    let Some(inode) = inode else { return Default::default() };
    let (kind, _) = kind(&inode.body);
    let size = match &inode.body {
        Body::File { size, .. } => size.to_string(),
        Body::Symlink { target } => target.len().to_string(),
        Body::CharDevice { rdev } | Body::BlockDevice { rdev } => {
            let (major, minor) = device(*rdev);
            format!("{major},{minor}")
        }
        Body::Directory { .. } | Body::Fifo | Body::Socket => "-".to_owned(),
    };
    let owner = format!("{}:{}", inode.meta.uid, inode.meta.gid);
    let mode = format!("{kind}{}", mode_text(inode.meta.mode));
    [mode, names.to_string(), owner, size, time(inode.meta.mtime)]
}

/// A kind as `ls -l` has it, and as a word.
fn kind(body: &Body) -> (char, &'static str) {
    match body {
        Body::File { .. } => ('-', "file"),
        Body::Directory { .. } => ('d', "directory"),
        Body::Symlink { .. } => ('l', "symlink"),
        Body::Fifo => ('p', "fifo"),
        Body::Socket => ('s', "socket"),
        Body::CharDevice { .. } => ('c', "char-device"),
        Body::BlockDevice { .. } => ('b', "block-device"),
    }
}

fn device(rdev: u32) -> (u32, u32) {
    let rdev = u64::from(rdev);
    (rustix::fs::major(rdev), rustix::fs::minor(rdev))
}

/// Twelve bits as `rwxr-xr-x`, with `s`, `S`, `t` and `T` where set-id and sticky bits are.
fn mode_text(mode: u32) -> String {
    let mut text = String::new();
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        let executes = bits & 1 != 0;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, executes) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

fn row_json(row: &Listed) -> Value {
    let mut object = Map::new();
    path_json(&row.path, &mut object);
    let Some(inode) = &row.inode else { return object.into() };
    let mut set = |key: &str, value: Value| object.insert(key.to_owned(), value);
    set("kind", kind(&inode.body).1.into());
    set("ino", inode.ino.0.into());
    set("names", row.names.into());
    set("mode", format!("{:04o}", inode.meta.mode).into());
    set("uid", inode.meta.uid.into());
    set("gid", inode.meta.gid.into());
    set("time", rfc3339(inode.meta.mtime).into());
    set("time_ns", inode.meta.mtime.ns.into());
    match &inode.body {
        Body::File { size, .. } => {
            set("size", (*size).into());
        }
        Body::Symlink { target } => {
            set("target", String::from_utf8_lossy(target).into());
            if std::str::from_utf8(target).is_err() {
                set("target_hex", hex(target).into());
            }
        }
        Body::CharDevice { rdev } | Body::BlockDevice { rdev } => {
            let (major, minor) = device(*rdev);
            set("device", vec![major, minor].into());
        }
        Body::Directory { .. } | Body::Fifo | Body::Socket => {}
    }
    object.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_written_as_ls_writes_them() {
        let all = [0o644, 0o4755, 0o2745, 0o1777, 0o7000].map(mode_text);
        assert_eq!(all, ["rw-r--r--", "rwsr-xr-x", "rwxr-Sr-x", "rwxrwxrwt", "--S--S--T"]);
    }

    #[test]
    fn names_that_could_steer_a_terminal_are_quoted_on_one_and_raw_elsewhere() {
        let bad = Path::new("a\u{1b}[2Jb");
        assert_eq!(name(bad, true), b"$'a\\x1b[2Jb'");
        assert_eq!(name(bad, false), "a\u{1b}[2Jb".as_bytes());
        let raw = Path::new(std::ffi::OsStr::from_bytes(b"\xff"));
        assert_eq!((name(raw, true), name(raw, false)), (b"$'\\xff'".to_vec(), b"\xff".to_vec()));
        assert_eq!(name(Path::new("it's ä"), true), "it's ä".as_bytes());
    }
}
