//! Commits that are under way while the mount is worked on: between the cut and the end names come
//! and go, files are written and cut. The commit succeeds, fails in one of many ways, or loses its
//! ref to somebody else; then the work goes on.

use crate::choice::Choices;
use crate::mount;
use crate::sites::Turn;
use crate::store::{Arranged, End, Faults};
use vellum_core::format::RefBody;
use vellum_core::model::Tree;
use vellum_core::shapes::{CommitResult, Name, Op, Reply, StoreError, XattrMode};
use vellum_core::words::{Ino, Ticket};

use super::player::Player;
use super::reader::seen;
use super::step::{Bigger, Step, Steps, Verb};

const ROUNDS: usize = 5;
/// Steps before a commit begins, and steps while it is under way.
const BEFORE: usize = 10;
const DURING: usize = 10;
/// Longest time after which a put is applied whose answer was lost: longer than it is retried.
const LATE_NS: u64 = 300_000_000_000;

/// A commit under way: of what, and who waits for it.
struct Open {
    tree: Tree,
    ticket: Ticket,
}

/// Plays one run.
///
/// # Errors
/// What went wrong.
pub(super) fn play(player: &mut Player, choices: &Choices) -> Result<(), String> {
    let needed_times = player.setting.needed_times;
    let steps = Steps::new(choices, "steps", needed_times, ROUNDS * (BEFORE + DURING));
    let mut steps = steps.filter(|step| !is_whole(step));
    let choices = &choices.lane("during");
    for _ in 0..ROUNDS {
        player.play_on(steps.by_ref().take(BEFORE))?;
        change_something(player, choices)?;
        player.strict = false;
        let moved = arrange(player, choices);
        let open = begin(player);
        if moved {
            somebody_commits(player)?;
        }
        for step in steps.by_ref().take(DURING) {
            player.play_on([step].into_iter())?;
            for _ in 0..choices.index(4) {
                player.world.run_one();
            }
        }
        let result = end(player, open)?;
        player.world.store.heal();
        player.strict = true;
        match result {
            CommitResult::Conflict { .. } => return lost(player),
            CommitResult::Unknown => player.commit(true)?,
            CommitResult::Committed { .. }
            | CommitResult::Failed { .. }
            | CommitResult::Unchanged { .. }
            | CommitResult::Empty
            | CommitResult::Busy
            | CommitResult::NoBranch
            | CommitResult::Unfit { .. }
            | CommitResult::Collected { .. } => match choices.index(4) {
                0 | 1 => player.commit(true)?,
                2 => player.remount()?,
                _ => {}
            },
        }
    }
    player.finish()
}

/// What takes a commit, or is told of what it does.
fn is_whole(step: &Step) -> bool {
    matches!(
        step.verb,
        Verb::Whole(Bigger::Commit | Bigger::Discard | Bigger::Remount | Bigger::Wait)
    )
}

/// No commit is without anything to say.
fn change_something(player: &mut Player, choices: &Choices) -> Result<(), String> {
    let value = choices.bits().to_le_bytes().to_vec().into();
    let (name, mode) = (Name::from(&b"user.round"[..]), XattrMode::Either);
    player.both(&Op::SetXattr { ino: Ino::ROOT, name, value, mode }, false).map(|_| ())
}

/// Decides how the commit is to end. Whether somebody else is to move the ref.
pub(super) fn arrange(player: &mut Player, choices: &Choices) -> bool {
    let store = &mut player.world.store;
    let prefix = choices.pick(&["chunks/", "trees/", "snapshots/", "refs/"]);
    let always = |it: Arranged| Arranged { times: u32::MAX, ..it };
    let refused = choices.pick(&[0, 1, 2]);
    let refused =
        [StoreError::Denied, StoreError::NoSpace, StoreError::Unreachable][refused].clone();
    match choices.index(7) {
        0 | 1 => {}
        2 => {
            let skips = choices.below(3) as u32;
            store.arranged =
                vec![Arranged { skips, ..Arranged::put(prefix, End::Refused(refused)) }];
        }
        3 => {
            let missing = End::Refused(StoreError::NotFound);
            store.arranged =
                ["chunks/", "trees/"].map(|p| Arranged::get(p, missing.clone())).into();
        }
        4 => store.faults = Faults::outage(),
        5 => {
            let late = End::Late(choices.below(LATE_NS));
            let first = if choices.chance(300) { End::Lost } else { late };
            let then = always(Arranged::put("refs/", End::Refused(refused)));
            store.arranged = vec![Arranged::put("refs/", first), then];
        }
        _ => return true,
    }
    false
}

fn begin(player: &mut Player) -> Open {
    player.tick();
    player.attempt += 1;
    let tree = player.seat.model.committed();
    let (author, message) = ("somebody".into(), format!("commit {}", player.attempt));
    let op = Op::Commit { author, message, attempt: player.attempt };
    let attempt = player.attempt;
    player.note(|| format!("-- begin commit {attempt}"));
    player.maybe.push(tree.clone());
    Open { tree, ticket: player.world.request(player.seat.mount, op) }
}

/// The ref moves: the commit under way has lost.
fn somebody_commits(player: &mut Player) -> Result<(), String> {
    let store = &mut player.world.store;
    let now = mount::branch(store)?;
    let body = RefBody { generation: now.generation + 1, attempt: u128::MAX, ..now };
    mount::move_head(store, &body).map(|_| ())
}

/// Waits for the end of the commit, and takes it down.
fn end(player: &mut Player, open: Open) -> Result<CommitResult, String> {
    let reply = loop {
        if let Some(reply) = player.world.take_reply(player.seat.mount, open.ticket) {
            break reply;
        }
        if !player.world.run_one() {
            return Err("the commit has no end".into());
        }
    };
    let Ok(Reply::Commit(result)) = reply else { return Err(format!("commit: {reply:?}")) };
    player.note(|| format!("-- end: {result:?}"));
    let edited = !open.tree.shows_like(&player.seat.model.committed());
    match &result {
        CommitResult::Committed { snapshot, .. } => {
            player.sometimes(Turn::ChangedAndPublished, edited);
            let shown = mount::head(&player.world.store);
            if shown != Some(*snapshot) {
                return Err(format!("committed {snapshot}, the branch names {shown:?}"));
            }
            player.snapshot_is_sound(&open.tree).map_err(seen)?;
            player.maybe.clear();
            player.committed = open.tree;
        }
        CommitResult::Failed { .. } => {
            player.sometimes(Turn::ChangedAndFailed, edited);
            player.maybe.clear();
        }
        CommitResult::Conflict { .. } => {
            player.sometimes(Turn::ChangedAndLost, edited);
            player.maybe.clear();
        }
        CommitResult::Unknown => player.sometimes(Turn::ChangedAndUnknown, edited),
        CommitResult::Unchanged { .. }
        | CommitResult::Busy
        | CommitResult::Empty
        | CommitResult::Collected { .. }
        | CommitResult::Unfit { .. }
        | CommitResult::NoBranch => return Err(format!("commit: {result:?}")),
    }
    Ok(result)
}

/// The mount can't commit any more. It still shows what it has, and what the ref names is whole.
fn lost(player: &mut Player) -> Result<(), String> {
    player.world.run_until_quiet();
    player.walk()?;
    let tree = player.committed.clone();
    player.look_beside(&tree)?;
    player.nothing_is_left()
}
