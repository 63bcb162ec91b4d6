//! A client made of the AWS SDK, and what it is told.

use std::fmt::Debug;
use std::ops::Range;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{Config, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use futures::future::{BoxFuture, FutureExt, join_all};
use vellum_core::shapes::{Condition, StoreError, StoreOutcome, StoreRequest};
use vellum_sim::store::contract::Check;
use vellum_tests_real::s3::{BUCKET, Credential, OWNER_KEYS};

/// A client that tries once.
pub(crate) fn client(endpoint: &str, keys: Credential) -> Client {
    let http = aws_smithy_http_client::Builder::new().build_http();
    let config = Config::builder()
        .behavior_version_latest()
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .credentials_provider(Credentials::new(keys.id, keys.secret, None, None, "test"))
        .http_client(http)
        .retry_config(RetryConfig::disabled());
    Client::from_conf(config.build())
}

/// Runs a test's future on a runtime of its own.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    runtime().block_on(future)
}

fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap()
}

/// Status and error code of a refusal. Status 0: there was no answer, or none that makes sense.
pub(crate) type Told = (u16, String);

pub(crate) fn refused<T: Debug, E: ProvideErrorMetadata + Debug>(
    answer: Result<T, SdkError<E>>,
) -> Told {
    told(answer.expect_err("it was to be refused"))
}

fn told<E: ProvideErrorMetadata + Debug>(error: SdkError<E>) -> Told {
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    (status, error.code().unwrap_or_default().to_owned())
}

/// What is expected of [`refused`].
pub(crate) fn is(status: u16, code: &str) -> Told {
    (status, code.to_owned())
}

/// Puts under an optional condition, and answers the identity.
pub(crate) async fn put(client: &Client, key: &str, body: &[u8]) -> String {
    let put = client.put_object().bucket(BUCKET).key(key).body(body.to_vec().into());
    put.send().await.unwrap().e_tag.unwrap()
}

/// Creates, and answers the identity.
pub(crate) async fn create(client: &Client, key: &str, body: &[u8]) -> Result<String, Told> {
    let put = client.put_object().bucket(BUCKET).key(key).body(body.to_vec().into());
    let answer = put.if_none_match("*").send().await;
    answer.map(|put| put.e_tag.unwrap()).map_err(told)
}

/// Replaces the body that has this identity.
pub(crate) async fn replace(
    client: &Client,
    key: &str,
    body: &[u8],
    etag: &str,
) -> Result<String, Told> {
    let put = client.put_object().bucket(BUCKET).key(key).body(body.to_vec().into());
    let answer = put.if_match(etag).send().await;
    answer.map(|put| put.e_tag.unwrap()).map_err(told)
}

/// The bytes of an object; also an answer whose body does not come whole is refused.
pub(crate) async fn get(client: &Client, key: &str) -> Result<Vec<u8>, Told> {
    let answer = client.get_object().bucket(BUCKET).key(key).send().await.map_err(told)?;
    collected(answer.body).await
}

async fn collected(body: ByteStream) -> Result<Vec<u8>, Told> {
    let body = body.collect().await.map_err(|error| (0, format!("{error:?}")))?;
    Ok(body.to_vec())
}

/// Has a server checked by requests as a store sends them; keys lie below `prefix`, where nothing
/// is. It is no adapter: it knows what the suite needs.
pub(crate) fn keeps(endpoint: &str, prefix: &str, check: Check) {
    let runtime = runtime();
    let client = client(endpoint, OWNER_KEYS);
    check(&mut |requests: Vec<StoreRequest>| {
        let sent = requests.into_iter().map(|request| {
            let (client, prefix) = (client.clone(), prefix.to_owned());
            send(client, prefix, request)
        });
        runtime.block_on(join_all(sent))
    });
}

fn send(client: Client, prefix: String, request: StoreRequest) -> BoxFuture<'static, StoreOutcome> {
    async move { perform(&client, &prefix, request).await.unwrap_or_else(StoreOutcome::Failed) }
        .boxed()
}

async fn perform(
    client: &Client,
    prefix: &str,
    request: StoreRequest,
) -> Result<StoreOutcome, StoreError> {
    let full = |key: &str| {
        let fits = |part: &str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            !part.is_empty()
                && !part.starts_with('.')
                && part.len() < 256
                && part.bytes().all(plain)
        };
        let sound = key.split('/').all(fits);
        if sound { Ok(format!("{prefix}{key}")) } else { Err(StoreError::Unsupported) }
    };
    match request {
        StoreRequest::Get { key, range, .. } => get_part(client, &full(&key)?, range).await,
        StoreRequest::Head { key } => {
            let head = client.head_object().bucket(BUCKET).key(full(&key)?);
            let head = head.checksum_mode(aws_sdk_s3::types::ChecksumMode::Enabled);
            let head = head.send().await.map_err(|error| meaning(told(error)))?;
            let len = head.content_length.unwrap() as u64;
            let crc32 = head.checksum_crc32.map(|sum| {
                let bytes = base64_simd::STANDARD.decode_to_vec(sum).unwrap();
                u32::from_be_bytes(bytes.try_into().unwrap())
            });
            Ok(StoreOutcome::Found { len, crc32, etag: head.e_tag.unwrap().into() })
        }
        StoreRequest::Put { key, body, condition } => {
            let body: Vec<u8> = body.iter().flat_map(|slice| slice.as_bytes()).copied().collect();
            let put = client.put_object().bucket(BUCKET).key(full(&key)?).body(body.into());
            let (put, failed) = match condition {
                Condition::Absent => (put.if_none_match("*"), StoreError::Exists),
                Condition::Matches(etag) => (put.if_match(&*etag), StoreError::Mismatch),
            };
            match put.send().await.map_err(told) {
                Ok(put) => Ok(StoreOutcome::Stored { etag: put.e_tag.unwrap().into() }),
                Err((412 | 404, _)) => Err(failed),
                Err(told) => Err(meaning(told)),
            }
        }
        StoreRequest::List { prefix: below, after, max } => {
            let list = client.list_objects_v2().bucket(BUCKET).max_keys(max as i32);
            let after = if after.is_empty() { None } else { Some(format!("{prefix}{after}")) };
            let list = list.prefix(format!("{prefix}{below}")).set_start_after(after);
            let list = list.send().await.map_err(|error| meaning(told(error)))?;
            let keys = list.contents().iter().map(|object| object.key().unwrap());
            let keys = keys.map(|key| key.strip_prefix(prefix).unwrap().to_owned()).collect();
            Ok(StoreOutcome::Listed { keys, more: list.is_truncated.unwrap() })
        }
        StoreRequest::Delete { key } => {
            let delete = client.delete_object().bucket(BUCKET).key(full(&key)?);
            delete.send().await.map_err(|error| meaning(told(error)))?;
            Ok(StoreOutcome::Deleted)
        }
    }
}

async fn get_part(
    client: &Client,
    key: &str,
    range: Option<Range<u64>>,
) -> Result<StoreOutcome, StoreError> {
    // HTTP knows no empty range, and S3 none that lies past the end.
    if range.as_ref().is_some_and(Range::is_empty) {
        return empty(client, key).await;
    }
    let range = range.map(|it| format!("bytes={}-{}", it.start, (it.end - 1).min(1 << 60)));
    let get = client.get_object().bucket(BUCKET).key(key).set_range(range);
    match get.send().await.map_err(told) {
        Ok(got) => {
            let etag = got.e_tag.unwrap().into();
            let body = collected(got.body).await.map_err(|_| StoreError::Damaged)?;
            Ok(StoreOutcome::Got { body: body.into(), etag })
        }
        Err((416, _)) => empty(client, key).await,
        Err(told) => Err(meaning(told)),
    }
}

/// No bytes of an object that is there.
async fn empty(client: &Client, key: &str) -> Result<StoreOutcome, StoreError> {
    let head = client.head_object().bucket(BUCKET).key(key).send().await;
    let etag = head.map_err(|error| meaning(told(error)))?.e_tag.unwrap().into();
    Ok(StoreOutcome::Got { body: Vec::new().into(), etag })
}

fn meaning(told: Told) -> StoreError {
    match told.0 {
        404 => StoreError::NotFound,
        403 => StoreError::Denied,
        503 => StoreError::Throttled,
        _ => panic!("{told:?}"),
    }
}
