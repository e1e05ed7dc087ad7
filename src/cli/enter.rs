//! `envctl enter`

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::call::VerbCall;
use super::parse_task;
use super::session::SessionFlags;
use crate::config::PortEntry;
use crate::env::Env;
use crate::error::usage;
use crate::handoff::{App, EnterOptions, Entered, Report, RuntimeOptions, choose_task, enter};
use crate::identity::{Lifetime, TaskRef};
use crate::quantity::parse_duration;
use crate::runtime::{Network, PortRequest};

/// What a runtime is to be like; shared by the verbs that make one.
#[derive(Debug, Args)]
pub(super) struct RuntimeFlags {
    /// What the runtime can reach, whatever the project asks for
    #[arg(long, value_enum, value_name = "NETWORK")]
    network: Option<Network>,
    /// Publish this port of the runtime on localhost: 3000; 8080:3000 or 3000=8080 for
    /// the fixed port 8080 here
    #[arg(short, long, value_name = "PORT")]
    publish: Vec<PortEntry>,
    /// End the runtime after this time: 30m, 8h
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// End the runtime when nothing was typed, printed or computed in it for this
    /// time: 1h
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
    /// network, fixed ports, setups with a network, other stores
    #[arg(long)]
    without_approvals: bool,
    /// Run as this user of the image, a name or an id, instead of the image's own
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    #[command(flatten)]
    session: SessionFlags,
}

impl RuntimeFlags {
    pub(super) fn options(&self, env: &Env) -> Result<RuntimeOptions> {
        let port = |port: &PortEntry| PortRequest { inside: port.inside, host: port.host };
        Ok(RuntimeOptions {
            network: self.network,
            ports: self.publish.iter().map(port).collect(),
            timeout: self.timeout,
            idle: self.idle,
            no_secrets: self.no_secrets,
            no_services: self.no_services,
            no_caches: self.no_caches,
            without_approvals: self.without_approvals,
            user: self.user.clone(),
            extras: self.session.extras(env)?,
        })
    }
}

/// Enter a task: a shell, or one command, in its checkout and image
///
/// Without a command, a shell is opened. The command's exit code passes
/// through. The workspace stays; everything else of the run is gone after it.
/// A task that is running already is joined.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// TASK, STORE:TASK or STORE@sha256:...; without, on a terminal, one of the store's
    /// tasks is chosen
    #[arg(value_parser = parse_task)]
    task: Option<TaskRef>,
    /// Stop after the workspace and print its path
    #[arg(long, conflicts_with_all = ["command", "network", "publish", "timeout", "idle", "no_secrets", "no_services", "no_caches", "without_approvals", "user", "env", "shell"])]
    no_runtime: bool,
    /// Make the workspace in this folder
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// What the workspace belongs to; it takes the place of another task's
    #[arg(long, value_enum, value_name = "LIFETIME")]
    lifetime: Option<Lifetime>,
    #[command(flatten)]
    runtime: RuntimeFlags,
    /// Leave the runtime running under a supervisor of its own, and return
    #[arg(long, conflicts_with = "no_runtime")]
    detach: bool,
    /// Make another runtime although the task has one
    #[arg(long, conflicts_with = "no_runtime")]
    fresh: bool,
    /// Resolve the task again; an older workspace is set aside
    #[arg(long)]
    refresh: bool,
    /// Copy cached trees into the workspace, for programs of the host
    #[arg(long, conflicts_with = "no_runtime")]
    materialize: bool,
    /// Where a cache cannot be had, use its nearest entry, made for other inputs
    #[arg(long, conflicts_with = "no_runtime")]
    nearest_caches: bool,
    /// Show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Write what happened, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Program and arguments to run instead of a shell
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Arguments {
    pub(super) fn has_child(&self) -> bool {
        !self.no_runtime && !self.dry_run && !self.detach && self.task.is_some()
    }

    pub(super) fn run(&self, VerbCall { app, .. }: VerbCall<'_>) -> Result<u8> {
        let options = EnterOptions {
            task: self.which(app)?,
            command: self.command.clone(),
            no_runtime: self.no_runtime,
            into: self.into.clone(),
            lifetime: self.lifetime,
            runtime: self.runtime.options(&app.env)?,
            detach: self.detach,
            fresh: self.fresh,
            refresh: self.refresh,
            materialize: self.materialize,
            nearest: self.nearest_caches,
            dry_run: self.dry_run,
        };
        let mut report = Report::default();
        let entered = {
            let _aside = self.has_child().then(|| app.ui.aside()).transpose()?;
            enter(app, &options, &mut report)?
        };
        if let Some(file) = &app.options.report {
            file.write(&report)?;
        }
        match entered {
            Entered::Planned(plan) if app.ui.is_json() => app.ui.json(&plan)?,
            Entered::Planned(plan) => app.ui.list(plan.lines())?,
            Entered::Workspace(_) if app.ui.is_json() => app.ui.json(&report)?,
            Entered::Workspace(path) => app.ui.raw(&path.display().to_string())?,
            Entered::Left(code) if app.ui.is_json() => {
                app.ui.json(&report)?;
                return Ok(code);
            }
            Entered::Left(code) => return Ok(code),
            Entered::Detached(lease) if app.ui.is_json() => app.ui.json(&lease)?,
            Entered::Detached(lease) => app.ui.data(&lease.id)?,
        }
        Ok(0)
    }

    /// The task that is named, or chosen.
    fn which(&self, app: &App) -> Result<TaskRef> {
        match &self.task {
            Some(task) => Ok(task.clone()),
            None if app.options.interactive => choose_task(app)?.ok_or_else(|| usage("no task was chosen").into()),
            None => Err(usage("which task do you want to enter?").hint("envctl tasks lists those of the store").into()),
        }
    }

    /// Where the caller wants a report.
    pub(super) fn report(&self) -> Option<&Path> {
        self.report.as_deref()
    }
}
