//! Whether the last look at a workspace saw everything. What it did not see was
//! judged by nobody, however old it is when somebody opens the way to it.
//!
//! Invariant: the note is there from the end of a look that did not see everything
//! to the end of one that did. It lies where no program inside can change it.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use crate::disk::beneath::open_beneath;
use crate::disk::descent;

/// From `.git/envctl`, which is read-only inside.
const NOTE: &str = "unseen";

/// Whether something was left unseen.
pub(super) fn was_left(workspace: &Path) -> bool {
    folder(workspace).is_some_and(|folder| rustix::fs::statat(&folder, NOTE, AtFlags::SYMLINK_NOFOLLOW).is_ok())
}

/// Has the next look at a workspace judge everything, because another program lived
/// there during this one.
pub fn distrust(workspace: &Path) {
    note(workspace, true);
}

/// Notes that something is left unseen, or that nothing is.
pub(super) fn note(workspace: &Path, left: bool) {
    let Some(folder) = folder(workspace) else { return };
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let _ = if left {
        rustix::fs::openat(folder.as_fd(), NOTE, flags, Mode::RUSR | Mode::WUSR).map(drop)
    } else {
        rustix::fs::unlinkat(folder.as_fd(), NOTE, AtFlags::empty())
    };
}

fn folder(workspace: &Path) -> Option<std::os::fd::OwnedFd> {
    let root = rustix::fs::openat(CWD, workspace, descent::folder_flags(), Mode::empty()).ok()?;
    open_beneath(root.as_fd(), Path::new(".git/envctl"), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC).ok()
}
