//! The caches of one runtime, as far as they have come.

use std::path::Path;

use anyhow::Result;

use super::wanted::Wanted;
use crate::archive::{Owned, Summary};
use crate::cache::{Draft, Holder, Record, Scope, Trees};
use crate::config::Project;
use crate::digest::Digest;
use crate::disk;
use crate::disk::lock::SharedLock;
use crate::handoff::app::App;
use crate::handoff::report::Found;
use crate::handoff::runtimes::Mapped;
use crate::handoff::task::Resolved;
use crate::handoff::trust::Checkout;
use crate::image::Pulled;

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
    pub(super) found: Vec<Option<(Record, Found)>>,
    /// What arrived with the image.
    pub(super) early: Vec<Arrived>,
}

impl Caches<'_> {
    pub(super) fn scopes(&self) -> [Scope; 2] {
        scopes(self.resolved)
    }
}

/// Content that has arrived, and whose owners are not settled yet: who the
/// image's user is may not be known.
pub(crate) struct Arrived {
    pub(super) key: Digest,
    pub(super) draft: Draft,
    pub(super) owned: Vec<Vec<Owned>>,
    pub(super) record: Record,
    pub(super) expected: Option<Summary>,
    pub(super) bytes: u64,
}

/// The trees of a mapping.
pub(crate) fn trees(app: &App, holder: &dyn Holder) -> Result<Trees> {
    Ok(Trees::new(app.paths.trees(&holder.key()), app.paths.cache().to_owned(), disk::boot_id()?))
}

/// In whose trust a task's entries may have been sealed, nearest first.
pub(crate) fn scopes(resolved: &Resolved) -> [Scope; 2] {
    // Each run of a checkout is an identity of its own; a space is in no task ID.
    // Any folder may say that it has the same remote.
    let checkout = |checkout: &Checkout| {
        format!("checkout of {} {}", resolved.identity.repo.url.key(), Digest::of(checkout.folder.as_bytes()).hex())
    };
    let task = resolved.local.as_ref().map_or_else(|| resolved.task.slug(), checkout);
    scopes_of(&resolved.task.store.to_string(), &task)
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
