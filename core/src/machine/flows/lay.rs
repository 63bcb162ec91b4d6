//! The nodes of a commit on their way into objects: laid behind each other as the trees are made,
//! so that many trees share an object.

use super::commit::CommitWork;
use super::engine::{Cx, Engine};
use super::job::{Job, JobOwner, Work};
use super::plan::{Plan, PlannedBody};
use super::puts::PutFor;
use crate::format::{Content, FormatError, Hashed, NodeDraft, NodePacker, NodeRef, ObjectKind};
use crate::shapes::StoreError;

/// Nodes that are made, and where those before them were laid.
#[derive(Debug)]
pub(crate) struct Laying {
    chunk_bytes: u64,
    /// None while a job has it.
    packer: Option<Box<NodePacker>>,
    drafts: Vec<NodeDraft>,
    drafts_bytes: u64,
    /// Whether a pack may be open.
    is_open: bool,
    /// Packs that are not stored yet.
    packs: usize,
}

impl Laying {
    pub(super) fn new(chunk_bytes: u32) -> Self {
        Self {
            chunk_bytes: u64::from(chunk_bytes),
            packer: Some(Box::new(NodePacker::new(chunk_bytes))),
            drafts: Vec::new(),
            drafts_bytes: 0,
            is_open: false,
            packs: 0,
        }
    }

    /// A pack is stored.
    pub(super) fn pack_stored(&mut self) {
        self.packs -= 1;
    }
}

impl Engine {
    /// Takes nodes that are to be laid, each after those that it names.
    pub(super) fn lay(&mut self, cx: &mut Cx<'_>, drafts: Vec<NodeDraft>) {
        let Some(commit) = &mut self.commit else { return };
        let laying = &mut commit.laying;
        laying.drafts_bytes += drafts.iter().map(NodeDraft::most_bytes).sum::<u64>();
        laying.drafts.extend(drafts);
        if laying.drafts_bytes >= laying.chunk_bytes {
            self.start_laying(cx, false);
        }
    }

    /// Whether all nodes are stored, when there will be no more of them: lays the last, if not.
    pub(super) fn all_laid(&mut self, cx: &mut Cx<'_>) -> bool {
        let Some(commit) = &mut self.commit else { return false };
        let laying = &commit.laying;
        if !laying.drafts.is_empty() || laying.is_open {
            self.start_laying(cx, true);
            return false;
        }
        let is_stored = laying.packs == 0 || seeded!(NamesBeforeObjects);
        let Some(packer) = laying.packer.as_ref().filter(|_| is_stored) else {
            return false;
        };
        locate(&mut commit.plan, &mut commit.links, packer);
        true
    }

    fn start_laying(&mut self, cx: &mut Cx<'_>, last: bool) {
        let Some(commit) = &mut self.commit else { return };
        let laying = &mut commit.laying;
        let Some(packer) = laying.packer.take() else { return };
        let drafts = std::mem::take(&mut laying.drafts);
        (laying.drafts_bytes, laying.is_open) = (0, !last);
        let job = Job(Work::Lay { packer, drafts, last });
        self.calls.compute(cx, job, JobOwner::Commit(self.commit_serial, CommitWork::Lay));
    }

    /// Nodes were laid: what is full or closed is put.
    pub(super) fn laid(
        &mut self,
        cx: &mut Cx<'_>,
        packer: Box<NodePacker>,
        packs: Result<Vec<Hashed>, FormatError>,
    ) {
        let Some(commit) = &mut self.commit else { return };
        commit.laying.packer = Some(packer);
        let packs = match packs {
            Ok(packs) => packs,
            Err(error) => {
                return self.commit_failed(cx, format!("trees: {error}"), StoreError::Damaged);
            }
        };
        commit.laying.packs += packs.len();
        for pack in packs {
            self.put_object(cx, ObjectKind::Tree, pack, PutFor::Nodes);
        }
        let Some(commit) = &self.commit else { return };
        if commit.laying.drafts_bytes >= commit.laying.chunk_bytes {
            self.start_laying(cx, false);
        }
        self.advance_commit(cx);
    }
}

/// Fills in where the trees of a plan lie.
fn locate(plan: &mut Plan, links: &mut Option<NodeRef>, packer: &NodePacker) {
    for planned in plan.inodes.values_mut() {
        let tree = match &mut planned.body {
            PlannedBody::Dir(dir) => dir.root.as_mut(),
            PlannedBody::File(file) => match file.stored.as_mut().map(|stored| &mut stored.content)
            {
                Some(Content::Tree(root)) => Some(root),
                Some(Content::Pieces(_)) | None => None,
            },
            PlannedBody::Other(_) => None,
        };
        tree.into_iter().for_each(|root| packer.locate(root));
    }
    links.iter_mut().for_each(|root| packer.locate(root));
}
