//! Folders of envctl's own: what lies in them, how old it is, and removing it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

use crate::disk::remove;
use crate::handoff::app::App;
use crate::paths::Paths;
use crate::runtime;

/// How long after one collection the next one starts by itself.
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// Removes a tree that may hold files of the ids of an image, which only a
/// user namespace with those ids can remove.
pub(crate) fn remove_anyhow(app: &App, path: &Path) -> Result<()> {
    if remove::tree(path).is_ok() {
        return Ok(());
    }
    runtime::Mapping::new(0, 0, app.env.path.as_deref()).remove(path)
}

/// Every place of this machine at which a workspace lies, or was set aside.
///
/// # Errors
/// When the pins cannot be read.
pub(crate) fn homes(app: &App) -> Result<Vec<PathBuf>> {
    let mut all: Vec<PathBuf> = app.pins().all()?.into_iter().map(|pin| pin.workspace).collect();
    for repository in children(&app.paths.workspaces()) {
        all.extend(Paths::workspace_folders(&repository).iter().flat_map(|folder| children(folder)));
        all.push(repository.join("project"));
    }
    all.extend(children(&app.paths.recovery()));
    Ok(all)
}

pub(crate) fn children(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// When it was last written.
pub(crate) fn written_at(path: &Path) -> Option<Timestamp> {
    Timestamp::try_from(fs::symlink_metadata(path).ok()?.modified().ok()?).ok()
}

/// Lets something of envctl's have been written at a time.
pub(crate) fn set_time(path: &Path, at: Timestamp) {
    let at = Timespec { tv_sec: at.as_second(), tv_nsec: 0 };
    let times = Timestamps { last_access: at, last_modification: at };
    // Losing it makes something look older or younger than it is, no more.
    let _ = rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
}

/// By the time at which it was last written; what cannot be read is young.
pub(crate) fn is_older(app: &App, path: &Path, than: Duration) -> bool {
    written_at(path).is_some_and(|written| app.clock.now().as_second() - written.as_second() > than.as_secs() as i64)
}
