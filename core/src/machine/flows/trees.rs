//! Loading of tree nodes: each is fetched once, checked, and given to all that asked.

use std::collections::VecDeque;

use rustc_hash::{FxHashMap, FxHashSet};

use super::calls::{Owner, Retry};
use super::commit::CommitWork;
use super::engine::{Cx, Engine, Stop, WaitKey};
use super::gather::{AnyNode, Have, NodeKind};
use super::job::{Job, JobOwner, Made, Product, Work};
use crate::format::{Hash, NodeRef, ObjectKind, ObjectName, Pieces, TreeNode, object_key};
use crate::shapes::{Key, StoreError, StoreOutcome, StoreRequest};
use crate::sync::Arc;
use crate::words::{Errno, Ino};

/// How often an object that fails its hash is fetched before it counts as damaged.
pub(super) const CHECKS: u32 = 3;

/// Who asked for nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Asker {
    /// The listing of a directory.
    Listing(Ino),
    /// A file whose piece tree is looked at.
    Layout(Ino),
    /// A tree that a commit changes.
    Commit(u64, CommitWork),
}

#[derive(Debug)]
struct Loading {
    kind: NodeKind,
    node: NodeRef,
    askers: Vec<Asker>,
    checks: u32,
    /// Whether it is being fetched or checked; else it is queued.
    is_sent: bool,
    /// How many of the askers the patience of the fetch began with: the first so many.
    early: usize,
}

/// What one asker has been given, and what it still lacks.
#[derive(Debug, Default)]
struct Asked {
    have: Have,
    missing: FxHashSet<Hash>,
}

/// All nodes loaded lately or being loaded.
#[derive(Debug, Default)]
pub(crate) struct Trees {
    cache: Have,
    order: VecDeque<Hash>,
    loading: FxHashMap<Hash, Loading>,
    /// Nodes to be fetched that requests wait for: they go before those of a commit.
    urgent: VecDeque<Hash>,
    queued: VecDeque<Hash>,
    /// Nodes being fetched or checked, of which memory holds the bytes.
    sent: usize,
    asked: FxHashMap<Asker, Asked>,
}

impl Trees {
    /// What an asker may use: what it was given, in a form that a job can take along.
    pub(crate) fn have(&self, asker: &Asker) -> Have {
        self.asked.get(asker).map(|asked| asked.have.clone()).unwrap_or_default()
    }

    /// A node of a piece tree that an asker was given, or that is cached.
    pub(crate) fn piece_node(&self, asker: &Asker, hash: &Hash) -> Option<Arc<TreeNode<Pieces>>> {
        let given = self.asked.get(asker).and_then(|asked| asked.have.pieces(hash));
        given.or_else(|| self.cache.pieces(hash))
    }

    /// How many nodes an asker was given.
    pub(crate) fn gathered(&self, asker: &Asker) -> usize {
        self.asked.get(asker).map_or(0, |asked| asked.have.len())
    }

    /// An asker is done.
    pub(crate) fn forget(&mut self, asker: &Asker) {
        self.asked.remove(asker);
    }

    /// A commit has ended: whatever it asked for, nobody waits for it.
    pub(crate) fn forget_commit(&mut self, ended: u64) {
        self.asked
            .retain(|asker, _| !matches!(asker, Asker::Commit(serial, _) if *serial == ended));
    }

    /// Askers that wait, and nodes being loaded.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        (self.asked.len(), self.loading.len())
    }

    /// Notes that an asker waits for a node.
    fn await_node(&mut self, asker: &Asker, kind: NodeKind, node: NodeRef) {
        let hash = node.hash;
        let fresh =
            || Loading { kind, node, askers: Vec::new(), checks: 0, is_sent: false, early: 0 };
        let loading = self.loading.entry(hash).or_insert_with(fresh);
        loading.askers.push(asker.clone());
        if loading.is_sent {
            return;
        }
        match asker {
            Asker::Listing(_) | Asker::Layout(_) => self.urgent.push_back(hash),
            Asker::Commit(..) => self.queued.push_back(hash),
        }
    }

    /// The next node to be fetched that somebody still waits for.
    fn next_to_fetch(&mut self) -> Option<NodeRef> {
        while let Some(hash) = self.urgent.pop_front().or_else(|| self.queued.pop_front()) {
            let Some(loading) = self.loading.get_mut(&hash).filter(|l| !l.is_sent) else {
                continue;
            };
            if loading.askers.iter().any(|asker| self.asked.contains_key(asker)) {
                loading.is_sent = true;
                loading.early = loading.askers.len();
                self.sent += 1;
                return Some(loading.node);
            }
            self.loading.remove(&hash);
        }
        None
    }

    /// A node that was sent for is there, or will not come.
    fn arrived(&mut self, hash: &Hash) -> Option<Loading> {
        let loading = self.loading.remove(hash)?;
        self.sent -= 1;
        Some(loading)
    }

    /// Of a node that can't be had for a time: who has waited for all of that. Who came later, if
    /// anybody still waits, is left with the load, which is to begin anew.
    fn give_up_early(&mut self, hash: &Hash) -> Option<(NodeRef, Vec<Asker>)> {
        let loading = self.loading.get_mut(hash)?;
        let late = loading.askers.split_off(loading.early);
        let late = late.into_iter().filter(|asker| self.asked.contains_key(asker));
        let early = std::mem::replace(&mut loading.askers, late.collect());
        loading.early = loading.askers.len();
        if loading.askers.is_empty() {
            loading.askers = early;
            return None;
        }
        Some((loading.node, early))
    }

    /// An asker is done, unless it has asked for more.
    pub(crate) fn forget_idle(&mut self, asker: &Asker) {
        if self.asked.get(asker).is_some_and(|asked| asked.missing.is_empty()) {
            self.forget(asker);
        }
    }

    fn keep(&mut self, hash: Hash, node: AnyNode, most: usize) {
        if self.order.len() >= most
            && let Some(oldest) = self.order.pop_front()
        {
            self.cache.remove(&oldest);
        }
        self.order.push_back(hash);
        self.cache.insert(hash, node);
    }
}

impl Engine {
    /// Nodes that are kept beside those at an asker's hand.
    pub(super) fn cached_nodes(&self) -> usize {
        self.shared.limits.cached_nodes
    }

    /// All who waited for something were called.
    pub(crate) fn called(&mut self, key: &WaitKey) {
        match key {
            WaitKey::Layout(ino) => self.trees.forget_idle(&Asker::Layout(*ino)),
            WaitKey::Listing(_) | WaitKey::Piece(_) | WaitKey::Room | WaitKey::Commit => {}
        }
    }

    /// Asks for nodes. Whether all are there already; else the asker is called when they are.
    pub(crate) fn ask(
        &mut self,
        cx: &mut Cx<'_>,
        asker: &Asker,
        kind: NodeKind,
        nodes: &[NodeRef],
    ) -> bool {
        let mut asked = self.trees.asked.remove(asker).unwrap_or_default();
        for node in nodes {
            let hash = node.hash;
            if let Some(found) = self.trees.cache.get(&hash) {
                asked.have.insert(hash, found.clone());
            } else if asked.missing.insert(hash) {
                self.trees.await_node(asker, kind, *node);
            }
        }
        let ready = asked.missing.is_empty();
        self.trees.asked.insert(asker.clone(), asked);
        self.send_nodes(cx);
        ready
    }

    /// Fetches queued nodes, as far as the limit on requests in flight goes.
    fn send_nodes(&mut self, cx: &mut Cx<'_>) {
        while self.trees.sent < self.shared.limits.in_flight {
            let Some(node) = self.trees.next_to_fetch() else { return };
            self.fetch_node(cx, &node);
        }
    }

    fn fetch_node(&mut self, cx: &mut Cx<'_>, node: &NodeRef) {
        let range = node.place.map(|place| place.range());
        let fresh = self.trees.loading.get(&node.hash).is_some_and(|loading| loading.checks > 0);
        let request = StoreRequest::Get { key: key_of(node), range, fresh };
        let owner = Owner::Node(node.hash);
        self.calls.send(cx, &self.shared.limits, request, owner, Retry::Always);
    }

    pub(crate) fn node_fetched(&mut self, cx: &mut Cx<'_>, hash: Hash, outcome: StoreOutcome) {
        let Some(loading) = self.trees.loading.get(&hash) else { return };
        match outcome.got() {
            Ok((bytes, _)) => {
                let work = Work::Node { kind: loading.kind, node: loading.node, bytes };
                self.calls.compute(cx, Job(work), JobOwner::Node(hash));
            }
            Err(error) => self.node_failed(cx, hash, error, "can't be read"),
        }
    }

    pub(crate) fn node_checked(&mut self, cx: &mut Cx<'_>, hash: Hash, product: Product) {
        let Made::Node(made) = product.0 else { unreachable!("a node job makes a node") };
        let Some(loading) = self.trees.loading.get_mut(&hash) else { return };
        match made {
            Ok(node) => self.node_loaded(cx, hash, &node),
            Err(_) if loading.checks + 1 < CHECKS => {
                loading.checks += 1;
                let node = loading.node;
                self.fetch_node(cx, &node);
            }
            Err(why) => self.node_failed(cx, hash, StoreError::Damaged, &why),
        }
    }

    fn node_loaded(&mut self, cx: &mut Cx<'_>, hash: Hash, node: &AnyNode) {
        let most = self.cached_nodes();
        self.trees.keep(hash, node.clone(), most);
        let Some(loading) = self.trees.arrived(&hash) else { return };
        self.send_nodes(cx);
        for asker in loading.askers {
            let Some(asked) = self.trees.asked.get_mut(&asker) else { continue };
            asked.have.insert(hash, node.clone());
            asked.missing.remove(&hash);
            if asked.missing.is_empty() {
                self.resume(cx, asker);
            }
        }
    }

    fn resume(&mut self, cx: &mut Cx<'_>, asker: Asker) {
        match asker {
            Asker::Listing(ino) => self.load_listing(cx, ino),
            // Those who wait use what was gathered, and it is forgotten after them.
            Asker::Layout(ino) => self.wake(WaitKey::Layout(ino), Ok(())),
            Asker::Commit(serial, work) => {
                if self.is_commit(serial) {
                    self.commit_gathered(cx, work);
                } else {
                    self.trees.forget(&Asker::Commit(serial, work));
                }
            }
        }
    }

    fn node_failed(&mut self, cx: &mut Cx<'_>, hash: Hash, error: StoreError, why: &str) {
        let late = if error.is_temporary() { self.trees.give_up_early(&hash) } else { None };
        let (node, askers) = match late {
            Some((node, early)) => {
                self.fetch_node(cx, &node);
                (node, early)
            }
            None => {
                let Some(loading) = self.trees.arrived(&hash) else { return };
                self.send_nodes(cx);
                (loading.node, loading.askers)
            }
        };
        let key = key_of(&node);
        self.report(cx, key.clone(), &said(&error, why));
        for asker in askers {
            self.trees.forget(&asker);
            self.ask_failed(cx, asker, &key, &error);
        }
    }

    pub(crate) fn ask_failed(
        &mut self,
        cx: &mut Cx<'_>,
        asker: Asker,
        key: &Key,
        error: &StoreError,
    ) {
        match asker {
            Asker::Listing(ino) => self.wake(WaitKey::Listing(ino), Err(Stop::Errno(Errno::Io))),
            Asker::Layout(ino) => self.wake(WaitKey::Layout(ino), Err(Stop::Errno(Errno::Io))),
            Asker::Commit(serial, _) if self.is_commit(serial) => {
                self.commit_failed(cx, key.clone(), error.clone());
            }
            Asker::Commit(..) => {}
        }
    }
}

/// The object that a node lies in. Every node that a stored one names does.
pub(super) fn key_of(node: &NodeRef) -> Key {
    let object = node.place.map_or_else(|| ObjectName::first(node.hash), |place| place.object);
    object_key(ObjectKind::Tree, &object)
}

/// What is said of an object that could not be used.
pub(super) fn said(error: &StoreError, why: &str) -> String {
    match error {
        StoreError::NotFound => "is missing from the store".to_owned(),
        StoreError::Damaged => format!("is damaged: {why}"),
        StoreError::Denied => "may not be read with these credentials".to_owned(),
        StoreError::Exists
        | StoreError::Mismatch
        | StoreError::Throttled
        | StoreError::Unreachable
        | StoreError::Ambiguous
        | StoreError::NoSpace
        | StoreError::NoBucket
        | StoreError::Unsupported => format!("{why}: {error:?}"),
    }
}
