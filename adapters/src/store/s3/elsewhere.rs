//! Follows a bucket to its region. A server that is asked in the name of another region refuses,
//! and says where the bucket is: then that is where it is asked from there on.

use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, Region, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use parking_lot::{Mutex, RwLock};

/// The header that says it.
const HEADER: &str = "x-amz-bucket-region";
/// Most letters of a region.
const REGION_MAX: usize = 64;

/// Hears where the bucket is.
#[derive(Clone, Debug, Default)]
pub(super) struct Hears(Arc<Mutex<Option<String>>>);

impl Intercept for Hears {
    fn name(&self) -> &'static str {
        "BucketRegion"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let answer = context.response();
        let is_refused = matches!(answer.status().as_u16(), 301 | 307 | 400);
        let region = answer.headers().get(HEADER).filter(|region| is_refused && is_region(region));
        if let Some(region) = region {
            *self.0.lock() = Some(region.to_owned());
        }
        Ok(())
    }
}

/// Whether this may be the name of a region: it becomes a part of the server's name.
fn is_region(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=REGION_MAX).contains(&text.len()) && text.bytes().all(letter)
}

/// The client, in the region where the bucket is as far as that is known.
#[derive(Debug)]
pub(super) struct Located {
    client: RwLock<Client>,
    hears: Hears,
}

impl Located {
    /// A client that was made with these ears.
    pub(super) fn new(client: Client, hears: Hears) -> Self {
        Self { client: RwLock::new(client), hears }
    }

    /// The client for the next request.
    pub(super) fn client(&self) -> Client {
        self.client.read().clone()
    }

    /// Whether the bucket is elsewhere than the client `asked` was told: then what that asked was
    /// not done, and is to be asked again.
    pub(super) fn is_elsewhere(&self, asked: &Client) -> bool {
        let region = |client: &Client| client.config().region().map(ToString::to_string);
        let mut client = self.client.write();
        let heard = self.hears.0.lock().take();
        if let Some(heard) = heard.filter(|heard| region(&client).as_ref() != Some(heard)) {
            tracing::info!(region = heard, "the bucket is in another region than was said");
            let config = client.config().to_builder().region(Region::new(heard));
            *client = Client::from_conf(config.build());
        }
        region(&client) != region(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_a_region_becomes_a_part_of_a_server_name() {
        for good in ["eu-west-1", "us-gov-east-1", "garage"] {
            assert!(is_region(good), "{good}");
        }
        let long = "a".repeat(65);
        for bad in ["", "evil.example", "a/b", "EU", "a b", "a@b", &long] {
            assert!(!is_region(bad), "{bad}");
        }
    }
}
