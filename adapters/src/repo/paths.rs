//! Finds what is at a path of a snapshot, and reads no more nodes than that takes.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};
use std::sync::Arc;

use vellum_core::format::{Body, Entry, Inode, Snapshot};
use vellum_core::shapes::Name;

use super::Repo;
use super::error::RepoError;

/// What is at a path.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    /// Its last component; empty for the root.
    pub(super) name: Name,
    /// What it stands for.
    pub(super) inode: Inode,
    /// Names that the inode has.
    pub(super) names: u64,
}

impl Repo {
    /// What is at a path of the snapshot; its root if no path is given. Symbolic links are not
    /// followed.
    pub(super) async fn look_up(
        self: &Arc<Self>,
        snapshot: &Snapshot,
        path: Option<&Path>,
    ) -> Result<Found, RepoError> {
        let path = path.unwrap_or(Path::new(""));
        let missing = || RepoError::NoSuchPath { path: path.to_path_buf() };
        let mut at = Found { name: Name::from([]), inode: snapshot.root.clone(), names: 1 };
        for component in path.components() {
            let name = match component {
                Component::RootDir | Component::CurDir => continue,
                Component::Normal(name) => Name::from(name.as_bytes()),
                Component::ParentDir | Component::Prefix(_) => return Err(missing()),
            };
            let Body::Directory { root, .. } = &at.inode.body else { return Err(missing()) };
            let (inode, names) = match self.entry(root.as_ref(), &name).await? {
                Some(Entry::Inode(inode)) => (inode, 1),
                Some(Entry::Link(ino)) => {
                    let linked = self.linked(snapshot.links.as_ref(), ino).await?;
                    (linked.inode, linked.names.len() as u64)
                }
                None => return Err(missing()),
            };
            at = Found { name, inode, names };
        }
        Ok(at)
    }
}
