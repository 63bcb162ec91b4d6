//! Steps of a random sequence: verbs with raw numbers, which the player resolves when their turn
//! comes. So a step means something whatever came before it, and any part of a sequence is one.

use std::fmt;

use crate::choice::Choices;

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// One request about names or inodes.
    Names(OnNames),
    /// One request about contents and handles.
    Files(OnFiles),
    /// Something bigger.
    Whole(Bigger),
}

/// Requests about names and inodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnNames {
    Lookup,
    Forget,
    GetAttr,
    SetAttr,
    ReadLink,
    MakeNode,
    MakeDir,
    Symlink,
    Unlink,
    RemoveDir,
    Rename,
    Link,
    SetXattr,
    GetXattr,
    ListXattr,
    RemoveXattr,
    OpenDir,
    StatFs,
}

/// Requests about contents and handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnFiles {
    Open,
    Create,
    Read,
    Write,
    Flush,
    Fsync,
    FsyncDir,
    Release,
    Fallocate,
    Seek,
}

/// What takes more than one request, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bigger {
    /// A whole directory stream, in pages.
    List,
    /// One page of a stream that goes on while other steps happen.
    Stream,
    Status,
    Diff,
    Commit,
    /// Everything uncommitted is taken back.
    Discard,
    /// The machine dies; a fresh one on the same store takes over.
    Remount,
    /// Time passes, and what is under way goes on.
    Wait,
}

/// All verbs, and how often each comes.
const WEIGHTS: [(Verb, u32); 36] = [
    (Verb::Names(OnNames::Lookup), 60),
    (Verb::Names(OnNames::Forget), 40),
    (Verb::Names(OnNames::GetAttr), 30),
    (Verb::Names(OnNames::SetAttr), 60),
    (Verb::Names(OnNames::ReadLink), 5),
    (Verb::Names(OnNames::MakeNode), 15),
    (Verb::Names(OnNames::MakeDir), 40),
    (Verb::Names(OnNames::Symlink), 15),
    (Verb::Names(OnNames::Unlink), 40),
    (Verb::Names(OnNames::RemoveDir), 25),
    (Verb::Names(OnNames::Rename), 70),
    (Verb::Names(OnNames::Link), 30),
    (Verb::Files(OnFiles::Open), 50),
    (Verb::Files(OnFiles::Create), 60),
    (Verb::Files(OnFiles::Read), 80),
    (Verb::Files(OnFiles::Write), 170),
    (Verb::Files(OnFiles::Flush), 10),
    (Verb::Files(OnFiles::Fsync), 10),
    (Verb::Files(OnFiles::Release), 40),
    (Verb::Names(OnNames::OpenDir), 25),
    (Verb::Whole(Bigger::List), 20),
    (Verb::Whole(Bigger::Stream), 20),
    (Verb::Files(OnFiles::FsyncDir), 5),
    (Verb::Names(OnNames::StatFs), 10),
    (Verb::Names(OnNames::SetXattr), 40),
    (Verb::Names(OnNames::GetXattr), 10),
    (Verb::Names(OnNames::ListXattr), 8),
    (Verb::Names(OnNames::RemoveXattr), 10),
    (Verb::Files(OnFiles::Fallocate), 40),
    (Verb::Files(OnFiles::Seek), 15),
    (Verb::Whole(Bigger::Status), 5),
    (Verb::Whole(Bigger::Diff), 10),
    (Verb::Whole(Bigger::Commit), 45),
    (Verb::Whole(Bigger::Discard), 15),
    (Verb::Whole(Bigger::Remount), 25),
    (Verb::Whole(Bigger::Wait), 20),
];

/// How much more rarely what takes more than one request comes in a run of so many steps: else a
/// long run would consist of it.
pub(super) fn rarely(steps: usize) -> u32 {
    (steps / 200).clamp(1, 4) as u32
}

/// Without these hardly anything happens.
const NEEDED: [Verb; 3] =
    [Verb::Names(OnNames::Lookup), Verb::Files(OnFiles::Create), Verb::Files(OnFiles::Write)];

/// One step: the verb, four small picks and two big numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What to do.
    pub verb: Verb,
    /// Which of the things there are, which name, which mode.
    pub picks: [u8; 4],
    /// Offset and length.
    pub numbers: [u64; 2],
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, picks, numbers } = self;
        write!(f, "Step {{ verb: Verb::{verb:?}, picks: {picks:?}, numbers: {numbers:?} }}")
    }
}

/// The steps of a run, drawn one by one on a lane of their own.
#[derive(Debug)]
pub(super) struct Steps {
    lane: Choices,
    weights: Vec<u32>,
    left: usize,
}

impl Steps {
    /// Up to `len` steps; of a run that was, as many as it had. How often each verb comes is drawn
    /// first: some not at all, some much more often than others; those without which hardly
    /// anything happens `needed_times` as often.
    #[must_use]
    pub(super) fn new(
        choices: &Choices,
        lane: &'static str,
        needed_times: u32,
        len: usize,
    ) -> Self {
        let lane = choices.lane(lane);
        let rarely = rarely(len);
        let weight = |(verb, weight): &(Verb, u32)| {
            let is_whole = matches!(verb, Verb::Whole(_));
            let weight = &(if is_whole { weight.div_ceil(rarely) } else { *weight });
            let drawn = weight * [1, 0, 4][lane.weighted(&[4, 1, 1])];
            if NEEDED.contains(verb) { drawn.max(*weight) * needed_times } else { drawn }
        };
        let weights = WEIGHTS.iter().map(weight).collect();
        let left = if choices.are_given() { usize::MAX } else { len };
        Self { lane, weights, left }
    }
}

impl Iterator for Steps {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        self.left = self.left.checked_sub(1)?;
        self.lane.begin_unit();
        // Zero ends the steps: it is never drawn, and stands where a tape has run out.
        if self.lane.bits() == 0 {
            self.left = 0;
            return None;
        }
        let verb = WEIGHTS[self.lane.weighted(&self.weights)].0;
        let picks = self.lane.below(1 << 32).to_le_bytes();
        let numbers = [self.lane.bits(), self.lane.bits()];
        Some(Step { verb, picks: [picks[0], picks[1], picks[2], picks[3]], numbers })
    }
}
