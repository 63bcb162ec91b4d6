#![allow(clippy::unwrap_used)]

use crate::choice::Choices;
use vellum_core::shapes::{Condition, StoreOutcome};
use vellum_core::words::{Fh, Ino};

use super::*;
use crate::store::Faults;
use crate::store::contract::put;

/// An actor that puts an object for each request, computes on it, waits a second, then answers.
#[derive(Default)]
struct Toy {
    next: u64,
    waiting: BTreeMap<EffectId, Ticket>,
    timers: BTreeMap<TimerId, Ticket>,
    answers_twice: bool,
}

impl Toy {
    fn id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl Actor for Toy {
    type Job = u64;
    type Product = u64;

    fn step(&mut self, now: Now, input: Input<u64>, out: &mut Effects<u64>) {
        match input {
            Input::Request(ticket, _) => {
                let effect = EffectId(self.id());
                self.waiting.insert(effect, ticket);
                let key = format!("k{}", ticket.0);
                out.push(Effect::Store(effect, put(&key, b"x", Condition::Absent)));
            }
            Input::Completed(effect, Outcome::Store(outcome)) => {
                let ticket = self.waiting.remove(&effect).unwrap();
                if matches!(outcome, StoreOutcome::Stored { .. }) {
                    let effect = EffectId(self.id());
                    self.waiting.insert(effect, ticket);
                    out.push(Effect::Compute(effect, ticket.0));
                } else {
                    out.push(Effect::Reply(ticket, Err(Errno::Io)));
                }
            }
            Input::Completed(effect, Outcome::Computed(product)) => {
                let ticket = self.waiting.remove(&effect).unwrap();
                assert_eq!(product, ticket.0 * 2);
                let timer = TimerId(self.id());
                self.timers.insert(timer, ticket);
                out.push(Effect::Arm(timer, now.mono_ns + 1_000_000_000));
            }
            Input::Timer(timer) => {
                let ticket = self.timers.remove(&timer).unwrap();
                out.push(Effect::Reply(ticket, Ok(Reply::Done)));
                if self.answers_twice {
                    out.push(Effect::Reply(ticket, Ok(Reply::Done)));
                }
            }
        }
    }

    fn run(job: u64) -> u64 {
        job * 2
    }

    fn digest(&self, _into: &mut Trace) {}
}

fn op() -> Op {
    Op::Flush { fh: Fh(1) }
}

fn run(seed: u64, faults: Faults) -> (u64, usize) {
    let mut world: World<Toy> = World::new(&Choices::seeded(seed));
    world.store.faults = faults;
    let ids = [world.enter(Toy::default()), world.enter(Toy::default())];
    let mut failed = 0;
    for _ in 0..20 {
        for id in ids {
            world.request(id, op());
        }
    }
    world.run_until_quiet();
    for id in ids {
        assert_eq!((world.unanswered(id), world.owed_completions(id)), (0, 0));
        for ticket in 1..=20 {
            failed += usize::from(world.take_reply(id, Ticket(ticket)).unwrap().is_err());
        }
    }
    (world.trace(), failed)
}

#[test]
fn the_same_seed_is_the_same_run() {
    assert_eq!(run(1, Faults::rough()), run(1, Faults::rough()));
    assert_ne!(run(1, Faults::rough()).0, run(2, Faults::rough()).0);
    // Two actors put the same keys: exactly one of them wins each.
    assert_eq!(run(1, Faults::none()).1, 20);
    assert_eq!(run(1, Faults::outage()).1, 40);
}

#[test]
fn time_is_virtual_and_goes_forward() {
    let mut world: World<Toy> = World::new(&Choices::seeded(1));
    let id = world.enter(Toy::default());
    world.set_wall(Time { ns: 77 });
    assert_eq!(world.ask(id, op()), Ok(Reply::Done));
    let passed = world.now().mono_ns;
    assert!((1_000_000_000..1_100_000_000).contains(&passed), "{passed}");
    assert_eq!(world.now().wall, Time { ns: 77 });
    world.run_until(passed + 5);
    assert_eq!(world.now().mono_ns, passed + 5);
}

#[test]
fn what_a_killed_actor_sent_still_arrives() {
    let mut world: World<Toy> = World::new(&Choices::seeded(1));
    let id = world.enter(Toy::default());
    world.request(id, op());
    world.kill(id).unwrap();
    world.run_until_quiet();
    assert_eq!(world.store.objects.body("k1"), Some(&b"x"[..]));
}

#[test]
#[should_panic(expected = "a second reply")]
fn a_second_reply_is_caught() {
    let mut world: World<Toy> = World::new(&Choices::seeded(1));
    let id = world.enter(Toy { answers_twice: true, ..Toy::default() });
    world.request(id, Op::GetAttr { ino: Ino::ROOT });
    world.run_until_quiet();
}

#[test]
fn the_log_says_what_went_in_and_out() {
    let mut world: World<Toy> = World::new(&Choices::seeded(1));
    let id = world.enter(Toy::default());
    world.keep_log();
    world.ask(id, op()).unwrap();
    let log = world.take_log();
    let starts = ["1> request 1", "1< store 1", "1> completed 1", "1< compute 2"];
    for (line, start) in log.iter().zip(starts) {
        assert!(line.starts_with(start), "{log:?}");
    }
    assert!(log.last().unwrap().starts_with("1< reply 1"), "{log:?}");
}
