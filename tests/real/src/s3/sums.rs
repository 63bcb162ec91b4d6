//! Checksums that come with a body: each is verified, and the one of the whole object is kept.

use hyper::HeaderMap;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::Checksum;
use s3s::{S3Result, TrailingHeaders, s3_error};

use super::service::bad_request;

/// A checksum algorithm of S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

const ALGORITHMS: [(&str, Algorithm); 5] = [
    ("x-amz-checksum-crc32", Algorithm::Crc32),
    ("x-amz-checksum-crc32c", Algorithm::Crc32c),
    ("x-amz-checksum-crc64nvme", Algorithm::Crc64Nvme),
    ("x-amz-checksum-sha1", Algorithm::Sha1),
    ("x-amz-checksum-sha256", Algorithm::Sha256),
];

impl Algorithm {
    /// The checksum of `body`, as S3 tells it.
    pub(super) fn sum(self, body: &[u8]) -> Checksum {
        let mut hasher = ChecksumHasher::default();
        match self {
            Self::Crc32 => hasher.crc32 = Some(s3s::crypto::Crc32::new()),
            Self::Crc32c => hasher.crc32c = Some(s3s::crypto::Crc32c::new()),
            Self::Crc64Nvme => hasher.crc64nvme = Some(s3s::crypto::Crc64Nvme::new()),
            Self::Sha1 => hasher.sha1 = Some(s3s::crypto::Sha1::new()),
            Self::Sha256 => hasher.sha256 = Some(s3s::crypto::Sha256::new()),
        }
        hasher.update(body);
        let sum = hasher.finalize();
        Checksum { checksum_type: Some("FULL_OBJECT".to_owned().into()), ..sum }
    }
}

/// The one value that a checksum of one algorithm has.
fn value(sum: &Checksum) -> Option<&str> {
    let Checksum { checksum_crc32, checksum_crc32c, checksum_crc64nvme, .. } = sum;
    let all = [checksum_crc32, checksum_crc32c, checksum_crc64nvme];
    let more = [&sum.checksum_sha1, &sum.checksum_sha256];
    all.into_iter().chain(more).find_map(|value| value.as_deref())
}

/// Verifies what the sender said of `body`: in headers, and in what trailed it. Answers the
/// algorithm of the checksum to keep: the sender's, or else S3's own choice.
pub(super) fn verify(
    body: &[u8],
    headers: &HeaderMap,
    trailers: Option<&TrailingHeaders>,
) -> S3Result<Algorithm> {
    if let Some(md5) = text(headers, "content-md5")
        && md5 != base64_simd::STANDARD.encode_to_string(Md5::checksum(body).as_ref())
    {
        return Err(s3_error!(BadDigest, "The Content-MD5 you specified did not match"));
    }
    let trailed = trailers.and_then(TrailingHeaders::take).unwrap_or_default();
    if let Some(announced) = text(headers, "x-amz-trailer")
        && !trailed.contains_key(announced)
    {
        return Err(bad_request("MalformedTrailerError", "an announced trailer did not come"));
    }
    let sent: Vec<(Algorithm, &str)> = ALGORITHMS
        .into_iter()
        .filter_map(|(name, algorithm)| {
            let value = text(headers, name).or_else(|| text(&trailed, name))?;
            Some((algorithm, value))
        })
        .collect();
    match sent[..] {
        [] if headers.contains_key("x-amz-sdk-checksum-algorithm") => {
            Err(s3_error!(InvalidRequest, "a checksum was announced and did not come"))
        }
        [] => Ok(Algorithm::Crc64Nvme),
        [(algorithm, sent)] if value(&algorithm.sum(body)) == Some(sent) => Ok(algorithm),
        [_] => Err(s3_error!(BadDigest, "The checksum you specified did not match")),
        _ => Err(s3_error!(InvalidRequest, "Expecting a single x-amz-checksum- header")),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
