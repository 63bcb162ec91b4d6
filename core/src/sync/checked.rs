//! The back end of the checkers: every operation is a point at which one may switch threads.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash};

use checker::sync::atomic::Ordering;
#[cfg(core_loom)]
use loom as checker;
use rustc_hash::FxHasher;
#[cfg(core_shuttle)]
use shuttle as checker;

/// A lock with one owner at a time.
#[derive(Debug)]
pub struct Mutex<T>(checker::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// A lock around `value`.
    pub fn new(value: T) -> Self {
        Self(checker::sync::Mutex::new(value))
    }

    /// Runs `f` with the value locked.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock().expect("no thread panics while it holds a lock"))
    }
}

/// A lock with one writer or many readers.
#[derive(Debug)]
pub struct RwLock<T>(checker::sync::RwLock<T>);

impl<T> RwLock<T> {
    /// A lock around `value`.
    pub fn new(value: T) -> Self {
        Self(checker::sync::RwLock::new(value))
    }

    /// Runs `f` with the value shared.
    pub fn read<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        f(&self.0.read().expect("no thread panics while it holds a lock"))
    }

    /// Runs `f` with the value locked.
    pub fn write<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.write().expect("no thread panics while it holds a lock"))
    }
}

/// A counter. Loads acquire, stores release, updates do both.
#[derive(Debug)]
pub struct AtomicU64(checker::sync::atomic::AtomicU64);

impl AtomicU64 {
    /// A counter that begins at `value`.
    pub fn new(value: u64) -> Self {
        Self(checker::sync::atomic::AtomicU64::new(value))
    }

    /// The value.
    pub fn load(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Replaces the value.
    pub fn store(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }

    /// Replaces the value by what `f` makes of it, unless `f` refuses; whether it was replaced.
    pub fn update(&self, f: impl FnMut(u64) -> Option<u64>) -> bool {
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, f).is_ok()
    }
}

type Table<K, V> = HashMap<K, V, BuildHasherDefault<FxHasher>>;

/// A map that several threads use at once. Values are handed out as clones.
#[derive(Debug)]
pub struct ShardMap<K, V>(Mutex<Table<K, V>>);

impl<K: Eq + Hash, V: Clone> Default for ShardMap<K, V> {
    fn default() -> Self {
        Self(Mutex::new(Table::default()))
    }
}

impl<K: Eq + Hash, V: Clone> ShardMap<K, V> {
    /// The value of `key`.
    pub fn get(&self, key: &K) -> Option<V> {
        self.0.with(|map| map.get(key).cloned())
    }

    /// Sets the value of `key`; the one it had before.
    pub fn insert(&self, key: K, value: V) -> Option<V> {
        self.0.with(|map| map.insert(key, value))
    }

    /// Removes `key`; the value it had.
    pub fn remove(&self, key: &K) -> Option<V> {
        self.0.with(|map| map.remove(key))
    }
}
