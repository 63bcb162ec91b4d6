//! The commands that play mounts in a simulated world.

mod campaign;
mod cases;
mod picture;
mod report;
mod tape_file;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde_json::json;
use vellum_sim::choice::Tape;
use vellum_sim::play::{CANARY, GAMES, Game, Ran, Red, SMALL};

use super::running::{LAST_WORDS, finish, runtime};
use super::text::{count, number};
use super::{CliError, Exit, print, print_json, progress};
use campaign::{Campaign, Plan, Tally, quietly};
use cases::Cases;
use report::Report;
use tape_file::Told;

/// Most runs that making a failure short may take.
const TRIES: usize = 3_000;

#[derive(Args, Debug)]
pub(super) struct SimArgs {
    #[command(subcommand)]
    command: SimCommand,
}

#[derive(Debug, Subcommand)]
enum SimCommand {
    /// Play games from many seeds; write the tape of each that ends badly, made short
    Run(RunArgs),
    /// Play a tape again and tell what happens
    Replay(ReplayArgs),
    /// Make the tape of a failure shorter and plainer
    Shrink(ShrinkArgs),
    /// Play every small case: two mounts, three operations, one fault of the store at any put, one
    /// death of a mount at any event
    Exhaustive(ExhaustiveArgs),
    /// Say how fast it plays on this machine
    Bench(BenchArgs),
}

#[derive(Args, Debug)]
struct RunArgs {
    /// Games to play, if not all: `vellum sim run --list` says which there are
    #[arg(value_name = "GAME", value_parser = parse_game)]
    games: Vec<Game>,
    /// List the games
    #[arg(long)]
    list: bool,
    /// Runs of each game
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    seeds: u64,
    /// The first seed
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    first: u64,
    /// Steps of each run, in games that have steps [default: 60; 160 with several mounts]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    steps: Option<u32>,
    /// Play for so long instead, in seconds
    #[arg(long, value_name = "SECONDS", conflicts_with = "seeds")]
    seconds: Option<u64>,
    /// Play each run a second time, and see that everything in it happens again
    #[arg(long)]
    twice: bool,
    /// Play the runs of an earlier report (--json) again, and see that everything in them happens
    /// again in this process
    #[arg(long, value_name = "REPORT",
        conflicts_with_all = ["games", "seeds", "first", "steps", "seconds"])]
    like: Option<PathBuf>,
    /// Fail if one of the rare things that runs are to reach has not happened
    #[arg(long)]
    every_site: bool,
    /// Threads [default: one for each CPU]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Where to write the tapes of runs that end badly: a directory, made if there is none
    #[arg(long, value_name = "DIR", default_value = ".")]
    keep: PathBuf,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct ReplayArgs {
    /// The tape, as `vellum sim run` wrote it
    #[arg(value_name = "TAPE")]
    tape: PathBuf,
    /// Draw it: a page of HTML that needs nothing else
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Print the story as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct ShrinkArgs {
    /// The tape of a run that ends badly
    #[arg(value_name = "TAPE")]
    tape: PathBuf,
    /// Where to write the shorter one, if not in its place
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Most runs that it may take
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    tries: usize,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct ExhaustiveArgs {
    /// Play only the first so many
    #[arg(long, value_name = "N")]
    most: Option<u64>,
    /// Where to write the tape of a case that ends badly: a directory, made if there is none
    #[arg(long, value_name = "DIR", default_value = ".")]
    keep: PathBuf,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct BenchArgs {
    /// Games to play
    #[arg(value_name = "GAME", value_parser = parse_game, default_value = "many-faults")]
    games: Vec<Game>,
    /// Steps of each run, in games that have steps
    #[arg(long, value_name = "N", default_value_t = 1_000,
        value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// For so long
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    seconds: u64,
    /// Threads
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs: usize,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

impl SimArgs {
    pub(super) fn wants_json(&self) -> bool {
        match &self.command {
            SimCommand::Run(args) => args.json,
            SimCommand::Replay(args) => args.json,
            SimCommand::Shrink(args) => args.json,
            SimCommand::Exhaustive(args) => args.json,
            SimCommand::Bench(args) => args.json,
        }
    }
}

pub(super) fn sim(args: SimArgs) -> Result<Exit, CliError> {
    campaign::panics_are_outcomes();
    match args.command {
        SimCommand::Run(args) if args.list => list(args.json),
        SimCommand::Run(args) => run(args),
        SimCommand::Replay(args) => replay(&args),
        SimCommand::Shrink(args) => shrink(&args),
        SimCommand::Exhaustive(args) => exhaustive(&args),
        SimCommand::Bench(args) => bench(args),
    }
}

fn parse_game(name: &str) -> Result<Game, String> {
    Game::named(name).ok_or_else(|| {
        let names: Vec<_> = every_game().map(|game| game.name).collect();
        format!("there are: {}", names.join(", "))
    })
}

fn list(json: bool) -> Result<Exit, CliError> {
    if json {
        let game = |game: &Game| json!({"name": game.name, "about": game.about});
        print_json(&every_game().map(|it| game(&it)).collect::<Vec<_>>().into())?;
    } else {
        let line = |game: &Game| format!("{:<14}{}\n", game.name, game.about);
        print(&every_game().map(|it| line(&it)).collect::<String>())?;
    }
    Ok(Exit::Ok)
}

fn every_game() -> impl Iterator<Item = Game> {
    GAMES.into_iter().chain([CANARY])
}

fn all_if_none(games: Vec<Game>) -> Vec<Game> {
    if games.is_empty() { GAMES.to_vec() } else { games }
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn run(args: RunArgs) -> Result<Exit, CliError> {
    let like = args.like.as_deref().map(report::read).transpose()?;
    let plan = match &like {
        Some(report) => report.plan()?,
        None => Plan {
            games: all_if_none(args.games),
            first: args.first,
            seeds: args.seconds.is_none().then_some(args.seeds),
            steps: args.steps,
        },
    };
    let campaign = Campaign::new(&plan, args.twice);
    tape_file::make(&args.keep)?;
    let played = play(&campaign, args.jobs.unwrap_or_else(cpus), args.seconds, args.json);
    // Broken off or not, what was found is kept.
    let mut kept = Vec::new();
    for found in campaign.found() {
        let path = keep(&args.keep, found.game, found.seed, &found.tape, &found.red)?;
        kept.push((found, path));
    }
    let seconds = played?;
    let report = Report::new(&campaign, &plan, seconds, &kept);
    if args.json {
        print_json(&report.json()?)?;
    } else {
        print(&report.text())?;
    }
    if let Some((first, path)) = kept.first() {
        let what = match kept.len() {
            1 => format!("a run of {} ends badly: {}", first.game.name, first.red.why),
            more => format!("{more} runs end badly; one of {}: {}", first.game.name, first.red.why),
        };
        let remedy = format!("see what happened with `{}`", replay_of(path));
        return Err(CliError::new(Exit::Differs, what, remedy));
    }
    like.map_or(Ok(()), |like| report.is_like(&like))?;
    if args.every_site {
        report.has_every_site()?;
    }
    Ok(Exit::Ok)
}

/// Plays on `jobs` threads, to the end or for so many seconds; the seconds it took.
fn play(
    campaign: &Arc<Campaign>,
    jobs: usize,
    seconds: Option<u64>,
    quiet: bool,
) -> Result<f64, CliError> {
    let started = Instant::now();
    let until = seconds.map(Duration::from_secs);
    let runtime = runtime()?;
    let work = async {
        let threads: Vec<_> = (0..jobs.max(1)).map(|_| campaign.start(&runtime)).collect();
        if let Some(until) = until {
            tokio::time::sleep(until).await;
            campaign.round_off();
        }
        for thread in threads {
            thread.await.map_err(|_| lost())?;
        }
        Ok::<_, CliError>(())
    };
    let say = || {
        let (runs, requests) = (&campaign.runs, &campaign.requests);
        let (runs, requests) = (runs.load(Ordering::Relaxed), requests.load(Ordering::Relaxed));
        format!("playing: {}, {}", count(runs, "run"), count(requests, "request"))
    };
    let done = finish(&runtime, progress::shown(quiet, say, work), || true);
    campaign.stop();
    runtime.shutdown_timeout(LAST_WORDS);
    done.map(|()| started.elapsed().as_secs_f64())
}

fn lost() -> CliError {
    CliError::new(Exit::Store, "a thread that played has ended", "run it again, and report this")
}

/// Writes the tape of a run that ended badly, and a page with its picture beside it; the tape's
/// path.
fn keep(dir: &Path, game: Game, number: u64, tape: &Tape, red: &Red) -> Result<PathBuf, CliError> {
    let name = format!("{}-{number}", game.name);
    let path = dir.join(format!("{name}.tape.json"));
    tape_file::write(&path, game, tape)?;
    let page = picture::page(game.name, Some(&red.why), &red.history, &red.timeline);
    tape_file::write_page(&dir.join(format!("{name}.html")), &page)?;
    Ok(path)
}

/// How a tape is told.
fn replay_of(path: &Path) -> String {
    format!("vellum sim replay {}", path.display())
}

fn replay(args: &ReplayArgs) -> Result<Exit, CliError> {
    let Told { game, tape } = tape_file::read(&args.tape)?;
    let (history, timeline, end) = match quietly(|| game.tell(&tape)) {
        Ok(Ran { history, timeline, .. }) => (history, timeline, None),
        Err(Red { why, history, timeline }) => (history, timeline, Some(why)),
    };
    if let Some(path) = &args.picture {
        let page = picture::page(game.name, end.as_deref(), &history, &timeline);
        tape_file::write_page(path, &page)?;
    }
    if args.json {
        print_json(&json!({"game": game.name, "story": history, "why": end}))?;
    } else {
        print(&history.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    }
    match end {
        None => Ok(Exit::Ok),
        Some(why) => Err(CliError::new(Exit::Differs, format!("it ends badly: {why}"), "")),
    }
}

fn shrink(args: &ShrinkArgs) -> Result<Exit, CliError> {
    let Told { game, tape } = tape_file::read(&args.tape)?;
    let before = tape.units();
    let Ok((tape, red)) = quietly(|| game.shrink(&tape, args.tries)) else {
        let what = format!("the run of {} ends well", args.tape.display());
        return Err(CliError::new(Exit::Usage, what, "give the tape of one that ends badly"));
    };
    let path = args.output.as_ref().unwrap_or(&args.tape);
    tape_file::write(path, game, &tape)?;
    let after = tape.units();
    if args.json {
        print_json(&json!({"before": before, "after": after, "why": red.why, "tape": path}))?;
    } else {
        let steps = count(after as u64, "step");
        print(&format!("{} of {before}: {}\n{}\n", steps, path.display(), red.why))?;
    }
    Ok(Exit::Ok)
}

fn exhaustive(args: &ExhaustiveArgs) -> Result<Exit, CliError> {
    tape_file::make(&args.keep)?;
    let started = Instant::now();
    let cases = Arc::new(Cases::new(args.most));
    let runtime = runtime()?;
    let thread = Arc::clone(&cases);
    let work = async { runtime.spawn_blocking(move || thread.play()).await.map_err(|_| lost()) };
    let say = || format!("playing: {}", count(cases.played(), "case"));
    let done = finish(&runtime, progress::shown(args.json, say, work), || true);
    cases.stop();
    runtime.shutdown_timeout(LAST_WORDS);
    let (played, seconds) = (cases.played(), started.elapsed().as_secs_f64());
    if let Some((tape, red)) = done? {
        let path = keep(&args.keep, SMALL, played, &tape, &red)?;
        let what = format!("case {} ends badly: {}", number(played), red.why);
        let remedy = format!("see what happened with `{}`", replay_of(&path));
        return Err(CliError::new(Exit::Differs, what, remedy));
    }
    let all = cases.are_all();
    if args.json {
        print_json(&json!({"cases": played, "all": all, "seconds": seconds}))?;
    } else {
        let which = if all { "all" } else { "the first" };
        print(&format!("{which} {} end well, in {seconds:.1} s\n", count(played, "case")))?;
    }
    Ok(Exit::Ok)
}

fn bench(args: BenchArgs) -> Result<Exit, CliError> {
    let plan = Plan { games: args.games, first: 1, seeds: None, steps: Some(args.steps) };
    let campaign = Campaign::new(&plan, false);
    let jobs = args.jobs.max(1);
    let seconds = play(&campaign, jobs, Some(args.seconds), args.json)?;
    if let Some(found) = campaign.found().first() {
        let (game, seed) = (found.game.name, found.seed);
        let what = format!("a run of {game} ends badly: {}", found.red.why);
        let run = format!("vellum sim run {game} --first {seed} --seeds 1 --steps {}", args.steps);
        let remedy = format!("keep its tape: `{run}`");
        return Err(CliError::new(Exit::Differs, what, remedy));
    }
    let tallies = campaign.tallies();
    let sum = |of: fn(&Tally) -> u64| tallies.iter().map(of).sum::<u64>();
    let requests = sum(|tally| tally.requests);
    let rate = requests as f64 / seconds / jobs as f64;
    let share = |part: u64| part as f64 / requests.max(1) as f64;
    let (changes, refused) = (share(sum(|t| t.changes)), share(sum(|t| t.refused)));
    let ratio = tallies.iter().map(Tally::seconds).sum::<f64>() / seconds / jobs as f64;
    if args.json {
        print_json(&json!({"requests": requests, "seconds": seconds, "jobs": jobs,
            "requests_per_second_and_thread": rate, "changes": changes, "refused": refused,
            "virtual_per_wall": ratio}))?;
    } else {
        print(&format!(
            "{} requests a second and thread: {:.0} % change something, {:.0} % are refused\n\
             {} virtual seconds a second and thread\n",
            number(rate as u64),
            changes * 100.0,
            refused * 100.0,
            number(ratio as u64),
        ))?;
    }
    Ok(Exit::Ok)
}
