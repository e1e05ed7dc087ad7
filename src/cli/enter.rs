//! `envctl enter`

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use super::parse_task;
use crate::handoff::{Context, EnterOptions, Entered, Report, enter, write_report};
use crate::identity::TaskRef;
use crate::runtime::Network;

/// Enter a task: resolve, pull, hydrate, start; reset on exit
///
/// Without a command, a shell is opened. The command's exit code passes
/// through. The workspace stays; everything else of the run is gone after it.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// TASK, STORE:TASK or STORE@sha256:...
    #[arg(value_parser = parse_task)]
    task: TaskRef,
    /// Stop after the workspace and print its path
    #[arg(long, conflicts_with_all = ["command", "network"])]
    no_runtime: bool,
    /// Make the workspace in this folder
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// What the runtime can reach
    #[arg(long, value_enum, value_name = "NETWORK", default_value_t)]
    network: Network,
    /// Resolve the task again; an older workspace is set aside
    #[arg(long)]
    refresh: bool,
    /// Show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Write what happened, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Program and arguments to run instead of a shell
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

impl Arguments {
    pub(super) fn has_child(&self) -> bool {
        !self.no_runtime && !self.dry_run
    }

    pub(super) fn run(&self, ctx: &Context) -> Result<u8> {
        let options = EnterOptions {
            task: self.task.clone(),
            command: self.command.clone(),
            no_runtime: self.no_runtime,
            into: self.into.clone(),
            network: self.network,
            refresh: self.refresh,
            dry_run: self.dry_run,
        };
        let mut report = Report::default();
        let entered = enter(ctx, &options, &mut report)?;
        if let Some(path) = &self.report {
            write_report(path, &report)?;
        }
        match entered {
            Entered::Planned(plan) if ctx.ui.is_json() => ctx.ui.json(&plan)?,
            Entered::Planned(plan) => plan.lines().iter().try_for_each(|line| ctx.ui.data(line))?,
            Entered::Workspace(_) if ctx.ui.is_json() => ctx.ui.json(&report)?,
            Entered::Workspace(path) => ctx.ui.data(&path.display().to_string())?,
            Entered::Left(code) => return Ok(code),
        }
        Ok(0)
    }

    /// Where the caller wants a report.
    pub(super) fn report(&self) -> Option<&Path> {
        self.report.as_deref()
    }
}
