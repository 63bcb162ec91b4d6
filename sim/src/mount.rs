//! A mount in a world: the machine of the core with what its threads share, on a repository in
//! the simulated store.

use std::sync::Arc;

use vellum_core::conc::{Fast, Shared};
use vellum_core::format::{
    Body, Content, FORMAT_VERSION, HEADER_KEY, Hash, Header, Inode, Meta, ObjectKind, ObjectName,
    RefBody, RefKind, Snapshot, Verified, Xattrs, object_key, ref_key,
};
use vellum_core::machine::{Branch, Job, Machine, MountSpec, Product};
use vellum_core::shapes::{
    Attr, Condition, Effects, Input, Op, Reply, StoreOutcome, StoreRequest, WriteFlags,
};
use vellum_core::words::{Errno, Fh, Ino, Limits, Now, Time};

use crate::store::contract::{get, put};
use crate::store::SimStore;
use crate::world::{Actor, ActorId, World};
