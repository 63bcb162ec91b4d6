//! What an answer of the server, or its absence, means for the one who asked.
//!
//! The words of the server are for people: they go to the log, with the name of the error, and
//! never with a header or a signature.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStreamError;
use vellum_core::shapes::StoreError;

/// What was asked, as far as the meaning of a failure depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Nothing is changed by it.
    Read,
    /// A put on the condition that nothing is there.
    Create,
    /// A put on the condition that a certain body is there.
    Replace,
    Delete,
}

/// How far a request has come that no answer was got to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reached {
    /// The server never saw all of it.
    No,
    /// It may have.
    Perhaps,
}

/// Why a request came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// What it means for the one who asked.
    pub(super) meaning: StoreError,
    /// What it says of the keys with which was asked.
    pub(super) keys: Keys,
}

/// Keys of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// They are not why it failed.
    Good,
    /// The server does not take them, or does not say why it refuses. Nothing was applied; with
    /// others it may be.
    Stale,
    /// There were none, and nothing was sent.
    Missing,
}

impl From<StoreError> for Failure {
    fn from(meaning: StoreError) -> Self {
        Self { meaning, keys: Keys::Good }
    }
}

/// What the failure of a request for `key` means.
pub(super) fn failed<E>(asked: Asked, key: &str, error: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let meaning = match error {
        SdkError::ConstructionFailure(_) => without_answer(asked, Reached::No, error),
        SdkError::TimeoutError(_) => without_answer(asked, Reached::Perhaps, error),
        SdkError::DispatchFailure(_) => {
            let reached = if never_sent(error) { Reached::No } else { Reached::Perhaps };
            without_answer(asked, reached, error)
        }
        SdkError::ResponseError(answer) => by_status(asked, answer.raw().status().as_u16(), None),
        SdkError::ServiceError(answer) => {
            by_status(asked, answer.raw().status().as_u16(), answer.err().code())
        }
        _ => without_answer(asked, Reached::Perhaps, error),
    };
    say(asked, key, &meaning, error);
    let keys = match error.as_service_error() {
        Some(answer) if meaning == StoreError::Denied => keys_by_code(answer.code()),
        None if lacks_credentials(error) => Keys::Missing,
        Some(_) | None => Keys::Good,
    };
    Failure { meaning, keys }
}

/// What a refusal says of the keys. Answers to HEAD have no body, and so no code.
fn keys_by_code(code: Option<&str>) -> Keys {
    match code {
        None
        | Some("ExpiredToken" | "InvalidToken" | "InvalidTokenId" | "TokenRefreshRequired")
        | Some("InvalidAccessKeyId" | "SignatureDoesNotMatch") => Keys::Stale,
        Some(_) => Keys::Good,
    }
}

fn without_answer(asked: Asked, reached: Reached, error: &(dyn Error + 'static)) -> StoreError {
    if lacks_credentials(error) {
        return StoreError::Denied;
    }
    match (asked, reached) {
        (Asked::Read, _) | (_, Reached::No) => StoreError::Unreachable,
        (Asked::Create | Asked::Replace | Asked::Delete, Reached::Perhaps) => StoreError::Ambiguous,
    }
}

/// What the status of an answer means, with the name of the error in it.
fn by_status(asked: Asked, status: u16, code: Option<&str>) -> StoreError {
    match (status, code) {
        (
            400,
            Some("RequestTimeout" | "BadDigest" | "IncompleteBody" | "XAmzContentSHA256Mismatch"),
        )
        | (400, Some("InvalidDigest" | "XAmzContentChecksumMismatch")) => StoreError::Unreachable,
        // An answer to HEAD has no code; the request itself is one that others answer.
        (400, None) if asked == Asked::Read => StoreError::Denied,
        (
            400,
            Some(
                "ExpiredToken"
                | "InvalidToken"
                | "InvalidTokenId"
                | "TokenRefreshRequired"
                | "InvalidAccessKeyId",
            ),
        )
        | (401 | 403, _) => StoreError::Denied,
        (404, Some("NoSuchBucket")) => StoreError::NoBucket,
        (404, _) => match asked {
            Asked::Replace => StoreError::Mismatch,
            Asked::Read | Asked::Create | Asked::Delete => StoreError::NotFound,
        },
        (412, _) => match asked {
            Asked::Create => StoreError::Exists,
            Asked::Replace | Asked::Read | Asked::Delete => StoreError::Mismatch,
        },
        // Somebody else's request for the same key is under way; nothing was applied.
        (409, _) => StoreError::Throttled,
        (429, _) | (503, Some("SlowDown" | "ServiceUnavailable" | "Throttling")) => {
            StoreError::Throttled
        }
        (507, _) | (_, Some("QuotaExceeded" | "XMinioStorageFull")) => StoreError::NoSpace,
        // The answer itself could not be read, or the server gave up half way.
        (200..300 | 500 | 502..600, _) => match asked {
            Asked::Read => StoreError::Unreachable,
            Asked::Create | Asked::Replace | Asked::Delete => StoreError::Ambiguous,
        },
        _ => StoreError::Unsupported,
    }
}

/// Whether a range begins past the end of the object.
pub(super) fn is_past_end(error: &SdkError<GetObjectError, HttpResponse>) -> bool {
    error.raw_response().is_some_and(|answer| answer.status().as_u16() == 416)
}

/// What it means that the body of an answer ended in an error.
pub(super) fn body_failed(error: &ByteStreamError) -> StoreError {
    tracing::debug!("a body was cut short: {}", chain(error));
    let is_checksum = causes(error).any(|cause| cause.to_string().contains("checksum"));
    if is_checksum { StoreError::Damaged } else { StoreError::Unreachable }
}

/// Whether a connection could not be made at all.
fn never_sent(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        let refused = cause.downcast_ref::<std::io::Error>().is_some_and(|error| {
            use std::io::ErrorKind::{
                AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable,
            };
            let kinds = [AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable];
            kinds.contains(&error.kind())
        });
        refused || is_connecting(&cause.to_string())
    })
}

/// Whether these are the words of the HTTP client about a connection that was not made; it has no
/// other way to say so.
fn is_connecting(words: &str) -> bool {
    ["dns error", "tcp connect error", "client error (Connect)", "HTTP connect timeout"]
        .iter()
        .any(|said| words.contains(said))
}

fn lacks_credentials(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| cause.is::<CredentialsError>())
}

/// An error and all that caused it.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    for cause in causes(error) {
        let said = cause.to_string();
        // Many say what their cause says.
        if !words.last().is_some_and(|last| last.contains(&said)) {
            words.push(said);
        }
    }
    words.join(": ")
}

/// Tells people what the meaning alone does not: why something was denied or can't be done.
fn say<E>(asked: Asked, key: &str, meaning: &StoreError, error: &SdkError<E, HttpResponse>)
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let words = if let SdkError::ServiceError(answer) = error {
        let status = answer.raw().status().as_u16();
        let (code, message) = (answer.err().code(), answer.err().message());
        format!("{status} {} {}", code.unwrap_or(""), message.unwrap_or(""))
    } else {
        chain(error)
    };
    let words = words.trim();
    match meaning {
        StoreError::Denied
        | StoreError::Unsupported
        | StoreError::NoBucket
        | StoreError::NoSpace => {
            tracing::warn!("the store refused {}: {words}", what(asked, key));
        }
        StoreError::Throttled
        | StoreError::Unreachable
        | StoreError::Ambiguous
        | StoreError::Damaged => {
            tracing::info!("{} came to nothing: {words}", what(asked, key));
        }
        StoreError::NotFound | StoreError::Exists | StoreError::Mismatch => {
            tracing::debug!("{}: {words}", what(asked, key));
        }
    }
}

fn what(asked: Asked, key: &str) -> String {
    match asked {
        Asked::Read => format!("to read {key}"),
        Asked::Create | Asked::Replace => format!("to write {key}"),
        Asked::Delete => format!("to remove {key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_means_what_the_protocol_says() {
        use Asked::{Create, Delete, Read, Replace};
        for (asked, status, code, meaning) in [
            (Read, 404, "NoSuchKey", StoreError::NotFound),
            (Read, 404, "", StoreError::NotFound),
            (Read, 404, "NoSuchBucket", StoreError::NoBucket),
            (Replace, 404, "NoSuchKey", StoreError::Mismatch),
            (Create, 412, "PreconditionFailed", StoreError::Exists),
            (Replace, 412, "PreconditionFailed", StoreError::Mismatch),
            (Create, 409, "ConditionalRequestConflict", StoreError::Throttled),
            (Create, 503, "SlowDown", StoreError::Throttled),
            (Read, 429, "", StoreError::Throttled),
            (Read, 500, "InternalError", StoreError::Unreachable),
            (Create, 500, "InternalError", StoreError::Ambiguous),
            (Replace, 502, "", StoreError::Ambiguous),
            (Delete, 504, "", StoreError::Ambiguous),
            (Create, 503, "", StoreError::Ambiguous),
            (Create, 200, "", StoreError::Ambiguous),
            (Create, 400, "BadDigest", StoreError::Unreachable),
            (Create, 400, "ExpiredToken", StoreError::Denied),
            (Read, 400, "", StoreError::Denied),
            (Create, 400, "", StoreError::Unsupported),
            (Create, 500, "ExpiredToken", StoreError::Ambiguous),
            (Read, 403, "AccessDenied", StoreError::Denied),
            (Read, 401, "", StoreError::Denied),
            (Create, 507, "", StoreError::NoSpace),
            (Create, 501, "NotImplemented", StoreError::Unsupported),
            (Read, 301, "PermanentRedirect", StoreError::Unsupported),
            (Create, 400, "InvalidArgument", StoreError::Unsupported),
        ] {
            let code = Some(code).filter(|code| !code.is_empty());
            assert_eq!(by_status(asked, status, code), meaning, "{asked:?} {status} {code:?}");
        }
    }

    #[test]
    fn a_connection_that_was_not_made_carried_nothing() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert!(never_sent(&refused));
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert!(!never_sent(&reset));
        for (asked, reached, meaning) in [
            (Asked::Read, Reached::Perhaps, StoreError::Unreachable),
            (Asked::Create, Reached::No, StoreError::Unreachable),
            (Asked::Create, Reached::Perhaps, StoreError::Ambiguous),
        ] {
            assert_eq!(without_answer(asked, reached, &reset), meaning);
        }
    }
}
