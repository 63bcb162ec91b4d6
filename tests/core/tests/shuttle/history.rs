//! What happened to one file: whole writes and whole reads, each with its beginning and end.

/// A point in the history: they grow by one with each beginning and each end.
type Instant = u64;

#[derive(Debug)]
struct Span {
    start: Instant,
    end: Instant,
    tag: u8,
}

/// The writes and reads of one file. Each write has a tag of its own.
#[derive(Debug)]
pub(crate) struct History {
    now: Instant,
    writes: Vec<Span>,
    reads: Vec<Span>,
}

impl History {
    /// A file that holds `tag`.
    pub(crate) fn begin(tag: u8) -> Self {
        Self { now: 1, writes: vec![Span { start: 0, end: 0, tag }], reads: Vec::new() }
    }

    /// A write or read begins.
    pub(crate) fn start(&mut self) -> Instant {
        self.now += 1;
        self.now
    }

    pub(crate) fn wrote(&mut self, start: Instant, tag: u8) {
        let end = self.start();
        self.writes.push(Span { start, end, tag });
    }

    pub(crate) fn read(&mut self, start: Instant, tag: u8) {
        let end = self.start();
        self.reads.push(Span { start, end, tag });
    }

    pub(crate) fn was_written(&self, tag: u8) -> bool {
        self.writes.iter().any(|write| write.tag == tag)
    }

    /// Each read sees a write that began before the read ended, and that no other write had
    /// replaced before the read began; no read sees an older write than a read before it.
    pub(crate) fn check(&self) {
        let write_of = |read: &Span| {
            let write = self.writes.iter().find(|write| write.tag == read.tag);
            write.unwrap_or_else(|| panic!("{read:?} sees what was never written: {self:?}"))
        };
        for read in &self.reads {
            let write = write_of(read);
            assert!(write.start < read.end, "{read:?} sees a later write: {self:?}");
            let replaced = self.writes.iter().any(|w| write.end < w.start && w.end < read.start);
            assert!(!replaced, "{read:?} sees a replaced write: {self:?}");
            for before in self.reads.iter().filter(|before| before.end < read.start) {
                let older = write.end < write_of(before).start;
                assert!(!older, "{read:?} goes back behind {before:?}: {self:?}");
            }
        }
    }
}
