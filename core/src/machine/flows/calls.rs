//! Store requests in flight, and the one retry policy: back-off that doubles, then an honest error.

use rustc_hash::FxHashMap;

use super::commit::CommitCall;
use super::engine::Cx;
use super::job::{Job, JobOwner};
use super::piece::PieceKey;
use crate::format::Hash;
use crate::shapes::{Effect, StoreError, StoreOutcome, StoreRequest};
use crate::words::{EffectId, Limits, TimerId};

/// Who sent a store request.
#[derive(Clone, Debug)]
pub(crate) enum Owner {
    Node(Hash),
    Piece(PieceKey),
    /// A request of the commit with this serial number.
    Commit(u64, CommitCall),
}

/// Which failures are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// All temporary ones: doing it twice does no harm.
    Always,
    /// Those after which nothing was applied. An unknown outcome goes to the owner.
    IfUnapplied,
}

/// A request and how far it is.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    request: StoreRequest,
    owner: Owner,
    retry: Retry,
    patience: Patience,
}

/// How often something was tried, and until when it is worth trying.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    tries: u32,
    give_up_ns: u64,
}

impl Patience {
    /// Nothing was tried yet.
    pub(crate) fn fresh(cx: &Cx<'_>, limits: &Limits) -> Self {
        Self { tries: 0, give_up_ns: cx.now.mono_ns.saturating_add(limits.retry_ns) }
    }

    /// It failed: when to try it again, unless it is time to give up. `salt` tells it from others.
    pub(crate) fn next_ns(&mut self, cx: &Cx<'_>, limits: &Limits, salt: u64) -> Option<u64> {
        let wait_ns =
            if seeded!(RetriesAtOnce) { 0 } else { backoff_ns(limits, self.tries, cx, salt) };
        let at_ns = cx.now.mono_ns.saturating_add(wait_ns);
        self.tries += 1;
        (at_ns < self.give_up_ns || seeded!(RetriesForEver)).then_some(at_ns)
    }
}

/// A request that came to its end.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) owner: Owner,
    pub(crate) outcome: StoreOutcome,
}

/// What a timer was armed for.
#[derive(Debug)]
pub(crate) enum Due {
    Retry(Box<Call>),
    /// The oldest parked read.
    Deadline,
}

/// Everything in flight.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    next_effect: EffectId,
    next_timer: TimerId,
    calls: FxHashMap<EffectId, Call>,
    jobs: FxHashMap<EffectId, JobOwner>,
    timers: FxHashMap<TimerId, Due>,
    /// Requests that were sent again so far.
    pub(crate) retries: u64,
}

impl Calls {
    /// Sends a request.
    pub(crate) fn send(
        &mut self,
        cx: &mut Cx<'_>,
        limits: &Limits,
        request: StoreRequest,
        owner: Owner,
        retry: Retry,
    ) {
        let patience = Patience::fresh(cx, limits);
        self.issue(cx, Call { request, owner, retry, patience });
    }

    /// Sends a request later, however often it fails until it succeeds or is given up.
    pub(crate) fn send_at(
        &mut self,
        cx: &mut Cx<'_>,
        limits: &Limits,
        at_ns: u64,
        request: StoreRequest,
        owner: Owner,
    ) {
        let (retry, patience) = (Retry::Always, Patience::fresh(cx, limits));
        let call = Call { request, owner, retry, patience };
        self.arm(cx, at_ns, Due::Retry(Box::new(call)));
    }

    /// Starts a job.
    pub(crate) fn compute(&mut self, cx: &mut Cx<'_>, job: Job, owner: JobOwner) {
        let id = self.effect();
        self.jobs.insert(id, owner);
        cx.out.push(Effect::Compute(id, job));
    }

    /// Arms a timer.
    pub(crate) fn arm(&mut self, cx: &mut Cx<'_>, at_ns: u64, due: Due) {
        self.next_timer = self.next_timer.next();
        self.timers.insert(self.next_timer, due);
        cx.out.push(Effect::Arm(self.next_timer, at_ns));
    }

    /// A request was answered. `None`: it will be sent again, or its owner is long gone. Nothing is
    /// sent again for a commit that is not the one under way.
    pub(crate) fn completed(
        &mut self,
        cx: &mut Cx<'_>,
        limits: &Limits,
        id: EffectId,
        outcome: StoreOutcome,
        commit: Option<u64>,
    ) -> Option<Done> {
        let mut call = self.calls.remove(&id)?;
        if let StoreOutcome::Failed(error) = &outcome
            && call.is_wanted(commit)
            && call.retry.covers(error)
            && let Some(at_ns) = call.patience.next_ns(cx, limits, id.0)
        {
            self.arm(cx, at_ns, Due::Retry(Box::new(call)));
            return None;
        }
        Some(Done { owner: call.owner, outcome })
    }

    /// Sends a request again, under a new id: each id is answered once.
    pub(crate) fn resend(&mut self, cx: &mut Cx<'_>, call: Call) {
        self.retries += 1;
        self.issue(cx, call);
    }

    /// What a timer was armed for; `None` when it is spent.
    pub(crate) fn due(&mut self, id: TimerId) -> Option<Due> {
        self.timers.remove(&id)
    }

    /// Whose job this was; `None` when it is spent.
    pub(crate) fn job_ended(&mut self, id: EffectId) -> Option<JobOwner> {
        self.jobs.remove(&id)
    }

    fn issue(&mut self, cx: &mut Cx<'_>, call: Call) {
        let id = self.effect();
        cx.out.push(Effect::Store(id, call.request.clone()));
        self.calls.insert(id, call);
    }

    fn effect(&mut self) -> EffectId {
        self.next_effect = self.next_effect.next();
        self.next_effect
    }
}

impl Call {
    /// Whether somebody still waits for it, if `commit` is the one under way.
    pub(crate) fn is_wanted(&self, commit: Option<u64>) -> bool {
        match self.owner {
            Owner::Node(_) | Owner::Piece(_) => true,
            Owner::Commit(serial, _) => commit == Some(serial),
        }
    }
}

impl Retry {
    fn covers(self, error: &StoreError) -> bool {
        match self {
            Self::Always => error.is_temporary(),
            Self::IfUnapplied => {
                matches!(error, StoreError::Throttled | StoreError::Unreachable)
            }
        }
    }
}

/// How long to wait before the next try: doubles each time, half of it jitter. The jitter comes
/// from the input: the low bits of its monotonic clock, and the effect's number.
fn backoff_ns(limits: &Limits, tries: u32, cx: &Cx<'_>, salt: u64) -> u64 {
    let full = limits.backoff_min_ns.saturating_mul(1 << tries.min(20));
    let full = full.clamp(1, limits.backoff_max_ns.max(1));
    full / 2 + mix(cx.now.mono_ns ^ salt.rotate_left(32)) % (full / 2 + 1)
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
