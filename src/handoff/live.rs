//! Live runtimes: joining them, and ending them from another terminal.

use anyhow::Result;

use super::context::Context;
use super::enter::tell;
use super::report::Report;
use super::start;
use crate::error::{not_found, usage};
use crate::identity::TaskRef;
use crate::runtime::{self, Lease, Receipt};

/// The live runtimes that a reference means. A task without a store is looked
/// for by its name in all of them.
fn find(ctx: &Context, reference: &TaskRef) -> Result<Vec<Lease>> {
    let named = reference.store.clone().or_else(|| ctx.options.store.clone());
    let store = named.map(|store| store.absolute(&ctx.cwd).to_string());
    let target = reference.target.to_string();
    let matches = |lease: &Lease| {
        (lease.task == target || lease.identity == target) && store.as_ref().is_none_or(|store| *store == lease.store)
    };
    Ok(ctx.runtimes().live()?.into_iter().filter(matches).collect())
}

/// Runs a command in a runtime that is alive; its exit code.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when there is no such runtime.
pub fn exec(ctx: &Context, reference: &TaskRef, command: &[String], report: &mut Report) -> Result<u8> {
    let leases = find(ctx, reference)?;
    let newest = leases.iter().max_by_key(|lease| (lease.started_at, lease.init.start));
    let Some(lease) = newest else {
        return Err(not_found(format!("{reference} has no running runtime"))
            .hint(format!("start one with: envctl enter {reference}"))
            .into());
    };
    if let Some(other) = leases.iter().find(|other| other.store != lease.store) {
        return Err(usage(format!("several stores have a running {}", lease.task))
            .hint(format!("name the store, such as {}:{}", other.store, other.task))
            .into());
    }
    report.schema = 1;
    let sign = if lease.task.contains(':') { '@' } else { ':' };
    report.task = format!("{}{sign}{}", lease.store, lease.task);
    report.identity = lease.identity.clone();
    report.workspace = lease.workspace.display().to_string();
    let outcome = report.step("run", || Ok((runtime::join(lease, &start::session(ctx, command))?, 0)))?;
    tell(ctx, &lease.task, &outcome);
    report.exit_code = Some(outcome.exit_code());
    Ok(outcome.exit_code())
}

/// Ends the runtimes of a task, or all of them. `reaped` are the receipts of
/// those that this command found dead.
///
/// # Errors
/// When one cannot be ended.
pub fn reset(ctx: &Context, task: Option<&TaskRef>, reaped: Vec<Receipt>) -> Result<Vec<Receipt>> {
    let runtimes = ctx.runtimes();
    let (leases, mut receipts) = match task {
        Some(task) => {
            let target = task.target.to_string();
            let ours = |receipt: &Receipt| receipt.task == target || receipt.identity == target;
            (find(ctx, task)?, reaped.into_iter().filter(ours).collect())
        }
        None => (runtimes.live()?, reaped),
    };
    for lease in &leases {
        receipts.push(runtime::stop(&runtimes, lease, ctx.clock)?);
    }
    Ok(receipts)
}

/// A receipt for people.
pub fn receipts(receipt: &Receipt) -> Vec<String> {
    let count = |tally: &runtime::Tally, verb: &str, unit: &str| {
        let removed = tally.removed.map_or_else(|| "not counted".into(), |count| format!("{count}{unit} {verb}"));
        format!("{removed}, {} left", tally.left)
    };
    let scratch = match receipt.scratch.removed {
        Some(bytes) => format!("{} wiped", crate::ui::human_bytes(bytes)),
        None => "wiped".into(),
    };
    let mut lines = vec![
        format!("receipt    {} of {} ({})", receipt.lease, receipt.task, receipt.reason),
        format!("processes  {}", count(&receipt.processes, "ended", "")),
        format!("mounts     {}", count(&receipt.mounts, "gone", "")),
        format!("ports      {}", count(&receipt.ports, "closed", "")),
        format!("scratch    {scratch}, {} folders left", receipt.scratch.left),
    ];
    lines.extend(receipt.kept.iter().map(|kept| format!("kept       {kept}")));
    lines.push(format!("baseline   {}", if receipt.baseline { "yes" } else { "NO" }));
    lines
}
