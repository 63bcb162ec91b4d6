//! Which keys a directory can hold.

use vellum_core::shapes::StoreError;

/// Most bytes of a key, as on S3.
const KEY_MAX_BYTES: usize = 1024;
/// Most bytes of one component, as on every local file system.
const COMPONENT_MAX_BYTES: usize = 255;

/// Refuses a key that is not components of `[a-zA-Z0-9._-]` joined by `/`, or that has a component
/// which begins with a dot: so no key can leave the repository or name its hidden files.
pub(super) fn check_key(key: &str) -> Result<(), StoreError> {
    let sound = key.len() <= KEY_MAX_BYTES && key.split('/').all(is_component);
    if sound { Ok(()) } else { Err(StoreError::Unsupported) }
}

/// Whether a file of this name can be part of a key. What is not is invisible.
pub(super) fn is_component(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= COMPONENT_MAX_BYTES
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// The directory that holds `key`; empty for the repository's own.
pub(super) fn parent_of(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(parent, _)| parent)
}
