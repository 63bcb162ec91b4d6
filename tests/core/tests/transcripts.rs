//! Transcripts: what goes into a machine and what comes out of it, as text files that a person
//! reads. Lines that begin with `$` are commands, with `#` comments; all others are what happened.
//! `UPDATE_TRANSCRIPTS=1 cargo test -p vellum-tests-core --test transcripts` writes them anew.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use vellum_core::shapes::{
    Allocate, Caller, Name, Op, OpenFlags, RenameMode, Reply, SetAttr, Whence, WriteFlags,
};
use vellum_core::words::{Errno, Fh, Ino, Limits, Time};
use vellum_sim::choice::Choices;
use vellum_sim::mount::{self, Mounted};
use vellum_sim::store::Faults;
use vellum_sim::world::{ActorId, World};

const CHUNK_BYTES: u32 = 64 << 10;

/// A machine that is told what to do.
struct Stage {
    world: World<Mounted>,
    limits: Limits,
    mount: ActorId,
    /// Handles in the order in which they were opened: `@1` is the first.
    handles: Vec<Fh>,
    attempt: u128,
}

impl Stage {
    fn new() -> Self {
        let mut world = World::new(&Choices::seeded(1));
        mount::init(&mut world.store, CHUNK_BYTES);
        let limits = Limits { block_bytes: 8, memory_bytes: 1 << 20, ..Limits::default() };
        let limits = Limits { reserve_bytes: 1 << 16, file_bytes: 1 << 40, ..limits };
        let mount = mount::mount(&mut world, &limits).unwrap();
        world.keep_log();
        Self { world, limits, mount, handles: Vec::new(), attempt: 0 }
    }

    /// Carries a command out.
    fn command(&mut self, line: &str) {
        self.world.set_wall(Time { ns: self.world.now().wall.ns + 1 });
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["run"] => self.world.run_until_quiet(),
            ["wait", ms] => {
                let until = self.world.now().mono_ns + number(ms) * 1_000_000;
                self.world.run_until(until);
            }
            ["store", "fine"] => self.world.store.heal(),
            ["store", "out"] => self.world.store.faults = Faults::outage(),
            ["store", "loses", "puts"] => {
                self.world.store.faults = Faults { ambiguous: 1000, ..Faults::none() };
            }
            ["spoil", prefix] => self.spoil(prefix),
            ["remount"] => {
                self.world.kill(self.mount);
                self.mount = mount::mount(&mut self.world, &self.limits).unwrap();
                self.handles.clear();
            }
            ["send", rest @ ..] => {
                let op = self.op(rest);
                self.world.request(self.mount, op);
            }
            ["fast", rest @ ..] => {
                let op = self.op(rest);
                let reply = mount::fast(&mut self.world, self.mount, op);
                self.note_handle(&reply);
            }
            rest => {
                let op = self.op(rest);
                let reply = self.world.ask(self.mount, op);
                self.note_handle(&reply);
            }
        }
    }

    fn note_handle(&mut self, reply: &Result<Reply, Errno>) {
        if let Ok(Reply::Opened(fh) | Reply::Created(_, fh)) = reply {
            self.handles.push(*fh);
        }
    }

    /// Turns a bit in every object whose key begins with `prefix`.
    fn spoil(&mut self, prefix: &str) {
        let keys: Vec<String> = self.world.store.objects.keys().cloned().collect();
        for key in keys.iter().filter(|key| key.starts_with(prefix)) {
            self.world.store.objects.tamper(key, |mut body| {
                body[0] ^= 1;
                Some(body)
            });
        }
    }

    fn fh(&self, word: &str) -> Fh {
        self.handles[number(word.strip_prefix('@').unwrap()) as usize - 1]
    }

    fn op(&mut self, words: &[&str]) -> Op {
        self.on_names(words).or_else(|| self.on_files(words)).unwrap_or_else(|| match words {
            ["status"] => Op::Status,
            ["diff"] => Op::Diff,
            ["commit", message] => {
                self.attempt += 1;
                let (author, message) = ("me".into(), (*message).into());
                Op::Commit { author, message, attempt: self.attempt }
            }
            _ => panic!("no such command: {}", words.join(" ")),
        })
    }

    fn on_names(&self, words: &[&str]) -> Option<Op> {
        let caller = Caller { uid: 7, gid: 7 };
        let flags = OpenFlags { read: true, write: true, truncate: false };
        Some(match words {
            ["lookup", parent, text] => Op::Lookup { parent: ino(parent), name: name(text) },
            ["forget", which, count] => Op::Forget { ino: ino(which), count: number(count) },
            ["getattr", which] => Op::GetAttr { ino: ino(which) },
            ["create", parent, text] => {
                let (parent, name) = (ino(parent), name(text));
                Op::Create { parent, name, mode: 0o644, flags, caller }
            }
            ["mkdir", parent, text] => {
                Op::MakeDir { parent: ino(parent), name: name(text), mode: 0o755, caller }
            }
            ["symlink", parent, text, target] => {
                let target = target.as_bytes().into();
                Op::Symlink { parent: ino(parent), name: name(text), target, caller }
            }
            ["unlink", parent, text] => Op::Unlink { parent: ino(parent), name: name(text) },
            ["rmdir", parent, text] => Op::RemoveDir { parent: ino(parent), name: name(text) },
            ["rename", parent, text, to_parent, to_text] => Op::Rename {
                parent: ino(parent),
                name: name(text),
                to_parent: ino(to_parent),
                to_name: name(to_text),
                mode: RenameMode::Replace,
            },
            ["link", which, parent, text] => {
                Op::Link { ino: ino(which), to_parent: ino(parent), to_name: name(text) }
            }
            ["truncate", which, size] => {
                let set = SetAttr { size: Some(number(size)), ..SetAttr::default() };
                Op::SetAttr { ino: ino(which), set }
            }
            ["open", which] => Op::Open { ino: ino(which), flags },
            ["opendir", which] => Op::OpenDir { ino: ino(which) },
            _ => return None,
        })
    }

    fn on_files(&self, words: &[&str]) -> Option<Op> {
        Some(match words {
            ["write", fh, offset, text] => {
                let (data, flags) = (text.as_bytes().to_vec(), WriteFlags::default());
                Op::Write { fh: self.fh(fh), offset: number(offset), data, flags }
            }
            ["read", fh, offset, len] => {
                Op::Read { fh: self.fh(fh), offset: number(offset), len: number(len) as u32 }
            }
            ["punch", fh, offset, len] => {
                let (offset, len) = (number(offset), number(len));
                let how = Allocate::Punch;
                Op::Fallocate { fh: self.fh(fh), offset, len, how, kill_suidgid: false }
            }
            ["hole", fh, offset] => {
                Op::Seek { fh: self.fh(fh), offset: number(offset), whence: Whence::Hole }
            }
            ["fsync", fh] => Op::Fsync { fh: self.fh(fh) },
            ["release", fh] => Op::Release { fh: self.fh(fh) },
            ["readdir", fh, cookie, max] => {
                let (cookie, max) = (number(cookie), number(max) as usize);
                Op::ReadDir { fh: self.fh(fh), cookie, max, plus: false }
            }
            _ => return None,
        })
    }
}

fn number(word: &str) -> u64 {
    word.parse().unwrap_or_else(|_| panic!("a number is expected: {word}"))
}

fn ino(word: &str) -> Ino {
    Ino(number(word))
}

fn name(word: &str) -> Name {
    word.as_bytes().into()
}

/// Hashes and the like by their first digits, so that lines can be read.
fn shorten(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(start) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let run = &rest[start..];
        let len = run.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(run.len());
        out.push_str(&rest[..start]);
        out.push_str(if len < 32 { &run[..len] } else { &run[..8] });
        rest = &run[len..];
    }
    out + rest
}

/// The transcript as it is now, from the commands and comments of the old one.
fn replay(text: &str) -> String {
    let mut stage = Stage::new();
    let mut out = String::new();
    for line in text.lines() {
        if line.is_empty() || line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
        }
        let Some(command) = line.strip_prefix("$ ") else { continue };
        out.push_str(line);
        out.push('\n');
        stage.command(command);
        for line in stage.world.take_log() {
            out.push_str("    ");
            out.push_str(&shorten(&line));
            out.push('\n');
        }
    }
    out
}

fn transcripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts");
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The first line in which two texts differ, for a person.
fn difference(old: &str, new: &str) -> Option<String> {
    let longer = old.lines().count().max(new.lines().count());
    let (mut old, mut new) = (old.lines(), new.lines());
    (1..=longer).find_map(|line| {
        let (a, b) = (old.next().unwrap_or("(end)"), new.next().unwrap_or("(end)"));
        (a != b).then(|| format!("line {line}\n  was {a}\n  is  {b}"))
    })
}

#[test]
fn every_transcript_still_tells_what_happens() {
    let update = std::env::var_os("UPDATE_TRANSCRIPTS").is_some();
    let files = transcripts();
    assert!(!files.is_empty());
    for file in files {
        let old = fs::read_to_string(&file).unwrap();
        let new = replay(&old);
        if update {
            fs::write(&file, &new).unwrap();
        } else if let Some(difference) = difference(&old, &new) {
            panic!("{}: {difference}\n(UPDATE_TRANSCRIPTS=1 writes it anew)", file.display());
        }
    }
}

#[test]
fn a_changed_transcript_is_noticed() {
    let text = "# A comment.\n\n$ lookup 1 none\n    something else\n";
    let new = replay(text);
    assert!(new.starts_with("# A comment.\n\n$ lookup 1 none\n    1> request 1 Lookup"));
    assert!(difference(text, &new).unwrap().starts_with("line 4"), "{new}");
    assert_eq!(difference(&new, &replay(&new)), None);
}
