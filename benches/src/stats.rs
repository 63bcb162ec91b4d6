//! Medians, quantiles and ratios of one interleaved run.

/// The middle and the edges of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) p10: f64,
    pub(crate) p90: f64,
}

impl Summary {
    /// Sums a sample up; an empty one is all zeros.
    pub(crate) fn of(sample: &[f64]) -> Self {
        let mut sorted = sample.to_vec();
        sorted.sort_by(f64::total_cmp);
        Self {
            median: quantile(&sorted, 0.5),
            p10: quantile(&sorted, 0.1),
            p90: quantile(&sorted, 0.9),
        }
    }
}

/// Value below which the share `q` of a sorted sample lies, interpolated between neighbours.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = q * last as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * place.fract()
}

/// Median of the ratios of two samples, round by round: what slows a whole round cancels out.
pub(crate) fn paired_ratio(sample: &[f64], base: &[f64]) -> f64 {
    let ratios: Vec<f64> = sample.iter().zip(base).map(|(a, b)| a / b).collect();
    Summary::of(&ratios).median
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_odd_sample_is_its_middle_value() {
        let summary = Summary::of(&[5.0, 1.0, 3.0]);
        assert_eq!(summary.median, 3.0);
    }

    #[test]
    fn quantiles_are_interpolated_between_neighbours() {
        let summary = Summary::of(&[0.0, 10.0]);
        assert_eq!(summary, Summary { median: 5.0, p10: 1.0, p90: 9.0 });
    }

    #[test]
    fn an_empty_sample_sums_up_to_zeros() {
        assert_eq!(Summary::of(&[]), Summary { median: 0.0, p10: 0.0, p90: 0.0 });
    }

    #[test]
    fn a_round_that_was_slow_for_both_does_not_move_the_paired_ratio() {
        assert_eq!(paired_ratio(&[2.0, 200.0, 2.0], &[1.0, 100.0, 1.0]), 2.0);
    }
}
