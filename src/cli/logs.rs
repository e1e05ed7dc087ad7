//! `envctl logs`

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::call::VerbCall;
use super::running::RunningHere;
use crate::clock::age;
use crate::handoff::{LogRow, logs, named_log, no_log, show_log};

/// Show what a task's runs, services and setups printed
///
/// Without more the newest log of a run, a detached command or the setup of a cache.
/// Logs of services are those of a runtime that is alive.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    running: RunningHere,
    /// A service of the running runtime, or a cache: what its setup printed
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Go on with what is printed until the runtime ends
    #[arg(short, long)]
    follow: bool,
    /// List the logs instead, the newest first
    #[arg(long, conflicts_with_all = ["name", "follow"])]
    list: bool,
}

#[derive(Serialize)]
struct Output {
    logs: Vec<LogRow>,
}

impl Arguments {
    pub(super) fn run(&self, VerbCall { app, .. }: VerbCall<'_>) -> Result<u8> {
        let task = self.running.task(app)?;
        let running = self.running.of(&task);
        if let Some(name) = &self.name {
            return named_log(app, running, name, self.follow);
        }
        let rows = logs(app, running)?;
        if app.ui.is_json() {
            app.ui.json(&Output { logs: rows })?;
            return Ok(0);
        }
        if self.list {
            let now = app.clock.now();
            app.ui.list(rows.iter().map(|row| {
                let when = row.written_at.map_or_else(|| "-".into(), |at| age(at, now));
                format!("{:<8}  {when}  {}", row.kind, row.path.display())
            }))?;
            return Ok(0);
        }
        let row = rows.first().ok_or_else(|| no_log(running))?;
        app.ui.status("Log", &row.path.display().to_string());
        show_log(app, running, row, self.follow)?;
        Ok(0)
    }
}
