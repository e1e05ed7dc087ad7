//! Everything that a runtime needs, made or found: the image and the
//! workspace.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;

use super::hydrate;
use super::hydrate::{Renew, Workspace};
use super::make_way::{Room, leave_old_place};
use crate::crash;
use crate::error::{failure, of_thread};
use crate::handoff::app::App;
use crate::handoff::caches::EarlyTree;
use crate::handoff::evidence::{artifacts_of, key_artifacts};
use crate::handoff::fetch::Here;
use crate::handoff::report::Report;
use crate::handoff::runtimes::RuntimeOptions;
use crate::handoff::task::{Pin, Resolved, Source, State, is_stopped, summary};
use crate::handoff::workspaces::{Place, occupy};
use crate::handoff::{caches, evidence, fetch, task, workspaces};
use crate::image::{Image, Pulled};
use crate::snapshot::Parity;
use crate::workspace;

/// What there is of a workspace, and whether it must still be flushed.
pub(crate) struct MadeWorkspace {
    pub(crate) parity: Option<Parity>,
    pub(crate) unflushed: bool,
    /// Where the workspace is now that was there before.
    pub(crate) aside: Option<PathBuf>,
    /// Keeps the workspace in its place until a runtime is live in it.
    pub(crate) in_use: Option<File>,
}

/// While this waited, or looked, the task's workspace became another identity's.
#[derive(Debug)]
struct Renewed;

impl fmt::Display for Renewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another envctl is renewing it again and again")
    }
}

impl std::error::Error for Renewed {}

/// Enters a task from the beginning whenever another process has just renewed
/// its workspace.
///
/// # Errors
/// Those of `enter`.
pub(crate) fn unless_renewed<T>(app: &App, mut enter: impl FnMut() -> Result<T>) -> Result<T> {
    for _ in 0..5 {
        match enter() {
            Err(error) if error.is::<Renewed>() => app.ui.detail("the workspace was renewed meanwhile; once more"),
            other => return other,
        }
    }
    enter()
}

/// The workspace of a task: carried on in, or made.
///
/// # Errors
/// With what stands in the way; nothing half-made stays.
pub(crate) fn make_workspace(
    source: &Source<'_>,
    resolved: &Resolved,
    place: &Place,
    renew: Renew,
    report: &mut Report,
) -> Result<MadeWorkspace> {
    let app = source.app;
    let locks = workspaces::lock(app, resolved, &place.path)?;
    // Another process may have made it while this one waited.
    let current = app.pins().read(&resolved.task, place.into())?;
    let before = current.clone();
    let by_now = current.as_ref().map(|pin| pin.identity);
    let renewed =
        by_now.is_some_and(|now| now != resolved.digest) && by_now != resolved.pin.as_ref().map(|pin| pin.identity);
    if renewed && renew == Renew::Never {
        return Err(anyhow::Error::new(Renewed)
            .context(failure(format!("{} belongs to another identity of this task by now", place.path.display()))));
    }
    let resolved = Resolved { pin: current, ..resolved.clone() };
    let found = hydrate::look(app, &resolved, &place.path, renew)?;
    if let Workspace::Taken(other) = &found {
        place.may_replace(app, other, &resolved.task.reference())?;
    }
    let mut made = match found {
        Workspace::Ready(pin) => {
            report.cache.hits += 1;
            app.ui.detail(&format!("the workspace is {}", place.path.display()));
            report.artifacts = artifacts_of(&pin).map(Path::to_owned);
            app.pins().touch(&pin, app.clock.now());
            MadeWorkspace { parity: pin.parity, unflushed: pin.unflushed_boot.is_some(), aside: None, in_use: None }
        }
        Workspace::Missing | Workspace::Stale(_) | Workspace::Taken(_) => {
            report.cache.misses += 1;
            let made = restore(source, &resolved, place, &found, report)?;
            leave_old_place(app, before.as_ref(), place, &locks);
            made
        }
    };
    made.in_use = occupy(&place.path);
    report.parity.clone_from(&made.parity);
    Ok(made)
}

/// Makes a workspace from the task's snapshot, in the place of what was `found` there.
fn restore(
    source: &Source<'_>,
    resolved: &Resolved,
    place: &Place,
    found: &Workspace,
    report: &mut Report,
) -> Result<MadeWorkspace> {
    let app = source.app;
    let snapshot = report.step("fetch.snapshot", || fetch::snapshot(source, resolved))?;
    crash::point("cold.snapshot");
    report.step("fetch.repo", || Ok(((), hydrate::fetch_repo(app, resolved, &snapshot.document)?)))?;
    crash::point("cold.fetched");
    let asked = Instant::now();
    let artifacts = key_artifacts(source, resolved);
    if let Some((_, bytes)) = &artifacts {
        report.note("fetch.artifacts", asked.elapsed(), *bytes);
    }
    let (ahead, state) = (!snapshot.document.commits.is_empty(), State::of(&snapshot.document));
    let mut room = Room::at(app, found, resolved, &place.path)?;
    let hydrated = report
        .step("hydrate.workspace", || Ok((hydrate::workspace(app, resolved, snapshot, &place.path, room.path())?, 0)));
    let hydrated = match hydrated {
        Ok(hydrated) => hydrated,
        Err(error) => return Err(room.give_back(app, error)),
    };
    let mut pin = Pin::new(&resolved.task, resolved.digest, resolved.pinned_at, place.path.clone(), place.lifetime);
    (pin.ahead, pin.state) = (ahead, Some(state));
    pin.parity = Some(hydrated.parity);
    pin.artifacts = artifacts.map(|(folder, _)| folder);
    report.artifacts = artifacts_of(&pin).map(Path::to_owned);
    pin.unflushed_boot = Some(crate::disk::boot_id()?);
    app.pins().write(&resolved.task, place.into(), &pin)?;
    crash::point("cold.pinned");
    let aside = room.settle(app)?;
    let at = place.path.display();
    app.ui.status("Restored", &format!("{} at {at}, equal to its snapshot", summary(resolved)));
    hydrated.restored.tell(app, &place.path);
    report.restored = Some(hydrated.restored);
    Ok(MadeWorkspace { parity: pin.parity, unflushed: true, aside, in_use: None })
}

/// The image and the workspace, at the same time where the image must be
/// pulled. What fails first stops the other.
pub(crate) fn gather(
    source: &Source<'_>,
    resolved: &Resolved,
    place: &Place,
    (renew, runtime): (Renew, &RuntimeOptions),
    report: &mut Report,
) -> Result<(Image, Pulled, MadeWorkspace, Vec<EarlyTree>)> {
    let start = Instant::now();
    let known = match fetch::image_here(source.app, resolved)? {
        Here::Whole(whole) => {
            report.note("fetch.image", start.elapsed(), 0);
            let (image, pulled) = *whole;
            let made = make_workspace(source, resolved, place, renew, report)?;
            caches::ask(source, resolved, &place.path, runtime)?;
            return Ok((image, pulled, made, Vec::new()));
        }
        Here::Documents(image) => Some(*image),
        Here::Nothing => None,
    };
    fetch::settle_image(source.app, resolved)?;
    std::thread::scope(|scope| {
        let pulling = scope.spawn(|| {
            let pulled = fetch::pull_image(source, resolved, known);
            if pulled.is_err() {
                source.stop();
            }
            (pulled, start.elapsed())
        });
        let coming = (!resolved.identity.caches.is_empty() && !runtime.no_caches)
            .then(|| scope.spawn(|| caches::early(source, resolved)));
        let made = make_workspace(source, resolved, place, renew, report);
        // While the image has only begun to come.
        let made = made.and_then(|made| caches::ask(source, resolved, &place.path, runtime).map(|()| made));
        if made.is_err() {
            source.stop();
        }
        let early = coming.map(|coming| of_thread(coming.join(), "the thread that fetches caches")).transpose()?;
        let (pulled, took) = of_thread(pulling.join(), "the thread that pulls the image")?;
        // Of two failures the one that stopped the other is told.
        let (image, pulled) = match (pulled, made.as_ref().err()) {
            (Err(error), Some(second)) if is_stopped(second) => return Err(error),
            (Err(_), Some(_)) => return Err(made.err().unwrap_or_else(|| failure("the workspace is missing").into())),
            (pulled, _) => pulled?,
        };
        report.note("fetch.image", took, pulled.bytes);
        Ok((image, pulled, made?, early.unwrap_or_default()))
    })
}

/// Whether this identity has not been entered here before.
pub(crate) fn is_first(resolved: &Resolved) -> bool {
    resolved.pin.as_ref().is_none_or(|pin| pin.identity != resolved.digest)
}

/// What nobody waits for: losing it costs time, or a courtesy.
pub(crate) fn afterwards(app: &App, resolved: &Resolved, place: &Place, pulled: Option<&Pulled>) {
    let _ = flush(app, resolved, place, pulled);
    if is_first(resolved) {
        let _ = hydrate::prove(app, resolved);
        let _ = evidence::flush(app);
        workspaces::empty_trash(app);
        let _ = task::leave_claim(app, resolved);
    }
}

/// Makes what was just written outlive a power loss, and notes that it does.
pub(crate) fn flush(app: &App, resolved: &Resolved, place: &Place, pulled: Option<&Pulled>) -> Result<()> {
    let into = place.into();
    let pin = app.pins().read(&resolved.task, into)?;
    if let Some(pin) = pin.filter(|pin| pin.unflushed_boot.is_some()) {
        workspace::flush(&pin.workspace)?;
        let _lock = workspaces::lock(app, resolved, &place.path)?;
        // Unless it was made anew meanwhile.
        if app.pins().read(&resolved.task, into)?.as_ref() == Some(&pin) {
            app.pins().write(&resolved.task, into, &Pin { unflushed_boot: None, ..pin })?;
        }
    }
    let Some(pulled) = pulled else { return Ok(()) };
    let diff_ids: Vec<_> = pulled.records.iter().map(|record| record.diff_id).collect();
    pulled.layers.flush(&diff_ids)
}
