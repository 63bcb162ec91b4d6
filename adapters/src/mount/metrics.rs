//! `/metrics`, for Prometheus: the figures of a mount as text over HTTP.
//!
//! The text is that of OpenMetrics 1.0, which Prometheus has read since 2018. Whoever reaches the
//! address may read it: there are figures in it, and no names of files, repositories or keys.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::sync::Semaphore;

use super::control::protocol::seconds;
use super::control::stats::{StatsAnswer, Times};
use crate::cli::{CliError, Exit};
use crate::figures::{Buckets, Operation, RequestKind, bound_ns};

/// Connections served at once; others wait.
const CONNECTIONS_MAX: usize = 8;

/// How long a connection may take, from its first byte to the last of the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Of the bounds of buckets, Prometheus is told those that are powers of four: from 1 µs to 69 s.
const BOUNDS_STEP: usize = 8;
const BOUNDS: usize = 14;

/// The type of the text.
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What figures are asked of.
pub(super) trait Scrape: Send + Sync + 'static {
    /// All figures, as of now.
    fn scrape(&self) -> impl Future<Output = Result<StatsAnswer, CliError>> + Send;
}

/// Listens at `address`.
pub(super) fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), CliError> {
    let failed = |error: io::Error| {
        let what = format!("can't serve metrics at {address}: {error}");
        CliError::new(Exit::Usage, what, "give --metrics an address of this host that is free")
    };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Answers for ever.
pub(super) async fn serve(listener: TcpListener, scrape: Arc<impl Scrape>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return Ok(()) };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "can't take a connection for metrics");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let scrape = Arc::clone(&scrape);
        tokio::spawn(async move {
            let answer = service_fn(move |request| answer(Arc::clone(&scrape), request));
            let mut http = http1::Builder::new();
            http.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(PATIENCE);
            let work = http.serve_connection(TokioIo::new(stream), answer);
            // Whoever asked may have gone.
            drop(tokio::time::timeout(PATIENCE, work).await);
            drop(permit);
        });
    }
}

async fn answer(
    scrape: Arc<impl Scrape>,
    request: Request<Incoming>,
) -> Result<Response<String>, fmt::Error> {
    let plain = |status, text: &str| {
        let mut response = Response::new(text.to_owned());
        *response.status_mut() = status;
        response
    };
    if request.uri().path() != "/metrics" {
        return Ok(plain(StatusCode::NOT_FOUND, "metrics are at /metrics\n"));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(plain(StatusCode::METHOD_NOT_ALLOWED, "metrics can only be read\n"));
    }
    match scrape.scrape().await {
        Ok(stats) => {
            let mut response = Response::new(text(stats)?);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
            Ok(response)
        }
        Err(error) => Ok(plain(StatusCode::SERVICE_UNAVAILABLE, &format!("{}\n", error.what))),
    }
}

fn text(stats: StatsAnswer) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Figures(stats)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// A counter: its name, what it counts, in which unit, and the count.
type Counter = (&'static str, &'static str, Option<Unit>, u64);

#[derive(Debug)]
struct Figures(StatsAnswer);

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        self.operations(&mut encoder)?;
        self.store(&mut encoder)?;
        self.counters(&mut encoder)?;
        self.gauges(&mut encoder)
    }
}

impl Figures {
    fn operations(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(
            "vellum_fuse_operation_duration",
            "Time from the request of the kernel to its answer, by operation",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for (_, name) in Operation::ALL {
            let times = self.0.operations.get(name).cloned().unwrap_or_default();
            let family = &[("operation", name)];
            let mut of_one = metric.encode_family(family)?;
            histogram(&times, |sum, count, buckets| {
                of_one.encode_histogram::<NoLabelSet>(sum, count, buckets, None)
            })?;
        }
        Ok(())
    }

    fn store(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(
            "vellum_store_request_duration",
            "Time from a request to the store to its answer, by kind",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for (_, kind) in RequestKind::ALL {
            let totals = self.0.store.get(kind).cloned().unwrap_or_default();
            let family = &[("kind", kind)];
            let mut of_one = metric.encode_family(family)?;
            histogram(&totals.times, |sum, count, buckets| {
                of_one.encode_histogram::<NoLabelSet>(sum, count, buckets, None)
            })?;
        }
        let mut metric = encoder.encode_descriptor(
            "vellum_store_requests",
            "Requests to the store that were answered, by kind and outcome",
            None,
            MetricType::Counter,
        )?;
        for (_, kind) in RequestKind::ALL {
            let totals = self.0.store.get(kind).cloned().unwrap_or_default();
            let mut outcomes = totals.outcomes;
            outcomes.entry("ok".to_owned()).or_default();
            for (outcome, count) in outcomes {
                let family = &[("kind", kind), ("outcome", outcome.as_str())];
                ConstCounter::new(count).encode(metric.encode_family(family)?)?;
            }
        }
        Ok(())
    }

    fn counters(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let stats = &self.0;
        let all = [
            ("vellum_store_retries", "Requests to the store sent again", None, stats.now.retries),
            ("vellum_store_sent", "Bodies sent to the store", Some(Unit::Bytes), stats.up_bytes),
            (
                "vellum_store_received",
                "Bodies received from the store",
                Some(Unit::Bytes),
                stats.down_bytes,
            ),
        ];
        for (name, help, unit, value) in all.into_iter().chain(self.cache()) {
            let counter = ConstCounter::new(value);
            let kind = MetricType::Counter;
            counter.encode(encoder.encode_descriptor(name, help, unit.as_ref(), kind)?)?;
        }
        Ok(())
    }

    /// What the cache on disk did, if there is one.
    fn cache(&self) -> Vec<Counter> {
        let Some(cache) = &self.0.now.cache else { return Vec::new() };
        let bytes = || Some(Unit::Bytes);
        vec![
            ("vellum_cache_hits", "Reads answered from the disk", None, cache.hits),
            ("vellum_cache_misses", "Reads that the store was asked for", None, cache.misses),
            ("vellum_cache_hit", "Bytes read from the disk", bytes(), cache.hit_bytes),
            ("vellum_cache_kept", "Bytes written to the disk", bytes(), cache.kept_bytes),
            ("vellum_cache_not_kept", "Answers that were not kept", None, cache.not_kept),
            ("vellum_cache_evicted", "Bytes that made room", bytes(), cache.evicted_bytes),
            ("vellum_cache_corrupt", "Entries that the disk had damaged", None, cache.corrupt),
        ]
    }

    fn gauges(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let (now, bytes) = (&self.0.now, Some(Unit::Bytes));
        let exact = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let whole = [
            ("vellum_memory", "File data in memory", &bytes, Some(now.memory_bytes)),
            (
                "vellum_memory_limit",
                "Most file data that may be in memory",
                &bytes,
                Some(now.memory_limit_bytes),
            ),
            ("vellum_cached", "File data in memory, stored too", &bytes, Some(now.cached_bytes)),
            ("vellum_dirty", "File data in memory alone", &bytes, Some(now.dirty_bytes)),
            ("vellum_dirty_files", "Regular files with changes", &None, Some(now.dirty_files)),
            ("vellum_changed_inodes", "Inodes with changes", &None, Some(now.changed_inodes)),
            ("vellum_committing", "Commits under way", &None, Some(now.committing.into())),
            (
                "vellum_store_requests_in_flight",
                "Requests to the store under way, or waiting for their turn",
                &None,
                Some(now.in_flight),
            ),
            (
                "vellum_store_requests_window",
                "Requests that the store takes at once",
                &None,
                now.window,
            ),
            (
                "process_resident_memory",
                "Memory of the daemon's process",
                &bytes,
                now.resident_bytes,
            ),
        ];
        for (name, help, unit, value) in whole {
            let Some(value) = value else { continue };
            let kind = MetricType::Gauge;
            let metric = encoder.encode_descriptor(name, help, unit.as_ref(), kind)?;
            ConstGauge::new(exact(value)).encode(metric)?;
        }
        let times = [
            (
                "vellum_oldest_dirty",
                "How long the oldest change has been uncommitted; 0 if there is none",
                now.oldest_dirty_seconds.unwrap_or(0.0),
            ),
            ("vellum_uptime", "How long it has been mounted", self.0.uptime_seconds),
        ];
        for (name, help, value) in times {
            let unit = Some(&Unit::Seconds);
            let metric = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
            ConstGauge::new(value).encode(metric)?;
        }
        Ok(())
    }
}

/// Gives the sum in seconds, the count, and how many are in each bucket, by its bound in seconds.
fn histogram(
    times: &Times,
    encode: impl FnOnce(f64, u64, &[(f64, u64)]) -> fmt::Result,
) -> fmt::Result {
    let all = Buckets::from(times);
    let mut buckets = Vec::with_capacity(BOUNDS + 1);
    let mut from = 0;
    for bucket in (0..BOUNDS).map(|bound| bound * BOUNDS_STEP) {
        let count = all.counts[from..=bucket].iter().sum();
        buckets.push((seconds(bound_ns(bucket).unwrap_or(u64::MAX)), count));
        from = bucket + 1;
    }
    // The encoder's sign for what has no bound.
    buckets.push((f64::MAX, all.counts[from..].iter().sum()));
    encode(seconds(all.sum_ns), all.count(), &buckets)
}
