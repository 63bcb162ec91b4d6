//! The rules of the house that a machine can check, over the whole source tree.
#![allow(clippy::unwrap_used)]

mod rules;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use rules::Finding;
use source::Source;

/// A rule over one source, by the sentence it keeps.
type Rule = (&'static str, fn(&Source) -> Vec<Finding>);

/// Rules for Rust sources.
const RUST: [Rule; 8] = [
    ("a file has at most 500 lines", rules::short_files),
    ("a line has at most 100 columns", rules::short_lines),
    ("a function has at most 70 lines", rules::short_functions),
    ("imports point down the floors of the core", rules::imports_point_down),
    ("the core does no I/O", rules::core_touches_nothing),
    ("locks come through the sync door", rules::locks_only_through_the_door),
    ("core and sim have no unsafe code", rules::no_unsafe),
    ("nothing blocks on a future", rules::nothing_blocks),
];

/// Rules for every text.
const ANY: [Rule; 1] = [("nothing is left undone", rules::nothing_is_left_undone)];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn names(folder: &Path, folders: bool) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_dir() == folders)
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn sources(root: &Path, below: &str, out: &mut Vec<Source>) {
    let folder = root.join(below);
    for name in names(&folder, false) {
        if [".rs", ".md", ".toml"].iter().any(|ending| name.ends_with(ending)) {
            let text = fs::read_to_string(folder.join(&name)).unwrap();
            out.push(Source::new(&format!("{below}/{name}"), &text));
        }
    }
    for name in names(&folder, true) {
        sources(root, &format!("{below}/{name}"), out);
    }
}

#[test]
fn the_source_tree_keeps_the_rules() {
    let root = root();
    let mut all = Vec::new();
    for folder in ["core", "adapters", "sim", "tests", "benches", "docs"] {
        sources(&root, folder, &mut all);
    }
    assert!(all.len() > 20, "the source tree was not found from {}", root.display());
    let mut found = rules::top_folders(&names(&root, true));
    found.extend(rules::decisions_are_numbered(&names(&root.join("docs/decisions"), false)));
    for source in &all {
        let rust = source.path.ends_with(".rs");
        let rules = ANY.iter().chain(RUST.iter().filter(|_| rust));
        for (sentence, rule) in rules {
            found.extend(rule(source).iter().map(|finding| format!("{finding} ({sentence})")));
        }
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// Whether `rule` finds `count` things in a file of this text.
#[track_caller]
fn finds(rule: fn(&Source) -> Vec<Finding>, path: &str, text: &str, count: usize) {
    let found = rule(&Source::new(path, text));
    assert_eq!(found.len(), count, "{path}: {text}\n{found:?}");
}

#[test]
fn long_files_and_lines_are_found() {
    finds(rules::short_files, "a.rs", &"x\n".repeat(500), 0);
    finds(rules::short_files, "a.rs", &"x\n".repeat(501), 1);
    finds(rules::short_lines, "a.rs", &"ä".repeat(100), 0);
    finds(rules::short_lines, "a.rs", &format!("\n{}\nshort", "ä".repeat(101)), 1);
}

#[test]
fn long_functions_are_found() {
    let function = |lines: usize| {
        format!("trait T {{ fn f(x: [u8; 3]); }}\nfn g() {{\n{}}}\n", "{ \"}\" }\n".repeat(lines))
    };
    finds(rules::short_functions, "a.rs", &function(68), 0);
    finds(rules::short_functions, "a.rs", &function(69), 1);
}

#[test]
fn imports_upwards_are_found() {
    let rule = rules::imports_point_down;
    finds(rule, "core/src/shapes/a.rs", "use crate::words::Ino; use crate::format::Hash;", 0);
    finds(rule, "core/src/words/a.rs", "use crate::shapes::Op;", 1);
    finds(rule, "core/src/conc/a.rs", "fn f() { crate::machine::names::g(); }", 1);
    finds(rule, "core/src/machine/names/a.rs", "use super::super::flows::Load;", 1);
    finds(rule, "core/src/machine/names/a.rs", "use super::other::Thing;", 0);
    finds(rule, "core/src/machine/flows/mod.rs", "use crate::{words, machine::{names, face}};", 1);
    finds(rule, "core/src/machine/face/a.rs", "use crate::machine::flows::Load;", 0);
    finds(rule, "core/src/machine/face/a.rs", "use crate::machine::Machine;", 1);
    finds(rule, "core/src/machine/mod.rs", "use face::Machine; use crate::conc::Shared;", 0);
    finds(rule, "core/src/model/a.rs", "use crate::shapes::Op; use super::tree::Node;", 0);
    finds(rule, "core/src/model/a.rs", "use crate::conc::Shared;", 1);
    finds(rule, "core/src/machine/mod.rs", "use crate::model::Model;", 1);
    finds(rule, "core/src/conc/a.rs", "#[cfg(test)]\nmod tests {\nuse crate::model::Model;}", 0);
}

#[test]
fn io_clocks_threads_and_locks_in_the_core_are_found() {
    let rule = rules::core_touches_nothing;
    finds(rule, "core/src/a.rs", "use std::{fs, fmt, time::Instant};", 2);
    finds(rule, "core/src/a.rs", "fn f() { std::thread::spawn(g); } // std::env::var", 1);
    finds(rule, "core/src/a.rs", "use std::collections::BTreeMap; let rand = 1;", 0);
    finds(rule, "adapters/src/a.rs", "use std::fs;", 0);
    let rule = rules::locks_only_through_the_door;
    finds(rule, "core/src/a.rs", "use std::sync::{Arc, Mutex, atomic::AtomicU64};", 3);
    finds(rule, "core/src/a.rs", "use dashmap::DashMap;", 1);
    finds(rule, "core/src/sync/a.rs", "use dashmap::DashMap;", 0);
}

#[test]
fn unsafe_code_and_blocking_are_found() {
    let code = concat!("un", "safe { }");
    finds(rules::no_unsafe, "core/src/a.rs", code, 1);
    finds(rules::no_unsafe, "sim/src/a.rs", "#![forbid(unsafe_code)] // unsafe", 0);
    finds(rules::no_unsafe, "adapters/src/a.rs", code, 0);
    finds(rules::nothing_blocks, "adapters/src/fuse/a.rs", "rt.block_on(f)", 1);
    finds(rules::nothing_blocks, "adapters/src/mount/open.rs", "rt.block_on(f)", 0);
}

#[test]
fn what_is_left_undone_is_found() {
    let rule = rules::nothing_is_left_undone;
    for mark in ["// TO-DO: this", "to-do!()", "// FIX-ME", "unimple-mented!()", "#[ig-nore]"] {
        finds(rule, "a.rs", &mark.replace('-', ""), 1);
    }
    finds(rule, "a.rs", "// done", 0);
}

#[test]
fn strange_folders_and_gaps_between_decisions_are_found() {
    let list = |names: &str| names.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let whole = "core adapters sim tests benches docs .ci target";
    assert!(rules::top_folders(&list(whole)).is_empty());
    assert_eq!(rules::top_folders(&list("core adapters sim tests scripts")).len(), 2);
    assert!(rules::decisions_are_numbered(&list("0002-b.md 0001-a.md")).is_empty());
    assert_eq!(rules::decisions_are_numbered(&list("0001-a.md 0003-c.md")).len(), 1);
    assert_eq!(rules::decisions_are_numbered(&list("0001-a.md 0001-b.md")).len(), 1);
}
