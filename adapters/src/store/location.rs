//! Where a store is, and what is needed to reach it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use aws_credential_types::Credentials;
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use serde::{Deserialize, Serialize};

use super::cache::CacheOptions;
use super::error::OpenError;
use super::keys::check_key;
use super::s3::S3Place;

/// Where a store is: a path, or `s3://BUCKET/PREFIX`.
#[derive(Clone, Debug)]
pub struct Location {
    /// As it was given.
    pub address: PathBuf,
    /// What is needed to reach it, if it is not a path.
    pub options: StoreOptions,
    /// What is kept on disk of what is read, if it is not a path; nothing when `None`.
    pub cache: Option<CacheOptions>,
    /// Whether what is written is kept on disk too, and not only what is read.
    pub keeps_written: bool,
    /// Whether nothing is to be asked of it: there is what was kept and seen.
    pub offline: bool,
}

/// How a bucket is reached. What is not said here is found as every AWS tool finds it: in the
/// environment, then in the profile, then from the host.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[command(next_help_heading = "Bucket options")]
pub struct StoreOptions {
    /// URL of an S3-compatible server, such as https://minio.example:9000
    #[arg(long, value_name = "URL", env = "VELLUM_ENDPOINT_URL")]
    pub endpoint_url: Option<String>,
    /// Region of the bucket
    #[arg(long, value_name = "NAME", env = "VELLUM_REGION")]
    pub region: Option<String>,
    /// Profile of the AWS configuration files
    #[arg(long, value_name = "NAME", env = "VELLUM_PROFILE")]
    pub profile: Option<String>,
    /// Name the bucket in the path of URLs, not in the host name
    #[arg(long, env = "VELLUM_PATH_STYLE", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_value = "false")]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    pub path_style: bool,
    /// Send requests without credentials, to read a public bucket
    #[arg(long, env = "VELLUM_NO_SIGN_REQUEST", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_value = "false")]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    pub no_sign_request: bool,
    /// Refuse a bucket that another account owns
    #[arg(long, value_name = "ACCOUNT", env = "VELLUM_EXPECTED_BUCKET_OWNER")]
    pub expected_bucket_owner: Option<String>,
    /// Ask for this server-side encryption of what is written: AES256, or the id of a KMS key
    #[arg(long, value_name = "AES256|KEY", env = "VELLUM_SSE")]
    pub sse: Option<String>,
    /// Credentials of a program that has its own; none are looked for then.
    #[arg(skip)]
    #[serde(skip)]
    pub credentials: Option<Credentials>,
}

impl StoreOptions {
    /// The same, with what the environment of this process says of where a bucket is: for a process
    /// that has another one. Credentials are left to it.
    #[must_use]
    pub fn with_environment(self) -> Self {
        self.with(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn with(self, variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let endpoint = || variable("AWS_ENDPOINT_URL_S3").or_else(|| variable("AWS_ENDPOINT_URL"));
        let region = || variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
        Self {
            endpoint_url: self.endpoint_url.or_else(endpoint),
            region: self.region.or_else(region),
            profile: self.profile.or_else(|| variable("AWS_PROFILE")),
            ..self
        }
    }
}

/// What an address means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meant {
    /// A directory.
    Directory,
    /// A prefix of a bucket.
    Bucket(S3Place),
}

impl Location {
    /// A place with its options.
    #[must_use]
    pub fn new(address: &Path, options: StoreOptions) -> Self {
        let address = address.to_path_buf();
        Self { address, options, cache: None, keeps_written: true, offline: false }
    }

    /// The same place, of which is kept on disk what is read.
    #[must_use]
    pub fn cached(self, cache: &CacheOptions) -> Self {
        Self { cache: Some(cache.clone()), ..self }
    }

    /// The same place, of which what is written is not kept on disk.
    #[must_use]
    pub fn without_written(self) -> Self {
        Self { keeps_written: false, ..self }
    }

    /// What the address means.
    ///
    /// # Errors
    /// It is a URL that no store serves, or that names no bucket.
    pub(crate) fn meant(&self) -> Result<Meant, OpenError> {
        let Some((scheme, rest)) = url_parts(self.address.as_os_str()) else {
            return Ok(Meant::Directory);
        };
        let address = || self.address.display().to_string();
        if scheme != "s3" {
            return Err(OpenError::Scheme { address: address(), scheme: scheme.to_owned() });
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        let is_sound = is_bucket(bucket) && (prefix.is_empty() || check_key(prefix).is_ok());
        if !is_sound {
            return Err(OpenError::Bucket { address: address() });
        }
        Ok(Meant::Bucket(S3Place { bucket: bucket.to_owned(), prefix: prefix.to_owned() }))
    }

    /// The same place by a path that does not depend on the working directory.
    ///
    /// # Errors
    /// The working directory is gone.
    pub fn absolute(self) -> std::io::Result<Self> {
        let cache = self.cache.map(CacheOptions::absolute).transpose()?;
        if url_parts(self.address.as_os_str()).is_some() {
            return Ok(Self { cache, ..self });
        }
        Ok(Self { address: std::path::absolute(&self.address)?, cache, ..self })
    }
}

impl<P: AsRef<Path> + ?Sized> From<&P> for Location {
    fn from(path: &P) -> Self {
        Self::new(path.as_ref(), StoreOptions::default())
    }
}

/// Scheme and rest of a URL such as `s3://bucket/prefix`; none for a path.
pub(crate) fn url_parts(address: &OsStr) -> Option<(&str, &str)> {
    let (scheme, rest) = address.to_str()?.split_once("://")?;
    let plain = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric());
    plain.then_some((scheme, rest))
}

/// What every S3-compatible store takes for the name of a bucket, and access points too.
fn is_bucket(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
    (1..=255).contains(&name.len()) && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_goes_before_the_environment() {
        let variable = |name: &str| match name {
            "AWS_ENDPOINT_URL" => Some("http://there".to_owned()),
            "AWS_REGION" => Some("eu-1".to_owned()),
            _ => None,
        };
        let said = StoreOptions { region: Some("us-1".to_owned()), ..StoreOptions::default() };
        let expected = StoreOptions {
            endpoint_url: Some("http://there".to_owned()),
            region: Some("us-1".to_owned()),
            ..StoreOptions::default()
        };
        assert_eq!(said.with(&variable), expected);
    }
}
