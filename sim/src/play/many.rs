//! One to four mounts of one branch: each is worked on, commits while the work goes on, wins or
//! loses, dies and comes back. Whatever happens, the branch goes from one cut of one mount to the
//! next, and a reader of the store alone sees nothing else.

use std::collections::BTreeMap;

use vellum_core::format::Hash;
use vellum_core::model::{Mapping, Tree};
use vellum_core::shapes::{CommitResult, Op, Reply};
use vellum_core::words::{Errno, Ticket};

use super::during;
use super::player::{Player, Side};
use super::reader::{self, Heads};
use super::step::{self, Bigger, Step, Steps, Verb};
use crate::choice::Choices;
use crate::mount;
use crate::sites::Turn;
use crate::store::Faults;

const MOUNTS_MAX: usize = 4;
pub(super) const STEPS: usize = 160;

/// A commit under way.
struct Pending {
    /// What it may take: what was there when it was asked for; or later, if it has to find out
    /// first what became of the one before.
    trees: Vec<Tree>,
    takes_later: bool,
    ticket: Ticket,
}

/// A mount that may not be the one that is played, and what is known of its commits.
struct Place {
    /// None while it is played.
    side: Option<Side>,
    /// The snapshot that its edits are made to.
    base: Option<Hash>,
    pending: Option<Pending>,
}

pub(super) struct Town<'p> {
    pub(super) player: &'p mut Player,
    places: Vec<Place>,
    /// Which of them is played.
    at: usize,
    choices: Choices,
    faults: Faults,
    /// Nothing goes wrong any more.
    is_healed: bool,
    heads: Heads,
    /// Snapshots that were acknowledged, and what they show.
    known: BTreeMap<Hash, (Tree, Mapping)>,
}

/// Plays one run.
///
/// # Errors
/// What went wrong.
pub(super) fn play(player: &mut Player, choices: &Choices, steps: usize) -> Result<(), String> {
    let needed_times = player.setting.needed_times;
    let rarely = step::rarely(steps);
    let steps = Steps::new(choices, "steps", needed_times, steps);
    // What is chosen around a step goes with it.
    let choices = choices.lane("steps");
    let count = 1 + choices.index(MOUNTS_MAX);
    let mut town = Town::new(player, &choices, count)?;
    for step in steps {
        if choices.chance(10 / rarely) {
            town.all_die()?;
        }
        town.switch(choices.index(town.places.len()));
        town.step(&step)?;
        for _ in 0..choices.index(3) {
            town.player.world.run_one();
        }
        town.collect()?;
    }
    town.end()
}

impl<'p> Town<'p> {
    /// `count` mounts of the branch, of which the first is in play.
    pub(super) fn new(
        player: &'p mut Player,
        choices: &Choices,
        count: usize,
    ) -> Result<Self, String> {
        let base = mount::head(&player.world.store);
        let tree = player.committed.clone();
        let mut places = vec![Place { side: None, base, pending: None }];
        for _ in 1..count {
            let seat = player.fresh_seat(&tree, &Mapping::default())?;
            let side = Side { seat, committed: tree.clone(), maybe: Vec::new() };
            places.push(Place { side: Some(side), base, pending: None });
        }
        let known = base.map(|base| (base, (tree, Mapping::default()))).into_iter().collect();
        let (choices, faults) = (choices.clone(), player.world.store.faults.clone());
        let heads = reader::follow(&mut player.world);
        player.place = Some(0);
        let is_healed = false;
        Ok(Self { player, places, at: 0, choices, faults, is_healed, heads, known })
    }

    pub(super) fn switch(&mut self, to: usize) {
        let Some(side) = self.places[to].side.take() else { return };
        self.places[self.at].side = Some(self.player.take_side(side));
        self.at = to;
        self.player.place = Some(to);
    }

    fn here(&mut self) -> &mut Place {
        &mut self.places[self.at]
    }

    fn head(&self) -> Option<Hash> {
        mount::head(&self.player.world.store)
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        self.step_with(step)?;
        if let Some(pending) = &mut self.places[self.at].pending
            && pending.takes_later
        {
            let tree = self.player.seat.model.committed();
            self.player.maybe.push(tree.clone());
            pending.trees.push(tree);
        }
        Ok(())
    }

    fn step_with(&mut self, step: &Step) -> Result<(), String> {
        match step.verb {
            Verb::Whole(Bigger::Commit) => {
                self.begins();
                Ok(())
            }
            Verb::Whole(Bigger::Remount) => self.dies(),
            // What takes a commit's end for granted.
            Verb::Whole(Bigger::Discard) if self.here().pending.is_some() => Ok(()),
            Verb::Whole(_) | Verb::Names(_) | Verb::Files(_) => {
                self.player.play_on([*step].into_iter())
            }
        }
    }

    /// The mount in play begins a commit, unless it has one under way.
    pub(super) fn begins(&mut self) {
        if self.here().pending.is_none() {
            self.begin();
        }
    }

    fn begin(&mut self) {
        let player = &mut *self.player;
        if self.faults != Faults::none() && self.choices.chance(300) {
            // Of the one who would move the branch: there are enough here.
            let _ = during::arrange(player, &self.choices);
        }
        player.tick();
        player.attempt += 1;
        let attempt = player.attempt;
        player.note(|| format!("-- begin commit {attempt}"));
        let tree = player.seat.model.committed();
        let takes_later = !player.maybe.is_empty();
        player.maybe.push(tree.clone());
        let (author, message) = ("somebody".into(), format!("commit {attempt}"));
        let op = Op::Commit { author, message, attempt };
        let ticket = player.world.request(player.seat.mount, op);
        self.here().pending = Some(Pending { trees: vec![tree], takes_later, ticket });
    }

    /// Takes the replies of commits that have ended.
    pub(super) fn collect(&mut self) -> Result<(), String> {
        for at in 0..self.places.len() {
            if self.places[at].pending.is_none() {
                continue;
            }
            let was = self.at;
            self.switch(at);
            self.ended()?;
            self.switch(was);
        }
        Ok(())
    }

    /// The commit of the mount in play, if it has ended.
    fn ended(&mut self) -> Result<(), String> {
        let mount = self.player.seat.mount;
        let Some(pending) = self.here().pending.take() else { return Ok(()) };
        match self.player.world.take_reply(mount, pending.ticket) {
            Some(reply) => self.judge(pending.trees, reply),
            None => {
                self.here().pending = Some(pending);
                Ok(())
            }
        }
    }

    fn judge(&mut self, trees: Vec<Tree>, reply: Result<Reply, Errno>) -> Result<(), String> {
        let Ok(Reply::Commit(result)) = reply else { return Err(format!("commit: {reply:?}")) };
        self.player.note(|| format!("-- end: {result:?}"));
        self.player.world.store.arranged.clear();
        self.player.world.store.faults = self.faults.clone();
        let others = self.places.iter().filter(|place| place.pending.is_some()).count();
        match result {
            CommitResult::Committed { snapshot, .. } => {
                self.player.sometimes(Turn::PublishedBeside, others > 0);
                self.published(snapshot, trees)
            }
            CommitResult::Unchanged { snapshot } => {
                self.player.sometimes(Turn::Unchanged, true);
                self.takes_back(&trees);
                let player = &*self.player;
                let before = || player.maybe.iter().chain([&player.committed]);
                let is_old = |tree: &Tree| before().any(|old| old.shows_like(tree));
                let trees: Vec<Tree> = trees.into_iter().filter(is_old).collect();
                if trees.is_empty() {
                    return Err("something changed, and the commit says that nothing did".into());
                }
                self.published(snapshot, trees)
            }
            CommitResult::Conflict { theirs } => {
                self.player.sometimes(Turn::LostToMount, true);
                let base = self.here().base;
                if Some(theirs) == base && self.player.maybe.len() == 1 {
                    return Err(format!("lost to its own base {theirs}"));
                }
                if !self.heads.borrow().contains(&theirs) {
                    return Err(format!("lost to {theirs}, which never was the head"));
                }
                self.player.without_faults(|player| {
                    // What is being loaded may fail yet.
                    player.world.run_until_quiet();
                    player.walk()
                })?;
                self.takes_back(&trees);
                self.dies()
            }
            CommitResult::Failed { .. } if self.may_fail() => {
                self.player.sometimes(Turn::Fails, true);
                self.takes_back(&trees);
                Ok(())
            }
            CommitResult::Unknown if self.may_fail() => Ok(()),
            CommitResult::Failed { .. }
            | CommitResult::Unknown
            | CommitResult::Busy
            | CommitResult::Empty
            | CommitResult::Collected { .. }
            | CommitResult::NoBranch
            | CommitResult::Unfit { .. } => Err(format!("commit: {result:?}")),
        }
    }

    /// Whether anything went wrong at the store that a commit may have met.
    fn may_fail(&self) -> bool {
        !self.is_healed && self.player.world.store.injected() > 0
    }

    /// These trees were not published by the commit that has ended.
    fn takes_back(&mut self, trees: &[Tree]) {
        let maybe = &mut self.player.maybe;
        maybe.truncate(maybe.len() - trees.len());
    }

    /// The commit of the mount in play was acknowledged: it has one of these trees.
    fn published(&mut self, snapshot: Hash, trees: Vec<Tree>) -> Result<(), String> {
        let is_head = self.head() == Some(snapshot);
        let player = &mut *self.player;
        if player.world.store.objects.body(&mount::key_of(&snapshot)).is_none() {
            return Err(format!("committed {snapshot}, which is not there"));
        }
        let tree = match <[Tree; 1]>::try_from(trees) {
            Ok([tree]) => tree,
            // Nobody can look at it any more: a fresh mount goes on.
            Err(_) if !is_head => return self.dies(),
            Err(trees) => {
                let mut why = Vec::new();
                let mut shown =
                    |tree: &Tree| player.look_beside(tree).map_err(|text| why.push(text)).is_ok();
                let found = trees.into_iter().find(|tree| shown(tree));
                found.ok_or_else(|| format!("it shows none of these: {}", why.join("\nnor: ")))?
            }
        };
        player.maybe.clear();
        player.committed = tree.clone();
        self.known.insert(snapshot, (tree, self.player.seat.map.clone()));
        self.here().base = Some(snapshot);
        Ok(())
    }

    /// The mount in play dies, and a fresh one takes its place.
    pub(super) fn dies(&mut self) -> Result<(), String> {
        let had_pending = self.here().pending.take().is_some();
        let mount = self.player.seat.mount;
        self.player.note(|| "-- dies".into());
        self.player.world.kill(mount);
        // What it sent may arrive yet.
        self.player.world.run_until_quiet();
        self.comes_back(had_pending)
    }

    fn all_die(&mut self) -> Result<(), String> {
        self.player.note(|| "-- all die".into());
        self.player.sometimes(Turn::AllDie, true);
        let mut had_pending = Vec::new();
        for at in 0..self.places.len() {
            self.switch(at);
            let mount = self.player.seat.mount;
            self.player.world.kill(mount);
            had_pending.push(self.here().pending.take().is_some());
        }
        self.player.world.run_until_quiet();
        for (at, had_pending) in had_pending.into_iter().enumerate() {
            self.switch(at);
            self.comes_back(had_pending)?;
        }
        Ok(())
    }

    /// A fresh mount in the place of the one in play: it shows what the branch does.
    fn comes_back(&mut self, had_pending: bool) -> Result<(), String> {
        let head = self.head().ok_or("the branch names nothing")?;
        let candidates = match self.known.get(&head) {
            Some(known) => vec![known.clone()],
            None => self.unacknowledged(),
        };
        let (tree, map) = self.player.without_faults(|player| player.mount_one_of(candidates))?;
        // One that changes nothing is never published.
        let has_moved = self.here().base != Some(head);
        let player = &mut *self.player;
        let is_own = has_moved && player.maybe.last().is_some_and(|own| own.shows_like(&tree));
        player.sometimes(Turn::DiesPublished, had_pending && is_own);
        player.sometimes(Turn::DiesNot, had_pending && !is_own);
        let lost = !had_pending && !player.maybe.is_empty();
        player.sometimes(Turn::UnknownPublished, lost && is_own);
        player.sometimes(Turn::UnknownNot, lost && !is_own);
        player.maybe.clear();
        player.committed = tree.clone();
        self.known.insert(head, (tree, map));
        self.here().base = Some(head);
        Ok(())
    }

    /// Trees of commits of all mounts whose outcome nobody knows, and how their inodes are
    /// numbered.
    fn unacknowledged(&mut self) -> Vec<(Tree, Mapping)> {
        let parked = self.places.iter().filter_map(|place| place.side.as_ref());
        let of = |trees: &[Tree], map: &Mapping| -> Vec<_> {
            trees.iter().map(|tree| (tree.clone(), map.clone())).collect()
        };
        let own = of(&self.player.maybe, &self.player.seat.map);
        let others = parked.flat_map(|side| of(&side.maybe, &side.seat.map));
        own.into_iter().chain(others).collect()
    }

    /// The faults stop: every commit under way ends, every mount shows what it has, goes on from
    /// the head, and holds nothing in the end.
    pub(super) fn end(mut self) -> Result<(), String> {
        self.player.note(|| "-- the end".into());
        self.faults = Faults::none();
        self.player.world.store.heal();
        self.player.world.run_until_quiet();
        self.collect()?;
        (self.player.strict, self.is_healed) = (true, true);
        for at in 0..self.places.len() {
            self.switch(at);
            if self.here().pending.is_some() {
                return Err("the commit has no end".into());
            }
            self.player.walk()?;
        }
        for at in 1..self.places.len() {
            self.switch(at);
            if !self.player.maybe.is_empty() {
                // What became of a commit is found out by the next.
                self.begin();
                self.player.world.run_until_quiet();
                self.ended()?;
            }
            self.player.let_go()?;
            self.player.nothing_is_left()?;
            let mount = self.player.seat.mount;
            self.player.world.kill(mount);
        }
        self.switch(0);
        self.dies()?;
        self.player.finish()
    }
}
