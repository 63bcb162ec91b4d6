//! Objects of nodes, each read whole and checked by its own name, and kept for the nodes of it that
//! are looked at next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::OnceCell;
use vellum_core::format::{NodeError, NodeRef, ObjectKind, ObjectName, TreeKind, decode_node};

use super::check::{Wrong, read_even_if_bad};
use crate::repo::Repo;
use crate::repo::tree::Place;

/// Objects that are kept.
const KEPT: usize = 16;

/// An object of nodes.
#[derive(Debug, Default)]
pub(super) struct Pack {
    /// What there is of it.
    bytes: Vec<u8>,
    /// What is wrong with it as a whole.
    pub(super) wrong: Option<Wrong>,
    is_counted: AtomicBool,
}

/// An object of nodes that is read by the first who asks for it.
type Reading = Arc<OnceCell<Arc<Pack>>>;

/// The objects that were read lately, or are being read.
#[derive(Debug, Default)]
pub(super) struct Packs {
    kept: Mutex<VecDeque<(ObjectName, Reading)>>,
}

impl Packs {
    /// The object that a node lies in: read, unless it was lately.
    pub(super) async fn get(&self, repo: &Repo, node: &NodeRef) -> (ObjectName, Arc<Pack>) {
        let nowhere = || (ObjectName::first(node.hash), 0);
        let place = node.place.map(|place| (place.object, place.range().end));
        let (name, len_min) = place.unwrap_or_else(nowhere);
        let cell = {
            let mut kept = self.kept.lock();
            match kept.iter().find(|(other, _)| *other == name) {
                Some((_, cell)) => Arc::clone(cell),
                None => {
                    let cell = Reading::default();
                    kept.push_back((name, Arc::clone(&cell)));
                    if kept.len() > KEPT {
                        kept.pop_front();
                    }
                    cell
                }
            }
        };
        let read = async || {
            let read = read_even_if_bad(repo, ObjectKind::Tree, &name, len_min).await;
            let (bytes, wrong) = match read {
                Ok(bytes) => (bytes.into_bytes(), None),
                Err((wrong, bytes)) => (bytes, Some(wrong)),
            };
            Arc::new(Pack { bytes, wrong, is_counted: AtomicBool::new(false) })
        };
        (name, Arc::clone(cell.get_or_init(read).await))
    }
}

impl Pack {
    /// Bytes that were read of it; 0 when that was asked before.
    pub(super) fn bytes_read(&self) -> u64 {
        if self.is_counted.swap(true, Ordering::Relaxed) { 0 } else { self.bytes.len() as u64 }
    }

    /// The node at a place.
    pub(super) fn node<T: TreeKind>(
        &self,
        place: &Place<T>,
    ) -> Result<vellum_core::format::TreeNode<T>, Wrong> {
        let range = place.node.place.map_or(0..0, |at| at.range());
        let range = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        let bytes = range.and_then(|(start, end)| self.bytes.get(start..end));
        let wrong = |or: Wrong| self.wrong.clone().unwrap_or(or);
        let Some(bytes) = bytes else {
            let (len, end) = (self.bytes.len(), place.node.place.map_or(0, |at| at.range().end));
            let words = format!("it has {len} bytes, and {end} are needed of it");
            return Err(match &self.wrong {
                None => Wrong::Misnamed(words),
                Some(Wrong::Corrupted(_)) => Wrong::Truncated(words),
                Some(
                    wrong @ (Wrong::Missing
                    | Wrong::Truncated(_)
                    | Wrong::Swapped(_)
                    | Wrong::Misnamed(_)
                    | Wrong::Unreadable(_)),
                ) => wrong.clone(),
            });
        };
        let node = decode_node::<T>(&place.node, bytes).map_err(|error| match error {
            NodeError::Damaged(error) => wrong(Wrong::Misnamed(error.to_string())),
            NodeError::Format(error) => wrong(Wrong::format(&error)),
        })?;
        let placed = node.check_place(&place.node, place.first.as_ref(), place.upper.as_ref());
        placed.map_err(|error| Wrong::format(&error))?;
        Ok(node)
    }
}
