//! Taking away what nobody needs: what dead commands left, records that are
//! old, and workspaces whose rule says so. What exists nowhere else is salvaged
//! first, and kept.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::crash;
use crate::disk::{self, Durability, scratch};
use crate::handoff::app::App;
use crate::handoff::evidence::expire_artifacts;
use crate::handoff::workspaces::{DAY, Kept, Removed, children, is_older, remove_anyhow};
use crate::handoff::{caches, workspaces};
use crate::runtime::{self, Receipt};

/// How long receipts and logs are kept.
const RECORDS: Duration = Duration::from_secs(30 * 86_400);

/// A temporary file of this age belongs to nobody.
const HOUR: Duration = Duration::from_secs(3600);

/// What a collection did.
#[derive(Debug, Default, Serialize)]
pub struct Collected {
    /// Runtimes whose owners were dead.
    pub receipts: Vec<Receipt>,
    /// What was removed, or would be.
    pub removed: Vec<Removed>,
    /// Workspaces that stay although their time may have come.
    pub kept: Vec<Kept>,
}

/// Collects. `receipts` are those of the runtimes that this command found dead.
/// With `dry` the rest is listed only.
///
/// # Errors
/// When something cannot be looked at. What cannot be removed is told, and
/// stops nothing.
pub fn gc(app: &App, receipts: Vec<Receipt>, dry: bool) -> Result<Collected> {
    let mut all = Collected { receipts, ..Collected::default() };
    let mut removed = |kind, path, why: &str| all.removed.push(Removed::new(kind, path, why));
    let orphans = if dry { app.runtimes().orphans() } else { app.runtimes().drop_orphans() };
    for path in orphans {
        removed("lease", path, "its runtime is gone");
    }
    crash::point("gc.leases");
    for (parent, prefix) in drafts(app) {
        for path in scratch::sweep(&parent, prefix, |path| if dry { Ok(()) } else { remove_anyhow(app, path) }) {
            removed("draft", path, "its maker is dead");
        }
    }
    crash::point("gc.drafts");
    // Before the trash is emptied, to which they go.
    let (workspaces, kept) = workspaces::sweep(app, dry)?;
    all.removed.extend(workspaces);
    all.kept = kept;
    crash::point("gc.workspaces");
    let mut removed = |kind, path, why: &str| all.removed.push(Removed::new(kind, path, why));
    match workspaces::expire_salvages(app, dry) {
        Ok(old) => {
            old.into_iter().for_each(|path| removed("salvage", path, "it was kept as long as workspace.keep says"))
        }
        Err(error) => app.ui.warn(&format!("{error:#}")),
    }
    for path in [app.paths.trash(), app.paths.data_trash()].iter().flat_map(|trash| children(trash)) {
        match if dry { Ok(()) } else { remove_anyhow(app, &path) } {
            Ok(()) => removed("trash", path, "it was thrown away"),
            Err(error) => app.ui.detail(&format!("{error:#}")),
        }
    }
    for folder in [app.paths.leases(), app.paths.receipts(), app.paths.pins(), app.paths.identities()] {
        let temporary = |path: &PathBuf| path.file_name().is_some_and(disk::is_temporary) && is_older(app, path, HOUR);
        for path in children(&folder).into_iter().filter(temporary) {
            if dry || fs::remove_file(&path).is_ok() {
                removed("draft", path, "its maker is dead");
            }
        }
    }
    let lists = [app.paths.all_copies(), app.paths.all_publications()];
    for path in lists.iter().flat_map(|list| children(list)).filter(|path| is_older(app, path, RECORDS)) {
        // Without it a copy is taken for the developer's own files, and stays.
        if dry || fs::remove_file(&path).is_ok() {
            removed("draft", path, "it is older than 30 days");
        }
    }
    crash::point("gc.trash");
    for path in children(&app.paths.quarantine()).into_iter().filter(|path| is_older(app, path, RECORDS)) {
        if dry || remove_anyhow(app, &path).is_ok() {
            removed("trash", path, "it was damaged, and is older than 30 days");
        }
    }
    for (kind, folder) in [("receipt", app.paths.receipts()), ("log", app.paths.logs())] {
        for path in children(&folder).into_iter().filter(|path| is_older(app, path, RECORDS)) {
            if dry || fs::remove_file(&path).is_ok() {
                removed(kind, path, "it is older than 30 days");
            }
        }
    }
    // What a runtime that is being started needs is not known yet: next time.
    let rules = caches::Rules { dry_run: dry, ..caches::configured(app) };
    match caches::tend(app, &rules, false) {
        Ok(gone) => {
            for one in gone.into_iter().flatten() {
                removed(one.kind, app.paths.cache().join(one.key.hex()), one.why);
            }
        }
        Err(error) => app.ui.detail(&format!("{error:#}")),
    }
    match expire_artifacts(app, dry) {
        Ok(expired) => {
            let old = expired.artifacts.into_iter();
            old.for_each(|path| removed("artifact", path, "it was kept as long as artifacts.keep says"));
        }
        Err(error) => app.ui.detail(&format!("{error:#}")),
    }
    if !dry {
        let _ = disk::write_file(&app.paths.gc_mark(), b"", Durability::Cached);
    }
    Ok(all)
}

/// Where unfinished things lie, and how they are named.
fn drafts(app: &App) -> Vec<(PathBuf, &'static str)> {
    let workspaces = app.paths.workspaces();
    let mut all = vec![
        (app.paths.cache().join("tmp"), ""),
        (app.paths.state().join("tmp"), ""),
        (app.paths.repos(), ".envctl-"),
        (std::env::temp_dir(), crate::snapshot::CAPTURE),
    ];
    for repository in children(&workspaces) {
        // Not within a project's workspace, which is no folder of workspaces.
        let folders = [repository.join("task"), repository.join("branch"), repository];
        all.extend(folders.map(|folder| (folder, ".envctl-draft-")));
    }
    all
}

/// Starts a collection in the background when the last one was long ago.
/// Costs one look at a file otherwise.
pub(crate) fn daily(app: &App) {
    let mark = app.paths.gc_mark();
    if mark.exists() && !is_older(app, &mark, DAY) {
        return;
    }
    // First the mark, so that no other command starts one as well.
    if disk::write_file(&mark, b"", Durability::Cached).is_ok() {
        runtime::in_background(|| drop(gc(app, Vec::new(), false)));
    }
}
