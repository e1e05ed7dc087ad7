//! `enter`: resolve, fetch, hydrate, start, run, reset.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Result;

use super::{greet, leave};
use crate::cache::{Record, Trees};
use crate::error::usage;
use crate::handoff::accounting::{LedgerEntry, MadeBy};
use crate::handoff::app::App;
use crate::handoff::prepare::{Ingredients, Plan, Renew, Wishes, afterwards, is_first, make_workspace, unless_renewed};
use crate::handoff::report::{Beside, Report};
use crate::handoff::runtimes::{Preparation, RuntimeOptions};
use crate::handoff::task::{Looks, Resolved, Sight, Source, resolve};
use crate::handoff::workspaces::Place;
use crate::handoff::{accounting, caches, prepare, runtimes, task, trust, upkeep, workspaces};
use crate::identity::{Lifetime, TaskRef};
use crate::runtime::{self, Lease, Outcome, Receipt, Sandbox, Session, Spec};

/// What `enter` was asked to do.
#[derive(Clone, Debug)]
pub struct EnterOptions {
    /// The task.
    pub task: TaskRef,
    /// Program and arguments; empty for a shell.
    pub command: Vec<OsString>,
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
    /// `--nearest-caches`.
    pub nearest: bool,
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
            nearest: false,
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
pub fn enter(app: &App, options: &EnterOptions, report: &mut Report) -> Result<Entered> {
    let begun = report.clone();
    unless_renewed(app, || {
        report.clone_from(&begun);
        enter_once(app, options, report)
    })
}

fn enter_once(app: &App, options: &EnterOptions, report: &mut Report) -> Result<Entered> {
    let into = options.into.as_ref().map(|into| app.named(into));
    let into = into.as_deref();
    report.schema = 1;
    let task = app.locate(&options.task)?;
    report.task = task.reference();
    let source = Source::new(app, task);
    let resolved = report.step("resolve", || Ok((resolve(&source, into, options.refresh)?, 0)))?;
    report.identity = resolved.digest.to_string();
    let place = Place::of(app, &resolved, into, options.lifetime)?;
    report.workspace = place.path.display().to_string();
    if options.dry_run {
        let plan = report.step("plan", || {
            Ok((prepare::plan(app, &resolved, &place.path, !options.no_runtime, Some(&source))?, 0))
        })?;
        return Ok(Entered::Planned(plan));
    }
    app.open_roots()?;
    workspaces::tell_swept(app);
    if !place.path.exists() && offer_salvage(app, &resolved, into.is_none())? {
        // It brought its own pin along.
        return enter_once(app, options, report);
    }
    if place.path.exists() && !options.refresh {
        tell_last_look(app, &resolved);
    }
    report.redacted.clone_from(&resolved.identity.redacted);
    trust::tell_redacted(app, &report.redacted);
    if is_first(&resolved) {
        task::tell_claims(&source, &resolved);
        report.beside = others(&source, &resolved);
        task::tell_lines(app, &resolved.task, &report.beside);
    }
    if options.no_runtime {
        let kept = caches::keep(app)?;
        let made = make_workspace(&source, &resolved, &place, renew(options), report)?;
        drop(kept);
        if made.unflushed || is_first(&resolved) {
            drop(source);
            runtime::in_background(|| afterwards(app, &resolved, &place, None));
        }
        return Ok(Entered::Workspace(place.path));
    }
    if !options.fresh
        && !options.refresh
        && let Some(lease) = runtimes::running(app, &resolved, &place.path)?
    {
        if let Some(entered) = attach(app, options, lease, report)? {
            return Ok(entered);
        }
        app.ui.status("Ended", "that runtime was just ending; this makes another");
    }
    run(source, &resolved, options, &place, report)
}

/// Says that work on a task was set aside, before a fresh workspace is made, and
/// brings it back to its `own_place` if the developer says so.
fn offer_salvage(app: &App, resolved: &Resolved, own_place: bool) -> Result<bool> {
    let Some(row) = workspaces::salvages_of(app, &resolved.task.reference()).into_iter().next() else {
        return Ok(false);
    };
    app.ui.warn(&format!("a workspace of {} was {}", resolved.task.target, row.offer(app)));
    let ask = own_place && app.options.interactive && !app.options.yes && row.workspace.is_some();
    if !ask || !app.ui.confirm("Bring it back, instead of making a fresh workspace?")? {
        return Ok(false);
    }
    workspaces::recover(app, &row.id, None)?;
    Ok(true)
}

/// What the store was last seen to have, for whoever comes back: nobody is asked.
fn tell_last_look(app: &App, resolved: &Resolved) {
    let Some(pin) = &resolved.pin else { return };
    let (looks, name) = (Looks::read(app), resolved.task.quoted());
    if let Some(look) = looks.newer(pin) {
        app.ui.status("Newer", &format!("{}; envctl enter {name} --refresh takes it", look.words(app)));
    }
    if let Some(look) = looks.waiting(pin).filter(|_| !is_first(resolved)) {
        app.ui.status("Beside", &format!("{}; envctl show {name} names them", look.waiting_in_words(app)));
    }
}

/// The task's other lines, when it is entered for the first time or has moved; who
/// comes back is not held up, and hears of them again. What the store does not say is
/// said at `show`.
fn others(source: &Source<'_>, resolved: &Resolved) -> Vec<Beside> {
    let app = source.app;
    if app.options.offline || resolved.local.is_some() {
        return Vec::new();
    }
    let found = source.store().and_then(|store| task::beside(app, store, &resolved.task, &resolved.digest));
    match found {
        Ok(found) => {
            let beside = Some(found.iter().map(|line| line.status).collect());
            let sight = Sight { beside, ..Sight::of(&resolved.task, resolved.digest, &resolved.identity) };
            task::note_entered(app, &resolved.task, sight);
            found
        }
        Err(error) => {
            app.ui.detail(&format!("whether the task has other lines is not known: {error:#}"));
            Vec::new()
        }
    }
}

/// Joins a runtime that is there already; leaving does not end it. `None` when
/// it has just ended, and nothing was run in it.
fn attach(app: &App, options: &EnterOptions, lease: Lease, report: &mut Report) -> Result<Option<Entered>> {
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
    app.ui.status("Joining", &format!("the running runtime of {}; --fresh makes another", lease.task));
    runtimes::tell_ports(app, &lease);
    if options.detach {
        return Ok(Some(Entered::Detached(Box::new(lease))));
    }
    Ok(runtimes::join(app, &lease, (&options.command, &options.runtime.extras), report)?.map(Entered::Left))
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
    let app = source.app;
    let prepared = prepare::prepare(&source, resolved, place, (renew(options), &options.runtime), report)?;
    let of = Ingredients { resolved, place, image: &prepared.image, pulled: &prepared.pulled };
    let (runtime, artifacts) = (&options.runtime, report.artifacts.clone());
    let wishes = Wishes { runtime, materialize: options.materialize, nearest: options.nearest, artifacts };
    let mut ready = prepare::ready(source, of, prepared.caches, &wishes, report)?;
    ready.spec.detached = options.detach;
    // What the developer says for all of their shells, where they say nothing for this one.
    let (timeout, idle) = app.user.shells();
    ready.spec.idle = ready.spec.idle.or(idle);
    ready.spec.deadline = ready.spec.deadline.or(timeout.map(runtime::monotonic_after));
    if options.detach {
        ready.spec.log = (!options.command.is_empty()).then(|| app.log_file(&resolved.task.log_name()));
        ready.spec.deadline = Some(runtimes::deadline_of_its_own(app, &place.path, &options.runtime)?);
    }
    greet::greet(app, resolved, ready.spec.network, None);
    let session = Session { last: true, ..runtimes::session(app, &options.command, &options.runtime.extras) };
    let (unflushed, preparation) = (prepared.workspace.unflushed, ready.preparation);
    let entering = Entering { app, options, of, session, preparation, unflushed, records: ready.records };
    if options.detach {
        entering.detach(&ready.spec, ready.locks, report)
    } else {
        entering.attend(&ready.spec, (ready.locks, prepared.workspace.in_use), report)
    }
}

/// A runtime that is about to start, or has.
struct Entering<'a> {
    app: &'a App,
    options: &'a EnterOptions,
    of: Ingredients<'a>,
    session: Session,
    /// What runs before it.
    preparation: Preparation,
    /// The workspace was just made.
    unflushed: bool,
    records: Vec<Record>,
}

impl Entering<'_> {
    /// Leaves it to a supervisor of its own. `locks` go when its lease is written.
    fn detach<L>(&self, spec: &Spec, locks: L, report: &mut Report) -> Result<Entered> {
        let (app, resolved) = (self.app, self.of.resolved);
        let command = self.preparation.before(&self.session.command);
        let session = Session { command, ..self.session.clone() };
        let session = (!self.options.command.is_empty()).then_some(&session);
        let so_far = report.clone();
        let after = |receipt: &Receipt, outcome: Option<&Outcome>| {
            runtimes::tell_end(app, receipt, outcome);
            caches::tell_gone(app, receipt, &self.records);
            let entry = LedgerEntry::of(receipt, MadeBy::Detached, Some(&resolved.identity));
            let code = outcome.map(Outcome::exit_code);
            accounting::append(app, &entry.with(&resolved.task.store.to_string(), code, &so_far));
        };
        let started = || Ok((runtime::detach(&app.runtimes(), app.clock, spec, session, &after)?, 0));
        let lease = report.step("start", started)?;
        drop(locks);
        match session {
            Some(_) => self.preparation.note(app, &resolved.task, self.of.place.into())?,
            None => self.preparation.tell_left(app, &lease.task),
        }
        self.afterwards(report);
        runtimes::tell_ports(app, &lease);
        runtimes::tell_limits(app, &lease);
        let ends = runtimes::deadline(&lease).unwrap_or_default();
        let first = if self.options.command.is_empty() { "" } else { "with its command, " };
        app.ui.status(
            "Detached",
            &format!("{} runs on; it ends {first}{ends}, or with: envctl reset {}", lease.task, lease.task),
        );
        if let Some(log) = &lease.log {
            app.ui.status("Log", &log.display().to_string());
        }
        Ok(Entered::Detached(Box::new(lease)))
    }

    /// Runs the command or the shell, and resets when it has ended. `locks` go when
    /// the lease is written, which keeps the workspace in its place from there on.
    fn attend<L>(&self, spec: &Spec, locks: L, report: &mut Report) -> Result<Entered> {
        let (app, resolved) = (self.app, self.of.resolved);
        let mut sandbox = report.step("start", || Ok((Sandbox::start(&app.runtimes(), app.clock, spec)?, 0)))?;
        drop(locks);
        self.preparation.note(app, &resolved.task, self.of.place.into())?;
        self.afterwards(report);
        upkeep::daily(app);
        let mut session = self.session.clone();
        if self.options.command.is_empty() {
            greet::welcome(app, resolved, sandbox.lease(), self.of.place, report);
        } else {
            runtimes::tell_ports(app, sandbox.lease());
            // Who types may start a server whenever they like.
            session.later = runtimes::tell_unheard(app, sandbox.lease());
        }
        runtimes::tell_limits(app, sandbox.lease());
        report.limits = sandbox.lease().enforced;
        let extras = &self.options.runtime.extras;
        let ended = self.preparation.run(app, &resolved.task, extras, |session| sandbox.run(session))?;
        // Threads may start from here on: pid 1 was copied from this one.
        let outcome = report.step("run", || Ok((ended.map_or_else(|| sandbox.run(&session), Ok)?, 0)))?;
        let services = sandbox.ended_services().to_vec();
        if matches!(outcome, Outcome::Exited(_)) {
            leave::others(app, &mut sandbox)?;
        }
        let serves = !sandbox.lease().services.is_empty();
        let receipt = report.step("reset", || Ok((sandbox.reset(app.clock, outcome.reason())?, 0)))?;
        receipt.out_of_memory.iter().for_each(|end| app.ui.warn(&runtimes::out_of_memory(end)));
        report.receipt = Some(receipt.clone());
        let code = outcome.exit_code();
        report.exit_code = Some(code);
        let entry = LedgerEntry::of(&receipt, MadeBy::Enter, Some(&resolved.identity));
        accounting::append(app, &entry.with(&resolved.task.store.to_string(), Some(code), report));
        runtimes::tell(app, &resolved.task.target.to_string(), &outcome);
        runtimes::tell_services(app, &services);
        runtimes::check_baseline(&receipt)?;
        runtimes::tell_reset(app, &receipt, serves);
        caches::tell_gone(app, &receipt, &self.records);
        if self.options.command.is_empty() && outcome != Outcome::Lost {
            leave::offer(app, resolved, self.of.place);
        }
        Ok(Entered::Left(code))
    }

    /// What the command need not wait for, and neither does the caller.
    fn afterwards(&self, done: &Report) {
        let (app, Ingredients { resolved, place, pulled, .. }) = (self.app, self.of);
        let given = caches::given(resolved, &self.records);
        if self.unflushed
            || pulled.layers.unflushed(&pulled.records)
            || is_first(resolved)
            || Trees::unflushed(&self.records)
            || given.is_some()
            || prepare::is_news(done)
        {
            runtime::in_background(|| {
                prepare::learn(app, done);
                caches::note_given(app, resolved, place, given);
                afterwards(app, resolved, place, Some(pulled));
                caches::flush(app, pulled, &self.records);
            });
        }
    }
}
