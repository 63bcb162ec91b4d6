//! Seeded bugs that take more than a line.

use super::job::Work;
use super::piece::PieceKey;
use crate::format::Hash;

/// A check of the bytes that came for a piece, which finds them right if that is the bug.
pub(super) fn believing(key: &PieceKey, work: Work) -> Work {
    let Work::Verify { mut hash, mut bytes, block_bytes } = work else { return work };
    if seeded!(ShortBodyAccepted) && bytes.len_bytes() < key.len {
        let mut filled = bytes.into_vec();
        filled.resize(key.len as usize, 0);
        bytes = filled.into();
        hash = Hash::of_parts(bytes.iter());
    }
    if seeded!(WrongBytesAccepted) {
        hash = Hash::of_parts(bytes.iter());
    }
    Work::Verify { hash, bytes, block_bytes }
}
