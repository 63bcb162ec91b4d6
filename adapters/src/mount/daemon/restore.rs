//! Taking changes back, and putting what snapshots say in their place: a walk over the mount and a
//! snapshot together, in which each name is one request to the core. Of files, only records are
//! read: their data stays where it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vellum_core::format::{Body, Directories, Entry, Inode, Snapshot};
use vellum_core::shapes::{Attr, FileKind, Name, Op, Reply, Restored};
use vellum_core::words::{Errno, Fh, Ino};

use super::super::control::protocol::{DiffAnswer, RestoreRequest, RestoredAnswer};
use super::{Daemon, odd};
use crate::cli::{CliError, Exit};

/// Entries of one page of a directory.
const PAGE: usize = 1024;

impl Daemon {
    /// Takes back all that is uncommitted; what that was.
    pub(super) async fn discard(&self) -> Result<DiffAnswer, CliError> {
        self.flush().await?;
        // What could not be taken in of mapped files is discarded with the rest.
        let _ = self.host.take_refused_page();
        let taken = match self.host.ask(Op::Discard).await {
            Ok(Reply::Diff(taken)) => DiffAnswer::from(&*taken),
            Ok(other) => return Err(odd(&other)),
            Err(errno) => return Err(self.not_restored("the discard", errno)),
        };
        self.warned.lock().committed();
        self.host.kernel_told().await;
        Ok(taken)
    }

    /// Makes paths what they are in a snapshot.
    pub(super) async fn restore(&self, asked: RestoreRequest) -> Result<RestoredAnswer, CliError> {
        self.flush().await?;
        let hash = match &asked.from {
            Some(name) => self.repo.resolve(name).await?.snapshot,
            None => self.status().await?.base,
        };
        let snapshot = match hash {
            Some(hash) => Some(self.repo.read_snapshot(hash).await?),
            None => None,
        };
        let mut walk = Walk {
            daemon: self,
            snapshot: snapshot.as_ref(),
            discards: asked.discards,
            deletes: asked.deletes || asked.discards,
            tasks: Vec::new(),
            held: BTreeMap::new(),
            links: BTreeMap::new(),
            parents: BTreeSet::new(),
            answer: RestoredAnswer::default(),
        };
        let done = walk.all(&asked.paths).await;
        let settled = walk.settle().await;
        let answer = walk.answer;
        self.host.kernel_told().await;
        done.and(settled)?;
        Ok(answer)
    }

    fn not_restored(&self, what: &str, errno: Errno) -> CliError {
        let point = self.point.display();
        let (exit, what, remedy) = if errno == Errno::RoFs {
            let what = format!("{point} is mounted read-only: nothing in it is changed");
            (Exit::Usage, what, "mount the branch without --read-only")
        } else if errno == Errno::Busy {
            let what = format!("it is not known whether the last commit of {point} was published");
            let remedy = "run the commit again, which finds out first; then run this again";
            (Exit::Store, what, remedy)
        } else if errno == Errno::NoSpc {
            let what = format!("{what} of {point} has no room: too many inodes are changed");
            (Exit::NoSpace, what, "commit what is changed, then run it again")
        } else {
            return self.failed(what, errno);
        };
        CliError::new(exit, what, remedy)
    }
}

/// What a name is to stand for.
#[derive(Clone)]
struct Want {
    inode: Arc<Inode>,
    /// Whether it has several names.
    linked: bool,
}

enum Task {
    /// Makes a name what it is to be; gone, if that is nothing.
    Name { parent: Ino, name: Name, want: Option<Want> },
    /// Removes a directory that is empty by now.
    Remove { parent: Ino, name: Name },
    /// All in a directory is as it is to be: its own times are next.
    Leave { ino: Ino, inode: Arc<Inode> },
}

struct Walk<'a> {
    daemon: &'a Daemon,
    snapshot: Option<&'a Snapshot>,
    discards: bool,
    deletes: bool,
    /// The last one is next.
    tasks: Vec<Task>,
    /// Look-ups to be given back.
    held: BTreeMap<Ino, u64>,
    /// Inodes of the mount that stand for ones of the snapshot with several names.
    links: BTreeMap<Ino, Ino>,
    /// Directories that names were put back in.
    parents: BTreeSet<Ino>,
    answer: RestoredAnswer,
}

impl Walk<'_> {
    /// First looks whether all paths are there, so that nothing is done if one is not.
    async fn all(&mut self, paths: &[Vec<u8>]) -> Result<(), CliError> {
        for path in paths.iter().rev() {
            let names: Vec<Name> = path
                .split(|byte| *byte == b'/')
                .filter(|n| !n.is_empty())
                .map(Name::from)
                .collect();
            let want = self.wanted(&names).await?;
            let Some((name, above)) = names.split_last() else {
                let missing = || self.missing(path, "the snapshot has no tree");
                let inode = want.ok_or_else(missing)?.inode;
                self.enter(Ino::ROOT, &inode).await?;
                continue;
            };
            let Some(parent) = self.directory(above).await? else {
                let why = match want {
                    Some(_) => "the directory that it is in is not in the mount: restore that",
                    None => "it is neither in the mount nor in the snapshot",
                };
                return Err(self.missing(path, why));
            };
            let is_there = self.lookup(parent, name).await?.is_some();
            if want.is_none() && !is_there {
                return Err(self.missing(path, "it is neither in the mount nor in the snapshot"));
            }
            if want.is_none() && !self.deletes {
                let what = format!("{}: the snapshot does not have it", shown(path));
                return Err(CliError::new(Exit::Usage, what, "--delete removes what it lacks"));
            }
            self.tasks.push(Task::Name { parent, name: Arc::clone(name), want });
            self.parents.insert(parent);
        }
        while let Some(task) = self.tasks.pop() {
            match task {
                Task::Name { parent, name, want } => self.name(parent, &name, want).await?,
                Task::Remove { parent, name } => self.remove(parent, &name).await?,
                Task::Leave { ino, inode } => {
                    self.ask(Op::Restore { ino, inode }).await?;
                    self.give_back(ino);
                }
            }
        }
        Ok(())
    }

    fn missing(&self, path: &[u8], why: &str) -> CliError {
        let remedy = format!("give paths from {} on", self.daemon.point.display());
        CliError::new(Exit::Usage, format!("{}: {why}", shown(path)), remedy)
    }

    /// What the snapshot has at a path.
    async fn wanted(&self, names: &[Name]) -> Result<Option<Want>, CliError> {
        let Some(snapshot) = self.snapshot else { return Ok(None) };
        let mut at = Want { inode: Arc::new(snapshot.root.clone()), linked: false };
        for name in names {
            let Body::Directory { root, .. } = &at.inode.body else { return Ok(None) };
            let Some(entry) = self.daemon.repo.entry(root.as_ref(), name).await? else {
                return Ok(None);
            };
            at = self.resolve(entry).await?;
        }
        Ok(Some(at))
    }

    async fn resolve(&self, entry: Entry) -> Result<Want, CliError> {
        match entry {
            Entry::Inode(inode) => Ok(Want { inode: Arc::new(inode), linked: false }),
            Entry::Link(ino) => {
                let links = self.snapshot.and_then(|snapshot| snapshot.links);
                let linked = self.daemon.repo.linked(links.as_ref(), ino).await?;
                Ok(Want { inode: Arc::new(linked.inode), linked: true })
            }
        }
    }

    /// The directory of the mount at a path.
    async fn directory(&mut self, names: &[Name]) -> Result<Option<Ino>, CliError> {
        let mut at = Ino::ROOT;
        for name in names {
            match self.lookup(at, name).await? {
                Some(attr) if attr.kind == FileKind::Directory => at = attr.ino,
                Some(_) | None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    async fn name(&mut self, parent: Ino, name: &Name, want: Option<Want>) -> Result<(), CliError> {
        match (self.lookup(parent, name).await?, want) {
            (None, None) => Ok(()),
            (Some(attr), Some(want)) if attr.kind == want.inode.body.kind() => {
                self.become_what(attr, &want).await
            }
            (Some(attr), want) => {
                let is_dir = attr.kind == FileKind::Directory;
                if is_dir && want.is_some() && !self.deletes {
                    let what = format!("{} is a directory in the mount only", shown(name));
                    let remedy = "--delete removes what the snapshot lacks";
                    return Err(CliError::new(Exit::Usage, what, remedy));
                }
                if want.is_some() {
                    self.tasks.push(Task::Name { parent, name: Arc::clone(name), want });
                }
                self.begin_removal(parent, name, attr).await
            }
            (None, Some(want)) => {
                let ino = self.links.get(&want.inode.ino).filter(|_| want.linked).copied();
                if let Some(ino) = ino {
                    let (to_parent, to_name) = (parent, Arc::clone(name));
                    if let Reply::Entry(attr) =
                        self.ask(Op::Link { ino, to_parent, to_name }).await?
                    {
                        *self.held.entry(attr.ino).or_default() += 1;
                        self.give_back(attr.ino);
                    }
                } else {
                    let (inode, name) = (Arc::clone(&want.inode), Arc::clone(name));
                    self.ask(Op::Revive { parent, name, inode }).await?;
                }
                self.answer.created += 1;
                match self.lookup(parent, name).await? {
                    Some(attr) => self.become_what(attr, &want).await,
                    None => Ok(()),
                }
            }
        }
    }

    /// An inode of the mount becomes what it is to be; of a directory, what is in it is next.
    async fn become_what(&mut self, attr: Attr, want: &Want) -> Result<(), CliError> {
        if want.linked {
            self.links.insert(want.inode.ino, attr.ino);
        }
        if attr.kind == FileKind::Directory {
            return self.enter(attr.ino, &want.inode).await;
        }
        let (ino, inode) = (attr.ino, Arc::clone(&want.inode));
        if self.ask(Op::Restore { ino, inode }).await? == Reply::Restored(Restored::Changed) {
            self.answer.restored += 1;
        }
        self.give_back(ino);
        Ok(())
    }

    async fn enter(&mut self, ino: Ino, inode: &Arc<Inode>) -> Result<(), CliError> {
        let restored = self.ask(Op::Restore { ino, inode: Arc::clone(inode) }).await?;
        if restored == Reply::Restored(Restored::SameBelow) {
            self.give_back(ino);
            return Ok(());
        }
        self.answer.restored += u64::from(restored == Reply::Restored(Restored::Changed));
        let root = inode.body.entries();
        self.tasks.push(Task::Leave { ino, inode: Arc::clone(inode) });
        let entries = self.daemon.repo.entries::<Directories>(root.as_ref()).await?;
        let entries: BTreeMap<Name, Entry> = entries.into_iter().collect();
        if self.deletes {
            for name in self.list(ino).await? {
                if !entries.contains_key(&name) {
                    self.tasks.push(Task::Name { parent: ino, name, want: None });
                }
            }
        }
        for (name, entry) in entries {
            let want = Some(self.resolve(entry).await?);
            self.tasks.push(Task::Name { parent: ino, name, want });
        }
        Ok(())
    }

    /// Takes a name away; of a directory, first what is in it.
    async fn begin_removal(
        &mut self,
        parent: Ino,
        name: &Name,
        attr: Attr,
    ) -> Result<(), CliError> {
        let goes_home = self.discards;
        let op = Op::Withdraw { parent, name: Arc::clone(name), goes_home };
        match self.daemon.host.ask(op).await {
            Ok(reply) => self.withdrawn(reply),
            Err(Errno::NotEmpty) => {
                self.tasks.push(Task::Remove { parent, name: Arc::clone(name) });
                for name in self.list(attr.ino).await? {
                    self.tasks.push(Task::Name { parent: attr.ino, name, want: None });
                }
            }
            Err(errno) => return Err(self.daemon.not_restored("the restoring", errno)),
        }
        Ok(())
    }

    async fn remove(&mut self, parent: Ino, name: &Name) -> Result<(), CliError> {
        let (name, goes_home) = (Arc::clone(name), self.discards);
        let reply = self.ask(Op::Withdraw { parent, name, goes_home }).await?;
        self.withdrawn(reply);
        Ok(())
    }

    fn withdrawn(&mut self, reply: Reply) {
        self.answer.removed += 1;
        if let Reply::Withdrawn(Some((parent, name, inode))) = reply {
            self.parents.insert(parent);
            let want = Some(Want { inode, linked: false });
            self.tasks.push(Task::Name { parent, name, want });
        }
    }

    async fn list(&self, ino: Ino) -> Result<Vec<Name>, CliError> {
        let Reply::Opened(fh) = self.ask(Op::OpenDir { ino }).await? else {
            return Ok(Vec::new());
        };
        let names = self.names(fh).await;
        self.daemon.host.tell(Op::Release { fh });
        names
    }

    async fn names(&self, fh: Fh) -> Result<Vec<Name>, CliError> {
        let (mut names, mut cookie) = (Vec::new(), 0);
        loop {
            let page = Op::ReadDir { fh, cookie, max: PAGE, plus: false };
            let Reply::Entries(entries) = self.ask(page).await? else { return Ok(names) };
            let Some(last) = entries.last() else { return Ok(names) };
            cookie = last.cookie;
            let plain = entries.into_iter().filter(|e| !matches!(&*e.name, b"." | b".."));
            names.extend(plain.map(|entry| entry.name));
        }
    }

    async fn lookup(&mut self, parent: Ino, name: &Name) -> Result<Option<Attr>, CliError> {
        let found = self.ask(Op::Lookup { parent, name: Arc::clone(name) }).await?;
        let Reply::Entry(attr) = found else { return Ok(None) };
        *self.held.entry(attr.ino).or_default() += 1;
        Ok(Some(attr))
    }

    fn give_back(&mut self, ino: Ino) {
        if !self.parents.contains(&ino)
            && let Some(count) = self.held.remove(&ino)
        {
            self.daemon.host.tell(Op::Forget { ino, count });
        }
    }

    async fn ask(&self, op: Op) -> Result<Reply, CliError> {
        let failed = |errno| self.daemon.not_restored("the restoring", errno);
        self.daemon.host.ask(op).await.map_err(failed)
    }

    /// Directories whose names all are what they were have their times again.
    async fn settle(&mut self) -> Result<(), CliError> {
        let mut done = Ok(());
        for ino in std::mem::take(&mut self.parents) {
            if done.is_ok() {
                done = self.ask(Op::Settle { ino }).await.map(drop);
            }
        }
        for (ino, count) in std::mem::take(&mut self.held) {
            self.daemon.host.tell(Op::Forget { ino, count });
        }
        done
    }
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
