//! An S3 server in this process.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::{StreamExt, future, stream};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustix::net::sockopt::set_socket_linger;
use s3s::dto::{StreamingBlob, Timestamp, TimestampFormat};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError, HttpResponse};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use vellum_core::shapes::{Counts, KindCounts};

use super::access::{Access, Auth};
use super::faults::Fault;
use super::service::Service;
use super::state::{Hooks, Shared};

/// Longest body that a fault reads; objects are at most 16 MiB.
const BODY_MAX_BYTES: usize = 1 << 30;

/// An S3 server on a port of its own, which ends when this is dropped. It knows `PutObject`,
/// `GetObject`, `HeadObject`, `DeleteObject`, `ListObjectsV2`, `HeadBucket` and `CreateBucket`, by
/// path-style addresses, signed (`SigV4`); everything else is answered 501. The bucket
/// [`BUCKET`](super::BUCKET) is there.
///
/// What it does to objects is what the simulated store does: the same code decides, under one
/// lock, so that a conditional put is one act.
#[derive(Debug)]
pub struct StrictServer {
    address: SocketAddr,
    hooks: Hooks,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl StrictServer {
    /// Starts it.
    ///
    /// # Errors
    /// There is no port or no thread to be had.
    pub fn start() -> io::Result<Self> {
        Self::with_form(0)
    }

    /// Starts one whose identities have this form: there are three, by the remainder.
    ///
    /// # Errors
    /// There is no port or no thread to be had.
    pub fn with_form(form: u64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let hooks = Hooks { shared: Shared::new(form) };
        let shared = Arc::clone(&hooks.shared);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("s3-server".into()).spawn(move || {
            runtime.block_on(async {
                let serving = std::pin::pin!(serve(listener, shared));
                future::select(serving, stopped).await;
            });
            runtime.shutdown_background();
        })?;
        Ok(Self { address, hooks, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as a client is told it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The handle on it.
    #[must_use]
    pub fn hooks(&self) -> &Hooks {
        &self.hooks
    }
}

impl Drop for StrictServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It panicked, or it ended: it is over.
            drop(thread.join());
        }
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut builder = S3ServiceBuilder::new(Service { shared: Arc::clone(&shared) });
    builder.set_auth(Auth);
    builder.set_access(Access);
    let service = builder.build();
    let listener = tokio::net::TcpListener::from_std(listener).expect("within a runtime");
    loop {
        // Out of file descriptors is the one thing that goes wrong here; some come back.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        tokio::spawn(connection(stream, service.clone(), Arc::clone(&shared)));
    }
}

/// Serves one connection to its end. An error of the service ends it by a reset.
async fn connection(stream: TcpStream, service: S3Service, shared: Arc<Shared>) {
    let Ok(twin) = rustix::io::dup(&stream) else { return };
    let cut = || set_socket_linger(&twin, Some(Duration::ZERO)).unwrap_or_default();
    if shared.is_out() {
        return cut();
    }
    drop(stream.set_nodelay(true));
    let answering = service_fn(|request| answer(request, &service, &shared, &cut));
    let http = hyper::server::conn::http1::Builder::new();
    // The client went away, or it was meant to fail.
    drop(http.serve_connection(TokioIo::new(stream), answering).await);
}

/// The time on a clock that is so many seconds ahead, as headers have it.
fn date(ahead_seconds: i64) -> header::HeaderValue {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_secs()).unwrap_or(0);
    let seconds = u64::try_from(now + ahead_seconds).unwrap_or(0);
    let date = Timestamp::from(UNIX_EPOCH + Duration::from_secs(seconds));
    let mut text = Vec::new();
    date.format(TimestampFormat::HttpDate, &mut text).expect("it is written to memory");
    header::HeaderValue::from_bytes(&text).expect("a date is text")
}

/// Why no answer comes.
fn no_answer() -> HttpError {
    HttpError::new("by arrangement".into())
}

async fn answer(
    request: Request<Incoming>,
    service: &S3Service,
    shared: &Shared,
    cut: &impl Fn(),
) -> Result<HttpResponse, HttpError> {
    let (method, target) = (request.method().clone(), Target::of(&request));
    let put_bytes = len_of(&request);
    if !shared.latency().is_zero() {
        tokio::time::sleep(shared.latency()).await;
    }
    if shared.is_out() {
        cut();
        return Err(no_answer());
    }
    if let Some(region) = shared.region().filter(|region| !is_signed_for(&request, region)) {
        return elsewhere(request.map(Body::from), region).await;
    }
    let signed = request.headers().get("authorization").and_then(|words| words.to_str().ok());
    let mut answered = if signed.is_some_and(|signed| shared.is_expired(signed)) {
        canned(request.map(Body::from), 400, "ExpiredToken").await
    } else {
        let fault = shared.fault(&method, target.key());
        faulty(fault, request.map(Body::from), service, cut).await
    };
    if let (Some(ahead), Ok(response)) = (shared.clock(), &mut answered) {
        response.headers_mut().insert(header::DATE, date(ahead));
    }
    let (failed, got_bytes) = match &answered {
        Ok(response) => (response.status().as_u16() >= 400, len_of_response(response)),
        Err(_) => (true, 0),
    };
    // What is refused, or only looked at, has no body worth the name.
    let has_body = !failed && method != Method::HEAD;
    let passed = shared.passes_until(if has_body { put_bytes + got_bytes } else { 0 });
    if let Some(passed) = passed {
        tokio::time::sleep_until(passed.into()).await;
    }
    let mut state = shared.state.lock();
    if let Some((counts, bytes)) = target.count(&mut state.counts, &method, put_bytes, got_bytes) {
        counts.requests += 1;
        counts.failed += u64::from(failed);
        counts.bytes += if failed { 0 } else { bytes };
    }
    answered
}

/// Whether a request is signed for a region, or not at all.
fn is_signed_for(request: &Request<Incoming>, region: &str) -> bool {
    let signature = request.headers().get("authorization").and_then(|words| words.to_str().ok());
    signature.is_none_or(|words| words.contains(&format!("/{region}/s3/")))
}

async fn elsewhere(request: Request<Body>, region: &str) -> Result<HttpResponse, HttpError> {
    let mut refusal = canned(request, 301, "PermanentRedirect").await?;
    let region = region.parse().expect("the name of a region");
    refusal.headers_mut().insert("x-amz-bucket-region", region);
    Ok(refusal)
}

async fn faulty(
    fault: Option<Fault>,
    mut request: Request<Body>,
    service: &S3Service,
    cut: &impl Fn(),
) -> Result<HttpResponse, HttpError> {
    let Some(fault) = fault else { return service.call(request).await };
    match fault {
        Fault::SlowDown => canned(request, 503, "SlowDown").await,
        Fault::ErrorBefore => canned(request, 500, "InternalError").await,
        Fault::ExpiredToken => canned(request, 403, "ExpiredToken").await,
        Fault::Conflict => canned(request, 409, "ConditionalRequestConflict").await,
        Fault::ResetBefore => {
            // Read first: else it is chance how far its sender has come.
            drop(request.body_mut().store_all_limited(BODY_MAX_BYTES).await);
            cut();
            Err(no_answer())
        }
        Fault::ErrorAfter => {
            let applied = service.call(request).await?;
            drop(applied);
            canned(Request::new(Body::empty()), 500, "InternalError").await
        }
        Fault::ResetAfter => {
            drop(service.call(request).await?);
            cut();
            Err(no_answer())
        }
        Fault::Held(time) => {
            tokio::time::sleep(time).await;
            service.call(request).await
        }
        Fault::Corrupted => {
            changed(service.call(request).await?, |mut body| {
                let middle = body.len() / 2;
                body.get_mut(middle).into_iter().for_each(|byte| *byte ^= 1);
                Body::from(body)
            })
            .await
        }
        Fault::Truncated => {
            changed(service.call(request).await?, |mut body| {
                body.truncate(body.len() / 2);
                let end = stream::once(async {
                    // Meanwhile what came before is sent.
                    tokio::task::yield_now().await;
                    Err(io::Error::from(io::ErrorKind::ConnectionAborted))
                });
                let parts = stream::iter([Ok(Bytes::from(body))]).chain(end);
                Body::from(StreamingBlob::wrap(parts))
            })
            .await
        }
        Fault::Stalled(time) => {
            changed(service.call(request).await?, |mut body| {
                let rest = body.split_off(body.len() / 2);
                let late = stream::once(async move {
                    tokio::time::sleep(time).await;
                    Ok::<_, io::Error>(Bytes::from(rest))
                });
                let begin = stream::iter([Ok(Bytes::from(body))]);
                Body::from(StreamingBlob::wrap(begin.chain(late)))
            })
            .await
        }
    }
}

/// Refuses a request that was read whole, unless its sender waits for leave to send its body.
async fn canned(
    mut request: Request<Body>,
    status: u16,
    code: &str,
) -> Result<HttpResponse, HttpError> {
    if !request.headers().contains_key(header::EXPECT) {
        drop(request.body_mut().store_all_limited(BODY_MAX_BYTES).await);
    }
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
         <Message>by arrangement</Message><RequestId>ARRANGED</RequestId></Error>"
    );
    let body = if *request.method() == Method::HEAD { Body::empty() } else { Body::from(text) };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    let xml = header::HeaderValue::from_static("application/xml");
    response.headers_mut().insert(header::CONTENT_TYPE, xml);
    Ok(response)
}

/// An answer with another body under the same headers, its length among them.
async fn changed(
    mut response: HttpResponse,
    change: impl FnOnce(Vec<u8>) -> Body,
) -> Result<HttpResponse, HttpError> {
    let body = response.body_mut().store_all_limited(BODY_MAX_BYTES).await;
    let body = body.map_err(HttpError::new)?;
    let is_told = response.headers().contains_key(header::CONTENT_LENGTH);
    if !is_told && !body.is_empty() {
        response.headers_mut().insert(header::CONTENT_LENGTH, body.len().into());
    }
    if !body.is_empty() {
        *response.body_mut() = change(body.to_vec());
    }
    Ok(response)
}

/// What a request is about.
enum Target {
    Object(String),
    /// A listing of what begins so.
    Listing(String),
    Other,
}

impl Target {
    fn of(request: &Request<Incoming>) -> Self {
        let path = request.uri().path().trim_start_matches('/');
        let (_, key) = path.split_once('/').unwrap_or_default();
        if !key.is_empty() {
            return Self::Object(plain(key));
        }
        let query = || request.uri().query().unwrap_or_default().split('&');
        if !query().any(|part| part == "list-type=2") {
            return Self::Other;
        }
        let prefix = query().find_map(|part| part.strip_prefix("prefix="));
        Self::Listing(plain(prefix.unwrap_or_default()))
    }

    fn key(&self) -> &str {
        match self {
            Self::Object(key) | Self::Listing(key) => key,
            Self::Other => "",
        }
    }

    /// Where a request counts, and with how many bytes if it succeeds.
    fn count<'a>(
        &self,
        counts: &'a mut Counts,
        method: &Method,
        put_bytes: u64,
        got_bytes: u64,
    ) -> Option<(&'a mut KindCounts, u64)> {
        match (self, method.as_str()) {
            (Self::Object(_), "PUT") => Some((&mut counts.put, put_bytes)),
            (Self::Object(_), "HEAD") => Some((&mut counts.head, 0)),
            (Self::Object(_), "DELETE") => Some((&mut counts.delete, 0)),
            (Self::Object(_), "GET") => Some((&mut counts.get, got_bytes)),
            (Self::Listing(_), "GET") => Some((&mut counts.list, 0)),
            (Self::Object(_) | Self::Listing(_) | Self::Other, _) => None,
        }
    }
}

/// Undoes percent signs.
fn plain(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend_from_slice(&part.as_bytes()[2..]);
            }
            None => bytes.extend_from_slice(part.as_bytes()),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Bytes of the body that a request sends.
fn len_of(request: &Request<Incoming>) -> u64 {
    let header = |name: &str| request.headers().get(name)?.to_str().ok()?.parse().ok();
    header("x-amz-decoded-content-length").or_else(|| header("content-length")).unwrap_or(0)
}

fn len_of_response(response: &HttpResponse) -> u64 {
    let len = response.headers().get(header::CONTENT_LENGTH);
    len.and_then(|len| len.to_str().ok()?.parse().ok()).unwrap_or(0)
}
