//! `envctl artifacts`

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::call::VerbCall;
use super::parse_task;
use crate::clock::age;
use crate::handoff::{
    AddOptions, App, ArtifactRow, Checked, add_artifacts, get_artifacts, list_artifacts, verdict, verify_artifacts,
};
use crate::identity::{ArtifactType, TaskRef};
use crate::shell::quote;
use crate::ui::{counted, human_bytes};

/// Attach evidence to a task, list it, fetch it, verify it
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Add(Add),
    Ls(List),
    Get(Get),
    Verify(Verify),
}

/// Attach files to a task
///
/// Inside an entered workspace: to the identity that was entered.
#[derive(Debug, Args)]
struct Add {
    /// TASK, STORE:TASK or STORE@sha256:...
    #[arg(value_parser = parse_task)]
    task: TaskRef,
    /// The files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What they are
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    artifact_type: ArtifactType,
    /// The command that made them
    #[arg(long, value_name = "TEXT")]
    command: Option<String>,
    /// Its exit code
    #[arg(long, value_name = "CODE", allow_negative_numbers = true)]
    exit_code: Option<i32>,
}

/// List a task's artifacts, oldest first
#[derive(Debug, Args)]
struct List {
    /// TASK, STORE:TASK or STORE@sha256:...
    #[arg(value_parser = parse_task)]
    task: TaskRef,
}

/// Fetch a task's artifacts, and print the folder in which they are
#[derive(Debug, Args)]
struct Get {
    /// TASK, STORE:TASK or STORE@sha256:...
    #[arg(value_parser = parse_task)]
    task: TaskRef,
    /// Only those with these names
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Copy them to this folder, which is missing or empty
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Read a task's artifacts in full and check them against what they say
#[derive(Debug, Args)]
struct Verify {
    /// TASK, STORE:TASK or STORE@sha256:...
    #[arg(value_parser = parse_task)]
    task: TaskRef,
}

#[derive(Serialize)]
struct Verified<'a> {
    ok: bool,
    artifacts: &'a [Checked],
}

impl Arguments {
    pub(super) fn run(&self, VerbCall { app, .. }: VerbCall<'_>) -> Result<u8> {
        match &self.verb {
            Verb::Add(add) => add.run(app),
            Verb::Ls(list) => list.run(app),
            Verb::Get(get) => get.run(app),
            Verb::Verify(verify) => verify.run(app),
        }
    }
}

impl Add {
    fn run(&self, app: &App) -> Result<u8> {
        let options = AddOptions {
            task: self.task.clone(),
            files: self.files.clone(),
            artifact_type: self.artifact_type,
            command: self.command.clone(),
            exit_code: self.exit_code,
        };
        let added = add_artifacts(app, &options)?;
        app.ui.status(
            "Attached",
            &format!("{} to {}", counted(added.artifacts.len() as u64, "artifact", "artifacts"), added.identity),
        );
        if app.ui.is_json() {
            app.ui.json(&added)?;
        } else {
            table(app, &added.artifacts)?;
        }
        Ok(0)
    }
}

impl List {
    fn run(&self, app: &App) -> Result<u8> {
        let listed = list_artifacts(app, &self.task)?;
        if app.ui.is_json() {
            app.ui.json(&listed)?;
            return Ok(0);
        }
        if listed.artifacts.is_empty() {
            app.ui.status("Found", &format!("no artifact of {}", listed.task));
        }
        table(app, &listed.artifacts)?;
        left_out(app, listed.skipped, &self.task);
        Ok(0)
    }
}

impl Get {
    fn run(&self, app: &App) -> Result<u8> {
        let gotten = get_artifacts(app, &self.task, &self.names, self.output.as_deref())?;
        let count = counted(gotten.artifacts.len() as u64, "artifact", "artifacts");
        let size = match gotten.bytes {
            0 => "here already".to_owned(),
            bytes => human_bytes(bytes),
        };
        app.ui.status("Fetched", &format!("{count} of {}, {size}", gotten.task));
        left_out(app, gotten.skipped, &self.task);
        if app.ui.is_json() {
            app.ui.json(&gotten)?;
        } else if let Some(folder) = &gotten.folder {
            app.ui.raw(&folder.display().to_string())?;
        }
        Ok(0)
    }
}

impl Verify {
    fn run(&self, app: &App) -> Result<u8> {
        let checked = verify_artifacts(app, &self.task)?;
        let verdict = verdict(&checked);
        if app.ui.is_json() {
            app.ui.json(&Verified { ok: verdict.is_ok(), artifacts: &checked })?;
            return Ok(verdict.err().map_or(0, |fault| fault.kind.exit_code()));
        }
        app.ui.list(checked.iter().map(|one| {
            let name = one.artifact.as_ref().map_or("(left out)", |row| &row.provenance.name);
            let state = one.fault.as_ref().map_or_else(|| "ok".to_owned(), |fault| format!("BAD  {fault}"));
            format!("{name}  {state}")
        }))?;
        verdict?;
        Ok(0)
    }
}

/// Says that there is more, so that nobody takes what is shown for all of it.
fn left_out(app: &App, skipped: usize, task: &TaskRef) {
    if skipped > 0 {
        let count = counted(skipped as u64, "artifact", "artifacts");
        let task = quote(&task.to_string());
        app.ui.warn(&format!("left out: at least {count} (envctl artifacts ls -v {task} says why)"));
    }
}

fn table(app: &App, artifacts: &[ArtifactRow]) -> Result<()> {
    let width = artifacts.iter().map(|row| row.provenance.name.chars().count()).max().unwrap_or_default().min(40);
    let now = app.clock.now();
    app.ui.list(artifacts.iter().map(|row| {
        let provenance = &row.provenance;
        let made_by = provenance.command.as_ref().map_or_else(String::new, |command| {
            let code = provenance.exit_code.map_or_else(String::new, |code| format!(" (exit code {code})"));
            format!("{command}{code}")
        });
        format!(
            "{:<width$}  {:<12}  {:>9}  {:<14}  {}  {made_by}",
            provenance.name,
            provenance.artifact_type.to_string(),
            human_bytes(provenance.size),
            age(provenance.created_at, now),
            provenance.digest.short(),
        )
    }))
}
