//! What can be wrong with bytes that claim to be in the format.

use std::error::Error;
use std::fmt;

/// What is wrong with which field of which record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FormatError {
    /// The bytes end early, or are not of the type that the field has.
    Malformed { record: &'static str, field: &'static str },
    /// The value is past its bound.
    TooLarge { record: &'static str, field: &'static str, limit: u64 },
    /// The value is within bounds, and still none that the field may have.
    Invalid { record: &'static str, field: &'static str },
    /// The items are not in strictly ascending order, or overlap.
    Unsorted { record: &'static str, field: &'static str },
    /// The record says the same as the canonical form does, in other bytes.
    NotCanonical { record: &'static str },
    /// A node is not what the reference to it says: level, count or first key.
    Misplaced { record: &'static str, field: &'static str },
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { record, field } => {
                write!(f, "{record}: `{field}` is cut short or of the wrong type")
            }
            Self::TooLarge { record, field, limit } => {
                write!(f, "{record}: `{field}` is past its limit of {limit}")
            }
            Self::Invalid { record, field } => write!(f, "{record}: `{field}` is not valid"),
            Self::Unsorted { record, field } => {
                write!(f, "{record}: `{field}` is not in order")
            }
            Self::NotCanonical { record } => {
                write!(f, "{record}: the bytes are not in canonical form")
            }
            Self::Misplaced { record, field } => {
                write!(f, "{record}: `{field}` is not what the reference to it says")
            }
        }
    }
}

impl Error for FormatError {}
