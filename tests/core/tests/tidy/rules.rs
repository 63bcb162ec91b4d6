//! The rules, each a function from a source to what it finds wrong.

use crate::source::{Source, paths, tokens};

/// What is wrong: where, and what.
pub(crate) type Finding = String;

pub(crate) const FILE_LINES_MAX: usize = 500;
pub(crate) const LINE_COLUMNS_MAX: usize = 100;
pub(crate) const FUNCTION_LINES_MAX: usize = 70;

fn finding(source: &Source, line: usize, text: &str) -> Finding {
    format!("{}:{line}: {text}", source.path)
}

pub(crate) fn short_files(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().count();
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    vec![finding(source, lines, &format!("{lines} lines; at most {FILE_LINES_MAX}"))]
}

pub(crate) fn short_lines(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().enumerate().map(|(index, line)| (index, line.chars().count()));
    lines
        .filter(|(_, columns)| *columns > LINE_COLUMNS_MAX)
        .map(|(index, columns)| finding(source, index + 1, &format!("{columns} columns")))
        .collect()
}

/// Counts from the line of `fn` to the line of the closing brace.
pub(crate) fn short_functions(source: &Source) -> Vec<Finding> {
    let tokens = tokens(&source.code);
    let mut out = Vec::new();
    for (at, _) in tokens.iter().enumerate().filter(|(_, token)| token.text == "fn") {
        let Some(name) = tokens.get(at + 1) else { continue };
        let mut depth = 0_usize;
        let mut nested = 0_usize;
        for token in &tokens[at + 1..] {
            match token.text.as_str() {
                "(" | "[" => nested += 1,
                ")" | "]" => nested = nested.saturating_sub(1),
                ";" if depth == 0 && nested == 0 => break,
                "{" => depth += 1,
                "}" => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        let lines = token.line - tokens[at].line + 1;
                        if lines > FUNCTION_LINES_MAX {
                            let text = format!("`{}` has {lines} lines", name.text);
                            out.push(finding(source, tokens[at].line, &text));
                        }
                        break;
                    }
                }
                _ => {}
            }
        }
    }
    out
}

/// Floors of the core, lowest first. What stands on one floor may import each other.
const FLOORS: [&[&str]; 6] = [
    &["words", "sync"],
    &["shapes", "format"],
    &["conc"],
    &["machine::names"],
    &["machine::flows"],
    &["machine::face"],
];

/// The floor of a module of the core. What lies in `machine` itself is the roof. The model
/// stands on shapes; that nothing but tests stands on it is checked apart.
fn floor(module: &[String]) -> Option<usize> {
    let joined = module.join("::");
    let below = |name: &str| joined == name || joined.starts_with(&format!("{name}::"));
    let listed = FLOORS.iter().position(|names| names.iter().any(|name| below(name)));
    listed.or_else(|| below("machine").then_some(FLOORS.len()))
}

fn module_of(path: &str) -> Option<Vec<String>> {
    let inner = path.strip_prefix("core/src/")?.strip_suffix(".rs")?;
    let mut module: Vec<String> = inner.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|name| name == "mod") {
        module.pop();
    }
    Some(module)
}

/// A path as the crate sees it: `crate::` taken away, `super::` resolved.
fn absolute(module: &[String], path: &[String]) -> Option<Vec<String>> {
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "super" => {
            let supers = path.iter().take_while(|segment| *segment == "super").count();
            let keep = module.len().checked_sub(supers)?;
            Some(module[..keep].iter().chain(&path[supers..]).cloned().collect())
        }
        _ => None,
    }
}

pub(crate) fn imports_point_down(source: &Source) -> Vec<Finding> {
    let Some(module) = module_of(&source.path) else { return Vec::new() };
    let is_model = module.first().is_some_and(|name| name == "model");
    let own = if is_model { Some(1) } else { floor(&module) };
    let Some(own) = own else { return Vec::new() };
    let mut out = Vec::new();
    for (line, path) in paths(source.product_code()) {
        let Some(target) = absolute(&module, &path) else { continue };
        let to_model = target.first().is_some_and(|name| name == "model");
        let upwards = floor(&target).is_some_and(|floor| floor > own);
        if upwards || (to_model && !is_model) {
            let text = format!("`{}` lies above this file", path.join("::"));
            out.push(finding(source, line, &text));
        }
    }
    out
}

/// What the core never touches.
const OUTSIDE: [&str; 12] = [
    "std::fs",
    "std::net",
    "std::time",
    "std::thread",
    "std::env",
    "std::process",
    "tokio",
    "futures",
    "rand",
    "getrandom",
    "libc",
    "rustix",
];

/// What the core touches through its sync door alone.
const DOOR: [&str; 5] = ["parking_lot", "dashmap", "loom", "shuttle", "std::sync"];

fn uses(source: &Source, forbidden: &[&str], why: &str) -> Vec<Finding> {
    let mut out = Vec::new();
    for (line, path) in paths(source.product_code()) {
        let joined = path.join("::");
        let hit = forbidden.iter().any(|name| {
            joined.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        });
        // A single word is a name of our own that happens to be the same, such as a variable.
        if hit && path.len() > 1 {
            out.push(finding(source, line, &format!("`{joined}`: {why}")));
        }
    }
    out
}

pub(crate) fn core_touches_nothing(source: &Source) -> Vec<Finding> {
    if !source.path.starts_with("core/src/") {
        return Vec::new();
    }
    uses(source, &OUTSIDE, "the core does no I/O and knows no clock, thread or randomness")
}

pub(crate) fn locks_only_through_the_door(source: &Source) -> Vec<Finding> {
    let inside = source.path.starts_with("core/src/sync/");
    if !source.path.starts_with("core/src/") || inside {
        return Vec::new();
    }
    uses(source, &DOOR, "locks, atomics and maps come through core/src/sync")
}

fn has_word(source: &Source, code: &str, word: &str, text: &str) -> Vec<Finding> {
    let hits = tokens(code).into_iter().filter(|token| token.text == word);
    hits.map(|token| finding(source, token.line, text)).collect()
}

pub(crate) fn no_unsafe(source: &Source) -> Vec<Finding> {
    if !source.path.starts_with("core/") && !source.path.starts_with("sim/") {
        return Vec::new();
    }
    has_word(source, &source.code, concat!("un", "safe"), "no unsafe code in core and sim")
}

/// Where a runtime is entered: the binary's own start, and what tests alone compile.
const ENTRY_POINTS: [&str; 3] =
    ["adapters/src/cli/running.rs", "adapters/src/mount/open.rs", "adapters/src/store/testing.rs"];

pub(crate) fn nothing_blocks(source: &Source) -> Vec<Finding> {
    let entry = ENTRY_POINTS.contains(&source.path.as_str());
    if !source.path.starts_with("adapters/src/") || entry {
        return Vec::new();
    }
    has_word(source, source.product_code(), "block_on", "block_on outside an entry point")
}

/// Marks of what is not done, split so that this file has none.
const UNDONE: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("#[ig", "nore"),
];

pub(crate) fn nothing_is_left_undone(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().enumerate();
    lines
        .filter_map(|(index, line)| {
            let mark = UNDONE.iter().find(|mark| line.contains(**mark))?;
            Some(finding(source, index + 1, &format!("`{mark}`")))
        })
        .collect()
}

/// Folders that may stand at the top.
const TOP: [&str; 6] = ["core", "adapters", "sim", "tests", "benches", "docs"];

/// `names` are the folders at the top of the tree.
pub(crate) fn top_folders(names: &[String]) -> Vec<Finding> {
    let allowed = |name: &str| {
        TOP.contains(&name)
            || name.starts_with('.')
            || name == "target"
            || name.starts_with("target-")
    };
    let strange = names.iter().filter(|name| !allowed(name));
    let missing = TOP.iter().filter(|top| **top != "docs" && !names.iter().any(|n| n == *top));
    strange
        .map(|name| format!("{name}/: no such folder is planned at the top"))
        .chain(missing.map(|name| format!("{name}/: missing at the top")))
        .collect()
}

/// `names` are the files in docs/decisions.
pub(crate) fn decisions_are_numbered(names: &[String]) -> Vec<Finding> {
    let mut names = names.to_vec();
    names.sort();
    let mut out = Vec::new();
    for (number, name) in (1..).zip(&names) {
        let expected = format!("{number:04}-");
        if !name.starts_with(&expected) || !name.ends_with(".md") {
            out.push(format!("docs/decisions/{name}: expected {expected}*.md here"));
        }
    }
    out
}
