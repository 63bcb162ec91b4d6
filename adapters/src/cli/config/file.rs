//! One file of settings: TOML, of which every key must be known and have a value of its kind.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::options::{Kind, OPTIONS, Opt};
use crate::cli::{CliError, Exit};

/// The table of the sections.
const SECTIONS: &str = "repository";

/// A value that a file gives an option.
#[derive(Debug)]
pub(super) struct Setting {
    /// The repositories that it counts for; all of them if there is none.
    pub(super) section: Option<String>,
    /// The option.
    pub(super) option: &'static Opt,
    /// The value, as the command line would have it.
    pub(super) value: String,
    /// File and line.
    pub(super) origin: String,
}

/// What becomes of a file that this user may not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is an error.
    Refused,
    /// It says nothing.
    PassedOver,
}

/// Reads a file; one that does not exist says nothing.
pub(super) fn read(path: &Path, unreadable: Unreadable) -> Result<Vec<Setting>, CliError> {
    match fs::read_to_string(path) {
        Ok(text) => parse(path, &text),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(Vec::new())
        }
        Err(error)
            if error.kind() == io::ErrorKind::PermissionDenied
                && unreadable == Unreadable::PassedOver =>
        {
            Ok(Vec::new())
        }
        Err(error) => {
            let what = format!("can't read the settings in {}: {error}", path.display());
            Err(CliError::new(Exit::Usage, what, "make it a text file that you may read"))
        }
    }
}

/// The settings in `text`, which is that of the file at `path`.
pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<Setting>, CliError> {
    let file = File { path, text };
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().unwrap_or(0..0);
        file.wrong(&at, error.message(), "write it as TOML: KEY = VALUE, texts in quotes")
    })?;
    let mut settings = Vec::new();
    for (key, value) in table.get_ref() {
        if key.get_ref() != SECTIONS {
            settings.push(file.setting(None, key.span(), key.get_ref(), value)?);
            continue;
        }
        let what = format!("`{SECTIONS}` is a table of sections");
        let remedy = format!("write [{SECTIONS}.\"s3://BUCKET/PREFIX\"], then keys below it");
        let Some(sections) = value.get_ref().as_table() else {
            return Err(file.wrong(&key.span(), &what, &remedy));
        };
        for (prefix, section) in sections {
            let at = prefix.span();
            let Some(section) = section.get_ref().as_table() else {
                return Err(file.wrong(&at, &what, &remedy));
            };
            let prefix = prefix.get_ref();
            if !prefix.contains("://") && !prefix.starts_with('/') {
                let what = format!("`{prefix}` is no repository that is known everywhere");
                return Err(file.wrong(&at, &what, "give s3://BUCKET/PREFIX, or a path from /"));
            }
            for (key, value) in section {
                settings.push(file.setting(Some(prefix), key.span(), key.get_ref(), value)?);
            }
        }
    }
    Ok(settings)
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn setting(
        &self,
        section: Option<&str>,
        at: Range<usize>,
        key: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Setting, CliError> {
        let Some(option) = OPTIONS.iter().find(|option| option.key == key) else {
            let keys: Vec<&str> = OPTIONS.iter().map(|option| option.key).collect();
            let remedy = format!(
                "the keys are {}. Credentials stay where AWS tools keep them",
                keys.join(", ")
            );
            return Err(self.wrong(&at, &format!("there is no key `{key}`"), &remedy));
        };
        let text = match (value.get_ref(), option.kind) {
            (
                DeValue::String(text),
                Kind::Text | Kind::Size | Kind::Part | Kind::Address | Kind::Word(_),
            ) => Some(text.to_string()),
            (DeValue::Integer(number), Kind::Size | Kind::Part) => {
                Some(number.as_str().replace('_', ""))
            }
            (DeValue::Boolean(flag), Kind::Flag) => Some(flag.to_string()),
            _ => None,
        };
        let Some(value) = text.filter(|text| option.kind.takes(text)) else {
            let what =
                format!("`{key}` can't be {}", self.text.get(value.span()).unwrap_or("that"));
            return Err(self.wrong(&at, &what, &format!("give {}", option.kind.words())));
        };
        let section = section.map(|prefix| prefix.trim_end_matches('/').to_owned());
        Ok(Setting { section, option, value, origin: self.place(&at) })
    }

    fn place(&self, at: &Range<usize>) -> String {
        let before = self.text.as_bytes().iter().take(at.start);
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        format!("{}:{line}", self.path.display())
    }

    fn wrong(&self, at: &Range<usize>, what: &str, remedy: &str) -> CliError {
        CliError::new(Exit::Usage, format!("{}: {what}", self.place(at)), remedy)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn refused(text: &str) -> String {
        let error = parse(Path::new("/f"), text).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert!(!error.remedy.is_empty());
        error.what
    }

    #[test]
    fn settings_know_where_they_are_from() {
        let text = "# all\nmemory = 1_000\n\n[repository.\"s3://b/p/\"]\nallow_other = true\n";
        let settings = parse(Path::new("/f"), text).unwrap();
        let told: Vec<_> = settings
            .iter()
            .map(|it| (it.section.as_deref(), it.option.key, it.value.as_str(), it.origin.as_str()))
            .collect();
        let expected =
            [(None, "memory", "1000", "/f:2"), (Some("s3://b/p"), "allow_other", "true", "/f:5")];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_unknown_or_of_another_kind_is_refused_by_file_line_and_key() {
        assert_eq!(refused("\nmemroy = 1"), "/f:2: there is no key `memroy`");
        assert_eq!(
            refused("aws_secret_access_key = ''"),
            "/f:1: there is no key \
                   `aws_secret_access_key`"
        );
        assert_eq!(refused("a = 1\n[repository.'s3://b']\nx = 1"), "/f:1: there is no key `a`");
        assert_eq!(refused("[repository.'s3://b']\nx = 1"), "/f:2: there is no key `x`");
        for (line, value) in [
            ("memory = true", "true"),
            ("memory = \"lots\"", "\"lots\""),
            ("memory = -1", "-1"),
            ("allow_other = \"yes\"", "\"yes\""),
            ("region = 1", "1"),
            ("region = ''", "''"),
            ("metrics = 'here'", "'here'"),
            ("log_format = 'xml'", "'xml'"),
            ("sse = ['AES256']", "['AES256']"),
        ] {
            let key = line.split(' ').next().unwrap();
            assert_eq!(refused(line), format!("/f:1: `{key}` can't be {value}"));
        }
        assert!(refused("memory = ").starts_with("/f:1: "));
        assert!(refused("region = 'a'\nregion = 'b'").starts_with("/f:2: "));
        assert_eq!(refused("repository = 1"), "/f:1: `repository` is a table of sections");
        assert_eq!(refused("repository.x = 1"), "/f:1: `repository` is a table of sections");
        assert!(refused("[repository.mine]\nmemory = 1").contains("`mine` is no repository"));
    }
}
