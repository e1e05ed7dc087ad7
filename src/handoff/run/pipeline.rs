//! `run`: commands that nobody attends to, in runtimes that always end.
//!
//! Resolve or take, fetch, hydrate; then for each group of commands: start,
//! run, reset; then collect and publish. Whatever happens to the commands, the
//! runtime is gone before anything is published, and the report tells of it.

use std::fs::File;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::batch::Command;
use super::checkout::{CheckoutOptions, Taken};
use super::publisher::{Publisher, RunLog, Standing, Stop, Words};
use super::report::{CommandReport, LeaseReport, RunReport, not_run};
use super::subject::{RunOptions, RunSubject, RunTarget};
use super::{checkout, fresh};
use crate::cache::{Record, Trees};
use crate::error::{Fault, of_thread};
use crate::handoff::accounting::{Budget, LedgerEntry, MadeBy};
use crate::handoff::app::App;
use crate::handoff::prepare::{Ingredients, KeptCaches, Prepared, Ready, Renew, Wishes, flush, unless_renewed};
use crate::handoff::publish::PublishedFrom;
use crate::handoff::report::Report;
use crate::handoff::task::{Resolved, Source};
use crate::handoff::workspaces::Place;
use crate::handoff::{accounting, caches, enter, evidence, prepare, runtimes, upkeep, workspaces};
use crate::identity::StoreRef;
use crate::image::{Image, Pulled};
use crate::runtime::{self, Lease, Outcome, Receipt, Sandbox, Session};

/// Runs. Returns the exit code of the first command that failed.
///
/// # Errors
/// When the commands could not be run, something of a runtime is left, or the
/// run could not be published.
pub fn run(app: &App, options: &RunOptions, report: &mut RunReport) -> Result<u8> {
    report.report.schema = 1;
    if let Some(output) = &options.output {
        // Not after hours.
        evidence::must_be_empty(&app.cwd.join(output))?;
    }
    app.open_roots()?;
    workspaces::tell_swept(app);
    let begun = report.report.clone();
    let (mut runner, image, pulled) = unless_renewed(app, || {
        report.report.clone_from(&begun);
        let subject = RunSubject::settle(app, options, &mut report.report)?;
        let (resolved, place) = (subject.resolved.clone(), subject.place.clone());
        Runner::prepare(app, options, subject, report).inspect_err(|_| {
            if options.is_fresh() {
                fresh::leave(app, &resolved, &place, false);
            }
        })
    })?;
    let ran = runner.run(&image, &pulled, report);
    if ran.is_err() && report.leases.is_empty() {
        // Nothing was run: the workspace holds nothing new.
        runner.tidy(report);
    }
    ran
}

struct Runner<'a> {
    app: &'a App,
    options: &'a RunOptions,
    resolved: Resolved,
    /// The workspace.
    place: Place,
    taken: Option<Taken>,
    /// Keeps the workspace in its place between two runtimes.
    in_use: Option<File>,
    /// The workspace was just made.
    unflushed: bool,
    /// The caches, for the first runtime.
    kept: Option<KeptCaches>,
    /// The folder of the task's evidence.
    artifacts: Option<PathBuf>,
    publisher: Option<Publisher<'a>>,
    /// Who runs.
    agent: Option<String>,
    /// What other machines have spent.
    elsewhere: Vec<LedgerEntry>,
    log: RunLog,
    standing: Standing,
    /// A signal has ended it, or somebody has reset its runtime.
    ended: bool,
    /// When it is published next while it runs.
    next: Instant,
}

impl<'a> Runner<'a> {
    /// The image and the workspace.
    fn prepare(
        app: &'a App,
        options: &'a RunOptions,
        subject: RunSubject<'a>,
        report: &mut RunReport,
    ) -> Result<(Self, Image, Pulled)> {
        let report = &mut report.report;
        let RunSubject { source, resolved, place, taken, from, agent } = subject;
        let renew = if options.refresh { Renew::Outdated } else { Renew::Never };
        let prepared = prepare::prepare(&source, &resolved, &place, (renew, &options.runtime), report);
        let Prepared { image, pulled, workspace, caches } = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                taken.iter().for_each(|taken| checkout::abandon(app, taken, &place.path));
                return Err(error);
            }
        };
        drop(source);
        let own = taken.is_none();
        let (origin, sealed_in) = match from {
            Some(from) => (from.origin, Some(from.root)),
            None => (app.pins().read(&resolved.task, Place::into(&place))?, None),
        };
        let about = match &options.subject {
            RunTarget::Checkout(about) => about.clone(),
            RunTarget::Task(_) => CheckoutOptions::default(),
        };
        let lasts = runtimes::time_of_its_own(app, &place.path, &options.runtime)?;
        let runs = agent.clone();
        let publisher = options.publishing.as_ref().map(|publishing| {
            let built = taken.as_ref().and_then(|taken| taken.built.clone());
            let words = Words { publishing, image: about.image.or(built), workdir: about.workdir, agent, lasts };
            Publisher::new(app, words, PublishedFrom { root: place.path.clone(), origin, sealed_in }, own)
        });
        let log = RunLog::begin(app, &resolved.task.log_name())?;
        let every = options.publishing.as_ref().and_then(|publishing| publishing.every).unwrap_or_default();
        let runner = Runner {
            app,
            options,
            resolved,
            place,
            taken,
            in_use: workspace.in_use,
            // What goes with the run need not outlive a power loss.
            unflushed: workspace.unflushed && !options.is_fresh(),
            kept: Some(caches),
            artifacts: report.artifacts.clone(),
            publisher,
            agent: runs,
            elsewhere: Vec::new(),
            log,
            standing: Standing::default(),
            ended: false,
            next: Instant::now() + every,
        };
        Ok((runner, image, pulled))
    }

    /// All groups, then what follows from them.
    fn run(&mut self, image: &Image, pulled: &Pulled, report: &mut RunReport) -> Result<u8> {
        self.elsewhere = accounting::elsewhere(self.app, self.shared_store().as_ref());
        self.budget()?;
        self.rehearse()?;
        let mut leaked = None;
        for (index, group) in self.options.groups.iter().enumerate() {
            if self.is_over() {
                report.leases.push(not_run(group));
                continue;
            }
            if let Err(leak) = self.lease(group, image, pulled, index == 0, report)? {
                leaked = leaked.or(Some(leak));
            }
        }
        let app = self.app;
        accounting::share(app, self.shared_store().as_ref());
        let words = "what the run left is still looked at, and handed over: the same signal again ends that";
        runtime::ends_when_asked_twice(|| self.finish(report), &|| app.ui.warn(words))??;
        match leaked {
            Some(leak) => Err(leak.into()),
            None => Ok(self.standing.exit_code.filter(|_| self.standing.failed).unwrap_or(0)),
        }
    }

    fn rehearse(&self) -> Result<()> {
        let Some(publisher) = &self.publisher else { return Ok(()) };
        let commands = self.options.groups.iter().flatten();
        let all: Vec<&str> = commands.map(|command| command.shown.as_str()).collect();
        publisher.rehearse(&self.place.path, &all.join("\n"))
    }

    fn workspace_in_words(&self) -> &'static str {
        match (&self.taken, self.options.fresh) {
            (Some(_), _) => "a copy of the checkout",
            (None, true) => "a fresh workspace, --keep goes on in the task's own",
            (None, false) => "the task's workspace as it was left, --fresh takes a new one",
        }
    }

    fn is_over(&self) -> bool {
        self.ended || (self.standing.failed && !self.options.keep_going)
    }

    /// One runtime from its making to its end. The inner error is a leak, which
    /// must not keep the rest from being published.
    fn lease(
        &mut self,
        group: &[Command],
        image: &Image,
        pulled: &Pulled,
        first: bool,
        report: &mut RunReport,
    ) -> Result<Result<(), Fault>> {
        let app = self.app;
        // What was there for the first is not counted again.
        let mut later = Report::default();
        let part = if first { &mut report.report } else { &mut later };
        let Ready { spec, preparation, records, locks } = self.ready(image, pulled, part)?;
        if first {
            enter::greet(app, &self.resolved, spec.network, Some(self.workspace_in_words()));
        }
        // From here on a signal ends the runtime, and then this.
        runtime::hold_signals()?;
        let start = || Ok((Sandbox::start(&app.runtimes(), app.clock, &spec)?, 0));
        let mut sandbox = report.report.step("start", start)?;
        drop(locks);
        preparation.note(app, &self.resolved.task, Place::into(&self.place))?;
        if first {
            self.afterwards(pulled, &records);
            runtimes::tell_ports(app, sandbox.lease());
            runtimes::tell_limits(app, sandbox.lease());
        }
        report.report.limits = sandbox.lease().enforced;
        let serves = self.stands(sandbox.lease());
        let begun = Instant::now();
        let (commands, reason) = self.commands((group, &preparation), &mut sandbox, report)?;
        report.report.note("run", begun.elapsed(), 0);
        let outside = sandbox.written().cloned();
        let receipt = report.report.step("reset", || Ok((sandbox.reset(app.clock, reason)?, 0)))?;
        if let Some(end) = &receipt.out_of_memory {
            let words = runtimes::out_of_memory(end);
            app.ui.warn(&words);
            if self.standing.failed && self.standing.why.is_none() {
                self.standing.why = Some(words);
            }
        }
        let failed = commands.iter().find(|command| command.exit_code.is_some_and(|code| code != 0));
        let code = failed.or(commands.last()).and_then(|command| command.exit_code);
        self.account(&receipt, code, if first { &report.report } else { &later });
        if let Some(written) = outside.as_ref().filter(|written| !written.is_empty()) {
            runtimes::tell_outside(app, written.files, written.removed, &written.paths, "the run");
            self.standing.outside = Some(written.clone());
        }
        let leak = runtimes::check_baseline(&receipt);
        if leak.is_ok() {
            runtimes::tell_reset(app, &receipt, serves);
            caches::tell_gone(app, &receipt, &records);
        }
        report.report.receipt = Some(receipt.clone());
        report.leases.push(LeaseReport { commands, outside, receipt: Some(receipt) });
        Ok(leak)
    }

    /// Notes a runtime that has begun; whether services run in it.
    fn stands(&mut self, lease: &Lease) -> bool {
        self.standing.lease = Some(lease.id.clone());
        self.standing.begun = self.standing.begun.or(Some((lease.begun, lease.begun_nanos)));
        !lease.services.is_empty()
    }

    /// What the next runtime is.
    fn ready(&mut self, image: &Image, pulled: &Pulled, report: &mut Report) -> Result<Ready> {
        let (app, resolved, place) = (self.app, &self.resolved, &self.place);
        let kept = self.kept.take().map_or_else(|| KeptCaches::wait(app), Ok)?;
        let of = Ingredients { resolved, place, image, pulled };
        let wishes = Wishes {
            runtime: &self.options.runtime,
            materialize: false,
            nearest: false,
            artifacts: self.artifacts.clone(),
        };
        let source = Source::new(app, resolved.task.clone());
        let mut ready = prepare::ready(source, of, kept, &wishes, report)?;
        ready.spec.deadline = Some(runtimes::deadline_of_its_own(app, &place.path, &self.options.runtime)?);
        if let Some(budget) = self.budget()? {
            let end = runtime::monotonic_after(budget.time);
            if ready.spec.deadline.is_none_or(|deadline| end < deadline) {
                app.ui.status("Budget", &budget.words());
                ready.spec.deadline = Some(end);
            }
        }
        ready.spec.list_written = true;
        ready.spec.agent.clone_from(&self.agent);
        Ok(ready)
    }

    /// What whoever is charged may still spend.
    fn budget(&self) -> Result<Option<Budget>> {
        accounting::budget(self.app, self.resolved.payer(self.agent.as_deref()), &self.elsewhere)
    }

    /// The store that others have, too: that of the task, or the one to which it is handed.
    fn shared_store(&self) -> Option<StoreRef> {
        if self.taken.is_none() {
            return Some(self.resolved.task.store.clone());
        }
        self.publisher.as_ref().and_then(|_| self.app.configured_store().ok().flatten())
    }

    /// What the commands need not wait for.
    fn afterwards(&self, pulled: &Pulled, records: &[Record]) {
        let (app, resolved) = (self.app, &self.resolved);
        let given = caches::given(resolved, records);
        let unflushed = pulled.layers.unflushed(&pulled.records) || Trees::unflushed(records);
        if self.unflushed || unflushed || given.is_some() {
            runtime::in_background(|| {
                caches::note_given(app, resolved, &self.place, given);
                let _ = flush(app, resolved, &self.place, Some(pulled));
                let _ = evidence::flush(app);
                caches::flush(app, pulled, records);
            });
        }
        upkeep::daily(app);
    }

    /// A line in the ledger, and among what is handed over.
    fn account(&mut self, receipt: &Receipt, code: Option<u8>, report: &Report) {
        let identity = &self.resolved.identity;
        let entry = LedgerEntry::of(receipt, MadeBy::Run, Some(identity));
        let mut entry = entry.with(&self.resolved.task.store.to_string(), code, report);
        if self.taken.is_some() {
            // No store knows it: what is the same from run to run is the project.
            (entry.store, entry.task) = (None, format!("{} ({})", identity.task_id, identity.repo.url));
        }
        accounting::append(self.app, &entry);
        self.standing.entries.push(entry);
    }

    /// The commands of a group, one after the other until one fails, while
    /// somebody publishes.
    fn commands(
        &mut self,
        (group, preparation): (&[Command], &runtimes::Preparation),
        sandbox: &mut Sandbox,
        report: &mut RunReport,
    ) -> Result<(Vec<CommandReport>, &'static str)> {
        let stop = Stop::default();
        let mut next = self.next;
        let so_far = Standing { command: group.first().map(|command| command.shown.clone()), ..self.standing.clone() };
        let (ran, published) = std::thread::scope(|scope| {
            let publisher = self
                .publisher
                .as_ref()
                .filter(|_| self.options.publishing.as_ref().is_some_and(|publishing| publishing.every.is_some()));
            let log = &self.log;
            let (stop, so_far) = (&stop, &so_far);
            let publishing = publisher.map(|publisher| {
                scope.spawn(move || {
                    publisher.keep_publishing(log, so_far, stop, &mut next);
                    next
                })
            });
            let ran = each_command(self, (group, preparation), sandbox);
            stop.say();
            let published = publishing.map(|thread| of_thread(thread.join(), "the thread that publishes meanwhile"));
            (ran, published)
        });
        match published {
            Some(Ok(next)) => self.next = next,
            Some(Err(died)) => self.app.ui.warn(&died.to_string()),
            None => {}
        }
        let (commands, outcome) = ran?;
        self.settle(&commands, &outcome, report);
        Ok((commands, outcome.reason()))
    }

    /// Notes how the run stands after a group.
    fn settle(&mut self, commands: &[CommandReport], outcome: &Outcome, report: &mut RunReport) {
        let last = commands.iter().rev().find(|command| command.exit_code.is_some());
        let failed = outcome.exit_code() != 0;
        if !self.standing.failed {
            self.standing.command = last.map(|command| command.command.clone());
            self.standing.exit_code = Some(outcome.exit_code());
        }
        let why = match outcome {
            Outcome::TimedOut => Some("it reached its deadline".to_owned()),
            Outcome::Idle => Some("nothing was done in it for too long".to_owned()),
            Outcome::Cancelled(signal) => Some(format!("it was cancelled by {}", runtimes::signal_name(*signal))),
            Outcome::Lost => Some("its runtime was reset while it ran".to_owned()),
            Outcome::NotStarted { program, .. } => Some(format!("{program} could not be started")),
            Outcome::Exited(_) => None,
        };
        if let Outcome::Cancelled(signal) = outcome {
            report.cancelled = Some(runtimes::signal_name(*signal));
        }
        if failed && !self.standing.failed {
            self.standing.why = why;
        }
        self.standing.failed |= failed;
        self.ended |= matches!(outcome, Outcome::Cancelled(_) | Outcome::Lost);
        runtimes::tell(self.app, &self.resolved.task.target.to_string(), outcome);
        report.report.exit_code = self.standing.exit_code;
    }

    /// Collects, publishes, and takes the copy of a checkout away.
    fn finish(&mut self, report: &mut RunReport) -> Result<()> {
        let app = self.app;
        if let Err(error) = self.log.finish() {
            app.ui.warn(&format!("{error:#}"));
        }
        app.ui.status("Log", &self.log.path.display().to_string());
        report.log = Some(self.log.path.clone());
        if let Some(output) = &self.options.output {
            let output = app.cwd.join(output);
            self.copy_out(&output)?;
            report.output = Some(output);
        }
        if let Some(publisher) = &self.publisher {
            let published = publisher.publish(&self.log, &self.standing, true).with_context(|| {
                format!("the run is over, its result could not be published; it is in {}", self.place.path.display())
            })?;
            app.ui.status("Published", &format!("{} as {}", published.task, published.identity));
            report.published = Some(published);
        }
        self.tidy(report);
        Ok(())
    }

    /// Puts the evidence into a folder of the caller's.
    fn copy_out(&self, output: &std::path::Path) -> Result<()> {
        let project = self.app.project(&self.place.path)?;
        let agent = self.agent.as_deref();
        let mut files = self.log.evidence(&self.standing, agent)?;
        let maker = self.log.maker(&self.standing, agent);
        let found = evidence::collect(&self.place.path, &project.artifacts.collect, &maker, self.standing.begun)?;
        for left_out in &found.left_out {
            self.app.ui.warn(&format!("not collected: {left_out}"));
        }
        files.extend(found.files);
        let bytes = evidence::copy(&self.app.ui, &files, output)?;
        let what = format!("{} files, {}, at {}", files.len(), crate::ui::human_bytes(bytes), output.display());
        self.app.ui.status("Collected", &what);
        Ok(())
    }

    /// Takes away what was made for this run alone, unless somebody may miss it.
    fn tidy(&mut self, report: &mut RunReport) {
        let (app, place) = (self.app, &self.place);
        if self.options.is_fresh() {
            // From here on it may be moved.
            self.in_use = None;
            report.workspace_kept = fresh::leave(app, &self.resolved, place, self.standing.failed);
            return;
        }
        report.workspace_kept = true;
        let Some(taken) = &self.taken else { return };
        let published = report.published.as_ref().map(|published| published.snapshot.as_str());
        let tidied = match self.options.stdout.is_some() && !self.standing.failed {
            true => checkout::discard(app, taken, &place.path),
            false => checkout::tidy(app, taken, &place.path, published),
        };
        match tidied {
            Ok(true) => report.workspace_kept = false,
            Ok(false) => app.ui.status("Kept", &format!("what the run changed: {}", place.path.display())),
            Err(error) => {
                app.ui.warn(&format!("the run's workspace {} stays: {error:#}", place.path.display()));
            }
        }
    }
}

/// Runs commands until one fails; the rest is named as not run.
fn each_command(
    runner: &Runner<'_>,
    (group, preparation): (&[Command], &runtimes::Preparation),
    sandbox: &mut Sandbox,
) -> Result<(Vec<CommandReport>, Outcome)> {
    let Runner { app, log, options, .. } = runner;
    let extras = &options.runtime.extras;
    let announce = options.groups.len() + group.len() > 2;
    let mut reports = not_run(group).commands;
    let attend = |session: &Session| sandbox.run_unattended(session, &log.transcript);
    if let Some(ended) = preparation.run(app, &runner.resolved.task, extras, attend)? {
        return Ok((reports, ended));
    }
    let mut last = Outcome::Exited(0);
    for (index, (command, report)) in group.iter().zip(&mut reports).enumerate() {
        if announce {
            app.ui.status("Running", &command.shown);
            log.transcript.note(&format!("$ {}", command.shown));
        }
        let begun = Instant::now();
        let mut session = runtimes::session(app, &command.words, extras);
        let is_last = index + 1 == group.len();
        session.stdout =
            options.stdout.as_ref().map(|stdout| if is_last { &stdout.last } else { &stdout.before }).cloned();
        last = sandbox.run_unattended(&session, &log.transcript)?;
        runtimes::tell_services(app, sandbox.ended_services());
        report.exit_code = Some(last.exit_code());
        report.ms = Some(begun.elapsed().as_secs_f64() * 1000.0);
        if last != Outcome::Exited(0) {
            break;
        }
    }
    Ok((reports, last))
}
