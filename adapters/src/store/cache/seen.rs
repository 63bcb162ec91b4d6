//! What was last seen of a repository beside what never changes: its header and its refs. An
//! offline mount begins with these.
//!
//! They lie in `DIR/seen/<store>/<key>`: the identity and the time in a line, then the body. What
//! the store answered of late replaces them, also when it says that there is no such ref any more.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use vellum_core::format::{HEADER_KEY, Hash};
use vellum_core::shapes::{Etag, Key, StoreError, StoreOutcome, StoreRequest};

use super::super::ObjectStore;
use super::super::keys::check_key;

/// Digits of the name of a store's directory.
const NAME_DIGITS: usize = 32;
/// Directories below each other that are looked through for refs.
const DEPTH_MAX: u32 = 32;

/// The place of what was seen of one store.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    root: PathBuf,
    dir: PathBuf,
}

/// A body as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sight {
    etag: Etag,
    /// Seconds since 1970.
    at_s: u64,
    body: Vec<u8>,
}

impl Seen {
    /// What was seen of the store of this name, beside the cache at `root`.
    pub(crate) fn of(root: &Path, store: &str) -> Self {
        let name = Hash::of(store.as_bytes()).to_string();
        let dir = root.join("seen").join(&name[..NAME_DIGITS]);
        Self { root: root.to_path_buf(), dir }
    }

    /// Whether a key is one of those that are noted.
    pub(crate) fn is_noted(key: &str) -> bool {
        (key == HEADER_KEY || key.starts_with("refs/")) && check_key(key).is_ok()
    }

    /// Notes what the store answered. It is only a help later: what can't be written is left out.
    pub(crate) fn note(&self, key: &str, outcome: &StoreOutcome, body: Option<&[u8]>) {
        let noted = match (outcome, body) {
            (StoreOutcome::Got { body, etag }, _) => {
                self.write(key, etag, &body.clone().into_vec())
            }
            (StoreOutcome::Stored { etag }, Some(body)) => self.write(key, etag, body),
            (StoreOutcome::Failed(StoreError::NotFound) | StoreOutcome::Deleted, _) => {
                match fs::remove_file(self.dir.join(key)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                    Ok(()) | Err(_) => Ok(()),
                }
            }
            (
                StoreOutcome::Stored { .. }
                | StoreOutcome::Found { .. }
                | StoreOutcome::Listed { .. }
                | StoreOutcome::Failed(_),
                _,
            ) => Ok(()),
        };
        if let Err(error) = noted {
            tracing::debug!("what was seen of {key} can't be noted: {error}");
        }
    }

    fn write(&self, key: &str, etag: &Etag, body: &[u8]) -> io::Result<()> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let path = self.dir.join(key);
        let parent = path.parent().unwrap_or(&self.dir);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        // No key has a component that begins with a dot.
        let temporary = self.dir.join(format!(".{}-{serial}", std::process::id()));
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        let line = format!("{} {etag}\n", now_s());
        let written = file.write_all(line.as_bytes()).and_then(|()| file.write_all(body));
        let placed = written.and_then(|()| fs::rename(&temporary, &path));
        placed.inspect_err(|_| drop(fs::remove_file(&temporary)))
    }

    fn read(&self, key: &str) -> Option<Sight> {
        check_key(key).ok()?;
        let bytes = fs::read(self.dir.join(key)).ok()?;
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (at_s, etag) = std::str::from_utf8(&bytes[..end]).ok()?.split_once(' ')?;
        let (etag, at_s) = (Etag::from(etag), at_s.parse().ok()?);
        Some(Sight { etag, at_s, body: bytes[end + 1..].to_vec() })
    }

    /// Keys of refs that were seen, and of snapshots that are in the cache.
    fn keys(&self, prefix: &str) -> Vec<Key> {
        let mut keys = Vec::new();
        if let Some(digits) = prefix.strip_prefix("snapshots/")
            && let Some(shard) = digits.get(..2)
        {
            for name in names(&self.root.join(shard)) {
                let hash = name.strip_prefix('s').filter(|hash| Hash::from_hex(hash).is_some());
                keys.extend(hash.map(|hash| format!("snapshots/{hash}")));
            }
        } else {
            below(&self.dir, "", DEPTH_MAX, &mut keys);
        }
        keys.retain(|key| key.starts_with(prefix));
        keys.sort_unstable();
        keys
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn below(dir: &Path, prefix: &str, depth: u32, keys: &mut Vec<Key>) {
    for name in names(dir).into_iter().filter(|name| !name.starts_with('.')) {
        let (path, key) = (dir.join(&name), format!("{prefix}{name}"));
        if !path.is_dir() {
            keys.push(key);
        } else if depth > 0 {
            below(&path, &format!("{key}/"), depth - 1, keys);
        }
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A store that can't be reached, of which there is what was seen.
pub(crate) struct Offline {
    seen: Arc<Seen>,
    /// When the ref was seen that was read last, in seconds since 1970.
    as_of: Arc<Mutex<Option<u64>>>,
}

impl Offline {
    pub(crate) fn new(seen: Seen) -> Self {
        Self { seen: Arc::new(seen), as_of: Arc::default() }
    }

    /// When the ref was seen that was read last.
    pub(crate) fn as_of(&self) -> Option<u64> {
        *self.as_of.lock()
    }
}

impl ObjectStore for Offline {
    fn request(&self, request: StoreRequest) -> BoxFuture<'static, StoreOutcome> {
        let (seen, as_of) = (Arc::clone(&self.seen), Arc::clone(&self.as_of));
        let work = move || match request {
            StoreRequest::Get { key, range: None, .. } if Seen::is_noted(&key) => {
                match seen.read(&key) {
                    Some(Sight { etag, at_s, body }) => {
                        if key != HEADER_KEY {
                            *as_of.lock() = Some(at_s);
                        }
                        StoreOutcome::Got { body: body.into(), etag }
                    }
                    None if key == HEADER_KEY => StoreOutcome::Failed(StoreError::Unreachable),
                    None => StoreOutcome::Failed(StoreError::NotFound),
                }
            }
            StoreRequest::List { prefix, after, max } => {
                let mut keys = seen.keys(&prefix);
                keys.retain(|key| *key > after);
                let more = keys.len() > max;
                keys.truncate(max);
                StoreOutcome::Listed { keys, more }
            }
            StoreRequest::Get { .. }
            | StoreRequest::Head { .. }
            | StoreRequest::Put { .. }
            | StoreRequest::Delete { .. } => StoreOutcome::Failed(StoreError::Unreachable),
        };
        Box::pin(async move {
            let done = tokio::task::spawn_blocking(work).await;
            done.unwrap_or(StoreOutcome::Failed(StoreError::Unreachable))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::super::testing::{get, run};
    use super::*;

    fn got(body: &[u8]) -> StoreOutcome {
        StoreOutcome::Got { body: body.to_vec().into(), etag: "\"tag\"".into() }
    }

    #[test]
    fn offline_a_ref_is_what_the_store_last_said() {
        let dir = tempfile::tempdir().unwrap();
        let seen = Seen::of(dir.path(), "a store");
        seen.note("refs/branches/main", &got(b"old\nbody"), None);
        seen.note("refs/branches/main", &StoreOutcome::Stored { etag: "2".into() }, Some(b"new"));
        seen.note("refs/tags/gone", &got(b"x"), None);
        seen.note("refs/tags/gone", &StoreOutcome::Failed(StoreError::NotFound), None);
        seen.note("refs/branches/main", &StoreOutcome::Failed(StoreError::Unreachable), None);
        let offline = Offline::new(seen);
        run(async {
            let found = get(&offline, "refs/branches/main").await;
            assert_eq!(found, Some((b"new".to_vec(), "2".into())));
            assert!(offline.as_of().unwrap() > 1_600_000_000);
            assert_eq!(get(&offline, "refs/tags/gone").await, None);
            let list = StoreRequest::List { prefix: "refs/".into(), after: String::new(), max: 9 };
            let listed = offline.request(list).await;
            let keys = vec!["refs/branches/main".to_owned()];
            assert_eq!(listed, StoreOutcome::Listed { keys, more: false });
        });
        let other = Offline::new(Seen::of(dir.path(), "another store"));
        assert_eq!(run(get(&other, "refs/branches/main")), None);
    }

    #[test]
    fn offline_nothing_is_said_to_be_missing_that_was_only_never_read() {
        let dir = tempfile::tempdir().unwrap();
        let offline = Offline::new(Seen::of(dir.path(), "a store"));
        for key in [HEADER_KEY, "chunks/00/00"] {
            let request = StoreRequest::Get { key: key.into(), range: None, fresh: false };
            let outcome = run(offline.request(request));
            assert_eq!(outcome, StoreOutcome::Failed(StoreError::Unreachable), "{key}");
        }
    }

    #[test]
    fn keys_that_leave_the_directory_are_not_noted() {
        for key in ["refs/../../x", "refs//x", "refs/.x", "chunks/00/00", "gc/state"] {
            assert!(!Seen::is_noted(key), "{key}");
        }
        assert!(Seen::is_noted("refs/branches/a/b") && Seen::is_noted(HEADER_KEY));
    }
}
