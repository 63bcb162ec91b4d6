#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tempfile::TempDir;
use vellum_core::format::{Hash, Hashed, ObjectKind, ObjectName, RefBody, Snapshot};
use vellum_core::shapes::{StoreError, StoreOutcome, StoreRequest};

use super::{Branch, Compare, MAIN, NewRepo, Repo, RepoError};
use crate::store::{DirStore, ObjectStore, Store};

/// What is to happen to one request.
#[derive(Clone, Debug)]
enum Fault {
    /// It is carried out, and its answer is lost.
    LoseReply,
    /// It is not carried out, and nobody knows.
    LoseRequest,
    /// It is refused.
    Refuse(StoreError),
    /// One bit of the body that comes back is wrong.
    Flip,
}

/// A directory that has one fault after the other for keys with a prefix, then none.
struct Faulty {
    dir: DirStore,
    prefix: String,
    faults: Arc<Mutex<VecDeque<Fault>>>,
}

impl Faulty {
    fn fault_for(&self, request: &StoreRequest) -> Option<Fault> {
        let key = match request {
            StoreRequest::Get { key, .. }
                if matches!(self.faults.lock().front(), Some(Fault::Flip)) =>
            {
                key
            }
            StoreRequest::Put { key, .. } => key,
            StoreRequest::Get { .. }
            | StoreRequest::Head { .. }
            | StoreRequest::List { .. }
            | StoreRequest::Delete { .. } => return None,
        };
        key.starts_with(&self.prefix).then(|| self.faults.lock().pop_front())?
    }
}

impl ObjectStore for Faulty {
    fn request(&self, request: StoreRequest) -> BoxFuture<'static, StoreOutcome> {
        let fault = self.fault_for(&request);
        let answer = self.dir.request(request);
        Box::pin(async move {
            match fault {
                None => answer.await,
                Some(Fault::LoseRequest) => StoreOutcome::Failed(StoreError::Ambiguous),
                Some(Fault::Refuse(error)) => StoreOutcome::Failed(error),
                Some(Fault::LoseReply) => {
                    answer.await;
                    StoreOutcome::Failed(StoreError::Ambiguous)
                }
                Some(Fault::Flip) => match answer.await {
                    StoreOutcome::Got { body, etag } => {
                        let mut bytes = body.into_vec();
                        bytes[0] ^= 1;
                        StoreOutcome::Got { body: bytes.into(), etag }
                    }
                    failed => failed,
                },
            }
        })
    }
}

struct World {
    dir: TempDir,
    repo: Arc<Repo>,
    faults: Arc<Mutex<VecDeque<Fault>>>,
}

/// A repository whose store has faults for keys with `prefix`, once there are some.
async fn world(prefix: &str) -> World {
    let dir = tempfile::tempdir().unwrap();
    Repo::init(dir.path(), NewRepo::default()).await.unwrap();
    let faults = Arc::new(Mutex::new(VecDeque::new()));
    let backend = Faulty {
        dir: DirStore::open(dir.path()).unwrap(),
        prefix: prefix.to_owned(),
        faults: Arc::clone(&faults),
    };
    let repo = Repo::open_in(Store::over(Arc::new(backend), dir.path())).await.unwrap();
    World { dir, repo, faults }
}

impl World {
    fn will(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().extend(faults);
    }

    async fn head(&self) -> RefBody {
        let repo = Repo::open(self.dir.path()).await.unwrap();
        repo.branch(MAIN).await.unwrap().body
    }

    /// What somebody else does, whose store has no faults.
    async fn other_publishes(&self, branch: &Branch, snapshot: Hash) {
        let repo = Repo::open(self.dir.path()).await.unwrap();
        repo.publish(branch, snapshot).await.unwrap();
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(future)
}

const NEW: Hash = Hash([7; 32]);
const OTHER: Hash = Hash([8; 32]);

#[test]
fn a_publish_whose_answer_is_lost_is_found_to_be_done() {
    run(async {
        let world = world("refs/").await;
        let branch = world.repo.branch(MAIN).await.unwrap();
        world.will([Fault::LoseReply]);
        world.repo.publish(&branch, NEW).await.unwrap();
        let head = world.head().await;
        assert_eq!((head.generation, head.snapshot), (1, Some(NEW)));
    });
}

#[test]
fn a_publish_that_never_came_is_sent_again() {
    run(async {
        let world = world("refs/").await;
        let branch = world.repo.branch(MAIN).await.unwrap();
        let unreachable = Fault::Refuse(StoreError::Unreachable);
        let throttled = Fault::Refuse(StoreError::Throttled);
        world.will([Fault::LoseRequest, unreachable, throttled, Fault::LoseReply]);
        world.repo.publish(&branch, NEW).await.unwrap();
        let head = world.head().await;
        assert_eq!((head.generation, head.snapshot), (1, Some(NEW)));
    });
}

#[test]
fn a_publish_that_somebody_else_overtook_is_a_conflict() {
    run(async {
        let world = world("refs/").await;
        let branch = world.repo.branch(MAIN).await.unwrap();
        world.other_publishes(&branch, OTHER).await;
        for faults in [vec![], vec![Fault::LoseRequest], vec![Fault::LoseReply]] {
            world.will(faults);
            let error = world.repo.publish(&branch, NEW).await.unwrap_err();
            let RepoError::Conflict { theirs, .. } = error else { panic!("{error}") };
            assert_eq!(theirs, Some(OTHER));
        }
        assert_eq!(world.head().await.snapshot, Some(OTHER));
    });
}

#[test]
fn a_publish_of_the_same_snapshot_by_somebody_else_is_a_conflict_too() {
    run(async {
        let world = world("refs/").await;
        let branch = world.repo.branch(MAIN).await.unwrap();
        world.other_publishes(&branch, NEW).await;
        let error = world.repo.publish(&branch, NEW).await.unwrap_err();
        assert!(matches!(error, RepoError::Conflict { .. }), "{error}");
    });
}

#[test]
fn a_publish_that_never_gets_through_is_told_as_unknown() {
    run(async {
        let world = world("refs/").await;
        let branch = world.repo.branch(MAIN).await.unwrap();
        world.will(std::iter::repeat_n(Fault::LoseRequest, 100));
        let error = world.repo.publish(&branch, NEW).await.unwrap_err();
        assert!(matches!(error, RepoError::OutcomeUnknown { .. }), "{error}");
        assert_eq!(world.head().await.generation, 0);
    });
}

#[test]
fn a_branch_is_born_once_though_answers_are_lost() {
    run(async {
        let world = world("refs/").await;
        world.will([Fault::LoseRequest, Fault::LoseReply]);
        let branch = world.repo.branch("dev").await.unwrap();
        assert_eq!((branch.body.generation, branch.body.snapshot), (0, None));
        assert_eq!(world.repo.branch("dev").await.unwrap(), branch);
    });
}

#[test]
fn bytes_that_are_damaged_on_their_way_once_are_read_again() {
    run(async {
        let world = world("chunks/").await;
        let object = Hashed::of_bytes(b"content".to_vec());
        let name = ObjectName::first(object.hash());
        world.will([Fault::LoseReply]);
        world.repo.put_object(ObjectKind::Chunk, object, Compare::BySum).await.unwrap();
        world.will([Fault::Flip]);
        let read = world.repo.read_object(ObjectKind::Chunk, &name).await.unwrap();
        assert_eq!(read.as_bytes(), b"content");
        world.will([Fault::Flip, Fault::Flip]);
        let error = world.repo.read_object(ObjectKind::Chunk, &name).await.unwrap_err();
        assert!(matches!(error, RepoError::Damaged { .. }), "{error}");
    });
}

#[test]
fn names_stand_for_branches_tags_and_beginnings_of_hashes() {
    run(async {
        let world = world("-").await;
        let repo = &world.repo;
        let source = world.dir.path().with_extension("source");
        std::fs::create_dir(&source).unwrap();
        let import = |message: &str| {
            let (author, message) = ("a".to_owned(), message.to_owned());
            Arc::new(super::Import::new(Arc::clone(repo), &source, "dev", author, message))
        };
        let snapshot = import("one").run().await.unwrap().snapshot;
        std::fs::remove_dir(&source).unwrap();
        for name in ["dev", "branches/dev", &snapshot.to_string(), &snapshot.to_string()[..4]] {
            assert_eq!(repo.resolve(name).await.unwrap().snapshot, Some(snapshot), "{name}");
        }
        assert!(repo.resolve("dev").await.unwrap().branch.is_some());
        let by_hash = repo.resolve(&snapshot.to_string().to_uppercase()).await.unwrap();
        assert_eq!((by_hash.branch, by_hash.snapshot), (None, Some(snapshot)));
        for name in ["tags/dev", "dead", "abc", "none"] {
            let error = repo.resolve(name).await.unwrap_err();
            assert!(matches!(error, RepoError::NoSuchRef { .. }), "{name}: {error}");
        }
        // Another snapshot whose hash begins alike makes the beginning ambiguous.
        let alike = format!("{}{}", &snapshot.to_string()[..4], "0".repeat(60));
        std::fs::write(world.dir.path().join("snapshots").join(&alike), b"").unwrap();
        let error = repo.resolve(&snapshot.to_string()[..4]).await.unwrap_err();
        assert!(matches!(error, RepoError::Ambiguous { .. }), "{error}");
        let read: Snapshot = repo.read_snapshot(snapshot).await.unwrap();
        assert_eq!((read.files, read.message.as_str()), (1, "one"));
    });
}
