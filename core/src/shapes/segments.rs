//! Bytes as a store answers them: in buffers that can stay where they are.

use std::ops::Range;

/// The bytes of a body, in order, in one buffer or in several.
///
/// A store that makes buffers of [`SEGMENT_BYTES`] spares a copy: they become blocks of a file as
/// they are. Two bodies with the same bytes are equal, however they are cut.
#[derive(Clone, Debug, Default)]
pub struct Segments(Vec<Vec<u8>>);

/// Bytes of each buffer but the last, which are those of a block of a file.
pub const SEGMENT_BYTES: usize = 64 << 10;

impl Segments {
    /// Appends `bytes`, of a body of which `left` bytes are still to come, these among them.
    ///
    /// # Panics
    /// There are more than that.
    pub fn append(&mut self, mut bytes: &[u8], mut left: usize) {
        assert!(bytes.len() <= left, "more bytes than the body has");
        while !bytes.is_empty() {
            if self.0.last().is_none_or(|last| last.len() == SEGMENT_BYTES) {
                self.0.push(Vec::with_capacity(left.min(SEGMENT_BYTES)));
            }
            let Some(last) = self.0.last_mut() else { return };
            let (head, tail) = bytes.split_at(bytes.len().min(SEGMENT_BYTES - last.len()));
            last.extend_from_slice(head);
            left -= head.len();
            bytes = tail;
        }
    }

    /// Bytes of all of it.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.0.iter().map(|buffer| buffer.len() as u64).sum()
    }

    /// The bytes, buffer by buffer.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }

    /// All of it in one buffer; a copy only if it was in several.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        let len = self.0.iter().map(Vec::len).sum();
        match <[Vec<u8>; 1]>::try_from(self.0) {
            Ok([one]) => one,
            Err(several) => {
                let mut all = Vec::with_capacity(len);
                // Each goes as it is copied.
                several.into_iter().for_each(|buffer| all.extend_from_slice(&buffer));
                all
            }
        }
    }

    /// A copy of a part of it, in buffers of [`SEGMENT_BYTES`].
    ///
    /// # Panics
    /// The range goes past the end.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Self {
        let mut part = Self::default();
        let (mut begin, mut left) = (0, range.len());
        for buffer in &self.0 {
            let end = begin + buffer.len();
            let (from, to) = (range.start.max(begin), range.end.min(end));
            if from < to {
                part.append(&buffer[from - begin..to - begin], left);
                left -= to - from;
            }
            begin = end;
        }
        assert_eq!(left, 0, "{range:?} of {begin} bytes");
        part
    }

    /// Whether all buffers have `len` bytes but the last, which may be shorter.
    #[must_use]
    pub fn is_cut(&self, len: usize) -> bool {
        match self.0.split_last() {
            Some((last, rest)) => last.len() <= len && rest.iter().all(|one| one.len() == len),
            None => true,
        }
    }

    /// Buffers of `len` bytes, of which the last may be shorter; a copy only if they were others.
    pub(crate) fn into_blocks(self, len: usize) -> Vec<Vec<u8>> {
        if self.is_cut(len) {
            return self.0;
        }
        self.into_vec().chunks(len).map(<[u8]>::to_vec).collect()
    }
}

impl From<Vec<u8>> for Segments {
    fn from(bytes: Vec<u8>) -> Self {
        Self(vec![bytes])
    }
}

impl FromIterator<Vec<u8>> for Segments {
    fn from_iter<I: IntoIterator<Item = Vec<u8>>>(buffers: I) -> Self {
        Self(buffers.into_iter().collect())
    }
}

impl PartialEq for Segments {
    fn eq(&self, other: &Self) -> bool {
        self.len_bytes() == other.len_bytes() && self.iter().flatten().eq(other.iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|at| at as u8 ^ (at >> 8) as u8).collect()
    }

    #[test]
    fn what_is_appended_fills_buffers_of_one_length() {
        let all = bytes(2 * SEGMENT_BYTES + 5);
        for step in [1000, SEGMENT_BYTES, SEGMENT_BYTES + 1, all.len()] {
            let mut segments = Segments::default();
            for (index, part) in all.chunks(step).enumerate() {
                segments.append(part, all.len() - index * step);
            }
            let lens: Vec<usize> = segments.iter().map(<[u8]>::len).collect();
            assert_eq!(lens, [SEGMENT_BYTES, SEGMENT_BYTES, 5]);
            assert!(segments.0.iter().all(|buffer| buffer.capacity() == buffer.len()));
            assert_eq!(segments.len_bytes(), all.len() as u64);
            assert_eq!(segments, Segments::from(all.clone()));
            for part in [0..0, 7..9, 5..SEGMENT_BYTES, SEGMENT_BYTES - 1..all.len(), 0..all.len()] {
                assert_eq!(segments.part(part.clone()), Segments::from(all[part].to_vec()));
            }
            assert_eq!(segments.into_vec(), all);
        }
    }

    #[test]
    fn blocks_are_the_buffers_if_these_are_long_enough() {
        let all = bytes(20);
        let cut = |lens: &[usize]| {
            let mut rest = all.as_slice();
            let buffers = lens.iter().map(|len| {
                let (head, tail) = rest.split_at(*len);
                rest = tail;
                head.to_vec()
            });
            buffers.collect::<Segments>()
        };
        for lens in [&[8, 8, 4][..], &[20], &[3, 8, 9], &[8, 12], &[8, 4, 8]] {
            let segments = cut(lens);
            let kept = lens == [8, 8, 4];
            let pointers: Vec<*const u8> = segments.iter().map(<[u8]>::as_ptr).collect();
            let blocks = segments.into_blocks(8);
            assert_eq!(blocks.iter().map(Vec::len).collect::<Vec<_>>(), [8, 8, 4]);
            assert_eq!(blocks.concat(), all);
            let same = blocks.iter().zip(&pointers).all(|(block, old)| block.as_ptr() == *old);
            assert_eq!(same, kept, "{lens:?}");
        }
        assert!(Segments::default().into_blocks(8).is_empty());
        assert_ne!(cut(&[20]), Segments::from(bytes(19)));
    }
}
