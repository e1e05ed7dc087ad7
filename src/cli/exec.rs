//! `envctl exec`

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use super::call::VerbCall;
use super::running::RunningHere;
use super::session::SessionFlags;
use crate::handoff::{Report, exec};

/// Run a command, or a shell, in a task's running runtime
///
/// A terminal is used where stdin and stdout are terminals; pipes stay pipes.
/// When the one who entered leaves, the command ends.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    running: RunningHere,
    #[command(flatten)]
    session: SessionFlags,
    /// Write what happened, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Program and arguments to run instead of a shell
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Arguments {
    pub(super) fn run(&self, VerbCall { app, .. }: VerbCall<'_>) -> Result<u8> {
        let mut report = Report::default();
        let extras = self.session.extras(&app.env)?;
        let code = {
            let _aside = app.ui.aside()?;
            let task = self.running.task(app)?;
            exec(app, self.running.of(&task), &self.command, &extras, &mut report)?
        };
        if let Some(file) = &app.options.report {
            file.write(&report)?;
        }
        if app.ui.is_json() {
            app.ui.json(&report)?;
        }
        Ok(code)
    }

    /// Where the caller wants a report.
    pub(super) fn report(&self) -> Option<&Path> {
        self.report.as_deref()
    }
}
