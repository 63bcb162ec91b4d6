//! Faults on request, for tests of everything above a store.
//!
//! The environment variable `VELLUM_TEST_STORE` is read once, when a store is opened. It is a list
//! of parts joined by commas:
//!
//! - `delay=MS`: every request waits this many milliseconds first.
//! - `stuck=PREFIX@FILE`: requests for keys that begin with PREFIX wait as long as FILE exists.
//!   May be given several times.
//! - `nospace=BYTES`: once the puts have sent this many bytes, further ones fail as on a full disk.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use vellum_core::shapes::{StoreError, StoreRequest};

use super::error::OpenError;

/// How often a stuck request looks for its control file.
const STUCK_POLL: Duration = Duration::from_millis(10);

#[derive(Debug, Default)]
pub(super) struct Hooks {
    delay: Duration,
    stuck: Vec<Stuck>,
    space_bytes: Option<AtomicU64>,
}

#[derive(Debug)]
struct Stuck {
    prefix: String,
    control: PathBuf,
}

impl Hooks {
    pub(super) fn from_environment() -> Result<Option<Self>, OpenError> {
        match std::env::var("VELLUM_TEST_STORE") {
            Ok(text) if !text.is_empty() => Self::parse(&text).map(Some),
            Ok(_) | Err(_) => Ok(None),
        }
    }

    fn parse(text: &str) -> Result<Self, OpenError> {
        let mut hooks = Self::default();
        for part in text.split(',') {
            let bad = || OpenError::Hooks { part: part.to_owned() };
            let (name, value) = part.split_once('=').ok_or_else(bad)?;
            match name {
                "delay" => hooks.delay = Duration::from_millis(value.parse().map_err(|_| bad())?),
                "stuck" => {
                    let (prefix, control) = value.split_once('@').ok_or_else(bad)?;
                    let (prefix, control) = (prefix.to_owned(), PathBuf::from(control));
                    hooks.stuck.push(Stuck { prefix, control });
                }
                "nospace" => {
                    hooks.space_bytes = Some(AtomicU64::new(value.parse().map_err(|_| bad())?));
                }
                _ => return Err(bad()),
            }
        }
        Ok(hooks)
    }

    /// Waits as told; answers the error to fail with, if there is one.
    pub(super) async fn before(&self, request: &StoreRequest) -> Option<StoreError> {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        let key = key_of(request);
        for stuck in self.stuck.iter().filter(|stuck| key.starts_with(&stuck.prefix)) {
            while stuck.control.exists() {
                tokio::time::sleep(STUCK_POLL).await;
            }
        }
        let (Some(space), StoreRequest::Put { body, .. }) = (&self.space_bytes, request) else {
            return None;
        };
        let len: u64 = body.iter().map(|slice| slice.range.len() as u64).sum();
        let took =
            space.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(len));
        took.is_err().then_some(StoreError::NoSpace)
    }
}

fn key_of(request: &StoreRequest) -> &str {
    match request {
        StoreRequest::Get { key, .. }
        | StoreRequest::Head { key }
        | StoreRequest::Put { key, .. }
        | StoreRequest::Delete { key } => key,
        StoreRequest::List { prefix, .. } => prefix,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::run;
    use super::*;
    use vellum_core::shapes::{Condition, Slice};

    fn put(key: &str, len: usize) -> StoreRequest {
        let body = vec![Slice::whole(vec![0; len])];
        StoreRequest::Put { key: key.into(), body, condition: Condition::Absent }
    }

    #[test]
    fn words_that_are_no_hook_are_refused() {
        for text in ["delay", "delay=x", "stuck=chunks", "nospace=-1", "other=1", ","] {
            assert!(Hooks::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn space_ends_after_the_bytes_given() {
        let hooks = Hooks::parse("nospace=10").unwrap();
        run(async {
            assert_eq!(hooks.before(&put("a", 6)).await, None);
            assert_eq!(hooks.before(&put("b", 6)).await, Some(StoreError::NoSpace));
            assert_eq!(hooks.before(&put("c", 4)).await, None);
            assert_eq!(hooks.before(&StoreRequest::Head { key: "a".into() }).await, None);
        });
    }

    #[test]
    fn a_stuck_key_waits_for_its_control_file_and_others_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let control = dir.path().join("control");
        std::fs::write(&control, "").unwrap();
        let hooks = Hooks::parse(&format!("stuck=chunks/@{}", control.display())).unwrap();
        run(async {
            assert_eq!(hooks.before(&put("trees/a", 1)).await, None);
            let request = put("chunks/a", 1);
            let mut stuck = std::pin::pin!(hooks.before(&request));
            let waited = tokio::time::timeout(Duration::from_millis(50), &mut stuck).await;
            assert!(waited.is_err());
            std::fs::remove_file(&control).unwrap();
            assert_eq!(stuck.await, None);
        });
    }
}
