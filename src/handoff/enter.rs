//! `enter`: resolve, fetch, hydrate, start, run, reset.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;

use super::context::Context;
use super::fetch::{self, Here};
use super::hydrate::{self, Workspace};
use super::pin::Pin;
use super::plan::{self, Plan};
use super::report::Report;
use super::resolve::{Resolved, resolve};
use super::source::{Source, is_stopped};
use super::start;
use crate::clock::age;
use crate::error::{Fault, Kind, failure};
use crate::identity::TaskRef;
use crate::image::{Image, Pulled};
use crate::runtime::{self, Network, Outcome, Receipt, Sandbox};
use crate::snapshot::Parity;
use crate::workspace;

/// What `enter` was asked to do.
#[derive(Clone, Debug)]
pub struct EnterOptions {
    /// The task.
    pub task: TaskRef,
    /// Program and arguments; empty for a shell.
    pub command: Vec<String>,
    /// Stop after the workspace.
    pub no_runtime: bool,
    /// A folder for the workspace, named by the developer.
    pub into: Option<PathBuf>,
    /// What the runtime can reach.
    pub network: Network,
    /// Resolve again although the task is pinned.
    pub refresh: bool,
    /// Show what would be done.
    pub dry_run: bool,
}

/// How it ended.
#[derive(Debug)]
pub enum Entered {
    /// Nothing was done.
    Planned(Plan),
    /// The workspace is ready; its path.
    Workspace(PathBuf),
    /// The runtime has come and gone: the command's exit code.
    Left(u8),
}

/// Enters a task. The report is filled as far as things went.
///
/// # Errors
/// With what failed; nothing half-made stays, and nothing that exists nowhere
/// else is gone.
pub fn enter(ctx: &Context, options: &EnterOptions, report: &mut Report) -> Result<Entered> {
    let into = options.into.as_ref().map(|into| ctx.cwd.join(into));
    let into = into.as_deref();
    report.schema = 1;
    let task = ctx.locate(&options.task)?;
    report.task = task.reference();
    let source = Source::new(ctx, task);
    let resolved = report.step("resolve", || Ok((resolve(&source, into, options.refresh)?, 0)))?;
    report.identity = resolved.digest.to_string();
    let place = hydrate::place(ctx, &resolved, into);
    report.workspace = place.display().to_string();
    if options.dry_run {
        let plan =
            report.step("plan", || Ok((plan::plan(ctx, &resolved, &place, !options.no_runtime, Some(&source))?, 0)))?;
        return Ok(Entered::Planned(plan));
    }
    ctx.open_roots()?;
    if options.no_runtime {
        let made = make_workspace(&source, &resolved, into, &place, options.refresh, report)?;
        if made.unflushed {
            drop(source);
            runtime::in_background(|| drop(flush(ctx, &resolved, into, None)));
        }
        return Ok(Entered::Workspace(place));
    }
    run(source, &resolved, options, into, &place, report)
}

/// What there is of a workspace, and whether it must still be flushed.
struct Made {
    parity: Option<Parity>,
    unflushed: bool,
}

fn make_workspace(
    source: &Source<'_>,
    resolved: &Resolved,
    into: Option<&Path>,
    place: &Path,
    refresh: bool,
    report: &mut Report,
) -> Result<Made> {
    let ctx = source.ctx;
    let _lock = hydrate::lock(ctx, resolved)?;
    // Another process may have made it while this one waited.
    let current = ctx.pins().read(&resolved.task, into)?;
    let resolved = Resolved {
        task: resolved.task.clone(),
        digest: resolved.digest,
        identity: resolved.identity.clone(),
        pin: current,
        pinned_at: resolved.pinned_at,
    };
    let found = hydrate::look(ctx, &resolved, place, refresh)?;
    let stale = if let Workspace::Stale(why) = &found { Some(*why) } else { None };
    let made = match found {
        Workspace::Ready(pin) => {
            report.cache.hits += 1;
            ctx.ui.detail(&format!("the workspace is {}", place.display()));
            Made { parity: pin.parity, unflushed: pin.unflushed_boot.is_some() }
        }
        Workspace::Missing | Workspace::Stale(_) => {
            report.cache.misses += 1;
            let snapshot = report.step("fetch.snapshot", || fetch::snapshot(source, &resolved))?;
            report.step("fetch.repo", || Ok(((), hydrate::fetch_repo(ctx, &resolved, &snapshot.document)?)))?;
            // Not before everything that the new one needs is here.
            let aside = stale.map(|_| hydrate::set_aside(ctx, &resolved, place)).transpose()?;
            let hydrated =
                report.step("hydrate.workspace", || Ok((hydrate::workspace(ctx, &resolved, snapshot, place)?, 0)))?;
            if let (Some(aside), Some(why)) = (aside, stale) {
                aside.stay(ctx, why);
            }
            let mut pin = Pin::new(&resolved.task, resolved.digest, resolved.pinned_at, place.to_owned());
            pin.parity = Some(hydrated.parity);
            pin.unflushed_boot = Some(crate::disk::boot_id()?);
            ctx.pins().write(&resolved.task, into, &pin)?;
            ctx.ui.status("Restored", &format!("{} at {}, equal to its snapshot", summary(&resolved), place.display()));
            Made { parity: pin.parity, unflushed: true }
        }
    };
    report.parity.clone_from(&made.parity);
    Ok(made)
}

fn summary(resolved: &Resolved) -> String {
    let repo = &resolved.identity.repo;
    match &repo.branch {
        Some(branch) => format!("{branch} ({})", repo.commit.short()),
        None => repo.commit.short().to_owned(),
    }
}

/// The image and the workspace, at the same time where the image must be
/// pulled. What fails first stops the other.
fn gather(
    source: &Source<'_>,
    resolved: &Resolved,
    into: Option<&Path>,
    place: &Path,
    refresh: bool,
    report: &mut Report,
) -> Result<(Image, Pulled, Made)> {
    let start = Instant::now();
    let known = match fetch::image_here(source.ctx, resolved)? {
        Here::Whole(whole) => {
            report.note("fetch.image", start.elapsed(), 0);
            let (image, pulled) = *whole;
            return Ok((image, pulled, make_workspace(source, resolved, into, place, refresh, report)?));
        }
        Here::Documents(image) => Some(image),
        Here::Nothing => None,
    };
    std::thread::scope(|scope| {
        let pulling = scope.spawn(|| {
            let pulled = fetch::pull_image(source, resolved, known);
            if pulled.is_err() {
                source.stop();
            }
            (pulled, start.elapsed())
        });
        let made = make_workspace(source, resolved, into, place, refresh, report);
        if made.is_err() {
            source.stop();
        }
        let (pulled, took) = pulling.join().map_err(|_| anyhow::anyhow!("the thread that pulls the image died"))?;
        // Of two failures the one that stopped the other is told.
        let (image, pulled) = match (pulled, made.as_ref().err()) {
            (Err(error), Some(second)) if is_stopped(second) => return Err(error),
            (Err(_), Some(_)) => return Err(made.err().unwrap_or_else(|| failure("the workspace is missing").into())),
            (pulled, _) => pulled?,
        };
        report.note("fetch.image", took, pulled.bytes);
        Ok((image, pulled, made?))
    })
}

fn run(
    source: Source<'_>,
    resolved: &Resolved,
    options: &EnterOptions,
    into: Option<&Path>,
    place: &Path,
    report: &mut Report,
) -> Result<Entered> {
    let ctx = source.ctx;
    let (image, pulled, made) = gather(&source, resolved, into, place, options.refresh, report)?;
    // The threads of a registry's connections must have ended by now.
    drop(source);
    report.cache.misses += pulled.fetched;
    report.cache.hits += pulled.records.len() - pulled.fetched;
    let spec = start::spec(ctx, resolved, &image, &pulled, place, options.network)?;
    greet(ctx, resolved, options);
    let mut sandbox = report.step("start", || Ok((Sandbox::start(&ctx.runtimes(), ctx.clock, &spec)?, 0)))?;
    if made.unflushed || pulled.layers.unflushed(&pulled.records) {
        // The command need not wait for it, and neither does the caller.
        runtime::in_background(|| drop(flush(ctx, resolved, into, Some(&pulled))));
    }
    // Threads may start from here on: pid 1 was copied from this one.
    let session = start::session(ctx, &options.command);
    let outcome = report.step("run", || Ok((sandbox.run(&session)?, 0)));
    let outcome = outcome?;
    let reason = if outcome == Outcome::Lost { "reset" } else { "exit" };
    let receipt = report.step("reset", || Ok((sandbox.reset(ctx.clock, reason)?, 0)))?;
    report.receipt = Some(receipt.clone());
    let code = outcome.exit_code();
    report.exit_code = Some(code);
    tell_outcome(ctx, resolved, &outcome);
    check_baseline(&receipt)?;
    tell_reset(ctx, &receipt);
    Ok(Entered::Left(code))
}

/// Makes what was just written outlive a power loss, and notes that it does.
fn flush(ctx: &Context, resolved: &Resolved, into: Option<&Path>, pulled: Option<&Pulled>) -> Result<()> {
    let pin = ctx.pins().read(&resolved.task, into)?;
    if let Some(pin) = pin.filter(|pin| pin.unflushed_boot.is_some()) {
        workspace::flush(&pin.workspace)?;
        let _lock = hydrate::lock(ctx, resolved)?;
        // Unless it was made anew meanwhile.
        if ctx.pins().read(&resolved.task, into)?.as_ref() == Some(&pin) {
            ctx.pins().write(&resolved.task, into, &Pin { unflushed_boot: None, ..pin })?;
        }
    }
    let Some(pulled) = pulled else { return Ok(()) };
    let diff_ids: Vec<_> = pulled.records.iter().map(|record| record.diff_id).collect();
    pulled.layers.flush(&diff_ids)
}

fn greet(ctx: &Context, resolved: &Resolved, options: &EnterOptions) {
    let identity = &resolved.identity;
    let pinned = match &resolved.pin {
        Some(_) => format!(", pinned {}", age(resolved.pinned_at, ctx.clock.now())),
        None => String::new(),
    };
    let network = match options.network {
        Network::Isolated => "isolated network",
        Network::Host => "the host's network",
    };
    ctx.ui.status("Entering", &format!("{} on {} ({network}{pinned})", identity.task_id, summary(resolved)));
    if options.command.is_empty() {
        if let Some(message) = &identity.handoff.message {
            ctx.ui.status("Message", message);
        }
        if let Some(command) = &identity.handoff.command {
            let code = identity.handoff.exit_code.map_or_else(String::new, |code| format!(" (exit code {code})"));
            ctx.ui.status("Failing", &format!("{command}{code}"));
        }
    }
}

/// What the exit code alone does not say.
pub(super) fn tell_outcome(ctx: &Context, resolved: &Resolved, outcome: &Outcome) {
    tell(ctx, &resolved.task.target.to_string(), outcome);
}

/// The same for a task by name.
pub(super) fn tell(ctx: &Context, task: &str, outcome: &Outcome) {
    match outcome {
        Outcome::Exited(_) => {}
        Outcome::NotStarted { program, errno } => {
            let reason = std::io::Error::from_raw_os_error(*errno);
            ctx.ui.error(
                &anyhow::Error::new(reason).context(format!("cannot run {program} inside")),
                outcome.exit_code(),
            );
        }
        Outcome::TimedOut => ctx.ui.warn(&format!("the runtime of {task} has reached its deadline")),
        Outcome::Lost => ctx.ui.warn(&format!("the runtime of {task} was reset meanwhile")),
    }
}

fn check_baseline(receipt: &Receipt) -> Result<(), Fault> {
    if receipt.baseline {
        return Ok(());
    }
    let fault = failure(format!(
        "the runtime is gone, but not everything of it: {} processes, {} mounts, {} ports, {} scratch folders are left",
        receipt.processes.left, receipt.mounts.left, receipt.ports.left, receipt.scratch.left
    ));
    Err(Fault { kind: Kind::Leak, ..fault }.hint("envctl reset --all tries again"))
}

fn tell_reset(ctx: &Context, receipt: &Receipt) {
    let killed = receipt.processes.removed.unwrap_or_default();
    if killed > 0 {
        ctx.ui.status("Reset", &format!("{killed} processes that were left running were ended"));
    } else {
        ctx.ui.detail("reset to baseline: nothing of the runtime is left");
    }
}
