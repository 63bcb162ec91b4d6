//! Small cases, to be gone through one and all: two mounts, three operations, one fault of the
//! store at any put, one death of a mount at any event.

use vellum_core::shapes::{Name, Op, OpenFlags, XattrMode};
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
    player.strict = false;
    let mut town = Town::new(player, choices, 2)?;
    let mut may_die = true;
    for number in 0..OPERATIONS {
        town.switch(case.index(2));
        match case.index(3) {
            0 => town.player.both(&create(number), false).map(drop)?,
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

fn create(number: u8) -> Op {
    let name = Name::from(&[b'a' + number][..]);
    let flags = OpenFlags { read: true, write: true, truncate: false };
    Op::Create { parent: Ino::ROOT, name, mode: 0o644, flags, caller: Default::default() }
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
