//! What a mount is like when threads begin.

use vellum_core::shapes::{Op, WriteFlags};

use super::spec::Spec;
use super::world::{World, commit};

/// Two blocks of 8 bytes.
const OLD: &[u8] = b"oooooooooooooooo";
/// What they are changed to.
const NEW: &[u8] = b"nnnnnnnnnnnnnnnn";
/// What one block takes with its masks.
const BLOCK_BYTES: u64 = 24;
const FILES: [(&[u8], &[u8]); 2] = [(b"f", OLD), (b"g", b"gggg")];

/// How far the file `f` is from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Committed, and not in memory.
    Cold,
    /// Committed, and in memory.
    Clean,
    /// Changed since.
    Dirty,
    /// Changed, and taken by a commit that has sent nothing yet.
    Sealed,
    /// The same, and its data is on its way.
    Flushing,
    /// The same, and all but the ref is stored.
    Landing,
    /// As [`Self::Cold`], and memory has room for little more than both files.
    TightCold,
    /// As [`Self::Dirty`], and memory has no room for one block more.
    TightDirty,
    /// As [`Self::Landing`], and memory has no room for one block more.
    TightLanding,
}

/// Memory for the blocks of both files and the masks of a change, and for nothing more.
const TIGHT_BYTES: u64 = 72;

impl Start {
    /// A mount that is like that. Threads are there only after it.
    #[must_use]
    pub fn world(self) -> World {
        let memory_bytes = if self.is_tight() { TIGHT_BYTES } else { 1 << 20 };
        let world = World::of(FILES, memory_bytes);
        world.request(commit()).unwrap();
        if matches!(self, Self::Cold | Self::TightCold) {
            return world.remounted(memory_bytes);
        }
        if self != Self::Clean {
            world.write(0, NEW).unwrap();
        }
        if self.is_taken() {
            world.begin(commit());
        }
        match self {
            Self::Flushing => world.run_until_put("chunks/"),
            Self::Landing | Self::TightLanding => world.run_until_put("refs/"),
            Self::Cold | Self::TightCold | Self::Clean => {}
            Self::Dirty | Self::TightDirty | Self::Sealed => {}
        }
        assert_eq!(self.is_tight(), world.shared.memory_bytes().1 < BLOCK_BYTES, "{self:?}");
        world
    }

    /// The same of the specification.
    #[must_use]
    pub fn spec(self) -> Spec {
        let mut spec = Spec::new(FILES);
        if !matches!(self, Self::Cold | Self::TightCold | Self::Clean) {
            let (fh, data, flags) = (spec.ids.fh, NEW.to_vec(), WriteFlags::default());
            spec.ask(&Op::Write { fh, offset: 0, data, flags });
        }
        if self.is_taken() {
            spec.begin_commit();
        }
        spec
    }

    fn is_taken(self) -> bool {
        matches!(self, Self::Sealed | Self::Flushing | Self::Landing | Self::TightLanding)
    }

    fn is_tight(self) -> bool {
        matches!(self, Self::TightCold | Self::TightDirty | Self::TightLanding)
    }
}
