//! What a campaign came to, and whether it is what an earlier one came to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use vellum_sim::play::Game;

use super::super::text::{count, number};
use super::super::{CliError, Exit};
use super::campaign::{Campaign, Found, Plan, Tally};
use crate::repo::RepoError;

/// Names that are said of sites that were not reached.
const NAMED_MAX: usize = 5;

/// The report of `vellum sim run`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Report {
    first: u64,
    seeds: u64,
    steps: Option<u32>,
    games: Vec<Tally>,
    /// How often rare things have happened.
    sites: BTreeMap<String, u64>,
    seconds: f64,
    red: Vec<Ending>,
}

/// A run that ended badly.
#[derive(Debug, Serialize, Deserialize)]
struct Ending {
    game: String,
    seed: u64,
    why: String,
    /// Steps that its tape has.
    units: usize,
    tape: PathBuf,
}

/// Reads the report of an earlier campaign.
pub(super) fn read(path: &Path) -> Result<Report, CliError> {
    let text = fs::read(path).map_err(|error| {
        CliError::from(RepoError::Local { doing: "read", path: path.to_path_buf(), error })
    })?;
    serde_json::from_slice(&text).map_err(|error| wrong(&format!("{}: {error}", path.display())))
}

fn wrong(why: &str) -> CliError {
    let remedy = "give what `vellum sim run --json` of this version has printed";
    CliError::new(Exit::Usage, format!("no report that can be played again: {why}"), remedy)
}

impl Report {
    pub(super) fn new(
        campaign: &Campaign,
        plan: &Plan,
        seconds: f64,
        kept: &[(Found, PathBuf)],
    ) -> Self {
        let ending = |(found, path): &(Found, PathBuf)| Ending {
            game: found.game.name.to_owned(),
            seed: found.seed,
            why: found.red.why.clone(),
            units: found.units(),
            tape: path.clone(),
        };
        let sites = campaign.sites();
        Self {
            first: plan.first,
            seeds: campaign.seeds(),
            steps: plan.steps,
            games: campaign.tallies(),
            sites: sites.listed().map(|(site, count)| (site.to_string(), count)).collect(),
            seconds,
            red: kept.iter().map(ending).collect(),
        }
    }

    /// The runs that it tells of.
    pub(super) fn plan(&self) -> Result<Plan, CliError> {
        let game = |tally: &Tally| {
            let game = Game::named(&tally.name);
            game.ok_or_else(|| wrong(&format!("there is no game {:?}", tally.name)))
        };
        let games = self.games.iter().map(game).collect::<Result<Vec<_>, _>>()?;
        if games.is_empty() {
            return Err(wrong("it has no games"));
        }
        Ok(Plan { games, first: self.first, seeds: Some(self.seeds), steps: self.steps })
    }

    pub(super) fn json(&self) -> Result<Value, CliError> {
        serde_json::to_value(self).map_err(|error| wrong(&error.to_string()))
    }

    pub(super) fn text(&self) -> String {
        let line = |tally: &Tally| {
            let (runs, requests) = (number(tally.runs), number(tally.requests));
            format!("{:<14}{runs:>10} runs {requests:>14} requests\n", tally.name)
        };
        let mut text: String = self.games.iter().map(line).collect();
        let reached = self.sites.len() - self.missing().count();
        let all = self.sites.len();
        text.push_str(&format!("{reached} of {all} rare things have happened\n"));
        let sum = |of: fn(&Tally) -> u64| self.games.iter().map(of).sum::<u64>();
        text.push_str(&format!(
            "{}, {}, {} virtual seconds in {:.1} s\n",
            count(sum(|tally| tally.runs), "run"),
            count(sum(|tally| tally.requests), "request"),
            number(self.games.iter().map(Tally::seconds).sum::<f64>() as u64),
            self.seconds,
        ));
        text
    }

    fn missing(&self) -> impl Iterator<Item = &String> {
        self.sites.iter().filter(|(_, count)| **count == 0).map(|(name, _)| name)
    }

    /// Everything happened again that happened in another process.
    pub(super) fn is_like(&self, other: &Self) -> Result<(), CliError> {
        let what = match self.games.iter().zip(&other.games).find(|(one, two)| one != two) {
            Some((one, _)) => {
                format!("runs of {} come to something else in this process", one.name)
            }
            None if self.sites != other.sites => "other rare things have happened".to_owned(),
            None => return Ok(()),
        };
        let remedy = "find the seed with --first and --seeds, and report it";
        Err(CliError::new(Exit::Differs, what, remedy))
    }

    /// Everything rare has happened.
    pub(super) fn has_every_site(&self) -> Result<(), CliError> {
        let missing: Vec<&str> = self.missing().map(String::as_str).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let named = missing[..missing.len().min(NAMED_MAX)].join("; ");
        let count = count(missing.len() as u64, "rare thing");
        let what = format!("{count} never happened: {named}");
        Err(CliError::new(Exit::Differs, what, "play more runs, or longer ones"))
    }
}
