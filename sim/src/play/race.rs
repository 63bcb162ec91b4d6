//! Two mounts of one branch that edit and race their commits: one wins, the other is refused and
//! keeps its edits.

use crate::choice::Choices;
use crate::mount;
use crate::store::Faults;
use crate::world::ActorId;
use vellum_core::model::Mapping;
use vellum_core::shapes::{CommitResult, Name, Op, Reply, XattrMode};
use vellum_core::words::Ino;

use super::player::{Player, Side};
use super::step::{Bigger, Step, Steps, Verb};

/// Steps that both mounts see, and steps of each on its own.
const COMMON_STEPS: usize = 12;
const OWN_STEPS: usize = 24;
/// Rounds in which a commit of unknown outcome, or one that failed, is tried again.
const ROUNDS_MAX: usize = 8;

/// The mount that is not being played.
struct Other(Option<Side>);

impl Other {
    fn swap(&mut self, player: &mut Player) {
        player.note(|| "-- the other mount".into());
        self.0 = self.0.take().map(|side| player.take_side(side));
    }

    fn mount(&self) -> ActorId {
        self.0.as_ref().expect("one mount is not played").seat.mount
    }
}

/// Plays one race.
///
/// # Errors
/// What went wrong.
pub(super) fn play(player: &mut Player, choices: &Choices) -> Result<(), String> {
    let needed_times = player.setting.needed_times;
    let common = Steps::new(choices, "steps", needed_times, COMMON_STEPS);
    let own = Steps::new(choices, "own steps", needed_times, 2 * OWN_STEPS);
    let choices = &choices.lane("race");
    let faults = std::mem::replace(&mut player.world.store.faults, Faults::none());
    player.play_on(common)?;
    player.commit(false)?;
    let tree = player.committed.clone();
    let seat = player.fresh_seat(&tree, &Mapping::default())?;
    let mut other = Other(Some(Side { seat, committed: tree, maybe: Vec::new() }));
    player.world.store.faults = faults;
    for step in own.filter(is_own) {
        if choices.chance(300) {
            other.swap(player);
        }
        player.play_on([step].into_iter())?;
    }
    // What is being loaded may fail yet.
    player.world.run_until_quiet();
    player.without_faults(|player| {
        change_something(player, b'1')?;
        other.swap(player);
        change_something(player, b'2')
    })?;
    let results = settle(player, &mut other, choices)?;
    judge(player, &mut other, results)
}

/// Commits and remounts come when all is edited.
fn is_own(step: &Step) -> bool {
    !matches!(step.verb, Verb::Whole(Bigger::Commit | Bigger::Discard | Bigger::Remount))
}

/// An edit that both mounts make, each in its own way.
fn change_something(player: &mut Player, side: u8) -> Result<(), String> {
    let (name, value) = (Name::from(&b"user.side"[..]), vec![side].into());
    let op = Op::SetXattr { ino: Ino::ROOT, name, value, mode: XattrMode::Either };
    player.both(&op, false).map(|_| ())
}

/// Both commit at once, again and again until both outcomes are known: of the mount in play, then
/// of the other.
fn settle(
    player: &mut Player,
    other: &mut Other,
    choices: &Choices,
) -> Result<[CommitResult; 2], String> {
    for round in 0..ROUNDS_MAX {
        if round == ROUNDS_MAX / 2 {
            player.world.store.heal();
        }
        let mounts = [player.seat.mount, other.mount()];
        let tickets = mounts.map(|mount| {
            let until = player.world.now().mono_ns + choices.below(60_000_000);
            player.world.run_until(until);
            player.tick();
            player.attempt += 1;
            let (author, message) = ("somebody".into(), format!("commit {}", player.attempt));
            let op = Op::Commit { author, message, attempt: player.attempt };
            (mount, player.world.request(mount, op))
        });
        player.world.run_until_quiet();
        let mut results = Vec::new();
        for (mount, ticket) in tickets {
            match player.world.take_reply(mount, ticket) {
                Some(Ok(Reply::Commit(result))) => results.push(result),
                reply => return Err(format!("commit: {reply:?}")),
            }
        }
        player.note(|| format!("both commit -> {results:?}"));
        let is_open = |result: &CommitResult| {
            matches!(result, CommitResult::Failed { .. } | CommitResult::Unknown)
        };
        match <[CommitResult; 2]>::try_from(results) {
            Ok(results) if !results.iter().any(is_open) => return Ok(results),
            Ok(_) if !player.strict => {}
            other => return Err(format!("without faults: {other:?}")),
        }
    }
    Err("the outcomes of the commits never became known".into())
}

/// One has won, and the store shows what it has; the other was refused, and has what it had.
fn judge(player: &mut Player, other: &mut Other, results: [CommitResult; 2]) -> Result<(), String> {
    player.world.store.heal();
    player.world.run_until_quiet();
    player.strict = true;
    let won = results.each_ref().map(|result| {
        matches!(result, CommitResult::Committed { .. } | CommitResult::Unchanged { .. })
    });
    let refused = results.each_ref().map(|result| matches!(result, CommitResult::Conflict { .. }));
    match (won, refused) {
        ([true, false], [false, true]) => {}
        ([false, true], [true, false]) => other.swap(player),
        _ => return Err(format!("not one winner and one that is refused: {results:?}")),
    }
    let tree = player.seat.model.committed();
    player.look_beside(&tree)?;
    player.committed = tree;
    player.maybe.clear();
    let head = mount::head(&player.world.store);
    other.swap(player);
    player.walk()?;
    let conflict = player.send(&commit_again(), false);
    match conflict {
        Ok(Reply::Commit(CommitResult::Conflict { theirs })) if Some(theirs) == head => {}
        reply => return Err(format!("the head is {head:?}, and the loser hears {reply:?}")),
    }
    player.nothing_is_left()?;
    other.swap(player);
    change_something(player, b'3')?;
    player.finish()
}

fn commit_again() -> Op {
    Op::Commit { author: "somebody".into(), message: "again".into(), attempt: u128::MAX }
}
