//! The world: virtual time, a heap of events, one store, and the machines that live on it.
//!
//! Everything runs on one thread, in the order of (time, sequence). A compute job runs at once
//! and its product comes back as an event of its own, after a while drawn from the choices.

mod insistence;
pub mod text;
pub mod timeline;
mod trace;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::hash::Hash;

use vellum_core::shapes::{Effect, Effects, Input, Op, Outcome, Reply};
use vellum_core::words::{EffectId, Errno, Now, Ticket, Time, TimerId};

use insistence::{Insistence, Thing};
use timeline::Timeline;
pub use trace::Trace;

use crate::choice::Choices;
use crate::sites::Sites;
use crate::store::{Flight, Happening, SimStore};

/// Most events of one run until quiet: more is a loop that never ends.
const EVENTS_MAX: u64 = 2_000_000;

/// What lives in a world: takes inputs, gives effects. The machine of the core is one.
pub trait Actor {
    /// A compute job that it asks for.
    type Job;
    /// What such a job makes.
    type Product;

    /// Takes one input and adds its effects to `out`.
    fn step(&mut self, now: Now, input: Input<Self::Product>, out: &mut Effects<Self::Job>);
    /// Runs a job: pure work.
    fn run(job: Self::Job) -> Self::Product;
    /// What there is to know of its state in few numbers.
    fn digest(&self, into: &mut Trace);
}

/// One of the actors of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActorId(pub u32);

enum Event<P> {
    Store(Happening),
    Computed(ActorId, EffectId, P),
    Timer(ActorId, TimerId),
}

struct At<P> {
    time_ns: u64,
    sequence: u64,
    event: Event<P>,
}

impl<P> At<P> {
    fn order(&self) -> (u64, u64) {
        (self.time_ns, self.sequence)
    }
}

impl<P> PartialEq for At<P> {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl<P> Eq for At<P> {}

impl<P> PartialOrd for At<P> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<P> Ord for At<P> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

/// An actor and what is owed to it and by it.
struct Resident<A> {
    actor: A,
    next_ticket: Ticket,
    unanswered: BTreeSet<Ticket>,
    replies: BTreeMap<Ticket, Result<Reply, Errno>>,
    seen_effects: BTreeSet<EffectId>,
    owed_completions: BTreeSet<EffectId>,
    reports: Vec<String>,
    invalidations: u64,
}

/// A world of actors of one kind.
pub struct World<A: Actor> {
    /// The store they share.
    pub store: SimStore,
    /// Rare things that have happened.
    pub sites: Sites,
    choices: Choices,
    time_ns: u64,
    wall: Time,
    sequence: u64,
    heap: BinaryHeap<Reverse<At<A::Product>>>,
    residents: BTreeMap<ActorId, Resident<A>>,
    next_actor: ActorId,
    flights: BTreeMap<Flight, (ActorId, EffectId)>,
    insistence: Insistence,
    trace: Trace,
    log: Option<Vec<String>>,
    timeline: Option<Timeline>,
    watch: Option<Watch>,
    seen_wrong: Option<String>,
    refs_moved: u64,
}

/// Looks at the store whenever a ref has moved.
type Watch = Box<dyn FnMut(&SimStore) -> Result<(), String>>;

impl<A: Actor> World<A> {
    /// A world with an empty store, in which everything follows from `choices`.
    #[must_use]
    pub fn new(choices: &Choices) -> Self {
        Self {
            store: SimStore::new(choices.lane("store")),
            sites: Sites::default(),
            choices: choices.lane("world"),
            time_ns: 0,
            wall: Time { ns: 0 },
            sequence: 0,
            heap: BinaryHeap::new(),
            residents: BTreeMap::new(),
            next_actor: ActorId(1),
            flights: BTreeMap::new(),
            insistence: Insistence::default(),
            trace: Trace::default(),
            log: None,
            timeline: None,
            watch: None,
            seen_wrong: None,
            refs_moved: 0,
        }
    }

    /// Lets `watch` look at the store in every instant in which a request has moved a ref; see
    /// [`Self::seen_wrong`].
    pub fn watch(&mut self, watch: impl FnMut(&SimStore) -> Result<(), String> + 'static) {
        self.watch = Some(Box::new(watch));
    }

    /// The first thing that was wrong with the store when a ref had moved.
    #[must_use]
    pub fn seen_wrong(&self) -> Option<&str> {
        self.seen_wrong.as_deref()
    }

    /// Hash of everything that happened so far.
    #[must_use]
    pub fn trace(&self) -> u64 {
        self.trace.value()
    }

    /// Keeps a line for everything that goes into and comes out of the actors from now on.
    pub fn keep_log(&mut self) {
        self.log = Some(Vec::new());
    }

    /// The lines kept since the last call.
    pub fn take_log(&mut self) -> Vec<String> {
        self.log.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Keeps what a picture shows from now on.
    pub fn keep_timeline(&mut self) {
        self.timeline = Some(Timeline::default());
    }

    /// What was kept so far.
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        let kept = self.timeline.clone().unwrap_or_default();
        Timeline { end_ns: self.time_ns, ..kept }
    }

    /// Notes something of an actor, and what it is called.
    pub fn remark(&mut self, actor: ActorId, name: Option<&str>, text: &str) {
        self.draw(|timeline, now| timeline.remark(now, actor, name, text));
    }

    fn draw(&mut self, draw: impl FnOnce(&mut Timeline, u64)) {
        if let Some(timeline) = &mut self.timeline {
            draw(timeline, self.time_ns);
        }
    }

    /// What the clocks say. The wall clock stands still until it is set.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { mono_ns: self.time_ns, wall: self.wall }
    }

    /// Sets the wall clock.
    pub fn set_wall(&mut self, wall: Time) {
        self.wall = wall;
    }

    /// Takes an actor in.
    pub fn enter(&mut self, actor: A) -> ActorId {
        let id = self.next_actor;
        self.next_actor = ActorId(id.0 + 1);
        let resident = Resident {
            actor,
            next_ticket: Ticket(1),
            unanswered: BTreeSet::new(),
            replies: BTreeMap::new(),
            seen_effects: BTreeSet::new(),
            owed_completions: BTreeSet::new(),
            reports: Vec::new(),
            invalidations: 0,
        };
        self.residents.insert(id, resident);
        self.draw(|timeline, now| timeline.begins(now, id));
        id
    }

    /// Ends an actor as kill -9 does. What it sent is on its way still.
    pub fn kill(&mut self, id: ActorId) -> Option<A> {
        self.tell(0, (id,), || format!("{} killed", id.0));
        self.draw(|timeline, now| timeline.killed(now, id));
        self.residents.remove(&id).map(|resident| resident.actor)
    }

    /// The actor itself.
    ///
    /// # Panics
    /// When it was killed.
    pub fn actor(&mut self, id: ActorId) -> &mut A {
        &mut self.resident(id).actor
    }

    /// What the actor told its operator since the last call.
    pub fn take_reports(&mut self, id: ActorId) -> Vec<String> {
        std::mem::take(&mut self.resident(id).reports)
    }

    /// Sends a request; its reply comes as the world runs, or at once.
    pub fn request(&mut self, id: ActorId, op: Op) -> Ticket {
        let resident = self.resident(id);
        let ticket = resident.next_ticket;
        resident.next_ticket = ticket.next();
        resident.unanswered.insert(ticket);
        self.insistence.begin_anew(id);
        self.tell(1, (id, ticket, &op), || {
            format!("{}> request {} {}", id.0, ticket.0, text::op(&op))
        });
        self.input(id, Input::Request(ticket, op));
        ticket
    }

    /// Takes the reply to a request, once it is there.
    pub fn take_reply(&mut self, id: ActorId, ticket: Ticket) -> Option<Result<Reply, Errno>> {
        self.resident(id).replies.remove(&ticket)
    }

    /// Requests that wait for their reply.
    pub fn unanswered(&mut self, id: ActorId) -> usize {
        self.resident(id).unanswered.len()
    }

    /// Sends a request and runs until its reply is there.
    ///
    /// # Panics
    /// When the world is quiet and there is none: a lost ticket.
    pub fn ask(&mut self, id: ActorId, op: Op) -> Result<Reply, Errno> {
        let ticket = self.request(id, op);
        loop {
            if let Some(reply) = self.take_reply(id, ticket) {
                return reply;
            }
            assert!(self.run_one(), "no reply to {ticket:?}, and nothing is left to happen");
        }
    }

    /// Lets the next event happen; false when there is none.
    pub fn run_one(&mut self) -> bool {
        let Some(Reverse(at)) = self.heap.pop() else { return false };
        self.time_ns = self.time_ns.max(at.time_ns);
        self.trace.number(self.time_ns);
        match at.event {
            Event::Store(happening) => self.store_event(happening),
            Event::Computed(id, effect, product) => {
                if self.complete(id, effect) {
                    let text = || format!("{}> completed {} computed", id.0, effect.0);
                    self.tell(2, (id, effect), text);
                    self.input(id, Input::Completed(effect, Outcome::Computed(product)));
                }
            }
            Event::Timer(id, timer) => {
                if self.residents.contains_key(&id) {
                    self.tell(3, (id, timer), || format!("{}> timer {}", id.0, timer.0));
                    self.input(id, Input::Timer(timer));
                }
            }
        }
        true
    }

    /// Lets events happen until none is left.
    ///
    /// # Panics
    /// When there is no end to them.
    pub fn run_until_quiet(&mut self) {
        let mut events = 0;
        while self.run_one() {
            events += 1;
            assert!(events < EVENTS_MAX, "{events} events, and the world is not quiet");
        }
    }

    /// Lets events happen until `time_ns`, and moves the clock there.
    pub fn run_until(&mut self, time_ns: u64) {
        while self.heap.peek().is_some_and(|Reverse(at)| at.time_ns <= time_ns) {
            self.run_one();
        }
        self.time_ns = self.time_ns.max(time_ns);
    }

    /// Effects whose completion is still to come.
    pub fn owed_completions(&mut self, id: ActorId) -> usize {
        self.resident(id).owed_completions.len()
    }

    /// Requests of an actor that the store has not answered yet.
    #[must_use]
    pub fn in_flight(&self, id: ActorId) -> usize {
        self.flights.values().filter(|(actor, _)| *actor == id).count()
    }

    /// How often the actor asked the kernel to drop something.
    pub fn invalidations(&mut self, id: ActorId) -> u64 {
        self.resident(id).invalidations
    }

    /// Performs effects that the actor made outside of a step.
    pub fn perform(&mut self, id: ActorId, effects: Effects<A::Job>) {
        for effect in effects {
            self.effect(id, effect);
        }
    }

    fn input(&mut self, id: ActorId, input: Input<A::Product>) {
        let now = self.now();
        let mut out = Vec::new();
        let Some(resident) = self.residents.get_mut(&id) else { unreachable!("it lives here") };
        resident.actor.step(now, input, &mut out);
        resident.actor.digest(&mut self.trace);
        self.perform(id, out);
    }

    fn effect(&mut self, id: ActorId, effect: Effect<A::Job>) {
        match effect {
            Effect::Store(effect, request) => {
                self.owe(id, effect);
                self.trace.request(&request);
                self.tell(4, (id, effect), || {
                    format!("{}< store {} {}", id.0, effect.0, text::store_request(&request))
                });
                let thing = Thing::of(id, &request);
                let kept = self.timeline.is_some().then(|| text::store_request(&request));
                let happenings = self.store.begin(self.time_ns, request);
                for (time_ns, happening) in happenings {
                    let (Happening::Apply(flight) | Happening::Answer(flight)) = happening;
                    self.flights.insert(flight, (id, effect));
                    self.insistence.asked(flight, &thing);
                    self.at(time_ns, Event::Store(happening));
                    let text = kept.as_deref().unwrap_or_default();
                    self.draw(|timeline, now| timeline.asked(now, flight, id, text));
                }
            }
            Effect::Compute(effect, job) => {
                self.owe(id, effect);
                self.tell(5, (id, effect), || format!("{}< compute {}", id.0, effect.0));
                let product = A::run(job);
                let time_ns = self.time_ns + self.choices.below(1_000_000);
                self.at(time_ns, Event::Computed(id, effect, product));
            }
            Effect::Arm(timer, time_ns) => {
                let text = || format!("{}< arm {} at {time_ns}", id.0, timer.0);
                self.tell(6, (id, timer, time_ns), text);
                self.at(time_ns.max(self.time_ns), Event::Timer(id, timer));
            }
            Effect::Reply(ticket, reply) => {
                self.tell(7, (id, ticket, &reply), || {
                    format!("{}< reply {} {}", id.0, ticket.0, text::reply(&reply))
                });
                let resident = self.resident(id);
                let owed = resident.unanswered.remove(&ticket);
                assert!(owed, "a second reply, or one to nobody: {ticket:?} {reply:?}");
                resident.replies.insert(ticket, reply);
            }
            Effect::InvalidateInode(ino) => {
                self.tell(8, (id, ino), || format!("{}< invalidate inode {}", id.0, ino.0));
                self.resident(id).invalidations += 1;
            }
            Effect::InvalidateName(ino, name) => {
                self.tell(9, (id, ino, &name), || {
                    format!("{}< invalidate name {} in {}", id.0, text::bytes(&name), ino.0)
                });
                self.resident(id).invalidations += 1;
            }
            Effect::Report(text) => {
                self.tell(10, (id, &text), || format!("{}< report {text}", id.0));
                self.resident(id).reports.push(text);
            }
        }
    }

    fn store_event(&mut self, happening: Happening) {
        let (Happening::Apply(flight) | Happening::Answer(flight)) = happening;
        let told = self.store.happen(happening);
        if let (Some(watch), true) = (&mut self.watch, self.store.refs_moved() != self.refs_moved) {
            self.refs_moved = self.store.refs_moved();
            if let Some(timeline) = &mut self.timeline {
                timeline.moves_ns.push(self.time_ns);
            }
            let seen = watch(&self.store);
            self.seen_wrong = self.seen_wrong.take().or(seen.err());
        }
        let Some(told) = told else {
            self.trace.number(flight.0);
            self.draw(|timeline, now| timeline.applied(now, flight));
            return;
        };
        let Some((id, effect)) = self.flights.remove(&flight) else {
            unreachable!("each flight is answered once")
        };
        let is_alive = self.complete(id, effect);
        told.site(is_alive).into_iter().for_each(|site| self.sites.reach(site));
        if self.timeline.is_some() {
            let (outcome, trouble) = (text::outcome(&told.outcome), told.trouble());
            self.draw(|timeline, now| timeline.answered(now, flight, outcome, trouble));
        }
        let outcome = told.outcome;
        self.insistence.answered(flight, self.time_ns, &outcome);
        if is_alive {
            self.trace.outcome(&outcome);
            self.tell(11, (id, effect), || {
                format!("{}> completed {} {}", id.0, effect.0, text::outcome(&outcome))
            });
            self.input(id, Input::Completed(effect, Outcome::Store(outcome)));
        }
    }

    /// Each effect has an id of its own, and one completion.
    fn owe(&mut self, id: ActorId, effect: EffectId) {
        let resident = self.resident(id);
        assert!(resident.seen_effects.insert(effect), "{effect:?} is used twice");
        resident.owed_completions.insert(effect);
    }

    /// Whether the completion can be delivered: a killed actor gets none.
    fn complete(&mut self, id: ActorId, effect: EffectId) -> bool {
        let Some(resident) = self.residents.get_mut(&id) else { return false };
        assert!(resident.owed_completions.remove(&effect), "{effect:?} ends twice");
        true
    }

    fn at(&mut self, time_ns: u64, event: Event<A::Product>) {
        self.sequence += 1;
        self.heap.push(Reverse(At { time_ns, sequence: self.sequence, event }));
    }

    fn resident(&mut self, id: ActorId) -> &mut Resident<A> {
        self.residents.get_mut(&id).expect("the actor lives in this world")
    }

    /// Takes in what happened: which kind of thing, and all that is to know of it. `text` is the
    /// same for a reader.
    fn tell(&mut self, kind: u8, facts: impl Hash, text: impl FnOnce() -> String) {
        self.trace.number(u64::from(kind));
        facts.hash(&mut self.trace);
        if let Some(log) = &mut self.log {
            log.push(text());
        }
    }
}

#[cfg(test)]
mod tests;
