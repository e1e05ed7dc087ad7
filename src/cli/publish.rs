//! `envctl publish`

use anyhow::Result;
use clap::Args;

use super::call::VerbCall;
use crate::handoff::{PublishOptions, publish};
use crate::identity::{Handoff, Status, TaskId, Workdir};
use crate::shell::quote;

/// Publish this checkout as a task; prints the line that enters it
///
/// Captures commits that the remote lacks, staged, changed and untracked
/// files. Needs no privilege; the checkout stays as it is. What holds a
/// credential is not published.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The task's ID; known inside an entered workspace
    task: Option<TaskId>,
    /// The image that the task runs in: python:3.12, docker-daemon:NAME, docker-archive:FILE, oci:PATH:TAG and more
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// Build the image that the project describes, in an entered workspace too
    #[arg(long, conflicts_with = "image")]
    build: bool,
    /// Where the workspace appears inside the runtime
    #[arg(long, value_name = "PATH")]
    workdir: Option<Workdir>,
    /// Who publishes
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// The state of the work
    #[arg(long, value_enum, value_name = "STATUS", default_value_t)]
    status: Status,
    /// What the one who enters should know
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// The command that fails
    #[arg(long, value_name = "TEXT")]
    command: Option<String>,
    /// Its exit code
    #[arg(long, value_name = "CODE", allow_negative_numbers = true)]
    exit_code: Option<i32>,
    /// Leave files with credentials out instead of refusing
    #[arg(long)]
    redact: bool,
    /// Publish as this new task, which goes on from the other
    #[arg(long, value_name = "NEW-TASK")]
    fork: Option<TaskId>,
}

impl Arguments {
    pub(super) fn run(&self, VerbCall { app, .. }: VerbCall<'_>) -> Result<u8> {
        let handoff = Handoff {
            status: self.status,
            message: self.message.clone(),
            command: self.command.clone(),
            exit_code: self.exit_code,
            ..Handoff::default()
        };
        let options = PublishOptions {
            task: self.task.clone(),
            image: self.image.clone(),
            build: self.build,
            workdir: self.workdir.clone(),
            agent: self.agent.clone(),
            handoff,
            run: None,
            redact: self.redact,
            fork: self.fork.clone(),
            checkout: None,
        };
        let published = publish(app, &options)?;
        let beside = if published.beside.is_some() { "beside " } else { "" };
        app.ui.status("Published", &format!("{beside}{} as {}", published.task, published.identity));
        if published.beside.is_some() {
            let task = &published.task;
            let quoted = quote(task);
            app.ui.status(
                "Beside",
                &format!("somebody moved {task} meanwhile, and both are there: envctl show {quoted}"),
            );
        }
        if app.ui.is_json() {
            app.ui.json(&published)?;
        } else {
            app.ui.data(&published.enter)?;
        }
        Ok(0)
    }
}
