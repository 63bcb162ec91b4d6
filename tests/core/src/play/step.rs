//! Steps of a random sequence: verbs with raw numbers, which the player resolves when their turn
//! comes. So a step means something whatever came before it, and any part of a sequence is one.

use std::fmt;

use vellum_sim::choice::Choices;

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
    (Verb::Names(OnNames::ReadLink), 10),
    (Verb::Names(OnNames::MakeNode), 15),
    (Verb::Names(OnNames::MakeDir), 40),
    (Verb::Names(OnNames::Symlink), 15),
    (Verb::Names(OnNames::Unlink), 40),
    (Verb::Names(OnNames::RemoveDir), 25),
    (Verb::Names(OnNames::Rename), 70),
    (Verb::Names(OnNames::Link), 30),
    (Verb::Files(OnFiles::Open), 50),
    (Verb::Files(OnFiles::Create), 60),
    (Verb::Files(OnFiles::Read), 100),
    (Verb::Files(OnFiles::Write), 150),
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
    (Verb::Files(OnFiles::Seek), 30),
    (Verb::Whole(Bigger::Status), 5),
    (Verb::Whole(Bigger::Diff), 10),
    (Verb::Whole(Bigger::Commit), 45),
    (Verb::Whole(Bigger::Discard), 15),
    (Verb::Whole(Bigger::Remount), 25),
    (Verb::Whole(Bigger::Wait), 20),
];

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

/// How often each verb comes in one run: some not at all, some much more often than others; those
/// without which hardly anything happens `needed_times` as often.
#[must_use]
pub fn swarm(choices: &mut Choices, needed_times: u32) -> Vec<u32> {
    let weight = |(_, weight): &(Verb, u32)| match choices.index("swarm", 6) {
        0 => 0,
        1 => weight * 4,
        _ => *weight,
    };
    let mut weights: Vec<u32> = WEIGHTS.iter().map(weight).collect();
    for (at, (verb, weight)) in WEIGHTS.iter().enumerate() {
        if NEEDED.contains(verb) {
            weights[at] = weights[at].max(*weight) * needed_times;
        }
    }
    weights
}

/// The next step of a run.
pub fn draw(choices: &mut Choices, weights: &[u32]) -> Step {
    let verb = WEIGHTS[choices.weighted("step.verb", weights)].0;
    let picks = choices.bits("step.picks").to_le_bytes();
    let numbers = [choices.bits("step.offset"), choices.bits("step.len")];
    Step { verb, picks: [picks[0], picks[1], picks[2], picks[3]], numbers }
}
