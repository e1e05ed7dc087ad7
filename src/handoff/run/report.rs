//! What `run --report FILE` holds.

use std::path::PathBuf;

use serde::Serialize;

use super::batch::Command;
use crate::handoff::publish::Published;
use crate::handoff::report::Report;
use crate::runtime::{Receipt, Written};

/// What became of one command.
#[derive(Clone, Debug, Serialize)]
pub struct CommandReport {
    /// As a shell reads it.
    pub command: String,
    /// Its exit code; `null` when it was not run.
    pub exit_code: Option<u8>,
    /// How long it took, in milliseconds; `null` when it was not run.
    pub ms: Option<f64>,
}

/// What became of one runtime.
#[derive(Clone, Debug, Serialize)]
pub struct LeaseReport {
    /// Its commands, in order.
    pub commands: Vec<CommandReport>,
    /// What was written outside the workspace, and is gone; `null` when nobody
    /// was left to say.
    pub outside: Option<Written>,
    /// What the reset did; `null` when there was no runtime.
    pub receipt: Option<Receipt>,
}

/// The outcome of `run`.
#[derive(Debug, Default, Serialize)]
pub struct RunReport {
    /// As of `enter`; the receipt is that of the last runtime.
    #[serde(flatten)]
    pub report: Report,
    /// One for each group of commands.
    pub leases: Vec<LeaseReport>,
    /// The signal that cancelled the run.
    pub cancelled: Option<String>,
    /// What the commands printed.
    pub log: Option<PathBuf>,
    /// The folder with what was collected.
    pub output: Option<PathBuf>,
    /// What was published after the run.
    pub published: Option<Published>,
    /// Whether the workspace is still in its place.
    pub workspace_kept: bool,
}

/// Commands that were not run.
pub(crate) fn not_run(group: &[Command]) -> LeaseReport {
    let none = |command: &Command| CommandReport { command: command.shown.clone(), exit_code: None, ms: None };
    LeaseReport { commands: group.iter().map(none).collect(), outside: None, receipt: None }
}
