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

use std::collections::{HashMap, HashSet};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::audit::{self, Audited, Run};
use crate::disk::beneath::open_beneath;
use crate::disk::descent;
use crate::disk::known::Now;

/// A command that takes no longer is looked at when it has ended, and nobody
/// starts a git on the host so soon.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// No workspace has more folders that are closed to the developer.
const MAX_SEALED: usize = 10_000;

/// What a watch found.
#[derive(Debug, Default)]
pub struct Watched {
    /// What was renamed, and what was put back.
    pub found: Audited,
    /// Why not everything was watched.
    pub incomplete: Option<String>,
}

/// What a folder is watched for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Files that are worked on, among which a git folder may appear.
    Work,
    /// A git folder, in which what git obeys may change.
    Git,
    /// The workspace's own, or one below it: git on the host writes there, and
    /// would write through a link.
    Own,
}

/// What is to be done about an event.
#[derive(PartialEq, Eq)]
enum Step {
    /// Look at a folder of the workspace's own git folder.
    Own(PathBuf),
    /// Watch one that is new there, with those below it.
    WalkOwn(PathBuf),
    /// Watch a folder among the files, with those below it.
    Walk(PathBuf),
    /// Look at the git folder of a folder.
    Look(PathBuf),
}

struct Watch<'a> {
    workspace: &'a Path,
    run: Run<'a>,
    root: OwnedFd,
    inotify: OwnedFd,
    stop: BorrowedFd<'a>,
    folders: HashMap<i32, (PathBuf, Kind)>,
    /// Folders of others, into which nobody here can reach.
    sealed: HashSet<PathBuf>,
    found: Watched,
}

/// Watches a workspace until `stop` hangs up or can be read. What is older than
/// the run stays as it is.
pub fn watch(workspace: &Path, run: Run<'_>, stop: BorrowedFd<'_>) -> Watched {
    if is_over(stop, &PATIENCE) {
        return Watched::default();
    }
    let made = (|| {
        let root = rustix::fs::openat(CWD, workspace, descent::folder_flags(), Mode::empty())?;
        Ok::<_, Errno>((root, inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?))
    })();
    let (root, inotify) = match made {
        Ok(made) => made,
        Err(error) => return Watched { incomplete: Some(error.to_string()), ..Watched::default() },
    };
    let mut watch = Watch {
        workspace,
        run,
        root,
        inotify,
        stop,
        folders: HashMap::new(),
        sealed: HashSet::new(),
        found: Watched::default(),
    };
    watch.walk_own(PathBuf::from(".git"));
    watch.walk(PathBuf::new());
    watch.serve();
    watch.found
}

fn is_over(stop: BorrowedFd<'_>, timeout: &Timespec) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(stop, PollFlags::IN)];
    !matches!(poll(&mut fds, Some(timeout)), Ok(0) | Err(Errno::INTR))
}

impl Watch<'_> {
    fn serve(&mut self) {
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        loop {
            let mut fds =
                [PollFd::new(&self.inotify, PollFlags::IN), PollFd::from_borrowed_fd(self.stop, PollFlags::IN)];
            if matches!(poll(&mut fds, None), Err(error) if error != Errno::INTR) || !fds[1].revents().is_empty() {
                return;
            }
            let (mut steps, mut lost) = (Vec::new(), false);
            let inotify = self.inotify.as_fd();
            let mut reader = inotify::Reader::new(inotify, &mut buffer);
            while let Ok(event) = reader.next() {
                lost |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                let Some((folder, kind)) = self.folders.get(&event.wd()) else { continue };
                let name = event.file_name().map(|name| Path::new(std::ffi::OsStr::from_bytes(name.to_bytes())));
                steps.extend(self.step(folder, *kind, name, event.events()));
            }
            steps.dedup();
            for step in steps {
                match step {
                    Step::Own(folder) => self.look_at_own(&folder),
                    Step::WalkOwn(folder) => {
                        if let Some(above) = folder.parent().filter(|above| above.starts_with(".git")) {
                            self.look_at_own(above);
                        }
                        self.walk_own(folder);
                    }
                    Step::Walk(folder) => self.walk(folder),
                    Step::Look(folder) => self.look(&folder),
                }
            }
            if lost {
                self.folders.clear();
                self.walk_own(PathBuf::from(".git"));
                self.walk(PathBuf::new());
            }
        }
    }

    /// What an event asks for.
    fn step(&self, folder: &Path, kind: Kind, name: Option<&Path>, what: ReadFlags) -> Option<Step> {
        let (is_folder, mode_only) = (what.contains(ReadFlags::ISDIR), what.contains(ReadFlags::ATTRIB));
        let here = || folder.to_owned();
        match (kind, name) {
            (Kind::Own, Some(name)) if is_folder => Some(Step::WalkOwn(folder.join(name))),
            (Kind::Own, Some(_)) if mode_only => None,
            // Its own mode, or a file in it.
            (Kind::Own, _) => Some(Step::Own(here())),
            (Kind::Work, Some(name)) if name == Path::new(".git") && folder == Path::new("") => {
                Some(Step::WalkOwn(folder.join(name)))
            }
            (Kind::Work, Some(name)) if name == Path::new(".git") => Some(Step::Look(here())),
            (Kind::Work, Some(name)) if is_folder && (!mode_only || self.is_shut(&folder.join(name))) => {
                Some(Step::Walk(folder.join(name)))
            }
            // What makes the root a repository of its own, which git would take for
            // one while `.git` is none.
            (Kind::Work, Some(name)) if folder == Path::new("") && audit::is_of_a_repository(name.as_os_str()) => {
                Some(Step::Look(here()))
            }
            (Kind::Work, _) if folder == Path::new("hooks") => Some(Step::Look(PathBuf::new())),
            (Kind::Git, _) => Some(Step::Look(here())),
            (Kind::Work, _) => None,
        }
    }

    /// Whether a folder cannot be listed, or could not be when it was seen.
    fn is_shut(&self, path: &Path) -> bool {
        let opened = open_beneath(self.root.as_fd(), path, descent::folder_flags());
        matches!(opened, Err(Errno::ACCESS)) || self.sealed.contains(path)
    }

    /// Watches a folder and those below it; looks at the git folders among them.
    fn walk(&mut self, top: PathBuf) {
        let mut pending = vec![top];
        while let Some(path) = pending.pop() {
            if self.found.incomplete.is_some() || is_over(self.stop, &Timespec { tv_sec: 0, tv_nsec: 0 }) {
                return;
            }
            let Some(folder) = self.open(&path) else { continue };
            // First, so that nothing appears unseen between the list and this.
            self.add(folder.as_fd(), &path, Kind::Work);
            let mut has_git = false;
            let _ = descent::list(folder.as_fd(), |name, kind| {
                let name = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
                if name == Path::new(".git") {
                    has_git = path != Path::new("");
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
            if self.found.incomplete.is_some()
                || ["hooks", "envctl"].iter().any(|name| path == Path::new(".git").join(name) && self.is_kept(&path))
            {
                continue;
            }
            let Some(folder) = self.open(&path) else { continue };
            self.add(folder.as_fd(), &path, Kind::Own);
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
        self.found.found.add(audit::look_at_own(self.workspace, path, self.run));
    }

    /// Looks at the git folder of a folder, whatever leads to it, and watches it.
    fn look(&mut self, path: &Path) {
        if path == Path::new("") {
            return self.found.found.add(audit::look_at_root(self.workspace, self.run, false));
        }
        self.add_pointer(path);
        let (found, folders) = audit::look_at(self.workspace, path, self.run);
        self.found.found.add(found);
        for git in folders {
            if let Some(folder) = self.open(&git) {
                // Named by where the files are, so that all is looked at again.
                self.add(folder.as_fd(), path, Kind::Git);
            }
            if let Some(hooks) = self.open(&git.join("hooks")) {
                self.add(hooks.as_fd(), path, Kind::Git);
            }
        }
    }

    /// A `.git` that is a file is made before it says anything.
    fn add_pointer(&mut self, path: &Path) {
        let Some(folder) = self.open(path) else { return };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::openat(&folder, ".git", flags, Mode::empty()) else { return };
        let is_file = |stat: rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if rustix::fs::fstat(&file).is_ok_and(is_file) {
            let flags = WatchFlags::CLOSE_WRITE | WatchFlags::MODIFY;
            let added = inotify::add_watch(&self.inotify, format!("/proc/self/fd/{}", file.as_raw_fd()), flags);
            if let Ok(number) = added {
                self.folders.insert(number, (path.to_owned(), Kind::Git));
            }
        }
    }

    fn add(&mut self, folder: BorrowedFd<'_>, path: &Path, kind: Kind) {
        let mut flags = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR | WatchFlags::EXCL_UNLINK;
        flags |= match kind {
            Kind::Work if path == Path::new("") => WatchFlags::ATTRIB | WatchFlags::CLOSE_WRITE | WatchFlags::MODIFY,
            Kind::Work => WatchFlags::ATTRIB,
            Kind::Git => WatchFlags::CLOSE_WRITE | WatchFlags::MODIFY,
            // A repository without its parts is none.
            Kind::Own => WatchFlags::ATTRIB | WatchFlags::CLOSE_WRITE | WatchFlags::DELETE | WatchFlags::MOVED_FROM,
        };
        match inotify::add_watch(&self.inotify, format!("/proc/self/fd/{}", folder.as_raw_fd()), flags) {
            Ok(number) => drop(self.folders.insert(number, (path.to_owned(), kind))),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(error) => self.found.incomplete = Some(error.to_string()),
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
                    self.found.found.add(audit::look_at_root(self.workspace, self.run, true));
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, Instant};

    use super::*;

    fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < Duration::from_secs(20), "waited in vain until {what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_git_folder_is_looked_at_when_it_appears_and_when_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("workspace");
        git2::Repository::init(&root).unwrap();
        let evil = |git: &Path| {
            fs::create_dir_all(git.join("objects")).unwrap();
            fs::create_dir_all(git.join("refs")).unwrap();
            fs::write(git.join("config"), "[core]\n\tfsmonitor = x\n").unwrap();
            fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        };
        fs::create_dir_all(root.join("early/there")).unwrap();
        evil(&root.join("early/there/.git"));
        let plain = git2::Repository::init(root.join("plain")).unwrap();
        let (stop, go) = rustix::pipe::pipe().unwrap();
        let path = root.clone();
        let watching = std::thread::spawn(move || watch(&path, Run::default(), stop.as_fd()));
        let gone = |path: &str| until(path, || !root.join(path).join("config").exists());
        gone("early/there/.git");
        // Made elsewhere, and moved in whole.
        evil(&dir.path().join("made/.git"));
        fs::rename(dir.path().join("made"), root.join("moved")).unwrap();
        gone("moved/.git");
        evil(&root.join("a/b/c/.git"));
        gone("a/b/c/.git");
        evil(&root.join("store"));
        fs::create_dir(root.join("points")).unwrap();
        fs::write(root.join("points/.git"), "gitdir: ../store\n").unwrap();
        gone("store");
        fs::write(root.join("plain/.git/config"), "[core]\n\thooksPath = x\n").unwrap();
        gone("plain/.git");
        fs::write(plain.path().join("hooks/post-checkout"), "x").unwrap();
        until("the hooks are renamed", || !root.join("plain/.git/hooks").exists());
        assert!(root.join(".git/config").exists());
        drop(go);
        let found = watching.join().unwrap();
        assert_eq!((found.found.renamed.len(), found.incomplete), (6, None), "{:?}", found.found);
    }
}
