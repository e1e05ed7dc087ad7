//! `envctl extend`

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::call::VerbCall;
use super::running::RunningArguments;
use crate::handoff::{deadline, extend};
use crate::quantity::parse_duration;

/// Give a running runtime more time before its deadline
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    running: RunningArguments,
    /// How much more: 30m, 8h
    #[arg(value_name = "TIME", value_parser = parse_duration)]
    time: Duration,
}

impl Arguments {
    pub(super) fn run(&self, VerbCall { app, .. }: VerbCall<'_>) -> Result<u8> {
        let lease = extend(app, self.running.get(), self.time)?;
        if app.ui.is_json() {
            app.ui.json(&lease)?;
        } else {
            let ends = deadline(&lease).unwrap_or_default();
            app.ui.data(&format!("deadline   {}  {ends}", lease.task))?;
        }
        Ok(0)
    }
}
