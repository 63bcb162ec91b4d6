//! Reads Rust text as far as the rules need it: comments and strings away, paths spelled out.

/// A file of the source tree.
pub(crate) struct Source {
    /// Path from the root of the workspace, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with comments and the contents of strings blanked, line by line the same.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: blank(text) }
    }

    /// The code without what is compiled for tests alone.
    pub(crate) fn product_code(&self) -> &str {
        if self.path.ends_with("/tests.rs") || self.path.contains("/tests/") {
            return "";
        }
        self.code.find("#[cfg(test)]\nmod tests {").map_or(&self.code, |at| &self.code[..at])
    }
}

/// Blanks comments, and what stands in strings and characters.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = skip(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|&c| if c == '\n' { c } else { ' ' }));
            at = end;
        }
    }
    out
}

/// Where the comment, string or character that begins at `at` ends; `at` if none does.
fn skip(chars: &[char], at: usize) -> usize {
    let next = chars.get(at + 1).copied();
    let in_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match chars[at] {
        '/' if next == Some('/') => find(chars, at, |c| c == '\n'),
        '/' if next == Some('*') => block_comment(chars, at),
        '"' => quoted(chars, at + 1),
        'r' | 'b' if !in_word => raw_string(chars, at).unwrap_or(at),
        '\'' => character(chars, at).unwrap_or(at),
        _ => at,
    }
}

fn find(chars: &[char], from: usize, wanted: impl Fn(char) -> bool) -> usize {
    (from..chars.len()).find(|&at| wanted(chars[at])).unwrap_or(chars.len())
}

fn block_comment(chars: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut at = at;
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn quoted(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

fn raw_string(chars: &[char], at: usize) -> Option<usize> {
    let start = if chars[at] == 'b' { at + 1 } else { at };
    if chars.get(start) != Some(&'r') {
        return None;
    }
    let quote = find(chars, start + 1, |c| c != '#');
    if chars.get(quote) != Some(&'"') {
        return None;
    }
    let hashes = quote - start - 1;
    let mut end = quote + 1;
    while end < chars.len() {
        let closing = chars[end + 1..].iter().take_while(|&&c| c == '#').count();
        if chars[end] == '"' && closing >= hashes {
            return Some(end + 1 + hashes);
        }
        end += 1;
    }
    Some(end)
}

/// A character, not a lifetime.
fn character(chars: &[char], at: usize) -> Option<usize> {
    match (chars.get(at + 1)?, chars.get(at + 2)?) {
        ('\\', _) => Some(find(chars, at + 3, |c| c == '\'') + 1),
        (_, '\'') => Some(at + 3),
        _ => None,
    }
}

/// A word or a sign, with the line it stands on (from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// Words and signs; `::` is one sign.
pub(crate) fn tokens(code: &str) -> Vec<Token> {
    let mut out = Vec::new();
    for (index, text) in code.lines().enumerate() {
        let line = index + 1;
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let len = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            if !first.is_whitespace() {
                out.push(Token { line, text: rest[..len].to_owned() });
            }
            rest = &rest[len..];
        }
    }
    out
}

/// Every path in the code, `use` trees spelled out: (line, segments).
pub(crate) fn paths(code: &str) -> Vec<(usize, Vec<String>)> {
    let tokens = tokens(code);
    let mut out = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at = path(&tokens, at, &[], &mut out).max(at + 1);
    }
    out
}

/// Reads the path, or tree of paths, that begins at `at`; answers where it ends.
fn path(
    tokens: &[Token],
    mut at: usize,
    prefix: &[String],
    out: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let is_word = |token: &Token| token.text.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    let mut segments = prefix.to_vec();
    let Some(first) = tokens.get(at) else { return at };
    let line = first.line;
    loop {
        match tokens.get(at) {
            Some(token) if is_word(token) || token.text == "*" => {
                segments.push(token.text.clone());
                at += 1;
            }
            Some(token) if token.text == "{" && !segments.is_empty() => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    let end = path(tokens, at, &segments, out);
                    at = end.max(at + 1);
                    while tokens.get(at).is_some_and(|token| token.text == ",") {
                        at += 1;
                    }
                }
                return at + 1;
            }
            _ => return at,
        }
        if tokens.get(at).is_none_or(|token| token.text != "::") {
            break;
        }
        at += 1;
    }
    // `as name` of a use tree is no path of its own.
    if !prefix.is_empty() && tokens.get(at).is_some_and(|token| token.text == "as") {
        at += 2;
    }
    out.push((line, segments));
    at
}

#[test]
fn comments_strings_and_characters_are_blanked() {
    let text = "a // b\n\"c \\\" d\" e /* f /* g */ h */ 'i' '\\n' &'j k r#\"l\"m\"# n b\"o\"";
    let words: Vec<String> = tokens(&blank(text)).into_iter().map(|token| token.text).collect();
    assert_eq!(words, ["a", "e", "&", "'", "j", "k", "n", "b"]);
    assert_eq!(blank(text).lines().count(), 2);
}

#[test]
fn use_trees_are_spelled_out() {
    let code = "use std::{fs, sync::{Arc as A, atomic::*}};\nlet x = a::b(c::d {});";
    let found: Vec<String> = paths(code).into_iter().map(|(_, path)| path.join("::")).collect();
    for wanted in ["std::fs", "std::sync::Arc", "std::sync::atomic::*", "a::b", "c::d"] {
        assert!(found.iter().any(|path| path == wanted), "{wanted} in {found:?}");
    }
}
