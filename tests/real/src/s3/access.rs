//! Who may do what.

use async_trait::async_trait;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};
use serde_json::Value;

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
/// May do what the policy of a reader allows.
pub const READER_KEYS: Credential =
    Credential { id: "TESTREADER", secret: "test-secret-of-reader" };
/// May do what the policy of a writer allows.
pub const WRITER_KEYS: Credential =
    Credential { id: "TESTWRITER", secret: "test-secret-of-writer" };

const ALL_KEYS: [Credential; 3] = [OWNER_KEYS, READER_KEYS, WRITER_KEYS];

/// The policies that users are given: the keys of reader and writer have these rights, no others.
const READER: &str = include_str!("../../../../docs/policies/reader.json");
const WRITER: &str = include_str!("../../../../docs/policies/writer.json");

/// Operations that an action of a policy allows.
fn operations(action: &str) -> &'static [&'static str] {
    match action {
        "s3:GetObject" => &["GetObject", "HeadObject"],
        "s3:ListBucket" => &["ListObjectsV2", "HeadBucket"],
        "s3:PutObject" => &["PutObject"],
        "s3:DeleteObject" => &["DeleteObject"],
        other => panic!("this server does not know the action {other} of a policy"),
    }
}

/// Whether a policy allows an operation on a key.
///
/// # Panics
/// The policy is not of the shape that is known here.
fn allows(policy: &str, operation: &str, key: Option<&str>) -> bool {
    let policy: Value = serde_json::from_str(policy).expect("a policy is JSON");
    let statements = policy["Statement"].as_array().expect("a policy has statements");
    statements.iter().any(|statement| {
        assert_eq!(statement["Effect"], "Allow");
        let resource = statement["Resource"].as_str().expect("a statement has a resource");
        let below = resource.strip_prefix("arn:aws:s3:::BUCKET").expect("it is in the bucket");
        let fits = match below.strip_prefix("/PREFIX/").and_then(|below| below.strip_suffix('*')) {
            Some(folder) => key.is_some_and(|key| key.contains(folder)),
            None => below.is_empty() && key.is_none(),
        };
        let actions = statement["Action"].as_array().expect("a statement has actions");
        let action = |action: &Value| {
            operations(action.as_str().expect("an action is a word")).contains(&operation)
        };
        fits && actions.iter().any(action)
    })
}

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
        let key = cx.s3_path().get_object_key();
        let is_allowed = |policy| allows(policy, operation, key);
        let may = match who {
            Some(id) if id == OWNER_KEYS.id => true,
            Some(id) if id == WRITER_KEYS.id => is_allowed(WRITER),
            Some(id) if id == READER_KEYS.id => is_allowed(READER),
            Some(_) | None => false,
        };
        if may { Ok(()) } else { Err(s3_error!(AccessDenied, "Access Denied")) }
    }
}
