//! What goes wrong with requests: arranged for those that come next, or the way of a whole server.

use std::time::Duration;

use hyper::Method;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 503 `SlowDown`; it is not applied.
    SlowDown,
    /// 500 `InternalError`; it is not applied.
    ErrorBefore,
    /// It is applied, and answered by 500 `InternalError`.
    ErrorAfter,
    /// The connection is reset; it is not applied.
    ResetBefore,
    /// It is applied, and the connection is reset.
    ResetAfter,
    /// It is applied; half of the answer's body comes, and then the connection ends.
    Truncated,
    /// It is applied; one bit of the answer's body is turned, no header tells of it.
    Corrupted,
    /// 403 `ExpiredToken`; it is not applied.
    ExpiredToken,
    /// 409 `ConditionalRequestConflict`; it is not applied.
    Conflict,
    /// Nothing happens for this long; then it is applied and answered.
    Held(Duration),
    /// It is applied; the answer stops halfway in its body for this long, and then goes on.
    Stalled(Duration),
}

/// What happens to the next requests of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arranged {
    /// Their method; any when `None`.
    pub method: Option<Method>,
    /// What their keys begin with; for listings, the prefix that is listed.
    pub prefix: String,
    /// How many of them go through first.
    pub skips: u32,
    /// How many of them it happens to.
    pub times: u32,
    /// What happens.
    pub fault: Fault,
}

impl Arranged {
    /// What happens to the next request of this method for a key that begins with `prefix`.
    #[must_use]
    pub fn once(method: Method, prefix: &str, fault: Fault) -> Self {
        Self { method: Some(method), prefix: prefix.into(), skips: 0, times: 1, fault }
    }
}

/// What is arranged for this request, if anything is.
pub(super) fn next(all: &mut Vec<Arranged>, method: &Method, key: &str) -> Option<Fault> {
    let is_meant = |it: &Arranged| {
        it.method.as_ref().is_none_or(|meant| meant == method) && key.starts_with(&it.prefix)
    };
    let at = all.iter().position(is_meant)?;
    let it = &mut all[at];
    if it.skips > 0 {
        it.skips -= 1;
        return None;
    }
    it.times = it.times.saturating_sub(1);
    let fault = it.fault;
    if it.times == 0 {
        all.remove(at);
    }
    Some(fault)
}

/// How a server goes about conditions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Check and write are one.
    #[default]
    Atomic,
    /// Conditions are ignored.
    Ignores,
    /// Check and write are two: a put whose condition holds waits until another one has come as
    /// far, or for two seconds, before it is applied.
    Races,
}
