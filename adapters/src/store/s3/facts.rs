//! What can be said of a bucket and of the way to it, without values that are secret.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::{BoxError, DisplayErrorContext, ProvideErrorMetadata};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use parking_lot::Mutex;

use super::S3Place;
use super::connect;
use super::outcome::chain;
use crate::store::StoreOptions;

/// What was found.
pub(crate) struct Facts {
    /// Where credentials come from, or why there are none; nothing if none are wanted.
    pub(crate) credentials: Option<Result<String, String>>,
    pub(crate) region: String,
    /// URL of the server, if it is not the cloud's own.
    pub(crate) endpoint: Option<String>,
    /// Seconds by which the server's clock is ahead of ours, if it answered.
    pub(crate) ahead_seconds: Option<i64>,
    /// What became of a listing: the code of the server's refusal, or why there was no answer.
    pub(crate) listed: Result<(), (Option<String>, String)>,
}

/// Notes what time it is for the server.
#[derive(Clone, Debug, Default)]
struct Clock(Arc<Mutex<Option<i64>>>);

impl Intercept for Clock {
    fn name(&self) -> &'static str {
        "Clock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
        let ours = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        if let (Some(date), Some(ours)) = (date, ours) {
            *self.0.lock() = Some(date.secs() - i64::try_from(ours.as_secs()).unwrap_or(0));
        }
        Ok(())
    }
}

/// Asks a bucket for one name below its prefix, and looks at how it answers.
pub(crate) async fn facts(place: &S3Place, options: &StoreOptions) -> Facts {
    let shared = connect::shared(options).await;
    let credentials = match shared.credentials_provider() {
        None => None,
        Some(provider) => Some(match provider.provide_credentials().await {
            // The name of what provided them, and nothing else of them.
            Ok(found) => Ok(provider_of(&format!("{found:?}"))),
            Err(error) => Err(chain(&error)),
        }),
    };
    let clock = Clock::default();
    let config = connect::config(&shared, options).interceptor(clock.clone()).build();
    let client = aws_sdk_s3::Client::from_conf(config);
    let prefix = format!("{}/", place.prefix);
    let list = client.list_objects_v2().bucket(&place.bucket).max_keys(1).prefix(prefix);
    let listed = match list.send().await {
        Ok(_) => Ok(()),
        Err(error) => {
            let code = error.code().map(str::to_owned);
            Err((code, DisplayErrorContext(&error).to_string()))
        }
    };
    Facts {
        credentials,
        region: shared.region().map(ToString::to_string).unwrap_or_default(),
        endpoint: shared.endpoint_url().map(str::to_owned),
        ahead_seconds: *clock.0.lock(),
        listed,
    }
}

/// The name of the provider, in what is shown of credentials.
fn provider_of(shown: &str) -> String {
    let name = shown.split("provider_name: \"").nth(1).and_then(|rest| rest.split('"').next());
    name.unwrap_or("a provider without a name").to_owned()
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;

    use super::*;

    #[test]
    fn of_credentials_only_their_provider_is_told() {
        let found = Credentials::new("AN-ID", "A-SECRET", Some("A-TOKEN".into()), None, "Tests");
        assert_eq!(provider_of(&format!("{found:?}")), "Tests");
    }
}
