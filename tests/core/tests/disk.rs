//! A real directory does what every disk does: the suite that the simulated disk passes.
#![cfg(not(any(core_loom, core_shuttle)))]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use vellum_sim::disk::contract::{self, Disk, DiskError, Handle};

/// A directory of its own, which goes with it.
struct Directory {
    path: PathBuf,
    open: BTreeMap<Handle, File>,
    next: u64,
}

impl Directory {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
            "disk-{}-{}",
            std::process::id(),
            name.replace(' ', "-")
        ));
        fs::create_dir(&path).unwrap();
        Self { path, open: BTreeMap::new(), next: 1 }
    }

    fn add(&mut self, file: File) -> Handle {
        let handle = Handle(self.next);
        self.next += 1;
        self.open.insert(handle, file);
        handle
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.path).unwrap();
    }
}

fn failed(error: impl Into<Error>) -> DiskError {
    const KINDS: [(ErrorKind, DiskError); 4] = [
        (ErrorKind::NotFound, DiskError::NotFound),
        (ErrorKind::AlreadyExists, DiskError::Exists),
        (ErrorKind::StorageFull, DiskError::NoSpace),
        (ErrorKind::QuotaExceeded, DiskError::Quota),
    ];
    let kind = error.into().kind();
    KINDS.iter().find(|(known, _)| *known == kind).map_or(DiskError::Io, |(_, error)| *error)
}

impl Disk for Directory {
    fn create(&mut self, name: &str) -> Result<Handle, DiskError> {
        let options = File::options().read(true).write(true).create_new(true).clone();
        let file = options.open(self.path.join(name)).map_err(failed)?;
        Ok(self.add(file))
    }

    fn open(&mut self, name: &str) -> Result<Handle, DiskError> {
        let options = File::options().read(true).write(true).clone();
        let file = options.open(self.path.join(name)).map_err(failed)?;
        Ok(self.add(file))
    }

    fn close(&mut self, handle: Handle) {
        self.open.remove(&handle).unwrap();
    }

    fn len_bytes(&mut self, handle: Handle) -> Result<u64, DiskError> {
        Ok(self.open[&handle].metadata().map_err(failed)?.len())
    }

    fn read_at(&mut self, handle: Handle, at: u64, buf: &mut [u8]) -> Result<usize, DiskError> {
        self.open[&handle].read_at(buf, at).map_err(failed)
    }

    fn write_at(&mut self, handle: Handle, at: u64, bytes: &[u8]) -> Result<usize, DiskError> {
        self.open[&handle].write_at(bytes, at).map_err(failed)
    }

    fn set_len(&mut self, handle: Handle, len_bytes: u64) -> Result<(), DiskError> {
        self.open[&handle].set_len(len_bytes).map_err(failed)
    }

    fn allocate(&mut self, handle: Handle, at: u64, len: usize) -> Result<(), DiskError> {
        let file = &self.open[&handle];
        fallocate(file, FallocateFlags::KEEP_SIZE, at, len as u64).map_err(failed)
    }

    fn sync_data(&mut self, handle: Handle) -> Result<(), DiskError> {
        self.open[&handle].sync_data().map_err(failed)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        fs::rename(self.path.join(from), self.path.join(to)).map_err(failed)
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        fs::remove_file(self.path.join(name)).map_err(failed)
    }

    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        let entries = fs::read_dir(&self.path).map_err(failed)?;
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        Ok(names)
    }

    fn sync_dir(&mut self) -> Result<(), DiskError> {
        File::open(&self.path).and_then(|directory| directory.sync_all()).map_err(failed)
    }

    /// All that a process leaves behind is what it did to files.
    fn kill(&mut self) {
        self.open.clear();
    }
}

#[test]
fn a_real_directory_keeps_the_contract() {
    for (name, check) in contract::ALL {
        println!("{name}");
        check(&mut Directory::new(name));
    }
}
