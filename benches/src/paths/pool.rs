//! The block pool that the plan began from: two concurrent maps, and a lock in each block.

use std::sync::Arc;

use dashmap::DashMap;
use parking_lot::RwLock;

use super::Refused;
use super::floor::touched;

/// Name of a block in the second map.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct BlockKey(u64);

struct Block {
    data: Vec<u8>,
    is_dirty: bool,
    needs_flush: bool,
}

/// Chunk → key, and key → block.
#[derive(Default)]
pub(crate) struct Pool {
    key_index: DashMap<(u64, u32), BlockKey>,
    blocks: DashMap<BlockKey, Arc<RwLock<Block>>>,
}

impl Pool {
    /// Puts a dirty chunk of zeros in.
    pub(crate) fn insert_dirty(&self, ino: u64, chunk: u32, len_bytes: usize) {
        let key = BlockKey(self.blocks.len() as u64);
        let block = Block { data: touched(len_bytes), is_dirty: true, needs_flush: true };
        self.blocks.insert(key.clone(), Arc::new(RwLock::new(block)));
        self.key_index.insert((ino, chunk), key);
    }

    pub(crate) fn has_dirty(&self, ino: u64, chunk: u32) -> bool {
        self.key_index.contains_key(&(ino, chunk))
    }

    /// The form before the plan: a closure changes the block.
    pub(crate) fn modify_dirty_in_place(
        &self,
        ino: u64,
        chunk: u32,
        change: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Refused> {
        let key = self.key_index.get(&(ino, chunk)).ok_or(Refused)?.value().clone();
        let block_ref = self.blocks.get(&key).ok_or(Refused)?;
        let mut block = block_ref.value().write();
        if !block.is_dirty {
            return Err(Refused);
        }
        change(&mut block.data);
        block.needs_flush = true;
        Ok(())
    }

    /// The plan's slice method: copies straight from the caller's slice.
    pub(crate) fn modify_dirty_in_place_with_slice(
        &self,
        ino: u64,
        chunk: u32,
        offset: usize,
        data: &[u8],
    ) -> Result<(), Refused> {
        let key = self.key_index.get(&(ino, chunk)).ok_or(Refused)?.value().clone();
        let block_ref = self.blocks.get(&key).ok_or(Refused)?;
        let mut block = block_ref.value().write();
        if !block.is_dirty {
            return Err(Refused);
        }
        let end = offset + data.len();
        if end > block.data.len() {
            block.data.resize(end, 0);
        }
        block.data[offset..end].copy_from_slice(data);
        block.needs_flush = true;
        Ok(())
    }

    /// Shows a chunk's bytes to `look`.
    pub(crate) fn read(
        &self,
        ino: u64,
        chunk: u32,
        look: impl FnOnce(&[u8]),
    ) -> Result<(), Refused> {
        let key = self.key_index.get(&(ino, chunk)).ok_or(Refused)?.value().clone();
        let block = Arc::clone(self.blocks.get(&key).ok_or(Refused)?.value());
        look(&block.read().data);
        Ok(())
    }
}
