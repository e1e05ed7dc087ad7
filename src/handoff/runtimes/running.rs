//! Live runtimes, from another terminal: joining them, and changing them.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::start::{self, Extras};
use super::tell::tell;
use crate::disk::{self};
use crate::error::{Fault, not_found, usage};
use crate::handoff::app::{App, StorePlace as _};
use crate::handoff::report::Report;
use crate::handoff::task::Resolved;
use crate::identity::TaskRef;
use crate::runtime::{self, Lease, PortRequest, Session, StdoutFile};

/// The runtimes of a task, or one of them.
#[derive(Clone, Copy, Debug)]
pub struct Running<'a> {
    /// Whose they are.
    pub task: &'a TaskRef,
    /// How the ID of the lease begins, where one is meant.
    pub lease: Option<&'a str>,
}

impl Running<'_> {
    /// Whether a lease is among those that are meant.
    pub(crate) fn means(&self, id: &str) -> bool {
        self.lease.is_none_or(|start| !start.is_empty() && id.starts_with(start))
    }

    /// That there is none.
    pub(crate) fn missing(&self) -> Fault {
        match self.lease {
            Some(id) => not_found(format!("{} has no running runtime with the lease {id}", self.task))
                .hint("envctl status shows the lease of each"),
            None => not_found(format!("{} has no running runtime", self.task))
                .hint(format!("start one with: envctl enter {}", self.task)),
        }
    }
}

/// The live runtimes that are meant. A task without a store is looked for by its
/// name in all of them.
///
/// # Errors
/// [`crate::error::Kind::Usage`] when the start of a lease's ID is that of several.
pub(crate) fn find(app: &App, running: Running<'_>) -> Result<Vec<Lease>> {
    let reference = running.task;
    let named = reference.store.clone().or_else(|| app.options.store.clone());
    let store = named.map(|store| store.placed(&app.cwd).to_string());
    let target = reference.target.to_string();
    let matches = |lease: &Lease| {
        (lease.task == target || lease.identity == target)
            && store.as_ref().is_none_or(|store| *store == lease.store)
            && running.means(&lease.id)
    };
    let found: Vec<Lease> = app.runtimes().live()?.into_iter().filter(matches).collect();
    match (running.lease, found.as_slice()) {
        (Some(id), [_, other, ..]) => Err(usage(format!("the leases of several runtimes begin with {id}"))
            .hint(format!("give more of it, such as {}", other.id))
            .into()),
        _ => Ok(found),
    }
}

/// Runs a command in a runtime that is alive; its exit code.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when there is no such runtime.
pub fn exec(app: &App, running: Running<'_>, command: &[OsString], extras: &Extras, report: &mut Report) -> Result<u8> {
    let lease = only(app, running)?;
    Ok(join(app, &lease, (command, extras), report)?.ok_or_else(|| runtime::ended(&lease))?)
}

/// Runs a command in this runtime; its exit code. `None` when the runtime has
/// just ended, and nothing was run.
///
/// # Errors
/// As [`runtime::join`].
pub(crate) fn join(
    app: &App,
    lease: &Lease,
    (command, extras): (&[OsString], &Extras),
    report: &mut Report,
) -> Result<Option<u8>> {
    report.schema = 1;
    report.task = reference(lease);
    report.identity = lease.identity.clone();
    report.workspace = lease.workspace.display().to_string();
    let start = Instant::now();
    let joined = runtime::join(&app.runtimes(), lease, &start::session(app, command, extras));
    if !matches!(joined, Ok(None)) {
        report.note("run", start.elapsed(), 0);
    }
    let Some(outcome) = joined? else { return Ok(None) };
    tell(app, &lease.task, &outcome);
    report.exit_code = Some(outcome.exit_code());
    Ok(report.exit_code)
}

/// Runs a command in this runtime whose standard output goes into a file; its exit code.
///
/// # Errors
/// As [`runtime::join`], and when the runtime has just ended.
pub(crate) fn print_into(
    app: &App,
    lease: &Lease,
    (command, extras): (&[OsString], &Extras),
    file: StdoutFile,
) -> Result<u8> {
    let session = Session { stdout: Some(file), ..start::session(app, command, extras) };
    let outcome = runtime::join(&app.runtimes(), lease, &session)?.ok_or_else(|| runtime::ended(lease))?;
    tell(app, &lease.task, &outcome);
    Ok(outcome.exit_code())
}

/// The task of a runtime as it can be named from anywhere.
fn reference(lease: &Lease) -> String {
    let sign = if lease.task.contains(':') { '@' } else { ':' };
    format!("{}{sign}{}", lease.store, lease.task)
}

/// The runtime that is running for exactly this: the same task, identity and
/// workspace; the newest, if there are several.
///
/// # Errors
/// When the state cannot be read.
pub(crate) fn running(app: &App, resolved: &Resolved, place: &Path) -> Result<Option<Lease>> {
    let place = disk::canonical(place);
    let (store, task) = (resolved.task.store.to_string(), resolved.task.target.to_string());
    let identity = resolved.digest.to_string();
    let same = |lease: &Lease| {
        let its = lease.store == store && lease.task == task && lease.identity == identity;
        its && lease.workspace == place && lease.setup.is_none()
    };
    let live = app.runtimes().live()?.into_iter().filter(same);
    Ok(live.max_by_key(|lease| (lease.started_at, lease.init.start)))
}

/// The one runtime that is meant; the newest of a task's. Those in which a setup
/// runs are nobody's to use.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when there is none.
pub(crate) fn only(app: &App, running: Running<'_>) -> Result<Lease> {
    let mut leases = find(app, running)?;
    leases.retain(|lease| lease.setup.is_none());
    leases.sort_by_key(|lease| (lease.started_at, lease.init.start));
    let Some(lease) = leases.pop() else {
        return Err(running.missing().into());
    };
    if let Some(other) = leases.iter().find(|other| other.store != lease.store) {
        return Err(usage(format!("several stores have a running {}", lease.task))
            .hint(format!("name the store, such as {}:{}", other.store, other.task))
            .into());
    }
    Ok(lease)
}

/// Gives a runtime more time, from its deadline on.
///
/// # Errors
/// When it has no deadline, or has just ended.
pub fn extend(app: &App, running: Running<'_>, more: Duration) -> Result<Lease> {
    let lease = only(app, running)?;
    if lease.deadline.is_none() {
        return Err(usage(format!("the runtime of {} has no deadline", lease.task))
            .hint("it lasts until it is left or reset")
            .into());
    }
    runtime::extend(&app.runtimes(), lease, more)
}

/// Publishes more ports of a runtime.
///
/// # Errors
/// When a port of the host that must be had is taken.
pub fn add_ports(app: &App, running: Running<'_>, ports: &[PortRequest]) -> Result<Lease> {
    let lease = only(app, running)?;
    runtime::add_ports(&app.runtimes(), lease, ports)
}

/// Publishes ports of a runtime no longer.
///
/// # Errors
/// When one is not published.
pub fn remove_ports(app: &App, running: Running<'_>, inside: &[u16]) -> Result<Lease> {
    let lease = only(app, running)?;
    runtime::remove_ports(&app.runtimes(), lease, inside)
}

/// The runtime of a task.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when there is none.
pub fn ports(app: &App, running: Running<'_>) -> Result<Lease> {
    only(app, running)
}
