//! The options that files may set.

use std::net::SocketAddr;

use crate::cli::parse_size;
use crate::store::MinFree;

/// An option that a file may set: the argument of the same name, with its environment variable.
#[derive(Debug)]
pub(super) struct Opt {
    /// Its key in a file, which is the name of the argument.
    pub(super) key: &'static str,
    /// The environment variable that goes before files.
    pub(super) env: &'static str,
    /// What it takes.
    pub(super) kind: Kind,
    /// What counts if nothing is said, as it would be written; none if that is found elsewhere.
    pub(super) default: Option<&'static str>,
}

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Size,
    Part,
    Flag,
    Address,
    Word(&'static [&'static str]),
}

const fn option(
    key: &'static str,
    env: &'static str,
    kind: Kind,
    default: Option<&'static str>,
) -> Opt {
    Opt { key, env, kind, default }
}

/// All of them, in the order in which they are shown.
pub(super) const OPTIONS: [Opt; 16] = [
    option("endpoint_url", "VELLUM_ENDPOINT_URL", Kind::Text, None),
    option("region", "VELLUM_REGION", Kind::Text, None),
    option("profile", "VELLUM_PROFILE", Kind::Text, None),
    option("path_style", "VELLUM_PATH_STYLE", Kind::Flag, Some("false")),
    option("no_sign_request", "VELLUM_NO_SIGN_REQUEST", Kind::Flag, Some("false")),
    option("expected_bucket_owner", "VELLUM_EXPECTED_BUCKET_OWNER", Kind::Text, None),
    option("sse", "VELLUM_SSE", Kind::Text, None),
    option("memory", "VELLUM_MEMORY", Kind::Size, Some("1G")),
    option("allow_other", "VELLUM_ALLOW_OTHER", Kind::Flag, Some("false")),
    option("cached_writes", "VELLUM_CACHED_WRITES", Kind::Flag, Some("false")),
    option("cache_dir", "VELLUM_CACHE_DIR", Kind::Text, None),
    option("cache_size", "VELLUM_CACHE_SIZE", Kind::Size, Some("10G")),
    option("min_free", "VELLUM_MIN_FREE", Kind::Part, Some("5%")),
    option("metrics", "VELLUM_METRICS", Kind::Address, None),
    option("author", "VELLUM_AUTHOR", Kind::Text, None),
    option("log_format", "VELLUM_LOG_FORMAT", Kind::Word(&["text", "json"]), Some("text")),
];

impl Kind {
    /// What it takes, in words.
    pub(super) fn words(self) -> String {
        match self {
            Self::Text => "a text in quotes".to_owned(),
            Self::Size => "a number of bytes, or a size in quotes, such as \"4G\"".to_owned(),
            Self::Part => "a size or a part in quotes, such as \"20G\" or \"5%\"".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Address => "an address in quotes, such as \"127.0.0.1:9464\"".to_owned(),
            Self::Word(words) => format!("\"{}\"", words.join("\" or \"")),
        }
    }

    /// Whether it takes this text.
    pub(super) fn takes(self, text: &str) -> bool {
        match self {
            Self::Text => !text.is_empty(),
            Self::Size => parse_size(text).is_ok(),
            Self::Part => text.parse::<MinFree>().is_ok(),
            Self::Flag => flag(text).is_some(),
            Self::Address => text.parse::<SocketAddr>().is_ok(),
            Self::Word(words) => words.contains(&text),
        }
    }
}

/// A flag as the environment has it.
pub(super) fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "y" | "on" | "t" => Some(true),
        "false" | "0" | "no" | "n" | "off" | "f" => Some(false),
        _ => None,
    }
}
