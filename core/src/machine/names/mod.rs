//! Floor 3: inodes, directories and what a snapshot says of them. Plain values; nothing waits.

mod acl;
mod ahead;
mod directory;
mod node;
mod reset;
mod table;
#[cfg(core_bugs)]
mod wrong;

pub(crate) use acl::stored as stored_mode;
pub(crate) use ahead::Ahead;
pub(crate) use directory::{Directory, Listing, Slot};
pub(crate) use node::{
    DirNode, FileNode, Layout, LinkName, Node, NodeBody, OtherNode, Record, What, XattrState,
    shown_mode,
};
pub(crate) use table::{Gone, Table, Twice, size_of};
