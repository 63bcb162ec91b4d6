//! Signals: a first one unmounts what is clean, and a second one drops what the first warned of.
//!
//! | heard \ warned of | nothing, or too long ago | not known yet | edits | use |
//! |---|---|---|---|---|
//! | SIGINT, SIGTERM | look | warn | drop | look, detach |
//! | SIGHUP | look | wait | look | look |
//!
//! A service's SIGTERM comes from its manager: it is looked until it can end (`service`).

use std::time::{Duration, Instant};

/// How long a warning stands: what comes later was not meant as an answer to it.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// What asks the daemon to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// SIGINT or SIGTERM: somebody wants it to end.
    End,
    /// SIGHUP: a terminal was closed, which is no wish to lose anything.
    HangUp,
    /// SIGTERM to a service: its manager wants it to end, and nobody to lose anything.
    Stop,
}

/// What a signal was answered last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Warned {
    /// Nothing that still stands.
    #[default]
    Nothing,
    /// Nothing yet: it is being looked at what is uncommitted.
    Looking,
    /// At this time: that uncommitted edits would be lost.
    Edits(Instant),
    /// At this time: that programs use the mount, of which all is committed.
    InUse(Instant),
}

/// What the daemon owes a signal.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owed {
    /// Unmount if nothing is uncommitted and nobody uses the mount.
    Look,
    /// Unmount if nothing is uncommitted, whoever uses the mount.
    Detach,
    /// Say that a further signal drops what may be uncommitted.
    Warn,
    /// Drop what is uncommitted, and end.
    Drop,
    /// Nothing: the answer to an earlier one is under way.
    Wait,
}

impl Warned {
    /// A signal came.
    pub(super) fn hear(&mut self, ask: Ask, now: Instant) -> Owed {
        let stands = |at: Instant| now.saturating_duration_since(at) <= ANSWER;
        let (next, owed) = match (*self, ask) {
            (Self::Looking, Ask::HangUp | Ask::Stop) => (Self::Looking, Owed::Wait),
            (warned, Ask::HangUp | Ask::Stop) => (warned, Owed::Look),
            (Self::Looking, Ask::End) => (Self::Edits(now), Owed::Warn),
            (Self::Edits(at), Ask::End) if stands(at) => (Self::Nothing, Owed::Drop),
            (Self::InUse(at), Ask::End) if stands(at) => (Self::Looking, Owed::Detach),
            (Self::Nothing | Self::Edits(_) | Self::InUse(_), Ask::End) => {
                (Self::Looking, Owed::Look)
            }
        };
        *self = next;
        owed
    }

    /// All that was uncommitted is published: what comes later was not warned of.
    pub(super) fn committed(&mut self) {
        *self = Self::Nothing;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_signal_drops_what_the_first_warned_of() {
        let now = Instant::now();
        let mut warned = Warned::default();
        assert_eq!(warned.hear(Ask::End, now), Owed::Look);
        warned = Warned::Edits(now);
        assert_eq!(warned.hear(Ask::End, now + ANSWER), Owed::Drop);
    }

    #[test]
    fn a_warning_does_not_stand_for_ever_nor_over_a_commit() {
        let now = Instant::now();
        let mut warned = Warned::Edits(now);
        let later = now + ANSWER + Duration::from_nanos(1);
        assert_eq!(warned.hear(Ask::End, later), Owed::Look);
        warned = Warned::InUse(now);
        assert_eq!(warned.hear(Ask::End, later), Owed::Look);
        warned = Warned::Edits(now);
        warned.committed();
        assert_eq!(warned.hear(Ask::End, now), Owed::Look);
    }

    #[test]
    fn a_warning_of_programs_is_no_warning_of_edits() {
        let now = Instant::now();
        let mut warned = Warned::InUse(now);
        assert_eq!(warned.hear(Ask::End, now), Owed::Detach);
        assert_eq!(warned, Warned::Looking);
    }

    #[test]
    fn a_closed_terminal_drops_nothing_and_warns_of_nothing() {
        let now = Instant::now();
        for warned in [Warned::Nothing, Warned::Looking, Warned::Edits(now), Warned::InUse(now)] {
            let mut heard = warned;
            let owed = heard.hear(Ask::HangUp, now);
            assert!(matches!(owed, Owed::Look | Owed::Wait), "{warned:?}: {owed:?}");
            assert_eq!(heard, warned);
        }
    }

    #[test]
    fn impatience_is_warned_before_anything_is_dropped() {
        let now = Instant::now();
        let mut warned = Warned::Looking;
        assert_eq!(warned.hear(Ask::End, now), Owed::Warn);
        assert_eq!(warned.hear(Ask::End, now), Owed::Drop);
    }
}
