//! The simulated disk: one directory of files.
//!
//! What processes see is apart from what is durable. A kill of the process loses its handles; a
//! power loss leaves of each sector that was not synced what it likes, and of each change of names
//! all or nothing. Damage lies as a mask over what should be there, so that both can be told.

pub mod contract;
mod faults;
mod file;
mod names;

use std::collections::BTreeMap;

use contract::{Disk, DiskError, Handle};
pub use faults::{DiskFault, DiskFaults};
use file::File;
use names::Names;

use crate::choice::Choices;

/// A file, whatever name it has.
type Ino = u64;

/// A disk in memory, whose operations take time and go wrong.
#[derive(Clone, Debug)]
pub struct SimDisk {
    /// What goes wrong from now on.
    pub faults: DiskFaults,
    /// How many bytes it has room for, in whole sectors.
    pub capacity_bytes: u64,
    choices: Choices,
    sector_bytes: usize,
    names: Names,
    files: BTreeMap<Ino, File>,
    handles: BTreeMap<Handle, Ino>,
    /// Of files and of handles.
    next: u64,
    injected: BTreeMap<DiskFault, u64>,
    took_ns: u64,
}

impl SimDisk {
    /// An empty disk without faults, and without an end. Its sectors are what it writes whole, or
    /// tears: 512 bytes, or 8 in small worlds; 2 at least.
    #[must_use]
    pub fn new(choices: Choices, sector_bytes: usize) -> Self {
        assert!(sector_bytes >= 2, "less can't be torn");
        Self {
            faults: DiskFaults::none(),
            capacity_bytes: u64::MAX,
            choices,
            sector_bytes,
            names: Names::default(),
            files: BTreeMap::new(),
            handles: BTreeMap::new(),
            next: 1,
            injected: BTreeMap::new(),
            took_ns: 0,
        }
    }

    /// How many faults of a kind were injected so far.
    #[must_use]
    pub fn injected(&self, fault: DiskFault) -> u64 {
        self.injected.get(&fault).copied().unwrap_or(0)
    }

    /// How long the last operation took, in virtual nanoseconds.
    #[must_use]
    pub fn took_ns(&self) -> u64 {
        self.took_ns
    }

    /// What a file would hold if nothing were damaged.
    #[must_use]
    pub fn pristine(&self, name: &str) -> Option<Vec<u8>> {
        let file = &self.files[&self.names.get(name)?];
        let mut bytes = vec![0; file.len_bytes() as usize];
        file.read(0, &mut bytes, false);
        Some(bytes)
    }

    /// The power goes and comes back. `choices` say what is left of what was not synced.
    pub fn power_loss(&mut self, choices: &Choices) {
        self.names.power_loss(choices);
        self.kill();
        for file in self.files.values_mut() {
            file.power_loss(choices);
        }
    }

    fn begin(&mut self) {
        let stalls = self.happens(DiskFault::Stall);
        self.took_ns = faults::time_ns(&self.choices, stalls);
    }

    fn happens(&mut self, fault: DiskFault) -> bool {
        let happens = self.choices.chance(self.faults.per_mille(fault));
        if happens {
            *self.injected.entry(fault).or_insert(0) += 1;
        }
        happens
    }

    fn refused(&self) -> DiskError {
        self.choices.pick(&[DiskError::NoSpace, DiskError::Quota])
    }

    fn shortened(&mut self, len: usize) -> usize {
        let short = len > 1 && self.happens(DiskFault::Short);
        if short { len - 1 - self.choices.index(len - 1) } else { len }
    }

    fn new_number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    fn handle(&mut self, ino: Ino) -> Handle {
        let handle = Handle(self.new_number());
        self.handles.insert(handle, ino);
        handle
    }

    fn ino(&self, handle: Handle) -> Ino {
        *self.handles.get(&handle).expect("the handle is open")
    }

    fn file(&self, handle: Handle) -> &File {
        &self.files[&self.ino(handle)]
    }

    fn file_mut(&mut self, handle: Handle) -> &mut File {
        let ino = self.ino(handle);
        self.files.get_mut(&ino).expect("open files stay")
    }

    fn free_sectors(&self) -> u64 {
        let is_seen =
            |ino: Ino| self.names.show(ino) || self.handles.values().any(|open| *open == ino);
        let seen = self.files.iter().filter(|(ino, _)| is_seen(**ino));
        let taken: u64 = seen.map(|(_, file)| file.room()).sum();
        (self.capacity_bytes / self.sector_bytes as u64).saturating_sub(taken)
    }

    /// How much of a write or reservation there is room for: all of what needs none.
    fn fitting(&mut self, handle: Handle, at: u64, len: usize) -> Result<usize, DiskError> {
        if self.file(handle).fitting(at, len, 0) < len && self.happens(DiskFault::NoSpace) {
            return Err(self.refused());
        }
        match self.file(handle).fitting(at, len, self.free_sectors()) {
            0 if len > 0 => Err(DiskError::NoSpace),
            fitting => Ok(fitting),
        }
    }

    /// Forgets files that nobody can come to any more.
    fn sweep(&mut self) {
        let Self { names, handles, .. } = self;
        self.files
            .retain(|ino, _| names.may_show(*ino) || handles.values().any(|open| open == ino));
    }

    /// Of the sectors that a sync is about to write, those that go astray: which, and over which
    /// sector of which file.
    fn astray(&mut self, handle: Handle) -> Vec<(u64, Ino, u64)> {
        let mut astray = Vec::new();
        if self.faults.misdirected == 0 {
            return astray;
        }
        let mut others: Vec<(Ino, u64)> = Vec::new();
        for (ino, file) in &self.files {
            let len = file.len_bytes() as usize;
            others.extend(file.clean(0, len).into_iter().map(|sector| (*ino, sector)));
        }
        for sector in self.file(handle).dirty() {
            if !others.is_empty() && self.happens(DiskFault::Misdirected) {
                let (ino, other) = self.choices.pick(&others);
                astray.push((sector, ino, other));
            }
        }
        astray
    }

    /// Syncs a file, and lets some of its sectors go astray: what they were to replace stays.
    fn sync_astray(&mut self, handle: Handle, astray: Vec<(u64, Ino, u64)>) {
        let olds: Vec<Vec<u8>> =
            astray.iter().map(|(sector, ..)| self.file(handle).durable(*sector)).collect();
        self.file_mut(handle).sync();
        for ((sector, ino, other), old) in astray.into_iter().zip(olds) {
            let new = self.file(handle).sector(sector);
            self.file_mut(handle).damage(sector, &old);
            self.files.get_mut(&ino).expect("picked from the files").damage(other, &new);
        }
    }
}

impl Disk for SimDisk {
    fn create(&mut self, name: &str) -> Result<Handle, DiskError> {
        self.begin();
        if self.names.get(name).is_some() {
            return Err(DiskError::Exists);
        }
        let ino = self.new_number();
        self.files.insert(ino, File::new(self.sector_bytes));
        self.names.give(ino, Some(name));
        Ok(self.handle(ino))
    }

    fn open(&mut self, name: &str) -> Result<Handle, DiskError> {
        self.begin();
        let ino = self.names.get(name).ok_or(DiskError::NotFound)?;
        Ok(self.handle(ino))
    }

    fn close(&mut self, handle: Handle) {
        self.handles.remove(&handle).expect("the handle is open");
        self.sweep();
    }

    fn len_bytes(&mut self, handle: Handle) -> Result<u64, DiskError> {
        self.begin();
        Ok(self.file(handle).len_bytes())
    }

    fn read_at(&mut self, handle: Handle, at: u64, buf: &mut [u8]) -> Result<usize, DiskError> {
        self.begin();
        if self.happens(DiskFault::ReadFails) {
            return Err(DiskError::Io);
        }
        let len = self.file(handle).readable(at, buf.len());
        let len = self.shortened(len);
        let clean = self.file(handle).clean(at, len);
        if !clean.is_empty() && self.happens(DiskFault::BitRot) {
            let sector = self.choices.pick(&clean);
            let bit = self.choices.index(self.sector_bytes * 8);
            self.file_mut(handle).turn_bit(sector, bit);
        }
        self.file(handle).read(at, &mut buf[..len], true);
        Ok(len)
    }

    fn write_at(&mut self, handle: Handle, at: u64, bytes: &[u8]) -> Result<usize, DiskError> {
        self.begin();
        if self.happens(DiskFault::WriteFails) {
            return Err(DiskError::Io);
        }
        let len = self.shortened(bytes.len());
        let len = self.fitting(handle, at, len)?;
        self.file_mut(handle).write(at, &bytes[..len]);
        Ok(len)
    }

    fn set_len(&mut self, handle: Handle, len_bytes: u64) -> Result<(), DiskError> {
        self.begin();
        self.file_mut(handle).set_len(len_bytes);
        Ok(())
    }

    fn allocate(&mut self, handle: Handle, at: u64, len: usize) -> Result<(), DiskError> {
        self.begin();
        if self.happens(DiskFault::WriteFails) {
            return Err(DiskError::Io);
        }
        if self.fitting(handle, at, len)? < len {
            return Err(DiskError::NoSpace);
        }
        self.file_mut(handle).allocate(at, len);
        Ok(())
    }

    fn sync_data(&mut self, handle: Handle) -> Result<(), DiskError> {
        self.begin();
        let error = if self.happens(DiskFault::SyncFails) {
            DiskError::Io
        } else if self.file(handle).is_delayed() && self.happens(DiskFault::NoSpaceLate) {
            self.refused()
        } else {
            let astray = self.astray(handle);
            self.sync_astray(handle, astray);
            return Ok(());
        };
        let choices = self.choices.clone();
        self.file_mut(handle).forget_dirty(&choices);
        Err(error)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        self.begin();
        let ino = self.names.get(from).ok_or(DiskError::NotFound)?;
        if from != to {
            self.names.give(ino, Some(to));
            self.sweep();
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.begin();
        let ino = self.names.get(name).ok_or(DiskError::NotFound)?;
        self.names.give(ino, None);
        self.sweep();
        Ok(())
    }

    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        self.begin();
        Ok(self.names.list())
    }

    fn sync_dir(&mut self) -> Result<(), DiskError> {
        self.begin();
        if self.happens(DiskFault::SyncFails) {
            return Err(DiskError::Io);
        }
        self.names.sync();
        self.sweep();
        Ok(())
    }

    fn kill(&mut self) {
        self.handles.clear();
        self.sweep();
    }
}

#[cfg(test)]
mod tests;
