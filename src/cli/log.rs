//! `envctl log`

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::call::VerbCall;
use super::parse_task;
use crate::clock::age;
use crate::handoff::{App, LogEnd, Swept, log, swept, task_here};
use crate::identity::TaskRef;

/// Show a task's history, or what was collected on this machine
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// TASK, STORE:TASK or STORE@sha256:... (default: the task of this workspace)
    #[arg(value_parser = parse_task)]
    task: Option<TaskRef>,
    /// Show what collections took away on this machine, and where it is now
    #[arg(long, conflicts_with = "task")]
    local: bool,
    /// How many identities at most
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

impl Arguments {
    pub(super) fn run(&self, VerbCall { app, .. }: VerbCall<'_>) -> Result<u8> {
        if self.local {
            return self.local(app);
        }
        let task = self.task.clone().map_or_else(|| task_here(app), Ok)?;
        let log = log(app, &task, self.limit as usize)?;
        if app.ui.is_json() {
            app.ui.json(&log)?;
            return Ok(0);
        }
        let now = app.clock.now();
        let lines = log.identities.iter().flat_map(|entry| {
            let identity = &entry.identity;
            let agent = identity.agent_identity.as_deref().unwrap_or("-");
            let message = identity.handoff.message.as_deref().unwrap_or_default();
            let (commit, status) = (identity.repo.commit.short(), identity.handoff.status.to_string());
            let when = age(identity.created_at, now);
            let first = format!("    {}  {status}, {when}, {agent}, {commit}", identity.task_id);
            let message = (!message.is_empty()).then(|| format!("    {message}"));
            [entry.digest.to_string(), first].into_iter().chain(message)
        });
        app.ui.list(lines)?;
        match log.end {
            LogEnd::Beginning => {}
            LogEnd::Gone => app.ui.status("Ended", "the store no longer has what came before"),
            LogEnd::Unknown => app.ui.status("Ended", "what came before is not on this machine"),
            LogEnd::Limit => {
                app.ui.status("Ended", &format!("there is more than {}; --limit COUNT shows more", self.limit))
            }
        }
        Ok(0)
    }

    fn local(&self, app: &App) -> Result<u8> {
        let mut swept = swept(app)?;
        swept.truncate(self.limit as usize);
        if app.ui.is_json() {
            app.ui.json(&Local { swept })?;
            return Ok(0);
        }
        if swept.is_empty() {
            app.ui.status("Found", "nothing that was collected");
        }
        let now = app.clock.now();
        let lines = swept.iter().flat_map(|one| {
            let when = age(one.at, now);
            let first = match &one.task {
                Some(task) => format!("{when}  {} of {task}, because {}", one.kind, one.why),
                None => format!("{when}  {}, because {}", one.kind, one.why),
            };
            let kept = one
                .salvage
                .as_ref()
                .map(|id| format!("    held {}; envctl workspace recover {id} brings it back", one.unsaved.join(", ")));
            [first, format!("    {}", one.path.display())].into_iter().chain(kept)
        });
        app.ui.list(lines)?;
        Ok(0)
    }
}

#[derive(Serialize)]
struct Local {
    swept: Vec<Swept>,
}
