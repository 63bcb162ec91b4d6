//! Ways to write into a file that is warm in memory: the controls, and the seam for the product.

mod executor;
mod floor;
mod improved;
mod naive;
mod null;
mod pool;
mod two_maps;
mod vellum;

pub(crate) use floor::Floor;
pub(crate) use improved::Improved;
pub(crate) use naive::Naive;
pub(crate) use null::Null;
pub(crate) use vellum::Vellum;

/// How much is warm, and into what chunks it is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) files: usize,
    pub(crate) file_bytes: usize,
    /// A path that has chunks of its own, fixed size leaves this out of account.
    pub(crate) chunk_bytes: usize,
}

/// The path could not take the write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// One way to write. Files are numbered from 0, and are resident and dirty from the start.
pub(crate) trait WritePath: Send + Sync + Sized + 'static {
    /// Makes the files, all zeros.
    fn warm(shape: Shape) -> Self;

    /// Overwrites; returns the bytes taken.
    fn write(&self, file: usize, offset: u64, data: &[u8]) -> Result<usize, Refused>;

    /// Fills `into` with the file's bytes from `offset` on. Not measured.
    fn read(&self, file: usize, offset: u64, into: &mut [u8]) -> Result<(), Refused>;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SHAPE: Shape = Shape { files: 2, file_bytes: 64, chunk_bytes: 8 };

    fn keeps_what_was_written<P: WritePath>(shape: Shape) {
        let path = P::warm(shape);
        let mut expected = vec![0u8; shape.file_bytes];
        for step in 0..40u8 {
            let offset = usize::from(step) * 7 % 50;
            let data = vec![step + 1; usize::from(step % 14) + 1];
            let data = &data[..data.len().min(shape.file_bytes - offset)];
            assert_eq!(path.write(1, offset as u64, data).unwrap(), data.len());
            expected[offset..offset + data.len()].copy_from_slice(data);
            let mut seen = vec![0xff; shape.file_bytes];
            path.read(1, 0, &mut seen).unwrap();
            assert_eq!(seen, expected, "after step {step}");
        }
        let mut other = vec![0xff; shape.file_bytes];
        path.read(0, 0, &mut other).unwrap();
        assert_eq!(other, vec![0u8; shape.file_bytes], "the other file");
    }

    #[test]
    fn the_floor_keeps_what_was_written() {
        keeps_what_was_written::<Floor>(SHAPE);
    }

    #[test]
    fn the_naive_path_keeps_what_was_written_in_many_chunks_and_in_one() {
        keeps_what_was_written::<Naive>(SHAPE);
        keeps_what_was_written::<Naive>(Shape { chunk_bytes: 64, ..SHAPE });
    }

    #[test]
    fn the_improved_path_keeps_what_was_written_in_many_chunks_and_in_one() {
        keeps_what_was_written::<Improved>(SHAPE);
        keeps_what_was_written::<Improved>(Shape { chunk_bytes: 64, ..SHAPE });
    }

    #[test]
    fn vellum_keeps_what_was_written_in_many_blocks_and_in_one() {
        keeps_what_was_written::<Vellum>(SHAPE);
        keeps_what_was_written::<Vellum>(Shape { chunk_bytes: 64, ..SHAPE });
    }

    #[test]
    fn a_file_that_is_not_there_is_refused() {
        assert_eq!(Floor::warm(SHAPE).write(2, 0, b"x"), Err(Refused));
        assert_eq!(Naive::warm(SHAPE).write(2, 0, b"x"), Err(Refused));
        assert_eq!(Improved::warm(SHAPE).write(2, 0, b"x"), Err(Refused));
        assert_eq!(Vellum::warm(SHAPE).write(2, 0, b"x"), Err(Refused));
    }
}
