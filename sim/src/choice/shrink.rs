//! Makes a tape short and plain, as long as the run that it makes still fails.

use super::tape::{Lane, Tape};

/// A failing run: the tape of what it drew, and what went wrong.
type Red<F> = (Tape, F);

/// The shortest and plainest tape found that still fails, and how it fails then. `run` plays a tape
/// and answers what it drew and how it failed, if it did; it is asked `tries` times at most. In
/// this order: units are left out, lanes cut and made zero in pieces, and values lowered; again as
/// long as anything helps.
pub fn shrink<F>(
    first: Red<F>,
    tries: usize,
    mut run: impl FnMut(&Tape) -> Option<Red<F>>,
) -> Red<F> {
    let mut search = Search { best: first, left: tries, run: &mut run };
    loop {
        let before = search.best.0.clone();
        search.leave_out_units();
        search.cut_lanes();
        search.zero_pieces();
        search.lower_values();
        if search.left == 0 || search.best.0 == before {
            return search.best;
        }
    }
}

struct Search<'a, F> {
    best: Red<F>,
    left: usize,
    run: &'a mut dyn FnMut(&Tape) -> Option<Red<F>>,
}

impl<F> Search<'_, F> {
    /// Plays the best tape with a lane changed. Whether it still fails, and is the best now. One
    /// that is no shorter or plainer is none.
    fn improves(&mut self, lane: &str, change: impl FnOnce(&mut Lane)) -> bool {
        let mut tape = self.best.0.clone();
        let Some(changed) = tape.lanes.get_mut(lane) else { return false };
        change(changed);
        if self.left == 0 || tape == self.best.0 {
            return false;
        }
        self.left -= 1;
        match (self.run)(&tape) {
            Some(red) if weight(&red.0) < weight(&self.best.0) => {
                self.best = red;
                true
            }
            Some(_) | None => false,
        }
    }

    fn lanes(&self) -> Vec<String> {
        self.best.0.lanes.keys().cloned().collect()
    }

    fn lane(&self, name: &str) -> Lane {
        self.best.0.lanes.get(name).cloned().unwrap_or_default()
    }

    fn leave_out_units(&mut self) {
        for name in self.lanes() {
            let mut size = self.lane(&name).units.len().div_ceil(2);
            while size > 0 {
                let mut at = 0;
                while at < self.lane(&name).units.len() {
                    if !self.improves(&name, |lane| leave_out(lane, at, size)) {
                        at += size;
                    }
                    if self.left == 0 {
                        return;
                    }
                }
                size /= 2;
            }
        }
    }

    fn cut_lanes(&mut self) {
        for name in self.lanes() {
            let mut keep = 0;
            loop {
                let len = self.lane(&name).values.len();
                if keep >= len || self.improves(&name, |lane| lane.values.truncate(keep)) {
                    break;
                }
                keep += (len - keep).div_ceil(2);
            }
        }
    }

    fn zero_pieces(&mut self) {
        for name in self.lanes() {
            let mut size = self.lane(&name).values.len().div_ceil(2);
            while size > 0 {
                let mut at = 0;
                while at < self.lane(&name).values.len() && self.left > 0 {
                    self.improves(&name, |lane| {
                        let end = lane.values.len().min(at + size);
                        lane.values[at..end].fill(0);
                    });
                    at += size;
                }
                size /= 2;
            }
        }
    }

    fn lower_values(&mut self) {
        for name in self.lanes() {
            let mut at = 0;
            while at < self.lane(&name).values.len() && self.left > 0 {
                let value = self.lane(&name).values[at];
                let lower = [value / 2, value.saturating_sub(1), value % 8, value % 256];
                let lower = lower.into_iter().filter(|to| *to < value);
                let is_lowered =
                    lower.into_iter().any(|to| self.improves(&name, |lane| lane.values[at] = to));
                at += usize::from(!is_lowered);
            }
        }
    }
}

/// What counts in a tape: its units, then its choices that are not the plainest, then how long and
/// how big it is.
fn weight(tape: &Tape) -> (usize, usize, usize, u128) {
    let lanes = || tape.lanes.values();
    let values = || lanes().flat_map(|lane| &lane.values);
    let units = lanes().map(|lane| lane.units.len()).sum();
    let others = values().filter(|value| **value > 0).count();
    (units, others, tape.len(), values().map(|value| u128::from(*value)).sum())
}

/// Takes `count` units out, from number `from` on.
fn leave_out(lane: &mut Lane, from: usize, count: usize) {
    let start = lane.units[from];
    let end = lane.units.get(from + count).copied().unwrap_or(lane.values.len());
    lane.values.drain(start..end);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::Choices;
    use super::*;

    /// Draws steps of three numbers each until there are none, and noise for each; fails if some
    /// are there.
    fn game(choices: &Choices) -> Option<String> {
        let (steps, noise) = (choices.lane("steps"), choices.lane("noise"));
        let mut seen = Vec::new();
        for _ in 0..40 {
            steps.begin_unit();
            if steps.below(50) == 0 {
                break;
            }
            seen.push((steps.below(10), steps.bits()));
            let _ = noise.below(1000);
        }
        let has = |kind| seen.iter().any(|(a, b)| *a == kind && *b > 1000);
        (has(3) && has(7)).then(|| format!("{seen:?}"))
    }

    #[test]
    fn what_does_not_matter_is_left_out_and_the_rest_made_plain() {
        let red = |choices: Choices| game(&choices).map(|why| (choices.tape(), why));
        let first = (1..).find_map(|seed| red(Choices::seeded(seed))).unwrap();
        let (tape, why) = shrink(first, 5000, |tape| red(Choices::replay(tape)));
        let either = ["[(3, 1001), (7, 1001)]", "[(7, 1001), (3, 1001)]"];
        assert!(either.contains(&why.as_str()), "{why}");
        assert!(tape.values("noise").iter().all(|value| *value == 0), "{tape:?}");
    }

    #[test]
    fn tries_are_counted() {
        let tape = Choices::seeded(1);
        let _: Vec<u64> = (0..100).map(|_| tape.bits()).collect();
        let mut tries = 0;
        let _ = shrink((tape.tape(), ()), 17, |_| {
            tries += 1;
            None
        });
        assert_eq!(tries, 17);
    }
}
