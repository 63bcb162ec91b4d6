//! The dirty-file manager that the plan began from, before and after the plan: a global lock over
//! file metadata, a clock per write, and the pool's two maps.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

use super::pool::Pool;
use super::{Refused, Shape};

struct Meta {
    chunk_size: u64,
    size: u64,
    dirty_chunks: HashSet<u32>,
    mtime: SystemTime,
}

impl Meta {
    fn chunk_count(&self) -> u32 {
        u32::try_from(self.size.div_ceil(self.chunk_size)).unwrap_or(u32::MAX)
    }

    fn grow_to(&mut self, end: u64) {
        if end > self.size {
            self.size = end;
        }
    }

    fn touch(&mut self) {
        self.mtime = SystemTime::now();
    }
}

/// Dirty files, their metadata under one lock.
pub(crate) struct DirtyFiles {
    pool: Pool,
    metadata: RwLock<HashMap<u64, Meta>>,
}

/// The part of a write that falls into one chunk.
struct Part {
    chunk: u32,
    start_in_chunk: usize,
    of_data: Range<usize>,
}

impl DirtyFiles {
    pub(crate) fn warm(shape: Shape) -> Self {
        let pool = Pool::default();
        let mut metadata = HashMap::new();
        for ino in 0..shape.files as u64 {
            let mut meta = Meta {
                chunk_size: shape.chunk_bytes as u64,
                size: shape.file_bytes as u64,
                dirty_chunks: HashSet::new(),
                mtime: SystemTime::now(),
            };
            for chunk in 0..meta.chunk_count() {
                let start = chunk as usize * shape.chunk_bytes;
                pool.insert_dirty(ino, chunk, shape.chunk_bytes.min(shape.file_bytes - start));
                meta.dirty_chunks.insert(chunk);
            }
            metadata.insert(ino, meta);
        }
        Self { pool, metadata: RwLock::new(metadata) }
    }

    /// The plan's fast path: none when the write has to take the asynchronous way.
    pub(crate) fn write_sync(
        &self,
        ino: u64,
        offset: u64,
        data: &[u8],
    ) -> Option<Result<usize, Refused>> {
        if !self.is_dirty(ino) {
            return None;
        }
        let (chunk_size, chunk_count) = self.layout(ino)?;
        let end = offset + data.len() as u64;
        if chunk_count <= 1 && end <= chunk_size {
            return Some(self.write_single_chunk_sync(ino, offset, data));
        }
        let first = (offset / chunk_size) as u32;
        let last = if data.is_empty() { first } else { ((end - 1) / chunk_size) as u32 };
        if (first..=last).any(|chunk| !self.pool.has_dirty(ino, chunk)) {
            return None;
        }
        Some(self.write_multi_chunk_sync(ino, offset, data, chunk_size))
    }

    fn write_single_chunk_sync(
        &self,
        ino: u64,
        offset: u64,
        data: &[u8],
    ) -> Result<usize, Refused> {
        if !self.pool.has_dirty(ino, 0) {
            return Err(Refused);
        }
        self.pool.modify_dirty_in_place_with_slice(ino, 0, offset as usize, data)?;
        self.mark_and_touch(ino, offset + data.len() as u64);
        Ok(data.len())
    }

    fn write_multi_chunk_sync(
        &self,
        ino: u64,
        offset: u64,
        data: &[u8],
        chunk_size: u64,
    ) -> Result<usize, Refused> {
        for part in parts(offset, data.len(), chunk_size) {
            let piece = &data[part.of_data];
            self.pool.modify_dirty_in_place_with_slice(
                ino,
                part.chunk,
                part.start_in_chunk,
                piece,
            )?;
            self.mark(ino, part.chunk);
        }
        self.grow_and_touch(ino, offset + data.len() as u64);
        Ok(data.len())
    }

    /// The way before the plan, asynchronous throughout though nothing here ever waits.
    pub(crate) async fn write(&self, ino: u64, offset: u64, data: &[u8]) -> Result<usize, Refused> {
        self.cow_copy(ino).await?;
        let (chunk_size, chunk_count) = self.layout(ino).ok_or(Refused)?;
        if chunk_count <= 1 && offset + data.len() as u64 <= chunk_size {
            self.write_single_chunk(ino, offset, data).await
        } else {
            self.write_multi_chunk(ino, offset, data, chunk_size).await
        }
    }

    async fn write_single_chunk(
        &self,
        ino: u64,
        offset: u64,
        data: &[u8],
    ) -> Result<usize, Refused> {
        self.ensure_chunk_in_pool(ino, 0).await?;
        let copy = data.to_vec();
        self.pool.modify_dirty_in_place(ino, 0, |block| put(block, offset as usize, &copy))?;
        self.mark_and_touch(ino, offset + data.len() as u64);
        Ok(data.len())
    }

    async fn write_multi_chunk(
        &self,
        ino: u64,
        offset: u64,
        data: &[u8],
        chunk_size: u64,
    ) -> Result<usize, Refused> {
        for part in parts(offset, data.len(), chunk_size) {
            self.ensure_chunk_in_pool(ino, part.chunk).await?;
            let copy = data[part.of_data].to_vec();
            let start = part.start_in_chunk;
            self.pool.modify_dirty_in_place(ino, part.chunk, |block| put(block, start, &copy))?;
            self.mark(ino, part.chunk);
        }
        self.grow_and_touch(ino, offset + data.len() as u64);
        Ok(data.len())
    }

    /// All files are dirty here, so there is never anything to fetch.
    async fn cow_copy(&self, ino: u64) -> Result<(), Refused> {
        if self.is_dirty(ino) { Ok(()) } else { Err(Refused) }
    }

    async fn ensure_chunk_in_pool(&self, ino: u64, chunk: u32) -> Result<(), Refused> {
        if self.pool.has_dirty(ino, chunk) { Ok(()) } else { Err(Refused) }
    }

    fn is_dirty(&self, ino: u64) -> bool {
        self.shared().contains_key(&ino)
    }

    fn layout(&self, ino: u64) -> Option<(u64, u32)> {
        let metadata = self.shared();
        let meta = metadata.get(&ino)?;
        Some((meta.chunk_size, meta.chunk_count()))
    }

    fn mark(&self, ino: u64, chunk: u32) {
        if let Some(meta) = self.exclusive().get_mut(&ino) {
            meta.dirty_chunks.insert(chunk);
        }
    }

    fn grow_and_touch(&self, ino: u64, end: u64) {
        if let Some(meta) = self.exclusive().get_mut(&ino) {
            meta.grow_to(end);
            meta.touch();
        }
    }

    fn mark_and_touch(&self, ino: u64, end: u64) {
        if let Some(meta) = self.exclusive().get_mut(&ino) {
            meta.dirty_chunks.insert(0);
            meta.grow_to(end);
            meta.touch();
        }
    }

    pub(crate) fn read(&self, ino: u64, offset: u64, into: &mut [u8]) -> Result<(), Refused> {
        let (chunk_size, _) = self.layout(ino).ok_or(Refused)?;
        for part in parts(offset, into.len(), chunk_size) {
            let piece = &mut into[part.of_data];
            let start = part.start_in_chunk;
            self.pool.read(ino, part.chunk, |block| {
                piece.copy_from_slice(&block[start..start + piece.len()]);
            })?;
        }
        Ok(())
    }

    fn shared(&self) -> RwLockReadGuard<'_, HashMap<u64, Meta>> {
        self.metadata.read().expect("no writer panics while it holds this lock")
    }

    fn exclusive(&self) -> RwLockWriteGuard<'_, HashMap<u64, Meta>> {
        self.metadata.write().expect("no writer panics while it holds this lock")
    }
}

fn put(block: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if end > block.len() {
        block.resize(end, 0);
    }
    block[offset..end].copy_from_slice(data);
}

/// Cuts a range of a file along its chunks.
fn parts(offset: u64, len: usize, chunk_size: u64) -> impl Iterator<Item = Part> {
    let end = offset + len as u64;
    let first = offset / chunk_size;
    let chunks = first..end.div_ceil(chunk_size).max(first);
    chunks.map(move |chunk| {
        let from = offset.max(chunk * chunk_size);
        let to = end.min((chunk + 1) * chunk_size);
        Part {
            chunk: chunk as u32,
            start_in_chunk: (from - chunk * chunk_size) as usize,
            of_data: (from - offset) as usize..(to - offset) as usize,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_crosses_a_chunk_is_cut_in_two() {
        let cut: Vec<_> = parts(6, 4, 8).map(|p| (p.chunk, p.start_in_chunk, p.of_data)).collect();
        assert_eq!(cut, vec![(0, 6, 0..2), (1, 0, 2..4)]);
    }

    #[test]
    fn an_empty_write_has_no_parts() {
        assert_eq!(parts(8, 0, 8).count(), 0);
        assert_eq!(parts(9, 0, 8).filter(|part| !part.of_data.is_empty()).count(), 0);
    }

    #[test]
    fn a_chunk_that_is_not_in_the_pool_sends_the_write_the_asynchronous_way() {
        let files = DirtyFiles::warm(Shape { files: 1, file_bytes: 16, chunk_bytes: 8 });
        assert_eq!(files.write_sync(0, 16, b"past the end"), None);
        assert_eq!(files.write_sync(0, 4, b"inside"), Some(Ok(6)));
    }
}
