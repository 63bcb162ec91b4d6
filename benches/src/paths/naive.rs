//! The write path that the project was started to beat: a copy of the data, and the whole handed
//! to a runtime and blocked on.

use std::sync::Arc;

use super::executor::AsyncExecutor;
use super::two_maps::DirtyFiles;
use super::{Refused, Shape, WritePath};

/// Two maps and a global lock behind a runtime.
pub(crate) struct Naive {
    files: Arc<DirtyFiles>,
    executor: AsyncExecutor,
}

impl Naive {
    pub(crate) fn files(&self) -> &DirtyFiles {
        &self.files
    }
}

impl WritePath for Naive {
    fn warm(shape: Shape) -> Self {
        Self { files: Arc::new(DirtyFiles::warm(shape)), executor: AsyncExecutor::start() }
    }

    fn write(&self, file: usize, offset: u64, data: &[u8]) -> Result<usize, Refused> {
        let files = Arc::clone(&self.files);
        let copy = data.to_vec();
        let write = async move { files.write(file as u64, offset, &copy).await };
        self.executor.block_on(write).unwrap_or(Err(Refused))
    }

    fn read(&self, file: usize, offset: u64, into: &mut [u8]) -> Result<(), Refused> {
        self.files.read(file as u64, offset, into)
    }
}
