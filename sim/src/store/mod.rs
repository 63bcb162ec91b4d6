//! The simulated object store.
//!
//! Life of a request: it is sent; it is lost, or applied in one instant (atomic, and possibly
//! after its sender gave up); it is answered in another. [`SimStore::begin`] draws both instants
//! and what goes wrong; the world calls [`SimStore::happen`] when they come.

pub mod contract;
mod faults;
mod objects;

use std::collections::BTreeMap;

use vellum_core::shapes::{Asked, Counts, StoreError, StoreOutcome, StoreRequest};

pub use faults::{Arranged, End, Faults};
use faults::{Burst, Fate, Lateness};
pub use objects::{Objects, Refusal};

use crate::choice::Choices;
use crate::sites::{self, Site, Trouble};

/// What takes so long takes long.
const SLOW_NS: u64 = 1_000_000_000;

/// A request under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flight(pub u64);

/// What happens to a request under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// It is carried out.
    Apply(Flight),
    /// Its sender hears of it.
    Answer(Flight),
}

/// What the sender of a request is told.
#[derive(Clone, Debug)]
pub struct Told {
    /// What came of it.
    pub outcome: StoreOutcome,
    /// What mounts ask so, and what went wrong with it.
    pub(crate) met: Option<(sites::Asked, Option<Trouble>)>,
}

impl Told {
    /// What went wrong, in words.
    pub(crate) fn trouble(&self) -> Option<&'static str> {
        self.met.and_then(|(_, trouble)| trouble).map(Trouble::words)
    }

    /// What its sender has to go on from, if it lives.
    pub(crate) fn site(&self, is_alive: bool) -> Option<Site> {
        let (asked, trouble) = self.met?;
        let trouble = if is_alive { trouble } else { Some(Trouble::SenderDies) };
        trouble.map(|trouble| Site::of_store(asked, trouble))
    }
}

#[derive(Clone, Debug)]
struct Under {
    request: StoreRequest,
    asked: Asked,
    fate: Fate,
    latency_ns: u64,
    outcome: Option<StoreOutcome>,
    happenings_left: u32,
}

impl Under {
    fn met(&self, outcome: &StoreOutcome) -> Option<(sites::Asked, Option<Trouble>)> {
        let asked = sites::asked(&self.request)?;
        let is_refused =
            matches!(outcome, StoreOutcome::Failed(StoreError::Exists | StoreError::Mismatch));
        let is_slow = self.latency_ns >= SLOW_NS;
        let trouble = self.fate.trouble();
        let trouble = trouble.or(is_refused.then_some(Trouble::Exists));
        Some((asked, trouble.or(is_slow.then_some(Trouble::Slow))))
    }
}

/// What goes wrong, put by for a while.
#[derive(Debug)]
pub(crate) struct Troubles {
    faults: Faults,
    arranged: Vec<Arranged>,
    burst: Burst,
}

/// An object store in memory, whose requests take time and go wrong.
#[derive(Clone, Debug)]
pub struct SimStore {
    /// What it holds.
    pub objects: Objects,
    /// What goes wrong from now on.
    pub faults: Faults,
    /// What becomes of certain requests, whatever else goes wrong.
    pub arranged: Vec<Arranged>,
    /// Requests to keys that begin with one of these take so much longer, in nanoseconds.
    pub slow: Vec<(String, u64)>,
    choices: Choices,
    /// Decides the fates of puts while none of them has gone wrong yet.
    case: Option<Choices>,
    burst: Burst,
    flights: BTreeMap<Flight, Under>,
    next: Flight,
    counts: Counts,
    injected: u64,
    refs_moved: u64,
}

impl SimStore {
    /// An empty store without faults.
    #[must_use]
    pub fn new(choices: Choices) -> Self {
        let form = choices.bits();
        Self {
            objects: Objects::new(form),
            faults: Faults::none(),
            arranged: Vec::new(),
            slow: Vec::new(),
            choices,
            case: None,
            burst: Burst::default(),
            flights: BTreeMap::new(),
            next: Flight(1),
            counts: Counts::default(),
            injected: 0,
            refs_moved: 0,
        }
    }

    /// Requests and bytes so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How many requests have moved a ref so far.
    #[must_use]
    pub fn refs_moved(&self) -> u64 {
        self.refs_moved
    }

    /// How many faults were injected so far.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.injected
    }

    /// Lets what comes go well until [`Self::go_on`].
    pub(crate) fn spare(&mut self) -> Troubles {
        let faults = std::mem::replace(&mut self.faults, Faults::none());
        Troubles {
            faults,
            arranged: std::mem::take(&mut self.arranged),
            burst: std::mem::take(&mut self.burst),
        }
    }

    /// Goes on with what was spared.
    pub(crate) fn go_on(&mut self, troubles: Troubles) {
        Troubles { faults: self.faults, arranged: self.arranged, burst: self.burst } = troubles;
    }

    /// Ends all faults: what is under way ends as drawn, what comes goes well.
    pub fn heal(&mut self) {
        self.faults = Faults::none();
        self.arranged.clear();
        self.slow.clear();
        self.case = None;
        self.burst = Burst::default();
    }

    /// Takes a request at `now_ns` and answers what will happen to it, and when.
    pub fn begin(&mut self, now_ns: u64, request: StoreRequest) -> Vec<(u64, Happening)> {
        let asked = self.counts.asked(&request);
        let flight = self.next;
        self.next = Flight(flight.0 + 1);
        let decided = faults::arranged(&mut self.arranged, &request);
        let decided = decided.or_else(|| self.decided(&request)).or_else(|| self.busy(&request));
        let fate = decided.unwrap_or_else(|| {
            faults::draw(&self.faults, &mut self.burst, &request, &self.choices)
        });
        let latency = self.choices.pick(&self.faults.latency_ns);
        let latency = latency + self.slowness(&request);
        let answer_at = now_ns + latency;
        let within = now_ns + self.choices.below(latency + 1);
        let mut happenings = vec![(answer_at, Happening::Answer(flight))];
        let apply_at = match &fate {
            Fate::Answered
            | Fate::Spoiled(_)
            | Fate::Squatted(_)
            | Fate::Shortened
            | Fate::Forgotten
            | Fate::Twice
            | Fate::Lost(Some(Lateness::Before)) => Some(within),
            Fate::Lost(Some(Lateness::After(ns))) => Some(answer_at + ns),
            Fate::Lost(None) | Fate::Refused(_) | Fate::Busy => None,
        };
        if fate != Fate::Answered {
            self.injected += 1;
        }
        if let Some(at) = apply_at {
            happenings.insert(0, (at, Happening::Apply(flight)));
        }
        let happenings_left = happenings.len() as u32;
        let under =
            Under { request, asked, fate, latency_ns: latency, outcome: None, happenings_left };
        self.flights.insert(flight, under);
        happenings
    }

    /// Lets it happen. An answer gives what the sender is told.
    ///
    /// # Panics
    /// When it was not announced by `begin`, or happened before.
    pub fn happen(&mut self, happening: Happening) -> Option<Told> {
        let (Happening::Apply(flight) | Happening::Answer(flight)) = happening;
        let mut under = self.flights.remove(&flight).expect("announced, and not yet over");
        under.happenings_left -= 1;
        let told = match happening {
            Happening::Apply(_) => {
                if let Fate::Squatted(spoil) = &under.fate {
                    self.objects.squat(&under.request, *spoil);
                }
                let outcome = self.apply(&under.request);
                if let (Fate::Forgotten, StoreRequest::Put { key, .. }) =
                    (&under.fate, &under.request)
                    && matches!(outcome, StoreOutcome::Stored { .. })
                {
                    self.objects.remove(key);
                }
                under.outcome = Some(outcome);
                None
            }
            Happening::Answer(_) => {
                if under.fate == Fate::Twice {
                    under.outcome = Some(self.apply(&under.request));
                }
                let outcome = answer(&under, &self.choices);
                self.counts.answered(under.asked, &outcome);
                Some(Told { met: under.met(&outcome), outcome })
            }
        };
        if under.happenings_left > 0 {
            self.flights.insert(flight, under);
        }
        told
    }

    fn apply(&mut self, request: &StoreRequest) -> StoreOutcome {
        let outcome = self.objects.apply(request);
        self.refs_moved += u64::from(moves_ref(request, &outcome));
        outcome
    }

    /// A put has to wait while another one of its key is under way.
    fn busy(&self, request: &StoreRequest) -> Option<Fate> {
        let StoreRequest::Put { key, .. } = request else { return None };
        if !self.faults.busy {
            return None;
        }
        let is_other = |under: &Under| {
            let is_put =
                matches!(&under.request, StoreRequest::Put { key: other, .. } if other == key);
            is_put && under.outcome.is_none() && under.fate.is_applied()
        };
        self.flights.values().any(is_other).then_some(Fate::Busy)
    }

    /// Lets `case` decide what becomes of each put, until one goes wrong.
    pub fn decide(&mut self, case: Choices) {
        self.case = Some(case);
    }

    fn decided(&mut self, request: &StoreRequest) -> Option<Fate> {
        let case = self.case.as_ref().filter(|_| matches!(request, StoreRequest::Put { .. }))?;
        let fate = faults::one_of_four(case)?;
        self.case = None;
        Some(fate)
    }

    /// Carries a request out at once, without faults, time or counting.
    pub fn at_once(&mut self, request: &StoreRequest) -> StoreOutcome {
        self.objects.apply(request)
    }

    fn slowness(&self, request: &StoreRequest) -> u64 {
        let key = match request {
            StoreRequest::Get { key, .. }
            | StoreRequest::Head { key }
            | StoreRequest::Put { key, .. }
            | StoreRequest::Delete { key } => key,
            StoreRequest::List { prefix, .. } => prefix,
        };
        let slow = self.slow.iter().filter(|(prefix, _)| key.starts_with(prefix.as_str()));
        slow.map(|(_, ns)| *ns).max().unwrap_or(0)
    }
}

fn moves_ref(request: &StoreRequest, outcome: &StoreOutcome) -> bool {
    matches!(request, StoreRequest::Put { key, .. } if key.starts_with("refs/"))
        && matches!(outcome, StoreOutcome::Stored { .. })
}

fn answer(under: &Under, choices: &Choices) -> StoreOutcome {
    let outcome = match &under.fate {
        Fate::Refused(error) => return StoreOutcome::Failed(error.clone()),
        Fate::Lost(_) => return StoreOutcome::Failed(StoreError::Ambiguous),
        Fate::Busy => return StoreOutcome::Failed(StoreError::Throttled),
        Fate::Answered
        | Fate::Spoiled(_)
        | Fate::Squatted(_)
        | Fate::Shortened
        | Fate::Forgotten
        | Fate::Twice => &under.outcome,
    };
    let mut outcome = outcome.clone().expect("what is answered was applied before");
    if let (Fate::Spoiled(spoil), StoreOutcome::Got { body, .. }) = (&under.fate, &mut outcome) {
        let mut bytes = std::mem::take(body).into_vec();
        spoil.spoil(&mut bytes);
        *body = bytes.into();
    }
    if let (Fate::Shortened, StoreOutcome::Listed { keys, more }) = (&under.fate, &mut outcome)
        && keys.len() > 1
    {
        keys.truncate(1 + choices.index(keys.len() - 1));
        *more = true;
    }
    outcome
}

#[cfg(test)]
mod tests;
