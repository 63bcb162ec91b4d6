//! Requests that overlap: several are under way at once on a cold mount with a slow store. Their
//! replies, and what can be seen afterwards, must be those of some order of them.

use crate::choice::Choices;
use vellum_core::model::{Mapping, Model};
use vellum_core::shapes::{
    Allocate, Name, Op, OpenFlags, RenameMode, Reply, SetAttr, WriteFlags, XattrMode,
};
use vellum_core::words::{Errno, Fh, Ino, Ticket, Time};

use super::player::Player;

const RW: OpenFlags = OpenFlags { read: true, write: true, truncate: false };
const NAMES: [&[u8]; 3] = [b"a", b"b", b"c"];
/// Lost when the content changes.
const CAPABILITY: &[u8] = b"security.capability";
const ROUNDS: usize = 6;
/// Most requests under way at once: each order of them is tried.
const OVERLAP_MAX: usize = 4;
/// Longer than a file of these runs.
const WHOLE_BYTES: u32 = 200;
/// How much slower loads are in a slow round: longer than a read may wait.
const SLOW_NS: u64 = 40_000_000_000;

/// A request, and what became of it.
struct Sent {
    op: Op,
    ticket: Ticket,
    sent_ns: u64,
    /// Requests that were answered before this one was sent.
    after: Vec<usize>,
    reply: Option<(Result<Reply, Errno>, u64)>,
}

/// What the mount may be, as far as anybody has seen.
type Candidate = (Model, Mapping);

/// Plays one run.
///
/// # Errors
/// What went wrong.
pub(super) fn play(player: &mut Player, choices: &Choices) -> Result<(), String> {
    let choices = &choices.lane("overlap");
    for name in NAMES {
        let (parent, name, caller) = (Ino::ROOT, Name::from(name), Default::default());
        let made =
            player.both(&Op::Create { parent, name, mode: 0o644, flags: RW, caller }, false)?;
        let Some(Reply::Created(attr, fh)) = made else { return Err(format!("{made:?}")) };
        let data = (0..60).map(|_| choices.bits() as u8 | 1).collect();
        let flags = WriteFlags::default();
        player.both(&Op::Write { fh, offset: 0, data, flags }, false)?;
        player.both(&grant(attr.ino), false)?;
    }
    player.commit(false)?;
    player.remount()?;
    let mut handles = Vec::new();
    for name in NAMES {
        let look = Op::Lookup { parent: Ino::ROOT, name: Name::from(name) };
        let found = player.both(&look, false)?;
        let Some(Reply::Entry(attr)) = found else { return Err(format!("{found:?}")) };
        let opened = player.both(&Op::Open { ino: attr.ino, flags: RW }, false)?;
        let Some(Reply::Opened(fh)) = opened else { return Err(format!("{opened:?}")) };
        handles.push((fh, attr.ino));
    }
    // A thread that writes first must know what the base says.
    let (fh, ino) = handles[0];
    let (data, flags) = (vec![1], WriteFlags::default());
    player.both(&Op::Write { fh, offset: 0, data, flags }, true)?;
    player.both(&Op::GetXattr { ino, name: Name::from(CAPABILITY) }, false)?;
    for _ in 0..ROUNDS {
        round(player, choices, &handles)?;
    }
    player.finish()
}

fn grant(ino: Ino) -> Op {
    let (name, value) = (Name::from(CAPABILITY), Name::from(&b"all"[..]));
    Op::SetXattr { ino, name, value, mode: XattrMode::Either }
}

fn round(player: &mut Player, choices: &Choices, files: &[(Fh, Ino)]) -> Result<(), String> {
    let slow = choices.chance(250);
    if slow {
        player.world.store.slow = vec![("chunks/".into(), SLOW_NS)];
    }
    let wall = player.tick();
    let mut sent: Vec<Sent> = Vec::new();
    for _ in 0..1 + choices.index(OVERLAP_MAX) {
        let op = draw(choices, files);
        let answered = sent.iter().enumerate().filter(|(_, sent)| sent.reply.is_some());
        let after = answered.map(|(at, _)| at).collect();
        let sent_ns = player.world.now().mono_ns;
        let ticket = player.world.request(player.seat.mount, player.seat.map.translate(&op));
        sent.push(Sent { op, ticket, sent_ns, after, reply: None });
        collect(player, &mut sent);
        for _ in 0..choices.index(4) {
            player.world.run_one();
            collect(player, &mut sent);
        }
    }
    while sent.iter().any(|sent| sent.reply.is_none()) {
        if !player.world.run_one() {
            return Err("a request is never answered".into());
        }
        collect(player, &mut sent);
    }
    player.world.store.heal();
    for Sent { op, reply, sent_ns, .. } in &sent {
        player.note(|| format!("at {sent_ns}: {op:?} -> {reply:?}"));
    }
    in_time(player, &sent)?;
    settle(player, wall, &sent, files)
}

fn collect(player: &mut Player, sent: &mut [Sent]) {
    let now = player.world.now().mono_ns;
    for sent in sent.iter_mut().filter(|sent| sent.reply.is_none()) {
        let reply = player.world.take_reply(player.seat.mount, sent.ticket);
        sent.reply = reply.map(|reply| (reply, now));
    }
}

/// No request waits longer than a read may, and only a read that waited so long is EIO.
fn in_time(player: &Player, sent: &[Sent]) -> Result<(), String> {
    let deadline_ns = player.limits().read_deadline_ns;
    for Sent { op, reply, sent_ns, .. } in sent {
        let Some((reply, at_ns)) = reply else { continue };
        let waited_ns = at_ns - sent_ns;
        let is_late = reply == &Err(Errno::Io);
        if waited_ns > deadline_ns || (is_late && waited_ns < deadline_ns) {
            return Err(format!("{op:?} is answered {reply:?} after {waited_ns} ns"));
        }
        if waited_ns > 0 && matches!(op, Op::Write { .. }) {
            return Err(format!("{op:?} waits for the store"));
        }
    }
    Ok(())
}

/// Finds an order of the requests that explains their replies and what is seen now.
fn settle(
    player: &mut Player,
    wall: Time,
    sent: &[Sent],
    files: &[(Fh, Ino)],
) -> Result<(), String> {
    let mut candidates = Vec::new();
    let start = (player.seat.model.clone(), player.seat.map.clone());
    orders(start, wall, sent, &mut vec![false; sent.len()], &mut candidates);
    let mut looks: Vec<Op> = Vec::new();
    for (fh, ino) in files {
        looks.push(Op::Read { fh: *fh, offset: 0, len: WHOLE_BYTES });
        looks.push(Op::GetAttr { ino: *ino });
        looks.push(Op::GetXattr { ino: *ino, name: Name::from(CAPABILITY) });
    }
    for name in NAMES {
        looks.push(Op::Lookup { parent: Ino::ROOT, name: Name::from(name) });
    }
    for op in looks {
        let wall = player.tick();
        let reply = player.send(&op, false);
        candidates.retain_mut(|(model, map)| map.compare(&model.apply(wall, &op), &reply).is_ok());
        if candidates.is_empty() {
            return Err("no order of the requests explains what is seen".into());
        }
    }
    let Some((model, map)) = candidates.pop() else { return Err("unreachable".into()) };
    (player.seat.model, player.seat.map) = (model, map);
    Ok(())
}

/// Goes on with each request that may come next; what all orders that fit end with.
fn orders(
    so_far: Candidate,
    wall: Time,
    sent: &[Sent],
    done: &mut Vec<bool>,
    found: &mut Vec<Candidate>,
) {
    if done.iter().all(|done| *done) {
        found.push(so_far);
        return;
    }
    for at in 0..sent.len() {
        let Sent { op, after, reply: Some((reply, _)), .. } = &sent[at] else { continue };
        if done[at] || !after.iter().all(|before| done[*before]) {
            continue;
        }
        let (mut model, mut map) = so_far.clone();
        // One that was given up changed nothing.
        let fits = reply == &Err(Errno::Io) || {
            let wanted = model.apply(wall, op);
            map.compare(&wanted, reply).is_ok()
        };
        if fits {
            done[at] = true;
            orders((model, map), wall, sent, done, found);
            done[at] = false;
        }
    }
}

fn draw(choices: &Choices, files: &[(Fh, Ino)]) -> Op {
    let (fh, ino) = choices.pick(files);
    let offset = choices.below(70);
    let len = 1 + choices.below(40);
    let name = || Name::from(choices.pick(&NAMES));
    let (from, to) = (name(), name());
    let parent = Ino::ROOT;
    match choices.index(11) {
        0..=2 => Op::Read { fh, offset, len: len as u32 },
        3..=5 => {
            let byte = choices.bits() as u8 | 1;
            Op::Write { fh, offset, data: vec![byte; len as usize], flags: WriteFlags::default() }
        }
        6 => Op::SetAttr { ino, set: SetAttr { size: Some(offset), ..SetAttr::default() } },
        7 => {
            let (how, kill_suidgid) = (Allocate::Punch, false);
            Op::Fallocate { fh, offset, len, how, kill_suidgid }
        }
        8 => {
            let mode = RenameMode::Replace;
            Op::Rename { parent, name: from, to_parent: parent, to_name: to, mode }
        }
        9 => grant(ino),
        _ => Op::GetAttr { ino },
    }
}
