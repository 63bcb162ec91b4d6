//! What may go wrong with a request, and how often.

use vellum_core::shapes::{StoreError, StoreRequest};

use crate::choice::Choices;
use crate::sites::Trouble;

const MS: u64 = 1_000_000;

/// Longer than a put is tried again.
const ZOMBIE_NS: u64 = 400_000 * MS;

/// How often each thing goes wrong, in a thousand requests that it can happen to, and how long
/// requests take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// The store asks for patience; begins a burst of up to `burst` more.
    pub throttled: u32,
    /// The credentials are refused; begins a burst of up to `burst` more.
    pub denied: u32,
    /// Longest burst of refusals.
    pub burst: u64,
    /// A put finds the store full.
    pub full: u32,
    /// The request never arrives, or never comes back though it changed nothing.
    pub unreachable: u32,
    /// The outcome of a put or delete is lost: never applied, applied, or applied later.
    pub ambiguous: u32,
    /// A put arrives twice, as something between sends it again, and the second is answered: its
    /// condition does not hold any more.
    pub twice: u32,
    /// Whether a put is refused for a while (409) when another one of its key is under way.
    pub busy: bool,
    /// The body of a get does not match its checksum, and the store's client sees that.
    pub damaged: u32,
    /// The body of a get is wrong and nothing says so: only for objects named by their hash.
    pub wrong_bytes: u32,
    /// A listing ends early and says that there is more.
    pub short_pages: u32,
    /// A put of an object named by its hash is acknowledged and not kept: no store may do this, and
    /// nothing can be built on one that does.
    pub forgotten: u32,
    /// Before an object named by its hash is put, other bytes are there under its name.
    pub squatted: u32,
    /// Times that a request may take, in nanoseconds, each as likely as the others.
    pub latency_ns: Vec<u64>,
}

impl Faults {
    /// Nothing goes wrong; requests take 1 to 20 ms.
    #[must_use]
    pub fn none() -> Self {
        Self {
            throttled: 0,
            denied: 0,
            burst: 0,
            full: 0,
            unreachable: 0,
            ambiguous: 0,
            twice: 0,
            busy: false,
            damaged: 0,
            wrong_bytes: 0,
            short_pages: 0,
            forgotten: 0,
            squatted: 0,
            latency_ns: vec![MS, 2 * MS, 5 * MS, 20 * MS],
        }
    }

    /// Everything goes wrong now and then, and some requests take seconds.
    #[must_use]
    pub fn rough() -> Self {
        Self {
            throttled: 40,
            denied: 8,
            burst: 4,
            full: 8,
            unreachable: 60,
            ambiguous: 100,
            twice: 40,
            busy: true,
            damaged: 40,
            wrong_bytes: 40,
            short_pages: 200,
            forgotten: 0,
            squatted: 0,
            latency_ns: vec![MS, 2 * MS, 5 * MS, 20 * MS, 80 * MS, 400 * MS, 4_000 * MS],
        }
    }

    /// Some of these never, some twice as often, and some refusals most of the time, as drawn.
    #[must_use]
    pub fn swarm(self, choices: &Choices) -> Self {
        let lane = choices.lane("faults");
        let often = |rate: u32| rate * lane.pick(&[0, 1, 2]);
        let mostly = |rate: u32| rate * [0, 1, 2, 80][lane.weighted(&[8, 8, 8, 1])];
        Self {
            throttled: often(self.throttled),
            denied: mostly(self.denied),
            burst: self.burst,
            full: mostly(self.full),
            unreachable: often(self.unreachable),
            ambiguous: often(self.ambiguous),
            twice: often(self.twice),
            busy: self.busy && lane.index(2) == 1,
            damaged: often(self.damaged),
            wrong_bytes: often(self.wrong_bytes),
            short_pages: often(self.short_pages),
            squatted: often(self.squatted),
            forgotten: self.forgotten,
            latency_ns: self.latency_ns,
        }
    }

    /// Some of what is acknowledged is not kept.
    #[must_use]
    pub fn forgetful() -> Self {
        Self { forgotten: 200, ..Self::none() }
    }

    /// Names of objects are often taken by other bytes.
    #[must_use]
    pub fn squatted() -> Self {
        Self { squatted: 300, ..Self::none() }
    }

    /// Nothing comes through.
    #[must_use]
    pub fn outage() -> Self {
        Self { unreachable: 1000, ..Self::none() }
    }
}

/// What becomes of certain requests, arranged beforehand: it goes before whatever else goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arranged {
    /// Whether they are puts; else gets.
    pub is_put: bool,
    /// What their keys begin with.
    pub prefix: String,
    /// How many of them go through first.
    pub skips: u32,
    /// How many of them it happens to.
    pub times: u32,
    /// What happens.
    pub end: End,
}

/// What becomes of a request by arrangement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It is answered with this error, and changes nothing.
    Refused(StoreError),
    /// Its answer is lost, and it is never applied.
    Lost,
    /// Its answer is lost, and it is applied so many nanoseconds later.
    Late(u64),
}

impl Arranged {
    /// What happens to the next put of a key that begins with `prefix`.
    #[must_use]
    pub fn put(prefix: &str, end: End) -> Self {
        Self { is_put: true, prefix: prefix.into(), skips: 0, times: 1, end }
    }

    /// What happens to the next get of a key that begins with `prefix`.
    #[must_use]
    pub fn get(prefix: &str, end: End) -> Self {
        Self { is_put: false, ..Self::put(prefix, end) }
    }

    fn fate(&self) -> Fate {
        match &self.end {
            End::Refused(error) => Fate::Refused(error.clone()),
            End::Lost => Fate::Lost(None),
            End::Late(ns) => Fate::Lost(Some(Lateness::After(*ns))),
        }
    }
}

/// What was arranged for a request, if anything was.
pub(super) fn arranged(all: &mut Vec<Arranged>, request: &StoreRequest) -> Option<Fate> {
    let (is_put, key) = match request {
        StoreRequest::Put { key, .. } => (true, key),
        StoreRequest::Get { key, .. } => (false, key),
        StoreRequest::Head { .. } | StoreRequest::List { .. } | StoreRequest::Delete { .. } => {
            return None;
        }
    };
    let is_meant = |it: &Arranged| it.is_put == is_put && key.starts_with(&it.prefix);
    let at = all.iter().position(is_meant)?;
    let it = &mut all[at];
    if it.skips > 0 {
        it.skips -= 1;
        return None;
    }
    it.times -= 1;
    let fate = it.fate();
    if it.times == 0 {
        all.remove(at);
    }
    Some(fate)
}

/// What becomes of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Applied, and answered with what came of it.
    Answered,
    /// Not applied; answered with this error.
    Refused(StoreError),
    /// Answered as ambiguous; applied before or after that, or never.
    Lost(Option<Lateness>),
    /// Applied; the body that comes back is spoiled.
    Spoiled(Spoil),
    /// Applied to a store where other bytes are under its name.
    Squatted(Spoil),
    /// Applied; a listing is cut short.
    Shortened,
    /// Answered as if it were applied, and nothing of it is left.
    Forgotten,
    /// Applied, and once more before it is answered with what came of that.
    Twice,
    /// Not applied: another put of the key is under way.
    Busy,
}

impl Fate {
    /// Whether it is applied at some time.
    pub(super) fn is_applied(&self) -> bool {
        !matches!(self, Self::Refused(_) | Self::Busy | Self::Lost(None))
    }

    /// What goes wrong, if anything does that mounts can meet.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        Some(match self {
            Self::Answered | Self::Shortened | Self::Forgotten | Self::Squatted(_) => return None,
            Self::Refused(error) => match error {
                StoreError::Throttled => Trouble::Patience,
                StoreError::Unreachable => Trouble::Unreachable,
                StoreError::Denied => Trouble::Denied,
                StoreError::NoSpace => Trouble::Full,
                StoreError::NotFound => Trouble::Missing,
                StoreError::Damaged => Trouble::Damaged,
                StoreError::Exists
                | StoreError::Mismatch
                | StoreError::Ambiguous
                | StoreError::NoBucket
                | StoreError::Unsupported => return None,
            },
            Self::Lost(None) => Trouble::LostNever,
            Self::Lost(Some(Lateness::Before)) => Trouble::LostBefore,
            Self::Lost(Some(Lateness::After(_))) => Trouble::LostLater,
            Self::Spoiled(Spoil::Flip(_)) => Trouble::BitTurned,
            Self::Spoiled(Spoil::Cut(_)) => Trouble::CutShort,
            Self::Spoiled(Spoil::Longer) => Trouble::TooLong,
            Self::Twice => Trouble::Twice,
            Self::Busy => Trouble::Busy,
        })
    }
}

/// When a put is applied whose answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lateness {
    /// Before its sender gives up.
    Before,
    /// This long after, in nanoseconds.
    After(u64),
}

/// How a body is spoiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoil {
    /// One bit is turned.
    Flip(u64),
    /// Its end is missing.
    Cut(u64),
    /// Something follows it.
    Longer,
}

impl Spoil {
    pub(super) fn spoil(self, body: &mut Vec<u8>) {
        let len = body.len() as u64;
        match self {
            Self::Flip(at) if len > 0 => body[(at / 8 % len) as usize] ^= 1 << (at % 8),
            Self::Cut(by) if len > 0 => body.truncate((len - 1 - by % len) as usize),
            Self::Flip(_) | Self::Cut(_) | Self::Longer => body.push(0x5a),
        }
    }
}

/// Refusals still to come in the running burst.
#[derive(Clone, Debug, Default)]
pub(super) struct Burst {
    left: u64,
    is_denied: bool,
}

impl Burst {
    fn refusal(&self) -> Fate {
        Fate::Refused(if self.is_denied { StoreError::Denied } else { StoreError::Throttled })
    }
}

/// A put goes well, or its answer is lost, or it fails, or it is applied long after its sender gave
/// up on it.
pub(super) fn one_of_four(choices: &Choices) -> Option<Fate> {
    match choices.index(4) {
        0 => None,
        1 => Some(Fate::Lost(Some(Lateness::Before))),
        2 => Some(Fate::Refused(StoreError::Denied)),
        _ => Some(Fate::Lost(Some(Lateness::After(ZOMBIE_NS)))),
    }
}

fn is_named_by_hash(key: &str) -> bool {
    ["chunks/", "trees/", "snapshots/"].iter().any(|prefix| key.starts_with(prefix))
}

/// Draws what becomes of `request`.
pub(super) fn draw(
    faults: &Faults,
    burst: &mut Burst,
    request: &StoreRequest,
    choices: &Choices,
) -> Fate {
    if burst.left > 0 {
        burst.left -= 1;
        return burst.refusal();
    }
    for (is_denied, rate) in [(false, faults.throttled), (true, faults.denied)] {
        if choices.chance(rate) {
            *burst = Burst { left: choices.below(faults.burst + 1), is_denied };
            return burst.refusal();
        }
    }
    if choices.chance(faults.unreachable) {
        return Fate::Refused(StoreError::Unreachable);
    }
    match request {
        StoreRequest::Put { key, .. }
            if is_named_by_hash(key) && choices.chance(faults.forgotten) =>
        {
            Fate::Forgotten
        }
        StoreRequest::Put { key, .. }
            if is_named_by_hash(key) && choices.chance(faults.squatted) =>
        {
            Fate::Squatted(spoil(choices))
        }
        StoreRequest::Put { .. } if choices.chance(faults.full) => {
            Fate::Refused(StoreError::NoSpace)
        }
        StoreRequest::Put { .. } if choices.chance(faults.twice) => Fate::Twice,
        StoreRequest::Put { .. } | StoreRequest::Delete { .. } => lost(faults, choices),
        StoreRequest::Get { key, .. } => {
            if choices.chance(faults.damaged) {
                return Fate::Refused(StoreError::Damaged);
            }
            if !is_named_by_hash(key) || !choices.chance(faults.wrong_bytes) {
                return Fate::Answered;
            }
            Fate::Spoiled(spoil(choices))
        }
        StoreRequest::List { .. } if choices.chance(faults.short_pages) => Fate::Shortened,
        StoreRequest::List { .. } | StoreRequest::Head { .. } => Fate::Answered,
    }
}

/// What becomes of a change whose answer may be lost.
fn lost(faults: &Faults, choices: &Choices) -> Fate {
    if !choices.chance(faults.ambiguous) {
        return Fate::Answered;
    }
    Fate::Lost(match choices.index(3) {
        0 => None,
        1 => Some(Lateness::Before),
        _ => Some(Lateness::After(choices.below(60_000) * MS)),
    })
}

fn spoil(choices: &Choices) -> Spoil {
    match choices.index(3) {
        0 => Spoil::Flip(choices.bits()),
        1 => Spoil::Cut(choices.bits()),
        _ => Spoil::Longer,
    }
}
