//! Small cases, to be gone through one and all: two mounts, three operations, one fault of the
//! store at any put, one death of a mount at any event.

use vellum_core::shapes::{Name, Op, OpenFlags, Reply, WriteFlags, XattrMode};
use vellum_core::words::Ino;

use super::many::Town;
use super::player::Player;
use crate::choice::Choices;

/// The lane that makes the case.
pub const CASE: &str = "case";

const OPERATIONS: u8 = 3;

/// Plays one case.
///
/// # Errors
/// What went wrong.
pub(super) fn play(player: &mut Player, choices: &Choices) -> Result<(), String> {
    let case = choices.lane(CASE);
    player.world.store.decide(case.clone());
    let mut town = Town::new(player, choices, 2)?;
    let mut may_die = true;
    for number in 0..OPERATIONS {
        town.switch(case.index(2));
        match case.index(3) {
            0 => create(town.player, number)?,
            1 => town.player.both(&mark(number), false).map(drop)?,
            _ => town.begins(),
        }
        // Either all comes to its end first, or the next operation comes amid it.
        if case.index(2) == 0 {
            events(&mut town, &case, &mut may_die)?;
        }
    }
    events(&mut town, &case, &mut may_die)?;
    town.end()
}

/// A new file, with something in it.
fn create(player: &mut Player, number: u8) -> Result<(), String> {
    let (name, caller) = (Name::from(&[b'a' + number][..]), Default::default());
    let flags = OpenFlags { read: true, write: true, truncate: false };
    let create = Op::Create { parent: Ino::ROOT, name, mode: 0o644, flags, caller };
    let Some(Reply::Created(_, fh)) = player.both(&create, false)? else {
        return Err("a new file is refused".into());
    };
    let (data, flags) = (vec![number + 1; 12], WriteFlags::default());
    player.both(&Op::Write { fh, offset: 0, data, flags }, true).map(drop)
}

fn mark(number: u8) -> Op {
    let (name, value) = (Name::from(&b"user.mark"[..]), vec![number].into());
    Op::SetXattr { ino: Ino::ROOT, name, value, mode: XattrMode::Either }
}

/// Everything that is under way happens. After any of it a mount may die, once.
fn events(town: &mut Town<'_>, case: &Choices, may_die: &mut bool) -> Result<(), String> {
    while town.player.world.run_one() {
        if *may_die && case.index(2) == 1 {
            *may_die = false;
            town.switch(case.index(2));
            town.dies()?;
        }
    }
    town.collect()
}
