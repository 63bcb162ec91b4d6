//! Seeded bugs that take more than a line: refs of others are overwritten.

use super::Standing;
use crate::machine::flows::engine::{Cx, Engine};
use crate::shapes::Etag;

impl Engine {
    /// Puts the ref over what somebody else has put, if that is the bug.
    pub(super) fn wrong_overwrites(&mut self, cx: &mut Cx<'_>, etag: &Etag) -> bool {
        let publish = self.commit.as_ref().and_then(|commit| commit.publish.as_ref());
        let (Some(publish), Some(branch)) = (publish, &mut self.repo.branch) else { return false };
        let overwrites = match publish.standing {
            Standing::Sure => seeded!(HeadOverwritten),
            Standing::Doubtful | Standing::Idle => seeded!(RefRetriedBlindly),
        };
        if overwrites {
            branch.etag = etag.clone();
            self.send_ref(cx);
        }
        overwrites
    }
}
