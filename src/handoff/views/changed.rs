//! What a workspace holds beyond the snapshot that it goes on from: the same comparison
//! as between two identities, with what a publish from there would carry.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::diff::side_of;
use crate::digest::Digest;
use crate::error::not_found;
use crate::handoff::app::App;
use crate::handoff::task::{Resolved, Source, resolve_here};
use crate::handoff::workspaces;
use crate::identity::TaskRef;
use crate::snapshot::{self, Changes, SnapshotSide, compare};

/// From a snapshot to the workspace that goes on from it.
#[derive(Debug, Serialize)]
pub struct Changed {
    /// The task as it can be named from anywhere.
    pub task: String,
    /// The identity that was published from the workspace last, or that it was made from.
    pub identity: Digest,
    /// Where it is.
    pub workspace: PathBuf,
    /// Commits and files.
    pub changes: Changes,
}

/// Compares the workspace of a task with its snapshot.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when the task has no workspace here.
pub fn changed(app: &App, reference: &TaskRef, patch: bool) -> Result<Changed> {
    let source = Source::new(app, app.locate(reference)?);
    let missing = || {
        not_found(format!("there is no workspace of {reference} here to compare")).hint(
            format!("envctl view {reference} shows what the task holds; envctl diff A B compares two tasks, --beside the lines of one"),
        )
    };
    let pin = app.pins().read(&source.task, None)?.filter(|pin| pin.workspace.is_dir()).ok_or_else(missing)?;
    let resolved = resolve_here(&source)?;
    let changes = changes(&source, &resolved, &pin.workspace, patch)?;
    Ok(Changed { task: source.task.reference(), identity: resolved.digest, workspace: pin.workspace, changes })
}

/// What lies between a snapshot and a workspace.
///
/// # Errors
/// When the snapshot cannot be had, or the workspace not captured.
pub(crate) fn changes(source: &Source<'_>, resolved: &Resolved, place: &Path, patch: bool) -> Result<Changes> {
    let before = side_of(source, resolved)?;
    let captured = workspaces::capture(source.app, place)?;
    let pack = captured.pack.as_ref().map(|pack| File::open(pack).context("cannot read what was captured"));
    // What was fetched in it by hand is there alone.
    let objects = snapshot::open(place)?.commondir().join("objects");
    compare([before, SnapshotSide { document: captured.document.clone(), pack: pack.transpose()?, objects }], patch)
}
