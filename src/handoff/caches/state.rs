//! The caches of one runtime, as far as they have come, and what nobody waits for
//! once it has them.

use std::path::Path;

use anyhow::Result;

use super::wanted::Wanted;
use crate::archive::{Owned, Ownership, TreeSummary};
use crate::cache::{Record, Scope, TreeDraft, Trees};
use crate::config::Project;
use crate::digest::Digest;
use crate::disk;
use crate::disk::lock::SharedLock;
use crate::handoff::app::App;
use crate::handoff::report::CacheOrigin;
use crate::handoff::runtimes::Mapped;
use crate::handoff::task::{Pin, Resolved};
use crate::handoff::trust::Checkout;
use crate::handoff::workspaces::Place;
use crate::handoff::{runtimes, workspaces};
use crate::identity::RepoUrl;
use crate::image::Pulled;
use crate::runtime::Receipt;
use crate::ui::counted;

/// The caches of one runtime.
pub(crate) struct Caches<'a> {
    pub(super) app: &'a App,
    pub(super) resolved: &'a Resolved,
    pub(super) project: &'a Project,
    pub(super) pulled: &'a Pulled,
    pub(super) workspace: &'a Path,
    pub(super) trees: Trees,
    pub(super) holder: Mapped,
    pub(super) wanted: Vec<Wanted>,
    pub(super) found: Vec<Option<(Record, CacheOrigin)>>,
    /// The nearest entry is used where the right one cannot be had.
    pub(super) near: bool,
    /// What arrived with the image.
    pub(super) early: Vec<EarlyTree>,
}

impl Caches<'_> {
    pub(super) fn scopes(&self) -> [Scope; 2] {
        scopes(self.resolved)
    }
}

/// Content that has arrived, and whose owners are not settled yet: who the
/// image's user is may not be known.
pub(crate) struct EarlyTree {
    pub(super) key: Digest,
    pub(super) draft: TreeDraft,
    pub(super) owned: Vec<Vec<Owned>>,
    pub(super) record: Record,
    pub(super) expected: Option<TreeSummary>,
    pub(super) bytes: u64,
}

/// The trees of a mapping.
pub(crate) fn trees(app: &App, holder: &dyn Ownership) -> Result<Trees> {
    Ok(Trees::new(app.paths.trees(&holder.key()), app.paths.cache().to_owned(), disk::boot_id()?))
}

/// In whose trust a task's entries may have been sealed, nearest first.
pub(crate) fn scopes(resolved: &Resolved) -> [Scope; 2] {
    // Each run of a checkout is an identity of its own; a space is in no task ID.
    // Any folder may say that it has the same remote.
    let checkout = |checkout: &Checkout| name_of(&resolved.identity.repo.url, &checkout.folder);
    let task = resolved.local.as_ref().map_or_else(|| resolved.task.slug(), checkout);
    scopes_of(&resolved.task.store.to_string(), &task)
}

/// The checkout at a folder, as the name of a task.
pub(super) fn name_of(url: &RepoUrl, folder: &str) -> String {
    format!("checkout of {} {}", url.key(), Digest::of(folder.as_bytes()).hex())
}

pub(crate) fn scopes_of(store: &str, task: &str) -> [Scope; 2] {
    [Scope::Task(format!("{store}:{task}")), Scope::Project(store.to_owned())]
}

/// Keeps entries from being removed, until it is dropped.
pub(crate) fn keep(app: &App) -> Result<SharedLock> {
    SharedLock::acquire(&app.paths.cache_lock("trees"), || {
        app.ui.status("Waiting", "another envctl removes old cache entries");
    })
}

pub(super) fn waiting(app: &App, name: &str) {
    app.ui.status("Waiting", &format!("another envctl is making the cache {name}"));
}

/// Makes what was sealed or fetched outlive a power loss, and notes what the
/// image's layers hold. Losing it costs time.
pub(crate) fn flush(app: &App, pulled: &Pulled, records: &[Record]) {
    let holder = runtimes::holder(app, &pulled.user);
    if let Ok(trees) = trees(app, &holder) {
        let _ = trees.flush(records);
    }
    let diff_ids: Vec<Digest> = pulled.records.iter().map(|record| record.diff_id).collect();
    let _ = pulled.layers.note_content(&diff_ids, &holder);
}

/// The entries that a workspace is given, where that is news.
pub(crate) fn given(resolved: &Resolved, records: &[Record]) -> Option<Vec<String>> {
    let names: Vec<String> = records.iter().map(Trees::name).collect();
    let known = resolved.pin.as_ref().map_or(&[][..], |pin| &pin.trees);
    (known != names).then_some(names)
}

/// Remembers them: they stay as long as the workspace does.
pub(crate) fn note_given(app: &App, resolved: &Resolved, place: &Place, names: Option<Vec<String>>) {
    let Some(names) = names else { return };
    let note = || -> Result<()> {
        let _lock = workspaces::lock(app, resolved, &place.path)?;
        if let Some(pin) = app.pins().read(&resolved.task, place.into())? {
            app.pins().write(&resolved.task, place.into(), &Pin { trees: names, ..pin })?;
        }
        Ok(())
    };
    let _ = note();
}

/// Where compilers keep what they made, by content: they write there in every run.
const COMPILED: [&str; 3] = ["~/.cache/go-build", "~/.cache/ccache", "~/.cache/sccache"];

/// Says what was written into caches and went with the runtime: one line. What a
/// tool builds is written there in every run.
pub(crate) fn tell_gone(app: &App, receipt: &Receipt, records: &[Record]) {
    let compiles = |path: &str| path.split(", ").any(|place| COMPILED.contains(&place));
    let is_built = |name: &str| {
        let mut named = records.iter().map(|record| &record.components).filter(|made| made.name == name);
        named.any(|made| made.built || compiles(&made.path))
    };
    let changed = receipt.caches.iter().filter(|changed| !is_built(&changed.name));
    let gone: Vec<String> = changed
        .filter_map(|changed| Some((changed.entries.filter(|count| *count > 0)?, &changed.name)))
        .map(|(count, name)| format!("{} in the cache {name}", counted(count, "change", "changes")))
        .collect();
    if !gone.is_empty() {
        app.ui.status(
            "Gone",
            &format!("{}: to keep it, add it to the inputs of the cache, such as a lockfile", gone.join(", ")),
        );
    }
}
