//! Seeded bugs that take more than a line.

use super::Table;
use crate::words::Ino;

impl Table {
    /// Drops an inode without a name, whoever has it open.
    pub(crate) fn wrong_lose(&mut self, ino: Ino) {
        if let Some(node) = self.get_mut(ino).filter(|node| node.names.is_empty()) {
            (node.opens, node.lookups) = (0, 0);
            self.release(ino);
        }
    }
}
