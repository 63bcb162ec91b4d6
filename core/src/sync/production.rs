//! Production back end: parking_lot and dashmap.

use std::hash::{BuildHasherDefault, Hash};
use std::sync::atomic::Ordering;

use rustc_hash::FxHasher;

/// A lock with one owner at a time.
#[derive(Debug, Default)]
pub struct Mutex<T>(parking_lot::Mutex<T>);

impl<T> Mutex<T> {
    /// A lock around `value`.
    pub fn new(value: T) -> Self {
        Self(parking_lot::Mutex::new(value))
    }

    /// Runs `f` with the value locked.
    #[inline]
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock())
    }
}

/// A lock with one writer or many readers.
#[derive(Debug, Default)]
pub struct RwLock<T>(parking_lot::RwLock<T>);

impl<T> RwLock<T> {
    /// A lock around `value`.
    pub fn new(value: T) -> Self {
        Self(parking_lot::RwLock::new(value))
    }

    /// Runs `f` with the value shared.
    #[inline]
    pub fn read<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        f(&self.0.read())
    }

    /// Runs `f` with the value locked.
    #[inline]
    pub fn write<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.write())
    }
}

/// A counter. Loads acquire, stores release, updates do both.
#[derive(Debug, Default)]
pub struct AtomicU64(std::sync::atomic::AtomicU64);

impl AtomicU64 {
    /// A counter that begins at `value`.
    pub fn new(value: u64) -> Self {
        Self(std::sync::atomic::AtomicU64::new(value))
    }

    /// The value.
    #[inline]
    pub fn load(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Replaces the value.
    #[inline]
    pub fn store(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }

    /// Replaces the value by what `f` makes of it, unless `f` refuses; whether it was replaced.
    #[inline]
    pub fn update(&self, f: impl FnMut(u64) -> Option<u64>) -> bool {
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, f).is_ok()
    }
}

/// A map that several threads use at once. Values are handed out as clones.
#[derive(Debug)]
pub struct ShardMap<K: Eq + Hash, V>(dashmap::DashMap<K, V, BuildHasherDefault<FxHasher>>);

impl<K: Eq + Hash, V: Clone> Default for ShardMap<K, V> {
    fn default() -> Self {
        Self(dashmap::DashMap::with_hasher_and_shard_amount(
            BuildHasherDefault::default(),
            super::SHARDS,
        ))
    }
}

impl<K: Eq + Hash, V: Clone> ShardMap<K, V> {
    /// The value of `key`.
    #[inline]
    pub fn get(&self, key: &K) -> Option<V> {
        self.0.get(key).map(|entry| entry.value().clone())
    }

    /// Sets the value of `key`; the one it had before.
    pub fn insert(&self, key: K, value: V) -> Option<V> {
        self.0.insert(key, value)
    }

    /// Removes `key`; the value it had.
    pub fn remove(&self, key: &K) -> Option<V> {
        self.0.remove(key).map(|(_, value)| value)
    }
}
