//! Tells a snapshot that was cut short from one that was changed.

use minicbor::Decoder;

/// Fields of a snapshot, by its tag 3.
const FIELDS: u64 = 11;
const HEAD: u8 = 0x80 + 11;

/// Whether these bytes are the beginning of a snapshot, and end before it does. It helps to say
/// what happened to an object, and no more: changed bytes can look so, if seldom.
#[must_use]
pub fn begins_snapshot(bytes: &[u8]) -> bool {
    if bytes.len() < 2 {
        return matches!(bytes, [] | [HEAD]);
    }
    let mut head = Decoder::new(bytes);
    let is_snapshot = match (head.array(), head.u8()) {
        (Ok(Some(FIELDS)), Ok(3)) => true,
        (Ok(_) | Err(_), Ok(_) | Err(_)) => false,
    };
    is_snapshot && Decoder::new(bytes).skip().is_err_and(|error| error.is_end_of_input())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_beginning_of_a_snapshot_is_told_from_a_whole_one() {
        let snapshot = [0x8b, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for end in 0..snapshot.len() {
            assert!(begins_snapshot(&snapshot[..end]), "{end}");
        }
        assert!(!begins_snapshot(&snapshot));
    }

    #[test]
    fn other_bytes_begin_no_snapshot() {
        for other in [&b"hello"[..], &[0], &[0x83, 3], &[0x8b, 0], &[0x8a, 3, 0], &[0x8b, 0xff]] {
            assert!(!begins_snapshot(other), "{other:?}");
        }
    }
}
