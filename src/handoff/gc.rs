//! Taking away what nobody needs: what dead commands left, and records that
//! are old. Never anything that exists nowhere else.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::caches;
use super::context::Context;
use super::keep::expire_artifacts;
use crate::crash;
use crate::disk::{self, Durability, remove, scratch};
use crate::runtime::{self, Receipt};

/// How long receipts and logs are kept.
const RECORDS: Duration = Duration::from_secs(30 * 86_400);

/// A temporary file of this age belongs to nobody.
const HOUR: Duration = Duration::from_secs(3600);

/// How long after one collection the next one starts by itself.
const DAY: Duration = Duration::from_secs(86_400);

/// What a collection did.
#[derive(Debug, Default, Serialize)]
pub struct Collected {
    /// Runtimes whose owners were dead.
    pub receipts: Vec<Receipt>,
    /// What was removed.
    pub removed: Vec<Removed>,
}

/// One thing that was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// `lease`, `draft`, `trash`, `receipt`, `log`, `artifact`, `cache` or `layer`.
    pub kind: &'static str,
    /// Which one.
    pub path: PathBuf,
    /// Why.
    pub why: &'static str,
}

/// Collects. `receipts` are those of the runtimes that this command found dead.
///
/// # Errors
/// When something cannot be looked at. What cannot be removed is told, and
/// stops nothing.
pub fn gc(ctx: &Context, receipts: Vec<Receipt>) -> Result<Collected> {
    let mut all = Collected { receipts, removed: Vec::new() };
    let mut removed = |kind, path, why| all.removed.push(Removed { kind, path, why });
    for path in ctx.runtimes().drop_orphans() {
        removed("lease", path, "its runtime is gone");
    }
    crash::point("gc.leases");
    for (parent, prefix) in drafts(ctx) {
        for path in scratch::sweep(&parent, prefix, |path| remove_anyhow(ctx, path)) {
            removed("draft", path, "its maker is dead");
        }
    }
    crash::point("gc.drafts");
    let trash = ctx.paths.trash();
    for path in children(&trash) {
        match remove_anyhow(ctx, &path) {
            Ok(()) => removed("trash", path, "it was thrown away"),
            Err(error) => ctx.ui.detail(&format!("{error:#}")),
        }
    }
    for folder in [ctx.paths.leases(), ctx.paths.receipts(), ctx.paths.pins(), ctx.paths.identities()] {
        let temporary = |path: &PathBuf| path.file_name().is_some_and(disk::is_temporary) && is_older(ctx, path, HOUR);
        for path in children(&folder).into_iter().filter(temporary) {
            if fs::remove_file(&path).is_ok() {
                removed("draft", path, "its maker is dead");
            }
        }
    }
    crash::point("gc.trash");
    for path in children(&ctx.paths.quarantine()).into_iter().filter(|path| is_older(ctx, path, RECORDS)) {
        if remove_anyhow(ctx, &path).is_ok() {
            removed("trash", path, "it was damaged, and is older than 30 days");
        }
    }
    for (kind, folder) in [("receipt", ctx.paths.receipts()), ("log", ctx.paths.logs())] {
        for path in children(&folder).into_iter().filter(|path| is_older(ctx, path, RECORDS)) {
            if fs::remove_file(&path).is_ok() {
                removed(kind, path, "it is older than 30 days");
            }
        }
    }
    // What a runtime that is being started needs is not known yet: next time.
    match caches::tend(ctx, &caches::configured(ctx), false) {
        Ok(gone) => {
            for one in gone.into_iter().flatten() {
                removed(one.kind, ctx.paths.cache().join(one.key.hex()), one.why);
            }
        }
        Err(error) => ctx.ui.detail(&format!("{error:#}")),
    }
    match expire_artifacts(ctx, false) {
        Ok(expired) => {
            let old = expired.artifacts.into_iter();
            old.for_each(|path| removed("artifact", path, "it was kept as long as artifacts.keep says"));
        }
        Err(error) => ctx.ui.detail(&format!("{error:#}")),
    }
    let _ = disk::write_file(&ctx.paths.gc_mark(), b"", Durability::Cached);
    Ok(all)
}

/// Where unfinished things lie, and how they are named.
fn drafts(ctx: &Context) -> Vec<(PathBuf, &'static str)> {
    let workspaces = ctx.paths.workspaces();
    let mut all = vec![
        (ctx.paths.cache().join("tmp"), ""),
        (ctx.paths.state().join("tmp"), ""),
        (ctx.paths.repos(), ".envctl-draft-"),
        (std::env::temp_dir(), crate::snapshot::CAPTURE),
    ];
    for repository in children(&workspaces) {
        all.extend(children(&repository).into_iter().map(|folder| (folder, ".envctl-draft-")));
    }
    all
}

/// Removes a tree that may hold files of the ids of an image, which only a
/// user namespace with those ids can remove.
fn remove_anyhow(ctx: &Context, path: &Path) -> Result<()> {
    if remove::tree(path).is_ok() {
        return Ok(());
    }
    runtime::Mapping::new(0, 0, ctx.env.path.as_deref()).remove(path)
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// By the time at which it was last written; what cannot be read is young.
fn is_older(ctx: &Context, path: &Path, than: Duration) -> bool {
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
        runtime::in_background(|| drop(gc(ctx, Vec::new())));
    }
}
