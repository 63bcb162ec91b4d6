//! The header of a repository: `vellum.json`, written once.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::bounds::{CHUNK_MAX_BYTES, CHUNK_MIN_BYTES, HEADER_MAX_BYTES};
use crate::words::Time;

/// Version of the format that this program writes and reads. Nothing that was released wrote the
/// one before.
pub const FORMAT_VERSION: u32 = 2;

const HASH: &str = "blake3-256";
const READ_FEATURES: [&str; 0] = [];
const WRITE_FEATURES: [&str; 1] = [SINGLE_WRITER];

/// The repository lies in a store that does not keep the conditions of puts, and whoever made it
/// promised that no two write to it at once.
const SINGLE_WRITER: &str = "single-writer";

/// What is fixed for the life of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Version of the format.
    pub version: u32,
    /// Features that a program must know to read.
    pub read_features: Vec<String>,
    /// Features that a program must know to write.
    pub write_features: Vec<String>,
    /// Bytes of a chunk: a power of two, 64 KiB to 16 MiB.
    pub chunk_bytes: u32,
    /// When the repository was made.
    pub created: Time,
}

/// What this program may do with a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    ReadWrite,
    /// Only read it: this feature, needed to write, is not known.
    ReadOnly {
        /// The unknown feature.
        feature: String,
    },
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Json {
    vellum: u32,
    read_features: Vec<String>,
    write_features: Vec<String>,
    hash: String,
    chunk_bytes: u32,
    created_ns: i64,
}

impl Header {
    /// The header of a new repository.
    #[must_use]
    pub fn new(chunk_bytes: u32, created: Time) -> Self {
        Self {
            version: FORMAT_VERSION,
            read_features: Vec::new(),
            write_features: Vec::new(),
            chunk_bytes,
            created,
        }
    }

    /// The same, of a repository that only one mount or import at a time writes to.
    #[must_use]
    pub fn with_single_writer(mut self) -> Self {
        self.write_features.push(SINGLE_WRITER.to_owned());
        self
    }

    /// Whether only one at a time writes to the repository, so that conditions need not be kept.
    #[must_use]
    pub fn is_single_writer(&self) -> bool {
        self.write_features.iter().any(|feature| feature == SINGLE_WRITER)
    }

    /// The bytes of `vellum.json`.
    ///
    /// # Errors
    /// The chunk size is not allowed.
    pub fn encode(&self) -> Result<Vec<u8>, HeaderError> {
        check_chunk_bytes(self.chunk_bytes)?;
        let json = Json {
            vellum: self.version,
            read_features: self.read_features.clone(),
            write_features: self.write_features.clone(),
            hash: HASH.to_owned(),
            chunk_bytes: self.chunk_bytes,
            created_ns: self.created.ns,
        };
        let mut bytes = serde_json::to_vec_pretty(&json).map_err(|_| HeaderError::NotAHeader)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The header that these bytes are.
    ///
    /// # Errors
    /// They are no header, or that of a repository which this program can't read.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        if bytes.len() > HEADER_MAX_BYTES {
            return Err(HeaderError::NotAHeader);
        }
        let value: Value = serde_json::from_slice(bytes).map_err(|_| HeaderError::NotAHeader)?;
        let version = value.get("vellum").and_then(Value::as_u64).ok_or(HeaderError::NotAHeader)?;
        if version > u64::from(FORMAT_VERSION) {
            return Err(HeaderError::NewerFormat { format: version });
        }
        if version == 0 {
            return Err(HeaderError::NotAHeader);
        }
        if version < u64::from(FORMAT_VERSION) {
            return Err(HeaderError::OlderFormat { format: version });
        }
        let json: Json = serde_json::from_value(value).map_err(|_| HeaderError::NotAHeader)?;
        if let Some(feature) = unknown(&json.read_features, &READ_FEATURES) {
            return Err(HeaderError::NewerFeature { feature });
        }
        if json.hash != HASH {
            return Err(HeaderError::NewerFeature { feature: format!("hash {}", json.hash) });
        }
        check_chunk_bytes(json.chunk_bytes)?;
        Ok(Self {
            version: json.vellum,
            read_features: json.read_features,
            write_features: json.write_features,
            chunk_bytes: json.chunk_bytes,
            created: Time { ns: json.created_ns },
        })
    }

    /// Whether this program may write to the repository.
    #[must_use]
    pub fn access(&self) -> Access {
        match unknown(&self.write_features, &WRITE_FEATURES) {
            Some(feature) => Access::ReadOnly { feature },
            None => Access::ReadWrite,
        }
    }
}

fn unknown(features: &[String], known: &[&str]) -> Option<String> {
    features.iter().find(|feature| !known.contains(&feature.as_str())).cloned()
}

/// Whether a repository may have chunks of this size.
///
/// # Errors
/// It is no power of two, or out of bounds.
pub fn check_chunk_bytes(chunk_bytes: u32) -> Result<(), HeaderError> {
    let in_bounds = (CHUNK_MIN_BYTES..=CHUNK_MAX_BYTES).contains(&chunk_bytes);
    if in_bounds && chunk_bytes.is_power_of_two() {
        Ok(())
    } else {
        Err(HeaderError::ChunkSize { chunk_bytes })
    }
}

/// Why a header can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// It is not the header of a repository.
    NotAHeader,
    /// A later version of the format.
    NewerFormat {
        /// The version.
        format: u64,
    },
    /// A version of the format that no released program wrote.
    OlderFormat {
        /// The version.
        format: u64,
    },
    /// A feature that this program does not know, and must know to read.
    NewerFeature {
        /// The feature.
        feature: String,
    },
    /// A chunk size that no repository may have.
    ChunkSize {
        /// The size.
        chunk_bytes: u32,
    },
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAHeader => write!(f, "`vellum.json` is not the header of a repository"),
            Self::NewerFormat { format } => write!(
                f,
                "made by a newer Vellum (format {format}; this program reads up to \
                 {FORMAT_VERSION}): upgrade"
            ),
            Self::OlderFormat { format } => write!(
                f,
                "made by a Vellum before its first release (format {format}; this program reads \
                 {FORMAT_VERSION}): export it with the program that made it, and import it anew"
            ),
            Self::NewerFeature { feature } => write!(
                f,
                "made by a newer Vellum (it uses `{}`, which this program does not know): upgrade",
                feature.escape_debug()
            ),
            Self::ChunkSize { chunk_bytes } => write!(
                f,
                "a chunk size of {chunk_bytes} bytes is not possible: \
                 use a power of two from {CHUNK_MIN_BYTES} to {CHUNK_MAX_BYTES}"
            ),
        }
    }
}

impl Error for HeaderError {}
