//! `envctl run`

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::call::VerbCall;
use super::session::VariableFlags;
use super::{FAILED_BESIDE_CHILD, parse_task};
use crate::disk;
use crate::error::{not_found, usage};
use crate::handoff::{
    App, CheckoutOptions, Command, Publishing, RunOptions, RunReport, RunTarget, RuntimeOptions, parse_batch, run,
};
use crate::identity::{Status, TaskId, TaskRef, Workdir};
use crate::quantity::parse_duration;
use crate::runtime::Network;
use crate::ui::ErrorReport;

/// Upper bound for a batch in bytes.
const MAX_BATCH: u64 = 1 << 20;

/// Run commands unattended, in a fresh runtime that always ends
///
/// For agents and CI. With a task: without a terminal, or with --fresh, in a fresh
/// workspace, as the task is published; on a terminal, or with --keep, in the task's
/// own, as it was left. Without a task: in a copy of this checkout, which stays as it
/// is. There is always a deadline (8h), never a terminal inside, and the output is
/// kept as a log. A signal to envctl ends the runtime, too.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// TASK, STORE:TASK or STORE@sha256:...; this checkout, if none is named
    #[arg(value_parser = parse_task)]
    task: Option<TaskRef>,
    /// The image that the checkout runs in
    #[arg(long, value_name = "IMAGE", conflicts_with = "task")]
    image: Option<String>,
    /// Build the image that the project describes, in an entered workspace too
    #[arg(long, conflicts_with_all = ["task", "image"])]
    build: bool,
    /// Where the checkout appears inside the runtime
    #[arg(long, value_name = "PATH", conflicts_with = "task")]
    workdir: Option<Workdir>,
    /// What the runtime can reach, whatever the project asks for
    #[arg(long, value_enum, value_name = "NETWORK")]
    network: Option<Network>,
    /// End a runtime after this time: 30m, 8h
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// End a runtime when nothing was printed or computed in it for this time: 20m
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    idle: Option<Duration>,
    /// Leave out the secrets and git credentials that the project asks for
    #[arg(long)]
    no_secrets: bool,
    /// Start none of the services that the project asks for
    #[arg(long)]
    no_services: bool,
    /// Start without the project's caches, and run none of their setups
    #[arg(long)]
    no_caches: bool,
    /// Go on without what the project asks for and was not approved: secrets, a
    /// network, setups with a network, other stores
    #[arg(long)]
    without_approvals: bool,
    #[command(flatten)]
    variables: VariableFlags,
    /// Run in a workspace of its own, as the task is published: it goes after a
    /// success and stays after a failure
    #[arg(long, requires = "task", conflicts_with_all = ["keep", "refresh"])]
    fresh: bool,
    /// Run in the task's workspace as it was left, and leave it
    #[arg(long, requires = "task")]
    keep: bool,
    /// Resolve the task again, and keep its workspace; an older one is set aside
    #[arg(long, requires = "task")]
    refresh: bool,
    /// Run the commands of a file, one a line; an empty line begins a fresh runtime
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    batch: Option<PathBuf>,
    /// After a failure go on with the next group of a batch
    #[arg(long, requires = "batch")]
    keep_going: bool,
    /// Publish what there is after the run, however it ended: as the task, or as --as says
    #[arg(long)]
    publish: bool,
    /// Publish as this task
    #[arg(long = "as", value_name = "TASK-ID", requires = "publish")]
    as_task: Option<TaskId>,
    /// Publish while it runs, too, this far apart: 10m
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "publish")]
    every: Option<Duration>,
    /// The state of the work after a success; a failure needs a human
    #[arg(long, value_enum, value_name = "STATUS", default_value_t, requires = "publish")]
    status: Status,
    /// What the one who enters should know
    #[arg(long, value_name = "TEXT", requires = "publish")]
    message: Option<String>,
    /// Leave files with credentials out instead of refusing
    #[arg(long, requires = "publish")]
    redact: bool,
    /// Who runs and publishes
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Copy the log and what the project collects to this folder, missing or empty
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Write what happened, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Program and arguments
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// A run after which something failed.
#[derive(Serialize)]
struct Failed<'a> {
    #[serde(flatten)]
    report: &'a RunReport,
    #[serde(flatten)]
    error: ErrorReport,
}

impl Arguments {
    /// Whether there is anything whose exit code could be passed through.
    pub(super) fn has_child(&self) -> bool {
        self.batch.is_some() || !self.command.is_empty()
    }

    pub(super) fn run(&self, VerbCall { app, .. }: VerbCall<'_>) -> Result<u8> {
        if !self.has_child() {
            return Err(usage("no command to run").hint("envctl run -- CMD, or --batch FILE").into());
        }
        let options = self.options(app)?;
        let mut report = RunReport::default();
        let ran = {
            let _aside = app.ui.aside()?;
            run(app, &options, &mut report)
        };
        let error = match ran {
            Ok(code) => {
                app.options.report.iter().try_for_each(|file| file.write(&report))?;
                if app.ui.is_json() {
                    app.ui.json(&report)?;
                }
                return Ok(code);
            }
            Err(error) => error,
        };
        if report.leases.is_empty() {
            return Err(error);
        }
        // What was run is told, too.
        let failed = Failed { report: &report, error: ErrorReport::new(&error, FAILED_BESIDE_CHILD) };
        app.options.report.iter().try_for_each(|file| file.write(&failed))?;
        if app.ui.is_json() {
            app.ui.json(&failed)?;
        } else {
            app.ui.error(&error, FAILED_BESIDE_CHILD);
        }
        Ok(FAILED_BESIDE_CHILD)
    }

    fn options(&self, app: &App) -> Result<RunOptions> {
        let publishing = self.publish.then(|| Publishing {
            task: self.as_task.clone(),
            status: self.status,
            message: self.message.clone(),
            redact: self.redact,
            every: self.every,
        });
        Ok(RunOptions {
            subject: match &self.task {
                Some(task) => RunTarget::Task(task.clone()),
                None => RunTarget::Checkout(CheckoutOptions {
                    image: self.image.clone(),
                    build: self.build,
                    workdir: self.workdir.clone(),
                }),
            },
            groups: self.groups(app)?,
            keep_going: self.keep_going,
            runtime: RuntimeOptions {
                network: self.network,
                ports: Vec::new(),
                timeout: self.timeout,
                idle: self.idle,
                no_secrets: self.no_secrets,
                no_services: self.no_services,
                no_caches: self.no_caches,
                without_approvals: self.without_approvals,
                user: None,
                extras: self.variables.extras(&app.env)?,
            },
            // Whoever sits in front of a terminal knows what they left there.
            fresh: self.fresh || !(self.keep || self.refresh || app.options.interactive),
            refresh: self.refresh,
            agent: self.agent.clone(),
            publishing,
            output: self.output.clone(),
            stdout: None,
        })
    }

    fn groups(&self, app: &App) -> Result<Vec<Vec<Command>>> {
        let Some(batch) = &self.batch else { return Ok(vec![vec![Command::of_words(&self.command)]]) };
        let file = app.cwd.join(batch);
        let bytes = disk::read_stream(&file, MAX_BATCH)?
            .ok_or_else(|| not_found(format!("{} does not exist", file.display())))?;
        Ok(parse_batch(&String::from_utf8_lossy(&bytes), &batch.display().to_string())?)
    }

    /// Where the caller wants a report.
    pub(super) fn report(&self) -> Option<&Path> {
        self.report.as_deref()
    }
}
