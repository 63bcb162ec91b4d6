//! Standard output for bytes that may be many and may be anything.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::Arc;

use super::{CliError, not_printed};

/// Standard output, without a buffer of its own.
pub(super) struct Output {
    file: Arc<File>,
}

impl Output {
    pub(super) fn open() -> Result<Self, CliError> {
        let fd = io::stdout().as_fd().try_clone_to_owned().map_err(|error| not_printed(&error))?;
        Ok(Self { file: Arc::new(File::from(fd)) })
    }

    /// Whether a person looks at it.
    pub(super) fn is_terminal(&self) -> bool {
        self.file.is_terminal()
    }

    /// Writes all of it, and answers whether anybody still reads: one that has gone away has seen
    /// what it wanted.
    pub(super) async fn write(&self, bytes: Arc<Vec<u8>>) -> Result<bool, CliError> {
        let file = Arc::clone(&self.file);
        // On a thread that may block, so that a signal ends the command even when nobody reads.
        let written = tokio::task::spawn_blocking(move || (&*file).write_all(&bytes)).await;
        match written.unwrap_or_else(|_| Err(io::Error::other("the work was lost"))) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(not_printed(&error)),
        }
    }
}
