//! Object stores: one trait, one opener, and what every store has in common.
//!
//! A [`Store`] is a backend behind three things that all backends share: counters that commands
//! and tests read, the test hooks of [`hooks`], and the trait [`ObjectStore`]. The backend of a
//! local directory is [`DirStore`], that of a bucket [`S3Store`], over which a cache on disk may
//! lie ([`cache`]). The counters are below the cache: they count what the backend was asked.

mod cache;
mod dir;
mod error;
mod hooks;
mod keys;
mod location;
mod s3;

#[cfg(test)]
mod testing;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use vellum_core::shapes::{Counts, Slice, StoreError, StoreOutcome, StoreRequest};

use crate::figures::{RequestKind, Requests};
use cache::Cache;
pub(crate) use cache::cache_home;
use cache::seen::{Offline, Seen};
pub use cache::{CacheCounts, CacheOptions, MinFree};
pub use dir::DirStore;
pub use error::OpenError;
pub(crate) use error::os_words;
pub use location::{Location, StoreOptions};
pub(crate) use location::{Meant, url_parts};
pub use s3::S3Store;
pub(crate) use s3::{S3Place, facts};

/// Answers store requests. One request has one outcome; nothing is retried inside.
pub trait ObjectStore: Send + Sync {
    /// Performs `request`. Dropping the future does not take the request back: a put may still
    /// be applied.
    fn request(&self, request: StoreRequest) -> BoxFuture<'static, StoreOutcome>;

    /// How many bytes it has room for, where that is known. May block for a local disk.
    fn free_bytes(&self) -> Option<u64> {
        None
    }

    /// Names the store, if it must be asked whether it keeps the conditions of puts.
    fn to_be_probed(&self) -> Option<String> {
        None
    }

    /// Whether it is known, without asking, that what was opened is there no more.
    fn is_gone(&self) -> bool {
        false
    }

    /// How many requests it takes at once, where it has such a bound.
    fn window(&self) -> Option<usize> {
        None
    }
}

/// An opened store.
pub struct Store {
    plain: Arc<Plain>,
    address: PathBuf,
    cache: Option<Cache>,
    /// Whether what is written goes into the cache too.
    keeps_written: bool,
    /// Where the header and refs are noted that were seen.
    seen: Option<Arc<Seen>>,
    /// What stands for the backend if that is not to be reached.
    offline: Option<Arc<Offline>>,
}

/// A backend with counters and hooks.
struct Plain {
    backend: Arc<dyn ObjectStore>,
    counts: Mutex<Counts>,
    requests: Arc<Requests>,
    hooks: Option<hooks::Hooks>,
}

impl Store {
    /// Opens the store at a location: a directory that exists, on a local file system, or a
    /// bucket, of which nothing is asked yet.
    ///
    /// # Errors
    /// [`OpenError`] names the address and what is wrong with it.
    pub async fn open(location: &Location) -> Result<Arc<Self>, OpenError> {
        let meant = location.meant()?;
        let root = location.cache.as_ref().and_then(CacheOptions::directory);
        let is_bucket = matches!(meant, Meant::Bucket(_));
        if location.offline && !(is_bucket && root.is_some()) {
            return Err(OpenError::NotOffline { path: location.address.clone(), is_bucket });
        }
        let (backend, name): (Arc<dyn ObjectStore>, _) = match meant {
            Meant::Directory => (Arc::new(DirStore::open(&location.address)?), None),
            Meant::Bucket(place) => {
                let bucket = S3Store::open(place, &location.options).await?;
                let name = bucket.to_be_probed();
                (Arc::new(bucket), name)
            }
        };
        let hooks = hooks::Hooks::from_environment()?;
        let mut store = Self::plain(backend, &location.address, hooks);
        if let (Some(options), Some(root), Some(name)) = (&location.cache, root, name) {
            let seen = Seen::of(&root, &name);
            store.cache = Some(Cache::new(root, options));
            store.keeps_written = location.keeps_written;
            if location.offline {
                let offline = Arc::new(Offline::new(seen));
                store.plain = Arc::new(Plain::over(Arc::clone(&offline) as Arc<_>, None));
                store.offline = Some(offline);
            } else {
                store.seen = Some(Arc::new(seen));
            }
        }
        Ok(Arc::new(store))
    }

    /// A store over any backend, without hooks.
    #[must_use]
    pub fn over(backend: Arc<dyn ObjectStore>, address: &Path) -> Arc<Self> {
        Arc::new(Self::plain(backend, address, None))
    }

    fn plain(backend: Arc<dyn ObjectStore>, address: &Path, hooks: Option<hooks::Hooks>) -> Self {
        let plain = Arc::new(Plain::over(backend, hooks));
        Self {
            plain,
            address: address.to_path_buf(),
            cache: None,
            keeps_written: true,
            seen: None,
            offline: None,
        }
    }

    /// Where the store is, as it was given.
    #[must_use]
    pub fn address(&self) -> &Path {
        &self.address
    }

    /// What was asked of the backend since the store was opened.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.plain.counts.lock()
    }

    /// What was asked of the backend, what it answered, and how long that took.
    pub(crate) fn requests(&self) -> &Requests {
        &self.plain.requests
    }

    /// What the cache did since the store was opened; none if there is no cache.
    #[must_use]
    pub fn cache_counts(&self) -> Option<CacheCounts> {
        self.cache.as_ref().map(Cache::counts)
    }

    /// Where the cache is, and how many bytes it may take; none if there is no cache.
    #[must_use]
    pub fn cache_place(&self) -> Option<(&Path, u64)> {
        self.cache.as_ref().map(|cache| (cache.root(), cache.bound_bytes()))
    }

    /// Counts what lies in the cache, in the background, if that was not done for long.
    pub fn count_cache(&self) {
        if let Some(cache) = &self.cache {
            cache.count_anew();
        }
    }

    /// Whether a part of an object, or all of it, is in the cache; it counts as used.
    pub async fn has_kept(&self, key: &str, range: Option<Range<u64>>) -> bool {
        match &self.cache {
            Some(cache) => cache.has(key, range).await,
            None => false,
        }
    }

    /// Waits until what was read is kept.
    pub async fn settle(&self) {
        if let Some(cache) = &self.cache {
            cache.settle().await;
        }
    }

    /// Whether the backend is not to be reached.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.offline.is_some()
    }

    /// When the ref was seen that was read last, in seconds since 1970, if this is offline.
    #[must_use]
    pub fn offline_as_of(&self) -> Option<u64> {
        self.offline.as_ref()?.as_of()
    }
}

impl Plain {
    fn over(backend: Arc<dyn ObjectStore>, hooks: Option<hooks::Hooks>) -> Self {
        Self { backend, counts: Mutex::default(), requests: Arc::default(), hooks }
    }

    async fn perform(&self, request: StoreRequest) -> StoreOutcome {
        let (kind, began) = (RequestKind::of(&request), Instant::now());
        let under_way = self.requests.asked();
        let asked = self.counts.lock().asked(&request);
        let refused = match &self.hooks {
            Some(hooks) => hooks.before(&request).await,
            None => None,
        };
        let outcome = match refused {
            Some(error) => StoreOutcome::Failed(error),
            None => self.backend.request(request).await,
        };
        self.counts.lock().answered(asked, &outcome);
        under_way.answered(kind, &outcome, began.elapsed());
        outcome
    }
}

/// [`Plain`] as whoever fetches for the cache sees it.
struct Below(Arc<Plain>);

impl ObjectStore for Below {
    fn request(&self, request: StoreRequest) -> BoxFuture<'static, StoreOutcome> {
        let plain = Arc::clone(&self.0);
        Box::pin(async move { plain.perform(request).await })
    }
}

impl ObjectStore for Store {
    fn request(&self, request: StoreRequest) -> BoxFuture<'static, StoreOutcome> {
        let plain = Arc::clone(&self.plain);
        let Some(cache) = self.cache.clone() else {
            return Box::pin(async move { plain.perform(request).await });
        };
        let (seen, keeps_written) = (self.seen.clone(), self.keeps_written);
        Box::pin(async move {
            match request {
                StoreRequest::Get { key, range, .. } if Seen::is_noted(&key) => {
                    let is_whole = range.is_none();
                    let get = StoreRequest::Get { key: key.clone(), range, fresh: true };
                    let outcome = plain.perform(get).await;
                    note(seen.filter(|_| is_whole), key, outcome, None).await
                }
                StoreRequest::Get { key, range, fresh } => {
                    let below: Arc<dyn ObjectStore> = Arc::new(Below(plain));
                    cache.get(&below, key, range, fresh).await
                }
                StoreRequest::Put { key, body, condition } => {
                    let put = (key.clone(), body.clone());
                    let request = StoreRequest::Put { key, body, condition };
                    let outcome = plain.perform(request).await;
                    let (key, body) = put;
                    // What exists under the name of these bytes is, or will be, these bytes.
                    let is_there = matches!(outcome, StoreOutcome::Failed(StoreError::Exists));
                    let is_stored = matches!(outcome, StoreOutcome::Stored { .. });
                    if !is_stored && (!is_there || Seen::is_noted(&key)) {
                        return outcome;
                    }
                    if Seen::is_noted(&key) {
                        let parts = body.iter().map(Slice::as_bytes);
                        let bytes = parts.collect::<Vec<_>>().concat();
                        return note(seen, key, outcome, Some(bytes)).await;
                    }
                    if keeps_written {
                        cache.put(&key, &body).await;
                    }
                    outcome
                }
                StoreRequest::Delete { key } => {
                    let outcome = plain.perform(StoreRequest::Delete { key: key.clone() }).await;
                    if Seen::is_noted(&key) {
                        return note(seen, key, outcome, None).await;
                    }
                    cache.forget(&key).await;
                    outcome
                }
                other @ (StoreRequest::Head { .. } | StoreRequest::List { .. }) => {
                    plain.perform(other).await
                }
            }
        })
    }

    fn free_bytes(&self) -> Option<u64> {
        self.plain.backend.free_bytes()
    }

    fn to_be_probed(&self) -> Option<String> {
        self.plain.backend.to_be_probed()
    }

    fn is_gone(&self) -> bool {
        self.plain.backend.is_gone()
    }

    fn window(&self) -> Option<usize> {
        self.plain.backend.window()
    }
}

/// Notes what the store answered of a header or ref, and passes it on.
async fn note(
    seen: Option<Arc<Seen>>,
    key: String,
    outcome: StoreOutcome,
    body: Option<Vec<u8>>,
) -> StoreOutcome {
    let Some(seen) = seen else { return outcome };
    let work = move || {
        seen.note(&key, &outcome, body.as_deref());
        outcome
    };
    let noted = tokio::task::spawn_blocking(work).await;
    noted.unwrap_or(StoreOutcome::Failed(StoreError::Unreachable))
}
