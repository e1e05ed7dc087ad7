//! Looking for what a sandboxed program may have left for git on the host to
//! run, or to write to.
//!
//! The workspace's own `.git` is protected while a runtime has it: its
//! configuration, hooks and pointers cannot be changed from inside. Everything
//! else can: the rest of that folder, a nested repository, a submodule's, a
//! bare one that git takes for a repository when somebody works in it. What
//! names a program there, leads git elsewhere or is no file that git makes is
//! renamed, so that git no longer reads it and nothing is lost.
//!
//! Invariants: no link is followed. Trust by age ends where something was
//! made, moved or replaced during the run: all that is in such a git folder is
//! looked at, however old. What could not be looked at is told, never passed
//! over. Loose objects are data and not listed unless they may have changed.

mod folder;
mod hints;
mod index;
mod listing;
mod live;
mod names;
mod operations;
mod own;
mod pointer;
mod quarantine;
mod settings;
mod unseen;

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, FileType, Mode, RenameFlags, Stat};
use rustix::io::Errno;

use crate::disk::descent::{self, Descent, Opened};
use crate::disk::known::{KnownFile, Now};
use listing::{Listing, is_fan, is_of_objects};
use names::unguessable;

pub(super) use listing::is_of_a_repository;
pub use live::obeyed;
pub(super) use live::{hide, index_files, leads, linked, look_at, look_at_own, look_at_root, open};
pub(super) use operations::IN_PROGRESS;
pub(super) use own::SHARED;
pub use unseen::distrust;

/// Why a list of packs goes: its names may lead out of the folder that they are in.
const PACK_LISTS: &str = "git would read the packs that it names, wherever they are";

/// Something that git on the host will not read any more, or should not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planted {
    /// What it was called, relative to the workspace.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

/// What an audit found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Audited {
    /// What was renamed.
    pub renamed: Vec<Planted>,
    /// What was changed and keeps its name: put back as it was before the run, or
    /// only told.
    pub changed: Vec<Planted>,
    /// What could not be looked at, or could not be renamed.
    pub unseen: Vec<Planted>,
}

impl Audited {
    /// What another look found beside this.
    pub(super) fn add(&mut self, other: Audited) {
        self.renamed.extend(other.renamed);
        self.changed.extend(other.changed);
        self.unseen.extend(other.unseen);
    }
}

/// A moment by the clock of the file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Since {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds of the next one.
    pub nanos: u32,
}

impl Since {
    /// Whether something has changed since.
    fn covers(self, stat: &Stat) -> bool {
        let nanos = u32::try_from(stat.st_ctime_nsec).unwrap_or(0);
        // Some file systems know whole seconds only.
        let since = if nanos == 0 { (self.seconds, 0) } else { (self.seconds, self.nanos) };
        (stat.st_ctime, nanos) >= since
    }
}

/// What is known of a run in a workspace.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuditedRun<'a> {
    /// When it began.
    pub since: Since,
    /// What nobody inside could change, as it was then.
    pub kept: &'a [KnownFile],
    /// Where the workspace is inside.
    pub inside: Option<&'a Path>,
}

/// Looks at every git folder in `workspace`, and renames what was written during
/// the run and should not be read by git on the host.
///
/// # Errors
/// When the workspace cannot be opened. All else is among what was not seen.
pub fn audit(workspace: &Path, run: AuditedRun<'_>) -> Result<Audited> {
    let root = rustix::fs::openat(CWD, workspace, descent::folder_flags(), Mode::empty())
        .with_context(|| format!("cannot open {}", workspace.display()))?;
    let mut audit = Audit::new(workspace, run, PathBuf::new());
    let top = audit.look(root.as_fd(), GitRole::Root);
    audit.excludes(root.as_fd());
    audit.close_to_others(root.as_fd());
    audit.of_others(root.as_fd());
    audit.late_hooks(root.as_fd());
    audit.close_all(root.as_fd());
    audit.walk(Descent::new(root, top));
    let left = audit.leaves_unseen || !audit.found.unseen.is_empty();
    if left || audit.distrusts {
        unseen::note(workspace, left);
    }
    audit.found.renamed.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(audit.found)
}

/// What a folder is to git.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GitRole {
    Root,
    /// Files that are worked on.
    Work,
    /// The workspace's own `.git`.
    Own,
    /// A git folder, or something in one. `own` is below the workspace's own,
    /// where no other has a place; `touched` says that its age means nothing.
    Git {
        own: bool,
        touched: bool,
    },
    /// `objects` of a git folder.
    Objects {
        own: bool,
        touched: bool,
    },
    /// In there, where only data is.
    Data {
        touched: bool,
    },
}

/// A folder on the way down.
#[derive(Debug)]
struct Level {
    place: GitRole,
    /// Git takes it for a repository.
    is_git: bool,
    /// Folders in it that have not been looked at.
    folders: Vec<CString>,
}

struct Audit<'a> {
    workspace: &'a Path,
    run: AuditedRun<'a>,
    /// Where it is.
    path: PathBuf,
    /// Folders where it is that have just got another name.
    moved: Vec<CString>,
    found: Audited,
    /// The run is not over.
    goes_on: bool,
    /// The last look did not see everything: no age below the workspace's files says
    /// that something was looked at.
    distrusts: bool,
    /// This one does not either.
    leaves_unseen: bool,
}

impl<'a> Audit<'a> {
    fn new(workspace: &'a Path, run: AuditedRun<'a>, path: PathBuf) -> Self {
        let (moved, found) = (Vec::new(), Audited::default());
        let distrusts = unseen::was_left(workspace);
        Audit { workspace, run, path, moved, found, goes_on: false, distrusts, leaves_unseen: false }
    }
}

impl Audit<'_> {
    fn walk(&mut self, mut descent: Descent<Level>) {
        while let Some((folder, level)) = descent.here() {
            let Some(name) = level.folders.pop() else {
                if let Err(error) = descent.up() {
                    // Somebody moves folders meanwhile: the way back is lost.
                    self.unseen(c"", error);
                    return;
                }
                self.path.pop();
                continue;
            };
            let Some(place) = self.place_of(folder, level, &name) else { continue };
            let Some(opened) = self.open(folder, &name) else { continue };
            self.path.push(OsStr::from_bytes(name.to_bytes()));
            let mut inner = self.look(opened.as_fd(), place);
            if let GitRole::Data { touched } = place {
                self.move_out(opened.as_fd(), &mut inner.folders, folder, &mut level.folders, touched);
            }
            if let Err(error) = descent.down(opened, inner) {
                self.unseen(c"", error);
                self.path.pop();
            }
        }
    }

    /// What a folder is, from where it lies; `None` where nothing is to be seen.
    fn place_of(&self, parent: BorrowedFd<'_>, level: &Level, name: &CStr) -> Option<GitRole> {
        let name_bytes = name.to_bytes();
        Some(match level.place {
            GitRole::Root if name_bytes == b".git" => GitRole::Own,
            GitRole::Root | GitRole::Work => GitRole::Work,
            // Read-only inside.
            GitRole::Own if matches!(name_bytes, b"hooks" | b"envctl") => return None,
            GitRole::Own if name_bytes == b"objects" => GitRole::Objects { own: true, touched: true },
            GitRole::Own if matches!(name_bytes, b"modules" | b"worktrees") => {
                GitRole::Git { own: false, touched: self.distrusts }
            }
            GitRole::Own => GitRole::Git { own: true, touched: true },
            // What is called otherwise may have come with the task, with
            // anything among its objects: nothing of it is passed over.
            GitRole::Git { own, touched }
                if level.is_git && name_bytes == b"objects" && self.path.iter().any(|part| part == ".git") =>
            {
                GitRole::Objects { own, touched }
            }
            GitRole::Git { own, touched } => GitRole::Git { own, touched },
            GitRole::Objects { own, touched } if is_fan(name_bytes) => {
                // The own one has been such a folder all along.
                let all = touched && !own;
                if !all && !self.is_new(parent, name) {
                    return None;
                }
                GitRole::Data { touched }
            }
            GitRole::Objects { touched, .. } if matches!(name_bytes, b"pack" | b"info") => GitRole::Data { touched },
            GitRole::Objects { own, touched } => GitRole::Git { own, touched },
            GitRole::Data { touched } => GitRole::Data { touched },
        })
    }

    fn open(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> Option<OwnedFd> {
        match descent::open(parent, name) {
            Ok(Opened::Open(folder)) => return Some(folder),
            // Git cannot reach it either, as long as it stays so.
            Ok(Opened::Sealed) => self.leaves_unseen = true,
            Ok(Opened::Blind) => {
                self.hide(parent, name, "it cannot be looked into".into());
                self.moved.clear();
            }
            // Somebody moves folders meanwhile: where it went may have been looked at.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => self.leaves_unseen = true,
            Err(error) => self.unseen(name, error),
        }
        None
    }

    /// Lists a folder and looks at what is in it.
    fn look(&mut self, folder: BorrowedFd<'_>, place: GitRole) -> Level {
        let mut listing = Listing::default();
        if let Err(error) = descent::list(folder, |name, kind| listing.add(name, kind)) {
            self.unseen(c"", error);
        }
        // Without `HEAD` a worktree elsewhere still obeys what is shared.
        let has_name = self.path.file_name() == Some(OsStr::new(".git"));
        // One with the name becomes a repository by `git init`, and keeps what it has.
        let is_git = listing.is_git() || has_name || listing.is_shared() && matches!(place, GitRole::Git { .. });
        let place = self.seen(folder, place, is_git);
        match place {
            GitRole::Own => self.own_folder(folder),
            GitRole::Git { own, touched } if is_git => self.git_folder(folder, touched, own),
            GitRole::Root if is_git => self.git_folder(folder, false, false),
            _ => {}
        }
        if let Some(kind) = listing.pointer {
            self.pointer(folder, kind);
        }
        match place {
            GitRole::Root | GitRole::Work => {}
            GitRole::Own => {
                let odd = listing.odd.iter().filter(|(name, _)| !self.is_own_link(folder, name));
                let odd: Vec<_> = odd.cloned().collect();
                self.odd_files(folder, &odd, true);
            }
            GitRole::Git { touched, .. } => {
                self.odd_files(folder, &listing.odd, touched);
                self.operation_folder(folder, touched);
                self.away(folder, &listing.pack_lists, touched, PACK_LISTS);
                if self.path.parent().and_then(Path::file_name) == Some(OsStr::new("worktrees")) {
                    self.worktree(folder, touched);
                }
                if self.path.ends_with("objects/info") {
                    self.alternates(folder, touched);
                }
                if self.path.starts_with(".git/refs/remotes") {
                    self.remote_refs(folder);
                }
            }
            GitRole::Objects { touched, .. } | GitRole::Data { touched } => {
                self.odd_files(folder, &listing.odd, touched);
                self.away(folder, &listing.pack_lists, touched, PACK_LISTS);
                if self.path.ends_with("objects/info") && self.path != Path::new(".git/objects/info") {
                    self.alternates(folder, touched);
                }
                self.away(folder, &listing.settings, touched, "it has no place among objects");
            }
        }
        listing.folders.append(&mut self.moved);
        Level { place, is_git, folders: listing.folders }
    }

    /// What a folder turns out to be.
    fn seen(&self, folder: BorrowedFd<'_>, place: GitRole, is_git: bool) -> GitRole {
        let changed = || rustix::fs::fstat(folder).map_or(true, |stat| self.run.since.covers(&stat));
        match place {
            GitRole::Work if is_git => GitRole::Git { own: false, touched: self.distrusts || changed() },
            GitRole::Git { own, touched: false } => GitRole::Git { own, touched: changed() },
            GitRole::Objects { own, touched: false } => GitRole::Objects { own, touched: changed() },
            GitRole::Data { touched: false } => GitRole::Data { touched: changed() },
            other => other,
        }
    }

    /// Puts files of a git folder away that are new.
    fn away(&mut self, folder: BorrowedFd<'_>, names: &[CString], touched: bool, why: &str) {
        for name in names {
            if touched || self.is_new(folder, name) {
                self.quarantine(folder, name, why.to_owned());
            }
        }
    }

    /// Links and the like in a git folder: git would write to where they lead,
    /// or wait for them.
    fn odd_files(&mut self, folder: BorrowedFd<'_>, odd: &[(CString, FileType)], touched: bool) {
        for (name, kind) in odd {
            if !(touched || self.is_new(folder, name)) || (name.as_c_str() == c"HEAD" && names_ref(folder)) {
                continue;
            }
            let why = if *kind == FileType::Symlink {
                let target = rustix::fs::readlinkat(folder, name, Vec::new()).unwrap_or_default();
                format!("git would write to {}", target.to_string_lossy())
            } else {
                "it is no file that git makes".into()
            };
            self.quarantine(folder, name, why);
        }
    }

    /// Git makes no folders among loose objects: what is there could be changed
    /// later without a trace. Where it goes everything is looked at every time.
    fn move_out(
        &mut self,
        folder: BorrowedFd<'_>,
        folders: &mut Vec<CString>,
        above: BorrowedFd<'_>,
        seen_above: &mut Vec<CString>,
        touched: bool,
    ) {
        for name in std::mem::take(folders) {
            if is_of_objects(self.path.file_name(), name.to_bytes()) || !(touched || self.is_new(folder, &name)) {
                folders.push(name);
                continue;
            }
            let target = unguessable(&name, false);
            match rustix::fs::renameat_with(folder, &name, above, &target, RenameFlags::NOREPLACE) {
                Ok(()) => {
                    self.renamed(&name, "it has no place among objects".into());
                    seen_above.push(target);
                }
                Err(error) => {
                    self.unseen(&name, error);
                    folders.push(name);
                }
            }
        }
    }

    /// Whether something is there that has changed since.
    fn is_new(&self, folder: BorrowedFd<'_>, name: &CStr) -> bool {
        match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => self.run.since.covers(&stat),
            Err(error) => error != Errno::NOENT,
        }
    }

    fn renamed(&mut self, name: &CStr, why: String) {
        self.found.renamed.push(Planted { path: self.shown(name), why });
    }

    fn changed(&mut self, name: &CStr, why: String) {
        self.found.changed.push(Planted { path: self.shown(name), why });
    }

    fn unseen(&mut self, name: &CStr, error: Errno) {
        let path = self.shown(name);
        self.found.unseen.push(Planted { path, why: format!("it cannot be looked at: {error}") });
    }

    /// A path that is told. Too long a one is cut at its end.
    fn shown(&self, name: &CStr) -> PathBuf {
        if name.is_empty() { self.path.clone() } else { self.path.join(OsStr::from_bytes(name.to_bytes())) }
    }
}

/// Where a path leads that is written in a folder of the workspace, from its root,
/// as long as no part of that is a link. `None` where it leads out, and where it
/// goes up again after it went down, which a link would make another way.
fn place_of(folder: &Path, named: &Path) -> Option<PathBuf> {
    let mut place = folder.to_owned();
    let mut goes_down = false;
    // C would read it to there.
    if named.as_os_str().as_bytes().contains(&0) {
        return None;
    }
    for part in named.components() {
        match part {
            Component::Normal(name) => {
                goes_down = true;
                place.push(name);
            }
            Component::CurDir => {}
            Component::ParentDir if !goes_down && place.pop() => {}
            _ => return None,
        }
    }
    Some(place)
}

/// Whether `HEAD` is a link in the old way of git.
fn names_ref(folder: BorrowedFd<'_>) -> bool {
    let target = rustix::fs::readlinkat(folder, "HEAD", Vec::new()).unwrap_or_default();
    let target = target.to_bytes();
    target.starts_with(b"refs/") && target.split(|byte| *byte == b'/').all(|part| part != b"..")
}

#[cfg(test)]
mod tests;
