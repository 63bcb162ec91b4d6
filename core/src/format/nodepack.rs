//! Packs of nodes: all nodes that one commit or import makes, in few objects.

use rustc_hash::FxHashMap;

use super::cbor::Writer;
use super::{FormatError, Hash, Hashed, NodePlace, NodeRef, ObjectName};

/// A node that was made, and is not laid into an object.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeDraft {
    hash: Hash,
    /// What the hash is of.
    bytes: Vec<u8>,
    /// Nodes that it names, in order.
    refs: Vec<NodeRef>,
}

impl NodeDraft {
    pub(super) fn new(hash: Hash, bytes: Vec<u8>, refs: Vec<NodeRef>) -> Self {
        Self { hash, bytes, refs }
    }

    /// The hash that names the node.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Bytes that it takes in a pack, at most.
    #[must_use]
    pub fn most_bytes(&self) -> u64 {
        (self.bytes.len() + LIST_MAX_BYTES + self.refs.len() * PLACE_MAX_BYTES) as u64
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes of the head of a list of places, at most.
const LIST_MAX_BYTES: usize = 9;
/// Bytes of a place, at most: its head, a hash, three numbers, and the check.
const PLACE_MAX_BYTES: usize = 64;

/// Where a node was laid.
#[derive(Clone, Copy, Debug)]
enum Laid {
    /// In the pack that is open, which has no name yet.
    Open(NodePlace),
    /// In one that is closed.
    Closed(NodePlace),
}

/// Lays nodes behind each other until the object has the size of a chunk. A node comes after those
/// that it names.
#[derive(Debug)]
pub struct NodePacker {
    chunk_bytes: u64,
    open: Vec<u8>,
    /// Nodes of the open pack.
    inside: Vec<Hash>,
    laid: FxHashMap<Hash, Laid>,
}

impl NodePacker {
    /// No pack is begun.
    #[must_use]
    pub fn new(chunk_bytes: u32) -> Self {
        Self {
            chunk_bytes: u64::from(chunk_bytes),
            open: Vec::new(),
            inside: Vec::new(),
            laid: FxHashMap::default(),
        }
    }

    /// A node that lies somewhere already: it is not laid again.
    pub fn know(&mut self, node: &NodeRef) {
        if let Some(place) = node.place {
            self.laid.entry(node.hash).or_insert(Laid::Closed(place));
        }
    }

    /// Lays a node, unless it lies somewhere; answers the pack that it did not fit into any more.
    ///
    /// # Errors
    /// It names a node that was neither stored nor laid before it.
    pub fn push(&mut self, draft: &NodeDraft) -> Result<Option<Hashed>, FormatError> {
        if self.laid.contains_key(&draft.hash) {
            return Ok(None);
        }
        let full = self.open.len() as u64 + draft.most_bytes() > self.chunk_bytes;
        let pack = if full { self.close() } else { None };
        let offset = self.open.len() as u64;
        let mut w = Writer::new();
        w.array(4);
        w.raw(&draft.bytes[1..]);
        w.array(draft.refs.len());
        for node in &draft.refs {
            match (node.place, self.laid.get(&node.hash).copied()) {
                (Some(place), _) | (None, Some(Laid::Closed(place))) => place.encode(None, &mut w),
                (None, Some(Laid::Open(place))) => place.encode(Some(&place.object), &mut w),
                (None, None) => {
                    return Err(FormatError::Invalid { record: "node reference", field: "place" });
                }
            }
        }
        let bytes = w.into_bytes();
        let place = NodePlace::of(ObjectName::first(draft.hash), offset, &bytes);
        self.open.extend(bytes);
        self.inside.push(draft.hash);
        self.laid.insert(draft.hash, Laid::Open(place));
        Ok(pack)
    }

    /// Lays nodes, each after those that it names; answers the packs that are full.
    ///
    /// # Errors
    /// As [`NodePacker::push`].
    pub fn push_all(&mut self, drafts: &[NodeDraft]) -> Result<Vec<Hashed>, FormatError> {
        let mut packs = Vec::new();
        for draft in drafts {
            packs.extend(self.push(draft)?);
        }
        Ok(packs)
    }

    /// Ends the open pack, if there is anything in it.
    pub fn close(&mut self) -> Option<Hashed> {
        if self.inside.is_empty() {
            return None;
        }
        let pack = Hashed::of_bytes(std::mem::take(&mut self.open));
        let object = ObjectName::first(pack.hash());
        for hash in self.inside.drain(..) {
            if let Some(laid) = self.laid.get_mut(&hash)
                && let Laid::Open(place) = *laid
            {
                *laid = Laid::Closed(NodePlace { object, ..place });
            }
        }
        Some(pack)
    }

    /// Fills in where a node lies, if it was laid here and its pack is closed.
    pub fn locate(&self, node: &mut NodeRef) {
        if let (None, Some(Laid::Closed(place))) = (node.place, self.laid.get(&node.hash)) {
            node.place = Some(*place);
        }
    }
}
