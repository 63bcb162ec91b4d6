//! The operations that a repository needs, as S3 has them. Every other one is answered 501.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use s3s::dto::*;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use vellum_sim::store::Refusal;

use super::access::OWNER;
use super::state::{Bucket, Object as Held, Shared, Wanted};
use super::sums;

/// Most keys of a page, as on S3.
const PAGE_MAX: usize = 1000;
/// Longest body of a put, as on S3.
const BODY_MAX_BYTES: usize = 5 << 30;
/// What a continuation token begins with; the last key follows in hexadecimal digits.
const TOKEN: &str = "token-";

pub(super) struct Service {
    pub(super) shared: Arc<Shared>,
}

impl Service {
    fn in_bucket<T>(
        &self,
        name: &str,
        owner: Option<&String>,
        work: impl FnOnce(&mut Bucket) -> S3Result<T>,
    ) -> S3Result<T> {
        check_owner(owner)?;
        let mut state = self.shared.state.lock();
        work(state.buckets.get_mut(name).ok_or_else(no_bucket)?)
    }
}

fn no_bucket() -> S3Error {
    s3_error!(NoSuchBucket, "The specified bucket does not exist")
}

fn check_owner(expected: Option<&String>) -> S3Result<()> {
    if expected.is_some_and(|owner| owner != OWNER) {
        return Err(s3_error!(AccessDenied, "Access Denied"));
    }
    Ok(())
}

fn unknown(what: bool) -> S3Result<()> {
    if what {
        let why = "A header you provided implies functionality that is not implemented";
        return Err(s3_error!(NotImplemented, "{why}"));
    }
    Ok(())
}

fn refused(refusal: Refusal) -> S3Error {
    match refusal {
        Refusal::Exists | Refusal::Differs => failed(),
        Refusal::Gone => s3_error!(NoSuchKey, "The specified key does not exist."),
    }
}

fn failed() -> S3Error {
    let why = "At least one of the pre-conditions you specified did not hold";
    s3_error!(PreconditionFailed, "{why}")
}

fn wanted(
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
) -> S3Result<Wanted> {
    match (if_match, if_none_match) {
        (None, None) => Ok(Wanted::Anything),
        (None, Some(ETagCondition::Any)) => Ok(Wanted::Absent),
        (Some(ETagCondition::ETag(ETag::Strong(etag))), None) => Ok(Wanted::Identity(etag)),
        // As on S3: no put knows other conditions.
        _ => unknown(true).map(|()| Wanted::Anything),
    }
}

async fn collect(body: Option<StreamingBlob>, announced: Option<i64>) -> S3Result<Vec<u8>> {
    let Some(body) = body else { return Ok(Vec::new()) };
    let add = |mut all: Vec<u8>, part: Bytes| async move {
        if all.len() + part.len() > BODY_MAX_BYTES {
            return Err("too long".into());
        }
        all.extend_from_slice(&part);
        Ok(all)
    };
    let all = body.try_fold(Vec::new(), add).await.map_err(|error| {
        if error.to_string().contains("Sha256Mismatch") {
            let why = "The provided 'x-amz-content-sha256' header does not match";
            return bad_request("XAmzContentSHA256Mismatch", why);
        }
        s3_error!(IncompleteBody, "the body can't be read: {error}")
    })?;
    if announced.is_some_and(|len| len != 0 && len as u64 != all.len() as u64) {
        return Err(s3_error!(IncompleteBody, "the body is not as long as announced"));
    }
    Ok(all)
}

/// A 400 with a code that `s3s` does not know.
pub(super) fn bad_request(code: &'static str, why: &'static str) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), why);
    error.set_status_code(hyper::StatusCode::BAD_REQUEST);
    error
}

/// An object, if what a reader asks of it holds.
fn held(
    bucket: &Bucket,
    key: &str,
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
) -> S3Result<Held> {
    let refusal = s3_error!(NoSuchKey, "The specified key does not exist.");
    let held = bucket.read(key).ok_or(refusal)?;
    let same = |condition: ETagCondition| match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(etag) => etag.value() == held.etag,
    };
    if if_match.is_some_and(|condition| !same(condition)) {
        return Err(failed());
    }
    if if_none_match.is_some_and(same) {
        return Err(s3_error!(NotModified, "Not Modified"));
    }
    Ok(held)
}

/// The part of a body of this length that is asked for, and how it is told.
fn part(range: Option<Range>, len: u64) -> S3Result<(std::ops::Range<usize>, Option<String>)> {
    let Some(range) = range else { return Ok((0..len as usize, None)) };
    let range = range
        .check(len)
        .map_err(|_| s3_error!(InvalidRange, "The requested range is not satisfiable"))?;
    let told = format!("bytes {}-{}/{len}", range.start, range.end - 1);
    Ok((range.start as usize..range.end as usize, Some(told)))
}

fn stream(bytes: Vec<u8>) -> StreamingBlob {
    StreamingBlob::from(s3s::Body::from(bytes))
}

fn token_of(key: &str) -> String {
    key.bytes().fold(TOKEN.to_owned(), |token, byte| format!("{token}{byte:02x}"))
}

fn key_of(token: &str) -> Option<String> {
    let digits = token.strip_prefix(TOKEN)?.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    String::from_utf8(digits.chunks(2).map(byte).collect::<Option<_>>()?).ok()
}

#[async_trait]
impl S3 for Service {
    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let S3Request { input, headers, trailing_headers, .. } = request;
        unknown(input.write_offset_bytes.is_some() || input.sse_customer_key.is_some())?;
        let (bucket, owner) = (&input.bucket, input.expected_bucket_owner.as_ref());
        self.in_bucket(bucket, owner, |_| Ok(()))?;
        let wanted = wanted(input.if_match, input.if_none_match)?;
        let body = collect(input.body, input.content_length).await?;
        let algorithm = sums::verify(&body, &headers, trailing_headers.as_ref())?;
        let put = self.shared.put(bucket, &input.key, body, &wanted, algorithm).await;
        let put = put.ok_or_else(no_bucket)?.map_err(refused)?;
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(ETag::Strong(put.etag)),
            checksum_crc32: put.sum.checksum_crc32,
            checksum_crc32c: put.sum.checksum_crc32c,
            checksum_crc64nvme: put.sum.checksum_crc64nvme,
            checksum_sha1: put.sum.checksum_sha1,
            checksum_sha256: put.sum.checksum_sha256,
            checksum_type: put.sum.checksum_type,
            ..PutObjectOutput::default()
        }))
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        unknown(input.if_modified_since.is_some() || input.if_unmodified_since.is_some())?;
        unknown(input.version_id.is_some() || input.part_number.is_some())?;
        let held =
            self.in_bucket(&input.bucket, input.expected_bucket_owner.as_ref(), |bucket| {
                held(bucket, &input.key, input.if_match, input.if_none_match)
            })?;
        let (range, content_range) = part(input.range, held.body.len() as u64)?;
        // A part has no checksum of its own.
        let enabled = input.checksum_mode.is_some_and(|mode| mode.as_str() == "ENABLED");
        let sum = held.told.sum;
        let sum = if enabled && content_range.is_none() { sum } else { Checksum::default() };
        let body = held.body[range].to_vec();
        Ok(S3Response::new(GetObjectOutput {
            accept_ranges: Some("bytes".into()),
            content_length: Some(body.len() as i64),
            body: Some(stream(body)),
            content_range,
            e_tag: Some(ETag::Strong(held.etag)),
            last_modified: Some(held.told.modified.into()),
            checksum_crc32: sum.checksum_crc32,
            checksum_crc32c: sum.checksum_crc32c,
            checksum_crc64nvme: sum.checksum_crc64nvme,
            checksum_sha1: sum.checksum_sha1,
            checksum_sha256: sum.checksum_sha256,
            checksum_type: sum.checksum_type,
            ..GetObjectOutput::default()
        }))
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        unknown(input.if_modified_since.is_some() || input.if_unmodified_since.is_some())?;
        unknown(input.version_id.is_some() || input.part_number.is_some())?;
        unknown(input.range.is_some())?;
        let held =
            self.in_bucket(&input.bucket, input.expected_bucket_owner.as_ref(), |bucket| {
                held(bucket, &input.key, input.if_match, input.if_none_match)
            })?;
        let enabled = input.checksum_mode.is_some_and(|mode| mode.as_str() == "ENABLED");
        let sum = if enabled { held.told.sum } else { Checksum::default() };
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".into()),
            content_length: Some(held.body.len() as i64),
            e_tag: Some(ETag::Strong(held.etag)),
            last_modified: Some(held.told.modified.into()),
            checksum_crc32: sum.checksum_crc32,
            checksum_crc32c: sum.checksum_crc32c,
            checksum_crc64nvme: sum.checksum_crc64nvme,
            checksum_sha1: sum.checksum_sha1,
            checksum_sha256: sum.checksum_sha256,
            checksum_type: sum.checksum_type,
            ..HeadObjectOutput::default()
        }))
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = request.input;
        unknown(input.version_id.is_some() || input.if_match.is_some())?;
        self.in_bucket(&input.bucket, input.expected_bucket_owner.as_ref(), |bucket| {
            bucket.remove(&input.key);
            Ok(S3Response::new(DeleteObjectOutput::default()))
        })
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        unknown(input.delimiter.is_some() || input.encoding_type.is_some())?;
        let max = usize::try_from(input.max_keys.unwrap_or(PAGE_MAX as i32))
            .map_err(|_| s3_error!(InvalidArgument, "max-keys"))?
            .min(PAGE_MAX);
        let after = match &input.continuation_token {
            Some(token) => key_of(token).ok_or_else(|| {
                s3_error!(InvalidArgument, "The continuation token provided is incorrect")
            })?,
            None => input.start_after.clone().unwrap_or_default(),
        };
        let prefix = input.prefix.clone().unwrap_or_default();
        self.in_bucket(&input.bucket, input.expected_bucket_owner.as_ref(), |bucket| {
            let (keys, more) = bucket.objects.page(&prefix, &after, max);
            let more = more && max > 0;
            let object = |key: &String| {
                let held = bucket.read(key)?;
                Some(Object {
                    key: Some(key.clone()),
                    size: Some(held.body.len() as i64),
                    e_tag: Some(ETag::Strong(held.etag)),
                    last_modified: Some(held.told.modified.into()),
                    ..Object::default()
                })
            };
            Ok(S3Response::new(ListObjectsV2Output {
                name: Some(input.bucket.clone()),
                prefix: input.prefix.clone(),
                max_keys: Some(max as i32),
                key_count: Some(keys.len() as i32),
                is_truncated: Some(more),
                continuation_token: input.continuation_token.clone(),
                next_continuation_token: keys.last().filter(|_| more).map(|key| token_of(key)),
                start_after: input.start_after.clone(),
                contents: Some(keys.iter().filter_map(object).collect()),
                ..ListObjectsV2Output::default()
            }))
        })
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        let input = request.input;
        self.in_bucket(&input.bucket, input.expected_bucket_owner.as_ref(), |_| {
            Ok(S3Response::new(HeadBucketOutput::default()))
        })
    }

    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let name = request.input.bucket;
        if !self.shared.create_bucket(&name) {
            let why = "Your previous request to create the named bucket succeeded";
            return Err(s3_error!(BucketAlreadyOwnedByYou, "{why}"));
        }
        let location = Some(format!("/{name}"));
        let output = CreateBucketOutput { location };
        Ok(S3Response::new(output))
    }
}
