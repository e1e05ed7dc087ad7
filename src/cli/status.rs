//! `envctl status`

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;

use super::call::VerbCall;
use super::parse_task;
use crate::clock::age;
use crate::handoff::{LeaseRow, SalvageRow, WorkspaceRow, deadline, status};
use crate::identity::TaskRef;
use crate::shell::quote;
use crate::ui::counted;

/// Show running runtimes and workspaces of this machine
///
/// One line for each. Of one task, and with -v, everything that there is to know.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only this one, with details: TASK, STORE:TASK or STORE@sha256:...
    #[arg(value_parser = parse_task)]
    task: Option<TaskRef>,
}

/// What begins a line, and what belongs to the line before.
const INDENT: &str = "           ";

impl Arguments {
    pub(super) fn run(&self, VerbCall { app, .. }: VerbCall<'_>) -> Result<u8> {
        let view = status(app, self.task.as_ref())?;
        if app.ui.is_json() {
            app.ui.json(&view)?;
            return Ok(0);
        }
        let now = app.clock.now();
        if view.is_empty() {
            let of = self.task.as_ref().map_or_else(String::new, |task| format!(" of {task}"));
            app.ui.status("Found", &format!("no runtime and no workspace{of}"));
        }
        let all = self.task.is_some() || app.ui.is_verbose();
        // The commands that help stand in rows of their own: the end of a row may be cut.
        let print = |line: String, details: Vec<String>| -> Result<()> {
            if !all {
                return app.ui.data(&app.ui.row(&line));
            }
            app.ui.data(&line)?;
            details.iter().try_for_each(|detail| app.ui.data(&format!("{INDENT}{detail}")))
        };
        for row in &view.leases {
            print(lease(row, now), lease_details(row, now))?;
        }
        for row in &view.workspaces {
            print(workspace(row, now), workspace_details(row, now))?;
        }
        for row in &view.salvages {
            print(salvage(row, now), salvage_details(row))?;
            app.ui.data(&format!("{INDENT}envctl workspace recover {}", row.id))?;
        }
        for one in &view.gone {
            print(format!("gone       {one}: its folder was removed, and nothing is kept for it"), Vec::new())?;
        }
        Ok(0)
    }
}

fn lease(row: &LeaseRow, now: Timestamp) -> String {
    let lease = &row.lease;
    let mut parts = vec![format!("started {}", age(lease.started_at, now))];
    parts.extend(lease.setup.iter().map(|cache| format!("setup of the cache {cache}")));
    parts.extend(deadline(lease).map(|deadline| format!("ends {deadline}")));
    parts.extend(lease.ports.iter().map(|port| format!("{} inside is localhost:{}", port.inside, port.host)));
    parts.extend((!lease.services.is_empty()).then(|| lease.services.join(" ")));
    parts.extend(row.joined.filter(|joined| *joined > 0).map(|joined| format!("{joined} joined")));
    format!("runtime    {}  lease {}  {}", lease.task, lease.id, parts.join(", "))
}

fn lease_details(row: &LeaseRow, now: Timestamp) -> Vec<String> {
    let lease = &row.lease;
    let ends = match (deadline(lease), lease.detached) {
        (Some(deadline), _) => format!("ends {deadline}"),
        (None, true) => "lasts until it is reset".into(),
        (None, false) => format!("ends with process {}", lease.owner.pid),
    };
    let mut lines = vec![
        format!("store      {}", lease.store),
        format!("image      {}", row.image.as_deref().unwrap_or("not known here")),
        format!("started    {}, {ends}", age(lease.started_at, now)),
        format!("network    {}, process {}", lease.network, lease.init.pid),
    ];
    lines.extend(lease.log.iter().map(|log| format!("log        {}", log.display())));
    lines
        .extend(lease.ports.iter().map(|port| format!("port       {} inside is localhost:{}", port.inside, port.host)));
    lines.extend(lease.services.iter().map(|name| format!("service    {name} (envctl logs {} {name})", lease.task)));
    lines.extend(row.joined.map(|joined| {
        format!("joined     {}", counted(joined, "other shell or command", "other shells and commands"))
    }));
    lines
}

fn workspace(row: &WorkspaceRow, now: Timestamp) -> String {
    let mut parts = vec![row.used(now)];
    parts.extend(row.newer.is_some().then(|| "newer identity in its store".to_owned()));
    parts.extend(row.goes(now));
    format!("workspace  {}  {}", row.task, parts.join(", "))
}

fn workspace_details(row: &WorkspaceRow, now: Timestamp) -> Vec<String> {
    let mut lines = vec![format!("store      {}", row.store), format!("folder     {}", row.path)];
    lines.push(format!("pinned     {}, {}", age(row.pinned_at, now), row.identity));
    lines.extend(row.fate(now));
    lines.extend(row.newer_seen_at.map(|at| {
        let seen = age(at, now);
        format!("its store had a newer identity {seen}; envctl enter {} --refresh takes it", quote(&row.task))
    }));
    lines
}

fn salvage(row: &SalvageRow, now: Timestamp) -> String {
    let task = row.task.as_deref().unwrap_or("-");
    let when = row.salvaged_at.map_or_else(|| "at an unknown time".into(), |at| age(at, now));
    format!("set aside  {task}  {when}")
}

fn salvage_details(row: &SalvageRow) -> Vec<String> {
    let until = row.kept_until.map_or_else(|| "kept".into(), |until| format!("kept until {until}"));
    vec![until]
}
