//! Walks trees in the order of their keys, with several nodes on their way at once and a bounded
//! number of entries in memory, however many there are.

use std::sync::Arc;

use futures::future::join_all;
use vellum_core::format::{NodeRef, TreeKind, TreeNode};

use super::Repo;
use super::error::RepoError;
use super::tree::Place;

/// Nodes that are asked for at once.
const AT_ONCE: usize = 16;
/// Entries among which nodes to ask for are looked for.
const WINDOW: usize = 4096;
/// Entries in memory past which only the next node is read: a node adds at most 1,024.
const REST_MAX: usize = 16 * 1024;

/// Whether something lies below an entry, and what goes on there.
pub(super) type Below<T, X> =
    fn(&X, &<T as TreeKind>::Key, &<T as TreeKind>::Value) -> Option<(X, NodeRef)>;

/// What is still to come of a walk. `X` goes with every entry of a tree.
pub(super) struct InOrder<T: TreeKind, X> {
    repo: Arc<Repo>,
    /// What comes next is at the end.
    rest: Vec<Coming<T, X>>,
    below: Below<T, X>,
}

enum Coming<T: TreeKind, X> {
    Entry(X, T::Key, T::Value),
    Node(X, Place<T>),
    Failed(RepoError),
}

impl<T: TreeKind, X: Clone> InOrder<T, X> {
    /// A walk through the tree with this root, and after each entry through what lies below it.
    pub(super) fn new(
        repo: &Arc<Repo>,
        root: Option<NodeRef>,
        with: X,
        below: Below<T, X>,
    ) -> Self {
        let rest = root.map(|root| Coming::Node(with, Place::root(root))).into_iter().collect();
        Self { repo: Arc::clone(repo), rest, below }
    }

    /// The next entry; none at the end. What comes before a bad node is answered before its error.
    pub(super) async fn next(&mut self) -> Result<Option<(X, T::Key, T::Value)>, RepoError> {
        loop {
            match self.rest.pop() {
                None => return Ok(None),
                Some(Coming::Entry(with, key, value)) => return Ok(Some((with, key, value))),
                Some(Coming::Failed(error)) => {
                    self.rest.clear();
                    return Err(error);
                }
                Some(node @ Coming::Node(..)) => {
                    self.rest.push(node);
                    self.unfold().await;
                }
            }
        }
    }

    /// Replaces the next nodes by what is in them.
    async fn unfold(&mut self) {
        let nodes_max = if self.rest.len() > REST_MAX { 1 } else { AT_ONCE };
        let mut window = Vec::new();
        let mut nodes = 0;
        while nodes < nodes_max
            && window.len() < WINDOW
            && let Some(coming) = self.rest.pop()
        {
            nodes += usize::from(matches!(coming, Coming::Node(..)));
            window.push(coming);
        }
        let loads = window.iter().filter_map(|coming| match coming {
            Coming::Node(_, place) => Some(self.repo.load(place.clone())),
            Coming::Entry(..) | Coming::Failed(_) => None,
        });
        let mut loaded = join_all(loads).await;
        for coming in window.into_iter().rev() {
            match coming {
                Coming::Node(with, _) => {
                    if let Some(node) = loaded.pop() {
                        self.put_back(&with, node);
                    }
                }
                other @ (Coming::Entry(..) | Coming::Failed(_)) => self.rest.push(other),
            }
        }
    }

    fn put_back(&mut self, with: &X, node: Result<(Place<T>, TreeNode<T>), RepoError>) {
        match node {
            Err(error) => self.rest.push(Coming::Failed(error)),
            Ok((place, TreeNode::Inner(children))) => {
                let nodes = place.below(&children).rev();
                self.rest.extend(nodes.map(|place| Coming::Node(with.clone(), place)));
            }
            Ok((_, TreeNode::Leaf(entries))) => {
                for (key, value) in entries.into_iter().rev() {
                    if let Some((below, root)) = (self.below)(with, &key, &value) {
                        self.rest.push(Coming::Node(below, Place::root(root)));
                    }
                    self.rest.push(Coming::Entry(with.clone(), key, value));
                }
            }
        }
    }
}
