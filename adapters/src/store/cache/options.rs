//! Where the cache is, and how much it may take.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::cli::parse_size;

/// Bytes that the cache takes at most if nothing is said.
const DEFAULT_BYTES: &str = "10G";
/// Part of the disk that stays free if nothing is said.
const DEFAULT_FREE: &str = "5%";

/// What is kept on disk of what was read from a bucket.
#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[command(next_help_heading = "Cache options")]
pub struct CacheOptions {
    /// Directory of the cache [default: vellum/objects in the user's cache directory]
    #[arg(long, value_name = "DIR", env = "VELLUM_CACHE_DIR")]
    pub cache_dir: Option<PathBuf>,
    /// Most that the cache takes on disk, such as 50G; 0 for no cache
    #[arg(long, value_name = "SIZE", env = "VELLUM_CACHE_SIZE", value_parser = parse_size)]
    #[arg(default_value = DEFAULT_BYTES)]
    pub cache_size: u64,
    /// What the cache leaves free of its disk, such as 20G or 10%
    #[arg(long, value_name = "SIZE|P%", env = "VELLUM_MIN_FREE", default_value = DEFAULT_FREE)]
    pub min_free: MinFree,
}

impl CacheOptions {
    /// The directory of the cache; none if there is to be no cache, or no place for one.
    #[must_use]
    pub fn directory(&self) -> Option<PathBuf> {
        if self.cache_size == 0 {
            return None;
        }
        let chosen = self.cache_dir.as_ref().map(|path| std::path::absolute(path).ok());
        chosen.unwrap_or_else(|| Some(cache_home()?.join("vellum/objects")))
    }

    /// The same with a directory that does not depend on the working directory.
    ///
    /// # Errors
    /// The working directory is gone.
    pub fn absolute(self) -> std::io::Result<Self> {
        let cache_dir = self.cache_dir.map(std::path::absolute).transpose()?;
        Ok(Self { cache_dir, ..self })
    }
}

/// What stays free of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MinFree {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of it.
    Percent(u8),
}

impl MinFree {
    /// In bytes, on a disk of `disk_bytes`.
    pub(super) fn bytes(self, disk_bytes: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => disk_bytes / 100 * u64::from(percent),
        }
    }
}

impl FromStr for MinFree {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(number) = text.strip_suffix('%') else {
            return parse_size(text).map(Self::Bytes);
        };
        match number.trim().parse() {
            Ok(percent @ 0..=99) => Ok(Self::Percent(percent)),
            Ok(_) | Err(_) => Err("give a part from 0% to 99%".to_owned()),
        }
    }
}

impl fmt::Display for MinFree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{bytes}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// Where the user's caches are (XDG Base Directory Specification).
pub(crate) fn cache_home() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_free_is_a_size_or_a_part_of_the_disk() {
        assert_eq!("20G".parse(), Ok(MinFree::Bytes(20 << 30)));
        assert_eq!("7%".parse(), Ok(MinFree::Percent(7)));
        for bad in ["", "%", "100%", "-1%", "x", "5 percent"] {
            assert!(bad.parse::<MinFree>().is_err(), "{bad}");
        }
        assert_eq!(MinFree::Percent(5).bytes(1000), 50);
        assert_eq!(MinFree::Bytes(7).bytes(1000), 7);
    }
}
