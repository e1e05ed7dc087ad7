//! `envctl reset`

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::call::VerbCall;
use super::parse_task;
use crate::error::{Kind, kind_of, usage};
use crate::handoff::{
    App, EnterOptions, Entered, Report, Restored, Running, enter, is_known, receipts, reset, reset_workspace, task_here,
};
use crate::identity::TaskRef;
use crate::runtime::Receipt;

/// End a task's runtimes, and check that nothing of them is left
///
/// Ends every process, removes everything but the workspace, then checks.
/// Works after a crash, and when there is nothing to do.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// TASK, STORE:TASK or STORE@sha256:... (default: the task of this workspace)
    #[arg(value_parser = parse_task)]
    task: Option<TaskRef>,
    /// Only this one of its runtimes, as `status` shows it
    #[arg(long, value_name = "ID", conflicts_with_all = ["all", "workspace", "enter"])]
    lease: Option<String>,
    /// All runtimes of this user
    #[arg(long, conflicts_with = "task")]
    all: bool,
    /// Return the workspace to its snapshot as well; what is there is set aside
    #[arg(long, requires = "task")]
    workspace: bool,
    /// Open a fresh shell afterwards
    #[arg(long, requires = "task", conflicts_with = "all")]
    enter: bool,
}

#[derive(Serialize)]
struct Output<'a> {
    baseline: bool,
    known: bool,
    receipts: &'a [Receipt],
    workspace: Option<Restored>,
}

impl Arguments {
    /// The exit code is that of the shell that is opened.
    pub(super) fn has_child(&self) -> bool {
        self.enter
    }

    pub(super) fn run(&self, VerbCall { app, reaped, .. }: VerbCall<'_>) -> Result<u8> {
        let uncleared = reaped.failures;
        let task = match &self.task {
            None if !self.all => Some(task_here(app).map_err(|error| match kind_of(&error) {
                Kind::Usage => usage(error.to_string()).hint("name one, or add --all for all runtimes of yours").into(),
                _ => error,
            })?),
            named => named.clone(),
        };
        let chosen = task.as_ref().map(|task| Running { task, lease: self.lease.as_deref() });
        let done = reset(app, chosen, reaped.receipts)?;
        let unknown = match &task {
            Some(task) if done.is_empty() && !is_known(app, task)? => Some(task),
            _ => None,
        };
        if let Some(task) = unknown {
            app.ui.warn(&format!("nothing here is known by the name {task}; envctl status shows what is"));
        }
        let baseline = uncleared == 0 && done.iter().all(|receipt| receipt.baseline);
        let workspace = match &self.task {
            Some(task) if self.workspace && baseline => Some(reset_workspace(app, task)?),
            _ => None,
        };
        match &self.task {
            // Standard output is the shell's.
            Some(task) if self.enter && baseline => {
                done.iter().flat_map(receipts).for_each(|line| app.ui.detail(&line));
                let code = {
                    let _aside = app.ui.aside()?;
                    enter_again(app, task)?
                };
                if app.ui.is_json() {
                    app.ui.json(&Output { baseline, known: unknown.is_none(), receipts: &done, workspace })?;
                }
                return Ok(code);
            }
            _ if app.ui.is_json() => {
                app.ui.json(&Output { baseline, known: unknown.is_none(), receipts: &done, workspace })?
            }
            _ if done.is_empty() && uncleared > 0 => {
                app.ui.data("baseline   NO: a dead runtime could not be cleared")?
            }
            _ if unknown.is_some() => app.ui.data("baseline   yes: there is nothing of that name")?,
            _ if done.is_empty() => app.ui.data("baseline   yes: no runtime was there")?,
            _ => done.iter().flat_map(receipts).try_for_each(|line| app.ui.data(&line))?,
        }
        Ok(if baseline { 0 } else { Kind::Leak.exit_code() })
    }
}

fn enter_again(app: &App, task: &TaskRef) -> Result<u8> {
    match enter(app, &EnterOptions::fresh(task.clone()), &mut Report::default())? {
        Entered::Left(code) => Ok(code),
        _ => Ok(0),
    }
}
