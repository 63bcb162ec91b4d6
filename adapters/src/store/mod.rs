//! Object stores: one trait, one opener, and what every store has in common.
//!
//! A [`Store`] is a backend behind three things that all backends share: counters that commands
//! and tests read, the test hooks of [`hooks`], and the trait [`ObjectStore`]. The backend of a
//! local directory is [`DirStore`], that of a bucket [`S3Store`].

mod dir;
mod error;
mod hooks;
mod keys;
mod location;
mod s3;

#[cfg(test)]
mod testing;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use vellum_core::shapes::{Counts, StoreOutcome, StoreRequest};

use crate::figures::{RequestKind, Requests};
pub use dir::DirStore;
pub use error::OpenError;
pub(crate) use error::os_words;
pub use location::{Location, StoreOptions};
pub(crate) use location::{Meant, url_parts};
pub use s3::S3Store;

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
    backend: Arc<dyn ObjectStore>,
    address: PathBuf,
    counts: Arc<Mutex<Counts>>,
    requests: Arc<Requests>,
    hooks: Option<Arc<hooks::Hooks>>,
}

impl Store {
    /// Opens the store at a location: a directory that exists, on a local file system, or a
    /// bucket, of which nothing is asked yet.
    ///
    /// # Errors
    /// [`OpenError`] names the address and what is wrong with it.
    pub async fn open(location: &Location) -> Result<Arc<Self>, OpenError> {
        let backend: Arc<dyn ObjectStore> = match location.meant()? {
            Meant::Directory => Arc::new(DirStore::open(&location.address)?),
            Meant::Bucket(place) => Arc::new(S3Store::open(place, &location.options).await?),
        };
        let hooks = hooks::Hooks::from_environment()?.map(Arc::new);
        let (counts, requests) = (Arc::default(), Arc::default());
        let address = location.address.clone();
        Ok(Arc::new(Self { backend, address, counts, requests, hooks }))
    }

    /// A store over any backend, without hooks.
    #[must_use]
    pub fn over(backend: Arc<dyn ObjectStore>, address: &Path) -> Arc<Self> {
        let (counts, requests) = (Arc::default(), Arc::default());
        let address = address.to_path_buf();
        Arc::new(Self { backend, address, counts, requests, hooks: None })
    }

    /// Where the store is, as it was given.
    #[must_use]
    pub fn address(&self) -> &Path {
        &self.address
    }

    /// What was asked of the store since it was opened.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.counts.lock()
    }

    /// What was asked of the store, what it answered, and how long that took.
    pub(crate) fn requests(&self) -> &Requests {
        &self.requests
    }
}

impl ObjectStore for Store {
    fn request(&self, request: StoreRequest) -> BoxFuture<'static, StoreOutcome> {
        let (counts, hooks) = (Arc::clone(&self.counts), self.hooks.clone());
        let (backend, requests) = (Arc::clone(&self.backend), Arc::clone(&self.requests));
        Box::pin(async move {
            let (kind, began) = (RequestKind::of(&request), Instant::now());
            let under_way = requests.asked();
            let asked = counts.lock().asked(&request);
            let refused = match &hooks {
                Some(hooks) => hooks.before(&request).await,
                None => None,
            };
            let outcome = match refused {
                Some(error) => StoreOutcome::Failed(error),
                None => backend.request(request).await,
            };
            counts.lock().answered(asked, &outcome);
            under_way.answered(kind, &outcome, began.elapsed());
            outcome
        })
    }

    fn free_bytes(&self) -> Option<u64> {
        self.backend.free_bytes()
    }

    fn to_be_probed(&self) -> Option<String> {
        self.backend.to_be_probed()
    }

    fn is_gone(&self) -> bool {
        self.backend.is_gone()
    }

    fn window(&self) -> Option<usize> {
        self.backend.window()
    }
}
