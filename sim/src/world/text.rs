//! What goes in and out, as lines that a person can read and a hash can take in.

use vellum_core::shapes::{Op, Reply, StoreOutcome, StoreRequest};
use vellum_core::words::Errno;

use super::Trace;

/// Longest run of bytes that is spelled out.
const SPELLED_BYTES: usize = 24;

/// Bytes: as text where they can be, else their number and a hash.
#[must_use]
pub fn bytes(bytes: &[u8]) -> String {
    if bytes.len() <= SPELLED_BYTES {
        return format!("\"{}\"", bytes.escape_ascii());
    }
    let mut hash = Trace::default();
    hash.bytes(bytes);
    format!("({} bytes #{:08x})", bytes.len(), hash.value() >> 32)
}

/// A request, with names and data as [`bytes`] says them.
#[must_use]
pub fn op(op: &Op) -> String {
    spell(&format!("{op:?}"))
}

/// A reply, likewise.
#[must_use]
pub fn reply(reply: &Result<Reply, Errno>) -> String {
    spell(&format!("{reply:?}"))
}

/// A store request; a body as one run of bytes, whatever its slices.
#[must_use]
pub fn store_request(request: &StoreRequest) -> String {
    match request {
        StoreRequest::Put { key, body, condition } => {
            let whole: Vec<u8> = body.iter().flat_map(|slice| slice.as_bytes()).copied().collect();
            format!("Put {key} {} if {condition:?}", bytes(&whole))
        }
        StoreRequest::Get { key, range, fresh } => {
            let fresh = if *fresh { " fresh" } else { "" };
            match range {
                Some(range) => format!("Get {key} {}..{}{fresh}", range.start, range.end),
                None => format!("Get {key}{fresh}"),
            }
        }
        StoreRequest::Head { key } => format!("Head {key}"),
        StoreRequest::List { prefix, after, max } => format!("List {prefix} after {after:?} {max}"),
        StoreRequest::Delete { key } => format!("Delete {key}"),
    }
}

/// What came of a store request.
#[must_use]
pub fn outcome(outcome: &StoreOutcome) -> String {
    match outcome {
        StoreOutcome::Got { body, etag } => {
            format!("Got {} {etag}", bytes(&body.clone().into_vec()))
        }
        StoreOutcome::Found { len, crc32, etag } => {
            let sum = crc32.map_or_else(String::new, |sum| format!(" crc32 {sum:08x}"));
            format!("Found {len} bytes{sum} {etag}")
        }
        StoreOutcome::Stored { etag } => format!("Stored {etag}"),
        StoreOutcome::Listed { keys, more } => format!("Listed {keys:?} more={more}"),
        StoreOutcome::Deleted => "Deleted".into(),
        StoreOutcome::Failed(error) => format!("Failed {error:?}"),
    }
}

/// Replaces each list of bytes in a debug text by what [`bytes`] says.
fn spell(debug: &str) -> String {
    let mut out = String::with_capacity(debug.len());
    let mut rest = debug;
    while let Some(open) = rest.find('[') {
        let (before, list) = rest.split_at(open);
        out.push_str(before);
        let parsed = list.find(']').and_then(|close| {
            let items = &list[1..close];
            let numbers: Result<Vec<u8>, _> =
                items.split(", ").filter(|item| !item.is_empty()).map(str::parse).collect();
            numbers.ok().map(|numbers| (numbers, close + 1))
        });
        match parsed {
            Some((numbers, len)) => {
                out.push_str(&bytes(&numbers));
                rest = &list[len..];
            }
            None => {
                out.push('[');
                rest = &list[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use vellum_core::words::{Fh, Ino};

    use super::*;

    #[test]
    fn names_and_data_are_readable() {
        let look = Op::Lookup { parent: Ino(1), name: (*b"a.txt").into() };
        assert_eq!(op(&look), "Lookup { parent: Ino(1), name: \"a.txt\" }");
        let data = Ok(Reply::Data(vec![0; 100]));
        assert!(reply(&data).starts_with("Ok(Data((100 bytes #"), "{}", reply(&data));
        let empty = Op::Write { fh: Fh(1), offset: 0, data: Vec::new(), flags: Default::default() };
        assert!(op(&empty).contains("data: \"\""), "{}", op(&empty));
        assert_eq!(reply(&Ok(Reply::Entries(Vec::new()))), "Ok(Entries(\"\"))");
    }
}
