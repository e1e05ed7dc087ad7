//! `envctl completions`

use anyhow::Result;
use clap::Args;

use super::call::VerbCall;
use super::complete;
use crate::error::failure;

/// Print the completions for a shell
///
/// The script asks envctl at each Tab what may follow: commands and options, and the
/// tasks, leases, caches and stores that are known here. Those of bash, zsh and fish lie
/// in the folder completions/ of the source.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell
    shell: Choice,
}

/// Shells that can ask.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Choice {
    Bash,
    Zsh,
    Fish,
    Powershell,
}

impl Arguments {
    pub(super) fn run(&self, VerbCall { app, .. }: VerbCall<'_>) -> Result<u8> {
        let ui = &app.ui;
        let shell = match self.shell {
            Choice::Bash => "bash",
            Choice::Zsh => "zsh",
            Choice::Fish => "fish",
            Choice::Powershell => "powershell",
        };
        let script = complete::script(shell).ok_or_else(|| failure(format!("{shell} cannot complete")))?;
        // Written by clap: the same for everybody.
        ui.raw(&script)?;
        Ok(0)
    }
}
