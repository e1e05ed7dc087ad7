//! `enter`: resolve, fetch, hydrate, start, run, reset.

use std::path::PathBuf;

use anyhow::Result;

use super::beside::{self, Beside};
use super::caches::{self, Caches};
use super::context::Context;
use super::hydrate::Renew;
use super::ledger::{self, Entry, Made};
use super::place::Place;
use super::plan::{self, Plan};
use super::prepare::{afterwards, gather, is_first, make_workspace, unless_renewed};
use super::rates;
use super::report::Report;
use super::resolve::{Resolved, resolve};
use super::source::Source;
use super::start::{self, RuntimeOptions};
use super::{claim, gc, leave, live, publishing, tell};
use crate::cache::Trees;
use crate::error::usage;
use crate::identity::{Lifetime, TaskRef};
use crate::runtime::{self, Lease, Outcome, Receipt, Sandbox, Session};

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
    /// What the workspace is to belong to, by the developer's own word.
    pub lifetime: Option<Lifetime>,
    /// What the developer wants of the runtime.
    pub runtime: RuntimeOptions,
    /// Under a supervisor of its own; do not wait for it.
    pub detach: bool,
    /// Another runtime although one is running.
    pub fresh: bool,
    /// Resolve again although the task is pinned.
    pub refresh: bool,
    /// Copy cached trees into the workspace, for programs of the host.
    pub materialize: bool,
    /// Show what would be done.
    pub dry_run: bool,
}

impl EnterOptions {
    /// A shell in a runtime of its own.
    pub fn fresh(task: TaskRef) -> Self {
        EnterOptions {
            task,
            command: Vec::new(),
            no_runtime: false,
            into: None,
            lifetime: None,
            runtime: RuntimeOptions::default(),
            detach: false,
            fresh: true,
            refresh: false,
            materialize: false,
            dry_run: false,
        }
    }
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
    /// The runtime goes on without this process.
    Detached(Box<Lease>),
}

/// Enters a task. The report is filled as far as things went.
///
/// # Errors
/// With what failed; nothing half-made stays, and nothing that exists nowhere
/// else is gone.
pub fn enter(ctx: &Context, options: &EnterOptions, report: &mut Report) -> Result<Entered> {
    let begun = report.clone();
    unless_renewed(ctx, || {
        report.clone_from(&begun);
        enter_once(ctx, options, report)
    })
}

fn enter_once(ctx: &Context, options: &EnterOptions, report: &mut Report) -> Result<Entered> {
    let into = options.into.as_ref().map(|into| ctx.named(into));
    let into = into.as_deref();
    report.schema = 1;
    let task = ctx.locate(&options.task)?;
    report.task = task.reference();
    let source = Source::new(ctx, task);
    let resolved = report.step("resolve", || Ok((resolve(&source, into, options.refresh)?, 0)))?;
    report.identity = resolved.digest.to_string();
    let place = Place::of(ctx, &resolved, into, options.lifetime)?;
    report.workspace = place.path.display().to_string();
    if options.dry_run {
        let plan = report
            .step("plan", || Ok((plan::plan(ctx, &resolved, &place.path, !options.no_runtime, Some(&source))?, 0)))?;
        return Ok(Entered::Planned(plan));
    }
    ctx.open_roots()?;
    report.redacted.clone_from(&resolved.identity.redacted);
    tell::tell_redacted(ctx, &report.redacted);
    if is_first(&resolved) {
        claim::tell(&source, &resolved);
        report.beside = others(&source, &resolved);
        beside::tell(ctx, &resolved.task, &report.beside);
    }
    if options.no_runtime {
        let made = make_workspace(&source, &resolved, &place, renew(options), report)?;
        if made.unflushed || is_first(&resolved) {
            drop(source);
            runtime::in_background(|| afterwards(ctx, &resolved, &place, None));
        }
        return Ok(Entered::Workspace(place.path));
    }
    if !options.fresh
        && !options.refresh
        && let Some(lease) = live::running(ctx, &resolved, &place.path)?
    {
        if let Some(entered) = attach(ctx, options, lease, report)? {
            return Ok(entered);
        }
        ctx.ui.status("Ended", "it was just leaving; this makes another");
    }
    run(source, &resolved, options, &place, report)
}

/// The task's other lines, when it is entered for the first time or has moved; who
/// comes back is not held up. What the store does not say is said at `show`.
fn others(source: &Source<'_>, resolved: &Resolved) -> Vec<Beside> {
    if source.ctx.options.offline || resolved.local.is_some() {
        return Vec::new();
    }
    let found = source.store().and_then(|store| beside::beside(source.ctx, store, &resolved.task, &resolved.digest));
    found.unwrap_or_else(|error| {
        source.ctx.ui.detail(&format!("nobody knows whether the task has other lines: {error:#}"));
        Vec::new()
    })
}

/// Joins a runtime that is there already; leaving does not end it. `None` when
/// it has just ended, and nothing was run in it.
fn attach(ctx: &Context, options: &EnterOptions, lease: Lease, report: &mut Report) -> Result<Option<Entered>> {
    options.runtime.must_fit(&lease)?;
    if options.detach && !options.command.is_empty() {
        return Err(usage(format!("{} is running already, and --detach starts no second command in it", lease.task))
            .hint(format!("envctl exec {} -- CMD, or make another runtime with --fresh", lease.task))
            .into());
    }
    if options.detach && !lease.detached {
        return Err(usage(format!("{} is running already, and ends with the command that made it", lease.task))
            .hint("--fresh makes another runtime, which is detached")
            .into());
    }
    ctx.ui.status("Joining", &format!("the running runtime of {}; --fresh makes another", lease.task));
    tell::tell_ports(ctx, &lease);
    if options.detach {
        return Ok(Some(Entered::Detached(Box::new(lease))));
    }
    Ok(live::join(ctx, &lease, &options.command, report)?.map(Entered::Left))
}

fn renew(options: &EnterOptions) -> Renew {
    if options.refresh { Renew::Outdated } else { Renew::Never }
}

fn run(
    source: Source<'_>,
    resolved: &Resolved,
    options: &EnterOptions,
    place: &Place,
    report: &mut Report,
) -> Result<Entered> {
    let ctx = source.ctx;
    if is_first(resolved) {
        caches::make_room(ctx);
    }
    // Until the lease is written nothing of the caches is removed.
    let kept = caches::keep(ctx)?;
    let (image, pulled, mut made, early) = gather(&source, resolved, place, renew(options), report)?;
    let project = ctx.project(&place.path)?;
    start::approve(ctx, resolved, &project, &options.runtime)?;
    let mut wanted = Caches::new(ctx, resolved, &pulled, &place.path, &project)?;
    wanted.have_come(early);
    wanted.fetch(&source, report)?;
    // The threads of a registry's connections must have ended by now.
    drop(source);
    report.cache.misses += pulled.fetched;
    report.cache.hits += pulled.records.len() - pulled.fetched;
    wanted.seal(&image, report)?;
    let mut hydrated = wanted.hydrate(options.materialize, report)?;
    let places = hydrated.places.take();
    let mut spec = start::spec(ctx, resolved, &image, &pulled, &place.path, &project, &options.runtime)?;
    (spec.rootfs.trees, spec.made) = (hydrated.mounts, hydrated.made);
    spec.rootfs.artifacts.clone_from(&report.artifacts);
    spec.detached = options.detach;
    if options.detach {
        spec.log = (!options.command.is_empty()).then(|| publishing::log(ctx, &resolved.task.slug()));
        spec.deadline = Some(start::deadline_of_its_own(ctx, &place.path, &options.runtime)?);
    }
    tell::greet(ctx, resolved, spec.network, options.command.is_empty());
    // The command need not wait for it, and neither does the caller.
    let afterwards = |done: &Report| {
        let given = caches::given(resolved, &hydrated.records);
        if made.unflushed
            || pulled.layers.unflushed(&pulled.records)
            || is_first(resolved)
            || Trees::unflushed(&hydrated.records)
            || given.is_some()
            || rates::is_news(done)
        {
            runtime::in_background(|| {
                rates::learn(ctx, done);
                caches::note_given(ctx, resolved, place, given);
                afterwards(ctx, resolved, place, Some(&pulled));
                caches::flush(ctx, &pulled, &hydrated.records);
            });
        }
    };
    let session = Session { last: true, ..start::session(ctx, &options.command) };
    if options.detach {
        let session = (!options.command.is_empty()).then_some(&session);
        let runtimes = ctx.runtimes();
        let so_far = report.clone();
        let after = |receipt: &Receipt, outcome: Option<&Outcome>| {
            tell::tell_end(ctx, receipt, outcome);
            let entry = Entry::of(receipt, Made::Detached, Some(&resolved.identity));
            let code = outcome.map(Outcome::exit_code);
            ledger::append(ctx, &entry.with(&resolved.task.store.to_string(), code, &so_far));
        };
        let started = || Ok((runtime::detach(&runtimes, ctx.clock, &spec, session, &after)?, 0));
        let lease = report.step("start", started)?;
        drop((kept, places));
        afterwards(report);
        tell::tell_ports(ctx, &lease);
        tell::tell_limits(ctx, &lease);
        let ends = tell::deadline(&lease).unwrap_or_default();
        let first = if options.command.is_empty() { "" } else { "with its command, " };
        ctx.ui.status(
            "Detached",
            &format!("{} runs on; it ends {first}{ends}, or with: envctl reset {}", lease.task, lease.task),
        );
        if let Some(log) = &lease.log {
            ctx.ui.status("Log", &log.display().to_string());
        }
        return Ok(Entered::Detached(Box::new(lease)));
    }
    let mut sandbox = report.step("start", || Ok((Sandbox::start(&ctx.runtimes(), ctx.clock, &spec)?, 0)))?;
    drop((kept, places));
    // The lease keeps the workspace in its place from here on.
    drop(made.in_use.take());
    afterwards(report);
    gc::daily(ctx);
    tell::tell_ports(ctx, sandbox.lease());
    tell::tell_limits(ctx, sandbox.lease());
    report.limits = sandbox.lease().enforced;
    // Threads may start from here on: pid 1 was copied from this one.
    let outcome = report.step("run", || Ok((sandbox.run(&session)?, 0)))?;
    let receipt = report.step("reset", || Ok((sandbox.reset(ctx.clock, outcome.reason())?, 0)))?;
    report.receipt = Some(receipt.clone());
    let code = outcome.exit_code();
    report.exit_code = Some(code);
    let entry = Entry::of(&receipt, Made::Enter, Some(&resolved.identity));
    ledger::append(ctx, &entry.with(&resolved.task.store.to_string(), Some(code), report));
    tell::tell(ctx, &resolved.task.target.to_string(), &outcome);
    tell::check_baseline(&receipt)?;
    tell::tell_reset(ctx, &receipt);
    if options.command.is_empty() && outcome != Outcome::Lost {
        leave::offer(ctx, resolved, place);
    }
    Ok(Entered::Left(code))
}
