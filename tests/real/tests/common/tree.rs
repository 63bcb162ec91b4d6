//! Trees on a local file system, told so that two of them can be compared.

#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{lgetxattr, llistxattr};
use vellum_core::format::Hash;

/// Everything of a path that is to be kept, as text.
pub(crate) type Told = BTreeMap<PathBuf, String>;

/// Tells a whole tree. Inode numbers are told as the first path that has them.
pub(crate) fn told(root: &Path) -> Told {
    let mut told = Told::new();
    let mut first_paths = BTreeMap::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(path) = todo.pop() {
        let full = root.join(&path);
        let meta = fs::symlink_metadata(&full).unwrap();
        if meta.is_dir() {
            for entry in fs::read_dir(&full).unwrap() {
                todo.push(path.join(entry.unwrap().file_name()));
            }
        }
        let kind = meta.file_type();
        let content = if kind.is_file() {
            Hash::of(&fs::read(&full).unwrap()).to_string()
        } else if kind.is_symlink() {
            format!("-> {:?}", fs::read_link(&full).unwrap())
        } else if kind.is_char_device() || kind.is_block_device() {
            format!("rdev {:x}", meta.rdev())
        } else {
            String::new()
        };
        let size = if kind.is_dir() { 0 } else { meta.size() };
        if meta.nlink() > 1 && !kind.is_dir() {
            let first: &mut PathBuf = first_paths.entry(meta.ino()).or_insert(path.clone());
            *first = path.clone().min(first.clone());
        }
        let text = format!(
            "mode {:o} owner {}:{} size {size} mtime {}.{:09} xattrs {:?} {content}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            meta.mtime_nsec(),
            xattrs(&full),
        );
        told.insert(path, text);
    }
    for (path, text) in &mut told {
        let meta = fs::symlink_metadata(root.join(path)).unwrap();
        if let Some(first) = first_paths.get(&meta.ino()) {
            text.push_str(&format!(" is {first:?}"));
        }
    }
    told
}

/// Asserts that two trees are the same, and says in which paths they differ if not.
pub(crate) fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (told(one), told(other));
    let paths = one.keys().chain(other.keys());
    let differs: Vec<_> = paths.filter(|path| one.get(*path) != other.get(*path)).collect();
    if let Some(first) = differs.first() {
        let (left, right) = (one.get(*first), other.get(*first));
        panic!("{} paths differ, first {first:?}:\n{left:?}\n{right:?}", differs.len());
    }
}

fn xattrs(path: &Path) -> BTreeMap<CString, String> {
    let mut names = vec![0; 64 << 10];
    let len = llistxattr(path, &mut names).unwrap_or(0);
    let names = names[..len].split_inclusive(|byte| *byte == 0);
    let value = |name: &[u8]| {
        let mut value = vec![0; 64 << 10];
        let name = CString::from_vec_with_nul(name.to_vec()).unwrap();
        let len = lgetxattr(path, OsStr::from_bytes(name.as_bytes()), &mut value).unwrap();
        value.truncate(len);
        (name, format!("{} bytes {}", value.len(), &Hash::of(&value).to_string()[..8]))
    };
    names.map(value).collect()
}
