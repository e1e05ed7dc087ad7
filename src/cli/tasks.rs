//! `envctl tasks`

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::clock::age;
use crate::handoff::{Context, TaskRow, tasks};
use crate::ui::escape;

/// List the tasks of a store
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only those that wait for a human
    #[arg(long)]
    needs_human: bool,
}

#[derive(Serialize)]
struct Output {
    store: String,
    tasks: Vec<TaskRow>,
}

impl Arguments {
    pub(super) fn run(&self, ctx: &Context) -> Result<u8> {
        let (store, rows) = tasks(ctx, self.needs_human)?;
        if ctx.ui.is_json() {
            ctx.ui.json(&Output { store: store.to_string(), tasks: rows })?;
            return Ok(0);
        }
        if rows.is_empty() {
            ctx.ui.status("Found", &format!("no task in {store}"));
        }
        let width = rows.iter().map(|row| row.task.as_str().len()).max().unwrap_or_default();
        let now = ctx.clock.now();
        for row in &rows {
            let agent = row.agent.as_deref().unwrap_or("-");
            let message = row.message.as_deref().unwrap_or_default();
            let (task, status) = (row.task.as_str(), row.status.to_string());
            let line =
                format!("{task:<width$}  {status:<11}  {:<14}  {agent:<12}  {message}", age(row.created_at, now));
            ctx.ui.data(escape(&line).trim_end())?;
        }
        Ok(0)
    }
}
