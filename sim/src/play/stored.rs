//! What a store holds, as a strict reader sees it: every object is what its name says, every record
//! decodes, every tree is the one that its entries make, and the pieces of every file are there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use crate::mount;
use crate::store::Objects;
use vellum_core::format::{
    Body, Content, Directories, Entries, Entry, Hash, Inode, Linked, Links, NodeRef, ObjectKind,
    ObjectName, Piece, Pieces, Snapshot, TreeKind, Verified, bounds, build, object_key,
    parse_object_key,
};
use vellum_core::words::Ino;

/// A file of a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StoredFile {
    pub(super) size: u64,
    /// Its data by offset.
    pub(super) pieces: Vec<(u64, Piece)>,
}

/// Checks every object of a store that was not seen before.
pub(super) fn check_objects(objects: &Objects, seen: &mut BTreeSet<String>) -> Result<(), String> {
    for key in objects.keys().filter(|key| !seen.contains(*key)) {
        let Some((kind, name)) = parse_object_key(key) else { continue };
        let bytes = verified(objects, kind, &name)?;
        let decoded = match kind {
            ObjectKind::Chunk => Ok(()),
            ObjectKind::Snapshot => Snapshot::decode(&bytes).map(|_| ()),
            // What of it is reached is decoded with the snapshot.
            ObjectKind::Tree => Ok(()),
        };
        decoded.map_err(|error| format!("{key}: {error}"))?;
    }
    seen.extend(objects.keys().filter(|key| parse_object_key(key).is_some()).cloned());
    Ok(())
}

/// The files of a snapshot, after all of it was checked.
pub(super) fn check_snapshot(
    objects: &Objects,
    hash: &Hash,
) -> Result<BTreeMap<Ino, StoredFile>, String> {
    let bytes = verified(objects, ObjectKind::Snapshot, &ObjectName::first(*hash))?;
    let snapshot = Snapshot::decode(&bytes).map_err(said)?;
    let links = whole::<Links>(objects, snapshot.links.as_ref())?;
    let mut walk = Walk {
        objects,
        links: links.into_iter().collect(),
        inodes: BTreeSet::new(),
        files: BTreeMap::new(),
    };
    walk.inode(&snapshot.root)?;
    let bytes: u64 = walk.files.values().map(|file| file.size).fold(0, u64::wrapping_add);
    if (snapshot.files, snapshot.bytes) != (walk.inodes.len() as u64, bytes) {
        let (inodes, claims) = (walk.inodes.len(), (snapshot.files, snapshot.bytes));
        return Err(format!("{inodes} inodes, {bytes} bytes; the snapshot says {claims:?}"));
    }
    if walk.inodes.last().is_some_and(|last| *last >= snapshot.next_ino) {
        return Err(format!("{:?} is used already", snapshot.next_ino));
    }
    match walk.links.keys().find(|ino| !walk.inodes.contains(ino)) {
        Some(ino) => Err(format!("{ino:?} of the link table has no name")),
        None => Ok(walk.files),
    }
}

struct Walk<'o> {
    objects: &'o Objects,
    links: BTreeMap<Ino, Linked>,
    inodes: BTreeSet<Ino>,
    files: BTreeMap<Ino, StoredFile>,
}

impl Walk<'_> {
    fn inode(&mut self, inode: &Inode) -> Result<(), String> {
        if !self.inodes.insert(inode.ino) {
            return Err(format!("{:?} has two places", inode.ino));
        }
        match &inode.body {
            Body::File { size, content } => {
                let pieces = self.pieces(*size, content);
                let pieces = pieces.map_err(|why| format!("file {:?}: {why}", inode.ino))?;
                self.files.insert(inode.ino, StoredFile { size: *size, pieces });
                Ok(())
            }
            Body::Directory { root, subdirs } => self.directory(root.as_ref(), *subdirs),
            Body::Symlink { .. }
            | Body::Fifo
            | Body::Socket
            | Body::CharDevice { .. }
            | Body::BlockDevice { .. } => Ok(()),
        }
    }

    fn directory(&mut self, root: Option<&NodeRef>, subdirs: u64) -> Result<(), String> {
        let mut found = 0;
        for (name, entry) in whole::<Directories>(self.objects, root)? {
            match entry {
                Entry::Inode(inode) => {
                    found += u64::from(matches!(inode.body, Body::Directory { .. }));
                    self.inode(&inode)?;
                }
                Entry::Link(ino) => {
                    let linked = self.links.get(&ino).cloned();
                    let linked = linked.ok_or_else(|| format!("{ino:?} is not in the table"))?;
                    if !linked.names.iter().any(|(_, known)| *known == name) {
                        return Err(format!("{ino:?} has a name that the table does not have"));
                    }
                    if !self.inodes.contains(&ino) {
                        self.inode(&linked.inode)?;
                    }
                }
            }
        }
        if found == subdirs { Ok(()) } else { Err(format!("{found} subdirectories of {subdirs}")) }
    }

    /// The data of a file: in order, within it, stored, and listed in the form for so many.
    fn pieces(&self, size: u64, content: &Content) -> Result<Vec<(u64, Piece)>, String> {
        let mut pieces: Vec<(u64, Piece)> = match content {
            Content::Tree(root) => whole::<Pieces>(self.objects, Some(root))?,
            Content::Pieces(list) => {
                let mut at = 0;
                let place = |piece: &Piece| {
                    at += piece.len_bytes();
                    (at - piece.len_bytes(), piece.clone())
                };
                list.iter().map(place).collect()
            }
        };
        pieces.retain(|(_, piece)| matches!(piece, Piece::Data { .. }));
        let (mut end, mut holes) = (0, 0);
        for (at, piece) in &pieces {
            if *at < end {
                return Err(format!("the piece at {at} overlaps another"));
            }
            holes += usize::from(*at > end);
            end = at + piece.len_bytes();
            self.data(piece)?;
        }
        holes += usize::from(size > end);
        let is_list = matches!(content, Content::Pieces(_));
        if end > size || is_list != (pieces.len() + holes <= bounds::INLINE_MAX_PIECES) {
            let count = pieces.len();
            return Err(format!("{count} pieces and {holes} holes, {end} of {size}, {is_list}"));
        }
        Ok(pieces)
    }

    fn data(&self, piece: &Piece) -> Result<(), String> {
        let Piece::Data { hash, len, object, offset } = piece else { return Ok(()) };
        let key = object_key(ObjectKind::Chunk, object);
        let body = self.objects.body(&key).ok_or_else(|| format!("{key} is not there"))?;
        let part = body.get(*offset as usize..(*offset + *len) as usize);
        if part.is_some_and(|part| Hash::of(part) == *hash) {
            Ok(())
        } else {
            Err(format!("{key} does not hold {piece:?}"))
        }
    }
}

/// All entries of a tree, which must be the one that is made of them.
fn whole<T: TreeKind>(objects: &Objects, root: Option<&NodeRef>) -> Result<Entries<T>, String> {
    let entries = mount::entries::<T>(objects, root)?;
    let built = build::<T>(entries.clone().into_iter()).map_err(said)?;
    if built.root.as_ref() == root {
        return Ok(entries);
    }
    let count = entries.len();
    Err(format!("{count} entries of a {} make {:?}, not {root:?}", T::RECORD, built.root))
}

fn verified(objects: &Objects, kind: ObjectKind, name: &ObjectName) -> Result<Verified, String> {
    let key = object_key(kind, name);
    let body = objects.body(&key).ok_or_else(|| format!("{key} is not there"))?;
    Verified::check(&name.hash, body.to_vec()).map_err(|error| format!("{key}: {error}"))
}

fn said(error: impl Display) -> String {
    error.to_string()
}
