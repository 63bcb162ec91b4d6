//! What a commit puts into the store: how far it is, and which objects they were.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::mpsc;
use vellum_core::format::{ObjectKind, parse_object_key};
use vellum_core::shapes::{Key, StoreRequest};

/// Objects whose keys are remembered until a commit is published: 4 TiB of chunks.
const KEYS_MAX: usize = 1 << 20;

/// How often is said how far a commit is, while its phase stays the same.
const EVERY: Duration = Duration::from_millis(100);

/// What a commit is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// What the kernel holds of mapped files is taken in, and what is to be sent put together.
    #[default]
    Collect,
    /// Data of files is sent.
    Data,
    /// Nodes of trees are sent.
    Trees,
    /// The snapshot is sent.
    Snapshot,
    /// The ref is moved.
    Publish,
}

impl Phase {
    /// Its name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Collect => "collect",
            Self::Data => "data",
            Self::Trees => "trees",
            Self::Snapshot => "snapshot",
            Self::Publish => "publish",
        }
    }
}

/// How far a commit is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SoFar {
    /// What it is at.
    pub phase: Phase,
    /// Objects put since it began.
    pub objects: u64,
    /// Bytes put since it began.
    pub bytes: u64,
}

/// A put that is under way.
pub(super) struct Put {
    key: Key,
    bytes: u64,
}

/// What was put since the last commit was published.
#[derive(Default)]
pub(super) struct Sent(Mutex<State>);

#[derive(Default)]
struct State {
    keys: Vec<Key>,
    /// There were more than can be remembered.
    overflowed: bool,
    so_far: SoFar,
    listener: Option<(mpsc::Sender<SoFar>, Instant)>,
}

impl Sent {
    /// A commit begins; `listener` hears how far it is. What it has no room for is left out.
    pub(super) fn begin(&self, listener: mpsc::Sender<SoFar>) {
        let mut state = self.0.lock();
        state.so_far = SoFar::default();
        state.listener = Some((listener, Instant::now()));
    }

    /// The commit ended.
    pub(super) fn end(&self) {
        self.0.lock().listener = None;
    }

    /// Keys of the objects that were put since this was last asked; none when they were too many.
    pub(super) fn take(&self) -> Option<Vec<Key>> {
        let mut state = self.0.lock();
        let keys = std::mem::take(&mut state.keys);
        (!std::mem::take(&mut state.overflowed)).then_some(keys)
    }

    /// A request is made: if it is a put, [`Sent::stored`] is told when it is done.
    pub(super) fn asked(&self, request: &StoreRequest) -> Option<Put> {
        let StoreRequest::Put { key, body, .. } = request else { return None };
        let bytes = body.iter().map(|slice| slice.range.len() as u64).sum();
        let phase = match parse_object_key(key) {
            Some((ObjectKind::Chunk, _)) => Phase::Data,
            Some((ObjectKind::Tree, _)) => Phase::Trees,
            Some((ObjectKind::Snapshot, _)) => Phase::Snapshot,
            None => Phase::Publish,
        };
        let mut state = self.0.lock();
        if phase > state.so_far.phase {
            state.so_far.phase = phase;
            state.tell(Instant::now(), true);
        }
        Some(Put { key: key.clone(), bytes })
    }

    /// A put was applied.
    pub(super) fn stored(&self, put: Put) {
        let mut state = self.0.lock();
        state.so_far.objects += 1;
        state.so_far.bytes += put.bytes;
        if parse_object_key(&put.key).is_some() {
            if state.keys.len() < KEYS_MAX {
                state.keys.push(put.key);
            } else {
                state.overflowed = true;
            }
        }
        state.tell(Instant::now(), false);
    }
}

impl State {
    fn tell(&mut self, now: Instant, is_new: bool) {
        let so_far = self.so_far;
        if let Some((listener, last)) = &mut self.listener
            && (is_new || now.saturating_duration_since(*last) >= EVERY)
        {
            *last = now;
            // One who is slow hears the next.
            let _ = listener.try_send(so_far);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use vellum_core::format::{Hash, ObjectName, object_key};
    use vellum_core::shapes::{Condition, Slice};

    use super::*;

    fn put(sent: &Sent, key: &str) {
        let body = vec![Slice::whole(vec![0; 10])];
        let request = StoreRequest::Put { key: key.into(), body, condition: Condition::Absent };
        sent.stored(sent.asked(&request).unwrap());
    }

    #[test]
    fn the_phases_of_a_commit_are_told_in_order_and_its_objects_remembered() {
        let sent = Sent::default();
        let (sender, mut told) = mpsc::channel(8);
        let key = |kind, text: &[u8]| object_key(kind, &ObjectName::first(Hash::of(text)));
        let early = key(ObjectKind::Chunk, b"early");
        put(&sent, &early);
        sent.begin(sender);
        let keys = [ObjectKind::Chunk, ObjectKind::Tree, ObjectKind::Chunk, ObjectKind::Snapshot]
            .map(|kind| key(kind, b"later"));
        keys.iter().for_each(|key| put(&sent, key));
        put(&sent, "refs/branches/main");
        sent.end();
        let mut heard = Vec::new();
        while let Ok(so_far) = told.try_recv() {
            heard.push((so_far.phase, so_far.objects, so_far.bytes));
        }
        heard.dedup_by_key(|(phase, ..)| *phase);
        let expected = [
            (Phase::Data, 0, 0),
            (Phase::Trees, 1, 10),
            (Phase::Snapshot, 3, 30),
            (Phase::Publish, 4, 40),
        ];
        assert_eq!(heard, expected);
        let all: Vec<Key> = std::iter::once(early).chain(keys).collect();
        assert_eq!(sent.take(), Some(all));
        assert_eq!(sent.take(), Some(Vec::new()));
    }
}
