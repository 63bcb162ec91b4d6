//! The one source of choices.
//!
//! Every decision of a simulated world is drawn here, and kept on a [`Tape`]: the same tape is the
//! same run. A tape has lanes, one for each part of the world, so that what one part draws does
//! not move the others. Where the choices come from is up to the driver: a seed, a tape, or all of
//! them in turn ([`Exhaustive`]).
//!
//! A tape holds what was chosen, not what was rolled: it means the same under other weights. Zero
//! is always the plainest choice: no fault, the first of a list, the least number. A lane that has
//! run out gives zeros, so that any part of a tape is one.

mod exhaustive;
mod rng;
mod shrink;
mod tape;

use std::cell::RefCell;
use std::rc::Rc;

pub use exhaustive::Exhaustive;
pub use shrink::shrink;
pub use tape::{Lane, Tape};

use crate::world::Trace;
use rng::Rng;

/// A lane of choices. Clones draw from the same lane.
#[derive(Clone, Debug)]
pub struct Choices {
    deck: Rc<RefCell<Deck>>,
    lane: usize,
}

#[derive(Debug)]
struct Deck {
    driver: Driver,
    lanes: Vec<Drawn>,
    trace: Trace,
}

/// Where values come from.
#[derive(Debug)]
enum Driver {
    Random(u64),
    Replay(Tape),
    /// One lane as this says, and what it may be next; zeros elsewhere.
    Case(exhaustive::Case),
}

/// A lane and what was drawn on it.
#[derive(Debug)]
struct Drawn {
    name: &'static str,
    rng: Rng,
    given: Vec<u64>,
    lane: Lane,
}

impl Choices {
    /// Random choices that follow from `seed`.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::driven(Driver::Random(seed))
    }

    /// The choices of a run that was. Where the tape has none, zeros.
    #[must_use]
    pub fn replay(tape: &Tape) -> Self {
        Self::driven(Driver::Replay(tape.clone()))
    }

    /// Whether these are the choices of a run that was: it ends where the tape does.
    #[must_use]
    pub fn are_given(&self) -> bool {
        matches!(self.deck.borrow().driver, Driver::Replay(_))
    }

    fn driven(driver: Driver) -> Self {
        let deck = Deck { driver, lanes: Vec::new(), trace: Trace::default() };
        let deck = Rc::new(RefCell::new(deck));
        let lane = deck.borrow_mut().lane("main");
        Self { deck, lane }
    }

    /// The lane of this name.
    #[must_use]
    pub fn lane(&self, name: &'static str) -> Self {
        let lane = self.deck.borrow_mut().lane(name);
        Self { deck: Rc::clone(&self.deck), lane }
    }

    /// All choices of all lanes so far.
    #[must_use]
    pub fn tape(&self) -> Tape {
        let deck = self.deck.borrow();
        let lanes = deck.lanes.iter().filter(|drawn| !drawn.lane.values.is_empty());
        Tape { lanes: lanes.map(|drawn| (drawn.name.to_owned(), drawn.lane.clone())).collect() }
    }

    /// Hash of all choices so far.
    #[must_use]
    pub fn trace(&self) -> u64 {
        self.deck.borrow().trace.value()
    }

    /// Here begins something that can be left out without harm to what follows.
    pub fn begin_unit(&self) {
        let lane = &mut self.deck.borrow_mut().lanes[self.lane].lane;
        lane.units.push(lane.values.len());
    }

    /// 64 random bits.
    #[must_use]
    pub fn bits(&self) -> u64 {
        self.draw(None, Rng::bits)
    }

    /// A number below `bound`, which is at least 1.
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        assert!(bound > 0, "nothing to choose from");
        if bound == 1 { 0 } else { self.draw(Some(bound), |rng| rng.below(bound)) }
    }

    /// An index below `len`, which is at least 1.
    #[must_use]
    pub fn index(&self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// Whether something happens that happens `per_mille` times in a thousand.
    #[must_use]
    pub fn chance(&self, per_mille: u32) -> bool {
        match per_mille {
            0 => false,
            1..1000 => {
                let draw = |rng: &mut Rng| u64::from(rng.below(1000) < u64::from(per_mille));
                self.draw(Some(2), draw) == 1
            }
            1000.. => true,
        }
    }

    /// One of `items`, which are not none.
    #[must_use]
    pub fn pick<T: Copy>(&self, items: &[T]) -> T {
        items[self.index(items.len())]
    }

    /// An index, each as likely as its weight. (A tape may hold one without weight.)
    #[must_use]
    pub fn weighted(&self, weights: &[u32]) -> usize {
        let draw = |rng: &mut Rng| {
            let total = weights.iter().map(|&weight| u64::from(weight)).sum();
            let mut left = rng.below(total);
            let is_it = |&weight: &u32| match left.checked_sub(u64::from(weight)) {
                Some(rest) => {
                    left = rest;
                    false
                }
                None => true,
            };
            weights.iter().position(is_it).expect("the draw is below the sum of the weights") as u64
        };
        self.draw(Some(weights.len() as u64), draw) as usize
    }

    fn draw(&self, bound: Option<u64>, random: impl FnOnce(&mut Rng) -> u64) -> u64 {
        self.deck.borrow_mut().draw(self.lane, bound, random)
    }
}

impl Deck {
    fn lane(&mut self, name: &'static str) -> usize {
        if let Some(at) = self.lanes.iter().position(|lane| lane.name == name) {
            return at;
        }
        let mut of_name = Trace::default();
        of_name.text(name);
        let (seed, given) = match &self.driver {
            Driver::Random(seed) => (*seed, Vec::new()),
            Driver::Replay(tape) => (0, tape.values(name).to_vec()),
            Driver::Case(_) => (0, Vec::new()),
        };
        let rng = Rng::new(seed ^ of_name.value());
        self.lanes.push(Drawn { name, rng, given, lane: Lane::default() });
        self.lanes.len() - 1
    }

    /// Draws below `bound`, or any 64 bits.
    fn draw(
        &mut self,
        lane: usize,
        bound: Option<u64>,
        random: impl FnOnce(&mut Rng) -> u64,
    ) -> u64 {
        let drawn = &mut self.lanes[lane];
        let value = match &mut self.driver {
            Driver::Random(_) => random(&mut drawn.rng),
            Driver::Replay(_) => {
                let given = drawn.given.get(drawn.lane.values.len()).copied().unwrap_or(0);
                bound.map_or(given, |bound| given.min(bound - 1))
            }
            Driver::Case(case) if case.lane == drawn.name => case.draw(bound),
            Driver::Case(_) => 0,
        };
        drawn.lane.values.push(value);
        self.trace.number(lane as u64);
        self.trace.number(value);
        value
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn draws_stay_in_their_bounds_and_reach_them() {
        let choices = Choices::seeded(1);
        let mut seen = [0; 5];
        for _ in 0..1000 {
            seen[choices.index(5)] += 1;
        }
        assert!(seen.iter().all(|&count| count > 100), "{seen:?}");
        let mut seen = [0; 3];
        for _ in 0..1000 {
            seen[choices.weighted(&[1, 0, 9])] += 1;
        }
        assert!(seen[0] > 20 && seen[1] == 0 && seen[2] > 800, "{seen:?}");
        assert!(!(0..1000).any(|_| choices.chance(0)));
        assert!((0..1000).all(|_| choices.chance(1000)));
        let often = (0..1000).filter(|_| choices.chance(900)).count();
        assert!((800..=980).contains(&often), "{often}");
    }

    #[test]
    fn one_seed_is_one_stream_and_lanes_are_their_own() {
        let run = |seed, name| {
            let lane = Choices::seeded(seed).lane(name);
            (lane.bits(), lane.trace())
        };
        assert_eq!(run(7, "a"), run(7, "a"));
        assert_ne!(run(7, "a").0, run(8, "a").0);
        assert_ne!(run(7, "a").0, run(7, "b").0);
        let choices = Choices::seeded(7);
        let drawn: Vec<u64> = (0..9).map(|_| choices.lane("c").bits()).collect();
        assert_eq!(drawn.len(), 9);
        assert_eq!(choices.lane("a").bits(), run(7, "a").0, "what c drew has moved a");
    }

    #[test]
    fn a_tape_is_played_again_and_ends_in_zeros() {
        let play = |choices: &Choices| {
            let (a, b) = (choices.lane("a"), choices.lane("b"));
            let drawn = (0..5).map(|_| (a.below(100), b.bits())).collect::<Vec<_>>();
            (drawn, choices.trace(), choices.tape())
        };
        let first = play(&Choices::seeded(3));
        assert_eq!(play(&Choices::replay(&first.2)), first);
        let mut tape = first.2.clone();
        tape.lanes.get_mut("a").unwrap().values.truncate(2);
        let short = play(&Choices::replay(&tape)).0;
        let (before, after) = (&first.0, short);
        assert_eq!(after[..2], before[..2]);
        assert!(after[2..].iter().zip(&before[2..]).all(|(x, y)| x.0 == 0 && x.1 == y.1));
    }

    #[test]
    fn a_value_past_its_bound_is_the_last() {
        let lane = Lane { values: vec![70, 3], units: Vec::new() };
        let tape = Tape { lanes: [("main".to_owned(), lane)].into() };
        let choices = Choices::replay(&tape);
        assert_eq!([choices.below(10), choices.below(10), choices.below(10)], [9, 3, 0]);
        assert_eq!(choices.tape().values("main"), [9, 3, 0]);
    }
}
