//! `envctl workspace`

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::call::VerbCall;
use super::parse_task;
use crate::clock::age;
use crate::error::usage;
use crate::handoff::{
    App, SalvageRow, WorkspaceRow, keep_workspace, leaving, recover, salvages, take_away, workspace_path, workspaces,
};
use crate::identity::TaskRef;

/// Look at workspaces, remove one, or bring one back
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Ls(List),
    Path(Path),
    Rm(Remove),
    Keep(Keep),
    Recover(Recover),
}

/// List the workspaces, and what will delete each
#[derive(Debug, Args)]
struct List {}

/// Print the folder of a task's workspace
#[derive(Debug, Args)]
struct Path {
    /// TASK, STORE:TASK or STORE@sha256:...
    #[arg(value_parser = parse_task)]
    task: TaskRef,
}

/// Remove a task's workspace; what is unsaved in it is salvaged
#[derive(Debug, Args)]
struct Remove {
    /// TASK, STORE:TASK or STORE@sha256:...
    #[arg(value_parser = parse_task)]
    task: TaskRef,
}

/// Keep a task's workspace, whatever would delete it
#[derive(Debug, Args)]
struct Keep {
    /// TASK, STORE:TASK or STORE@sha256:...
    #[arg(value_parser = parse_task)]
    task: TaskRef,
    /// Go by its rule again
    #[arg(long)]
    off: bool,
}

/// List what was salvaged, or bring one back as it was
#[derive(Debug, Args)]
struct Recover {
    /// Which one
    id: Option<String>,
    /// Bring it to this folder instead of its place
    #[arg(long, value_name = "DIR", requires = "id")]
    into: Option<PathBuf>,
}

#[derive(Serialize)]
struct Workspaces {
    workspaces: Vec<WorkspaceRow>,
}

#[derive(Serialize)]
struct Salvages {
    salvages: Vec<SalvageRow>,
}

#[derive(Serialize)]
struct PathOutput {
    path: PathBuf,
}

impl Arguments {
    pub(super) fn run(&self, VerbCall { app, .. }: VerbCall<'_>) -> Result<u8> {
        match &self.verb {
            Verb::Ls(_) => list(app)?,
            Verb::Path(arguments) => {
                let path = workspace_path(app, &arguments.task)?;
                match app.ui.is_json() {
                    true => app.ui.json(&PathOutput { path })?,
                    false => app.ui.raw(&path.display().to_string())?,
                }
            }
            Verb::Rm(arguments) => arguments.run(app)?,
            Verb::Keep(arguments) => {
                let path = keep_workspace(app, &arguments.task, !arguments.off)?;
                match app.ui.is_json() {
                    true => app.ui.json(&PathOutput { path })?,
                    false => app.ui.raw(&path.display().to_string())?,
                }
            }
            Verb::Recover(arguments) => arguments.run(app)?,
        }
        Ok(0)
    }
}

fn list(app: &App) -> Result<()> {
    let rows = workspaces(app)?;
    if app.ui.is_json() {
        return app.ui.json(&Workspaces { workspaces: rows });
    }
    if rows.is_empty() {
        app.ui.status("Found", "no workspace");
    }
    let now = app.clock.now();
    for row in &rows {
        app.ui.data(&row.task)?;
        app.ui.data(&format!("    {}", row.path))?;
        row.fate(now).iter().try_for_each(|line| app.ui.data(&format!("    {line}")))?;
    }
    Ok(())
}

impl Remove {
    fn run(&self, app: &App) -> Result<()> {
        let leaving = leaving(app, &self.task)?;
        let with = match leaving.unsaved.join(", ") {
            nothing if nothing.is_empty() => "nothing in it is unsaved".to_owned(),
            unsaved => format!("salvaged first: {unsaved}"),
        };
        app.ui.status("Removing", &format!("{}; {with}", leaving.path().display()));
        match app.confirm("Remove this workspace?")? {
            Some(true) => {}
            Some(false) => return Err(usage("nothing was removed").into()),
            None => return Err(usage("nothing was removed: there is nobody to ask").hint("add --yes").into()),
        }
        let gone = take_away(app, leaving)?;
        if app.ui.is_json() {
            return app.ui.json(&gone);
        }
        app.ui.data(&match &gone.salvage {
            Some(salvage) => format!(
                "the workspace of {} was removed; envctl workspace recover {} brings it back",
                gone.task, salvage.id
            ),
            None => format!("the workspace of {} was removed", gone.task),
        })
    }
}

impl Recover {
    fn run(&self, app: &App) -> Result<()> {
        let Some(id) = &self.id else { return list_salvages(app) };
        let recovered = recover(app, id, self.into.as_deref())?;
        if app.ui.is_json() {
            return app.ui.json(&recovered);
        }
        app.ui.raw(&recovered.workspace.display().to_string())
    }
}

fn list_salvages(app: &App) -> Result<()> {
    let rows = salvages(app)?;
    if app.ui.is_json() {
        return app.ui.json(&Salvages { salvages: rows });
    }
    if rows.is_empty() {
        app.ui.status("Found", "nothing that was set aside");
    }
    let now = app.clock.now();
    for row in &rows {
        let when = row.salvaged_at.map_or_else(|| "at an unknown time".into(), |at| age(at, now));
        app.ui.data(&format!("{}  {when}", row.id))?;
        app.ui.data(&format!("    {}", row.path.display()))?;
        let why = row.why.as_deref().unwrap_or("an older envctl set it aside");
        let unsaved = if row.unsaved.is_empty() { "not looked at".to_owned() } else { row.unsaved.join(", ") };
        let until = row.kept_until.map_or_else(|| "kept".into(), |until| format!("kept until {until}"));
        app.ui.data(&format!("    because {why}; {until}"))?;
        app.ui.data(&format!("    holds: {unsaved}"))?;
    }
    Ok(())
}
