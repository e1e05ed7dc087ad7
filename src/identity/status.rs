//! The states of a task's work, which its identity names.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of a task's work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The agent goes on.
    #[default]
    Working,
    /// The agent is stuck.
    NeedsHuman,
    /// The human gave it back.
    HandedBack,
    /// Done: per-task workspaces may go.
    Closed,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Working => "working",
            Status::NeedsHuman => "needs-human",
            Status::HandedBack => "handed-back",
            Status::Closed => "closed",
        })
    }
}
