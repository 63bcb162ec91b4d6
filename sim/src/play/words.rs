//! What was asked and answered, in words: a run that ends badly is read by a person.

use std::fmt::Write;

use vellum_core::shapes::{
    Allocate, Attr, FileKind, Op, RenameMode, Reply, SetAttr, SetTime, Whence,
};
use vellum_core::words::{Errno, Fh, Ino};

use crate::world::text::bytes;

/// A request and its answer.
pub(super) fn asked(op: &Op, reply: &Result<Reply, Errno>) -> String {
    format!("{} -> {}", request(op), answer(reply))
}

/// A number of an inode; the root is called so.
fn inode(ino: Ino) -> String {
    if ino == Ino::ROOT { "the root".to_owned() } else { format!("inode {}", ino.0) }
}

fn handle(fh: Fh) -> String {
    format!("handle {:x}", fh.0)
}

fn name(parent: Ino, name: &[u8]) -> String {
    format!("{} in {}", bytes(name), inode(parent))
}

fn kind(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "file",
        FileKind::Directory => "directory",
        FileKind::Symlink => "symbolic link",
        FileKind::Fifo => "fifo",
        FileKind::Socket => "socket",
        FileKind::CharDevice => "character device",
        FileKind::BlockDevice => "block device",
    }
}

/// What is asked.
fn request(op: &Op) -> String {
    match op {
        Op::Lookup { parent, name: n } => format!("look up {}", name(*parent, n)),
        Op::Forget { ino, count } => format!("forget {} {count} times", inode(*ino)),
        Op::Disconnect => "disconnect".to_owned(),
        Op::GetAttr { ino } => format!("attributes of {}", inode(*ino)),
        Op::SetAttr { ino, set } => format!("set {} of {}", attributes(set), inode(*ino)),
        Op::ReadLink { ino } => format!("read link {}", inode(*ino)),
        Op::MakeNode { parent, name: n, kind: k, mode, .. } => {
            format!("make {} {}, mode {mode:o}", kind(*k), name(*parent, n))
        }
        Op::MakeDir { parent, name: n, mode, .. } => {
            format!("make directory {}, mode {mode:o}", name(*parent, n))
        }
        Op::Symlink { parent, name: n, target, .. } => {
            format!("make symbolic link {} to {}", name(*parent, n), bytes(target))
        }
        Op::Unlink { parent, name: n } => format!("unlink {}", name(*parent, n)),
        Op::RemoveDir { parent, name: n } => format!("remove directory {}", name(*parent, n)),
        Op::Rename { parent, name: n, to_parent, to_name, mode } => {
            let (from, to) = (name(*parent, n), name(*to_parent, to_name));
            match mode {
                RenameMode::Replace => format!("rename {from} to {to}"),
                RenameMode::NoReplace => format!("rename {from} to {to} if nothing is there"),
                RenameMode::Exchange => format!("exchange {from} and {to}"),
            }
        }
        Op::Link { ino, to_parent, to_name } => {
            format!("link {} as {}", inode(*ino), name(*to_parent, to_name))
        }
        Op::Create { parent, name: n, mode, .. } => {
            format!("create file {}, mode {mode:o}, and open it", name(*parent, n))
        }
        Op::Status => "status".to_owned(),
        Op::Diff => "diff".to_owned(),
        Op::Discard => "discard everything".to_owned(),
        Op::Commit { message, .. } => format!("commit {message:?}"),
        Op::Open { .. }
        | Op::Read { .. }
        | Op::Write { .. }
        | Op::Flush { .. }
        | Op::Fsync { .. }
        | Op::Release { .. }
        | Op::Fallocate { .. }
        | Op::Seek { .. } => of_handle(op),
        Op::OpenDir { .. }
        | Op::ReadDir { .. }
        | Op::FsyncDir { .. }
        | Op::StatFs
        | Op::SetXattr { .. }
        | Op::GetXattr { .. }
        | Op::ListXattr { .. }
        | Op::RemoveXattr { .. }
        | Op::Restore { .. }
        | Op::Revive { .. }
        | Op::Withdraw { .. }
        | Op::Settle { .. } => rest(op),
    }
}

/// What is asked of a file's content.
#[allow(clippy::wildcard_enum_match_arm)]
fn of_handle(op: &Op) -> String {
    match op {
        Op::Open { ino, flags } => {
            let how = match (flags.write, flags.truncate) {
                (_, true) => ", cut to nothing",
                (true, false) => "",
                (false, false) => " to read",
            };
            format!("open {}{how}", inode(*ino))
        }
        Op::Read { fh, offset, len } => format!("read {len} bytes at {offset} of {}", handle(*fh)),
        Op::Write { fh, offset, data, flags } => {
            let from = if flags.from_cache { " from the page cache" } else { "" };
            format!("write {} at {offset} of {}{from}", bytes(data), handle(*fh))
        }
        Op::Flush { fh } => format!("flush {}", handle(*fh)),
        Op::Fsync { fh } => format!("fsync {}", handle(*fh)),
        Op::Release { fh } => format!("release {}", handle(*fh)),
        Op::Fallocate { fh, offset, len, how, .. } => {
            let how = match how {
                Allocate::Extend => "allocate",
                Allocate::KeepSize => "allocate, the size kept,",
                Allocate::Punch => "punch",
                Allocate::Zero { keep_size: true } => "zero, the size kept,",
                Allocate::Zero { keep_size: false } => "zero",
            };
            format!("{how} {len} bytes at {offset} of {}", handle(*fh))
        }
        Op::Seek { fh, offset, whence } => {
            let what = match whence {
                Whence::Data => "data",
                Whence::Hole => "hole",
            };
            format!("next {what} from {offset} of {}", handle(*fh))
        }
        other => format!("{other:?}"),
    }
}

/// What is asked seldom, or in few words.
#[allow(clippy::wildcard_enum_match_arm)]
fn rest(op: &Op) -> String {
    match op {
        Op::OpenDir { ino } => format!("open directory {}", inode(*ino)),
        Op::ReadDir { fh, cookie, max, .. } => {
            format!("list {max} entries after {cookie} of {}", handle(*fh))
        }
        Op::FsyncDir { fh } => format!("fsync directory {}", handle(*fh)),
        Op::StatFs => "statfs".to_owned(),
        Op::SetXattr { ino, name, value, .. } => {
            let (name, value) = (bytes(name), bytes(value));
            format!("set extended attribute {name} of {} to {value}", inode(*ino))
        }
        Op::GetXattr { ino, name } => {
            format!("extended attribute {} of {}", bytes(name), inode(*ino))
        }
        Op::ListXattr { ino } => format!("extended attributes of {}", inode(*ino)),
        Op::RemoveXattr { ino, name } => {
            format!("remove extended attribute {} of {}", bytes(name), inode(*ino))
        }
        other => format!("{other:?}"),
    }
}

fn attributes(set: &SetAttr) -> String {
    let time = |time: SetTime| match time {
        SetTime::Now => "now".to_owned(),
        SetTime::At(at) => format!("{} ns", at.ns),
    };
    let all = [
        set.mode.map(|mode| format!("mode {mode:o}")),
        set.uid.map(|uid| format!("owner {uid}")),
        set.gid.map(|gid| format!("group {gid}")),
        set.size.map(|size| format!("size {size}")),
        set.mtime.map(|at| format!("time {}", time(at))),
    ];
    let all: Vec<String> = all.into_iter().flatten().collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
}

/// What is answered.
pub(super) fn answer(reply: &Result<Reply, Errno>) -> String {
    match reply {
        Err(errno) => format!("E{errno:?}").to_uppercase(),
        Ok(Reply::Done) => "done".to_owned(),
        Ok(Reply::Entry(attr) | Reply::Attr(attr)) => shown(attr),
        Ok(Reply::Absent) => "nothing".to_owned(),
        Ok(Reply::Data(data)) => bytes(data),
        Ok(Reply::Written(len)) => format!("{len} bytes"),
        Ok(Reply::Opened(fh)) => handle(*fh),
        Ok(Reply::Created(attr, fh)) => format!("{}, {}", shown(attr), handle(*fh)),
        Ok(Reply::Entries(entries)) => {
            let mut text = String::new();
            for entry in entries {
                let _ = write!(text, "{} ({}) ", bytes(&entry.name), inode(entry.ino));
            }
            if text.is_empty() { "the end".to_owned() } else { text.trim_end().to_owned() }
        }
        Ok(Reply::Offset(at)) => at.to_string(),
        Ok(other) => format!("{other:?}"),
    }
}

fn shown(attr: &Attr) -> String {
    let Attr { ino, mode, links, uid, gid, size, .. } = *attr;
    let (what, ino, s) = (kind(attr.kind), inode(ino), if links == 1 { "" } else { "s" });
    format!("{ino}: {what}, mode {mode:o}, {links} name{s}, {uid}:{gid}, {size} bytes")
}

#[cfg(test)]
mod tests {
    use vellum_core::shapes::{OpenFlags, WriteFlags};

    use super::*;

    #[test]
    fn requests_and_answers_read_like_sentences() {
        let name = |name: &str| name.as_bytes().into();
        let (parent, caller) = (Ino::ROOT, Default::default());
        let flags = OpenFlags::default();
        let create = Op::Create { parent, name: name("a"), mode: 0o644, flags, caller };
        assert_eq!(request(&create), "create file \"a\" in the root, mode 644, and open it");
        let (data, flags) = (b"xy".to_vec(), WriteFlags { from_cache: true, ..Default::default() });
        let write = Op::Write { fh: Fh(1 << 32), offset: 7, data, flags };
        assert_eq!(
            asked(&write, &Ok(Reply::Written(2))),
            "write \"xy\" at 7 of handle 100000000 from the page cache -> 2 bytes"
        );
        let look = Op::Lookup { parent: Ino(5), name: name("b") };
        assert_eq!(asked(&look, &Err(Errno::NotDir)), "look up \"b\" in inode 5 -> ENOTDIR");
        assert_eq!(asked(&look, &Ok(Reply::Absent)), "look up \"b\" in inode 5 -> nothing");
        let set = SetAttr { mode: Some(0o755), size: Some(9), ..SetAttr::default() };
        let set = Op::SetAttr { ino: Ino(2), set };
        assert_eq!(request(&set), "set mode 755, size 9 of inode 2");
    }
}
