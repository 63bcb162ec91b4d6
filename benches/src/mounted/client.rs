//! The program that writes into a mount.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use super::{Daemon, FILE_BYTES};
use crate::failure::{Doing, Failure};

/// A mounted server with its file open and warm.
pub(crate) struct Mounted {
    // Closed before the server ends.
    file: File,
    server: Daemon,
}

impl Mounted {
    /// Opens the file and writes all of it once.
    pub(crate) fn warm(server: Daemon) -> Result<Self, Failure> {
        let path = server.mount_point().join("data");
        let doing = || format!("warm the file of server `{}`", server.name());
        let mut options = OpenOptions::new();
        options.write(true);
        // A control has the file already, and no way to make one.
        let file = match options.open(&path) {
            Ok(file) => file,
            Err(_) => options.create(true).open(&path).doing(doing)?,
        };
        let piece = vec![1; 1 << 20];
        for start in (0..FILE_BYTES).step_by(piece.len()) {
            file.write_all_at(&piece, start as u64).doing(doing)?;
        }
        Ok(Self { file, server })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Overwrites `writes` times, going round the offsets; the time that took.
    pub(crate) fn overwrite(
        &mut self,
        offsets: &[u64],
        data: &[u8],
        writes: u64,
    ) -> Result<Duration, Failure> {
        let mut places = offsets.iter().cycle();
        let begun = Instant::now();
        for _ in 0..writes {
            if let Some(&offset) = places.next() {
                let written = self.file.write_at(data, offset);
                let written =
                    written.doing(|| format!("write through `{}`", self.server.name()))?;
                if written != data.len() {
                    let name = self.server.name();
                    let wanted = data.len();
                    return Err(Failure::new(format!("`{name}` took {written} of {wanted} bytes")));
                }
            }
        }
        Ok(begun.elapsed())
    }

    /// Closes the file and ends the server.
    pub(crate) fn stop(self) {
        drop(self.file);
        drop(self.server);
    }
}
