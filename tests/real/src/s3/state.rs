//! What a server holds, and the handle on it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use s3s::dto::Checksum;
use tokio::sync::watch;
use vellum_core::shapes::{Condition, Counts, Etag, Key};
use vellum_sim::store::{Objects, Refusal};

use super::access::BUCKET;
use super::faults::{self, Arranged, Fault, Mode};
use super::sums::Algorithm;

/// How long a racing put waits for another one.
const RACE_WAIT: Duration = Duration::from_secs(2);

/// What is told of an object beside its bytes.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) algorithm: Algorithm,
    pub(super) sum: Checksum,
    pub(super) modified: SystemTime,
}

/// An object as it is read.
pub(super) struct Object {
    pub(super) body: Vec<u8>,
    pub(super) etag: String,
    pub(super) told: Told,
}

#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) objects: Objects,
    told: BTreeMap<Key, Told>,
}

impl Bucket {
    fn new(form: u64) -> Self {
        Self { objects: Objects::new(form), told: BTreeMap::new() }
    }

    /// An object with all that is told of it.
    pub(super) fn read(&self, key: &str) -> Option<Object> {
        let (body, etag) = self.objects.get(key)?;
        let told = self.told.get(key)?.clone();
        Some(Object { body: body.to_vec(), etag: on_the_wire(etag).to_owned(), told })
    }

    /// The condition that names an identity as the wire has it.
    pub(super) fn matches(&self, key: &str, wanted: &str) -> Condition {
        let present = self.objects.get(key).map(|(_, etag)| etag);
        let same = present.filter(|etag| on_the_wire(etag) == wanted);
        Condition::Matches(same.cloned().unwrap_or_else(|| wanted.into()))
    }

    fn put(&mut self, key: &str, body: Vec<u8>, algorithm: Algorithm) -> Put {
        let sum = algorithm.sum(&body);
        let told = Told { algorithm, sum: sum.clone(), modified: SystemTime::now() };
        let etag = self.objects.put(key, body);
        self.told.insert(key.to_owned(), told);
        Put { etag: on_the_wire(&etag).to_owned(), sum }
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.objects.remove(key);
        self.told.remove(key);
    }
}

/// What a put came to.
pub(super) struct Put {
    pub(super) etag: String,
    pub(super) sum: Checksum,
}

/// An identity without the quotes that some have: on the wire all are put in quotes.
pub(super) fn on_the_wire(etag: &Etag) -> &str {
    etag.trim_matches('"')
}

/// Under what condition a body is to be put.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    Anything,
    Absent,
    Identity(String),
}

/// A line of a network.
#[derive(Debug)]
struct Link {
    bytes_per_s: u64,
    /// When the last body that was let in has passed.
    free_at: Instant,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) buckets: BTreeMap<String, Bucket>,
    form: u64,
    pub(super) counts: Counts,
    arranged: Vec<Arranged>,
    mode: Mode,
    latency: Duration,
    /// What all bodies pass through, if that is narrower than this host.
    link: Option<Link>,
    /// Seconds by which its clock is ahead; none if it tells the time of this host.
    clock: Option<i64>,
    outage: bool,
    /// Access keys that were valid once.
    expired: Vec<&'static str>,
    /// Region of the server; any, if there is none.
    region: Option<&'static str>,
    /// Whether a racing put waits.
    waits: bool,
}

/// What a server and its handles share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    /// How many pairs of racing puts have met.
    met: watch::Sender<u64>,
}

impl Shared {
    pub(super) fn new(form: u64) -> Arc<Self> {
        let state = State {
            buckets: BTreeMap::from([(BUCKET.to_owned(), Bucket::new(form))]),
            form,
            counts: Counts::default(),
            arranged: Vec::new(),
            mode: Mode::Atomic,
            latency: Duration::ZERO,
            link: None,
            clock: None,
            outage: false,
            expired: Vec::new(),
            region: None,
            waits: false,
        };
        Arc::new(Self { state: Mutex::new(state), met: watch::Sender::new(0) })
    }

    /// Whether this made it.
    pub(super) fn create_bucket(&self, name: &str) -> bool {
        let mut state = self.state.lock();
        let form = state.form;
        let is_new = !state.buckets.contains_key(name);
        state.buckets.entry(name.to_owned()).or_insert_with(|| Bucket::new(form));
        is_new
    }

    /// Puts a body if `wanted` holds. `None` when there is no such bucket.
    pub(super) async fn put(
        &self,
        bucket: &str,
        key: &str,
        body: Vec<u8>,
        wanted: &Wanted,
        algorithm: Algorithm,
    ) -> Option<Result<Put, Refusal>> {
        {
            let mut state = self.state.lock();
            let mode = state.mode;
            let bucket = state.buckets.get_mut(bucket)?;
            let condition = match wanted {
                Wanted::Anything => None,
                Wanted::Absent => Some(Condition::Absent),
                Wanted::Identity(etag) => Some(bucket.matches(key, etag)),
            };
            let refusal = condition.and_then(|condition| bucket.objects.refusal(key, &condition));
            match (mode, refusal) {
                (Mode::Atomic | Mode::Races, Some(refusal)) => return Some(Err(refusal)),
                (Mode::Atomic, None) | (Mode::Ignores, _) => {
                    return Some(Ok(bucket.put(key, body, algorithm)));
                }
                (Mode::Races, None) => {}
            }
        }
        self.meet().await;
        let mut state = self.state.lock();
        Some(Ok(state.buckets.get_mut(bucket)?.put(key, body, algorithm)))
    }

    /// Waits for another one that waits.
    async fn meet(&self) {
        let mut met = self.met.subscribe();
        {
            let mut state = self.state.lock();
            state.waits = !state.waits;
            if !state.waits {
                self.met.send_modify(|count| *count += 1);
                return;
            }
            met.mark_unchanged();
        }
        if tokio::time::timeout(RACE_WAIT, met.changed()).await.is_err() {
            self.state.lock().waits = false;
        }
    }

    pub(super) fn clock(&self) -> Option<i64> {
        self.state.lock().clock
    }

    pub(super) fn latency(&self) -> Duration {
        self.state.lock().latency
    }

    /// Until when a body of so many bytes is on its way, if it is.
    pub(super) fn passes_until(&self, bytes: u64) -> Option<Instant> {
        let mut state = self.state.lock();
        let link = state.link.as_mut()?;
        let takes = Duration::from_secs_f64(bytes as f64 / link.bytes_per_s as f64);
        link.free_at = link.free_at.max(Instant::now()) + takes;
        Some(link.free_at)
    }

    pub(super) fn region(&self) -> Option<&'static str> {
        self.state.lock().region
    }

    /// Whether a request with this `Authorization` is signed with keys that were valid once.
    pub(super) fn is_expired(&self, authorization: &str) -> bool {
        let state = self.state.lock();
        state.expired.iter().any(|id| authorization.contains(&format!("Credential={id}/")))
    }

    pub(super) fn is_out(&self) -> bool {
        self.state.lock().outage
    }

    pub(super) fn fault(&self, method: &hyper::Method, key: &str) -> Option<Fault> {
        faults::next(&mut self.state.lock().arranged, method, key)
    }
}

/// What is done to an object behind everybody's back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tampering {
    /// It is gone.
    Missing,
    /// Half of it is left; its checksum is that of this half.
    Truncated,
    /// One bit is turned; its checksum goes with it.
    Corrupted,
    /// One bit is turned, and its checksum stays: as the medium does it.
    Rotten,
    /// It holds what the object of this key holds.
    Swapped(Key),
}

/// The handle on a server that runs: what it holds and counted, and what shall go wrong.
#[derive(Clone, Debug)]
pub struct Hooks {
    pub(super) shared: Arc<Shared>,
}

impl Hooks {
    /// Its clock is so many seconds ahead, as answers tell it.
    pub fn set_clock(&self, ahead_seconds: i64) {
        self.shared.state.lock().clock = Some(ahead_seconds);
    }

    /// Every request waits this long before it is applied.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.state.lock().latency = latency;
    }

    /// All bodies together pass at so many bytes a second, one after the other.
    pub fn set_link(&self, bytes_per_s: u64) {
        let link = Link { bytes_per_s, free_at: Instant::now() };
        self.shared.state.lock().link = Some(link);
    }

    /// How conditions are dealt with from now on.
    pub fn set_mode(&self, mode: Mode) {
        self.shared.state.lock().mode = mode;
    }

    /// From now on the server is in this region: who signs for another is sent there, as on S3.
    pub fn set_region(&self, region: &'static str) {
        self.shared.state.lock().region = Some(region);
    }

    /// From now on the keys of this id are valid no more.
    pub fn expire(&self, id: &'static str) {
        self.shared.state.lock().expired.push(id);
    }

    /// Whether all requests are refused by a reset, and nothing is applied.
    pub fn set_outage(&self, outage: bool) {
        self.shared.state.lock().outage = outage;
    }

    /// Arranges a fault; those arranged before go first.
    pub fn arrange(&self, arranged: Arranged) {
        self.shared.state.lock().arranged.push(arranged);
    }

    /// Faults that are arranged and did not all happen yet.
    #[must_use]
    pub fn arranged(&self) -> Vec<Arranged> {
        self.shared.state.lock().arranged.clone()
    }

    /// Ends all faults, latency and outage included.
    pub fn heal(&self) {
        let mut state = self.shared.state.lock();
        state.arranged.clear();
        (state.mode, state.latency, state.outage) = (Mode::Atomic, Duration::ZERO, false);
    }

    /// Requests by kind since the start, and body bytes of those answered with success. Resets
    /// and errors count as failed, whatever was applied; requests during an outage do not count.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.state.lock().counts
    }

    /// All keys of a bucket, in byte order.
    #[must_use]
    pub fn keys(&self, bucket: &str) -> Vec<Key> {
        let state = self.shared.state.lock();
        state.buckets.get(bucket).map(|it| it.objects.keys().cloned().collect()).unwrap_or_default()
    }

    /// Puts an object there, whatever its key. Answers whether there is such a bucket.
    pub fn plant(&self, bucket: &str, key: &str, body: &[u8]) -> bool {
        let mut state = self.shared.state.lock();
        let Some(bucket) = state.buckets.get_mut(bucket) else { return false };
        bucket.put(key, body.to_vec(), Algorithm::Crc64Nvme);
        true
    }

    /// The bytes of an object.
    #[must_use]
    pub fn body(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        let state = self.shared.state.lock();
        Some(state.buckets.get(bucket)?.objects.get(key)?.0.to_vec())
    }

    /// Tampers with an object: its identity stays. Answers whether it (and the object that it is
    /// swapped with) was there.
    pub fn tamper(&self, bucket: &str, key: &str, tampering: &Tampering) -> bool {
        let mut state = self.shared.state.lock();
        let Some(bucket) = state.buckets.get_mut(bucket) else { return false };
        let other = match tampering {
            Tampering::Swapped(other) => match bucket.objects.body(other) {
                Some(body) => body.to_vec(),
                None => return false,
            },
            Tampering::Missing
            | Tampering::Truncated
            | Tampering::Corrupted
            | Tampering::Rotten => Vec::new(),
        };
        let done = bucket.objects.tamper(key, |mut body| match tampering {
            Tampering::Missing => None,
            Tampering::Truncated => {
                body.truncate(body.len() / 2);
                Some(body)
            }
            Tampering::Corrupted | Tampering::Rotten => {
                let middle = body.len() / 2;
                body.get_mut(middle).into_iter().for_each(|byte| *byte ^= 1);
                Some(body)
            }
            Tampering::Swapped(_) => Some(other),
        });
        match (bucket.objects.body(key), bucket.told.get_mut(key)) {
            (Some(body), Some(told)) if *tampering != Tampering::Rotten => {
                told.sum = told.algorithm.sum(body);
            }
            (None, Some(_)) => drop(bucket.told.remove(key)),
            (Some(_), _) | (None, None) => {}
        }
        done
    }
}
