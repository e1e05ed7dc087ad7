//! Looking: one identity, and what exists on this machine.

use anyhow::Result;
use serde::Serialize;

use crate::handoff::app::App;
use crate::handoff::prepare::Plan;
use crate::handoff::report::Beside;
use crate::handoff::task::{Resolved, Source, beside, from_store, resolve};
use crate::handoff::workspaces::{Place, SalvageRow, WorkspaceRow};
use crate::handoff::{prepare, task, workspaces};
use crate::identity::{Claim, Identity, Lifetime, Target, TaskRef};
use crate::runtime::Lease;

/// An identity, and what it resolves to here.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// The task as it can be named from anywhere.
    pub task: String,
    /// The identity's digest.
    pub digest: String,
    /// The document.
    pub identity: Identity,
    /// What is here.
    pub here: Plan,
    /// The workspace that is here and holds an older identity; `enter` carries on in it.
    pub older: Option<Older>,
    /// Other lines of the task, which its own does not go on from.
    pub beside: Vec<Beside>,
    /// Others who entered the task lately, newest first, as far as they left
    /// word.
    pub claims: Vec<Claim>,
}

/// A workspace of another identity than the store has.
#[derive(Debug, Serialize)]
pub struct Older {
    /// The identity that it was made from.
    pub identity: String,
    /// When that was entered.
    pub pinned_at: jiff::Timestamp,
    /// Where it is.
    pub workspace: String,
}

/// Shows a task as the store has it; offline, or without the store, as it is
/// pinned here.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when there is no such task.
pub fn show(app: &App, reference: &TaskRef) -> Result<Shown> {
    let source = Source::new(app, app.locate(reference)?);
    let (resolved, asked) = current(app, &source)?;
    // Where a folder has to be named there is no place yet.
    let place = Place::of(app, &resolved, None, None);
    let place = place.or_else(|_| Place::of(app, &resolved, None, Some(Lifetime::PerTask)))?;
    let here = prepare::plan(app, &resolved, &place.path, true, None)?;
    // A store that did not answer is not asked again.
    let claims = if asked { task::other_claims(&source, &resolved).unwrap_or_default() } else { Vec::new() };
    let beside = if asked { beside(app, source.store()?, &source.task, &resolved.digest)? } else { Vec::new() };
    let older = resolved.pin.as_ref().filter(|pin| !pin.holds(&resolved.digest) && pin.workspace.exists());
    let older = older.map(|pin| Older {
        identity: pin.identity.to_string(),
        pinned_at: pin.pinned_at,
        workspace: pin.workspace.display().to_string(),
    });
    Ok(Shown {
        older,
        task: source.task.reference(),
        digest: resolved.digest.to_string(),
        identity: resolved.identity,
        here,
        beside,
        claims,
    })
}

/// A task as the store has it; offline, or without the store, as it is pinned
/// here. The second value is whether the store has answered.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when there is no such task.
pub(crate) fn current(app: &App, source: &Source<'_>) -> Result<(Resolved, bool)> {
    let located = source.task.clone();
    let pin = app.pins().read(&located, None)?;
    let from_store = || -> Result<Resolved> {
        let (_, artifact, identity) = from_store(source.store()?, &located)?;
        let digest = crate::digest::Digest::of(&artifact.identity);
        task::note_look(app, &located, digest, &identity);
        Ok(Resolved {
            task: located.clone(),
            digest,
            identity,
            pin: pin.clone(),
            pinned_at: app.clock.now(),
            local: None,
        })
    };
    if app.options.offline && pin.is_some() {
        return Ok((resolve(source, None, false)?, false));
    }
    let error = match from_store() {
        Ok(resolved) => return Ok((resolved, true)),
        Err(error) => error,
    };
    if pin.is_some() {
        app.ui.warn(&format!("taken as it is pinned here: {error:#}"));
        return Ok((resolve(source, None, false)?, false));
    }
    // An identity is the same wherever its bytes come from.
    if let Target::Identity(digest) = located.target
        && let Some(identity) = app.pins().identity(&digest)?
    {
        app.ui.detail(&format!("taken from this machine: {error:#}"));
        let (task, pinned_at) = (located, app.clock.now());
        return Ok((Resolved { task, digest, identity, pin: None, pinned_at, local: None }, false));
    }
    Err(error)
}

/// What exists on this machine.
#[derive(Debug, Serialize)]
pub struct StatusView {
    /// Live runtimes.
    pub leases: Vec<Lease>,
    /// Workspaces.
    pub workspaces: Vec<WorkspaceRow>,
    /// What was set aside, newest first.
    pub salvages: Vec<SalvageRow>,
    /// Workspaces whose folder was removed by somebody else, by task.
    pub gone: Vec<String>,
}

/// Looks at this machine.
///
/// # Errors
/// When the state cannot be read.
pub fn status(app: &App) -> Result<StatusView> {
    workspaces::tell_swept(app);
    let gone = app.pins().all()?.into_iter().filter(|pin| !pin.workspace.exists());
    let gone = gone.map(|pin| format!("{} at {}", pin.name(), pin.workspace.display())).collect();
    let (leases, workspaces) = (app.runtimes().live()?, workspaces::workspaces(app)?);
    Ok(StatusView { leases, workspaces, salvages: workspaces::salvages(app)?, gone })
}
