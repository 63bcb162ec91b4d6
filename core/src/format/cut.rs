//! Tells a record that was cut short from one that was changed.

use minicbor::Decoder;

/// Fields of a node of a tree, by the tags 0 to 2.
const NODE_FIELDS: u64 = 3;
/// Fields of a snapshot, by the tag 3.
const SNAPSHOT_FIELDS: u64 = 10;

/// Whether these bytes are the beginning of a node or a snapshot, and end before it does. It helps
/// to say what happened to an object, and no more: changed bytes can look so, if seldom.
#[must_use]
pub fn begins_record(bytes: &[u8]) -> bool {
    if bytes.len() < 2 {
        return matches!(bytes, [] | [0x83 | 0x8a]);
    }
    let mut head = Decoder::new(bytes);
    let is_record = match (head.array(), head.u8()) {
        (Ok(Some(NODE_FIELDS)), Ok(0..=2)) | (Ok(Some(SNAPSHOT_FIELDS)), Ok(3)) => true,
        (Ok(_) | Err(_), Ok(_) | Err(_)) => false,
    };
    is_record && Decoder::new(bytes).skip().is_err_and(|error| error.is_end_of_input())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_beginning_of_a_record_is_told_from_a_whole_one() {
        // [0, 0, [[h'61', 7]]] and a snapshot with ten small fields
        let node = [0x83, 0, 0, 0x81, 0x82, 0x41, 0x61, 7];
        let snapshot = [0x8a, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for record in [&node[..], &snapshot[..]] {
            for end in 0..record.len() {
                assert!(begins_record(&record[..end]), "{end}");
            }
            assert!(!begins_record(record));
        }
    }

    #[test]
    fn other_bytes_begin_no_record() {
        for other in [&b"hello"[..], &[0], &[0x83, 3], &[0x8a, 0], &[0x8b, 3, 0], &[0x83, 0xff]] {
            assert!(!begins_record(other), "{other:?}");
        }
    }
}
