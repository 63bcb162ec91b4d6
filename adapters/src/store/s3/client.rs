//! The client that is asked at present. It follows a bucket to its region: a server that is asked
//! in the name of another one refuses, and says where the bucket is; from then on it is asked
//! there. And it is made anew when the server knows its keys no more: whoever renews them, in a
//! file or by a service, need not mount again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, Region, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use parking_lot::{Mutex, RwLock};

use super::super::location::StoreOptions;
use super::connect;

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

/// How often keys are looked for at most.
const RENEW_EVERY: Duration = Duration::from_secs(10);

/// The client, in the region where the bucket is as far as that is known.
#[derive(Debug)]
pub(super) struct Present {
    client: RwLock<Client>,
    hears: Hears,
    options: StoreOptions,
    /// When keys were looked for last.
    renewed: tokio::sync::Mutex<Option<Instant>>,
}

impl Present {
    /// A client of a bucket, and the URL of its server if it is not the cloud's own.
    pub(super) async fn new(options: &StoreOptions) -> (Self, Option<String>) {
        let hears = Hears::default();
        let (client, endpoint) = connect::client(options, hears.clone()).await;
        let (options, renewed) = (options.clone(), tokio::sync::Mutex::default());
        (Self { client: RwLock::new(client), hears, options, renewed }, endpoint)
    }

    /// There were no keys at `asked_at`. That is so from the start, or what was looked at since was
    /// half written: then they are looked for once more.
    pub(super) async fn renew_again(&self, asked_at: Instant) -> bool {
        let is_later = self.renewed.lock().await.is_some();
        is_later && self.renew(asked_at).await
    }

    /// The server takes the keys no more with which it was asked at `asked_at`. Looks for others,
    /// as at the start; whether it is worth asking again.
    pub(super) async fn renew(&self, asked_at: Instant) -> bool {
        if self.options.credentials.is_some() || self.options.no_sign_request {
            return false;
        }
        let mut renewed = self.renewed.lock().await;
        if let Some(at) = *renewed {
            if at >= asked_at {
                return true;
            }
            if at.elapsed() < RENEW_EVERY {
                return false;
            }
        }
        tracing::info!("the store does not take the credentials: they are looked for again");
        let (client, _) = connect::client(&self.options, self.hears.clone()).await;
        let mut present = self.client.write();
        let region = present.config().region().cloned();
        *present = Client::from_conf(client.config().to_builder().region(region).build());
        *renewed = Some(Instant::now());
        true
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
