//! Makes a failing sequence short: takes steps away as long as it still fails.

use super::step::Step;

/// Most tries of one shrinking.
const TRIES_MAX: usize = 2_000;

/// The shortest sequence found for which `fails` still answers a failure, and that failure.
pub fn shrink(
    steps: &[Step],
    failure: String,
    mut fails: impl FnMut(&[Step]) -> Option<String>,
) -> (Vec<Step>, String) {
    let (mut best, mut why) = (steps.to_vec(), failure);
    let mut tries = 0;
    let mut size = best.len().div_ceil(2);
    while size > 0 && tries < TRIES_MAX {
        let mut at = 0;
        let before = best.len();
        while at < best.len() && tries < TRIES_MAX {
            let mut shorter = best.clone();
            shorter.drain(at..(at + size).min(best.len()));
            tries += 1;
            match fails(&shorter) {
                Some(failure) => (best, why) = (shorter, failure),
                None => at += size,
            }
        }
        size = if size == 1 && best.len() < before { 1 } else { size / 2 };
    }
    (best, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::play::step::{Bigger, Verb};

    #[test]
    fn what_does_not_matter_is_taken_away() {
        let step = |a| Step { verb: Verb::Whole(Bigger::Wait), picks: [a; 4], numbers: [0; 2] };
        let steps: Vec<Step> = (0..100).map(step).collect();
        let fails = |steps: &[Step]| {
            let has = |a| steps.iter().any(|step| step.picks[0] == a);
            (has(17) && has(60) && has(61)).then(|| format!("{} steps", steps.len()))
        };
        let (short, why) = shrink(&steps, "100 steps".into(), fails);
        assert_eq!(short, [step(17), step(60), step(61)]);
        assert_eq!(why, "3 steps");
    }
}
