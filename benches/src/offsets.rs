//! Where the writes go.

/// Offsets of a batch before they repeat.
const COUNT: usize = 8192;

/// Offsets in random order, each a multiple of `write_bytes`, the same in every run.
pub(crate) fn random(file_bytes: usize, write_bytes: usize) -> Vec<u64> {
    let places = (file_bytes / write_bytes).max(1) as u64;
    scrambled().map(|number| number % places * write_bytes as u64).take(COUNT).collect()
}

/// Offsets one after the other, from 0 to the end of the file.
pub(crate) fn sequential(file_bytes: usize, write_bytes: usize) -> Vec<u64> {
    (0..(file_bytes / write_bytes).max(1)).map(|place| (place * write_bytes) as u64).collect()
}

/// Offsets in random order, such that the middle of every write is the end of a chunk.
pub(crate) fn crossing(file_bytes: usize, chunk_bytes: usize, write_bytes: usize) -> Vec<u64> {
    let ends = (file_bytes / chunk_bytes).saturating_sub(1).max(1) as u64;
    let before_end = (chunk_bytes - write_bytes / 2) as u64;
    let place = |number: u64| number % ends * chunk_bytes as u64 + before_end;
    scrambled().map(place).take(COUNT).collect()
}

/// Marsaglia's xorshift64, from a fixed seed.
fn scrambled() -> impl Iterator<Item = u64> {
    let step = |state: &u64| {
        let mut next = *state;
        next ^= next << 13;
        next ^= next >> 7;
        next ^= next << 17;
        Some(next)
    };
    std::iter::successors(Some(0x9e37_79b9_7f4a_7c15), step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_offsets_stay_in_the_file_and_cover_it() {
        let offsets = random(64, 8);
        assert!(offsets.iter().all(|&offset| offset % 8 == 0 && offset <= 56));
        let distinct: std::collections::BTreeSet<_> = offsets.into_iter().collect();
        assert_eq!(distinct.len(), 8);
    }

    #[test]
    fn a_crossing_write_begins_in_one_chunk_and_ends_in_the_next() {
        let offsets = crossing(64, 16, 8);
        assert!(
            offsets.iter().all(|&offset| offset / 16 + 1 == (offset + 7) / 16 && offset + 8 <= 64)
        );
    }

    #[test]
    fn sequential_offsets_end_with_the_file() {
        assert_eq!(sequential(24, 8), vec![0, 8, 16]);
    }
}
