//! Floor 0: the words everything else is said in.

mod errno;
mod ids;
mod limits;
mod time;

pub use errno::Errno;
pub use ids::{EffectId, Epoch, Fh, Ino, Ticket, TimerId, Version};
pub use limits::Limits;
pub use time::{Now, Time};
