//! When the oldest change was made that is not committed.

/// Times of the monotonic clock, in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Since {
    /// When the present step began.
    pub(crate) now_ns: u64,
    /// The first change after the last cut.
    open: Option<u64>,
    /// The first of those that a commit under way has taken.
    taken: Option<u64>,
}

impl Since {
    /// The first change since the last cut is being made.
    pub(crate) fn changed(&mut self) {
        self.open = Some(self.now_ns);
    }

    /// A commit takes what was changed.
    pub(crate) fn cut(&mut self) {
        self.taken = self.open.take();
    }

    /// All changes were taken back.
    pub(crate) fn discarded(&mut self) {
        self.open = None;
    }

    /// The commit came to nothing.
    pub(crate) fn put_back(&mut self) {
        self.open = self.taken.take().or(self.open);
    }

    /// The commit is published.
    pub(crate) fn published(&mut self) {
        self.taken = None;
    }

    /// How long the oldest change has been uncommitted, if there is one.
    pub(crate) fn age_ns(&self) -> Option<u64> {
        let oldest = self.taken.or(self.open)?;
        Some(self.now_ns.saturating_sub(oldest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_is_that_of_the_oldest_change_that_no_commit_has_published() {
        let mut since = Since { now_ns: 10, ..Since::default() };
        assert_eq!(since.age_ns(), None);
        since.changed();
        since.now_ns = 30;
        since.cut();
        since.changed();
        since.now_ns = 50;
        assert_eq!(since.age_ns(), Some(40), "what a commit has taken is not published yet");
        since.published();
        assert_eq!(since.age_ns(), Some(20), "what was changed during the commit");
    }

    #[test]
    fn what_a_failed_commit_had_taken_is_as_old_as_before() {
        let mut since = Since { now_ns: 10, ..Since::default() };
        since.changed();
        since.cut();
        since.now_ns = 30;
        since.changed();
        since.put_back();
        assert_eq!(since.age_ns(), Some(20));
        since.now_ns = 50;
        since.cut();
        assert_eq!(since.age_ns(), Some(40), "the next commit takes it with what came later");
    }
}
