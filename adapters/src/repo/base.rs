//! What the branch's snapshot knows about the paths of an import: inode numbers, which stay, and
//! contents, which are not sent again.

use std::collections::BTreeMap;
use std::mem::discriminant;
use std::sync::Arc;

use parking_lot::Mutex;
use vellum_core::format::{
    Body, Content as Kept, Directories, Entry, Linked, Links, NodePacker, NodeRef, Piece, Pieces,
    Snapshot, TreeKind,
};
use vellum_core::shapes::{FileKind, Name};
use vellum_core::words::Ino;

use super::Repo;
use super::big::Known;
use super::error::RepoError;
use super::source::{Content, Item};
use super::tree::not_linked;

/// What was at a path before.
#[derive(Debug, Default)]
pub(super) struct Earlier {
    /// The number of its inode, if that was of the same kind.
    pub(super) ino: Option<Ino>,
    /// Its content.
    pub(super) known: Known,
}

/// The snapshot that an import builds upon, followed along the path of the import.
pub(super) struct Base {
    repo: Arc<Repo>,
    root: Option<Option<NodeRef>>,
    links: Option<NodeRef>,
    /// The link table, once it was read.
    table: Option<BTreeMap<Ino, Linked>>,
    /// Entries of the directories that are entered; empty for those that are new.
    stack: Vec<BTreeMap<Name, Entry>>,
    /// Is told of the nodes that were read: they need not be put.
    nodes: Arc<Mutex<NodePacker>>,
}

impl Base {
    pub(super) fn new(
        repo: Arc<Repo>,
        snapshot: Option<&Snapshot>,
        nodes: Arc<Mutex<NodePacker>>,
    ) -> Self {
        let root = snapshot.map(|snapshot| snapshot.root.body.entries());
        let links = snapshot.and_then(|snapshot| snapshot.links);
        Self { repo, root, links, table: None, stack: Vec::new(), nodes }
    }

    /// What was at the path of `item`, which must be the next in path order.
    pub(super) async fn look_up(&mut self, item: &Item) -> Result<Earlier, RepoError> {
        match item {
            Item::Leave => {
                self.stack.pop();
                Ok(Earlier::default())
            }
            Item::Enter { name, .. } => self.enter(name).await,
            Item::Node { name, content, .. } => match self.entry(name) {
                Some(Entry::Link(ino)) => {
                    let ino = *ino;
                    let body = self.linked(ino).await?;
                    let same = is_same_kind(&body, content);
                    let known = if same { self.known(&body).await? } else { Known::new() };
                    Ok(Earlier { ino: Some(ino), known })
                }
                Some(Entry::Inode(inode)) if is_same_kind(&inode.body, content) => {
                    let ino = Some(inode.ino);
                    let body = inode.body.clone();
                    Ok(Earlier { ino, known: self.known(&body).await? })
                }
                Some(Entry::Inode(_)) | None => Ok(Earlier::default()),
            },
        }
    }

    /// The body of an inode with several names. The table is read whole, when the first is met: an
    /// import makes it anew, and so knows its nodes.
    async fn linked(&mut self, ino: Ino) -> Result<Body, RepoError> {
        let table = match self.table.take() {
            Some(table) => table,
            None => self.entries::<Links>(self.links.as_ref()).await?.into_iter().collect(),
        };
        let table = self.table.insert(table);
        let linked = table.get(&ino).map(|linked| linked.inode.body.clone());
        linked.ok_or_else(|| not_linked(self.links.as_ref()))
    }

    async fn enter(&mut self, name: &Name) -> Result<Earlier, RepoError> {
        let (ino, root) = if self.stack.is_empty() {
            (self.root.map(|_| Ino::ROOT), self.root.flatten())
        } else {
            match self.entry(name) {
                Some(Entry::Inode(inode)) if inode.body.kind() == FileKind::Directory => {
                    (Some(inode.ino), inode.body.entries())
                }
                Some(Entry::Inode(_) | Entry::Link(_)) | None => (None, None),
            }
        };
        let entries = self.entries::<Directories>(root.as_ref()).await?;
        self.stack.push(entries.into_iter().collect());
        Ok(Earlier { ino, known: Known::new() })
    }

    async fn entries<T: TreeKind>(
        &self,
        root: Option<&NodeRef>,
    ) -> Result<Vec<(T::Key, T::Value)>, RepoError>
    where
        T::Key: Send + Sync,
        T::Value: Send + Sync,
    {
        let mut was_read = |node: &NodeRef| self.nodes.lock().know(node);
        self.repo.entries_by::<T>(root, &mut was_read).await
    }

    fn entry(&self, name: &Name) -> Option<&Entry> {
        self.stack.last()?.get(name)
    }

    async fn known(&self, body: &Body) -> Result<Known, RepoError> {
        let pieces = match body {
            Body::File { content: Kept::Pieces(pieces), .. } => pieces.clone(),
            Body::File { content: Kept::Tree(root), .. } => {
                let pieces = self.entries::<Pieces>(Some(root)).await?;
                pieces.into_iter().map(|(_, piece)| piece).collect()
            }
            Body::Directory { .. }
            | Body::Symlink { .. }
            | Body::Fifo
            | Body::Socket
            | Body::CharDevice { .. }
            | Body::BlockDevice { .. } => Vec::new(),
        };
        let by_hash = |piece: Piece| match piece {
            Piece::Data { hash, .. } => Some((hash, piece)),
            Piece::Hole { .. } => None,
        };
        Ok(pieces.into_iter().filter_map(by_hash).collect())
    }
}

fn is_same_kind(earlier: &Body, content: &Content) -> bool {
    match content {
        Content::Special(body) => discriminant(body) == discriminant(earlier),
        Content::Small { .. } | Content::Big(_) => matches!(earlier, Body::File { .. }),
    }
}
