//! The one way to a runtime, with somebody in front of it (`enter`) or nobody
//! (`run`): first everything that it needs is here, then what it is made of is
//! settled.
//!
//! What differs is what the callers do with it. A run leaves no claim and learns no
//! rates: both tell people about people who enter.

use std::path::PathBuf;

use anyhow::Result;

use super::gather::{MadeWorkspace, gather, is_first};
use super::hydrate::Renew;
use super::services::service_images;
use crate::cache::Record;
use crate::config::Project;
use crate::disk::lock::{FileLock, SharedLock};
use crate::handoff::app::App;
use crate::handoff::caches::{Caches, EarlyTree};
use crate::handoff::report::Report;
use crate::handoff::runtimes::{Preparation, RuntimeOptions, RuntimeParts, ServiceImages};
use crate::handoff::task::{Resolved, Source};
use crate::handoff::workspaces::Place;
use crate::handoff::{caches, runtimes};
use crate::image::{Image, Pulled};
use crate::runtime::Spec;

/// What a task's runtimes need, and is here.
pub(crate) struct Prepared {
    pub(crate) image: Image,
    pub(crate) pulled: Pulled,
    pub(crate) workspace: MadeWorkspace,
    pub(crate) caches: KeptCaches,
}

/// Keeps the caches as they are until the first lease is written.
pub(crate) struct KeptCaches {
    lock: SharedLock,
    /// Trees that came beside the image.
    early: Vec<EarlyTree>,
}

impl KeptCaches {
    /// Waits until nobody removes anything.
    ///
    /// # Errors
    /// When there are no locks here.
    pub(crate) fn wait(app: &App) -> Result<Self> {
        Ok(KeptCaches { lock: caches::keep(app)?, early: Vec::new() })
    }
}

/// What a runtime is put together from.
#[derive(Clone, Copy)]
pub(crate) struct Ingredients<'a> {
    pub(crate) resolved: &'a Resolved,
    pub(crate) place: &'a Place,
    pub(crate) image: &'a Image,
    pub(crate) pulled: &'a Pulled,
}

/// What is wanted of a runtime beyond what its project says.
pub(crate) struct Wishes<'a> {
    pub(crate) runtime: &'a RuntimeOptions,
    /// Caches are copied into the workspace.
    pub(crate) materialize: bool,
    /// The nearest entry of a cache does where the right one cannot be had.
    pub(crate) nearest: bool,
    /// The folder of the task's evidence.
    pub(crate) artifacts: Option<PathBuf>,
}

/// A runtime that can be started.
pub(crate) struct Ready {
    pub(crate) spec: Spec,
    /// What runs in it before anybody's command.
    pub(crate) preparation: Preparation,
    /// The trees that it is given.
    pub(crate) records: Vec<Record>,
    /// Held until its lease is written.
    pub(crate) locks: (SharedLock, Option<FileLock>),
}

/// Brings the image and the workspace here.
///
/// # Errors
/// When something cannot be had; nothing half-made stays.
pub(crate) fn prepare(
    source: &Source<'_>,
    resolved: &Resolved,
    place: &Place,
    (renew, runtime): (Renew, &RuntimeOptions),
    report: &mut Report,
) -> Result<Prepared> {
    let app = source.app;
    if is_first(resolved) {
        caches::make_room(app);
    }
    let mut kept = KeptCaches::wait(app)?;
    let (image, pulled, workspace, early) = gather(source, resolved, place, (renew, runtime), report)?;
    kept.early = early;
    report.cache.misses += pulled.fetched;
    report.cache.hits += pulled.records.len() - pulled.fetched;
    Ok(Prepared { image, pulled, workspace, caches: kept })
}

/// Asks for what the project wants, makes its caches, and settles what the runtime
/// is. The threads of the source's connections have ended by then: pid 1 is a copy
/// of one thread.
///
/// # Errors
/// When something is not approved, or cannot be made.
pub(crate) fn ready(
    source: Source<'_>,
    of: Ingredients<'_>,
    kept: KeptCaches,
    wishes: &Wishes<'_>,
    report: &mut Report,
) -> Result<Ready> {
    let app = source.app;
    let Ingredients { resolved, image, pulled, .. } = of;
    let workspace = &of.place.path;
    let project = app.project(workspace)?;
    // Setups that run after all are asked for by themselves.
    let asking = Project { cache: Vec::new(), ..project.clone() };
    let agreed = runtimes::approve(app, resolved, asking, wishes.runtime)?;
    let cache = if wishes.runtime.no_caches { Vec::new() } else { project.cache };
    let project = Project { cache, ..agreed };
    let mut wanted = Caches::new(app, resolved, pulled, workspace, &project)?;
    wanted.have_come(kept.early);
    wanted.may_be_near(wishes.nearest);
    wanted.fetch(&source, report)?;
    let images = match wishes.runtime.no_services {
        true => ServiceImages::new(),
        false => report.step("fetch.services", || Ok((service_images(&source, resolved, &project, pulled)?, 0)))?,
    };
    drop(source);
    wanted.seal(image, report)?;
    let mounts = wanted.hydrate(wishes.materialize, report)?;
    let parts = RuntimeParts { resolved, image, pulled, folder: workspace, project: &project, options: wishes.runtime };
    let mut spec = runtimes::spec(app, parts)?;
    (spec.rootfs.trees, spec.made) = (mounts.mounts, mounts.made);
    spec.rootfs.aliases = images.keys().cloned().collect();
    if !wishes.runtime.no_services {
        spec.services = runtimes::services(app, &project, pulled, &images)?;
    }
    spec.rootfs.artifacts.clone_from(&wishes.artifacts);
    let prepares = !project.runtime.once.is_empty();
    let pin = if prepares { app.pins().read(&resolved.task, of.place.into())? } else { None };
    let preparation = Preparation::of(&project.runtime, pin.as_ref());
    Ok(Ready { spec, preparation, records: mounts.records, locks: (kept.lock, mounts.places) })
}
