//! `envctl status`

use anyhow::Result;
use clap::Args;

use crate::clock::age;
use crate::handoff::{App, deadline, status};

/// Show running runtimes and workspaces of this machine
#[derive(Debug, Args)]
pub(super) struct Arguments {}

impl Arguments {
    pub(super) fn run(&self, app: &App) -> Result<u8> {
        let view = status(app)?;
        if app.ui.is_json() {
            app.ui.json(&view)?;
            return Ok(0);
        }
        let now = app.clock.now();
        if view.leases.is_empty() && view.workspaces.is_empty() {
            app.ui.status("Found", "no runtime and no workspace");
        }
        for lease in &view.leases {
            let started = age(lease.started_at, now);
            let ends = match (deadline(lease), lease.detached) {
                (Some(deadline), _) => format!("ends {deadline}"),
                (None, true) => "lasts until it is reset".into(),
                (None, false) => format!("ends with process {}", lease.owner.pid),
            };
            app.ui.data(&format!("runtime    {}  {started}, lease {}", lease.task, lease.id))?;
            app.ui.data(&format!("           {} network, process {}, {ends}", lease.network, lease.init.pid))?;
            if let Some(cache) = &lease.setup {
                app.ui.data(&format!("setup      of the cache {cache}"))?;
            }
            if let Some(log) = &lease.log {
                app.ui.data(&format!("log        {}", log.display()))?;
            }
            for port in &lease.ports {
                app.ui.data(&format!("port       {} inside is localhost:{}", port.inside, port.host))?;
            }
        }
        for workspace in &view.workspaces {
            let pinned = age(workspace.pinned_at, now);
            app.ui.data(&format!("workspace  {}  pinned {pinned}", workspace.task))?;
            app.ui.data(&format!("           {}", workspace.path))?;
            workspace.fate(now).iter().try_for_each(|line| app.ui.data(&format!("           {line}")))?;
            if let Some(at) = workspace.newer_seen_at {
                let seen = age(at, now);
                app.ui.data(&format!("           its store had a newer identity {seen}; enter --refresh takes it"))?;
            }
        }
        for row in &view.salvages {
            let task = row.task.as_deref().unwrap_or("-");
            let when = row.salvaged_at.map_or_else(|| "at an unknown time".into(), |at| age(at, now));
            app.ui.data(&format!("set aside  {}  {when}, of {task}", row.id))?;
            let until = row.kept_until.map_or_else(|| "kept".into(), |until| format!("kept until {until}"));
            app.ui.data(&format!("           {until}; envctl workspace recover {} brings it back", row.id))?;
        }
        for one in &view.gone {
            app.ui.data(&format!("gone       {one}: its folder was removed, and nothing is kept for it"))?;
        }
        Ok(0)
    }
}
