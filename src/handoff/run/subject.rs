//! What a run is of: a task or a checkout, settled, and the place of its workspace.

use std::path::PathBuf;

use anyhow::Result;

use super::batch::Command;
use super::checkout::{CheckoutOptions, TakeOptions, Taken};
use super::publisher::Publishing;
use super::{checkout, fresh};
use crate::error::usage;
use crate::handoff::app::App;
use crate::handoff::publish::PublishedFrom;
use crate::handoff::report::Report;
use crate::handoff::runtimes::RuntimeOptions;
use crate::handoff::task::{Resolved, Source, resolve, resolve_published};
use crate::handoff::workspaces::Place;
use crate::identity::{Lifetime, TaskRef};
use crate::runtime::StdoutFile;

/// What is run.
#[derive(Clone, Debug)]
pub enum RunTarget {
    /// A task, in its workspace here.
    Task(TaskRef),
    /// The checkout that holds the working directory, in a copy of it.
    Checkout(CheckoutOptions),
}

/// Where standard output goes, where nothing but that is wanted of a run: of its
/// workspace, which goes after a success, whatever lies in it, and of its terminal.
#[derive(Clone, Debug)]
pub struct Stdout {
    /// That of the last command of a group.
    pub last: StdoutFile,
    /// That of those before it.
    pub before: StdoutFile,
}

/// What `run` was asked to do.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// What is run.
    pub subject: RunTarget,
    /// Groups of commands; each gets a fresh runtime.
    pub groups: Vec<Vec<Command>>,
    /// Go on with the next group after a failure.
    pub keep_going: bool,
    /// What the developer wants of the runtimes.
    pub runtime: RuntimeOptions,
    /// In a workspace of its own, as the task is published.
    pub fresh: bool,
    /// Resolve again although the task is pinned.
    pub refresh: bool,
    /// Who runs, and publishes.
    pub agent: Option<String>,
    /// Whether and how it is published.
    pub publishing: Option<Publishing>,
    /// A folder, missing or empty, for the log and what the project collects.
    pub output: Option<PathBuf>,
    /// Nothing is wanted but what is printed.
    pub stdout: Option<Stdout>,
}

impl RunOptions {
    /// Whether a task gets a workspace of this run's own.
    pub(super) fn is_fresh(&self) -> bool {
        self.fresh && matches!(self.subject, RunTarget::Task(_))
    }
}

/// What is run, and where.
pub(super) struct RunSubject<'a> {
    pub(super) source: Source<'a>,
    pub(super) resolved: Resolved,
    pub(super) place: Place,
    pub(super) taken: Option<Taken>,
    /// What a checkout goes on from, and the folder whose runs have sealed caches.
    pub(super) from: Option<PublishedFrom>,
    pub(super) agent: Option<String>,
}

impl<'a> RunSubject<'a> {
    /// Resolves a task, or takes a checkout.
    ///
    /// # Errors
    /// When there is no such task, or the checkout cannot be taken.
    pub(super) fn settle(app: &'a App, options: &RunOptions, report: &mut Report) -> Result<Self> {
        let agent = options.agent.clone().or_else(|| app.env.agent.clone());
        let (source, resolved, taken, from) = match &options.subject {
            RunTarget::Task(task) => {
                let source = Source::new(app, app.locate(task)?);
                let settle = || match options.fresh {
                    true => resolve_published(&source),
                    false => resolve(&source, None, options.refresh),
                };
                let resolved = report.step("resolve", || Ok((settle()?, 0)))?;
                (source, resolved, None, None)
            }
            RunTarget::Checkout(about) => {
                let from = PublishedFrom::of(app, &app.cwd)?;
                let publishing = options.publishing.as_ref();
                if publishing.is_some_and(|how| how.task.is_none()) && from.origin.is_none() {
                    return Err(usage("which task is this to be published as?").hint("name it: --as TASK-ID").into());
                }
                let how = TakeOptions { about, runtime: &options.runtime, publishing, agent: agent.clone() };
                let taken = report.step("resolve", || Ok((checkout::take(app, &from, how)?, 0)))?;
                let resolved = taken.resolved.clone();
                (Source::new(app, resolved.task.clone()), resolved, Some(taken), Some(from))
            }
        };
        report.task = resolved.task.reference();
        report.identity = resolved.digest.to_string();
        // A copy of a checkout is nobody else's, whatever its project wishes.
        let lifetime = taken.as_ref().map(|_| Lifetime::PerTask);
        let place = match options.is_fresh() {
            true => fresh::place(app, &resolved)?,
            false => Place::of(app, &resolved, None, lifetime)?,
        };
        report.workspace = place.path.display().to_string();
        Ok(RunSubject { source, resolved, place, taken, from, agent })
    }
}
