//! Seeded bugs that take more than a line: reads and writes in two steps.

use super::{File, Slow, WriteError};
use crate::conc::Around;
use crate::shapes::WriteFlags;
use crate::words::{Epoch, Time};

impl File {
    /// Whether there is no capability, as it was before the write has the lock.
    pub(super) fn is_wrongly_unguarded(&self) -> bool {
        seeded!(GuardOutsideLock) && self.state.read(|s| !s.guarded)
    }

    /// A write in two steps, if that is the bug and nothing else is wrong with it.
    pub(super) fn wrong_write(
        &self,
        around: Around<'_>,
        epoch: &impl Fn() -> Epoch,
        wall: Time,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
    ) -> Option<Result<u32, WriteError>> {
        let len = u32::try_from(data.len()).ok()?;
        let end = offset.checked_add(u64::from(len))?;
        let size = self.state.read(|s| (!s.guarded).then_some(s.size))?;
        if data.is_empty() || end > around.limits.file_bytes {
            return None;
        }
        let write = |at: u64, part: &[u8]| {
            self.state.write(|s| s.write(around, epoch(), wall, at, part, flags))
        };
        if seeded!(TornWrite) && data.len() > 4 {
            let (head, tail) = data.split_at(4);
            let both = || {
                write(offset, head)?;
                write(offset + 4, tail)
            };
            return Some(both().map(|_| len));
        }
        if seeded!(SizeAfterData) && end > size {
            let data_first = || {
                self.state.write(|s| {
                    s.write(around, epoch(), wall, offset, data, flags)?;
                    s.size = size;
                    Ok(())
                })?;
                self.state.write(|s| s.size = s.size.max(end));
                Ok(len)
            };
            return Some(data_first());
        }
        None
    }

    /// A read in two steps, if that is the bug.
    pub(super) fn wrong_read(
        &self,
        offset: u64,
        len: u32,
        out: &mut Vec<u8>,
    ) -> Option<Result<(), Slow>> {
        if !seeded!(TornRead) {
            return None;
        }
        let mut rest = Vec::new();
        let mut both = || {
            self.state.read(|s| s.read(offset, len / 8, out))?;
            let at = offset + u64::from(len / 8);
            self.state.read(|s| s.read(at, len - len / 8, &mut rest))?;
            out.append(&mut rest);
            Ok(())
        };
        Some(both())
    }
}
