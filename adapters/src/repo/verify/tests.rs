#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::sync::Arc;

use futures::future::BoxFuture;
use tempfile::TempDir;
use vellum_core::format::{
    Body, Content, Directories, Entry, Hash, Hashed, Inode, Meta, ObjectKind, ObjectName, Piece,
    Snapshot, XattrMap, Xattrs, build, encode_xattrs,
};
use vellum_core::shapes::{Name, StoreError, StoreOutcome, StoreRequest};
use vellum_core::words::{Ino, Time};

use super::{Sample, Verify, What};
use crate::cli::Exit;
use crate::repo::{Compare, MAIN, NewRepo, Repo, RepoError};
use crate::store::{DirStore, ObjectStore, Store};

/// A directory whose data objects may not be read.
struct Refusing(DirStore);

impl ObjectStore for Refusing {
    fn request(&self, request: StoreRequest) -> BoxFuture<'static, StoreOutcome> {
        match &request {
            StoreRequest::Get { key, .. } if key.starts_with("chunks/") => {
                Box::pin(async { StoreOutcome::Failed(StoreError::Denied) })
            }
            StoreRequest::Get { .. }
            | StoreRequest::Head { .. }
            | StoreRequest::Put { .. }
            | StoreRequest::List { .. }
            | StoreRequest::Delete { .. } => self.0.request(request),
        }
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(future)
}

fn inode(ino: u64, body: Body) -> Inode {
    let at = Time::from_parts(0, 0);
    let xattrs = Xattrs::default();
    Inode {
        ino: Ino(ino),
        meta: Meta { mode: 0, uid: 0, gid: 0, mtime: at, ctime: at, xattrs },
        body,
    }
}

/// A repository with these files, as the trees have them, and these data objects.
async fn made(files: Vec<Content>, data: Vec<Vec<u8>>) -> (TempDir, Arc<Repo>) {
    made_with(files, data, Xattrs::default()).await
}

/// As [`made`], with extended attributes of the root.
async fn made_with(
    files: Vec<Content>,
    data: Vec<Vec<u8>>,
    xattrs: Xattrs,
) -> (TempDir, Arc<Repo>) {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::init(dir.path(), NewRepo::default()).await.unwrap();
    for bytes in data {
        repo.put_object(ObjectKind::Chunk, Hashed::of_bytes(bytes), Compare::BySum).await.unwrap();
    }
    let entries = files.into_iter().enumerate().map(|(index, content)| {
        let size = match &content {
            Content::Pieces(pieces) => pieces.iter().map(Piece::len_bytes).sum(),
            Content::Tree(_) => 0,
        };
        let name = Name::from(format!("{index:03}").as_bytes());
        (name, Entry::Inode(inode(index as u64 + 2, Body::File { size, content })))
    });
    let (tree, packs) = build::<Directories>(entries).unwrap().laid(64 << 10).unwrap();
    for pack in packs {
        repo.put_object(ObjectKind::Tree, pack, Compare::BySum).await.unwrap();
    }
    let mut root = inode(1, Body::Directory { root: tree, subdirs: 0 });
    root.meta.xattrs = xattrs;
    let snapshot = Snapshot {
        root,
        links: None,
        parents: Vec::new(),
        time: Time::from_parts(0, 0),
        author: String::new(),
        message: String::new(),
        next_ino: Ino(1000),
        files: 1,
        bytes: 0,
    };
    let sealed = snapshot.seal().unwrap();
    let hash = sealed.hash();
    repo.put_object(ObjectKind::Snapshot, sealed, Compare::BySum).await.unwrap();
    repo.publish(&repo.branch(MAIN).await.unwrap(), hash).await.unwrap();
    (dir, repo)
}

fn whole(bytes: &[u8]) -> Content {
    Content::Pieces(vec![Piece::whole(Hash::of(bytes), bytes.len() as u64)])
}

#[test]
fn a_store_that_refuses_every_object_is_given_up_and_nothing_is_called_bad() {
    run(async {
        for (files, gives_up) in [(5, false), (40, true)] {
            let data: Vec<Vec<u8>> = (0..files).map(|file| vec![file; 100]).collect();
            let contents = data.iter().map(|bytes| whole(bytes)).collect();
            let (dir, _) = made(contents, data).await;
            let backend = Refusing(DirStore::open(dir.path()).unwrap());
            let store = Store::over(Arc::new(backend), dir.path());
            let verify = Arc::new(Verify::new(Repo::open_in(store).await.unwrap(), None));
            let done = verify.run(None).await;
            let report = verify.report();
            assert_eq!(report.complete, !gives_up);
            assert_eq!(report.exit(), Exit::Credentials);
            assert!(report.bad.iter().all(|bad| bad.what == What::Unreadable(StoreError::Denied)));
            assert_eq!(report.bad.len(), if gives_up { 32 } else { 5 });
            match done {
                Ok(()) => assert!(!gives_up),
                Err(error) => {
                    assert!(matches!(error, RepoError::Store { .. }) && gives_up, "{error}");
                }
            }
        }
    });
}

#[test]
fn a_sound_object_that_the_trees_want_more_of_is_told_from_a_damaged_one() {
    run(async {
        let bytes = b"twelve bytes".to_vec();
        let object = ObjectName::first(Hash::of(&bytes));
        let part = |offset, len| {
            Content::Pieces(vec![Piece::Data { hash: Hash([7; 32]), len, object, offset }])
        };
        for (content, sound) in [
            (whole(&bytes), true),
            (part(2, 10), true),
            (part(2, 11), false),
            (Content::Pieces(vec![Piece::whole(object.hash, 11)]), false),
        ] {
            let (_dir, repo) = made(vec![content], vec![bytes.clone()]).await;
            let verify = Arc::new(Verify::new(repo, None));
            verify.run(None).await.unwrap();
            let report = verify.report();
            let whats: Vec<&str> = report.bad.iter().map(|bad| bad.what.word()).collect();
            assert_eq!(whats, if sound { vec![] } else { vec!["misnamed"] });
            assert_eq!(report.exit(), if sound { Exit::Ok } else { Exit::Integrity });
        }
    });
}

#[test]
fn long_extended_attributes_are_read_even_outside_of_a_sample() {
    run(async {
        let map = XattrMap::from([(Name::from(&b"user.long"[..]), vec![b'v'; 5000].into())]);
        for (bytes, sound) in [(encode_xattrs(&map), true), (vec![0; 5000], false)] {
            let xattrs = Xattrs::Stored(Piece::whole(Hash::of(&bytes), bytes.len() as u64));
            let (_dir, repo) =
                made_with(vec![whole(b"data")], vec![bytes, b"data".to_vec()], xattrs).await;
            let sample = Sample { percent: "0%".parse().unwrap(), seed: 7 };
            let verify = Arc::new(Verify::new(repo, Some(sample)));
            verify.run(None).await.unwrap();
            let report = verify.report();
            assert_eq!((report.data_read, report.data_seen), (1, 1));
            let whats: Vec<&str> = report.bad.iter().map(|bad| bad.what.word()).collect();
            assert_eq!(whats, if sound { vec![] } else { vec!["corrupted"] });
        }
    });
}
