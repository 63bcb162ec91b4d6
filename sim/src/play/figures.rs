//! What a snapshot says of itself, beside the tree that it shows.

use crate::mount;
use vellum_core::model::{Body, Tree};
use vellum_core::words::Ino;

use super::player::Player;

impl Player {
    /// The snapshot that the branch names counts what `tree` holds, and its link table has no
    /// inode too many or too few.
    pub(super) fn snapshot_is_sound(&mut self, tree: &Tree) -> Result<(), String> {
        let snapshot = mount::snapshot(&self.world.store)?;
        let wanted = (tree.iter().count() as u64, bytes_of(tree));
        if (snapshot.files, snapshot.bytes) != wanted {
            let (files, bytes) = (snapshot.files, snapshot.bytes);
            return Err(format!("{files} inodes and {bytes} bytes, and there are {wanted:?}"));
        }
        let links = mount::links(&self.world.store, &snapshot)?;
        let number = |ino: Ino| self.seat.map.ino(ino);
        for (ino, linked) in &links {
            let Some((_, node)) = tree.iter().find(|(model, _)| number(*model) == *ino) else {
                return Err(format!("the link table holds {ino:?}, which is gone"));
            };
            if linked.names.len() != node.links as usize {
                return Err(format!("{} names of {ino:?}: {linked:?}", node.links));
            }
        }
        for (ino, node) in tree.iter().filter(|(_, n)| n.links > 1 && !n.is_directory()) {
            if !links.iter().any(|(linked, _)| *linked == number(ino)) {
                return Err(format!("{} names of {ino:?}, not in the link table", node.links));
            }
        }
        Ok(())
    }
}

/// Sizes of all files of a tree together, modulo 2^64 as snapshots have them.
pub(super) fn bytes_of(tree: &Tree) -> u64 {
    let sizes = tree.iter().map(|(_, node)| match &node.body {
        Body::File(content) => content.size(),
        Body::Directory { .. } | Body::Symlink(_) | Body::Special(..) => 0,
    });
    sizes.fold(0, u64::wrapping_add)
}
