//! Taking away what nobody needs: what dead commands left, records that are
//! old, and workspaces whose rule says so. What exists nowhere else is salvaged
//! first, and kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::caches;
use super::context::Context;
use super::keep::expire_artifacts;
use super::pin::Pin;
use super::{salvage, spare};
use crate::crash;
use crate::disk::{self, Durability, remove, scratch};
use crate::runtime::{self, Receipt};

/// How long receipts and logs are kept.
const RECORDS: Duration = Duration::from_secs(30 * 86_400);

/// A temporary file of this age belongs to nobody.
const HOUR: Duration = Duration::from_secs(3600);

/// How long after one collection the next one starts by itself.
pub(super) const DAY: Duration = Duration::from_secs(86_400);

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

/// A workspace that stays, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Its task, as it can be named from anywhere.
    pub task: String,
    /// Where it is.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

impl Kept {
    pub(super) fn new(pin: &Pin, why: &anyhow::Error) -> Self {
        Kept { task: pin.reference(), path: pin.workspace.clone(), why: format!("{why:#}") }
    }
}

/// One thing that was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// `lease`, `draft`, `trash`, `receipt`, `log`, `artifact`, `cache`, `layer`,
    /// `workspace` or `salvage`.
    pub kind: &'static str,
    /// Which one.
    pub path: PathBuf,
    /// Why.
    pub why: String,
    /// What was unsaved in it.
    pub unsaved: Vec<String>,
    /// The salvage that keeps that.
    pub salvage: Option<String>,
}

impl Removed {
    fn new(kind: &'static str, path: PathBuf, why: &str) -> Self {
        Removed { kind, path, why: why.to_owned(), unsaved: Vec::new(), salvage: None }
    }
}

/// Collects. `receipts` are those of the runtimes that this command found dead.
/// With `dry` the rest is listed only.
///
/// # Errors
/// When something cannot be looked at. What cannot be removed is told, and
/// stops nothing.
pub fn gc(ctx: &Context, receipts: Vec<Receipt>, dry: bool) -> Result<Collected> {
    let mut all = Collected { receipts, ..Collected::default() };
    let mut removed = |kind, path, why: &str| all.removed.push(Removed::new(kind, path, why));
    let orphans = if dry { ctx.runtimes().orphans() } else { ctx.runtimes().drop_orphans() };
    for path in orphans {
        removed("lease", path, "its runtime is gone");
    }
    crash::point("gc.leases");
    for (parent, prefix) in drafts(ctx) {
        for path in scratch::sweep(&parent, prefix, |path| if dry { Ok(()) } else { remove_anyhow(ctx, path) }) {
            removed("draft", path, "its maker is dead");
        }
    }
    crash::point("gc.drafts");
    // Before the trash is emptied, to which they go.
    let (workspaces, kept) = spare::workspaces(ctx, dry)?;
    all.removed.extend(workspaces);
    all.kept = kept;
    crash::point("gc.workspaces");
    let mut removed = |kind, path, why: &str| all.removed.push(Removed::new(kind, path, why));
    match salvage::expire(ctx, dry) {
        Ok(old) => {
            old.into_iter().for_each(|path| removed("salvage", path, "it was kept as long as workspace.keep says"))
        }
        Err(error) => ctx.ui.warn(&format!("{error:#}")),
    }
    for path in [ctx.paths.trash(), ctx.paths.data_trash()].iter().flat_map(|trash| children(trash)) {
        match if dry { Ok(()) } else { remove_anyhow(ctx, &path) } {
            Ok(()) => removed("trash", path, "it was thrown away"),
            Err(error) => ctx.ui.detail(&format!("{error:#}")),
        }
    }
    for folder in [ctx.paths.leases(), ctx.paths.receipts(), ctx.paths.pins(), ctx.paths.identities()] {
        let temporary = |path: &PathBuf| path.file_name().is_some_and(disk::is_temporary) && is_older(ctx, path, HOUR);
        for path in children(&folder).into_iter().filter(temporary) {
            if dry || fs::remove_file(&path).is_ok() {
                removed("draft", path, "its maker is dead");
            }
        }
    }
    let lists = [ctx.paths.all_copies(), ctx.paths.all_publications()];
    for path in lists.iter().flat_map(|list| children(list)).filter(|path| is_older(ctx, path, RECORDS)) {
        // Without it a copy is taken for the developer's own files, and stays.
        if dry || fs::remove_file(&path).is_ok() {
            removed("draft", path, "it is older than 30 days");
        }
    }
    crash::point("gc.trash");
    for path in children(&ctx.paths.quarantine()).into_iter().filter(|path| is_older(ctx, path, RECORDS)) {
        if dry || remove_anyhow(ctx, &path).is_ok() {
            removed("trash", path, "it was damaged, and is older than 30 days");
        }
    }
    for (kind, folder) in [("receipt", ctx.paths.receipts()), ("log", ctx.paths.logs())] {
        for path in children(&folder).into_iter().filter(|path| is_older(ctx, path, RECORDS)) {
            if dry || fs::remove_file(&path).is_ok() {
                removed(kind, path, "it is older than 30 days");
            }
        }
    }
    // What a runtime that is being started needs is not known yet: next time.
    let rules = caches::Rules { dry_run: dry, ..caches::configured(ctx) };
    match caches::tend(ctx, &rules, false) {
        Ok(gone) => {
            for one in gone.into_iter().flatten() {
                removed(one.kind, ctx.paths.cache().join(one.key.hex()), one.why);
            }
        }
        Err(error) => ctx.ui.detail(&format!("{error:#}")),
    }
    match expire_artifacts(ctx, dry) {
        Ok(expired) => {
            let old = expired.artifacts.into_iter();
            old.for_each(|path| removed("artifact", path, "it was kept as long as artifacts.keep says"));
        }
        Err(error) => ctx.ui.detail(&format!("{error:#}")),
    }
    if !dry {
        let _ = disk::write_file(&ctx.paths.gc_mark(), b"", Durability::Cached);
    }
    Ok(all)
}

/// Where unfinished things lie, and how they are named.
fn drafts(ctx: &Context) -> Vec<(PathBuf, &'static str)> {
    let workspaces = ctx.paths.workspaces();
    let mut all = vec![
        (ctx.paths.cache().join("tmp"), ""),
        (ctx.paths.state().join("tmp"), ""),
        (ctx.paths.repos(), ".envctl-"),
        (std::env::temp_dir(), crate::snapshot::CAPTURE),
    ];
    for repository in children(&workspaces) {
        // Not within a project's workspace, which is no folder of workspaces.
        let folders = [repository.join("task"), repository.join("branch"), repository];
        all.extend(folders.map(|folder| (folder, ".envctl-draft-")));
    }
    all
}

/// Removes a tree that may hold files of the ids of an image, which only a
/// user namespace with those ids can remove.
pub(super) fn remove_anyhow(ctx: &Context, path: &Path) -> Result<()> {
    if remove::tree(path).is_ok() {
        return Ok(());
    }
    runtime::Mapping::new(0, 0, ctx.env.path.as_deref()).remove(path)
}

pub(super) fn children(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// By the time at which it was last written; what cannot be read is young.
pub(super) fn is_older(ctx: &Context, path: &Path, than: Duration) -> bool {
    let written =
        fs::symlink_metadata(path).ok().and_then(|meta| jiff::Timestamp::try_from(meta.modified().ok()?).ok());
    written.is_some_and(|written| ctx.clock.now().as_second() - written.as_second() > than.as_secs() as i64)
}

/// Starts a collection in the background when the last one was long ago.
/// Costs one look at a file otherwise.
pub(super) fn daily(ctx: &Context) {
    let mark = ctx.paths.gc_mark();
    if mark.exists() && !is_older(ctx, &mark, DAY) {
        return;
    }
    // First the mark, so that no other command starts one as well.
    if disk::write_file(&mark, b"", Durability::Cached).is_ok() {
        runtime::in_background(|| drop(gc(ctx, Vec::new(), false)));
    }
}
