//! The totals that test programs print.

use std::ops::AddAssign;

/// Tests that ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Totals {
    /// Reads `test result: ok. 3 passed; 0 failed; 0 ignored; …`, as each test program ends.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let count = |what: &str| {
            let part = counts.split("; ").find_map(|part| part.strip_suffix(what))?;
            part.trim().parse().ok()
        };
        Some(Self { passed: count(" passed")?, failed: count(" failed")? })
    }

    /// Whether there was no test.
    pub(crate) fn is_none(self) -> bool {
        self == Self::default()
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_a_test_program_ends_with_is_read() {
        let line = "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out";
        assert_eq!(Totals::parse(line).unwrap(), Totals { passed: 12, failed: 0 });
        let line = "test result: FAILED. 7 passed; 2 failed; 0 ignored; 0 measured; finished in 1s";
        assert_eq!(Totals::parse(line).unwrap(), Totals { passed: 7, failed: 2 });
    }

    #[test]
    fn other_lines_are_no_totals() {
        for line in ["", "running 12 tests", "12 passed; 0 failed", "test result: ok. all passed"] {
            assert_eq!(Totals::parse(line), None, "{line}");
        }
    }

    #[test]
    fn totals_are_summed() {
        let mut sum = Totals::default();
        assert!(sum.is_none());
        sum += Totals { passed: 2, failed: 1 };
        sum += Totals { passed: 3, failed: 0 };
        assert_eq!(sum, Totals { passed: 5, failed: 1 });
        assert!(!sum.is_none());
    }
}
