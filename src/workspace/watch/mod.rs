//! Looking at git folders as they appear, while programs run in a workspace.
//!
//! Git on the host looks into a nested repository that the index names, and
//! obeys its configuration: `git add` does so whatever the workspace's own
//! configuration says. So whatever becomes a git folder during a run is looked
//! at within moments, and renamed as it would be at the end of the run.
//!
//! This is no barrier: between the making of such a folder and the look at it
//! there is a moment. docs/security.md says what that leaves.
//!
//! Invariants: no link is followed; a folder is named by its descriptor when it
//! is watched. What could not be watched is told.

mod elsewhere;
mod events;
mod held;
mod repairs;

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::audit::{self, Audited, AuditedRun};
use crate::disk::beneath::open_beneath;
use crate::disk::descent;
use crate::disk::known::Now;
use elsewhere::WatchedElsewhere;
use events::{Ask, WatchKind, WatchStep, step};
use held::Held;
use repairs::Repairs;

/// A command that takes no longer is looked at when it has ended, and nobody
/// starts a git on the host so soon. Closing a watch costs the kernel as much.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// How long nobody waits to hear that the first program runs: meanwhile somebody else
/// may have joined.
const SET_UP: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// How many folders are watched, or events read, before git folders are attended to.
const TURN: usize = 64;

/// No workspace has more folders that are closed to the developer.
const MAX_SEALED: usize = 10_000;

/// What a watch found.
#[derive(Debug, Default)]
pub struct Watched {
    /// What was renamed, and what was put back.
    pub found: Audited,
    /// Why not everything was watched.
    pub incomplete: Option<String>,
    /// A program keeps on writing what git would obey, faster than anybody uses git:
    /// nothing in the runtime is to go on.
    pub is_attack: bool,
    /// What is still to be closed, which takes the kernel its time.
    pub closing: Vec<OwnedFd>,
}

struct Watch<'a> {
    workspace: &'a Path,
    run: AuditedRun<'a>,
    root: OwnedFd,
    /// Of the folders among the files. There may be many events.
    work: Events,
    /// Of git folders, which are heard in between.
    git: Events,
    stop: BorrowedFd<'a>,
    held: Held,
    elsewhere: WatchedElsewhere,
    /// Folders of others, into which nobody here can reach.
    sealed: HashSet<PathBuf>,
    /// All of the files are to be walked again.
    again: bool,
    /// The kernel watches no more folders.
    is_blind: bool,
    repairs: Repairs,
    found: Watched,
}

/// Which events are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Queue {
    Work,
    Git,
}

/// What one queue of the kernel tells of.
struct Events {
    inotify: OwnedFd,
    /// What each number stands for: one folder may be watched for several things.
    folders: HashMap<i32, Vec<(PathBuf, WatchKind)>>,
}

impl Events {
    fn new() -> Result<Self, Errno> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Events { inotify, folders: HashMap::new() })
    }
}

/// Watches a workspace until `stop` hangs up. What is older than the run stays as it
/// is. Where programs do not run from the beginning, `stop` can be read when the first
/// one does.
pub fn watch(workspace: &Path, run: AuditedRun<'_>, stop: BorrowedFd<'_>, from_the_beginning: bool) -> Watched {
    if (from_the_beginning || is_begun(stop)) && is_over(stop, &PATIENCE) {
        return Watched::default();
    }
    let made = (|| {
        let root = rustix::fs::openat(CWD, workspace, descent::folder_flags(), Mode::empty())?;
        Ok::<_, Errno>((root, Events::new()?, Events::new()?))
    })();
    let (root, work, git) = match made {
        Ok(made) => made,
        Err(error) => return Watched { incomplete: Some(error.to_string()), ..Watched::default() },
    };
    let mut watch = Watch {
        workspace,
        run,
        root,
        work,
        git,
        stop,
        held: Held::default(),
        elsewhere: WatchedElsewhere::default(),
        sealed: HashSet::new(),
        again: false,
        is_blind: false,
        repairs: Repairs::default(),
        found: Watched::default(),
    };
    watch.walk_own(PathBuf::from(".git"));
    watch.walk(PathBuf::new());
    watch.serve();
    let closing = vec![watch.work.inotify, watch.git.inotify];
    Watched { closing, ..watch.found }
}

/// Whether a hang-up comes within that time. What can be read is none.
fn is_over(stop: BorrowedFd<'_>, timeout: &Timespec) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(stop, PollFlags::empty())];
    !matches!(poll(&mut fds, Some(timeout)), Ok(0) | Err(Errno::INTR))
}

/// Whether it is heard in time that a program runs, or that everything is over.
fn is_begun(stop: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(stop, PollFlags::IN)];
    !matches!(poll(&mut fds, Some(&SET_UP)), Ok(0) | Err(Errno::INTR))
}

impl Watch<'_> {
    fn serve(&mut self) {
        while !self.found.is_attack {
            let wait = self.held.wait().and_then(|wait| Timespec::try_from(wait).ok());
            let mut fds = [
                PollFd::new(&self.work.inotify, PollFlags::IN),
                PollFd::new(&self.git.inotify, PollFlags::IN),
                PollFd::from_borrowed_fd(self.stop, PollFlags::empty()),
            ];
            let polled = poll(&mut fds, wait.as_ref());
            if matches!(polled, Err(error) if error != Errno::INTR) || !fds[2].revents().is_empty() {
                return;
            }
            self.attend();
            let (steps, lost) = self.read(Queue::Work);
            for step in steps {
                self.take(step);
                self.attend();
            }
            if lost || std::mem::take(&mut self.again) {
                self.work.folders.clear();
                self.walk(PathBuf::new());
            }
        }
    }

    /// What is to be done about git folders, which never waits for the files.
    fn attend(&mut self) {
        let (steps, lost) = self.read(Queue::Git);
        steps.into_iter().for_each(|step| self.take(step));
        if lost {
            self.git.folders.clear();
            self.walk_own(PathBuf::from(".git"));
            // Where the others are only a walk can tell.
            self.again = true;
        }
        for path in self.elsewhere.turned(self.workspace, self.root.as_fd()) {
            self.look(&path);
        }
        if self.elsewhere.has_own_turned(self.root.as_fd()) {
            self.walk_own(PathBuf::from(".git"));
        }
        let let_go = self.held.let_go(self.root.as_fd());
        self.mended(let_go);
        self.require(!self.held.is_full, "too many git folders");
    }

    fn take(&mut self, step: WatchStep) {
        match step {
            WatchStep::Own(folder) => self.look_at_own(&folder),
            WatchStep::WalkOwn(folder) => {
                if let Some(above) = folder.parent().filter(|above| above.starts_with(".git")) {
                    self.look_at_own(above);
                }
                self.walk_own(folder);
            }
            WatchStep::Walk(folder) => self.walk(folder),
            WatchStep::Look(folder) => self.look(&folder),
            WatchStep::Held(path) => self.held.check(self.root.as_fd(), &path),
        }
    }

    /// What the kernel tells, and whether it had to leave something out.
    fn read(&self, queue: Queue) -> (Vec<WatchStep>, bool) {
        let events = match queue {
            Queue::Work => &self.work,
            Queue::Git => &self.git,
        };
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let (mut steps, mut lost) = (Vec::new(), false);
        let mut reader = inotify::Reader::new(events.inotify.as_fd(), &mut buffer);
        let mut count = 0;
        while count < TURN || !reader.is_buffer_empty() {
            let Ok(event) = reader.next() else { break };
            count += 1;
            lost |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            let name = event.file_name().map(|name| Path::new(std::ffi::OsStr::from_bytes(name.to_bytes())));
            let watched = events.folders.get(&event.wd()).into_iter().flatten();
            steps.extend(watched.filter_map(|folder| step(self, folder, name, event.events())));
        }
        steps.dedup();
        (steps, lost)
    }

    /// Watches a folder and those below it; looks at the git folders among them.
    fn walk(&mut self, top: PathBuf) {
        let (mut pending, mut turn) = (vec![top], 0);
        while let Some(path) = pending.pop() {
            turn += 1;
            if turn % TURN == 0 {
                self.attend();
            }
            if self.is_blind || self.found.is_attack || is_over(self.stop, &AT_ONCE) {
                return;
            }
            let Some(folder) = self.open(&path) else { continue };
            // First, so that nothing appears unseen between the list and this.
            self.add(folder.as_fd(), &path, WatchKind::Work);
            // The root may be a repository of its own beside the workspace's.
            let mut has_git = path == Path::new("");
            let _ = descent::list(folder.as_fd(), |name, kind| {
                let name = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
                if name == Path::new(".git") {
                    has_git = true;
                } else if kind == FileType::Directory {
                    pending.push(path.join(name));
                }
            });
            if has_git {
                self.look(&path);
            }
        }
    }

    /// The same for the workspace's own git folder. Objects are data, and are
    /// watched for links only; what is read-only inside is left out.
    fn walk_own(&mut self, top: PathBuf) {
        let mut pending = vec![top];
        while let Some(path) = pending.pop() {
            if is_over(self.stop, &AT_ONCE) {
                return;
            }
            if self.is_blind
                || ["hooks", "envctl"].iter().any(|name| path == Path::new(".git").join(name) && self.is_kept(&path))
            {
                continue;
            }
            let Some(folder) = self.open(&path) else { continue };
            self.add(folder.as_fd(), &path, WatchKind::Own);
            let _ = descent::list(folder.as_fd(), |name, kind| {
                if kind == FileType::Directory {
                    pending.push(path.join(std::ffi::OsStr::from_bytes(name.to_bytes())));
                }
            });
            self.look_at_own(&path);
        }
    }

    /// Whether this is still what nobody inside can change.
    fn is_kept(&self, path: &Path) -> bool {
        self.run.kept.iter().all(|known| known.path != path || known.now(self.root.as_fd()) == Now::Same)
    }

    fn look_at_own(&mut self, path: &Path) {
        self.mended(audit::look_at_own(self.workspace, path, self.run));
        if path == Path::new(".git") {
            let has_room = self.elsewhere.note_linked(audit::linked(self.workspace, self.run));
            self.require(has_room, "too many repositories in the index");
            for file in audit::index_files(self.workspace, self.run) {
                self.held.check(self.root.as_fd(), &file);
            }
        }
        if WatchKind::Own.flags(path).contains(WatchFlags::OPEN) {
            self.held.check_all(self.root.as_fd(), path);
        }
    }

    /// Looks at the git folder of a folder, whatever leads to it, and watches it.
    fn look(&mut self, path: &Path) {
        if path == Path::new("") {
            return self.mended(audit::look_at_root(self.workspace, self.run, false));
        }
        let is_pointer = self.add_pointer(path);
        let git = if is_pointer { audit::leads(self.workspace, path) } else { Some(path.join(".git")) };
        if is_pointer {
            self.held.check(self.root.as_fd(), &path.join(".git"));
            let has_room = self.elsewhere.note_pointer(path, git.clone());
            self.require(has_room, "too many git folders that lie elsewhere");
        } else {
            self.elsewhere.forget_pointer(path);
        }
        // First, so that nothing is written unseen between the look and this.
        let inner =
            audit::IN_PROGRESS.iter().map(|name| OsStr::from_bytes(name.to_bytes())).chain([OsStr::new("hooks")]);
        let parts = |git: &PathBuf| inner.clone().map(|name| git.join(name)).chain([git.clone()]).collect::<Vec<_>>();
        for part in git.iter().flat_map(parts) {
            if let Some(folder) = self.open(&part) {
                self.add(folder.as_fd(), path, WatchKind::Git);
            }
        }
        let found = audit::look_at(self.workspace, path, self.run);
        if self.elsewhere.is_linked(path) {
            self.mended(found)
        } else {
            self.found.found.add(found)
        }
        if let Some(git) = git {
            self.held.check_all(self.root.as_fd(), &git);
        }
    }

    /// A `.git` that is a file is made before it says anything. Whether it is no
    /// folder.
    fn add_pointer(&mut self, path: &Path) -> bool {
        let Some(folder) = self.open(path) else { return false };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::openat(&folder, ".git", flags, Mode::empty()) else { return false };
        let kind = rustix::fs::fstat(&file).map(|stat| FileType::from_raw_mode(stat.st_mode));
        if kind == Ok(FileType::RegularFile) {
            let flags = WatchFlags::CLOSE_WRITE | WatchFlags::MODIFY | WatchFlags::OPEN;
            self.watch(file.as_fd(), path, WatchKind::Git, flags);
        }
        kind != Ok(FileType::Directory)
    }

    fn add(&mut self, folder: BorrowedFd<'_>, path: &Path, kind: WatchKind) {
        self.watch(folder, path, kind, kind.flags(path) | WatchFlags::ONLYDIR);
    }

    fn watch(&mut self, what: BorrowedFd<'_>, path: &Path, kind: WatchKind, flags: WatchFlags) {
        let events = if kind == WatchKind::Work { &mut self.work } else { &mut self.git };
        let name = format!("/proc/self/fd/{}", what.as_raw_fd());
        match inotify::add_watch(&events.inotify, name, flags | WatchFlags::MASK_ADD) {
            Ok(number) => {
                let all = events.folders.entry(number).or_default();
                if kind != WatchKind::Git {
                    // It has moved.
                    all.retain(|(_, other)| *other != kind);
                }
                if all.iter().all(|one| *one != (path.to_owned(), kind)) {
                    all.push((path.to_owned(), kind));
                }
                let has_room = all.len() <= TURN;
                self.require(has_room, "too many names of one git folder");
            }
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(error) => {
                self.is_blind = true;
                self.found.incomplete = Some(error.to_string());
            }
        }
    }

    /// Adds what was found where git at the workspace's root looks, and counts.
    fn mended(&mut self, found: Audited) {
        if !found.renamed.is_empty() || !found.changed.is_empty() {
            self.found.is_attack |= self.repairs.is_attack(Instant::now());
        }
        self.found.found.add(found);
    }

    /// What does not hold is told.
    fn require(&mut self, holds: bool, why: &str) {
        if !holds {
            self.found.incomplete.get_or_insert_with(|| why.to_owned());
        }
    }

    /// A folder that is closed is opened up; one of others that git could reach
    /// into all the same is put out of its way.
    fn open(&mut self, path: &Path) -> Option<OwnedFd> {
        match audit::open(self.root.as_fd(), path) {
            Ok((folder, was_closed)) => {
                if was_closed && path.starts_with(".git") {
                    // While it was, git could take the workspace's files for a
                    // repository.
                    self.mended(audit::look_at_root(self.workspace, self.run, true));
                }
                Some(folder)
            }
            Err(Errno::ACCESS) => {
                self.found.found.add(audit::hide(self.workspace, path, self.run));
                None
            }
            Err(Errno::PERM) if self.sealed.len() < MAX_SEALED => {
                self.sealed.insert(path.to_owned());
                None
            }
            Err(Errno::PERM) => {
                self.found.incomplete = Some("too many folders that belong to others".into());
                None
            }
            Err(_) => None,
        }
    }
}

impl Ask for Watch<'_> {
    fn is_shut(&self, path: &Path) -> bool {
        let opened = open_beneath(self.root.as_fd(), path, descent::folder_flags());
        matches!(opened, Err(Errno::ACCESS)) || self.sealed.contains(path)
    }

    fn git_folder(&self, path: &Path) -> Option<PathBuf> {
        self.elsewhere.git_folder(path)
    }
}

#[cfg(test)]
mod tests;
