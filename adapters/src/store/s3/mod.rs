//! A bucket, by the AWS SDK: one request, one outcome.
//!
//! The SDK's own retries are off: what is sent again, and when, is decided above, where it is
//! known whether that does harm. A put is answered as *ambiguous* unless it is certain that it
//! was applied or that it never will be. What the outcome of a request is, stands in [`outcome`].
//!
//! The identity of a body is its ETag, as the server says it. On many servers that is a hash of
//! the body: bodies that are replaced by comparing identities (refs) are never equal.
//!
//! Bodies go with a checksum that the server checks, and whole bodies that are read are checked
//! against the one the server kept.

mod client;
mod connect;
mod expect;
mod facts;
mod gate;
mod outcome;
mod read;

use std::sync::Arc;
use std::time::Instant;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumMode, ServerSideEncryption};
use bytes::Bytes;
use futures::future::BoxFuture;
use vellum_core::shapes::{Condition, Etag, Slice, StoreError, StoreOutcome, StoreRequest};

use super::ObjectStore;
use super::error::OpenError;
use super::keys::check_key;
use super::location::StoreOptions;
use client::Present;
pub(crate) use facts::facts;
use gate::Gate;
use outcome::{Asked, Failure, Keys, failed};

/// A prefix of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct S3Place {
    /// Name of the bucket.
    pub(crate) bucket: String,
    /// What all keys begin with, without the slash that follows it; may be empty.
    pub(crate) prefix: String,
}

/// The store in a bucket.
pub struct S3Store {
    bucket: Arc<Bucket>,
}

struct Bucket {
    client: Present,
    place: S3Place,
    owner: Option<String>,
    sse: Option<Sse>,
    gate: Gate,
    /// URL of the server, if it is not the cloud's own.
    endpoint: Option<String>,
}

/// How what is written is encrypted by the server.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sse {
    /// With keys of the store.
    Aes256,
    /// With a key of the key service.
    Kms(String),
}

impl S3Store {
    /// Prepares to speak to a bucket. Nothing is asked of it yet.
    pub(crate) async fn open(place: S3Place, options: &StoreOptions) -> Result<Self, OpenError> {
        if let Some(url) = &options.endpoint_url
            && !is_server(url)
        {
            return Err(OpenError::Endpoint { url: url.clone() });
        }
        let (client, endpoint) = Present::new(options).await;
        let owner = options.expected_bucket_owner.clone();
        let sse = options.sse.as_deref().map(|sse| match sse {
            "AES256" => Sse::Aes256,
            key => Sse::Kms(key.to_owned()),
        });
        let gate = Gate::new();
        Ok(Self { bucket: Arc::new(Bucket { client, place, owner, sse, gate, endpoint }) })
    }
}

impl ObjectStore for S3Store {
    fn request(&self, request: StoreRequest) -> BoxFuture<'static, StoreOutcome> {
        let bucket = Arc::clone(&self.bucket);
        Box::pin(async move {
            let _permit = bucket.gate.enter().await;
            let (asked_at, client) = (Instant::now(), bucket.client.client());
            let mut done = bucket.perform(&client, request.clone()).await;
            // What had no answer may have been applied: only a refusal is asked again.
            let again = match &done {
                Err(Failure { keys: Keys::Stale, .. }) => bucket.client.renew(asked_at).await,
                Err(Failure { keys: Keys::Missing, .. }) => {
                    bucket.client.renew_again(asked_at).await
                }
                Err(Failure { meaning: StoreError::Unsupported, .. }) => {
                    bucket.client.is_elsewhere(&client)
                }
                Err(_) | Ok(_) => false,
            };
            if again {
                done = bucket.perform(&bucket.client.client(), request).await;
            }
            let done = done.map_err(|failure| failure.meaning);
            bucket.gate.learn(&done);
            done.unwrap_or_else(StoreOutcome::Failed)
        })
    }

    fn to_be_probed(&self) -> Option<String> {
        let S3Place { bucket, prefix } = &self.bucket.place;
        let endpoint = self.bucket.endpoint.as_deref().unwrap_or("aws");
        Some(format!("{endpoint} {bucket} {prefix}"))
    }

    fn window(&self) -> Option<usize> {
        Some(self.bucket.gate.size())
    }
}

impl Bucket {
    async fn perform(
        &self,
        client: &Client,
        request: StoreRequest,
    ) -> Result<StoreOutcome, Failure> {
        match request {
            StoreRequest::Get { key, range, .. } => {
                check_key(&key)?;
                self.get(client, &key, range).await
            }
            StoreRequest::Head { key } => {
                check_key(&key)?;
                self.found(client, &key).await
            }
            StoreRequest::Put { key, body, condition } => {
                check_key(&key)?;
                self.put(client, &key, &body, condition).await
            }
            StoreRequest::List { prefix, after, max } => {
                self.list(client, &prefix, &after, max).await
            }
            StoreRequest::Delete { key } => {
                check_key(&key)?;
                self.delete(client, &key).await
            }
        }
    }

    /// What there is to know of an object without its bytes.
    async fn found(&self, client: &Client, key: &str) -> Result<StoreOutcome, Failure> {
        let name = &self.place.bucket;
        let request = client.head_object().bucket(name).key(self.key(key));
        let request = request.checksum_mode(ChecksumMode::Enabled);
        let sent = request.set_expected_bucket_owner(self.owner.clone()).send().await;
        let answer = sent.map_err(|error| failed(Asked::Read, key, &error))?;
        let len = answer.content_length().ok_or(StoreError::Damaged)?;
        let len = u64::try_from(len).map_err(|_| StoreError::Damaged)?;
        let crc32 = answer.checksum_crc32().and_then(parse_crc32);
        Ok(StoreOutcome::Found { len, crc32, etag: etag_of(answer.e_tag())? })
    }

    async fn put(
        &self,
        client: &Client,
        key: &str,
        body: &[Slice],
        condition: Condition,
    ) -> Result<StoreOutcome, Failure> {
        let name = &self.place.bucket;
        let request = client.put_object().bucket(name).key(self.key(key));
        let request = request.set_expected_bucket_owner(self.owner.clone());
        let request = match &self.sse {
            None => request,
            Some(Sse::Aes256) => request.server_side_encryption(ServerSideEncryption::Aes256),
            Some(Sse::Kms(id)) => {
                request.server_side_encryption(ServerSideEncryption::AwsKms).ssekms_key_id(id)
            }
        };
        let (request, asked) = match condition {
            Condition::Absent => (request.if_none_match("*"), Asked::Create),
            Condition::Matches(etag) => (request.if_match(&*etag), Asked::Replace),
        };
        let sent = request.body(ByteStream::from(joined(body))).send().await;
        match sent {
            Ok(answer) => match answer.e_tag() {
                Some(etag) => Ok(StoreOutcome::Stored { etag: etag.into() }),
                // It is stored, under an identity that only reading it back can tell.
                None => Err(StoreError::Ambiguous.into()),
            },
            Err(error) => Err(failed(asked, key, &error)),
        }
    }

    async fn list(
        &self,
        client: &Client,
        prefix: &str,
        after: &str,
        max: usize,
    ) -> Result<StoreOutcome, Failure> {
        let within = self.key("");
        let mut after = after.to_owned();
        loop {
            let name = &self.place.bucket;
            let mut request = client.list_objects_v2().bucket(name);
            request = request.prefix(format!("{within}{prefix}"));
            request = request.max_keys(i32::try_from(max.min(1000)).unwrap_or(1000));
            if !after.is_empty() {
                request = request.start_after(format!("{within}{after}"));
            }
            let sent = request.set_expected_bucket_owner(self.owner.clone()).send().await;
            let answer = sent.map_err(|error| failed(Asked::Read, prefix, &error))?;
            let found = answer.contents().iter().filter_map(|object| object.key());
            let found: Vec<&str> = found.filter_map(|key| key.strip_prefix(&within)).collect();
            let more = answer.is_truncated().unwrap_or(false);
            let last = found.last().map(|key| (*key).to_owned());
            // What is no key of ours was put there by somebody else.
            let keys: Vec<String> =
                found.iter().filter(|key| check_key(key).is_ok()).map(|&k| k.to_owned()).collect();
            match last {
                Some(last) if more && keys.is_empty() => after = last,
                None if more => return Err(StoreError::Damaged.into()),
                Some(_) | None => return Ok(StoreOutcome::Listed { keys, more }),
            }
        }
    }

    async fn delete(&self, client: &Client, key: &str) -> Result<StoreOutcome, Failure> {
        let name = &self.place.bucket;
        let request = client.delete_object().bucket(name).key(self.key(key));
        match request.set_expected_bucket_owner(self.owner.clone()).send().await {
            Ok(_) => Ok(StoreOutcome::Deleted),
            Err(error) => {
                let error = failed(Asked::Delete, key, &error);
                let is_gone = error.meaning == StoreError::NotFound;
                if is_gone { Ok(StoreOutcome::Deleted) } else { Err(error) }
            }
        }
    }

    /// The key in the bucket.
    fn key(&self, key: &str) -> String {
        match self.place.prefix.as_str() {
            "" => key.to_owned(),
            prefix => format!("{prefix}/{key}"),
        }
    }
}

/// Whether this is the URL of a server. What is wrong with it otherwise shows in every request.
fn is_server(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains([' ', '@', '?', '#']))
}

/// The checksum of a whole body. Those of bodies in parts are of another form, and no help.
fn parse_crc32(text: &str) -> Option<u32> {
    let bytes = aws_smithy_types::base64::decode(text).ok()?;
    bytes.try_into().ok().map(u32::from_be_bytes)
}

/// The identity that an answer gives.
fn etag_of(etag: Option<&str>) -> Result<Etag, StoreError> {
    etag.map(Etag::from).ok_or(StoreError::Damaged)
}

/// A body in one piece: without a copy if it is in one.
fn joined(body: &[Slice]) -> Bytes {
    struct Owned(Slice);
    impl AsRef<[u8]> for Owned {
        fn as_ref(&self) -> &[u8] {
            self.0.as_bytes()
        }
    }
    match body {
        [one] => Bytes::from_owner(Owned(one.clone())),
        several => {
            let parts: Vec<&[u8]> = several.iter().map(Slice::as_bytes).collect();
            Bytes::from(parts.concat())
        }
    }
}
