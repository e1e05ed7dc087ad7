//! The arguments that name a running runtime.

use clap::Args;

use super::parse_task;
use crate::handoff::Running;
use crate::identity::TaskRef;

#[derive(Debug, Args)]
pub(super) struct RunningArguments {
    /// TASK, STORE:TASK or STORE@sha256:...
    #[arg(value_parser = parse_task)]
    task: TaskRef,
    /// Which of the task's runtimes, as `status` shows it (default: the newest)
    #[arg(long, value_name = "ID")]
    lease: Option<String>,
}

impl RunningArguments {
    pub(super) fn get(&self) -> Running<'_> {
        Running { task: &self.task, lease: self.lease.as_deref() }
    }
}
