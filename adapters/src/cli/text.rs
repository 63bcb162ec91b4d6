//! Numbers, sizes, times and paths as people read and write them.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use indicatif::{HumanBytes, HumanCount};
use jiff::Timestamp;
use serde_json::{Map, Value};
use vellum_core::words::Time;

/// Digits of a hash that a person is shown.
pub(super) const SHORT_HASH: usize = 16;

/// What others wrote must not steer the terminal.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A path as JSON has it: as text, and where that does not say it all, in hexadecimal digits too.
pub(super) fn path_json(path: &Path, into: &mut Map<String, Value>) {
    let bytes = path.as_os_str().as_bytes();
    into.insert("path".into(), path.to_string_lossy().into());
    if std::str::from_utf8(bytes).is_err() {
        into.insert("path_hex".into(), hex(bytes).into());
    }
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number of bytes: digits, then K, M, G or T (of 1,024), with or without `B` or `iB`.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_uppercase();
    let unit = unit.strip_suffix("IB").or(unit.strip_suffix('B')).unwrap_or(&unit);
    let shift = match unit {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(format!("unknown unit {unit:?}: use K, M, G or T")),
    };
    let number: u64 = number.parse().map_err(|_| "give a number, such as 4M".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "too large".to_owned())
}

/// The size of a chunk.
pub(super) fn parse_chunk_size(text: &str) -> Result<u32, String> {
    u32::try_from(parse_size(text)?).map_err(|_| "too large: 16M is the largest".to_owned())
}

/// `1536` as `1.50 KiB`.
pub(crate) fn size(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// `1234567` as `1,234,567`.
pub(crate) fn number(number: u64) -> String {
    HumanCount(number).to_string()
}

/// `1` and `file` as `1 file`, `2` as `2 files`.
pub(crate) fn count(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", number(count))
}

/// A path as a word that a shell reads as that path.
pub(crate) fn quoted(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    // An argument that begins with a dash would be an option.
    let dash = if bytes.first() == Some(&b'-') { "./" } else { "" };
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+:@%,=".contains(byte);
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && bytes.iter().all(plain) => format!("{dash}{text}"),
        Ok(text) if !text.contains(char::is_control) => {
            format!("'{dash}{}'", text.replace('\'', r"'\''"))
        }
        Ok(_) | Err(_) => format!("$'{dash}{}'", bytes.escape_ascii()),
    }
}

/// A time in UTC.
fn calendar(time: Time, format: &str) -> String {
    // What a `Time` can say, years 1677 to 2262, is in its range.
    let at = Timestamp::from_second(time.secs()).unwrap_or(Timestamp::UNIX_EPOCH);
    at.strftime(format).to_string()
}

/// A time as `2026-11-22 08:10:11 UTC`.
pub(crate) fn time(time: Time) -> String {
    calendar(time, "%F %T UTC")
}

/// A time as `2026-11-22T08:10:11Z`.
pub(super) fn rfc3339(time: Time) -> String {
    calendar(time, "%FT%TZ")
}

/// Who is at work, when nobody else is named: `user@host`.
#[must_use]
pub fn author() -> String {
    let user = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    let user = user.filter(|user| !user.is_empty()).unwrap_or_else(|| {
        let uid = rustix::process::geteuid();
        if uid.is_root() { "root".to_owned() } else { format!("uid{}", uid.as_raw()) }
    });
    let host = rustix::system::uname();
    format!("{user}@{}", host.nodename().to_string_lossy())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes_are_read_with_their_unit() {
        assert_eq!(parse_size("4096").unwrap(), 4096);
        assert_eq!(parse_size("64K").unwrap(), 64 << 10);
        assert_eq!(parse_size("2GiB").unwrap(), 2 << 30);
        for bad in ["", "M", "12X", "-1", "1.5G", "99999999999T"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_written_with_the_unit_that_fits() {
        let all = [0, 1023, 1024, 1536, 1 << 20, (1 << 20) - 1, u64::MAX].map(size);
        assert_eq!(
            all,
            ["0 B", "1023 B", "1.00 KiB", "1.50 KiB", "1.00 MiB", "1024.00 KiB", "16.00 EiB"]
        );
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        let files = [0, 1, 2000].map(|files| count(files, "file"));
        assert_eq!(files, ["0 files", "1 file", "2,000 files"]);
    }

    #[test]
    fn paths_are_quoted_as_a_shell_reads_them() {
        let say = |bytes: &[u8]| quoted(Path::new(std::ffi::OsStr::from_bytes(bytes)));
        assert_eq!(say(b"/mnt/a-b_1.x"), "/mnt/a-b_1.x");
        assert_eq!(say(b"/mnt/a b"), "'/mnt/a b'");
        assert_eq!(say("/mnt/ä".as_bytes()), "'/mnt/ä'");
        assert_eq!(say(b"it's"), r"'it'\''s'");
        assert_eq!(say(b"a\nb\xff'"), r"$'a\nb\xff\''");
        assert_eq!(say(b"-x"), "./-x");
        assert_eq!(say(b""), "''");
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        let at = |secs| Time::from_parts(secs, 0);
        assert_eq!(time(at(0)), "1970-01-01 00:00:00 UTC");
        assert_eq!(time(at(-1)), "1969-12-31 23:59:59 UTC");
        assert_eq!(rfc3339(at(951_782_400)), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(at(4_107_542_399)), "2100-02-28T23:59:59Z");
        assert_eq!(time(at(i64::MIN)), "1677-09-21 00:12:43 UTC");
        assert_eq!(time(at(i64::MAX)), "2262-04-11 23:47:16 UTC");
    }
}
