//! The file of one object: which parts of it are there, and their bytes. All of this blocks.
//!
//! An entry is `DIR/<2 hex>/<kind><name of the object>`. It holds an object by slots of 64 KiB,
//! each where it lies in the object, so that the file has holes where nothing was read:
//!
//! ```text
//! 0       magic (16 bytes), BLAKE3 of the object's key (32)
//! 64      256 marks of 40 bytes: check (32), length (4), 1 if the object ends here (4)
//! 12 KiB  slots of 64 KiB; one is shorter only where the object ends
//! ```
//!
//! The check is BLAKE3 over the key's hash, the slot's number, length and end, and its bytes; it
//! is compared before a byte is used. A slot is written before its mark, and nothing is synced:
//! what a crash or another process leaves half done has no mark or fails its check. Two processes
//! that write one slot write the same bytes, since all of this is immutable. A file that is
//! removed stays whole for who has it open.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rustix::fs::{OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};
use vellum_core::format::Hash;
use vellum_core::shapes::Segments;

/// Bytes of a slot: what is read and hashed for one byte. BLAKE3 takes about 20 µs for it.
pub(super) const SLOT_BYTES: u64 = 64 << 10;
/// Slots of the largest native object, 16 MiB. What lies beyond is not kept.
const SLOTS_MAX: usize = 256;
/// Bytes of an object that can be kept.
pub(super) const OBJECT_MAX_BYTES: u64 = SLOT_BYTES * SLOTS_MAX as u64;

const MAGIC: &[u8; 16] = b"vellum cache 1\r\n";
const MARKS_AT: usize = 64;
const MARK_BYTES: usize = 40;
const HEAD_BYTES: usize = MARKS_AT + SLOTS_MAX * MARK_BYTES;
/// Where slots begin: the next page after the marks.
pub(super) const SLOTS_AT: u64 = 12 << 10;

/// How exact the order of last use is; a hit writes a time no more often.
const TOUCH_EVERY: Duration = Duration::from_secs(60);

/// Which object an entry is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Id {
    /// The hash that the object's name says.
    pub(super) hash: Hash,
    /// What tells its slots from those of others.
    key: Hash,
    shard: String,
    file: String,
}

impl Id {
    /// The entry of a key, if it names what never changes.
    pub(super) fn of(key: &str) -> Option<Self> {
        let kinds = [("chunks/", 'c'), ("trees/", 't'), ("snapshots/", 's')];
        let (_, kind) = kinds.into_iter().find(|(prefix, _)| key.starts_with(prefix))?;
        let (_, name) = key.rsplit_once('/')?;
        let (hash, copy) = name.split_at_checked(64)?;
        let is_copy = copy.strip_prefix('.').is_some_and(|n| n.parse::<u64>().is_ok());
        if !copy.is_empty() && !is_copy {
            return None;
        }
        Some(Self {
            hash: Hash::from_hex(hash)?,
            key: Hash::of(key.as_bytes()),
            shard: hash[..2].to_owned(),
            file: format!("{kind}{name}"),
        })
    }
}

/// What is there of an object: a bit for each slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Present {
    slots: [u64; SLOTS_MAX / 64],
}

impl Present {
    fn set(&mut self, slot: usize) {
        self.slots[slot / 64] |= 1 << (slot % 64);
    }

    /// Whether the slot with this byte of the object is there.
    pub(super) fn has(&self, offset: u64) -> bool {
        let slot = (offset / SLOT_BYTES) as usize;
        slot < SLOTS_MAX && self.slots[slot / 64] & 1 << (slot % 64) != 0
    }
}

/// What a look into the cache came to.
#[derive(Debug, PartialEq)]
pub(super) enum Look {
    /// All that was asked for, checked.
    Hit(Segments),
    /// Not all of it is there.
    Miss(Present),
    /// What is there is not what was written; it was removed.
    Corrupt,
}

struct Mark {
    check: [u8; 32],
    len: u32,
    ends: u32,
}

impl Mark {
    fn of(id: &Id, slot: usize, bytes: &[u8], ends: bool) -> Self {
        let (len, ends) = (bytes.len() as u32, u32::from(ends));
        let mut hasher = blake3::Hasher::new();
        hasher.update(&id.key.0);
        hasher.update(&(slot as u32).to_le_bytes());
        hasher.update(&len.to_le_bytes());
        hasher.update(&ends.to_le_bytes());
        hasher.update(bytes);
        Self { check: *hasher.finalize().as_bytes(), len, ends }
    }

    fn read(bytes: &[u8]) -> Self {
        let number = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let mut check = [0; 32];
        check.copy_from_slice(&bytes[..32]);
        Self { check, len: number(32), ends: number(36) }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.check);
        out.extend(self.len.to_le_bytes());
        out.extend(self.ends.to_le_bytes());
    }

    fn is_sound(&self) -> bool {
        let full = u64::from(self.len) == SLOT_BYTES;
        u64::from(self.len) <= SLOT_BYTES && self.ends <= 1 && (full || self.ends == 1)
    }
}

/// The head of an entry, as far as it can be believed without its slots.
struct Head {
    marks: Vec<Option<Mark>>,
    present: Present,
    /// Bytes of the object, if it is known where it ends.
    len: Option<u64>,
}

impl Head {
    /// None if it is not the head of this entry.
    fn parse(id: &Id, bytes: &[u8]) -> Option<Self> {
        if bytes[..16] != MAGIC[..] || bytes[16..48] != id.key.0 {
            return None;
        }
        let mut head = Self { marks: Vec::new(), present: Present::default(), len: None };
        for (slot, mark) in bytes[MARKS_AT..].chunks_exact(MARK_BYTES).enumerate() {
            let mark = Mark::read(mark);
            if mark.len == 0 {
                head.marks.push(None);
                continue;
            }
            if !mark.is_sound() || head.len.is_some() {
                return None;
            }
            if mark.ends == 1 {
                head.len = Some(slot as u64 * SLOT_BYTES + u64::from(mark.len));
            }
            head.present.set(slot);
            head.marks.push(Some(mark));
        }
        Some(head)
    }

    /// The part of the object that was asked for, if it is all there.
    fn wanted(&self, range: Option<&Range<u64>>) -> Option<Range<u64>> {
        let end = match (range, self.len) {
            (None, len) => len?,
            (Some(range), Some(len)) => range.end.min(len),
            (Some(range), None) => range.end,
        };
        let start = range.map_or(0, |range| range.start).min(end);
        let slots = start / SLOT_BYTES..end.div_ceil(SLOT_BYTES);
        let all = slots.clone().all(|slot| self.present.has(slot * SLOT_BYTES));
        all.then_some(start..end)
    }
}

/// The directory of the cache.
#[derive(Debug)]
pub(super) struct Entries {
    pub(super) root: PathBuf,
}

impl Entries {
    fn path(&self, id: &Id) -> PathBuf {
        self.root.join(&id.shard).join(&id.file)
    }

    /// Reads a part of an object, or all of it. What is not what was written is removed.
    pub(super) fn look(&self, id: &Id, range: Option<&Range<u64>>) -> io::Result<Look> {
        let Some((file, head)) = self.open(id)? else { return Ok(Look::Miss(Present::default())) };
        let Some(head) = head else { return self.corrupt(id) };
        let Some(wanted) = head.wanted(range) else { return Ok(Look::Miss(head.present)) };
        match read_slots(&file, id, &head, &wanted) {
            Ok(Some(bytes)) => {
                touch(&file);
                Ok(Look::Hit(bytes))
            }
            Ok(None) => self.corrupt(id),
            // The file ends before its slots do.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.corrupt(id),
            Err(error) => Err(error),
        }
    }

    /// Whether a part of an object is there, by its marks alone; it counts as used.
    pub(super) fn has(&self, id: &Id, range: Option<&Range<u64>>) -> bool {
        let Ok(Some((file, Some(head)))) = self.open(id) else { return false };
        let has = head.wanted(range).is_some();
        if has {
            touch(&file);
        }
        has
    }

    /// The file of an object, and its head if that is sound; none if nothing is there.
    fn open(&self, id: &Id) -> io::Result<Option<(File, Option<Head>)>> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let flags = flags.bits().cast_signed();
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(self.path(id));
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                self.remove(id);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Ok(Some((file, None)));
        }
        if meta.len() == 0 {
            // Somebody is about to write it.
            return Ok(None);
        }
        let mut bytes = vec![0; HEAD_BYTES];
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) if bytes.iter().all(|byte| *byte == 0) => Ok(None),
            Ok(()) => {
                let head = Head::parse(id, &bytes);
                Ok(Some((file, head)))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Some((file, None))),
            Err(error) => Err(error),
        }
    }

    fn corrupt(&self, id: &Id) -> io::Result<Look> {
        self.remove(id);
        Ok(Look::Corrupt)
    }

    /// Removes the entry of an object; what it took on disk.
    pub(super) fn remove(&self, id: &Id) -> u64 {
        let path = self.path(id);
        let Ok(meta) = path.symlink_metadata() else { return 0 };
        // A strange directory of that name has to be moved by a person.
        let removed = std::fs::remove_file(path);
        if removed.is_ok() { meta.blocks() * 512 } else { 0 }
    }

    /// Writes slots of an object from `start` on, which is the beginning of one: all that are
    /// whole, and the last one too if the object ends with it. Answers by how much the entry has
    /// grown on disk.
    pub(super) fn write(
        &self,
        id: &Id,
        start: u64,
        slots: &Segments,
        ends: bool,
    ) -> io::Result<u64> {
        let first = (start / SLOT_BYTES) as usize;
        let mut slots: Vec<&[u8]> = slots.iter().filter(|slot| !slot.is_empty()).collect();
        let is_whole = |slot: &&[u8]| slot.len() as u64 == SLOT_BYTES;
        if !ends && !slots.last().is_some_and(is_whole) {
            slots.pop();
        }
        if slots.is_empty() || first + slots.len() > SLOTS_MAX {
            return Ok(0);
        }
        let file = self.create(id)?;
        let before = file.metadata()?;
        if before.len() < SLOTS_AT {
            file.set_len(SLOTS_AT)?;
        }
        // Whoever made the file may have come no further.
        file.write_all_at(&[&MAGIC[..], &id.key.0].concat(), 0)?;
        let mut marks = Vec::new();
        let last = slots.len() - 1;
        for (slot, bytes) in slots.into_iter().enumerate() {
            file.write_all_at(bytes, SLOTS_AT + start + slot as u64 * SLOT_BYTES)?;
            Mark::of(id, first + slot, bytes, ends && slot == last).write(&mut marks);
        }
        file.write_all_at(&marks, (MARKS_AT + first * MARK_BYTES) as u64)?;
        let after = file.metadata()?;
        // A new one may need a block more to find its parts, once they are written out.
        let spare = if before.blocks() == 0 { 4096 } else { 0 };
        Ok(after.blocks().saturating_sub(before.blocks()) * 512 + spare)
    }

    fn create(&self, id: &Id) -> io::Result<File> {
        let path = self.path(id);
        let open = || {
            let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).mode(0o600).custom_flags(flags);
            options.open(&path)
        };
        match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let shard = self.root.join(&id.shard);
                DirBuilder::new().recursive(true).mode(0o700).create(shard)?;
                open()
            }
            opened => opened,
        }
    }
}

/// The bytes of the slots around `wanted`, checked and cut to it; none if a check fails.
fn read_slots(
    file: &File,
    id: &Id,
    head: &Head,
    wanted: &Range<u64>,
) -> io::Result<Option<Segments>> {
    if wanted.is_empty() {
        return Ok(Some(Segments::default()));
    }
    let mut slots = Vec::new();
    let (first, end) = (wanted.start / SLOT_BYTES, wanted.end.div_ceil(SLOT_BYTES));
    for slot in first as usize..end as usize {
        let Some(mark) = &head.marks[slot] else { return Ok(None) };
        let mut bytes = vec![0; mark.len as usize];
        file.read_exact_at(&mut bytes, SLOTS_AT + slot as u64 * SLOT_BYTES)?;
        if Mark::of(id, slot, &bytes, mark.ends == 1).check != mark.check {
            return Ok(None);
        }
        let left = wanted.end - slot as u64 * SLOT_BYTES;
        bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        // It may become memory of a file, which is counted by its length.
        bytes.shrink_to_fit();
        slots.push(bytes);
    }
    let skip = wanted.start - first * SLOT_BYTES;
    let slots: Segments = slots.into_iter().collect();
    if skip == 0 {
        return Ok(Some(slots));
    }
    let to = skip + (wanted.end - wanted.start);
    Ok(Some(slots.part(skip as usize..to as usize)))
}

/// Notes that an entry was used now, unless that was noted of late.
fn touch(file: &File) {
    let modified = file.metadata().and_then(|meta| meta.modified());
    let age = modified.ok().and_then(|at| SystemTime::now().duration_since(at).ok());
    if age.is_some_and(|age| age > TOUCH_EVERY) {
        let time = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
        let (last_access, last_modification) = (time(UTIME_OMIT), time(UTIME_NOW));
        // On a disk that became read-only the order of use is lost, and nothing else.
        let _ = futimens(file, &Timestamps { last_access, last_modification });
    }
}
