//! Looking at one identity.

use anyhow::Result;
use serde::Serialize;

use crate::error::unreachable;
use crate::handoff::app::App;
use crate::handoff::evidence::{MOST, find};
use crate::handoff::fetch;
use crate::handoff::prepare::Plan;
use crate::handoff::report::Beside;
use crate::handoff::task::{Resolved, Sight, Source, beside, from_store, resolve_here};
use crate::handoff::workspaces::Place;
use crate::handoff::{evidence, prepare, task};
use crate::identity::{Claim, Identity, Lifetime, Provenance, Target, TaskRef};
use crate::snapshot::{Document, LeftOut};
use crate::store::identity_tag;

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
    /// What its snapshot says; `None` when that could not be had.
    pub holds: Option<Holds>,
    /// The names of its artifacts; `None` when they could not be had.
    pub artifacts: Option<Vec<String>>,
    /// How many of them were left out, at least.
    pub artifacts_skipped: usize,
}

/// What the document of a snapshot says, without the contents.
#[derive(Debug, Serialize)]
pub struct Holds {
    /// The commit of the remote that it goes on from.
    pub base: String,
    /// How many commits it has above that.
    pub commits: usize,
    /// What git has in progress: `merge`, `rebase` and the like.
    pub operations: Vec<&'static str>,
    /// What stayed behind where it was published.
    pub left_behind: Vec<LeftOut>,
}

impl Holds {
    fn of(document: Document) -> Self {
        Holds {
            base: document.base.to_string(),
            commits: document.commits.len(),
            operations: document.operation.as_ref().map_or_else(Vec::new, |operation| operation.kinds()),
            left_behind: document.left_out,
        }
    }
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
    let artifacts = described(&source, &resolved, asked && source.is_folder());
    let artifacts = artifacts.map_err(|error| app.ui.detail(&format!("artifacts could not be had: {error:#}"))).ok();
    let shown = shown(app, &source, resolved, asked)?;
    let artifacts_skipped = artifacts.as_ref().map_or(0, |described| described.skipped);
    let named = |all: Described| all.artifacts.into_iter().map(|one| one.path.unwrap_or(one.name)).collect();
    Ok(Shown { artifacts: artifacts.map(named), artifacts_skipped, ..shown })
}

/// The same of what was settled; `asked`: its store has answered.
///
/// # Errors
/// When what is here cannot be read, or the store does not answer any more.
pub(super) fn shown(app: &App, source: &Source<'_>, resolved: Resolved, asked: bool) -> Result<Shown> {
    // Where a folder has to be named there is no place yet.
    let place = Place::of(app, &resolved, None, None);
    let place = place.or_else(|_| Place::of(app, &resolved, None, Some(Lifetime::PerTask)))?;
    let here = prepare::plan(app, &resolved, &place.path, true, None)?;
    // A store that did not answer is not asked again.
    let claims = if asked { task::other_claims(source, &resolved).unwrap_or_default() } else { Vec::new() };
    let beside = if asked { beside(app, source.store()?, &source.task, &resolved.digest)? } else { Vec::new() };
    let older = resolved.pin.as_ref().filter(|pin| !pin.holds(&resolved.digest) && pin.workspace.exists());
    let older = older.map(|pin| Older {
        identity: pin.identity.to_string(),
        pinned_at: pin.pinned_at,
        workspace: pin.workspace.display().to_string(),
    });
    // On a registry each would be a request more.
    let document = fetch::document(source, &resolved, asked && source.is_folder());
    let document = document.unwrap_or_else(|error| {
        app.ui.warn(&format!("the snapshot could not be looked at: {error:#}"));
        None
    });
    Ok(Shown {
        holds: document.map(Holds::of),
        artifacts: None,
        artifacts_skipped: 0,
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
        task::note_looks(app, [Sight::of(&located, digest, &identity)]);
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
        return Ok((resolve_here(source)?, false));
    }
    let error = match from_store() {
        Ok(resolved) => return Ok((resolved, true)),
        Err(error) => error,
    };
    if pin.is_some() {
        app.ui.warn(&format!("this is what was known here last: {error:#}"));
        return Ok((resolve_here(source)?, false));
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

/// What the artifacts of an identity say about themselves.
#[derive(Debug, Default)]
pub(super) struct Described {
    /// Oldest first.
    pub(super) artifacts: Vec<Provenance>,
    /// How many were left out, at least.
    pub(super) skipped: usize,
}

/// The artifacts of an identity, from the store; where it does not answer, those of which
/// there are copies here.
pub(super) fn described(source: &Source<'_>, resolved: &Resolved, asked: bool) -> Result<Described> {
    let app = source.app;
    if !asked {
        let kept = evidence::kept(app, &resolved.digest);
        if kept.is_empty() {
            return Err(unreachable("the store was not asked, and there are no copies of them here").into());
        }
        return Ok(Described { artifacts: kept, skipped: 0 });
    }
    let store = source.store()?;
    let manifest = store.resolve(&identity_tag(&resolved.digest))?;
    let found = manifest.map(|manifest| find(app, store, &manifest.digest, MOST)).transpose()?.unwrap_or_default();
    let skipped = found.left_out();
    let artifacts = found.attachments.into_iter().map(|attachment| attachment.provenance).collect();
    Ok(Described { artifacts, skipped })
}

#[cfg(test)]
impl Shown {
    /// One that is nowhere.
    pub(super) fn sample(identity: Identity) -> Self {
        let here = Plan {
            task: "oci:/s:t".into(),
            identity: String::new(),
            pinned_at: None,
            workspace: String::new(),
            workspace_ready: false,
            image: String::new(),
            parts: Vec::new(),
            layers_missing: None,
            bytes_missing: None,
            warm: false,
            expected_seconds: None,
        };
        let (beside, claims) = (Vec::new(), Vec::new());
        Shown {
            task: "oci:/s:t".into(),
            digest: String::new(),
            identity,
            here,
            older: None,
            beside,
            claims,
            holds: None,
            artifacts: None,
            artifacts_skipped: 0,
        }
    }
}
