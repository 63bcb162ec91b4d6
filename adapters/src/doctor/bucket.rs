//! The way to a bucket: credentials, region, whether it answers, and its clock.

use super::Finding;
use crate::cli::Exit;
use crate::store::{Location, S3Place, facts};

/// Seconds by which clocks may differ: signatures that are older than 15 minutes are refused.
const SKEW_WARN: u64 = 60;
const SKEW_MAX: u64 = 15 * 60;

pub(super) async fn findings(place: &S3Place, location: &Location) -> Vec<Finding> {
    let facts = facts(place, &location.options).await;
    let mut findings = vec![match &facts.credentials {
        None => Finding::ok("credentials", "requests are not signed, as was asked"),
        Some(Ok(provider)) => Finding::ok("credentials", format!("found by {provider}")),
        Some(Err(why)) => Finding::failed(
            "credentials",
            Exit::Credentials,
            format!("none are found: {why}"),
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a --profile, or read a public \
             bucket with --no-sign-request",
        ),
    }];
    let at = match &facts.endpoint {
        Some(endpoint) => format!(" at {endpoint}"),
        None => String::new(),
    };
    findings.push(Finding::ok("region", format!("{}{at}", facts.region)));
    if matches!(facts.credentials, Some(Err(_))) {
        // Nothing else can be asked.
        return findings;
    }
    let bucket = &place.bucket;
    findings.push(match (&facts.listed, facts.ahead_seconds) {
        (Err((code, _)), _) if code.as_deref() == Some("NoSuchBucket") => Finding::failed(
            "bucket",
            Exit::Store,
            format!("there is no bucket {bucket}{at}"),
            "check its name, --region and --endpoint-url",
        ),
        (Ok(()), _) | (Err((Some(_), _)), _) | (Err(_), Some(_)) => {
            Finding::ok("bucket", format!("{bucket} answers"))
        }
        (Err((None, why)), None) => Finding::failed(
            "bucket",
            Exit::Store,
            format!("{bucket} can't be reached{at}: {why}"),
            "check the network, proxies, --endpoint-url and --region",
        ),
    });
    findings.extend(facts.ahead_seconds.map(clock));
    findings
}

fn clock(ahead: i64) -> Finding {
    let way = if ahead < 0 { "behind" } else { "ahead of" };
    let what = format!("the server's clock is {} s {way} ours", ahead.unsigned_abs());
    let remedy = "set this host's clock, such as by timedatectl set-ntp true";
    match ahead.unsigned_abs() {
        0..=SKEW_WARN => Finding::ok("clock", what),
        off if off <= SKEW_MAX => Finding::warning("clock", what, remedy),
        _ => Finding::failed("clock", Exit::Credentials, what, remedy),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_warned_of_before_signatures_are_refused() {
        let state = |ahead| clock(ahead).state;
        assert_eq!((state(0), state(60), state(-60)), (State::Ok, State::Ok, State::Ok));
        assert_eq!((state(61), state(-900)), (State::Warning, State::Warning));
        assert_eq!(state(901), State::Failed(Exit::Credentials));
        assert!(clock(-901).what.contains("901 s behind ours"));
    }
}
