//! `envctl logs`

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::running::RunningArguments;
use crate::clock::age;
use crate::handoff::{App, LogRow, logs, no_log, service_log, show_log};

/// Show the output of a task's runs, detached commands and services
///
/// Without more the newest log of a run or of a detached command. Logs of services
/// are those of a runtime that is alive.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    running: RunningArguments,
    /// A service of the running runtime
    #[arg(value_name = "SERVICE")]
    service: Option<String>,
    /// Go on with what is printed until the runtime ends
    #[arg(short, long)]
    follow: bool,
    /// List the logs instead, the newest first
    #[arg(long, conflicts_with_all = ["service", "follow"])]
    list: bool,
}

#[derive(Serialize)]
struct Output {
    logs: Vec<LogRow>,
}

impl Arguments {
    pub(super) fn run(&self, app: &App) -> Result<u8> {
        let running = self.running.get();
        if let Some(service) = &self.service {
            return service_log(app, running, service, self.follow);
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
