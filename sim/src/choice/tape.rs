//! What was chosen in a run.

use std::collections::BTreeMap;

/// All choices of a run, by lane. Runs are kept as tapes, not as seeds: a seed means another run as
/// soon as something draws once more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tape {
    /// The lanes that were drawn from.
    pub lanes: BTreeMap<String, Lane>,
}

/// The choices of one lane, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lane {
    /// What was drawn.
    pub values: Vec<u64>,
    /// Where units begin, which can be left out whole: what comes before the first is none.
    pub units: Vec<usize>,
}

impl Tape {
    /// The values of a lane; none if there is no such lane.
    #[must_use]
    pub fn values(&self, lane: &str) -> &[u64] {
        self.lanes.get(lane).map_or(&[], |lane| &lane.values)
    }

    /// How many choices there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lanes.values().map(|lane| lane.values.len()).sum()
    }

    /// How many units there are, which can be left out whole.
    #[must_use]
    pub fn units(&self) -> usize {
        self.lanes.values().map(|lane| lane.units.len()).sum()
    }

    /// Whether there is no choice.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
