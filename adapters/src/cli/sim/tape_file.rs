//! Tapes as files: JSON, which a person can read and change.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use vellum_sim::choice::{Lane, Tape};
use vellum_sim::play::Game;

use super::super::{CliError, Exit};
use crate::repo::RepoError;

/// Version of the format.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct TapeFile {
    vellum_tape: u32,
    game: String,
    lanes: BTreeMap<String, LaneFile>,
}

#[derive(Debug, Serialize, Deserialize)]
struct LaneFile {
    values: Vec<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    units: Vec<usize>,
}

/// A tape, and what it is a tape of.
pub(super) struct Told {
    pub(super) game: Game,
    pub(super) tape: Tape,
}

/// Makes the directory that tapes go to, before anything is played for them.
pub(super) fn make(dir: &Path) -> Result<(), CliError> {
    fs::create_dir_all(dir).map_err(|error| {
        RepoError::Local { doing: "create", path: dir.to_path_buf(), error }.into()
    })
}

pub(super) fn write(path: &Path, game: Game, tape: &Tape) -> Result<(), CliError> {
    let lane = |lane: &Lane| LaneFile { values: lane.values.clone(), units: lane.units.clone() };
    let lanes = tape.lanes.iter().map(|(name, of)| (name.clone(), lane(of))).collect();
    let file = TapeFile { vellum_tape: VERSION, game: game.name.to_owned(), lanes };
    let written = serde_json::to_vec(&file).map_err(io::Error::from);
    written.and_then(|text| fs::write(path, text)).map_err(|error| not_written(path, error))
}

pub(super) fn write_page(path: &Path, page: &str) -> Result<(), CliError> {
    fs::write(path, page).map_err(|error| not_written(path, error))
}

fn not_written(path: &Path, error: io::Error) -> CliError {
    RepoError::Local { doing: "write", path: path.to_path_buf(), error }.into()
}

pub(super) fn read(path: &Path) -> Result<Told, CliError> {
    let text = fs::read(path).map_err(|error| {
        CliError::from(RepoError::Local { doing: "read", path: path.to_path_buf(), error })
    })?;
    let wrong = |why: String| {
        let what = format!("{} is no tape that can be played: {why}", path.display());
        CliError::new(Exit::Usage, what, "give a file that `vellum sim run` of this version wrote")
    };
    let file: TapeFile = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    if file.vellum_tape != VERSION {
        return Err(wrong(format!("its version is {}, not {VERSION}", file.vellum_tape)));
    }
    let game = Game::named(&file.game);
    let game = game.ok_or_else(|| wrong(format!("there is no game {:?}", file.game)))?;
    let lane = |lane: LaneFile| Lane { values: lane.values, units: lane.units };
    let lanes = file.lanes.into_iter().map(|(name, of)| (name, lane(of))).collect();
    Ok(Told { game, tape: Tape { lanes } })
}
