//! Looking: one identity, and what exists on this machine.

use anyhow::Result;
use serde::Serialize;

use super::beside::{Beside, beside};
use super::context::Context;
use super::plan::{self, Plan};
use super::resolve::{Resolved, from_store, resolve};
use super::source::Source;
use super::{claim, place::Place, rules::WorkspaceRow, rules::workspaces};
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
    /// Other lines of the task, which its own does not go on from.
    pub beside: Vec<Beside>,
    /// Others who entered the task lately, newest first, as far as they left
    /// word.
    pub claims: Vec<Claim>,
}

/// Shows a task as the store has it; offline, or without the store, as it is
/// pinned here.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when there is no such task.
pub fn show(ctx: &Context, reference: &TaskRef) -> Result<Shown> {
    let source = Source::new(ctx, ctx.locate(reference)?);
    let (resolved, asked) = current(ctx, &source)?;
    // Where a folder has to be named there is no place yet.
    let place = Place::of(ctx, &resolved, None, None);
    let place = place.or_else(|_| Place::of(ctx, &resolved, None, Some(Lifetime::PerTask)))?;
    let here = plan::plan(ctx, &resolved, &place.path, true, None)?;
    // A store that did not answer is not asked again.
    let claims = if asked { claim::others(&source, &resolved).unwrap_or_default() } else { Vec::new() };
    let beside = if asked { beside(ctx, source.store()?, &source.task, &resolved.digest)? } else { Vec::new() };
    Ok(Shown {
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
pub(super) fn current(ctx: &Context, source: &Source<'_>) -> Result<(Resolved, bool)> {
    let task = source.task.clone();
    let pin = ctx.pins().read(&task, None)?;
    let from_store = || -> Result<Resolved> {
        let (_, artifact, identity) = from_store(source.store()?, &task)?;
        let digest = crate::digest::Digest::of(&artifact.identity);
        Ok(Resolved { task: task.clone(), digest, identity, pin: pin.clone(), pinned_at: ctx.clock.now(), local: None })
    };
    if ctx.options.offline && pin.is_some() {
        return Ok((resolve(source, None, false)?, false));
    }
    let error = match from_store() {
        Ok(resolved) => return Ok((resolved, true)),
        Err(error) => error,
    };
    if pin.is_some() {
        ctx.ui.warn(&format!("taken as it is pinned here: {error:#}"));
        return Ok((resolve(source, None, false)?, false));
    }
    // An identity is the same wherever its bytes come from.
    if let Target::Identity(digest) = task.target
        && let Some(identity) = ctx.pins().identity(&digest)?
    {
        ctx.ui.detail(&format!("taken from this machine: {error:#}"));
        return Ok((Resolved { task, digest, identity, pin: None, pinned_at: ctx.clock.now(), local: None }, false));
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
}

/// Looks at this machine.
///
/// # Errors
/// When the state cannot be read.
pub fn status(ctx: &Context) -> Result<StatusView> {
    Ok(StatusView { leases: ctx.runtimes().live()?, workspaces: workspaces(ctx)? })
}
