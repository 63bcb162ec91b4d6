//! One file: what processes see, what a power loss leaves, and what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::choice::Choices;

/// Bytes by the number of their sector. A sector that is not there is a hole.
type Sectors = BTreeMap<u64, Vec<u8>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    sector_bytes: usize,
    len_bytes: u64,
    /// Lengths it had since the last sync, the first one first.
    lens_before: Vec<u64>,
    /// As processes see it; zero past the end of the file.
    now: Sectors,
    durable: Sectors,
    /// Sectors whose bytes the next sync has to write.
    dirty: BTreeSet<u64>,
    /// Written sectors that have no room of their own before the next sync.
    delayed: BTreeSet<u64>,
    /// What is read wrong: bits that are turned, over what should be there.
    damage: Sectors,
}

/// The sectors of a range, and which bytes of each.
fn pieces(sector_bytes: usize, at: u64, len: usize) -> Vec<(u64, Range<usize>)> {
    let mut pieces = Vec::new();
    let mut done = 0;
    while done < len {
        let from = at + done as u64;
        let inside = (from % sector_bytes as u64) as usize;
        let count = (sector_bytes - inside).min(len - done);
        pieces.push((from / sector_bytes as u64, inside..inside + count));
        done += count;
    }
    pieces
}

fn xor(bytes: &mut [u8], mask: &[u8]) {
    bytes.iter_mut().zip(mask).for_each(|(byte, bits)| *byte ^= bits);
}

fn zero_past(sectors: &mut Sectors, sector_bytes: usize, len_bytes: u64) {
    for (sector, bytes) in sectors.range_mut(len_bytes / sector_bytes as u64..) {
        let left = len_bytes.saturating_sub(sector * sector_bytes as u64);
        bytes[left as usize..].fill(0);
    }
}

impl File {
    pub(super) fn new(sector_bytes: usize) -> Self {
        Self {
            sector_bytes,
            len_bytes: 0,
            lens_before: Vec::new(),
            now: Sectors::new(),
            durable: Sectors::new(),
            dirty: BTreeSet::new(),
            delayed: BTreeSet::new(),
            damage: Sectors::new(),
        }
    }

    pub(super) fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// How many sectors it takes.
    pub(super) fn room(&self) -> u64 {
        self.now.len() as u64
    }

    pub(super) fn is_delayed(&self) -> bool {
        !self.delayed.is_empty()
    }

    pub(super) fn dirty(&self) -> Vec<u64> {
        self.dirty.iter().copied().collect()
    }

    /// Sectors of a range that are on the disk as processes see them.
    pub(super) fn clean(&self, at: u64, len: usize) -> Vec<u64> {
        let sectors = pieces(self.sector_bytes, at, len).into_iter().map(|(sector, _)| sector);
        let is_durable = |sector: &u64| match self.now.get(sector) {
            Some(bytes) => self.durable.get(sector) == Some(bytes),
            None => false,
        };
        sectors.filter(|sector| is_durable(sector) && !self.dirty.contains(sector)).collect()
    }

    /// A sector that has room, as it should be.
    pub(super) fn sector(&self, sector: u64) -> Vec<u8> {
        self.now[&sector].clone()
    }

    /// A sector as it was at the last sync.
    pub(super) fn durable(&self, sector: u64) -> Vec<u8> {
        self.durable.get(&sector).cloned().unwrap_or_else(|| vec![0; self.sector_bytes])
    }

    /// From now on `bytes` are found in a sector, whatever should be there.
    pub(super) fn damage(&mut self, sector: u64, bytes: &[u8]) {
        let mut mask = bytes.to_vec();
        xor(&mut mask, &self.now[&sector]);
        self.damage.insert(sector, mask);
    }

    pub(super) fn turn_bit(&mut self, sector: u64, bit: usize) {
        let mask = self.damage.entry(sector).or_insert_with(|| vec![0; self.sector_bytes]);
        mask[bit / 8] ^= 1 << (bit % 8);
    }

    /// How many of these bytes are before the end of the file.
    pub(super) fn readable(&self, at: u64, len: usize) -> usize {
        let left = self.len_bytes.saturating_sub(at);
        len.min(usize::try_from(left).unwrap_or(usize::MAX))
    }

    /// Fills `buf` from what is readable, with what is wrong if `as_found`.
    pub(super) fn read(&self, at: u64, buf: &mut [u8], as_found: bool) {
        let mut rest = buf;
        for (sector, inside) in pieces(self.sector_bytes, at, rest.len()) {
            let (here, after) = rest.split_at_mut(inside.len());
            here.fill(0);
            if let Some(bytes) = self.now.get(&sector) {
                here.copy_from_slice(&bytes[inside.clone()]);
            }
            if let Some(mask) = self.damage.get(&sector).filter(|_| as_found) {
                xor(here, &mask[inside]);
            }
            rest = after;
        }
    }

    /// How many bytes of a write find room, if so many sectors are free.
    pub(super) fn fitting(&self, at: u64, len: usize, mut free: u64) -> usize {
        let mut fitting = 0;
        for (sector, inside) in pieces(self.sector_bytes, at, len) {
            if !self.now.contains_key(&sector) {
                if free == 0 {
                    break;
                }
                free -= 1;
            }
            fitting += inside.len();
        }
        fitting
    }

    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) {
        let mut rest = bytes;
        for (sector, inside) in pieces(self.sector_bytes, at, bytes.len()) {
            if self.reserve(sector) {
                self.delayed.insert(sector);
            }
            let (here, after) = rest.split_at(inside.len());
            self.put(sector, inside, here);
            rest = after;
        }
        self.change_len(self.len_bytes.max(at + bytes.len() as u64));
    }

    fn put(&mut self, sector: u64, inside: Range<usize>, bytes: &[u8]) {
        if let Some(mask) = self.damage.get_mut(&sector) {
            mask[inside.clone()].fill(0);
        }
        let all = self.now.get_mut(&sector).expect("it has room");
        all[inside].copy_from_slice(bytes);
        self.dirty.insert(sector);
    }

    /// Gives a sector room, if it has none.
    fn reserve(&mut self, sector: u64) -> bool {
        if self.now.contains_key(&sector) {
            return false;
        }
        self.now.insert(sector, vec![0; self.sector_bytes]);
        if self.durable.contains_key(&sector) {
            self.dirty.insert(sector);
        }
        true
    }

    pub(super) fn allocate(&mut self, at: u64, len: usize) {
        for (sector, _) in pieces(self.sector_bytes, at, len) {
            self.reserve(sector);
            self.delayed.remove(&sector);
        }
    }

    pub(super) fn set_len(&mut self, len_bytes: u64) {
        if len_bytes < self.len_bytes {
            let whole = len_bytes.div_ceil(self.sector_bytes as u64);
            for sectors in [&mut self.now, &mut self.damage] {
                sectors.split_off(&whole);
                zero_past(sectors, self.sector_bytes, len_bytes);
            }
            for set in [&mut self.dirty, &mut self.delayed] {
                set.split_off(&whole);
            }
            let last = len_bytes / self.sector_bytes as u64;
            if self.now.contains_key(&last) {
                self.dirty.insert(last);
            }
        }
        self.change_len(len_bytes);
    }

    fn change_len(&mut self, len_bytes: u64) {
        if len_bytes != self.len_bytes {
            self.lens_before.push(self.len_bytes);
            self.len_bytes = len_bytes;
        }
    }

    /// Makes durable what is dirty, the length, and what room it takes.
    pub(super) fn sync(&mut self) {
        for sector in std::mem::take(&mut self.dirty) {
            self.durable.insert(sector, self.now[&sector].clone());
        }
        let now = &self.now;
        self.durable.retain(|sector, _| now.contains_key(sector));
        for sector in self.now.keys() {
            self.durable.entry(*sector).or_insert_with(|| vec![0; self.sector_bytes]);
        }
        self.lens_before.clear();
        self.delayed.clear();
    }

    /// A sync that failed. Each dirty sector was written before that, or is seen until memory
    /// forgets it, or is forgotten at once. No later sync knows of it.
    pub(super) fn forget_dirty(&mut self, choices: &Choices) {
        for sector in std::mem::take(&mut self.dirty) {
            match choices.index(3) {
                0 => drop(self.durable.insert(sector, self.now[&sector].clone())),
                1 => {}
                _ => drop(self.now.insert(sector, self.durable(sector))),
            }
        }
        zero_past(&mut self.now, self.sector_bytes, self.len_bytes);
        self.delayed.clear();
    }

    /// Of what was not synced, each sector becomes new, old, torn or garbage; of lengths, the file
    /// has one that it had since.
    pub(super) fn power_loss(&mut self, choices: &Choices) {
        let back = choices.index(self.lens_before.len() + 1);
        if back > 0 {
            self.len_bytes = self.lens_before[self.lens_before.len() - back];
        }
        let mut left = self.durable.clone();
        for (sector, new) in &self.now {
            if self.dirty.contains(sector) {
                left.extend(self.form(*sector, new, choices).map(|bytes| (*sector, bytes)));
            } else if !left.contains_key(sector) && choices.index(2) == 0 {
                left.insert(*sector, vec![0; self.sector_bytes]);
            }
        }
        left.retain(|sector, _| self.now.contains_key(sector) || choices.index(2) == 1);
        self.damage.retain(|sector, _| left.contains_key(sector));
        self.durable = left;
        for sectors in [&mut self.durable, &mut self.damage] {
            zero_past(sectors, self.sector_bytes, self.len_bytes);
        }
        self.now = self.durable.clone();
        self.lens_before.clear();
        self.dirty.clear();
        self.delayed.clear();
    }

    /// What becomes of a dirty sector when the power goes; none if it stays as it is.
    fn form(&self, sector: u64, new: &[u8], choices: &Choices) -> Option<Vec<u8>> {
        match choices.index(4) {
            0 => Some(new.to_vec()),
            1 => None,
            2 => {
                let mut torn = self.durable(sector);
                let new_bytes = 1 + choices.index(self.sector_bytes - 1);
                torn[..new_bytes].copy_from_slice(&new[..new_bytes]);
                Some(torn)
            }
            _ => Some(choices.bits().to_le_bytes().into_iter().cycle().take(new.len()).collect()),
        }
    }
}
