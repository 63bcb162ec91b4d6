//! One sequence of operations on everything behind the sync door: each back end must do the same.

use std::collections::BTreeMap;

use vellum_core::sync::{AtomicU64, Mutex, RwLock, ShardMap};
use vellum_sim::choice::Choices;

/// Operations of a sequence.
const STEPS: usize = 60;

/// Does what `seed` says, and compares each answer with the obvious one.
pub fn conforms(seed: u64) {
    let choices = Choices::seeded(seed);
    let (map, mut plain) = (ShardMap::default(), BTreeMap::new());
    let (counter, mut number) = (AtomicU64::new(seed), seed);
    let (mutex, lock, mut list) = (Mutex::new(Vec::new()), RwLock::new(Vec::new()), Vec::new());
    for _ in 0..STEPS {
        let (key, value) = (choices.below(4), choices.bits());
        match choices.index(9) {
            0 | 1 => assert_eq!(map.insert(key, value), plain.insert(key, value)),
            2 => assert_eq!(map.remove(&key), plain.remove(&key)),
            3 => assert_eq!(map.get(&key), plain.get(&key).copied()),
            4 => {
                counter.store(value);
                number = value;
            }
            5 => {
                let next = number.checked_sub(value);
                assert_eq!(counter.update(|now| now.checked_sub(value)), next.is_some());
                number = next.unwrap_or(number);
            }
            6 => assert_eq!(counter.load(), number),
            7 => {
                list.push(value);
                assert_eq!(mutex.with(|list| (list.push(value), list.len()).1), list.len());
                assert_eq!(lock.write(|list| (list.push(value), list.len()).1), list.len());
            }
            _ => {
                assert_eq!(mutex.with(|list| list.clone()), list);
                assert_eq!(lock.read(|list| list.clone()), list);
            }
        }
    }
}
