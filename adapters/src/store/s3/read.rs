//! Reading an object or a range of it.

use std::ops::Range;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::types::ChecksumMode;
use vellum_core::shapes::{Segments, StoreError, StoreOutcome};

use super::outcome::{Asked, Failure, body_failed, failed, is_past_end};
use super::{Bucket, etag_of};

/// Longest body that is answered. Native objects are at most 16 MiB; this bounds memory when a
/// stranger's object lies at a key.
const BODY_MAX_BYTES: u64 = 1 << 30;

impl Bucket {
    pub(super) async fn get(
        &self,
        client: &Client,
        key: &str,
        range: Option<Range<u64>>,
    ) -> Result<StoreOutcome, Failure> {
        if range.as_ref().is_some_and(Range::is_empty) {
            return self.nothing_of(client, key).await;
        }
        let name = &self.place.bucket;
        let request = client.get_object().bucket(name).key(self.key(key));
        let request = request.set_expected_bucket_owner(self.owner.clone());
        let request = match &range {
            Some(range) => request.range(header_of(range)),
            None => request.checksum_mode(ChecksumMode::Enabled),
        };
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if is_past_end(&error) => return self.nothing_of(client, key).await,
            Err(error) => return Err(failed(Asked::Read, key, &error)),
        };
        let etag = etag_of(answer.e_tag())?;
        let len = match &range {
            Some(range) => ranged_len(&answer, range)?,
            None => length_of(&answer)?,
        };
        let body = body_of(answer, len).await?;
        Ok(StoreOutcome::Got { body, etag })
    }

    /// No bytes of an object that exists.
    async fn nothing_of(&self, client: &Client, key: &str) -> Result<StoreOutcome, Failure> {
        let (_, _, etag) = self.found(client, key).await?.found()?;
        Ok(StoreOutcome::Got { body: Segments::default(), etag })
    }
}

/// The `Range` header of a range that is not empty.
fn header_of(range: &Range<u64>) -> String {
    // Servers read the last byte as a signed number.
    match i64::try_from(range.end) {
        Ok(end) => format!("bytes={}-{}", range.start, end - 1),
        Err(_) => format!("bytes={}-", range.start),
    }
}

fn length_of(answer: &GetObjectOutput) -> Result<u64, StoreError> {
    let len = answer.content_length().ok_or(StoreError::Damaged)?;
    u64::try_from(len).map_err(|_| StoreError::Damaged)
}

/// Bytes of the answer to a request for `range`: it must be the range that was asked for, cut only
/// where the object ends.
fn ranged_len(answer: &GetObjectOutput, range: &Range<u64>) -> Result<u64, StoreError> {
    let (got, whole) = answer.content_range().and_then(parse_range).ok_or(StoreError::Damaged)?;
    let len = length_of(answer)?;
    let wanted = range.start..range.end.min(whole);
    if got == wanted && len == got.end - got.start { Ok(len) } else { Err(StoreError::Damaged) }
}

/// Reads `bytes 2-5/10`: the range, half open, and the length of all.
fn parse_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, whole) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let end = last.checked_add(1)?;
    (first < end).then_some((first..end, whole.parse().ok()?))
}

async fn body_of(mut answer: GetObjectOutput, len: u64) -> Result<Segments, StoreError> {
    if len > BODY_MAX_BYTES {
        return Err(StoreError::Unsupported);
    }
    let len = usize::try_from(len).map_err(|_| StoreError::Unsupported)?;
    let mut body = Segments::default();
    let mut left = len;
    while let Some(part) = answer.body.next().await {
        let part = part.map_err(|error| body_failed(&error))?;
        if part.len() > left {
            return Err(StoreError::Damaged);
        }
        body.append(&part, left);
        left -= part.len();
    }
    if left == 0 { Ok(body) } else { Err(StoreError::Damaged) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_written_and_read_as_http_has_them() {
        assert_eq!(header_of(&(0..1)), "bytes=0-0");
        assert_eq!(header_of(&(7..u64::MAX)), "bytes=7-");
        assert_eq!(parse_range("bytes 2-5/10"), Some((2..6, 10)));
        for bad in ["", "bytes", "bytes 2-5", "bytes 5-2/10", "bytes */10", "bytes 2-5/*"] {
            assert_eq!(parse_range(bad), None, "{bad}");
        }
        assert_eq!(parse_range("bytes 0-18446744073709551615/10"), None);
    }
}
