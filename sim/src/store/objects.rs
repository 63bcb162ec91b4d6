//! What a store holds, and what each request does to it in its apply instant.

use std::collections::BTreeMap;

use vellum_core::shapes::{Condition, Etag, Key, StoreError, StoreOutcome, StoreRequest};

use super::faults::Spoil;
use crate::world::Trace;

/// Most bytes of a key, as on S3.
const KEY_MAX_BYTES: usize = 1024;

/// Why a put is refused. [`StoreError`] knows the last two as one; S3 answers 412 and 404.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The key was to be absent, and exists.
    Exists,
    /// The key was to hold a certain body, and holds another.
    Differs,
    /// The key was to hold a certain body, and does not exist.
    Gone,
}

/// Objects by key. Every put makes an identity that was never seen before, unless the store is one
/// whose identities are made of the bytes alone, as S3's often are.
#[derive(Clone, Debug)]
pub struct Objects {
    bodies: BTreeMap<Key, (Vec<u8>, Etag)>,
    made: u64,
    form: u64,
    /// Whether it keeps checksums of bodies.
    keeps_sums: bool,
}

impl Objects {
    /// An empty store. `form` changes how its identities look, and whether it keeps checksums.
    #[must_use]
    pub fn new(form: u64) -> Self {
        Self { bodies: BTreeMap::new(), made: 0, form, keeps_sums: (form / 4).is_multiple_of(2) }
    }

    /// Whether it keeps checksums from now on.
    pub fn keep_sums(&mut self, keeps: bool) {
        self.keeps_sums = keeps;
    }

    /// Carries `request` out, at once.
    pub fn apply(&mut self, request: &StoreRequest) -> StoreOutcome {
        match self.perform(request) {
            Ok(outcome) => outcome,
            Err(error) => StoreOutcome::Failed(error),
        }
    }

    fn perform(&mut self, request: &StoreRequest) -> Result<StoreOutcome, StoreError> {
        match request {
            StoreRequest::Get { key, range, .. } => {
                let (body, etag) = self.find(key)?;
                let len = body.len() as u64;
                let range = range.clone().unwrap_or(0..len);
                let (start, end) = (range.start.min(len), range.end.min(len));
                let body = body[start as usize..end.max(start) as usize].to_vec();
                Ok(StoreOutcome::Got { body: body.into(), etag: etag.clone() })
            }
            StoreRequest::Head { key } => {
                let (body, etag) = self.find(key)?;
                let crc32 = self.keeps_sums.then(|| crc32fast::hash(body));
                Ok(StoreOutcome::Found { len: body.len() as u64, crc32, etag: etag.clone() })
            }
            StoreRequest::Put { key, body, condition } => {
                check_key(key)?;
                match self.refusal(key, condition) {
                    Some(Refusal::Exists) => return Err(StoreError::Exists),
                    Some(Refusal::Differs | Refusal::Gone) => return Err(StoreError::Mismatch),
                    None => {}
                }
                let bytes = body.iter().flat_map(|slice| slice.as_bytes()).copied().collect();
                Ok(StoreOutcome::Stored { etag: self.put(key, bytes) })
            }
            StoreRequest::List { prefix, after, max } => {
                let (keys, more) = self.page(prefix, after, *max);
                Ok(StoreOutcome::Listed { keys, more })
            }
            StoreRequest::Delete { key } => {
                check_key(key)?;
                self.remove(key);
                Ok(StoreOutcome::Deleted)
            }
        }
    }

    /// Why a put of `key` under `condition` is refused, if it is.
    #[must_use]
    pub fn refusal(&self, key: &str, condition: &Condition) -> Option<Refusal> {
        match (condition, self.bodies.get(key)) {
            (Condition::Absent, None) => None,
            (Condition::Absent, Some(_)) => Some(Refusal::Exists),
            (Condition::Matches(wanted), Some((_, etag))) if wanted == etag => None,
            (Condition::Matches(_), Some(_)) => Some(Refusal::Differs),
            (Condition::Matches(_), None) => Some(Refusal::Gone),
        }
    }

    /// Puts a body, under any key and whatever is there.
    pub fn put(&mut self, key: &str, body: Vec<u8>) -> Etag {
        let etag = self.identity(&body);
        self.bodies.insert(key.to_owned(), (body, etag.clone()));
        etag
    }

    /// Puts other bytes under the name of what is to be put, unless something is there.
    pub(super) fn squat(&mut self, request: &StoreRequest, spoil: Spoil) {
        let StoreRequest::Put { key, body, .. } = request else { return };
        if self.get(key).is_none() {
            let mut bytes = body.iter().flat_map(|slice| slice.as_bytes()).copied().collect();
            spoil.spoil(&mut bytes);
            self.put(key, bytes);
        }
    }

    /// Bytes and identity of an object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<(&[u8], &Etag)> {
        self.bodies.get(key).map(|(body, etag)| (body.as_slice(), etag))
    }

    /// Up to `max` keys that begin with `prefix`, after `after`; and whether there are more.
    #[must_use]
    pub fn page(&self, prefix: &str, after: &str, max: usize) -> (Vec<Key>, bool) {
        let matching = self.bodies.keys().filter(|key| key.starts_with(prefix));
        let mut keys: Vec<Key> =
            matching.filter(|key| key.as_str() > after).take(max + 1).cloned().collect();
        let more = keys.len() > max;
        keys.truncate(max);
        (keys, more)
    }

    /// Removes an object, if it is there.
    pub fn remove(&mut self, key: &str) {
        self.bodies.remove(key);
    }

    /// Keys in byte order.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.bodies.keys()
    }

    /// Bytes of an object.
    #[must_use]
    pub fn body(&self, key: &str) -> Option<&[u8]> {
        self.bodies.get(key).map(|(body, _)| body.as_slice())
    }

    /// Changes an object behind everybody's back: as bit rot does, the identity stays.
    /// `None` removes it. Answers whether it was there.
    pub fn tamper(&mut self, key: &str, change: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>) -> bool {
        let Some((body, etag)) = self.bodies.remove(key) else { return false };
        if let Some(body) = change(body) {
            self.bodies.insert(key.to_owned(), (body, etag));
        }
        true
    }

    fn find(&self, key: &str) -> Result<&(Vec<u8>, Etag), StoreError> {
        check_key(key)?;
        self.bodies.get(key).ok_or(StoreError::NotFound)
    }

    /// Whether a body that comes back brings its identity with it.
    #[must_use]
    pub fn identities_come_back(&self) -> bool {
        self.form % 4 == 3
    }

    fn identity(&mut self, body: &[u8]) -> Etag {
        self.made += 1;
        match self.form % 4 {
            0 => format!("\"{:032x}\"", u128::from(self.made) << 64 | u128::from(self.form)),
            1 => format!("{}-{:x}", self.made, self.form),
            2 => format!("W{:x}.{:x}", self.form, self.made),
            _ => {
                let mut of_bytes = Trace::default();
                of_bytes.bytes(body);
                format!("\"{:016x}\"", of_bytes.value())
            }
        }
        .into()
    }
}

/// Refuses what no key can be: see [`Key`].
fn check_key(key: &str) -> Result<(), StoreError> {
    let is_component = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.len() <= 255
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    let sound = key.len() <= KEY_MAX_BYTES && key.split('/').all(is_component);
    if sound { Ok(()) } else { Err(StoreError::Unsupported) }
}
