//! The SDK's client, from what was said and what the host knows.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Builder, StalledStreamProtectionConfig};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use super::super::location::StoreOptions;
use super::client::Hears;
use super::expect::ExpectContinue;

/// Within which a connection is made, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Within which an answer begins, from the first byte sent: the largest object (16 MiB) is sent
/// in this time at 300 KB/s.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a body may stand still.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Where a bucket is when nothing says so: what S3-compatible servers take.
const DEFAULT_REGION: &str = "us-east-1";

/// A client for the bucket that the options lead to. Asks the host and its services for the
/// region, and for credentials when the first request is sent.
///
/// Answers too the URL of the server, if it is not the cloud's own.
pub(super) async fn client(options: &StoreOptions, hears: Hears) -> (Client, Option<String>) {
    let shared = shared(options).await;
    let endpoint = shared.endpoint_url().map(str::to_owned);
    let config = config(&shared, options).interceptor(hears);
    (Client::from_conf(config.build()), endpoint)
}

/// How the client goes about requests.
pub(super) fn config(shared: &SdkConfig, options: &StoreOptions) -> Builder {
    Builder::from(shared)
        .force_path_style(options.path_style)
        .retry_config(RetryConfig::disabled())
        .interceptor(ExpectContinue::default())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(FIRST_BYTE_TIMEOUT)
                .build(),
        )
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled().grace_period(IDLE_TIMEOUT).build(),
        )
}

pub(super) async fn shared(options: &StoreOptions) -> SdkConfig {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    if let Some(profile) = &options.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(url) = &options.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    loader = match (&options.region, &options.endpoint_url) {
        (Some(region), _) => loader.region(Region::new(region.clone())),
        // The host's own cloud has nothing to say about somebody else's server.
        (None, Some(_)) => loader.region(
            RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
                .or_else(ProfileFileRegionProvider::new())
                .or_else(Region::from_static(DEFAULT_REGION)),
        ),
        (None, None) => loader,
    };
    if options.no_sign_request {
        loader = loader.no_credentials();
    } else if let Some(credentials) = &options.credentials {
        loader = loader.credentials_provider(credentials.clone());
    }
    let config = loader.load().await;
    if config.region().is_some() {
        return config;
    }
    config.into_builder().region(Region::new(DEFAULT_REGION)).build()
}
