//! Folders of envctl's own: what lies in them, how old it is, and removing it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::disk::remove;
use crate::handoff::app::App;
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

pub(crate) fn children(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// By the time at which it was last written; what cannot be read is young.
pub(crate) fn is_older(app: &App, path: &Path, than: Duration) -> bool {
    let written =
        fs::symlink_metadata(path).ok().and_then(|meta| jiff::Timestamp::try_from(meta.modified().ok()?).ok());
    written.is_some_and(|written| app.clock.now().as_second() - written.as_second() > than.as_secs() as i64)
}
