//! The arguments that name a task or its running runtime.

use std::borrow::Cow;

use anyhow::Result;
use clap::Args;

use super::parse_task;
use crate::handoff::{App, Running, task_here};
use crate::identity::TaskRef;

/// A task that must be named.
#[derive(Debug, Args)]
pub(super) struct RunningArguments {
    /// TASK, STORE:TASK or STORE@sha256:...
    #[arg(value_parser = parse_task)]
    task: TaskRef,
    #[command(flatten)]
    which: Which,
}

impl RunningArguments {
    pub(super) fn get(&self) -> Running<'_> {
        self.which.of(&self.task)
    }
}

/// One that the folder may name: see [`TaskArgument`].
#[derive(Debug, Args)]
pub(super) struct RunningHere {
    #[command(flatten)]
    task: TaskArgument,
    #[command(flatten)]
    which: Which,
}

impl RunningHere {
    /// # Errors
    /// As [`TaskArgument::get`].
    pub(super) fn task(&self, app: &App) -> Result<Cow<'_, TaskRef>> {
        self.task.get(app)
    }

    pub(super) fn of<'a>(&'a self, task: &'a TaskRef) -> Running<'a> {
        self.which.of(task)
    }
}

#[derive(Debug, Args)]
struct Which {
    /// Which of the task's runtimes, as `status` shows it (default: the newest)
    #[arg(long, value_name = "ID")]
    lease: Option<String>,
}

impl Which {
    fn of<'a>(&'a self, task: &'a TaskRef) -> Running<'a> {
        Running { task, lease: self.lease.as_deref() }
    }
}

/// A task, or that of the workspace in which the developer is.
#[derive(Debug, Args)]
pub(super) struct TaskArgument {
    /// TASK, STORE:TASK or STORE@sha256:... (default: the task of this workspace)
    #[arg(value_parser = parse_task)]
    task: Option<TaskRef>,
}

impl TaskArgument {
    /// The task.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] when none was named outside of all workspaces.
    pub(super) fn get(&self, app: &App) -> Result<Cow<'_, TaskRef>> {
        self.task.as_ref().map_or_else(|| task_here(app).map(Cow::Owned), |task| Ok(Cow::Borrowed(task)))
    }
}
