//! `Expect: 100-continue` (RFC 9110, 10.1.1): the body of a big put is sent once the server has
//! said that it wants it. One that is refused, for the object exists, costs no more than its head.
//!
//! The HTTP client below has no such thing, but tells of interim answers: the body holds itself
//! back until one comes. A server that does not speak of it gets the body after a second, and is
//! not asked again.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_sdk_s3::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
};
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use bytes::Bytes;
use futures::task::AtomicWaker;
use http::header::{CONTENT_LENGTH, EXPECT, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

/// Bytes of a body from which on it is worth a round trip to ask.
const ASK_MIN_BYTES: u64 = 1 << 20;
/// How long a server may take to say something, as in other clients.
const PATIENCE: Duration = Duration::from_secs(1);

/// Holds big bodies back until they are wanted.
#[derive(Debug, Default)]
pub(super) struct ExpectContinue {
    is_ignored: Arc<AtomicBool>,
}

/// What the body of one request is told.
#[derive(Debug, Default)]
struct Word {
    said: AtomicU8,
    waker: AtomicWaker,
}

const NOTHING: u8 = 0;
const SEND: u8 = 1;
const DO_NOT_SEND: u8 = 2;

impl Word {
    /// The first word counts.
    fn say(&self, word: u8) {
        let _ = self.said.compare_exchange(NOTHING, word, Ordering::AcqRel, Ordering::Acquire);
        self.waker.wake();
    }
}

/// The word to the body of the request under way.
#[derive(Clone, Debug)]
struct Under(Arc<Word>);

impl Storable for Under {
    type Storer = StoreReplace<Self>;
}

impl Intercept for ExpectContinue {
    fn name(&self) -> &'static str {
        "ExpectContinue"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        let len = request.headers().get(CONTENT_LENGTH.as_str());
        let len: u64 = len.and_then(|len| len.parse().ok()).unwrap_or(0);
        let asks = request.method() == "PUT" && len >= ASK_MIN_BYTES;
        if !asks || self.is_ignored.load(Ordering::Relaxed) {
            return Ok(());
        }
        let whole = std::mem::replace(request, HttpRequest::new(SdkBody::empty()));
        let mut whole = whole.try_into_http1x()?;
        let word = Arc::new(Word::default());
        let told = Arc::clone(&word);
        hyper::ext::on_informational(&mut whole, move |answer| {
            if answer.status() == http::StatusCode::CONTINUE {
                told.say(SEND);
            }
        });
        whole.headers_mut().insert(EXPECT, HeaderValue::from_static("100-continue"));
        let (held, is_ignored) = (Arc::clone(&word), Arc::clone(&self.is_ignored));
        let whole = whole.map(|body| {
            SdkBody::from_body_1_x(Held { body, word: held, is_ignored, patience: None })
        });
        *request = HttpRequest::try_from(whole)?;
        cfg.interceptor_state().store_put(Under(word));
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        _: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // The answer has come: what was not sent by now is not wanted.
        if let Some(Under(word)) = cfg.load::<Under>() {
            word.say(DO_NOT_SEND);
        }
        Ok(())
    }
}

/// A body that waits for a word.
struct Held {
    body: SdkBody,
    word: Arc<Word>,
    is_ignored: Arc<AtomicBool>,
    patience: Option<Pin<Box<Sleep>>>,
}

impl Held {
    fn poll_word(&mut self, cx: &mut Context<'_>) -> Poll<u8> {
        self.word.waker.register(cx.waker());
        let said = self.word.said.load(Ordering::Acquire);
        if said != NOTHING {
            return Poll::Ready(said);
        }
        let until = || Box::pin(sleep_until(Instant::now() + PATIENCE));
        ready!(self.patience.get_or_insert_with(until).as_mut().poll(cx));
        self.is_ignored.store(true, Ordering::Relaxed);
        self.word.say(SEND);
        Poll::Ready(SEND)
    }
}

impl Body for Held {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if ready!(self.poll_word(cx)) == DO_NOT_SEND {
            // The connection can't be used for anything else: it waits for this body.
            return Poll::Ready(Some(Err("the server does not want the body".into())));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
