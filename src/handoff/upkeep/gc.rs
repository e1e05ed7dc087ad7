//! Taking away what nobody needs: what dead commands left, records that are
//! old, and workspaces whose rule says so. What exists nowhere else is salvaged
//! first, and kept.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::pace::{self, Pace};
use crate::crash;
use crate::disk::lock::{self, FileLock};
use crate::disk::{self, scratch};
use crate::handoff::app::App;
use crate::handoff::evidence::expire_artifacts;
use crate::handoff::workspaces::{DAY, KeptWorkspace, Removed, children, is_older, remove_anyhow};
use crate::handoff::{caches, workspaces};
use crate::paths::Paths;
use crate::runtime::{self, Receipt};

/// How long receipts and logs are kept.
const RECORDS: Duration = Duration::from_secs(30 * 86_400);

/// A temporary file of this age belongs to nobody.
const HOUR: Duration = Duration::from_secs(3600);

/// What a collection did.
#[derive(Debug, Default, Serialize)]
pub struct GcReport {
    /// Runtimes whose owners were dead.
    pub receipts: Vec<Receipt>,
    /// What was removed, or would be.
    pub removed: Vec<Removed>,
    /// Workspaces that stay although their time may have come.
    pub kept: Vec<KeptWorkspace>,
}

/// Collects. `receipts` are those of the runtimes that this command found dead.
/// With `dry` the rest is listed only.
///
/// # Errors
/// When something cannot be looked at. What cannot be removed is told, and
/// stops nothing.
pub fn gc(app: &App, receipts: Vec<Receipt>, dry: bool) -> Result<GcReport> {
    let done = collect(app, receipts, dry, Pace::now(app))?;
    if !dry {
        workspaces::note_swept(app, &done.removed, false);
    }
    Ok(done)
}

fn collect(app: &App, receipts: Vec<Receipt>, dry: bool, pace: Pace) -> Result<GcReport> {
    if let Some(why) = pace.words() {
        app.ui.warn(&format!("{why}: nothing is removed for its age this time, and every time limit starts again"));
        if !dry {
            pace::begin_anew(app);
        }
    }
    let all = GcReport { receipts, ..GcReport::default() };
    let mut collection = Collection { app, dry, steady: pace == Pace::Steady, all };
    collection.unfinished();
    // Before the trash is emptied, to which they go.
    collection.workspaces()?;
    collection.trash();
    collection.records();
    collection.caches();
    collection.empty();
    if !dry {
        let _ = pace::note_begun(app, pace);
    }
    Ok(collection.all)
}

/// One collection.
struct Collection<'a> {
    app: &'a App,
    /// Say, and do nothing.
    dry: bool,
    /// Ages are what the clock says.
    steady: bool,
    all: GcReport,
}

impl Collection<'_> {
    fn removed(&mut self, kind: &'static str, path: PathBuf, why: &str) {
        self.all.removed.push(Removed::new(kind, path, why));
    }

    /// Removes files of ours, or says that it would.
    fn remove_files(&mut self, kind: &'static str, paths: impl IntoIterator<Item = PathBuf>, why: &str) {
        for path in paths {
            if self.dry || fs::remove_file(&path).is_ok() {
                self.removed(kind, path, why);
            }
        }
    }

    /// What dead commands left.
    fn unfinished(&mut self) {
        let (app, dry) = (self.app, self.dry);
        let orphans = if dry { app.runtimes().orphans() } else { app.runtimes().drop_orphans() };
        for path in orphans {
            self.removed("lease", path, "its runtime is gone");
        }
        crash::point("gc.leases");
        for (parent, prefix) in drafts(app) {
            for path in scratch::sweep(&parent, prefix, |path| if dry { Ok(()) } else { remove_anyhow(app, path) }) {
                self.removed("draft", path, "its maker is dead");
            }
        }
        crash::point("gc.drafts");
    }

    /// Workspaces that are due, and what was salvaged long ago.
    fn workspaces(&mut self) -> Result<()> {
        let (workspaces, kept) = workspaces::sweep(self.app, self.dry, self.steady)?;
        self.all.removed.extend(workspaces);
        self.all.kept = kept;
        crash::point("gc.workspaces");
        let old = if self.steady { workspaces::expire_salvages(self.app, self.dry) } else { Ok(Vec::new()) };
        match old {
            Ok(old) => old.into_iter().for_each(|path| {
                self.removed("salvage", path, "it was kept as long as workspace.keep says");
            }),
            Err(error) => self.app.ui.warn(&format!("{error:#}")),
        }
        Ok(())
    }

    /// What was thrown away.
    fn trash(&mut self) {
        let app = self.app;
        for path in [app.paths.trash(), app.paths.data_trash()].iter().flat_map(|trash| children(trash)) {
            match if self.dry { Ok(()) } else { remove_anyhow(app, &path) } {
                Ok(()) => self.removed("trash", path, "it was thrown away"),
                Err(error) => app.ui.detail(&format!("{error:#}")),
            }
        }
        crash::point("gc.trash");
    }

    /// What is kept of the past, for its time.
    fn records(&mut self) {
        let (app, paths) = (self.app, &self.app.paths);
        let temporary = |path: &PathBuf| path.file_name().is_some_and(disk::is_temporary) && is_older(app, path, HOUR);
        for folder in [paths.leases(), paths.receipts(), paths.pins(), paths.identities()] {
            self.remove_files("draft", children(&folder).into_iter().filter(temporary), "its maker is dead");
        }
        let unnamed = app.pins().unnamed().unwrap_or_default();
        let unnamed = unnamed.into_iter().filter(|path| is_older(app, path, DAY));
        self.remove_files("identity", unnamed, "nothing here names it");
        if !self.steady {
            return;
        }
        let is_old = |path: &PathBuf| is_older(app, path, RECORDS);
        // Without the first a copy is taken for the developer's own files, and stays.
        let kinds = [
            ("draft", paths.all_copies()),
            ("draft", paths.all_publications()),
            ("receipt", paths.receipts()),
            ("log", paths.logs()),
        ];
        for (kind, folder) in kinds {
            self.remove_files(kind, children(&folder).into_iter().filter(is_old), "it is older than 30 days");
        }
        for path in children(&paths.quarantine()).into_iter().filter(is_old) {
            if self.dry || remove_anyhow(app, &path).is_ok() {
                self.removed("trash", path, "it was damaged, and is older than 30 days");
            }
        }
        match expire_artifacts(app, self.dry) {
            Ok(expired) => expired.artifacts.into_iter().for_each(|path| {
                self.removed("artifact", path, "it was kept as long as artifacts.keep says");
            }),
            Err(error) => app.ui.detail(&format!("{error:#}")),
        }
    }

    /// What the caches hold beyond their limits.
    fn caches(&mut self) {
        let configured = caches::configured(self.app);
        let max_age = configured.max_age.filter(|_| self.steady);
        let rules = caches::Rules { dry_run: self.dry, max_age, ..configured };
        // What a runtime that is being started needs is not known yet: next time.
        match caches::tend(self.app, &rules, false) {
            Ok(gone) => {
                for one in gone.into_iter().flatten() {
                    self.removed(one.kind, self.app.paths.cache().join(one.key.hex()), one.why);
                }
            }
            Err(error) => self.app.ui.detail(&format!("{error:#}")),
        }
    }

    /// Folders in which no workspace lies any more, and locks that nobody holds.
    fn empty(&self) {
        if self.dry {
            return;
        }
        let paths = &self.app.paths;
        // Whoever makes a workspace shares it from before the folder is made.
        if let Ok(Some(_caches)) = FileLock::attempt(&paths.cache_lock("trees")) {
            for repository in children(&paths.workspaces()) {
                for folder in Paths::workspace_folders(&repository).iter().chain([&repository]) {
                    // Not unless it is empty.
                    let _ = fs::remove_dir(folder);
                }
            }
        }
        paths.locks().iter().for_each(|folder| lock::sweep(folder));
    }
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
        let folders = Paths::workspace_folders(&repository).into_iter().chain([repository]);
        all.extend(folders.map(|folder| (folder, ".envctl-draft-")));
    }
    all
}

/// Starts a collection in the background when the last one was long ago.
/// Costs one look at a file otherwise.
pub(crate) fn daily(app: &App) {
    if !pace::is_due(app) {
        return;
    }
    // First the mark, so that no other command starts one as well.
    let pace = Pace::now(app);
    if pace::note_begun(app, pace).is_ok() {
        runtime::in_background(|| {
            // Whoever uses a workspace next is told.
            if let Ok(done) = collect(app, Vec::new(), false, pace) {
                workspaces::note_swept(app, &done.removed, true);
            }
        });
    }
}
