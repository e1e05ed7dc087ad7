//! Looking: one identity, the tasks of a store, what exists on this machine.

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use super::context::Context;
use super::plan::{self, Plan};
use super::resolve::{Resolved, from_store, resolve};
use super::source::Source;
use super::{hydrate, pin::Pin};
use crate::identity::{Identity, Status, StoreRef, Target, TaskId, TaskRef};
use crate::runtime::Lease;
use crate::store::Access;

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
}

/// Shows a task as the store has it; offline, or without the store, as it is
/// pinned here.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when there is no such task.
pub fn show(ctx: &Context, reference: &TaskRef) -> Result<Shown> {
    let task = ctx.locate(reference)?;
    let pin = ctx.pins().read(&task, None)?;
    let source = Source::new(ctx, task.clone());
    let from_store = || -> Result<Resolved> {
        let (_, artifact, identity) = from_store(source.store()?, &task)?;
        let digest = crate::digest::Digest::of(&artifact.identity);
        Ok(Resolved { task: task.clone(), digest, identity, pin: pin.clone(), pinned_at: ctx.clock.now() })
    };
    let resolved = if ctx.options.offline && pin.is_some() {
        resolve(&source, None, false)?
    } else {
        match from_store() {
            Ok(resolved) => resolved,
            Err(error) if pin.is_some() => {
                ctx.ui.warn(&format!("shown as it is pinned here: {error:#}"));
                resolve(&source, None, false)?
            }
            Err(error) => return Err(error),
        }
    };
    let place = hydrate::place(ctx, &resolved, None);
    let here = plan::plan(ctx, &resolved, &place, true, None)?;
    Ok(Shown { task: task.reference(), digest: resolved.digest.to_string(), identity: resolved.identity, here })
}

/// A task of a store.
#[derive(Clone, Debug, Serialize)]
pub struct TaskRow {
    /// Its ID.
    pub task: TaskId,
    /// Digest of the identity that it points at.
    pub identity: String,
    /// When that was published.
    pub created_at: Timestamp,
    /// By whom.
    pub agent: Option<String>,
    /// The state of the work.
    pub status: Status,
    /// In the publisher's words.
    pub message: Option<String>,
}

/// The tasks of a store, newest first.
///
/// # Errors
/// When the store cannot be read.
pub fn tasks(ctx: &Context, needs_human: bool) -> Result<(StoreRef, Vec<TaskRow>)> {
    let name = ctx.store()?;
    let store = ctx.open(&name, Access::Read)?;
    let mut rows = Vec::new();
    for (tag, _) in store.tags()? {
        // Other tags of the store are no tasks.
        let Ok(id) = tag.parse::<TaskId>() else { continue };
        let located = super::context::Located { store: name.clone(), target: Target::Task(id.clone()) };
        match from_store(&*store, &located) {
            Ok((_, artifact, identity)) => rows.push(TaskRow {
                task: id,
                identity: crate::digest::Digest::of(&artifact.identity).to_string(),
                created_at: identity.created_at,
                agent: identity.agent_identity,
                status: identity.handoff.status,
                message: identity.handoff.message,
            }),
            Err(error) => ctx.ui.detail(&format!("{tag} is left out: {error:#}")),
        }
    }
    rows.retain(|row| !needs_human || row.status == Status::NeedsHuman);
    rows.sort_by(|a, b| (b.created_at, &a.task.as_str()).cmp(&(a.created_at, &b.task.as_str())));
    Ok((name, rows))
}

/// A workspace on this machine.
#[derive(Clone, Debug, Serialize)]
pub struct WorkspaceRow {
    /// The task, or the identity.
    pub task: String,
    /// Its store.
    pub store: String,
    /// Digest of the identity.
    pub identity: String,
    /// When it was pinned.
    pub pinned_at: Timestamp,
    /// Where it is.
    pub path: String,
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
    let row = |pin: Pin| WorkspaceRow {
        task: pin.slug,
        store: pin.store,
        identity: pin.identity.to_string(),
        pinned_at: pin.pinned_at,
        path: pin.workspace.display().to_string(),
    };
    let pins = ctx.pins().all()?;
    let workspaces = pins.into_iter().filter(|pin| pin.workspace.exists()).map(row).collect();
    Ok(StatusView { leases: ctx.runtimes().live()?, workspaces })
}
