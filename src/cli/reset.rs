//! `envctl reset`

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::parse_task;
use crate::error::Kind;
use crate::handoff::{Context, receipts, reset};
use crate::identity::TaskRef;
use crate::runtime::Receipt;

/// Bring a task's runtimes back to baseline, with a receipt
///
/// Ends every process, removes everything but the workspace, then checks.
/// Works after a crash, and when there is nothing to do.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// TASK, STORE:TASK or STORE@sha256:...
    #[arg(value_parser = parse_task, required_unless_present = "all")]
    task: Option<TaskRef>,
    /// All runtimes of this user
    #[arg(long, conflicts_with = "task")]
    all: bool,
}

#[derive(Serialize)]
struct Output<'a> {
    baseline: bool,
    receipts: &'a [Receipt],
}

impl Arguments {
    pub(super) fn run(&self, ctx: &Context, reaped: Vec<Receipt>) -> Result<u8> {
        let done = reset(ctx, self.task.as_ref(), reaped)?;
        let baseline = done.iter().all(|receipt| receipt.baseline);
        if ctx.ui.is_json() {
            ctx.ui.json(&Output { baseline, receipts: &done })?;
        } else if done.is_empty() {
            ctx.ui.data("baseline   yes: no runtime was there")?;
        } else {
            done.iter().flat_map(receipts).try_for_each(|line| ctx.ui.data(&line))?;
        }
        Ok(if baseline { 0 } else { Kind::Leak.exit_code() })
    }
}
