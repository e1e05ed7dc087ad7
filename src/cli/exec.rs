//! `envctl exec`

use anyhow::Result;
use clap::Args;

use super::parse_task;
use crate::handoff::{Context, exec};
use crate::identity::TaskRef;

/// Run a command in a task's running runtime
///
/// A terminal is used where stdin and stdout are terminals; pipes stay pipes.
/// When the one who entered leaves, the command ends.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// TASK, STORE:TASK or STORE@sha256:...
    #[arg(value_parser = parse_task)]
    task: TaskRef,
    /// Program and arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

impl Arguments {
    pub(super) fn run(&self, ctx: &Context) -> Result<u8> {
        exec(ctx, &self.task, &self.command)
    }
}
