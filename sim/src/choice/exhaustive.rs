//! Every run of a small case: all values of one lane, depth first.

use super::{Choices, Driver};

/// Goes through everything that a lane can hold. Zeros are drawn from all others.
#[derive(Debug)]
pub struct Exhaustive {
    lane: &'static str,
    next: Option<Vec<u64>>,
}

/// One run of them: what it is to draw, and what it has drawn below which bounds.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) lane: &'static str,
    given: Vec<u64>,
    drawn: Vec<(u64, u64)>,
}

impl Case {
    pub(super) fn draw(&mut self, bound: Option<u64>) -> u64 {
        let value = self.given.get(self.drawn.len()).copied().unwrap_or(0);
        // Nobody goes through 2^64 values: bits are zero.
        self.drawn.push((value, bound.unwrap_or(1)));
        value
    }

    /// The next in order: the last choice that has another value takes it, and what came after it
    /// is open again.
    fn next(&self) -> Option<Vec<u64>> {
        let last = self.drawn.iter().rposition(|(value, bound)| value + 1 < *bound)?;
        let mut given: Vec<u64> = self.drawn[..=last].iter().map(|(value, _)| *value).collect();
        given[last] += 1;
        Some(given)
    }
}

impl Exhaustive {
    /// Begins with zeros in `lane`.
    #[must_use]
    pub fn new(lane: &'static str) -> Self {
        Self { lane, next: Some(Vec::new()) }
    }

    /// Plays the next run, if one is left.
    pub fn play<T>(&mut self, run: impl FnOnce(&Choices) -> T) -> Option<T> {
        let given = self.next.take()?;
        let case = Case { lane: self.lane, given, drawn: Vec::new() };
        let choices = Choices::driven(Driver::Case(case));
        let outcome = run(&choices);
        if let Driver::Case(case) = &choices.deck.borrow().driver {
            self.next = case.next();
        }
        Some(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_comes_once_in_order() {
        let mut all = Exhaustive::new("case");
        let mut seen = Vec::new();
        while let Some(case) = all.play(|choices| {
            let case = choices.lane("case");
            let first = case.below(3);
            let second = if first == 1 { case.below(2) } else { 0 };
            (first, second, case.below(2), choices.lane("noise").below(9))
        }) {
            seen.push(case);
        }
        let at = |a, b, c| (a, b, c, 0);
        assert_eq!(
            seen,
            [
                at(0, 0, 0),
                at(0, 0, 1),
                at(1, 0, 0),
                at(1, 0, 1),
                at(1, 1, 0),
                at(1, 1, 1),
                at(2, 0, 0),
                at(2, 0, 1)
            ]
        );
    }
}
