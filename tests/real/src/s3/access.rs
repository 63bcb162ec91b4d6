//! Who may do what.

use async_trait::async_trait;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};

/// The bucket that is there from the start.
pub const BUCKET: &str = "vellum-test";

/// The account that owns all buckets, as `x-amz-expected-bucket-owner` has it.
pub const OWNER: &str = "111122223333";

/// An access key and its secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Access key id.
    pub id: &'static str,
    /// Secret access key.
    pub secret: &'static str,
}

/// May do everything.
pub const OWNER_KEYS: Credential = Credential { id: "TESTOWNER", secret: "test-secret-of-owner" };
/// May get, head and list.
pub const READER_KEYS: Credential =
    Credential { id: "TESTREADER", secret: "test-secret-of-reader" };
/// May also put objects.
pub const WRITER_KEYS: Credential =
    Credential { id: "TESTWRITER", secret: "test-secret-of-writer" };

const ALL_KEYS: [Credential; 3] = [OWNER_KEYS, READER_KEYS, WRITER_KEYS];

/// What a reader may do.
const READING: [&str; 4] = ["GetObject", "HeadObject", "ListObjectsV2", "HeadBucket"];
/// What a writer may do beside.
const WRITING: [&str; 1] = ["PutObject"];

pub(super) struct Auth;

#[async_trait]
impl S3Auth for Auth {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let known = ALL_KEYS.iter().find(|credential| credential.id == access_key);
        known.map(|credential| credential.secret.into()).ok_or_else(|| {
            s3_error!(InvalidAccessKeyId, "The access key Id you provided does not exist.")
        })
    }
}

pub(super) struct Access;

#[async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let operation = cx.s3_op().name();
        let who = cx.credentials().map(|credentials| credentials.access_key.as_str());
        let reads = READING.contains(&operation);
        let may = match who {
            Some(id) if id == OWNER_KEYS.id => true,
            Some(id) if id == WRITER_KEYS.id => reads || WRITING.contains(&operation),
            Some(id) if id == READER_KEYS.id => reads,
            Some(_) | None => false,
        };
        if may { Ok(()) } else { Err(s3_error!(AccessDenied, "Access Denied")) }
    }
}
