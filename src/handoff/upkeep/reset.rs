//! `reset`: back to baseline, and on request back to the snapshot as well.

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use crate::disk;
use crate::error::{Fault, Kind, failure, not_found};
use crate::handoff::accounting::LedgerEntry;
use crate::handoff::app::App;
use crate::handoff::prepare::{Renew, flush, make_workspace};
use crate::handoff::report::Report;
use crate::handoff::runtimes::{Running, find};
use crate::handoff::task::{Resolved, Source, resolve_left};
use crate::handoff::words::shown_list;
use crate::handoff::workspaces::{Place, children};
use crate::handoff::{accounting, caches};
use crate::identity::TaskRef;
use crate::runtime::{self, Receipt};
use crate::ui::counted;

/// Ends the runtimes of a task, or all of them. `reaped` are the receipts of
/// those that this command found dead.
///
/// # Errors
/// When one cannot be ended.
pub fn reset(app: &App, chosen: Option<Running<'_>>, reaped: Vec<Receipt>) -> Result<Vec<Receipt>> {
    let runtimes = app.runtimes();
    let (leases, mut receipts) = match chosen {
        Some(running) => {
            let target = running.task.target.to_string();
            let ours = |receipt: &Receipt| {
                (receipt.task == target || receipt.identity == target) && running.means(&receipt.lease)
            };
            let reaped: Vec<Receipt> = reaped.into_iter().filter(ours).collect();
            let found = find(app, running)?;
            // That it has ended is what was asked for; what never was is a mistake.
            let ended =
                |id| disk::read_json::<Receipt>(&app.paths.receipt(id)).ok().flatten().is_some_and(|r| ours(&r));
            if found.is_empty() && reaped.is_empty() && running.lease.is_some_and(|id| !ended(id)) {
                return Err(running.missing().into());
            }
            (found, reaped)
        }
        None => (runtimes.live()?, reaped),
    };
    for lease in &leases {
        let receipt = runtime::stop(&runtimes, lease, app.clock).map_err(|error| {
            let fault = failure(format!("the runtime of {} could not be cleared: {error:#}", lease.task));
            Fault { kind: Kind::Leak, ..fault }.hint("envctl reset --all tries again")
        })?;
        if receipt.usage.is_none() {
            // It was stuck: nobody else tells of it.
            accounting::append(app, &LedgerEntry::orphaned(app, &receipt));
        }
        receipts.push(receipt);
    }
    Ok(receipts)
}

/// Whether anything here is known by this name: a workspace, or a runtime that was.
///
/// # Errors
/// When the state cannot be read.
pub fn is_known(app: &App, task: &TaskRef) -> Result<bool> {
    let (slug, target) = (task.target.slug(), task.target.to_string());
    if app.pins().all()?.iter().any(|pin| pin.slug == slug || task.target.is(&pin.identity)) {
        return Ok(true);
    }
    let receipts = children(&app.paths.receipts()).into_iter();
    let receipts = receipts.filter_map(|path| disk::read_json::<Receipt>(&path).ok().flatten());
    Ok(receipts.into_iter().any(|receipt| receipt.task == target || receipt.identity == target))
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
    let had_secrets = receipt.secrets.removed.is_some_and(|count| count > 0);
    if had_secrets {
        lines.push(format!("secrets    {}", count(&receipt.secrets, "gone", "")));
    }
    if let Some(lent) = &receipt.lent {
        let often = match (lent.given, lent.refused) {
            (Some(given), Some(refused)) => format!("given {given} times, refused {refused} times"),
            _ => "not counted".to_owned(),
        };
        lines.push(format!("lent       git credentials for {}: {often}", lent.names.join(", ")));
    }
    if had_secrets || receipt.lent.is_some() {
        lines.push(match &receipt.exposed {
            Some(files) if files.is_empty() => "exposed    no changed file of the workspace holds a secret".into(),
            Some(files) => {
                let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
                format!("exposed    {}", names.join(", "))
            }
            None => "exposed    not looked for: nobody was left who knew the secrets".into(),
        });
        if receipt.unsearched > 0 {
            lines.push(format!("unsearched {} files or folders could not be read", receipt.unsearched));
        }
    }
    let with_packages = receipt.caches.iter().filter(|changed| !changed.packages.is_empty());
    lines.extend(with_packages.map(|changed| {
        let what = counted(changed.packages.len() as u64, "package", "packages");
        format!("gone       {what} in the cache {}: {}", changed.name, shown_list(&changed.packages))
    }));
    lines.extend(receipt.kept.iter().map(|kept| format!("kept       {kept}")));
    lines.extend(receipt.planted.iter().map(|what| format!("planted    {what}")));
    lines.extend(receipt.uncleared.iter().map(|why| format!("uncleared  {why}")));
    lines.push(format!("baseline   {}", if receipt.baseline { "yes" } else { "NO" }));
    lines
}

/// A workspace that is at its snapshot again.
#[derive(Clone, Debug, Serialize)]
pub struct Restored {
    /// Where it is.
    pub workspace: PathBuf,
    /// Where the one is now that was there before, whole.
    pub set_aside: Option<PathBuf>,
}

/// Returns a task's workspace to what was published from it last, or to the
/// snapshot that it was made from. What was there is moved aside first, with everything in it. The runtimes of the task
/// have ended already.
///
/// # Errors
/// When there is none, or the snapshot is neither here nor in the store; then
/// the workspace stays as it is.
pub fn reset_workspace(app: &App, task: &TaskRef) -> Result<Restored> {
    let source = Source::new(app, app.locate(task)?);
    let resolved = resolve_left(&source)?;
    if resolved.pin.is_none() {
        return Err(not_found(format!("{task} has no workspace here")).hint(format!("envctl enter {task}")).into());
    }
    let place = Place::of(app, &resolved, None, None)?;
    renew_workspace(source, &resolved, &place)
}

/// Makes a workspace anew from its snapshot; what is there is set aside.
///
/// # Errors
/// As [`reset_workspace`].
pub(crate) fn renew_workspace(source: Source<'_>, resolved: &Resolved, place: &Place) -> Result<Restored> {
    let app = source.app;
    app.open_roots()?;
    let _kept = caches::keep(app)?;
    let made = make_workspace(&source, resolved, place, Renew::Always, &mut Report::default())?;
    drop(source);
    runtime::in_background(|| {
        let _ = flush(app, resolved, place, None);
    });
    Ok(Restored { workspace: place.path.clone(), set_aside: made.aside })
}
