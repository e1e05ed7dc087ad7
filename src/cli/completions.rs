//! `envctl completions`

use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::Cli;
use crate::ui::Ui;

/// Print the completions for a shell
///
/// The same files lie in the folder completions/ of the source.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell
    shell: Choice,
}

/// Shells whose completions are checked.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Choice {
    Bash,
    Zsh,
    Fish,
}

impl Arguments {
    pub(super) fn run(&self, ui: &Ui) -> Result<u8> {
        let shell = match self.shell {
            Choice::Bash => Shell::Bash,
            Choice::Zsh => Shell::Zsh,
            Choice::Fish => Shell::Fish,
        };
        let mut script = Vec::new();
        generate(shell, &mut Cli::command(), "envctl", &mut script);
        // Written by clap: the same for everybody.
        ui.raw(String::from_utf8_lossy(&script).trim_end())?;
        Ok(0)
    }
}
