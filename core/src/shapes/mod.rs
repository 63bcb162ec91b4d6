//! Floor 1: the shapes that requests, effects and file contents take.

mod attr;
mod counts;
mod effect;
mod report;
mod request;
mod segments;
mod spans;
mod store;

pub use attr::{Attr, FileKind, SetAttr, SetTime};
pub use counts::{Asked, Counts, KindCounts};
pub use effect::{Effect, Effects, Input, Outcome};
pub use report::{Change, ChangeKind, CommitResult, Diff, Restored, Status};
pub use request::{
    Allocate, Caller, DirEntry, Name, Op, OpenFlags, RenameMode, Reply, StatFs, Whence, WriteFlags,
    XattrMode,
};
pub use segments::{SEGMENT_BYTES, Segments};
pub use spans::Spans;
pub use store::{Condition, Etag, Key, Slice, StoreError, StoreOutcome, StoreRequest};
