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

#[derive(Clone, Debug)]
struct Under {
    request: StoreRequest,
    asked: Asked,
    fate: Fate,
    outcome: Option<StoreOutcome>,
    happenings_left: u32,
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
        let decided = decided.or_else(|| self.decided(&request));
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
            | Fate::Forgotten => Some(within),
            Fate::Lost(Some(Lateness::Before)) => Some(within),
            Fate::Lost(Some(Lateness::After(ns))) => Some(answer_at + ns),
            Fate::Lost(None) | Fate::Refused(_) => None,
        };
        if fate != Fate::Answered {
            self.injected += 1;
        }
        if let Some(at) = apply_at {
            happenings.insert(0, (at, Happening::Apply(flight)));
        }
        let happenings_left = happenings.len() as u32;
        self.flights.insert(flight, Under { request, asked, fate, outcome: None, happenings_left });
        happenings
    }

    /// Lets it happen. An answer gives what the sender is told.
    ///
    /// # Panics
    /// When it was not announced by `begin`, or happened before.
    pub fn happen(&mut self, happening: Happening) -> Option<StoreOutcome> {
        let (Happening::Apply(flight) | Happening::Answer(flight)) = happening;
        let mut under = self.flights.remove(&flight).expect("announced, and not yet over");
        under.happenings_left -= 1;
        let told = match happening {
            Happening::Apply(_) => {
                if let Fate::Squatted(spoil) = &under.fate {
                    self.objects.squat(&under.request, *spoil);
                }
                let outcome = self.objects.apply(&under.request);
                self.refs_moved += u64::from(moves_ref(&under.request, &outcome));
                if let (Fate::Forgotten, StoreRequest::Put { key, .. }) =
                    (&under.fate, &under.request)
                    && matches!(outcome, StoreOutcome::Stored { .. })
                {
                    self.objects.remove(key);
                }
                under.outcome = Some(outcome);
                None
            }
            Happening::Answer(_) => Some(answer(&under, &self.choices)),
        };
        if let Some(outcome) = &told {
            self.counts.answered(under.asked, outcome);
        }
        if under.happenings_left > 0 {
            self.flights.insert(flight, under);
        }
        told
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
        Fate::Answered
        | Fate::Spoiled(_)
        | Fate::Squatted(_)
        | Fate::Shortened
        | Fate::Forgotten => &under.outcome,
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
