//! docs/SEMANTICS.md claims nothing that no test executes.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The claims of a page: its list items, each in one line.
fn claims(page: &str) -> Vec<String> {
    let mut claims: Vec<String> = Vec::new();
    let mut in_claim = false;
    for line in page.lines() {
        if let Some(begin) = line.strip_prefix("- ") {
            claims.push(begin.to_owned());
            in_claim = true;
        } else if let Some(more) = line.strip_prefix("  ").filter(|_| in_claim) {
            let claim = claims.last_mut().unwrap();
            claim.push(' ');
            claim.push_str(more);
        } else {
            in_claim = false;
        }
    }
    claims
}

/// The tests that a claim ends with; none if it does not end so.
fn tests_of(claim: &str) -> Vec<String> {
    let Some(list) = claim.strip_suffix(')').and_then(|text| text.rsplit_once(" (")) else {
        return Vec::new();
    };
    let name = |quoted: &str| {
        let name = quoted.strip_prefix('`')?.strip_suffix('`')?;
        name.contains("::").then(|| name.to_owned())
    };
    list.1.split(", ").map(name).collect::<Option<Vec<_>>>().unwrap_or_default()
}

/// All tests of a source, as `file::test`.
fn tests_in(file: &str, source: &str) -> BTreeSet<String> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let pairs = lines.windows(2).filter(|pair| pair[0] == "#[test]");
    let name = |pair: &[&str]| {
        let name = pair[1].strip_prefix("fn ")?.split('(').next()?;
        Some(format!("{file}::{name}"))
    };
    pairs.filter_map(name).collect()
}

fn all_tests() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut tests = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "rs") {
            let file = path.file_stem().unwrap().to_str().unwrap();
            tests.extend(tests_in(file, &fs::read_to_string(&path).unwrap()));
        }
    }
    tests
}

fn page() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/SEMANTICS.md");
    fs::read_to_string(page).unwrap()
}

#[test]
fn every_claim_names_tests_that_exist() {
    let tests = all_tests();
    let claims = claims(&page());
    assert!(claims.len() > 40, "{}", claims.len());
    for claim in &claims {
        let named = tests_of(claim);
        assert!(!named.is_empty(), "no test is named: {claim}");
        for name in named {
            assert!(tests.contains(&name), "there is no test {name}: {claim}");
        }
    }
}

#[test]
fn every_test_of_semantics_is_named_by_a_claim() {
    let named: BTreeSet<String> =
        claims(&page()).iter().flat_map(|claim| tests_of(claim)).collect();
    let tests = all_tests();
    for test in tests.iter().filter(|test| test.starts_with("outside_semantics::")) {
        assert!(named.contains(test), "no claim names {test}");
    }
}

#[test]
fn a_claim_without_a_test_is_found() {
    let page =
        "text\n- One claim\n  goes on. (`a::b`,\n  `c::d`)\n- Two. (`a::b`, c)\n- Three.\n\n  no\n";
    let found: Vec<Vec<String>> = claims(page).iter().map(|claim| tests_of(claim)).collect();
    assert_eq!(found, [vec!["a::b".to_owned(), "c::d".to_owned()], vec![], vec![]]);
    let tests = tests_in("a", "#[test]\nfn b() {}\nfn d() {}\n");
    assert_eq!(tests, BTreeSet::from(["a::b".to_owned()]));
}
