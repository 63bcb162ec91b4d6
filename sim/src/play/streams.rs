//! Directory streams that go on while the directory changes.

use std::collections::{BTreeMap, BTreeSet};

use vellum_core::shapes::{Name, Op, Reply};
use vellum_core::words::{Fh, Ino};

use super::player::Player;

/// What a stream has shown, and what it must or may show.
#[derive(Clone, Debug, Default)]
pub(super) struct Stream {
    cookie: u64,
    shown: BTreeMap<Name, u32>,
    /// Names that are in the directory since the stream began, and have not been touched.
    stable: BTreeSet<(Name, Ino)>,
    /// Names that were in the directory at any time since.
    ever: BTreeSet<Name>,
}

impl Player {
    /// Reads one page of the stream of `fh`, beginning it if it is not begun.
    pub(super) fn stream(&mut self, fh: Fh, directory: Ino, max: usize) -> Result<(), String> {
        let mut stream = match self.seat.streams.remove(&fh) {
            Some(stream) => stream,
            None => {
                let entries = self.entries(directory);
                let ever = entries.iter().map(|(name, _)| name.clone()).collect();
                Stream { stable: entries, ever, ..Stream::default() }
            }
        };
        self.tick();
        let reply = self.send(&Op::ReadDir { fh, cookie: stream.cookie, max, plus: false }, false);
        if self.is_excused(&reply) {
            self.seat.streams.insert(fh, stream);
            return Ok(());
        }
        let Ok(Reply::Entries(page)) = reply else { return Err(format!("no page: {reply:?}")) };
        if page.len() > max {
            return Err(format!("a page of {} entries, at most {max} asked", page.len()));
        }
        let ended = page.is_empty();
        for entry in page {
            stream.cookie = entry.cookie;
            let is_dot = &entry.name[..] == b"." || &entry.name[..] == b"..";
            if !is_dot && !stream.ever.contains(&entry.name) {
                return Err(format!("{:?} was never in the directory", entry.name));
            }
            *stream.shown.entry(entry.name).or_default() += 1;
        }
        let is_stable = |name: &Name| stream.stable.iter().any(|(stable, _)| stable == name);
        if let Some((name, _)) = stream.shown.iter().find(|(n, c)| **c > 1 && is_stable(n)) {
            return Err(format!("{name:?} was shown twice"));
        }
        if !ended {
            self.seat.streams.insert(fh, stream);
            return Ok(());
        }
        match stream.stable.iter().find(|(name, _)| !stream.shown.contains_key(name)) {
            Some((name, _)) => Err(format!("the stream ended without {name:?}")),
            None => Ok(()),
        }
    }

    /// Notes what the last step did to directories with open streams.
    pub(super) fn streams_after_step(&mut self) {
        let handles: BTreeMap<Fh, Ino> =
            self.seat.model.open().map(|(fh, ino, _)| (fh, ino)).collect();
        let mut streams = std::mem::take(&mut self.seat.streams);
        streams.retain(|fh, _| handles.contains_key(fh));
        for (fh, stream) in &mut streams {
            let now = self.entries(handles[fh]);
            stream.stable.retain(|entry| now.contains(entry));
            stream.ever.extend(now.into_iter().map(|(name, _)| name));
        }
        self.seat.streams = streams;
    }

    fn entries(&self, directory: Ino) -> BTreeSet<(Name, Ino)> {
        let tree = self.seat.model.tree();
        tree.entries(directory).map(|(name, ino)| (name.clone(), ino)).collect()
    }
}
