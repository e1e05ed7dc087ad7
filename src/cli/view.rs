//! `envctl view`

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::call::VerbCall;
use super::running::TaskArgument;
use crate::handoff::{open_page, put_page, view};

/// Look at a task in the browser, all of it on one page
///
/// Message, tests, changed lines, logs, screenshots, where they come from, and what the
/// task cost here. The page needs nothing else, and runs nothing.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    task: TaskArgument,
    /// Write the page to this file instead of opening it
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Serialize)]
struct Output {
    path: PathBuf,
    opened: bool,
}

impl Arguments {
    pub(super) fn run(&self, VerbCall { app, .. }: VerbCall<'_>) -> Result<u8> {
        let task = self.task.get(app)?;
        let page = view(app, &task)?;
        let path = put_page(app, &task, &page, self.output.as_deref())?;
        let opened = self.output.is_none() && app.options.interactive && open_page(app, &path);
        if app.ui.is_json() {
            app.ui.json(&Output { path, opened })?;
        } else {
            app.ui.raw(&path.display().to_string())?;
        }
        Ok(0)
    }
}
