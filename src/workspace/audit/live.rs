//! Looks at single folders, while programs run in the workspace and before any
//! does.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::listing::Listing;
use super::{Audit, Audited, AuditedRun, GitRole, Planted};
use crate::disk::beneath;
use crate::disk::descent::{self, Opened};

/// What git would obey in these folders of a workspace if somebody worked in
/// them; nothing is renamed.
pub fn obeyed(workspace: &Path, folders: &[PathBuf]) -> Vec<Planted> {
    let mut found = Vec::new();
    for path in folders {
        let audit = Audit::new(workspace, AuditedRun::default(), path.clone());
        let Ok(folder) = rustix::fs::openat(CWD, workspace.join(path), descent::folder_flags(), Mode::empty()) else {
            continue;
        };
        let all = audit.obeyed(folder.as_fd(), true, false);
        found.extend(all.into_iter().map(|(name, why)| Planted { path: audit.shown(name), why }));
    }
    found
}

/// Looks at what git takes for the git folder of a folder of the workspace.
/// Renames what was written since and git should not obey; says that.
pub(in super::super) fn look_at(workspace: &Path, path: &Path, run: AuditedRun<'_>) -> Audited {
    let mut audit = Audit::new(workspace, run, path.to_owned());
    audit.goes_on = true;
    let Some(folder) = open_beneath(workspace, path) else { return audit.found };
    let git = match rustix::fs::statat(&folder, c".git", AtFlags::SYMLINK_NOFOLLOW).map(|stat| stat.st_mode) {
        Ok(mode) if FileType::from_raw_mode(mode) == FileType::Directory => Some(path.join(".git")),
        Ok(mode) => {
            audit.pointer(folder.as_fd(), FileType::from_raw_mode(mode));
            audit.pointed(folder.as_fd())
        }
        Err(_) => None,
    };
    if let Some(git) = &git
        && let Some(folder) = open_beneath(workspace, git)
    {
        audit.path = git.clone();
        let touched = audit.distrusts || rustix::fs::fstat(&folder).map_or(true, |stat| run.since.covers(&stat));
        audit.git_folder(folder.as_fd(), touched, false);
        let mut listing = Listing::default();
        let _ = rustix::fs::openat(&folder, c".", descent::folder_flags(), Mode::empty())
            .and_then(|again| descent::list(again.as_fd(), |name, kind| listing.add(name, kind)));
        audit.odd_files(folder.as_fd(), &listing.odd, touched);
    }
    audit.found
}

/// Where the `.git` of a folder leads in the workspace, when it is no folder.
pub(in super::super) fn leads(workspace: &Path, path: &Path) -> Option<PathBuf> {
    let audit = Audit::new(workspace, AuditedRun::default(), path.to_owned());
    audit.pointed(open_beneath(workspace, path)?.as_fd())
}

/// The files of the workspace's index that were written since the run began.
pub(in super::super) fn index_files(workspace: &Path, run: AuditedRun<'_>) -> Vec<PathBuf> {
    let git = Path::new(".git");
    let audit = Audit::new(workspace, run, git.to_owned());
    let names = open_beneath(workspace, git).map(|folder| audit.index_files(folder.as_fd(), false)).unwrap_or_default();
    names.iter().map(|name| git.join(std::ffi::OsStr::from_bytes(name.to_bytes()))).collect()
}

/// The folders that the workspace's index names as repositories, where it was
/// written since the run began.
pub(in super::super) fn linked(workspace: &Path, run: AuditedRun<'_>) -> Vec<PathBuf> {
    let audit = Audit::new(workspace, run, PathBuf::from(".git"));
    open_beneath(workspace, Path::new(".git")).map(|git| audit.linked(git.as_fd())).unwrap_or_default()
}

/// Looks at a folder of the workspace's own git folder as the audit does, and at
/// nothing below it. Renames links and the like there, and what git should not
/// obey; puts back what makes it a repository.
pub(in super::super) fn look_at_own(workspace: &Path, path: &Path, run: AuditedRun<'_>) -> Audited {
    // What is in these is judged from above.
    let is_above = [".git/hooks", ".git/envctl"].iter().any(|part| path == Path::new(part));
    let path = if is_above { Path::new(".git") } else { path };
    let mut audit = Audit::new(workspace, run, path.to_owned());
    audit.goes_on = true;
    let Some(folder) = open_beneath(workspace, path) else { return audit.found };
    let place = match path {
        path if path == Path::new(".git") => GitRole::Own,
        path if path.starts_with(".git/objects") => GitRole::Data { touched: true },
        path if path.starts_with(".git/modules") || path.starts_with(".git/worktrees") => {
            GitRole::Git { own: false, touched: false }
        }
        _ => GitRole::Git { own: true, touched: true },
    };
    audit.look(folder.as_fd(), place);
    let mut found = audit.found;
    if !found.changed.is_empty() {
        // For a moment git could have taken the workspace's files for one.
        found.add(look_at_root(workspace, run, true));
    }
    found
}

/// Looks at the workspace's root as at a repository of its own: git takes it
/// for one while `.git` is none. `touched` says that its age means nothing.
pub(in super::super) fn look_at_root(workspace: &Path, run: AuditedRun<'_>, touched: bool) -> Audited {
    let mut audit = Audit::new(workspace, run, PathBuf::new());
    let Some(root) = open_beneath(workspace, Path::new("")) else { return audit.found };
    let mut listing = Listing::default();
    let _ = descent::list(root.as_fd(), |name, kind| listing.add(name, kind));
    if listing.is_git() {
        audit.git_folder(root.as_fd(), touched, false);
        // Without it the root is no repository, wherever links in it lead.
        let name = c"HEAD";
        if touched || audit.is_new(root.as_fd(), name) {
            audit.quarantine(root.as_fd(), name, "git would take the workspace's files for a repository".into());
        }
    }
    audit.found
}

/// Renames a folder that nobody here can list, though git could reach what is in
/// it by its name.
pub(in super::super) fn hide(workspace: &Path, path: &Path, run: AuditedRun<'_>) -> Audited {
    let (parent, name) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
    let mut audit = Audit::new(workspace, run, parent.to_owned());
    if let (Some(parent), Ok(name)) = (open_beneath(workspace, parent), CString::new(name.as_bytes())) {
        audit.hide(parent.as_fd(), &name, "it cannot be looked into".into());
    }
    audit.found
}

fn open_beneath(workspace: &Path, path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, workspace, flags, Mode::empty()).ok()?;
    open(root.as_fd(), path).ok().map(|(folder, _)| folder)
}

/// Opens a folder to be listed, through no link, and says whether a folder on
/// the way was closed. One's own are opened up.
///
/// # Errors
/// [`Errno::ACCESS`] for one of others that is closed; and when it is gone.
pub(in super::super) fn open(root: BorrowedFd<'_>, path: &Path) -> Result<(OwnedFd, bool), Errno> {
    let whole = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    match beneath::open_beneath(root, whole, descent::folder_flags()) {
        Ok(folder) => {
            let was_closed = path.starts_with(".git") && open_up(folder.as_fd());
            return Ok((folder, was_closed));
        }
        Err(Errno::ACCESS) => {}
        Err(error) => return Err(error),
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = rustix::fs::openat(root, ".", flags, Mode::empty())?;
    for part in path {
        let name = CString::new(part.as_bytes()).map_err(|_| Errno::INVAL)?;
        match descent::open(at.as_fd(), &name)? {
            Opened::Open(folder) => at = folder,
            Opened::Blind => return Err(Errno::ACCESS),
            Opened::Sealed => return Err(Errno::PERM),
        }
    }
    Ok((at, true))
}

/// Root opens what is closed to its owner; git as another account would not.
fn open_up(folder: BorrowedFd<'_>) -> bool {
    let Ok(stat) = rustix::fs::fstat(folder) else { return false };
    let mode = Mode::from_raw_mode(stat.st_mode);
    !mode.contains(Mode::RWXU) && rustix::fs::fchmod(folder, mode | Mode::RWXU).is_ok()
}
