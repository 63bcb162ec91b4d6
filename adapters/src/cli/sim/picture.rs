//! A run as a picture: a page that needs nothing else, with mounts, the store and its troubles over
//! virtual time, and the story below.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use vellum_sim::world::ActorId;
use vellum_sim::world::timeline::{Asked, Timeline};

/// Pixels between what happens at one time and what happens next, at least and at most: a second
/// is no thousand times as wide as a millisecond.
const STEP_MIN: f64 = 26.0;
const STEP_MAX: f64 = 110.0;
/// Pixels left of everything, for names.
const LEFT: f64 = 90.0;
/// Pixels of the row of a mount without requests, and of each that are under way at once.
const ROW: f64 = 34.0;
const LANE: f64 = 12.0;
/// Pixels above everything, for the time.
const TOP: f64 = 30.0;

const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;margin:2em;color:#223}\
h1{font-size:1.3em}.why{color:#b3261e;white-space:pre-wrap}\
.wide{overflow-x:auto;border:1px solid #ccd;border-radius:6px}\
svg text{font:11px system-ui,sans-serif;fill:#445}\
.life{stroke:#345;stroke-width:2}.dead{stroke:#b3261e;stroke-width:3}\
.ok{fill:#7aa7d9}.bad{fill:#e0912f}.lost{fill:#bbc}.note{fill:#345}.head{fill:#2e7d32}\
.apply{stroke:#9ab;stroke-dasharray:2 3}.store{stroke:#345}.grid{stroke:#eef}\
pre{background:#f6f7fa;padding:1em;overflow-x:auto;border-radius:6px}";

/// The page: what game it was, why it ended badly if it did, and its story.
pub(super) fn page(game: &str, why: Option<&str>, story: &[String], timeline: &Timeline) -> String {
    let end = why.map_or("it ends well".to_owned(), |why| format!("it ends badly: {why}"));
    let story = story.iter().map(|line| escaped(line) + "\n").collect::<String>();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <title>vellum sim: {game}</title><style>{STYLE}</style></head><body>\n\
         <h1>A run of {game}</h1>\n<p class=\"why\">{}</p>\n<div class=\"wide\">{}</div>\n\
         <p>Each row is the life of a mount; what killed it is red. Bars are requests to the \
         store, from when they were sent to when they were answered: blue as they should be, \
         orange if something went wrong, grey if nobody heard. Dotted lines show when they were \
         carried out; green, when the branch moved. Point at anything to read it.</p>\n\
         <pre>{story}</pre>\n</body></html>\n",
        escaped(&end),
        Drawing::new(timeline).svg(),
    )
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

fn seconds(ns: u64) -> String {
    format!("{:.6} s", ns as f64 / 1e9)
}

/// Where everything is.
struct Drawing<'t> {
    timeline: &'t Timeline,
    /// Pixels from the left at each time at which anything happens.
    across: BTreeMap<u64, f64>,
    /// Pixels from the top of each actor, and of the store.
    rows: BTreeMap<ActorId, f64>,
    store: f64,
    /// Which requests of an actor lie below each other, since they are under way at once.
    lanes: Vec<(&'t Asked, usize)>,
    out: String,
}

impl<'t> Drawing<'t> {
    fn new(timeline: &'t Timeline) -> Self {
        let lanes = lanes(timeline);
        let mut down = TOP;
        let mut rows = BTreeMap::new();
        for actor in timeline.lives.keys() {
            rows.insert(*actor, down + ROW / 2.0);
            let of = lanes.iter().filter(|(asked, _)| asked.actor == *actor);
            down += ROW + LANE * of.map(|(_, lane)| lane + 1).max().unwrap_or(0) as f64;
        }
        let (across, store, out) = (across(timeline), down + ROW / 2.0, String::new());
        Self { timeline, across, rows, store, lanes, out }
    }

    fn x(&self, ns: u64) -> f64 {
        self.across.get(&ns).copied().unwrap_or(LEFT)
    }

    fn svg(mut self) -> String {
        let width = self.across.values().copied().fold(LEFT, f64::max) + 40.0;
        let height = self.store + ROW;
        self.times(height);
        self.lives();
        self.requests();
        self.notes();
        self.line("store", (LEFT, self.store), (width - 30.0, self.store), "the store");
        self.text((8.0, self.store + 4.0), "store");
        for ns in &self.timeline.moves_ns {
            let title = format!("{}: the branch moves", seconds(*ns));
            self.dot("head", (self.x(*ns), self.store), 6.0, &title);
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" \
             height=\"{height:.0}\" role=\"img\">{}</svg>",
            self.out
        )
    }

    /// Lines for times, and the times where there is room for them.
    fn times(&mut self, height: f64) {
        let mut free = 0.0;
        for (ns, x) in self.across.clone() {
            self.line("grid", (x, TOP - 6.0), (x, height - 8.0), "");
            if x >= free {
                self.text((x, TOP - 12.0), &seconds(ns));
                free = x + 80.0;
            }
        }
    }

    fn lives(&mut self) {
        for (actor, life) in &self.timeline.lives {
            let y = self.rows[actor];
            let end_ns = life.killed_ns.unwrap_or(self.timeline.end_ns);
            let (from, to) = (self.x(life.from_ns), self.x(end_ns));
            let name = life.name.clone().unwrap_or_else(|| format!("mount #{}", actor.0));
            self.line("life", (from, y), (to, y), &name);
            self.text((8.0, y + 4.0), &name);
            if let Some(ns) = life.killed_ns {
                let title = format!("{}: {name} is killed", seconds(ns));
                self.line("dead", (to - 5.0, y - 5.0), (to + 5.0, y + 5.0), &title);
                self.line("dead", (to - 5.0, y + 5.0), (to + 5.0, y - 5.0), &title);
            }
        }
    }

    fn requests(&mut self) {
        for (asked, lane) in self.lanes.clone() {
            let Some(row) = self.rows.get(&asked.actor) else { continue };
            let y = row + ROW / 2.0 - 8.0 + LANE * lane as f64;
            let to_ns = asked.answered_ns.unwrap_or(self.timeline.end_ns);
            let (from, to) = (self.x(asked.from_ns), self.x(to_ns));
            let class = match (asked.trouble, asked.answered_ns) {
                (_, None) => "lost",
                (Some(_), Some(_)) => "bad",
                (None, Some(_)) => "ok",
            };
            let outcome = asked.outcome.as_deref().unwrap_or("nobody hears of it");
            let trouble = asked.trouble.map_or_else(String::new, |words| format!(" ({words})"));
            let title = format!(
                "{} to {}: {} -> {outcome}{trouble}",
                seconds(asked.from_ns),
                seconds(to_ns),
                asked.text
            );
            if let Some(ns) = asked.applied_ns {
                let x = self.x(ns);
                self.line("apply", (x, y + 4.0), (x, self.store), &title);
            }
            let _ = write!(
                self.out,
                "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"8\" \
                 rx=\"2\"><title>{}</title></rect>",
                (to - from).max(3.0),
                escaped(&title)
            );
        }
    }

    fn notes(&mut self) {
        for note in &self.timeline.notes {
            let Some(y) = self.rows.get(&note.actor).copied() else { continue };
            let title = format!("{}: {}", seconds(note.at_ns), note.text);
            self.dot("note", (self.x(note.at_ns), y), 3.5, &title);
        }
    }

    fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64), title: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let title = escaped(title);
        let _ = write!(
            self.out,
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\">\
             <title>{title}</title></line>"
        );
    }

    fn dot(&mut self, class: &str, (x, y): (f64, f64), radius: f64, title: &str) {
        let title = escaped(title);
        let _ = write!(
            self.out,
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\">\
             <title>{title}</title></circle>"
        );
    }

    fn text(&mut self, (x, y): (f64, f64), text: &str) {
        let _ = write!(self.out, "<text x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escaped(text));
    }
}

/// Requests of each actor, and on which of its lanes they lie: the first that is free.
fn lanes(timeline: &Timeline) -> Vec<(&Asked, usize)> {
    let mut busy: BTreeMap<ActorId, Vec<u64>> = BTreeMap::new();
    let mut lanes = Vec::new();
    for asked in timeline.asked.values() {
        let until = asked.answered_ns.unwrap_or(timeline.end_ns);
        let of = busy.entry(asked.actor).or_default();
        let lane = of.iter().position(|end| *end <= asked.from_ns).unwrap_or(of.len());
        if lane == of.len() {
            of.push(until);
        } else {
            of[lane] = until;
        }
        lanes.push((asked, lane));
    }
    lanes
}

/// How far from the left each time is: the longer the pause before it, the farther, but less than
/// in proportion.
fn across(timeline: &Timeline) -> BTreeMap<u64, f64> {
    let mut times: BTreeSet<u64> = [timeline.end_ns].into();
    for life in timeline.lives.values() {
        times.extend([Some(life.from_ns), life.killed_ns].into_iter().flatten());
    }
    for asked in timeline.asked.values() {
        let all = [Some(asked.from_ns), asked.applied_ns, asked.answered_ns];
        times.extend(all.into_iter().flatten());
    }
    times.extend(timeline.notes.iter().map(|note| note.at_ns));
    times.extend(&timeline.moves_ns);
    let (mut x, mut before) = (LEFT, None);
    let mut across = BTreeMap::new();
    for ns in times {
        if let Some(before) = before {
            let pause_ms = (ns - before) as f64 / 1e6;
            x += (STEP_MIN + 8.0 * (1.0 + pause_ms).log2()).min(STEP_MAX);
        }
        before = Some(ns);
        across.insert(ns, x);
    }
    across
}

#[cfg(test)]
mod tests {
    use vellum_sim::choice::Choices;
    use vellum_sim::play::{Game, Ran};

    use super::*;

    #[test]
    fn the_page_has_a_row_for_each_mount_and_nothing_of_the_story_is_markup() {
        let game = Game::named("many-faults").expect("there is this game");
        let busy = (0..50).map(|seed| {
            let choices = Choices::seeded(seed);
            drop(game.run(&choices));
            game.tell(&choices.tape()).expect("it ends well")
        });
        let went_wrong = |ran: &Ran| {
            let asked = &mut ran.timeline.asked.values();
            asked.any(|asked| asked.trouble.is_some()) && !ran.timeline.moves_ns.is_empty()
        };
        let ran = busy.into_iter().find(went_wrong).expect("there is such a run");
        let story = ["a < b & \"c\"".to_owned()];
        let page = page("many", Some("x > y"), &story, &ran.timeline);
        assert!(page.contains("a &lt; b &amp; &quot;c&quot;") && page.contains("x &gt; y"));
        let count = |class: &str| page.matches(&format!("class=\"{class}\"")).count();
        assert_eq!(count("life"), ran.timeline.lives.len());
        assert_eq!(count("note"), ran.timeline.notes.len());
        assert_eq!(count("head"), ran.timeline.moves_ns.len());
        let bars = count("ok") + count("bad") + count("lost");
        assert_eq!(bars, ran.timeline.asked.len());
        assert!(["ok", "bad", "dead", "head", "apply"].iter().all(|class| count(class) > 0));
        // The name of what SVG is; nothing is fetched.
        assert_eq!(page.matches("http").count(), 1);
    }

    #[test]
    fn requests_under_way_at_once_lie_below_each_other() {
        let asked = |from_ns, to_ns| Asked {
            actor: ActorId(1),
            text: String::new(),
            from_ns,
            applied_ns: None,
            answered_ns: Some(to_ns),
            outcome: None,
            trouble: None,
        };
        let all = [asked(0, 9), asked(1, 3), asked(2, 4), asked(3, 5), asked(9, 10)];
        let flights = (0..).map(vellum_sim::store::Flight);
        let timeline = Timeline { asked: flights.zip(all).collect(), ..Timeline::default() };
        let found: Vec<usize> = lanes(&timeline).into_iter().map(|(_, lane)| lane).collect();
        assert_eq!(found, [0, 1, 2, 1, 0]);
        let across = across(&timeline);
        assert!(across[&9] > across[&5] && across[&1] - across[&0] >= STEP_MIN);
    }
}
