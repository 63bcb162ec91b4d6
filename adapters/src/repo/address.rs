//! How a repository and what is in it are named: `REPO[@branch | @tag | @snapshot]`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::store::{Location, StoreOptions, url_parts};

/// Branch that is meant when none is named.
pub const MAIN: &str = "main";

/// A repository and what is meant of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The repository.
    pub repo: PathBuf,
    /// Branch, tag or snapshot; the branch `main` when `None`.
    pub name: Option<String>,
}

impl Address {
    /// Splits an argument. A path may contain `@`: the longest beginning that is a directory and
    /// ends at an `@` or at the end is the repository. If there is none, the last `@` splits.
    #[must_use]
    pub fn parse(argument: &OsStr) -> Self {
        Self::parse_with(argument, &|path| path.is_dir())
    }

    fn parse_with(argument: &OsStr, is_directory: &dyn Fn(&Path) -> bool) -> Self {
        let bytes = argument.as_bytes();
        if url_parts(argument).is_some() {
            return Self::of_url(argument);
        }
        let whole = Self { repo: PathBuf::from(argument), name: None };
        if is_directory(&whole.repo) {
            return whole;
        }
        let split_at = |at: usize| {
            let name = std::str::from_utf8(&bytes[at + 1..]).ok()?;
            let repo = PathBuf::from(OsStr::from_bytes(&bytes[..at]));
            Some(Self { repo, name: Some(name.to_owned()) })
        };
        let ats = || (1..bytes.len()).rev().filter(|at| bytes[*at] == b'@');
        let found = ats().filter_map(split_at).find(|address| is_directory(&address.repo));
        found.or_else(|| ats().find_map(split_at)).unwrap_or(whole)
    }

    /// No bucket and no key of ours has an `@`.
    fn of_url(argument: &OsStr) -> Self {
        let text = argument.to_string_lossy();
        match text.split_once('@') {
            Some((repo, name)) => Self { repo: repo.into(), name: Some(name.to_owned()) },
            None => Self { repo: argument.into(), name: None },
        }
    }

    /// Where the repository is, reached with these options.
    #[must_use]
    pub fn location(&self, options: &StoreOptions) -> Location {
        Location::new(&self.repo, options.clone())
    }

    /// The name, or that of the main branch.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(MAIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(argument: &str, directories: &[&str]) -> (String, Option<String>) {
        let is_directory = |path: &Path| directories.iter().any(|dir| path == Path::new(dir));
        let address = Address::parse_with(OsStr::new(argument), &is_directory);
        (address.repo.display().to_string(), address.name)
    }

    #[test]
    fn the_longest_directory_is_the_repository() {
        let some = |repo: &str, name: &str| (repo.to_owned(), Some(name.to_owned()));
        assert_eq!(parse("/r", &["/r"]), ("/r".into(), None));
        assert_eq!(parse("/r@dev", &["/r"]), some("/r", "dev"));
        assert_eq!(parse("/r@dev", &["/r", "/r@dev"]), ("/r@dev".into(), None));
        assert_eq!(parse("/a@b/r@x", &["/a@b/r"]), some("/a@b/r", "x"));
        assert_eq!(parse("/a@b/r", &["/a@b/r"]), ("/a@b/r".into(), None));
        assert_eq!(parse("/r@feature/x", &["/r"]), some("/r", "feature/x"));
        assert_eq!(parse("/new@dev", &[]), some("/new", "dev"));
        assert_eq!(parse("/r@", &["/r"]), some("/r", ""));
        assert_eq!(parse("/plain", &[]), ("/plain".into(), None));
    }

    #[test]
    fn the_first_at_of_an_url_ends_the_repository() {
        let some = |repo: &str, name: &str| (repo.to_owned(), Some(name.to_owned()));
        assert_eq!(parse("s3://b/p", &[]), ("s3://b/p".into(), None));
        assert_eq!(parse("s3://b/p@dev", &[]), some("s3://b/p", "dev"));
        assert_eq!(parse("s3://b@tags/v1", &[]), some("s3://b", "tags/v1"));
        assert_eq!(parse("s3://b/p@a@b", &[]), some("s3://b/p", "a@b"));
    }
}
